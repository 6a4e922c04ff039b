"""What is wrong, or could not be judged, as a sentence and the next command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Verdict = Literal["ok", "problem", "unknown"]
Value = str | int | float | datetime | None
# Clocks of two machines may differ by so much before that is said.
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """`unknown` says that something could not be judged, which is no reason to believe that it is well."""

    code: str  # missing, stale, never-verified, …; docs/guides/monitoring.md lists them
    message: str
    hint: str  # what to do next; a command where there is one
    severity: Literal["problem", "unknown"] = "problem"
    variant: str = ""  # where one code has several texts in another language
    values: dict[str, Value] = field(default_factory=dict)  # what stands in these; a suffix is the unit

    @property
    def key(self) -> str:
        """Of the texts in other languages."""
        return f"{self.code}-{self.variant}" if self.variant else self.code


def command(*words: str) -> str:
    """A command of pgdrill as a person types it, whatever is in a name."""
    return shlex.join(("pgdrill", *words))


def verdict_of(problems: Iterable[Problem]) -> Verdict:
    severities = {problem.severity for problem in problems}
    return "problem" if "problem" in severities else "unknown" if severities else "ok"


def render_span(seconds: float) -> str:
    """Such as `31 hours`; of two days and more, `9 days`."""
    for unit, unit_s, begins_at in (("day", 86400, 2), ("hour", 3600, 1), ("minute", 60, 1)):
        if (count := int(seconds // unit_s)) >= begins_at:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{int(seconds)} s"
