"""What is read of the records that drills leave in the folder of reports."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

RECORD = "record.json"


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    seconds: float


class Objective(msgspec.Struct, frozen=True, kw_only=True):
    objective_s: float | None
    measured_s: float | None
    met: bool | None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    status: str  # passed, failed, could_not_verify, not_run, suppressed


class DrillRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One drill; the rest of its record is left to those it concerns."""

    drill_id: str
    started_at: datetime  # UTC
    finished_at: datetime  # UTC
    verdict: str
    summary: str
    level: str
    phases: tuple[Phase, ...]
    checks: tuple[Check, ...]
    rto: Objective
    rpo: Objective


def find_record(reports: Path, drill_id: str) -> DrillRecord | None:
    """The record of a drill; None where that drill left none here, or one that cannot be read."""
    if Path(drill_id).name != drill_id:  # it was read from a place that others may write
        return None
    try:
        return msgspec.json.decode((reports / drill_id / RECORD).read_bytes(), type=DrillRecord)
    except (OSError, msgspec.MsgspecError):
        return None
