"""`pgdrill rotate`: archives of months past into bundles, each with its reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backup_lib.cli.announced import announced, note
from backup_lib.cli.first_backup import awaits_first_backup
from backup_lib.cli.options import DEFAULT_PLACE, AsJson, Backups
from backup_lib.cli.talk import put, put_json, render_columns, render_size, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backup_lib.rotation import Packed


@announced("rotate", lambda given: given["backups"])
def rotate(
    *,
    backups: Backups = DEFAULT_PLACE,
    older_than: Annotated[
        int,
        typer.Option(
            "--older-than",
            min=1,
            metavar="DAYS",
            envvar="BACKUP_ROTATE_DAYS",
            help="Pack a month when the youngest archive of it is that old.",
        ),
    ] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Pack the archives of months past into bundles, which are proved before those go.

    One uncompressed tar file for each database and month, in the folder archive. What is in it is listed, drilled and
    restored as before. The newest, and the newest verified archive of each database and kind stay at hand.
    """
    from backup_lib.packing import rotate as rotate_place
    from backup_lib.places import open_place
    from backup_lib.rotation import plan_rotation

    place = open_place(backups)
    if awaits_first_backup(place, dry_run=dry_run, as_json=as_json):
        return
    place.items()  # a place that is not there is said before anything is locked, and so made
    act = plan_rotation if dry_run else rotate_place
    packed = act(place, older_than_days=older_than, now=datetime.now(UTC))
    if as_json:
        put_json({"dry_run": dry_run, "archives": [_describe(item) for item in packed]})
    else:
        _put(packed, dry_run=dry_run)
    note(*(f"{item.found.name}: {item.failure.message}" for item in packed if item.failure))
    note(_sum_up(packed, dry_run=dry_run), *(f"next: {hint}" for hint in _hints(packed)))
    if failed := [item.failure.exit_status for item in packed if item.failure]:
        raise typer.Exit(1 if 1 in failed else max(failed))


def _describe(item: Packed) -> dict[str, Any]:
    return {
        "name": item.found.name,
        "folder": item.found.store.location,
        "action": item.action,
        "reason": item.reason,
        "bundle": item.bundle or None,
        "size_bytes": item.found.size_bytes,
        "taken_at": item.found.taken_at,
        "failure": item.failure.message if item.failure else None,
    }


def _put(packed: Sequence[Packed], *, dry_run: bool) -> None:
    rows = [
        (
            "failed" if item.failure else item.action,
            item.found.name,
            render_size(item.found.size_bytes),
            item.bundle,
            f"{item.reason}; but {item.failure.message}" if item.failure else item.reason,
        )
        for item in packed
    ]
    if rows:
        put(render_columns(("", "archive", "size", "bundle", "because"), rows, right=[2]) + "\n")
    for hint in _hints(packed):
        say(f"hint: {hint}")
    put(_sum_up(packed, dry_run=dry_run))


def _hints(packed: Sequence[Packed]) -> list[str]:
    return list(dict.fromkeys(item.failure.hint for item in packed if item.failure and item.failure.hint))


def _sum_up(packed: Sequence[Packed], *, dry_run: bool) -> str:
    done = [item for item in packed if item.action == "pack" and not item.failure]
    would = "would be " if dry_run else ""
    size, bundles = render_size(sum(item.found.size_bytes for item in done)), len({item.bundle for item in done})
    return f"{len(done)} {would}packed ({size}) into {bundles} bundle{'' if bundles == 1 else 's'}"
