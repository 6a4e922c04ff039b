"""`pgdrill status`: how all that is backed up stands now, and what to do about what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from backup_lib.cli.announced import announced, note
from backup_lib.cli.configured import load
from backup_lib.cli.options import AsJson
from backup_lib.cli.talk import put, put_json, render_age, render_columns, render_size
from backup_lib.errors import UsageError

if TYPE_CHECKING:
    from backup_lib.monitor.known import ArchiveView
    from backup_lib.monitor.room import PlaceStatus
    from backup_lib.monitor.series import Series
    from backup_lib.monitor.status import Status, TaskStatus

_FAR_DAYS = 3650
_NAGIOS = {"ok": (0, "OK"), "problem": (2, "CRITICAL"), "unknown": (3, "UNKNOWN")}
_NOT_IN_LABELS = str.maketrans({"'": "_", "=": "_", "|": "_", "\n": "_"})
_WORDS = {"ok": "ok", "problem": "PROBLEM", "unknown": "UNKNOWN"}
Place = Annotated[
    str | None,
    typer.Option(
        "--backups",
        metavar="PLACE",
        help="Look here alone; default all places that are configured, or BACKUP_DIR.",
        show_default=False,
    ),
]


def status(
    *,
    backups: Place = None,
    tell: Annotated[
        bool, typer.Option("--tell", help="Tell the people of [notify] too, as for a run that ends so.")
    ] = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="One line for Nagios and its kin, and their exit statuses: 0, 2, 3.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say how archives, drills, places and the schedule stand, and what is wrong.

    Exits 0 if all is well, 1 if something is wrong, 3 if not all could be judged. No archive is read.
    """
    if nagios and as_json:
        raise UsageError("--nagios and --json are two forms", hint="ask for one of them")
    (_told if tell else _show)(backups=backups, nagios=nagios, as_json=as_json)


def _show(*, backups: str | None, nagios: bool, as_json: bool) -> None:
    from backup_lib.monitor.status import describe, examine

    found = examine(load(), now=datetime.now(UTC), place=backups)
    for problem in found.problems:
        note(problem.message, f"next: {problem.hint}")
    if nagios:
        put(_nagios_line(found))
        raise typer.Exit(_NAGIOS[found.verdict][0])
    if as_json:
        put_json(describe(found))
    else:
        _put(found)
    raise typer.Exit(found.exit_status)


_told = announced("status", lambda _: "")(_show)


def _nagios_line(found: Status) -> str:
    """What is wrong, and behind the bar the age of the newest archives with their limits, in seconds."""
    problems = [problem.message for problem in found.problems]
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    text = f"{problems[0]}{more}" if problems else "all is well"
    ages = [
        f"'{f'{one.database} {one.kind}'.translate(_NOT_IN_LABELS)}'={one.newest.age_s:.0f}s;;{one.limits.age_s:.0f}"
        for one in found.series
        if one.newest and one.expected
    ]
    line = f"PGDRILL {_NAGIOS[found.verdict][1]} - {text}".replace("|", "/").replace("\n", " ")
    return f"{line} | {' '.join(ages)}" if ages else line


def _put(found: Status) -> None:
    now = found.at
    if found.series:
        header = ("", "database", "kind", "newest", "size", "rows", "verified", "last drill", "archives")
        put(render_columns(header, [_row(one, now) for one in found.series], right=[4, 5]) + "\n")
    put(render_columns(("", "place", "archives", "free", "full"), [_place_row(one) for one in found.places]) + "\n")
    if found.tasks:
        put(render_columns(("", "task", "last run", "next"), [_task_row(one, now) for one in found.tasks]) + "\n")
    for one in found.series:
        for remark in one.notes:
            put(f"note: {one.kind} of {one.database}: {remark}")
    if found.foreign:
        more = f" and {len(found.foreign) - 1} more" if len(found.foreign) > 1 else ""
        put(f"note: {found.foreign[0]}{more}: whose it is and of when is not known, so it is not judged")
    for problem in found.problems:
        put(f"{problem.severity}: {problem.message}\n  next: {problem.hint}")
    put(_SENTENCES[found.verdict])


_SENTENCES = {
    "ok": "all is well",
    "problem": "something is wrong",
    "unknown": "nothing is known to be wrong, but not all could be judged",
}


def _row(one: Series, now: datetime) -> tuple[str, ...]:
    newest = one.newest
    drill = one.last_drill
    return (
        _WORDS[one.verdict],
        one.database,
        one.kind,
        _age(newest, now),
        render_size(newest.size_bytes) if newest else "",
        f"{newest.rows:,}" if newest and newest.rows is not None else "",
        _age(one.verified, now),
        f"{drill.verdict.replace('_', ' ')} {render_age(now - drill.finished_at)}" if drill else "never",
        f"{one.count}, {render_size(one.size_bytes)}",
    )


def _age(archive: ArchiveView | None, now: datetime) -> str:
    return render_age(now - archive.taken_at) if archive else "none"


def _place_row(one: PlaceStatus) -> tuple[str, ...]:
    if one.archives is None or one.stored_bytes is None:
        return (_WORDS[one.verdict], one.location, "?", "?", "")
    if one.days_left is None:
        left = "not known yet"
    else:
        far = one.days_left > _FAR_DAYS
        left = "not within 10 years" if far else f"in {one.days_left:,.0f} days, if nothing is deleted"
    return (
        _WORDS[one.verdict],
        one.location,
        f"{one.archives}, {render_size(one.stored_bytes)}",
        render_size(one.free_bytes) if one.free_bytes is not None else "not known",
        left if one.free_bytes is not None else "",
    )


def _task_row(one: TaskStatus, now: datetime) -> tuple[str, ...]:
    if one.is_awaited:
        last = "none yet"
    elif one.last_ended_at is None:
        last = "not by pgdrill's schedule here"
    else:
        last = (
            f"{'ok' if not one.last_status else f'exit status {one.last_status}'} {render_age(now - one.last_ended_at)}"
        )
    return (_WORDS[one.verdict], one.name, last, f"{max(now, one.next_at):%Y-%m-%d %H:%M} UTC")
