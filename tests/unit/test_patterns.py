"""Regular expressions that mean the same to every Python we run on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import backup_lib
import verification
from backup_lib.sql_lexer import repeated

SOURCES = [path for package in (backup_lib, verification) for path in Path(package.__file__).parent.rglob("*.py")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_group_is_repeated_possessively(path: Path) -> None:
    """Debian 12's own Python, 3.11.2, matches those wrongly (gh-106052); `sql_lexer.repeated` is what to use."""
    strings = re.sub(r"`[^`\n]*`|#[^\n]*", "", path.read_text(encoding="utf-8"))
    assert re.search(r"\)(?:[*+?]|\{\d*,?\d*\})\+(?!\s)", strings) is None


@pytest.mark.parametrize(
    ("text", "end"), [(b"aca", 2), (b"acabcab", 5), (b"abc", 3), (b"b", 0)], ids=lambda value: str(value)
)
def test_repeated_ends_behind_the_last_whole_one(text: bytes, end: int) -> None:
    match = re.match(repeated(rb"ab?c"), text)
    assert match is not None
    assert match.end() == end
    assert re.match(repeated(rb"ab?c") + rb"ac", text) is None  # and gives none back
