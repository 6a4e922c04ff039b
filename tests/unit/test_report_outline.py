from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from verification.evidence.record import Objective, PhaseRecord, Record, TableRecord, read_record, render_record
from verification.finding import Cause, Finding, Status
from verification.report import outline

GOLDEN = Path(__file__).parents[1] / "golden" / "report"


@pytest.fixture
def record() -> Record:
    return read_record(GOLDEN / "verified.json")


def _finding(status: Status, cause: Cause | None, subject: str, why: str = "") -> Finding:
    return Finding(check="row-count", object=subject, status=status, cause=cause, why=why)


def _table(name: str, size: int, *, restored: int = 1) -> TableRecord:
    return TableRecord(
        table=name,
        rows_promised=1,
        rows_archived=None,
        rows_restored=restored,
        size_bytes=size,
        sha256=None,
        content="identical",
    )


def test_findings_are_grouped_worst_first_and_then_by_cause(record: Record) -> None:
    findings = [
        _finding("note", "source", "a"),
        _finding("gap", "environment", "b"),
        _finding("match", None, "never shown"),
        _finding("fault", "policy", "c"),
        _finding("fault", "archive", "d"),
        _finding("note", None, "e"),
    ]
    groups = outline.group_findings(findings, record.checks)
    assert [(group.status, group.cause) for group in groups] == [
        ("fault", "archive"),
        ("fault", "policy"),
        ("gap", "environment"),
        ("note", None),
    ]
    assert [group.count for group in groups] == [1, 1, 1, 2]
    assert len({group.title for group in groups}) == 4


def test_findings_with_one_reason_and_one_next_step_are_one_matter(record: Record) -> None:
    findings = [_finding("fault", "archive", name, why) for name, why in ["ax", "bx", "cy"]]
    (group,) = outline.group_findings(findings, record.checks)
    assert [[f.object for f in matter.findings] for matter in group.matters] == [["a", "b"], ["c"]]
    assert group.matters[0].title == "No row is missing"


def test_every_table_with_a_problem_is_shown_and_then_the_largest(record: Record) -> None:
    tables = (_table("small", 1), _table("blamed", 2), _table("short", 3, restored=0), _table("large", 9))
    blamed = _finding("gap", "environment", "blamed")
    choice = outline.choose_tables(replace(record, tables=tables, findings=(blamed,)), largest=1)
    assert [table.table for table in choice.shown] == ["short", "blamed", "large"]
    assert (choice.hidden, choice.troubled) == (1, {"short", "blamed"})
    assert choice.summary == "4 tables: 4 identical"


def test_phases_follow_one_another_and_an_overlapping_one_moves_nothing(record: Record) -> None:
    phases = (
        PhaseRecord(name="a", seconds=2),
        PhaseRecord(name="b", seconds=4, overlaps=True),
        PhaseRecord(name="c", seconds=6),
        PhaseRecord(name="d", seconds=9, overlaps=True),
    )
    drilled = replace(record, phases=phases, finished_at=record.started_at + timedelta(seconds=10))
    bars = [(bar.begin, bar.length) for bar in outline.lay_out_phases(drilled)]
    assert bars == [(0, 0.2), (0.2, 0.4), (0.2, 0.6), (pytest.approx(0.1), 0.9)]


def test_phases_without_any_time_are_laid_out_too(record: Record) -> None:
    phases = (PhaseRecord(name="a", seconds=0),)
    (bar,) = outline.lay_out_phases(replace(record, phases=phases, finished_at=record.started_at))
    assert (bar.begin, bar.length) == (0, 0)


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        pytest.param(Objective(objective_s=60, measured_s=20, met=True), "1 min|20 s|40 s to spare|met", id="met"),
        pytest.param(
            Objective(objective_s=60, measured_s=90, met=False), "1 min|1 min 30 s|30 s too long|MISSED", id="missed"
        ),
        pytest.param(
            Objective(objective_s=None, measured_s=90, met=None), "no objective set|1 min 30 s|—|—", id="not-set"
        ),
        pytest.param(Objective(objective_s=60, measured_s=None, met=None), "1 min|not measured|—|—", id="not-measured"),
    ],
)
def test_an_objective_is_held_against_what_was_measured(objective: Objective, words: str) -> None:
    view = outline.describe_objective(objective)
    assert "|".join((view.objective, view.measured, view.margin, view.result)) == words


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        pytest.param([], ("no faults", "no gaps, no notes"), id="nothing"),
        pytest.param(["note"], ("no faults", "no gaps, 1 note"), id="a-note"),
        pytest.param(["gap", "note"], ("1 gap", "no faults, 1 note"), id="a-gap-comes-first"),
        pytest.param(["fault", "gap", "fault"], ("2 faults", "1 gap, no notes"), id="faults-come-first"),
    ],
)
def test_the_worst_findings_are_counted_first(statuses: list[Status], words: tuple[str, str]) -> None:
    assert outline.count_findings(_finding(status, "archive", "x") for status in statuses) == words


def test_a_sandbox_left_behind_is_said_aloud(record: Record) -> None:
    assert record.sandbox is not None
    left = replace(record, sandbox=replace(record.sandbox, destroyed=False))
    assert outline.list_sandbox_facts(left)[-1].value.startswith("NO: something was left behind")


def test_the_digest_is_that_of_record_json(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(render_record(record))
    assert outline.digest_record(read_record(path)) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_drill_id_cannot_add_a_command_to_the_one_shown(record: Record) -> None:
    command = outline.build_check_command(replace(record, drill_id="x; rm -rf /"))
    assert command == "pgdrill evidence verify 'reports/x; rm -rf /'"
