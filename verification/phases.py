"""The clock of each phase of a drill."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from verification.evidence.record import PhaseRecord

FETCH = "fetch"
READ = "decompress and hash"
START = "server start"
RESTORE = "restore"  # while it runs; its parts are the next three
PRE_DATA, DATA, POST_DATA = "pre-data", "data", "post-data"
ANALYZE = "analyze"
FIRST_QUERY = "first query"
CHECKS = "checks"


class Phases:
    """Wall clock by phase, in the order they ended; and, while one runs, what a watcher is told of it."""

    def __init__(self) -> None:
        self._phases: dict[str, PhaseRecord] = {}
        self._origin = time.monotonic()
        self.now: tuple[str, float] | None = None  # the phase that runs, and when it began
        self.read_bytes = 0  # of the archive's plain text, so far
        self.all_read = False

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        with self.watched(name) as begun:
            try:
                yield
            finally:
                self.add(name, begun, time.monotonic() - begun)

    @contextmanager
    def watched(self, name: str) -> Iterator[float]:
        """Say that it runs; its parts are timed by somebody else."""
        before, self.now = self.now, (name, time.monotonic())
        try:
            yield self.now[1]
        finally:
            self.now = before

    def add(
        self, name: str, begun: float, seconds: float, *, overlaps: bool = False, size_bytes: int | None = None
    ) -> None:
        """Record a phase that began at `begun` by the monotonic clock."""
        began_s = self.since_start(begun)
        self._phases[name] = PhaseRecord(
            name=name, seconds=seconds, overlaps=overlaps, bytes=size_bytes, began_s=began_s
        )

    def since_start(self, instant: float) -> float:
        """Seconds from the first phase's beginning to `instant` by the monotonic clock."""
        return max(0.0, instant - self._origin)

    def timed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks; the time spent on getting them is the phase `decompress and hash`, beside the loading."""
        spent, first = 0.0, time.monotonic()
        source = iter(chunks)
        try:
            while True:
                begun = time.monotonic()
                chunk = next(source, None)
                spent += time.monotonic() - begun
                if chunk is None:
                    self.all_read = True
                    return
                self.read_bytes += len(chunk)
                yield chunk
        finally:
            self.add(READ, first, spent, overlaps=True, size_bytes=self.read_bytes)

    def records(self) -> tuple[PhaseRecord, ...]:
        """In the order they began."""
        return tuple(sorted(self._phases.values(), key=lambda phase: phase.began_s or 0.0))

    def seconds(self, *names: str) -> float:
        return sum(self._phases[name].seconds for name in names if name in self._phases)
