from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from verification.evidence import record
from verification.finding import Cause, Finding, Status, Suppressed

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "record.md").read_text("utf-8")
PARTS = [
    record.Record,
    record.ArchiveRecord,
    record.SandboxRecord,
    record.PhaseRecord,
    record.StepRecord,
    record.LoadRecord,
    record.CheckRecord,
    Finding,
    Suppressed,
    record.ControlRecord,
    record.TableRecord,
    record.Objective,
]


@pytest.mark.parametrize("part", PARTS)
def test_the_reference_names_each_field_of_the_record_in_its_order(part: type) -> None:
    section = PAGE.split(f"\n## {part.__name__}\n", 1)[1].split("\n## ", 1)[0]
    documented = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    assert [name for name, _ in documented] == [field.name for field in fields(part)]
    optional = {field.name for field in fields(part) if "None" in str(field.type)}
    assert {name for name, kind in documented if kind.endswith("or null")} == optional


def test_the_reference_documents_every_part_of_the_record() -> None:
    assert re.findall(r"^## (\w+)$", PAGE, re.MULTILINE) == [part.__name__ for part in PARTS]


@pytest.mark.parametrize(
    "word",
    [
        *(
            word
            for alias in (record.Verdict, record.CheckStatus, record.ControlStatus, Status, Cause)
            for word in get_args(alias)
        ),
        *("identical", "reordered", "different", "not_compared"),
    ],
)
def test_the_reference_explains_every_word_a_field_can_hold(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_the_reference_tells_the_current_schema_version() -> None:
    assert f"| `schema_version` | integer | {record.SCHEMA_VERSION} |" in PAGE
