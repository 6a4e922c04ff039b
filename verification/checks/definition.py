"""What a check is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from verification.facts import Facts
from verification.finding import Finding

Level = Literal["integrity", "restore", "full"]
LEVELS: tuple[Level, ...] = ("integrity", "restore", "full")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing a drill proves. `run` never returns nothing: comparing nothing is a fault of its own."""

    name: str
    title: str
    method: str  # how it proves it, in one sentence
    level: Level  # the lowest level that runs it
    run: Callable[[Facts], list[Finding]]
