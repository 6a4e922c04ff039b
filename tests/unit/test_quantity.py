"""One thing is no things."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backup_lib.quantity import number_of, quantity

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("count", "said", "plain"),
    [(0, "0 entries", "0 entries"), (1, "1 entry", "1 entry"), (2000, "2,000 entries", "2000 entries")],
)
def test_a_number_and_its_noun_agree(count: int, said: str, plain: str) -> None:
    assert (quantity(count, "entry", "entries"), number_of(count, "entry", "entries")) == (said, plain)
    assert quantity(1, "row") + quantity(0, "row") == "1 row0 rows"


def test_no_message_counts_tables_or_rows_by_itself() -> None:
    """It would say `1 tables`."""
    by_hand = re.compile(r"\{[^{}]+\} (?:tables|definitions|archives|sequences|entries)\b")
    found = [
        f"{path.name}: {line.strip()}"
        for package in ("backup_lib", "verification")
        for path in sorted((_ROOT / package).rglob("*.py"))
        for line in path.read_text().splitlines()
        if by_hand.search(line) and not _ALWAYS_MORE.search(line)
    ]
    assert found == []


_ALWAYS_MORE = re.compile(r"len\((?:wrong|tables|failed|found|others|archives)\)|others\) \+ 1|settings\.history")
