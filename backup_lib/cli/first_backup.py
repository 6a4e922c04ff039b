"""A place that no backup has made yet, for commands that have nothing to do there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backup_lib.cli.announced import note
from backup_lib.cli.configured import load
from backup_lib.cli.talk import put, put_json

if TYPE_CHECKING:
    from backup_lib.store import Store


def awaits_first_backup(place: Store, *, dry_run: bool, as_json: bool) -> bool:
    """Whether it is a folder that nobody has made yet, and the one where a configured backup will go; then says so.

    Any other folder that is not there is a mistake of whoever named it.
    """
    from backup_lib.monitor.expected import expected_groups, places_of
    from backup_lib.places import open_place
    from backup_lib.store import LocalStore

    if not isinstance(place, LocalStore) or place.folder.exists():
        return False
    configuration = load()
    expected = expected_groups(configuration, None)
    places = [open_place(where) for where in places_of(configuration, expected, None)] if expected else []
    if place.folder.absolute() not in [one.folder.absolute() for one in places if isinstance(one, LocalStore)]:
        return False
    sentence = f"nothing there yet: the first backup makes {place.location}"
    note(sentence)
    put_json({"dry_run": dry_run, "archives": []}) if as_json else put(sentence)
    return True
