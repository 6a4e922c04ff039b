"""Findings: what a check saw. A match is one too, since it is the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Cause = Literal["archive", "source", "environment", "policy"]
Status = Literal["match", "note", "fault", "gap"]
"""match: as promised · note: said, but no fault · fault: fails the archive · gap: could not be verified."""


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


def match(check: str, subject: str, value: str) -> Finding:
    return Finding(check=check, object=subject, status="match", expected=value, actual=value)
