"""What the measured recovery time was made of, and what bounds it. Pure: a record in, words and numbers out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verification.evidence.record import LoadRecord, Record, StepRecord
from verification.phases import ANALYZE, DATA, FETCH, FIRST_QUERY, PRE_DATA, READ, START

Kind = Literal["fetching", "reading", "one step", "disk", "processors", "order", "unknown"]

_MOST = 0.5  # of the time: what takes more bounds it
_BUSY = 0.85
_AT_ONCE_S = 0.1  # a step that begins so soon after another ended had waited for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A part of the critical path: nothing else could go on before it was done."""

    name: str
    began_s: float  # seconds after the drill began
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    kind: Kind
    sentence: str  # for people, and what would help


def phase_seconds(record: Record, name: str) -> float:
    """0 where it did not take place."""
    return sum(phase.seconds for phase in record.phases if phase.name == name)


def critical_path(record: Record) -> list[Leg]:
    """From the fetch to the first query; of the loading the chain of steps, each of which the next one waited for.

    What lies between them was shorter work, or waiting for the reader.
    """
    legs = [_leg(record, name) for name in (FETCH, START, PRE_DATA)]
    if record.load is not None:
        legs += [Leg(name=s.entry, began_s=s.began_s, seconds=s.seconds) for s in _chain(record.load.steps)]
    legs += [_leg(record, name) for name in (ANALYZE, FIRST_QUERY)]
    return [leg for leg in legs if leg is not None]


def _leg(record: Record, name: str) -> Leg | None:
    phase = next((phase for phase in record.phases if phase.name == name), None)
    return Leg(name=name, began_s=phase.began_s or 0.0, seconds=phase.seconds) if phase else None


def _chain(steps: tuple[StepRecord, ...]) -> list[StepRecord]:
    """Backwards from the step that ended last: the one before it is what ended last before it began."""
    if not steps:
        return []
    chain = [max(steps, key=_end)]
    while earlier := [s for s in steps if s.began_s < chain[0].began_s and _end(s) <= chain[0].began_s + _AT_ONCE_S]:
        chain.insert(0, max(earlier, key=_end))
    return chain


def _end(step: StepRecord) -> float:
    return step.began_s + step.seconds


def bound_of(record: Record) -> Bound:
    """What the recovery time would fall with. The first of these that holds, from what is plainest to tell."""
    load, whole_s = record.load, record.rto.measured_s
    if load is None or not whole_s or not load.seconds:
        return Bound(kind="unknown", sentence="This record does not tell: nothing was loaded, or its version is older.")
    fetched_s = phase_seconds(record, FETCH)
    if fetched_s >= _MOST * whole_s:
        share = f"{fetched_s / whole_s:.0%}"
        return Bound(kind="fetching", sentence=f"Fetching the archive: {share} of the time. A nearer copy would help.")
    reading_s, data_s = phase_seconds(record, READ), phase_seconds(record, DATA)
    if reading_s >= 0.8 * data_s and data_s >= _MOST * load.seconds:
        what = "decrypting, decompressing" if record.archive.encryption else "decompressing"
        return Bound(
            kind="reading",
            sentence=f"Reading the archive ({what}, hashing) on one processor: {reading_s:.1f} s of the {data_s:.1f} s "
            "in which rows were loaded. zstd reads faster than gzip; more connections would not help.",
        )
    longest = max(load.steps, key=lambda step: step.seconds, default=None)
    idle = 1 - load.work_s / (load.jobs * load.seconds)
    if longest is not None and longest.seconds >= _MOST * load.seconds and idle >= 0.2:
        return Bound(
            kind="one step",
            sentence=f"{longest.entry}: {longest.seconds:.1f} s of {load.seconds:.1f} s, while connections stood idle "
            f"for {idle:.0%} of their time. More processors would not help; a smaller table, or partitions, would.",
        )
    return _of_machine(load, idle)


def _of_machine(load: LoadRecord, idle: float) -> Bound:
    busy, waiting = load.machine_busy, load.machine_waiting
    if waiting is not None and waiting >= 0.2:
        return Bound(kind="disk", sentence=f"The disk: processors waited for it for {waiting:.0%} of their time.")
    if idle < 0.2 or (busy is not None and busy >= _BUSY):
        said = "" if busy is None else f"; the machine's were used to {busy:.0%}, whatever else ran on it included"
        return Bound(
            kind="processors",
            sentence=f"Processors: {load.jobs} connections had work for {1 - idle:.0%} of the time{said}. pgdrill "
            f"itself took {load.own_cpu_s:.1f} s of them, the server the rest. More, and as many --jobs, would help.",
        )
    return Bound(
        kind="order",
        sentence=f"Waiting for one another: connections stood idle for {idle:.0%} of their time, since keys wait for "
        "rows and foreign keys for keys. More processors would help little.",
    )
