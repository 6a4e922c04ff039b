"""How the archives of one database and kind stand. Pure: it takes what is known, and `now`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median

from backup_lib.ledger import Entry
from backup_lib.monitor import faults
from backup_lib.monitor.archives import Archive, Group
from backup_lib.monitor.drift import WINDOW, check_drift
from backup_lib.monitor.expected import Limits
from backup_lib.monitor.known import ArchiveView, DrillView, Known
from backup_lib.monitor.problem import CLOCK_SKEW, Problem, Verdict, verdict_of
from backup_lib.settings import StatusSettings


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
    usual_bytes: float | None  # median size of those before the newest; None where its size was not judged
    interval_s: float | None  # median time between the last of them
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.problems)


def last_drill(archives: Sequence[Archive]) -> tuple[Archive, Entry] | None:
    drilled = [(archive, entry) for archive in archives if (entry := archive.last_drill)]
    return max(drilled, key=lambda pair: pair[1].finished_at, default=None)


def judge(group: Group, known: Known, limits: Limits, settings: StatusSettings, now: datetime) -> Series:
    past = [archive for archive in known.archives if archive.taken_at <= now + CLOCK_SKEW]
    newest = past[0] if past else None
    verified = next((archive for archive in past if known.standing(archive) == "verified"), None)
    drilled = last_drill(known.archives)
    problems = [*faults.of_clocks(known, drilled, now), *faults.of_copies(known, past)]
    notes: list[str] = []
    usual_bytes = None
    if newest is None:
        problems += faults.of_none(group, known)
    else:
        problems += faults.of_newest(newest, known, drilled[1].drill_id if drilled else "")
        if known.expected:
            problems += faults.of_ages(group, newest, verified, known, known.expected, limits, now)
        else:
            notes.append("it is not configured, so its age is not judged")
        drift = check_drift(
            newest.measured(known.promises.get(newest.found.name)),
            [archive.measured(known.promises.get(archive.found.name)) for archive in past[1 : WINDOW + 1]],
            settings,
        )
        problems += drift.problems
        usual_bytes = drift.usual_bytes
        notes += drift.notes
    view = _drill_view(known, *drilled) if drilled else None
    if view:
        problems += faults.of_drill(view, known.report or f"the report of {view.drill_id}, where it ran")
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
        usual_bytes=usual_bytes,
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
        address=archive.found.address,
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
