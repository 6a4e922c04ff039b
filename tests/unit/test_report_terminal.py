from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from verification.evidence.record import Record, read_record
from verification.report.terminal import render_terminal

GOLDEN = Path(__file__).parents[1] / "golden" / "report"


def _print(record: Record, *, width: int, colour: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colour, color_system="standard" if colour else None)
    console.print(render_terminal(record, width=width))
    # Tables are filled up to their width; trailing blanks are no part of what is said.
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


@pytest.mark.parametrize("name", ["verified", "failed", "could_not_verify", "hostile"])
def test_the_terminal_shows_what_it_did_when_last_read_by_a_person(name: str) -> None:
    golden = GOLDEN / f"{name}.txt"
    rendered = _print(read_record(GOLDEN / f"{name}.json"), width=80)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendered, "utf-8")
    assert rendered == golden.read_text("utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 132])
@pytest.mark.parametrize("name", ["verified", "failed", "could_not_verify", "hostile"])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    lines = _print(read_record(GOLDEN / f"{name}.json"), width=width).splitlines()
    assert max(map(cell_len, lines)) <= width


def test_a_name_reaches_the_terminal_neither_as_markup_nor_as_an_escape() -> None:
    rendered = _print(read_record(GOLDEN / "hostile.json"), width=80)
    assert "[bold red]markup[/]" in rendered
    assert not [c for c in rendered if c in "\x1b\u202e\u2066\u2069"]


def test_no_colour_says_what_colour_says(monkeypatch: pytest.MonkeyPatch) -> None:
    record = read_record(GOLDEN / "failed.json")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;31mFAILED\x1b[0m" in _print(record, width=80, colour=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "31m" not in _print(record, width=80, colour=True)


def test_thousands_of_findings_are_counted_not_listed() -> None:
    record = read_record(GOLDEN / "failed.json")
    same = [replace(record.findings[0], object=f"t{i}") for i in range(1010)]
    other = [replace(record.findings[0], why=f"because {i}") for i in range(30)]
    rendered = _print(replace(record, findings=(*same, *other)), width=80)
    assert "… and 1,000 more objects in record.json" in rendered
    assert "… and 6 more kinds in record.json" in rendered
    assert rendered.count("\n") < 300
