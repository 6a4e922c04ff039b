"""What is known of the archives of one database and kind, and how one of them is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from backup_lib.ledger import Standing
from backup_lib.monitor.archives import Archive, Promise
from backup_lib.monitor.expected import Expected
from backup_lib.monitor.records import DrillRecord


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
    address: str  # its path or URL
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
