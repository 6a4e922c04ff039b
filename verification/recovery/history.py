"""Drills that may be compared with one another, and whether recovery has become slower."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from verification.evidence.folder import RECORD
from verification.evidence.record import Record, read_record

_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Times are compared only where all of this is the same."""

    sandbox: str
    processors: int
    memory_gib: int
    jobs: int | None
    major: str
    database: str | None
    kind: str
    format: str | None
    compression: str | None
    encrypted: bool
    level: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The drills like this one that ended before it, the oldest first."""

    earlier: tuple[Record, ...]
    usual_bytes_per_s: float | None  # of text restored, the median of the earlier ones
    ratio: float | None  # this one's speed to it: 0.5 is half as fast
    others: int  # drills there are that are not like it, or tell no time


def likeness(record: Record) -> Alike | None:
    """None of a drill that restored nothing."""
    sandbox, archive = record.sandbox, record.archive
    if sandbox is None or speed_of(record) is None:
        return None
    return Alike(
        sandbox=sandbox.kind,
        processors=sandbox.processors,
        memory_gib=round(sandbox.memory_bytes / _GIB),
        jobs=record.load.jobs if record.load else None,
        major=sandbox.server_version.partition(".")[0],
        database=archive.database,
        kind=archive.kind,
        format=archive.format,
        compression=archive.compression,
        encrypted=archive.encryption is not None,
        level=record.level,
    )


def speed_of(record: Record) -> float | None:
    """Bytes of text restored a second, over the whole recovery time; None where either is unknown."""
    if not record.rto.measured_s or not record.archive.text_bytes:
        return None
    return record.archive.text_bytes / record.rto.measured_s


def compare(record: Record, others: Iterable[Record]) -> History:
    """Hold a drill against those like it that ended before."""
    like, earlier, unlike = likeness(record), [], 0
    for other in others:
        if other.drill_id == record.drill_id or other.finished_at > record.finished_at:
            continue
        if like is not None and likeness(other) == like:
            earlier.append(other)
        else:
            unlike += 1
    earlier.sort(key=lambda other: other.finished_at)
    speeds = [speed for other in earlier if (speed := speed_of(other)) is not None]
    usual = statistics.median(speeds) if speeds else None
    own = speed_of(record)
    ratio = own / usual if own is not None and usual else None
    return History(earlier=tuple(earlier), usual_bytes_per_s=usual, ratio=ratio, others=unlike)


def read_records(reports: Path) -> list[Record]:
    """Of all drills there; what cannot be read as a record is passed over."""
    found = []
    for path in sorted(reports.glob(f"*/{RECORD}")):
        if path.parent.is_symlink():  # `latest`
            continue
        try:
            found.append(read_record(path))
        except (OSError, msgspec.MsgspecError):
            continue
    return found
