"""What loading a dump did, and how long each part of it took."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from backup_lib.load_order import Table
from backup_lib.statement_errors import StatementError


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """One piece of the work that runs side by side: a table's rows, a key, an index."""

    label: str  # of its entry
    table: Table | None  # None: of none that is known
    began: float  # by the monotonic clock
    seconds: float  # until it was done, with waiting for the reader where that is slower
    size_bytes: int | None = None  # of rows


@dataclass(slots=True)
class LoadReport:
    """What loading did; `section_s` holds wall seconds of the sections there are: pre-data, data, post-data."""

    errors: list[StatementError] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # backslash commands, by their first word
    passed_over: int = 0  # statements that were to remove what is not there, or to make the schema public, which is
    steps: list[StepTime] = field(default_factory=list)  # in the order they ended
    jobs: int = 1
    reader_waited_s: float = 0.0  # for connections to take what it had read: the server was slower than the reading
    section_s: dict[str, float] = field(default_factory=dict)
    section_began: dict[str, float] = field(default_factory=dict)  # by the monotonic clock
    databases: list[str] = field(default_factory=list)  # in the order they were loaded

    def add(self, later: LoadReport) -> None:
        """What was loaded after this, into the same server."""
        self.errors += later.errors
        self.mended += later.mended
        self.refused += later.refused
        self.passed_over += later.passed_over
        self.steps += later.steps
        self.jobs = max(self.jobs, later.jobs)
        self.reader_waited_s += later.reader_waited_s
        self.databases += [name for name in later.databases if name not in self.databases]
        for section, seconds in later.section_s.items():
            self.section_s[section] = self.section_s.get(section, 0.0) + seconds
        self.section_began = later.section_began | self.section_began


class SectionClock:
    """Wall seconds of each section; the last two overlap where indexes begin before all rows are in."""

    def __init__(self) -> None:
        self.began = {"pre-data": time.monotonic()}
        self._rows_done: float | None = None

    def enter(self, section: str | None) -> None:
        if section is not None:
            self.began.setdefault(section, time.monotonic())

    def rows_done(self) -> None:
        self._rows_done = time.monotonic()

    def seconds(self) -> dict[str, float]:
        end = time.monotonic()
        post = self.began.get("post-data", end)
        data = self.began.get("data", post)
        return {
            "pre-data": min(data, post) - self.began["pre-data"],
            "data": max(post, self._rows_done or post) - data if "data" in self.began else 0.0,
            "post-data": end - post,
        }
