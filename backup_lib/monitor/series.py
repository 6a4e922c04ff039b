"""How the archives of one database and kind stand. Pure: it takes what is known, and `now`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

from backup_lib.ledger import Entry, Standing
from backup_lib.monitor.archives import Archive, Group, Promise
from backup_lib.monitor.drift import WINDOW, check_drift
from backup_lib.monitor.expected import Expected, Limits
from backup_lib.monitor.problem import CLOCK_SKEW, Problem, Verdict, render_span, verdict_of
from backup_lib.monitor.records import DrillRecord
from backup_lib.settings import StatusSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveView:
    """One archive."""

    name: str
    address: str
    taken_at: datetime  # UTC
    age_s: float
    size_bytes: int
    standing: Standing
    encryption: str | None
    seconds: float | None  # how long its backup took
    rows: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillView:
    """The last drill."""

    archive: str
    drill_id: str
    verdict: str
    standing: Standing | None  # what it made of the archive; None: it came to no conclusion
    level: str
    finished_at: datetime  # UTC
    size_bytes: int  # of the archive
    age_s: float  # of the archive then
    objective_missed: bool  # the data is fine, the RTO or RPO was missed
    record: DrillRecord | None  # None where it left none here


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The archives of one database and kind."""

    database: str
    kind: str
    expected: bool  # by the configuration; else no age is judged
    limits: Limits
    newest: ArchiveView | None
    verified: ArchiveView | None  # the newest that a drill restored and found equal
    last_drill: DrillView | None
    last_success_at: datetime | None  # UTC; when the last drill ended that found nothing wrong with its archive
    count: int
    size_bytes: int  # of all of them, copies too
    interval_s: float | None  # median time between the last of them
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a database and kind."""

    archives: Sequence[Archive]  # the newest first
    promises: Mapping[str, Promise]  # of the newest of them, by name
    expected: Expected | None
    record: DrillRecord | None = None  # of the last drill
    report: str = ""  # where a person reads of it
    unread: tuple[str, ...] = ()  # places that ought to hold some and could not be read

    def sha256(self, archive: Archive) -> str | None:
        promise = self.promises.get(archive.found.name)
        return promise.archive.sha256 if promise and promise.archive else None

    def standing(self, archive: Archive) -> Standing:
        """The best of its copies: a copy that failed is a problem by itself, not of the others."""
        standings = {copy.standing(self.sha256(archive)) for copy in archive.copies}
        return "verified" if "verified" in standings else "failed" if "failed" in standings else "unverified"


def last_drill(archives: Sequence[Archive]) -> tuple[Archive, Entry] | None:
    drilled = [(archive, entry) for archive in archives if (entry := archive.last_drill)]
    return max(drilled, key=lambda pair: pair[1].finished_at, default=None)


def judge(group: Group, known: Known, limits: Limits, settings: StatusSettings, now: datetime) -> Series:
    past = [archive for archive in known.archives if archive.taken_at <= now + CLOCK_SKEW]
    newest = past[0] if past else None
    verified = next((archive for archive in past if known.standing(archive) == "verified"), None)
    drilled = last_drill(known.archives)
    what = f"{group[1]} archive of {group[0]}"
    problems = [*_of_clocks(known, drilled, now), *_of_copies(known, past)]
    notes: list[str] = []
    if newest is None:
        problems += _of_none(what, known)
    else:
        problems += _of_newest(newest, known, drilled[1].drill_id if drilled else "")
        if known.expected:
            problems += _of_ages(what, newest, verified, known, known.expected, limits, now)
        else:
            notes.append("it is not configured, so its age is not judged")
        drift = check_drift(
            newest.measured(known.promises.get(newest.found.name)),
            [archive.measured(known.promises.get(archive.found.name)) for archive in past[1 : WINDOW + 1]],
            settings,
        )
        problems += drift.problems
        notes += drift.notes
    view = _drill_view(known, *drilled) if drilled else None
    if view:
        problems += _of_drill(view, known.report or f"the report of {view.drill_id}, where it ran")
    times = [archive.taken_at for archive in past[: WINDOW + 1]]
    successes = [
        entry.finished_at
        for archive in known.archives
        for copy in archive.copies
        for entry in copy.ledger.entries
        if entry.size_bytes == copy.found.size_bytes and entry.standing == "verified"
    ]
    return Series(
        database=group[0],
        kind=group[1],
        expected=known.expected is not None,
        limits=limits,
        newest=_view(newest, known, now) if newest else None,
        verified=_view(verified, known, now) if verified else None,
        last_drill=view,
        last_success_at=max(successes, default=None),
        count=len(known.archives),
        size_bytes=sum(copy.found.size_bytes for archive in known.archives for copy in archive.copies),
        interval_s=median((a - b).total_seconds() for a, b in pairwise(times)) if len(times) > 1 else None,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _view(archive: Archive, known: Known, now: datetime) -> ArchiveView:
    promise = known.promises.get(archive.found.name)
    facts = promise.archive if promise else None
    return ArchiveView(
        name=archive.found.name,
        address=archive.found.address,
        taken_at=archive.taken_at,
        age_s=max(0.0, (now - archive.taken_at).total_seconds()),
        size_bytes=archive.found.size_bytes,
        standing=known.standing(archive),
        encryption=archive.found.encryption,
        seconds=(facts.finished_at - facts.started_at).total_seconds() if facts else None,
        rows=sum(promise.rows.values()) if promise else None,
    )


def _drill_view(known: Known, archive: Archive, entry: Entry) -> DrillView:
    return DrillView(
        archive=archive.found.name,
        drill_id=entry.drill_id,
        verdict=entry.verdict,
        standing=entry.standing,
        level=entry.level,
        finished_at=entry.finished_at,
        size_bytes=entry.size_bytes,
        age_s=max(0.0, (entry.finished_at - archive.taken_at).total_seconds()),
        objective_missed=entry.verdict == "failed" and set(entry.causes) == {"policy"},
        record=known.record,
    )


def _of_none(what: str, known: Known) -> Iterator[Problem]:
    if known.archives or not known.expected:
        return  # only of the future, which is said
    if known.unread:
        yield Problem(
            code="unread",
            severity="unknown",
            message=f"whether there is a {what} is not known: {', '.join(known.unread)} cannot be read",
            hint="see what is said of that place",
        )
    else:
        yield Problem(
            code="missing",
            message=f"there is no {what} in {' or '.join(known.expected.places)}",
            hint=f"make one: {known.expected.backup}",
        )


def _of_newest(newest: Archive, known: Known, last_drill_id: str) -> Iterator[Problem]:
    another = "make a new archive: " + (known.expected.backup if known.expected else "pgdrill backup")
    name, promise = newest.found.name, known.promises.get(newest.found.name)
    if newest.found.has_manifest and promise is None:
        yield Problem(
            code="manifest-damaged",
            message=f"the manifest of {name} cannot be read, so nothing tells what the archive must hold",
            hint=f"move it away and see what the archive is: pgdrill verify {name}; or " + another,
        )
    for copy in newest.copies:
        size_bytes = copy.found.size_bytes
        promised = promise.archive.size_bytes if promise and promise.archive else None
        if size_bytes == 0 or (promised is not None and promised != size_bytes):
            wanted = "" if promised is None else f"; its manifest promises {promised:,}"
            yield Problem(
                code="size-differs",
                message=f"{copy.found.address} has {size_bytes:,} bytes{wanted}",
                hint=another,
            )
        elif copy.standing(known.sha256(newest)) == "failed":
            entry = copy.conclusion(known.sha256(newest))
            if entry and entry.drill_id != last_drill_id:  # of the last one that is said by itself
                yield Problem(
                    code="newest-failed",
                    message=f"{copy.found.address}, the newest, failed its drill {entry.drill_id}",
                    hint=another,
                )


def _of_ages(
    what: str,
    newest: Archive,
    verified: Archive | None,
    known: Known,
    expected: Expected,
    limits: Limits,
    now: datetime,
) -> Iterator[Problem]:
    age_s = (now - newest.taken_at).total_seconds()
    if age_s > limits.age_s:
        yield Problem(
            code="stale",
            severity="unknown" if known.unread else "problem",  # a newer one may lie where nobody could look
            message=f"the newest {what} is {render_span(age_s)} old ({newest.taken_at:%Y-%m-%d %H:%M} UTC); "
            f"{render_span(limits.age_s)} are allowed"
            + (f"; {', '.join(known.unread)} cannot be read" if known.unread else ""),
            hint=f"see why none was made: pgdrill schedule health; make one: {expected.backup}",
        )
    drill = f"pgdrill verify {newest.found.address}"
    if verified is None:
        yield Problem(code="never-verified", message=f"no {what} is proved to restore", hint=f"prove one: {drill}")
    elif limits.verified_age_s is not None:
        age_s = (now - verified.taken_at).total_seconds()
        if age_s > limits.verified_age_s:
            yield Problem(
                code="verified-stale",
                message=f"the newest {what} that is proved to restore is {render_span(age_s)} old "
                f"({verified.taken_at:%Y-%m-%d %H:%M} UTC); {render_span(limits.verified_age_s)} are allowed",
                hint=f"prove a newer one: {drill}",
            )


def _of_drill(drill: DrillView, report: str) -> Iterator[Problem]:
    said = f": {drill.record.summary}" if drill.record else ""
    at = f"{drill.finished_at:%Y-%m-%d %H:%M} UTC"
    if drill.objective_missed:
        yield Problem(
            code="objective-missed",
            message=f"the drill of {drill.archive} on {at} missed an objective; its data is fine{said}",
            hint=f"see where the time went: {report}",
        )
    elif drill.verdict == "failed":
        yield Problem(
            code="drill-failed",
            message=f"the last drill, of {drill.archive} on {at}, failed{said}",
            hint=f"read {report}; after that: pgdrill verify {drill.archive}",
        )
    elif drill.verdict != "verified":
        yield Problem(
            code="drill-open",
            severity="unknown",
            message=f"the last drill, of {drill.archive} on {at}, could not be carried out to its end{said}",
            hint="see what this machine lacks: pgdrill doctor",
        )


def _of_clocks(known: Known, drilled: tuple[Archive, Entry] | None, now: datetime) -> Iterator[Problem]:
    ahead = [archive for archive in known.archives if archive.taken_at > now + CLOCK_SKEW]
    for archive in ahead:
        yield Problem(
            code="future",
            message=f"{archive.found.name} says it was taken at {archive.taken_at:%Y-%m-%d %H:%M} UTC, "
            "which is in the future; it is not counted",
            hint="see which clock is wrong, this one or that of where it was made: timedatectl",
        )
    if drilled and drilled[1].finished_at > now + CLOCK_SKEW:
        yield Problem(
            code="future",
            message=f"the drill of {drilled[0].found.name} says it ended at "
            f"{drilled[1].finished_at:%Y-%m-%d %H:%M} UTC, which is in the future",
            hint="see which clock is wrong, this one or that of where it ran: timedatectl",
        )


def _of_copies(known: Known, past: Sequence[Archive]) -> Iterator[Problem]:
    """The newest must lie in each of its places that could be read."""
    if not known.expected or not past:
        return
    held = {copy.found.store.location for copy in past[0].copies}
    lacking = [place for place in known.expected.places if place not in held | set(known.unread)]
    if lacking and len(known.expected.places) > 1:
        yield Problem(
            code="copy-missing",
            message=f"{past[0].found.name}, the newest, is not in {' nor in '.join(lacking)}",
            hint=f"copy it: pgdrill sync {' '.join(known.expected.places)}",
        )
