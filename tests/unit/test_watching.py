"""What whoever waits for a drill is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from backup_lib.catalog import resolve
from verification.drill import Drill, Plan
from verification.phases import Phases
from verification.watching import describe, describe_builds, describe_reading, watching


@pytest.mark.parametrize(
    ("read_bytes", "total", "seconds", "said"),
    [
        pytest.param(3 << 20, None, 1, "3.0 MiB read", id="size-unknown"),
        pytest.param(1 << 20, 100 << 20, 1, "1 % of 100 MiB read", id="too-early-for-an-estimate"),
        pytest.param(25 << 20, 100 << 20, 10, "25 % of 100 MiB read, about 30 s more", id="estimated"),
        pytest.param(100 << 20, 100 << 20, 40, "all 100 MiB read", id="all-read"),
        pytest.param(101 << 20, 100 << 20, 40, "all 100 MiB read", id="more-than-promised"),
    ],
)
def test_reading_is_told_with_what_is_left(read_bytes: int, total: int | None, seconds: float, said: str) -> None:
    assert describe_reading(read_bytes, total, seconds) == said


def test_builds_are_told_one_by_one() -> None:
    assert describe_builds([0.45]) == "builds 1 index (45 %)"
    assert describe_builds([0.45, 0]) == "builds 2 indexes (45 %, 0 %)"


class Kept:
    """A screen that keeps what it is shown."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.is_terminal = is_terminal
        self.lines: list[str] = []
        self.cleared = 0

    def show(self, line: str) -> None:
        self.lines.append(line)

    def clear(self) -> None:
        self.cleared += 1


def test_a_running_phase_is_told_and_taken_away_at_its_end(tmp_path: Path) -> None:
    archive = tmp_path / "shop.sql"
    archive.write_bytes(b"--\n-- PostgreSQL database dump\n--\n")
    (found,) = resolve([str(archive)], tmp_path)
    drill = Drill(found, archive, Plan(), drill_id="one")
    screen = Kept(is_terminal=True)
    assert describe(drill) is None
    with watching(drill, screen, every_s=0.01):
        with drill.phases.watched("restore"):
            drill.phases.read_bytes = 2048
            time.sleep(0.2)
        time.sleep(0.2)
    assert screen.lines[0].startswith("restore · 2.0 KiB read · ")
    assert screen.cleared


def test_phases_are_recorded_in_the_order_they_began() -> None:
    phases = Phases()
    begun = time.monotonic()
    phases.add("later", begun + 2, 1)
    phases.add("first", begun + 1, 5, overlaps=True)
    first, later = phases.records()
    assert (first.name, later.name) == ("first", "later")
    assert first.began_s is not None
    assert later.began_s == pytest.approx(first.began_s + 1)
