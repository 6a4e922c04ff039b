"""What stands on the checklists: each item looks at what is known and gives what it saw, with the figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from backup_lib.catalog import resolve
from backup_lib.configuration import Configuration
from backup_lib.errors import BackupError
from backup_lib.expiry import plan_expiry
from backup_lib.ledger import digest_stored, read_ledger
from backup_lib.monitor.archives import read_promise
from backup_lib.monitor.known import ArchiveView, DrillView
from backup_lib.monitor.problem import CLOCK_SKEW, Problem, Value, command
from backup_lib.monitor.records import Objective
from backup_lib.monitor.series import Series
from backup_lib.monitor.status import Status
from backup_lib.places import open_place
from backup_lib.retention import Policy

Period = Literal["daily", "weekly", "monthly"]
# proved: seen to be so; failed: seen not to be so; unproved: could not be seen; person: no program can.
State = Literal["proved", "failed", "unproved", "person"]

_AGAIN = {"weekly": timedelta(days=7), "monthly": timedelta(days=31)}  # how old a drill may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One figure, or one thing that is wrong: a key of the texts, and what stands in it."""

    state: State
    key: str
    values: dict[str, Value] = field(default_factory=dict)
    next: str = ""  # a command, or what to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the items look at."""

    status: Status
    configuration: Configuration

    @property
    def policy(self) -> Policy:
        """What `pgdrill prune` goes by when it is given no options."""
        settings = self.configuration.settings.retention
        return Policy(
            keep_days=settings.keep_days,
            keep_max=settings.keep_max,
            daily=settings.keep_daily,
            weekly=settings.keep_weekly,
            monthly=settings.keep_monthly,
            yearly=settings.keep_yearly,
            quarantine_days=settings.quarantine_days,
        )

    @property
    def expected(self) -> list[Series]:
        return [one for one in self.status.series if one.expected]


def is_drilled(one: Series, now: datetime, period: Period) -> bool:
    drill = one.last_drill
    return (
        drill is not None
        and drill.verdict == "verified"
        and _is_recent(drill, now, period)
        and _is_enough(drill, period)
    )


def _is_recent(drill: DrillView, now: datetime, period: Period) -> bool:
    return now - _AGAIN[period] <= drill.finished_at <= now + CLOCK_SKEW


def _is_enough(drill: DrillView, period: Period) -> bool:
    """Each month all is compared; each week it is restored at least."""
    return drill.level == "full" or (period != "monthly" and drill.standing == "verified")


# daily


def _automatic_run(sight: Sight) -> Iterator[Seen]:
    task = next((task for task in sight.status.tasks if task.name == "backup"), None)
    unread = [problem for problem in sight.status.problems if problem.key == "unread-schedule"]
    if wrong := (*(task.problems if task else ()), *unread):
        yield from _wrong(wrong)
    elif task is not None and task.is_awaited:
        yield Seen(state="unproved", key="run-first", values={"next_at": task.next_at})
    elif task is None or task.last_ended_at is None:
        yield Seen(state="person", key="run-unknown", next="pgdrill schedule cron --help")
    else:
        yield Seen(state="proved", key="run-ok", values={"ended_at": task.last_ended_at, "next_at": task.next_at})


def _integrity(sight: Sight) -> Iterator[Seen]:
    for _, newest in _newest(sight):
        yield newest if isinstance(newest, Seen) else _hashed(newest)
    yield from _of_codes(sight, "manifest-damaged")


def _hashed(newest: ArchiveView) -> Seen:
    """What lies there now, read to its end: as promised, else as it was when a drill restored it."""
    values: dict[str, Value] = {"archive": newest.address}
    try:
        (found,) = resolve([newest.address], ".")
        size_bytes, sha256 = digest_stored(found.store, found.name)
        promise = read_promise(found, sha256)
        promised = promise.archive.sha256 if promise and promise.archive else None
        drilled = read_ledger(found.store, found.name).conclusion(size_bytes=size_bytes, sha256=sha256)
    except BackupError as exc:
        # A place that is down says nothing of what lies there; a file here that cannot be read is of no use.
        state: State = "unproved" if "://" in newest.address else "failed"
        return Seen(state=state, key="unreadable", values={**values, "reason": exc.message}, next=exc.hint)
    values |= {"read_bytes": size_bytes, "sha256": sha256}
    if promised is not None and promised != sha256:
        again = command("verify", newest.address)
        return Seen(state="failed", key="hash-differs", values=values | {"promised": promised}, next=again)
    if promised is not None:
        return Seen(state="proved", key="hash-promised", values=values)
    if drilled is not None and drilled.standing == "verified":
        return Seen(state="proved", key="hash-drilled", values=values | {"drill": drilled.drill_id})
    return Seen(state="unproved", key="hash-unknown", values=values, next=command("verify", newest.address))


def _size(sight: Sight) -> Iterator[Seen]:
    for one, newest in _newest(sight):
        if isinstance(newest, Seen):
            yield newest
        elif newest.rows is None:  # no manifest says how long it must be
            values: dict[str, Value] = {"archive": newest.name, "size_bytes": newest.size_bytes}
            yield Seen(state="unproved", key="size-unknown", values=values, next=command("show", newest.address))
        elif not any(problem.code == "size-differs" for problem in one.problems):
            yield Seen(
                state="proved",
                key="size-ok" if one.usual_bytes is None else "size-usual",
                values={
                    "archive": newest.name,
                    "size_bytes": newest.size_bytes,
                    "row_count": newest.rows,
                    "usual_bytes": one.usual_bytes,
                },
            )
    yield from _of_codes(sight, "size-differs", "size-fell", "rows-fell", "emptied")


def _date(sight: Sight) -> Iterator[Seen]:
    for one, newest in _newest(sight):
        if isinstance(newest, Seen):
            yield newest
        elif newest.age_s <= one.limits.age_s:
            values: dict[str, Value] = {"archive": newest.name, "taken_at": newest.taken_at, "age_s": newest.age_s}
            yield Seen(state="proved", key="date-ok", values=values | {"allowed_s": one.limits.age_s})
    yield from _of_codes(sight, "stale", "future")


# weekly


def _restored(sight: Sight) -> Iterator[Seen]:
    yield from _drilled(sight, "weekly")


def _drilled(sight: Sight, period: Period) -> Iterator[Seen]:
    for one, newest in _newest(sight):
        if isinstance(newest, Seen):
            yield newest
            continue
        drill = one.last_drill
        again = f"pgdrill checklist {period} --drill"
        if drill is None:
            yield Seen(state="unproved", key="never-drilled", values={"archive": newest.name}, next=again)
            continue
        values: dict[str, Value] = {"archive": drill.archive, "drill": drill.drill_id, "ended_at": drill.finished_at}
        if drill.verdict != "verified":
            yield from _wrong([p for p in one.problems if p.code in ("drill-failed", "drill-open", "objective-missed")])
        elif not _is_recent(drill, sight.status.at, period):
            yield Seen(state="unproved", key="drilled-long-ago", values=values, next=again)
        elif not _is_enough(drill, period):
            yield Seen(state="unproved", key="drilled-in-part", values=values | {"level": drill.level}, next=again)
        else:
            rto = drill.record.rto if drill.record else None
            values |= {
                "level": drill.level,
                "rto_s": rto.measured_s if rto else None,
                "objective_s": rto.objective_s if rto else None,
            }
            yield Seen(state="proved", key=_drilled_key(rto), values=values)


def _drilled_key(rto: Objective | None) -> str:
    if rto is None or rto.measured_s is None:
        return "drilled"
    return "drilled-in" if rto.objective_s is None else "drilled-within"


def _cleaning(sight: Sight) -> Iterator[Seen]:
    for place in sight.status.places:
        values: dict[str, Value] = {"place": place.location, "days": sight.policy.keep_days}
        if place.archives is None:
            yield from _wrong(place.problems)
            continue
        if not place.archives:
            yield Seen(state="unproved", key="place-empty", values=values)
            continue
        try:
            planned = plan_expiry(open_place(place.location), sight.policy, now=sight.status.at)
        except BackupError as exc:
            yield Seen(state="unproved", key="unreadable", values={"archive": place.location, "reason": exc.message})
            continue
        due = [one for one in planned if one.action != "keep"]
        if due:
            values |= {"due_count": len(due), "due_bytes": sum(one.found.size_bytes for one in due)}
            yield Seen(state="failed", key="cleaning-due", values=values, next=_prune(place.location))
        else:
            oldest = min(one.found.taken_at for one in planned)
            yield Seen(
                state="proved", key="cleaning-ok", values=values | {"kept_count": len(planned), "oldest_at": oldest}
            )


def _prune(location: str) -> str:
    return command("prune", "--backups", location, "--dry-run")


def _room(sight: Sight) -> Iterator[Seen]:
    for place in sight.status.places:
        values: dict[str, Value] = {"place": place.location}
        if place.problems:
            yield from _wrong(place.problems)
        elif place.free_bytes is None:
            yield Seen(state="person", key="room-unknown", values=values)
        else:
            values |= {"free_bytes": place.free_bytes, "stored_bytes": place.stored_bytes, "days_left": place.days_left}
            yield Seen(state="proved", key="room-ok" if place.days_left is None else "room-for", values=values)


def _logs(sight: Sight) -> Iterator[Seen]:
    yield Seen(state="person", key="read-logs")
    for task in sight.status.tasks:
        if task.last_ended_at:
            values: dict[str, Value] = {"task": task.name, "ended_at": task.last_ended_at, "status": task.last_status}
            yield Seen(state="person", key="last-run", values=values)


# monthly


def _recovered(sight: Sight) -> Iterator[Seen]:
    yield from _drilled(sight, "monthly")


def _encryption(sight: Sight) -> Iterator[Seen]:
    wanted = _asks_for_encryption(sight.configuration)
    for one, newest in _newest(sight):
        if isinstance(newest, Seen):
            yield newest
            continue
        values: dict[str, Value] = {"archive": newest.name, "program": newest.encryption}
        if newest.encryption is None:
            yield Seen(
                state="failed" if wanted else "person",
                key="not-encrypted-though-asked" if wanted else "not-encrypted",
                values=values,
                next="pgdrill backup --encrypt",
            )
        elif one.verified and one.verified.encryption:  # it was opened, or nothing could have been restored
            yield Seen(state="proved", key="encrypted", values=values | {"opened": one.verified.name})
        else:
            yield Seen(
                state="unproved", key="encrypted-unopened", values=values, next=command("verify", newest.address)
            )


def _asks_for_encryption(configuration: Configuration) -> bool:
    settings = configuration.settings.encryption
    return bool(settings.encrypt or settings.recipients or settings.recipients_file)


def _documentation(_: Sight) -> Iterator[Seen]:
    yield Seen(state="person", key="update-documentation")


def _retention(sight: Sight) -> Iterator[Seen]:
    yield Seen(
        state="person", key="review-retention", values={"days": sight.policy.keep_days}, next="pgdrill prune --dry-run"
    )
    for one in sight.status.series:
        values: dict[str, Value] = {"what": _what(one), "kept_count": one.count, "size_bytes": one.size_bytes}
        yield Seen(state="person", key="kept", values=values)


LISTS: dict[Period, dict[str, Callable[[Sight], Iterator[Seen]]]] = {
    "daily": {"automatic-run": _automatic_run, "integrity": _integrity, "size": _size, "date": _date},
    "weekly": {"restore": _restored, "cleaning": _cleaning, "room": _room, "logs": _logs},
    "monthly": {
        "recovery": _recovered,
        "encryption": _encryption,
        "documentation": _documentation,
        "retention": _retention,
    },
}


def _newest(sight: Sight) -> Iterator[tuple[Series, ArchiveView | Seen]]:
    """The newest archive of each database and kind; where there is none, what is to be said of that."""
    for one in sight.expected:
        if one.newest:
            yield one, one.newest
            continue
        absent = [problem for problem in one.problems if problem.code in ("missing", "future")]
        for seen in (
            _wrong(absent) if absent else [Seen(state="unproved", key="nothing-known", values={"what": _what(one)})]
        ):
            yield one, seen


def _of_codes(sight: Sight, *codes: str) -> Iterator[Seen]:
    for one in sight.expected:
        if one.newest:  # else it is said already
            yield from _wrong([problem for problem in one.problems if problem.code in codes])


def _wrong(problems: Sequence[Problem]) -> Iterator[Seen]:
    for problem in problems:
        yield Seen(
            state="failed" if problem.severity == "problem" else "unproved",
            key="problem",
            values={**problem.values, "code": problem.code, "text": problem.key, "message": problem.message},
            next=problem.hint,
        )


def _what(one: Series) -> str:
    return f"{one.database} ({one.kind})"
