"""Findings: what a check saw. A match is one too, since it is the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

Cause = Literal["archive", "source", "environment", "policy"]
Status = Literal["match", "note", "fault", "gap", "suppressed"]
"""match: as promised · note: said, but no fault · fault: fails the archive · gap: could not be verified ·
suppressed: a fault or gap that somebody answers for until a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """Who answers for a fault or gap, why, and until when."""

    was: Literal["fault", "gap"]
    reason: str
    owner: str
    expires: date  # the last day on which it holds, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing a check looked at. Never holds a row's values: counts, digests, names only."""

    check: str  # the check's name: row-count, schema, content, …
    object: str  # what it is about: a table, an entry, the archive
    status: Status
    expected: str = ""
    actual: str = ""
    cause: Cause | None = None  # set on a fault or gap
    why: str = ""  # why it matters
    hint: str = ""  # the command or step that mends it
    suppressed: Suppressed | None = None  # set where the status is that


def match(check: str, subject: str, value: str) -> Finding:
    return Finding(check=check, object=subject, status="match", expected=value, actual=value)


def fault(check: str, subject: str, expected: str, actual: str, *, why: str, hint: str) -> Finding:
    """What fails the archive, which is to blame for it."""
    return Finding(
        check=check,
        object=subject,
        status="fault",
        cause="archive",
        expected=expected,
        actual=actual,
        why=why,
        hint=hint,
    )
