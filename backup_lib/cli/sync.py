"""`pgdrill sync`: the same archives in several places, each copy compared with what its manifest promises."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer

from backup_lib.cli.announced import announced, note
from backup_lib.cli.options import AsJson
from backup_lib.cli.talk import put, put_json, render_columns
from backup_lib.errors import BackupError, LockedError, UsageError


@announced("sync", lambda given: ", ".join(given["places"]))
def sync(
    places: Annotated[
        list[str], typer.Argument(metavar="PLACE PLACE…", help="Folders or URLs, such as s3://bucket/prefix.")
    ],
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Believe copies of the right size, instead of reading and hashing all.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be copied, and why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Copy what a place lacks, and mend copies that have rotted; nothing is overwritten.

    Exits 3 if a place could not be read or written, 11 if only another run was in the way, 1 if copies differ and none
    can be told to be the right one.
    """
    from backup_lib.places import open_place
    from backup_lib.replicas import sync_places

    if len(places) < 2:
        raise UsageError("one place has nothing to be compared with", hint="name two: pgdrill sync backups s3://bucket")
    replicas = sync_places([open_place(place) for place in places], dry_run=dry_run, quick=quick)
    if as_json:
        put_json({"dry_run": dry_run, "replicas": [asdict(replica) for replica in replicas]})
    else:
        rows = [(r.status, r.name, r.place, r.detail) for r in replicas]
        put(render_columns(("", "archive", "place", ""), rows))
    note(
        *(
            f"{r.status}: {r.name} in {r.place}: {r.detail}"
            for r in replicas
            if r.status in ("failed", "conflict", "damaged")
        )
    )
    note(", ".join(f"{count} {status}" for status, count in Counter(r.status for r in replicas).items()))
    statuses = {replica.status for replica in replicas}
    if failed := [replica for replica in replicas if replica.status == "failed"]:
        raise typer.Exit((LockedError if all(one.is_locked for one in failed) else BackupError).exit_status)
    if statuses & ({"conflict"} if dry_run else {"conflict", "damaged"}):
        raise typer.Exit(1)
