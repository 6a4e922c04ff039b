"""How all that is backed up stands now: archives, drills, places and the schedule, each with a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from backup_lib.catalog import Found, list_archives, look_into
from backup_lib.configuration import Configuration
from backup_lib.errors import BackupError
from backup_lib.monitor.archives import Archive, Group, group_archives, read_promises
from backup_lib.monitor.drift import WINDOW
from backup_lib.monitor.expected import (
    Expected,
    expected_by_what_is_there,
    expected_groups,
    limits,
    places_of,
)
from backup_lib.monitor.known import Known
from backup_lib.monitor.problem import CLOCK_SKEW, Problem, Verdict, verdict_of
from backup_lib.monitor.records import find_record
from backup_lib.monitor.room import PlaceStatus, judge_room, unreadable
from backup_lib.monitor.series import Series, judge, last_drill
from backup_lib.places import open_place
from backup_lib.scheduler import Run, Task, check_health, crons_of, due_at, read_state
from backup_lib.store import LocalStore, Store

_EXIT = {"ok": 0, "problem": 1, "unknown": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatus:
    """What runs at its times."""

    name: str  # backup, drill, …
    next_at: datetime  # UTC; in the past when it is due
    last_ended_at: datetime | None  # UTC; None: pgdrill's schedule never ran it here
    last_status: int | None  # exit status
    is_awaited: bool = False  # pgdrill's schedule runs here, and its first time is still to come
    problems: tuple[Problem, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All of it, at one moment."""

    at: datetime  # UTC
    series: tuple[Series, ...]
    places: tuple[PlaceStatus, ...]
    tasks: tuple[TaskStatus, ...]
    foreign: tuple[str, ...]  # archives of which neither database nor time is known: not judged
    others: tuple[Problem, ...] = ()  # of none of them

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them, those that are certain first."""
        parts: tuple[Series | PlaceStatus | TaskStatus, ...] = (*self.series, *self.places, *self.tasks)
        found = [*(problem for part in parts for problem in part.problems), *self.others]
        return tuple(sorted(found, key=lambda problem: problem.severity))

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.problems)

    @property
    def exit_status(self) -> int:
        """0 all is well, 1 something is wrong, 3 nothing is known to be, but not all could be judged."""
        return _EXIT[self.verdict]


def examine(configuration: Configuration, *, now: datetime, place: str | None = None) -> Status:
    """Look at all places, manifests and ledgers; no archive is read.

    :param place: looked at instead of those that are configured.
    """
    expected = expected_groups(configuration, place)
    looked = [_look(where, configuration, now) for where in places_of(configuration, expected, place)]
    groups, foreign = group_archives((status.location, one) for found, status in looked for one in found)
    if not any(kind != "config" for _, kind in expected):
        expected |= expected_by_what_is_there(configuration, groups, place)
    unread = {status.location for _, status in looked if status.archives is None}
    series = [
        _series(group, groups.get(group, []), _located(expected.get(group)), unread, configuration, now)
        for group in sorted({*expected, *groups})
    ]
    others = []
    if not series:
        others.append(
            Problem(
                code="nothing",
                severity="unknown",
                message="no database is configured, and no archive is found: there is nothing to judge",
                hint="make an archive: pgdrill backup; or name a database (pgdrill init), or a place: --backups",
            )
        )
    tasks, trouble = _tasks(configuration, now)
    return Status(
        at=now,
        series=tuple(series),
        places=tuple(status for _, status in looked),
        tasks=tasks,
        foreign=tuple(one.name for one in foreign),
        others=(*others, *trouble),
    )


def _located(expected: Expected | None) -> Expected | None:
    """Places by the names that stores have for themselves."""
    return replace(expected, places=tuple(map(_location, expected.places))) if expected else None


def _location(where: str) -> str:
    try:
        return open_place(where).location
    except BackupError:
        return where


def _look(where: str, configuration: Configuration, now: datetime) -> tuple[list[Found], PlaceStatus]:
    try:
        store = open_place(where)
        found = [] if _is_absent(store) else _look_at_newest(list_archives(store, by_name=True))
        free_bytes = None if _is_absent(store) else store.free_bytes()
    except BackupError as exc:
        return [], unreadable(_location(where), exc.message, exc.hint)
    rounds = configuration.settings.status.room
    return found, judge_room(store.location, found, free_bytes, rounds=rounds, now=now)


def _look_at_newest(listed: Sequence[Found]) -> list[Found]:
    """The same, with what the manifests of the newest of each database and kind say; the others are as their names."""
    seen: Counter[Group] = Counter()
    newest: list[Found] = []
    others: list[Found] = []
    for one in listed:
        group = (one.database or "", one.kind or "")
        seen[group] += 1
        # A few more than are judged: a name may be of a moment before or after the snapshot's.
        (newest if seen[group] <= 2 * WINDOW else others).append(one)
    return [*look_into(newest), *others]


def _is_absent(store: Store) -> bool:
    """A folder that nobody made yet holds nothing, which is certain."""
    return isinstance(store, LocalStore) and not store.folder.exists()


def _series(
    group: Group,
    archives: Sequence[Archive],
    expected: Expected | None,
    unread: set[str],
    configuration: Configuration,
    now: datetime,
) -> Series:
    settings = configuration.settings
    past = [archive for archive in archives if archive.taken_at <= now + CLOCK_SKEW]
    drilled = last_drill(archives)
    reports = Path(settings.verify.reports)
    record = find_record(reports, drilled[1].drill_id) if drilled else None
    known = Known(
        archives=archives,
        promises=read_promises(past[: WINDOW + 1]),
        expected=expected,
        record=record,
        report=str(reports / record.drill_id / "report.md") if record else "",
        unread=tuple(where for where in (expected.places if expected else ()) if where in unread),
    )
    rpo_s = expected.rpo_s if expected else None
    return judge(group, known, limits(configuration, group[1], rpo_s, now), settings.status, now)


def _tasks(configuration: Configuration, now: datetime) -> tuple[tuple[TaskStatus, ...], tuple[Problem, ...]]:
    crons = crons_of(configuration.settings.schedule)
    crons.pop("status", None)  # it fails by what is wrong here, which is no second problem
    tasks = [Task(name=name, cron=cron, commands=()) for name, cron in crons.items()]
    try:
        state = read_state(Path(configuration.settings.schedule.state))
    except BackupError as exc:
        trouble = Problem(
            code="unread",
            severity="unknown",
            message=exc.message,
            hint=exc.hint,
            variant="schedule",
            values={"place": configuration.settings.schedule.state},
        )
        return (), (trouble,)
    return tuple(_task(task, state.get(task.name), configuration, now) for task in tasks), ()


def _task(task: Task, last: Run | None, configuration: Configuration, now: datetime) -> TaskStatus:
    """What pgdrill's schedule never ran here is not judged: somebody else may run it, and its archives tell."""
    grace_s = configuration.settings.status.grace_s
    is_ahead = last is not None and (last.ended_at or last.due_at) > now + CLOCK_SKEW
    is_judged = last is not None and (last.status or not is_ahead)
    wrong = check_health([task], {task.name: last}, now, grace_s=grace_s) if last and is_judged else []
    problems = [_of_run(task, last, sentence, now) for sentence in wrong if last]
    if last and is_ahead:
        at = last.ended_at or last.due_at
        problems.append(
            Problem(
                code="future",
                message=f"the last run of {task.name} is noted at {at:%Y-%m-%d %H:%M} UTC, which is in the future",
                hint="see which clock was wrong: timedatectl",
                variant="run",
                values={"task": task.name, "at": at},
            )
        )
    return TaskStatus(
        name=task.name,
        next_at=due_at(task, last, now),
        last_ended_at=last.ended_at if last else None,
        last_status=last.status if last else None,
        is_awaited=last is not None and last.ended_at is None,
        problems=tuple(problems),
    )


def _of_run(task: Task, last: Run, sentence: str, now: datetime) -> Problem:
    """It failed, or its time went by."""
    again = f"run it now: pgdrill schedule once {task.name}"
    if last.status:
        return Problem(
            code="schedule",
            message=sentence,
            hint=again,
            variant="failed",
            values={"task": task.name, "status": last.status, "ended_at": last.ended_at},
        )
    due = due_at(task, last, now)
    return Problem(code="schedule", message=sentence, hint=again, values={"task": task.name, "due_at": due})


def describe(status: Status) -> dict[str, Any]:
    """As JSON has it; every part with its verdict."""
    told: dict[str, Any] = msgspec.to_builtins(status)
    for name in ("series", "places", "tasks"):
        for part, plain in zip(getattr(status, name), told[name], strict=True):
            plain["verdict"] = part.verdict
    return {"verdict": status.verdict, "exit_status": status.exit_status, **told}
