"""A new archive in the place of an old one: made whole in a hidden place beside it, and then renamed.

An archive and what lies beside it are several files, and no place renames those at once. So a manifest comes before the
archive, and promises of the old file and of the new one, whichever lies there; then the archive, then the manifest of
the new one alone: as long as that is still staged, the next run knows what is left to do.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime

from backup_lib import ledger, manifest
from backup_lib.archive import name_prefix, parse_name
from backup_lib.bundle import Bundle
from backup_lib.expiry import REPLACED, delete_archive
from backup_lib.ledger import digest_stored
from backup_lib.manifest import Manifest, parse_manifest, render_manifest
from backup_lib.store import LocalStore, Store

STAGE = ".rewrapping"
FILES = ("", ledger.SUFFIX, manifest.SUFFIX)  # in the order in which they are put in place


def put_in_place(store: Store, old: str, new: str, *, promise: Manifest | None, keep: bool) -> None:
    """The staged archive gets its name, and the old one goes aside, or away; they may be called the same.

    :param promise: the manifest until all is done, of what has the new name before and after.
    """
    same, aside = new == old, store.under(REPLACED)
    if keep:
        for suffix in FILES:
            if store.exists(old + suffix) and not aside.exists(old + suffix):
                store.keep(old + suffix, REPLACED)
    carried = store.under(STAGE).exists(new + ledger.SUFFIX)
    if same and not carried and store.exists(new + ledger.SUFFIX):
        store.delete(new + ledger.SUFFIX)  # it speaks of other bytes, of the same size perhaps
    changed_at = store.path(old).stat().st_mtime_ns if isinstance(store, LocalStore) else None
    if promise is not None:
        store.replace(new + manifest.SUFFIX, render_manifest(promise))
    try:
        _take(store, new)
    except BaseException:
        if promise is not None and not store.exists(new):
            store.delete(new + manifest.SUFFIX)
        raise
    if isinstance(store, LocalStore) and changed_at is not None:
        # Of what neither manifest nor name tells the time of, this is all that says which is the latest.
        os.utime(store.path(new), ns=(changed_at, changed_at))
    if not same:
        delete_archive(store, old, datetime.now(UTC))


def _take(store: Store, name: str) -> None:
    """What is staged gets its name; from the first rename on, the new key counts."""
    for suffix in FILES:
        if store.under(STAGE).exists(name + suffix):
            store.take(name + suffix, STAGE)


def finish_interrupted(store: Store) -> list[str]:
    """Bring what a run that ended between two renames left behind beside its archive, or away; their names."""
    if isinstance(store, Bundle):
        return []
    stage = store.under(STAGE)
    if isinstance(stage, LocalStore) and not stage.folder.exists():
        return []
    finished = []
    for item in stage.items():
        if not item.name.endswith(manifest.SUFFIX) or stage.exists(name := item.name.removesuffix(manifest.SUFFIX)):
            continue  # a whole one is no use without its writer: the next run makes it anew
        with store.lock(place_lock(name)):
            facts = parse_manifest(b"".join(stage.open_read(item.name)), name=item.name).archive
            if facts and store.exists(name) and digest_stored(store, name)[1] == facts.sha256:
                _take(store, name)
                finished.append(name)
            clear(stage, name)
    return finished


def place_lock(name: str) -> str:
    """Prefix of the lock that keeps backups of the same database away; of foreign names there are no others to keep."""
    named = parse_name(name)
    return name_prefix(named.database) if named else "rewrap-"


def stage_lock(name: str) -> str:
    """Prefix of the lock in the hidden place, which clears away what a dead writer left there of that name."""
    named = parse_name(name)
    return name_prefix(named.database) if named else name


def take_away(stage: Store, name: str) -> None:
    """The hidden place itself, when nothing is left in it; the caller holds the lock of the place around it."""
    if isinstance(stage, LocalStore):
        stage.path(f".{stage_lock(name)}lock").unlink(missing_ok=True)
        with suppress(OSError):  # another one is at work there, or something waits for the next run
            stage.folder.rmdir()


def abandon(stage: Store, name: str) -> None:
    """Clear away what was not put in place; once the archive was, `finish_interrupted` needs what is left."""
    if stage.exists(name):
        clear(stage, name)


def clear(stage: Store, name: str) -> None:
    for suffix in reversed(FILES):
        if stage.exists(name + suffix):
            stage.delete(name + suffix)
