"""The drill that is kept in reports/example: as it was written, readable by this version, and of nobody's machine."""

from __future__ import annotations

import re
from pathlib import Path

from backup_lib.cli.evidence import check_folder
from verification.evidence.record import read_record

EXAMPLE = Path(__file__).parents[2] / "reports/example"


def test_the_example_is_as_the_drill_wrote_it() -> None:
    intact, faults = check_folder(EXAMPLE)
    assert faults == []
    assert set(intact) == {"record.json", "report.html", "report.md", "junit.xml"}


def test_the_example_is_a_verified_drill_in_a_container() -> None:
    record = read_record(EXAMPLE / "record.json")
    assert (record.verdict, record.sandbox and record.sandbox.kind) == ("verified", "container")
    assert sum(check.compared for check in record.checks) > 1000


def test_the_example_names_no_machine_and_no_folder_of_one() -> None:
    record = read_record(EXAMPLE / "record.json")
    assert record.sandbox is not None
    assert (record.sandbox.host, record.initiator) == ("drills", "root@drills")
    for path in EXAMPLE.iterdir():
        assert re.search(r"/(?:home|root|tmp|work|Users|usr/local)/", path.read_text(encoding="utf-8")) is None, path
