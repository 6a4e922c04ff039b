"""Says what a running drill is at: one changing line on a terminal, elsewhere one line every 30 s."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Protocol

from verification.drill import Drill
from verification.phases import RESTORE
from verification.report.text import render_bytes, render_duration

TERMINAL_S, LOG_S = 0.5, 30.0
_ESTIMATED_FROM = 0.05  # less of the archive read says nothing about the rest


class Screen(Protocol):
    """Where the lines go."""

    is_terminal: bool

    def show(self, line: str) -> None:
        """Put the line in place of the last one, or below it where there is no terminal."""

    def clear(self) -> None:
        """Take the last line away, on a terminal."""


@contextmanager
def watching(drill: Drill, screen: Screen, *, every_s: float | None = None) -> Iterator[None]:
    """Tell `screen` about the drill, from a thread of its own, until the end of the block."""
    ended = Event()
    interval_s = every_s or (TERMINAL_S if screen.is_terminal else LOG_S)

    def tell() -> None:
        shown = False
        while not ended.wait(interval_s):
            line = describe(drill)
            if line:
                screen.show(line)
            elif shown:
                screen.clear()
            shown = line is not None
        if shown:
            screen.clear()

    thread = Thread(target=tell, name="pgdrill-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def describe(drill: Drill, clock: Callable[[], float] = time.monotonic) -> str | None:
    """What the drill is at; None between its phases."""
    now = drill.phases.now
    if now is None:
        return None
    phase, begun = now
    said = [phase]
    if phase == RESTORE:
        said.append(describe_reading(drill.phases.read_bytes, total_bytes(drill), clock() - begun))
        if drill.phases.all_read and (builds := drill.builds()):
            said.append(describe_builds(builds))
    said.append(render_duration(clock() - begun))
    return " · ".join(said)


def total_bytes(drill: Drill) -> int | None:
    """Of the archive's plain text, as its manifest tells; None where none does."""
    manifest = drill.facts.manifest
    if manifest is None or manifest.inventory is None:
        return None
    return manifest.inventory.size_bytes or None


def describe_reading(read_bytes: int, total: int | None, seconds: float) -> str:
    """`63 % of 415 MiB read, about 7 s more`; the estimate is for the reading alone."""
    if total is None:
        return f"{render_bytes(read_bytes)} read"
    share = min(1.0, read_bytes / total)
    if share == 1.0:
        return f"all {render_bytes(total)} read"
    text = f"{100 * share:.0f} % of {render_bytes(total)} read"
    rest = f", about {render_duration(seconds * (1 - share) / share)} more"
    return text + (rest if share >= _ESTIMATED_FROM else "")


def describe_builds(shares: Sequence[float]) -> str:
    """`builds 2 indexes (45 %, 12 %)`."""
    listed = ", ".join(f"{100 * share:.0f} %" for share in shares)
    return f"builds {len(shares)} {'index' if len(shares) == 1 else 'indexes'} ({listed})"
