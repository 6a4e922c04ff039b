"""The clock of each phase of a drill."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from verification.evidence.record import PhaseRecord

FETCH = "fetch"
READ = "decompress and hash"
START = "server start"
PRE_DATA, DATA, POST_DATA = "pre-data", "data", "post-data"
ANALYZE = "analyze"
FIRST_QUERY = "first query"
CHECKS = "checks"


class Phases:
    """Wall clock by phase, in the order they ended."""

    def __init__(self) -> None:
        self._phases: dict[str, PhaseRecord] = {}

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.add(name, time.monotonic() - begun)

    def add(self, name: str, seconds: float, *, overlaps: bool = False, size_bytes: int | None = None) -> None:
        self._phases[name] = PhaseRecord(name=name, seconds=seconds, overlaps=overlaps, bytes=size_bytes)

    def timed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks; the time spent on getting them is the phase `decompress and hash`, beside the loading."""
        spent, size = 0.0, 0
        source = iter(chunks)
        try:
            while True:
                begun = time.monotonic()
                chunk = next(source, None)
                spent += time.monotonic() - begun
                if chunk is None:
                    return
                size += len(chunk)
                yield chunk
        finally:
            self.add(READ, spent, overlaps=True, size_bytes=size)

    def records(self) -> tuple[PhaseRecord, ...]:
        return tuple(self._phases.values())

    def seconds(self, *names: str) -> float:
        return sum(self._phases[name].seconds for name in names if name in self._phases)
