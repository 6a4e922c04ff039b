"""`pgdrill prune`: delete what the policy lets go, each file with its reason."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backup_lib.cli.announced import announced, note
from backup_lib.cli.first_backup import awaits_first_backup
from backup_lib.cli.options import DEFAULT_PLACE, AsJson, Backups
from backup_lib.cli.talk import put, put_json, render_columns, render_size, say
from backup_lib.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backup_lib.expiry import Planned

_WORDS = {"keep": "keep", "delete": "delete", "quarantine": "set aside"}


@announced("prune", lambda given: given["backups"])
def prune(
    *,
    backups: Backups = DEFAULT_PLACE,
    keep_days: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", envvar="BACKUP_RETENTION_DAYS", help="Keep those of the N days before the newest."
        ),
    ] = 30,
    keep_max: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", envvar="BACKUP_MAX_FILES", help="Of these at most N.", show_default="no limit"
        ),
    ] = None,
    daily: Annotated[
        int,
        typer.Option(
            "--keep-daily", min=0, metavar="N", envvar="BACKUP_KEEP_DAILY", help="And the newest of each of N days."
        ),
    ] = 0,
    weekly: Annotated[
        int,
        typer.Option(
            "--keep-weekly", min=0, metavar="N", envvar="BACKUP_KEEP_WEEKLY", help="And the newest of each of N weeks."
        ),
    ] = 0,
    monthly: Annotated[
        int,
        typer.Option(
            "--keep-monthly",
            min=0,
            metavar="N",
            envvar="BACKUP_KEEP_MONTHLY",
            help="And the newest of each of N months.",
        ),
    ] = 0,
    yearly: Annotated[
        int,
        typer.Option(
            "--keep-yearly", min=0, metavar="N", envvar="BACKUP_KEEP_YEARLY", help="And the newest of each of N years."
        ),
    ] = 0,
    quarantine_days: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", envvar="BACKUP_QUARANTINE_DAYS", help="How long archives that failed are kept aside."
        ),
    ] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done, and why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete old archives; only verified ones count, and the newest verified one is never deleted.

    For each database and kind by itself. One that failed its drill goes to the folder quarantine.
    """
    from backup_lib.expiry import expire, plan_expiry
    from backup_lib.places import open_place
    from backup_lib.retention import Policy

    policy = Policy(
        keep_days=keep_days,
        keep_max=keep_max,
        daily=daily,
        weekly=weekly,
        monthly=monthly,
        yearly=yearly,
        quarantine_days=quarantine_days,
    )
    place = open_place(backups)
    if awaits_first_backup(place, dry_run=dry_run, as_json=as_json):
        return
    place.items()  # a place that is not there is said before anything is locked, and so made
    act = plan_expiry if dry_run else expire
    planned = act(place, policy, now=datetime.now(UTC))
    if as_json:
        put_json({"dry_run": dry_run, "archives": [_describe(item) for item in planned]})
    else:
        _put(planned, dry_run=dry_run)
    note(*(f"{item.label}: {item.failure}" for item in planned if item.failure), _sum_up(planned, dry_run=dry_run))
    _warn(planned)
    if any(item.failure for item in planned):
        raise typer.Exit(BackupError.exit_status)


def _describe(item: Planned) -> dict[str, Any]:
    return {
        "name": item.found.name,
        "folder": item.found.store.location,
        "action": item.action,
        "reason": item.reason,
        "standing": item.standing,
        "size_bytes": item.found.size_bytes,
        "taken_at": item.found.taken_at,
        "failure": item.failure or None,
    }


def _put(planned: Sequence[Planned], *, dry_run: bool) -> None:
    rows = [
        (
            "failed" if item.failure else _WORDS[item.action],
            item.label,
            render_size(item.found.size_bytes),
            f"{item.reason}; but {item.failure}" if item.failure else item.reason,
        )
        for item in planned
    ]
    if rows:
        put(render_columns(("", "archive", "size", "because"), rows, right=[2]) + "\n")
    put(_sum_up(planned, dry_run=dry_run))


def _sum_up(planned: Sequence[Planned], *, dry_run: bool) -> str:
    done = [item for item in planned if not item.failure]
    deleted = [item for item in done if item.action == "delete"]
    aside = [item for item in done if item.action == "quarantine"]
    freed = render_size(sum(item.found.size_bytes for item in deleted))
    would = "would be " if dry_run else ""
    return (
        f"{len(deleted)} {would}deleted ({freed}), {len(aside)} {would}set aside, "
        f"{len(planned) - len(deleted) - len(aside)} kept"
    )


def _warn(planned: Sequence[Planned]) -> None:
    """Databases of which nothing is ever deleted, since nothing of them was ever proved."""
    groups = {(item.found.database, item.found.kind) for item in planned if item.found.database and item.found.kind}
    proved = {(item.found.database, item.found.kind) for item in planned if item.standing == "verified"}
    for database, kind in sorted(groups - proved, key=str):
        command = f"pgdrill verify {shlex.quote(f'latest:{database}:{kind}')}"
        warning = f"no {kind} archive of {database} is verified, so none is deleted; verify one: {command}"
        say(f"warning: {warning}")
        note(warning)
