"""What a record says of a recovery: its critical path, what bounds it, another size and machine, earlier drills."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from backup_lib.cli.app import app
from verification.evidence.record import (
    LoadRecord,
    Objective,
    PhaseRecord,
    Record,
    StepRecord,
    read_record,
    render_record,
)
from verification.phases import ANALYZE, DATA, FETCH, FIRST_QUERY, POST_DATA, PRE_DATA, READ, START
from verification.recovery.bounds import bound_of, critical_path
from verification.recovery.history import compare, likeness
from verification.recovery.projection import project

OLD = read_record(Path(__file__).parents[1] / "golden" / "report" / "verified.json")
TIMES = {FETCH: (0.0, 1.0), START: (1.0, 0.5), PRE_DATA: (1.5, 0.5), READ: (2.0, 2.0), DATA: (2.0, 4.0),
         POST_DATA: (4.0, 6.0), ANALYZE: (10.0, 1.0), FIRST_QUERY: (11.0, 0.1)}  # fmt: skip


def step(entry: str, table: str, began_s: float, seconds: float) -> StepRecord:
    size_bytes = 1000 if entry.startswith("TABLE DATA") else None
    return StepRecord(entry=entry, table=table, began_s=began_s, seconds=seconds, size_bytes=size_bytes)


STEPS = (
    step("TABLE DATA a", "a", 2.0, 4.0),
    step("TABLE DATA b", "b", 2.0, 1.0),
    step("INDEX a_1", "a", 6.0, 2.0),
    step("INDEX b_1", "b", 3.0, 1.5),
    step("INDEX a_2", "a", 6.02, 3.9),
)


def a_record(*, times: dict[str, tuple[float, float]] | None = None, **load: object) -> Record:
    facts: dict[str, object] = {
        "jobs": 2, "seconds": 8.5, "work_s": 12.4, "reader_waited_s": 0.5, "own_cpu_s": 0.9,
        "machine_busy": 0.7, "machine_waiting": 0.0, "steps": STEPS,
    }  # fmt: skip
    phases = tuple(PhaseRecord(name=n, began_s=b, seconds=s) for n, (b, s) in (TIMES | (times or {})).items())
    rto = Objective(objective_s=None, measured_s=11.1, met=None)
    return replace(OLD, phases=phases, rto=rto, load=LoadRecord(**(facts | load)))  # type: ignore[arg-type]


def test_the_critical_path_goes_from_each_step_to_what_it_waited_for() -> None:
    legs = [leg.name for leg in critical_path(a_record())]
    assert legs == [FETCH, START, PRE_DATA, "TABLE DATA a", "INDEX a_2", ANALYZE, FIRST_QUERY]


@pytest.mark.parametrize(
    ("record", "kind", "named"),
    [
        pytest.param(a_record(times={FETCH: (0, 6.0)}), "fetching", "54%", id="fetching"),
        pytest.param(a_record(times={READ: (2, 4.4), DATA: (2, 4.5)}), "reading", "4.4 s", id="reading"),
        pytest.param(
            a_record(work_s=9.0, steps=(step("INDEX big", "a", 2, 5.0),)), "one step", "INDEX big", id="one-step"
        ),
        pytest.param(a_record(machine_waiting=0.4), "disk", "40%", id="disk"),
        pytest.param(a_record(machine_busy=0.97), "processors", "97%", id="busy"),
        pytest.param(a_record(work_s=16.0, machine_busy=None), "processors", "94%", id="busy-connections"),
        pytest.param(a_record(), "order", "27%", id="waiting-for-one-another"),
        pytest.param(OLD, "unknown", "older", id="an-older-record"),
    ],
)
def test_what_bounds_a_restore_is_named(record: Record, kind: str, named: str) -> None:
    bound = bound_of(record)
    assert bound.kind == kind
    assert named in bound.sentence


def test_the_projection_of_what_was_measured_is_what_was_measured() -> None:
    projected = project(a_record())
    assert projected is not None
    assert (projected.seconds, projected.processors) == (pytest.approx(11.1), 2)


@given(size=st.floats(0.01, 1000), cores=st.integers(1, 64))
@settings(max_examples=50, deadline=None)
def test_more_to_restore_takes_longer_and_more_processors_never_do(size: float, cores: int) -> None:
    def seconds(size: float, cores: int) -> float:
        projected = project(a_record(), times_the_size=size, processors=cores)
        assert projected is not None
        assert projected.floor_s <= projected.seconds + 1e-9
        return projected.seconds

    assert seconds(size * 2, cores) > seconds(size, cores) >= seconds(size, cores + 1)


def test_a_projection_says_how_far_it_goes() -> None:
    projected = project(a_record(), times_the_size=1e6, processors=64)
    assert projected is not None
    said = " ".join(projected.scope)
    assert all(word in said for word in ("1,000,000 times", "memory", "More than 2 connections", "durability"))
    assert project(OLD) is None


def test_a_drill_is_held_against_those_alike_that_ended_before_it() -> None:
    now = a_record()
    assert now.sandbox is not None

    def earlier(days: int, **other: object) -> Record:
        return replace(now, drill_id=f"d{days}", finished_at=now.finished_at - timedelta(days=days), **other)  # type: ignore[arg-type]

    slow = Objective(objective_s=None, measured_s=22.2, met=None)
    history = compare(
        now,
        [
            now,
            earlier(1, rto=slow),
            earlier(2, rto=slow),
            earlier(-1),
            earlier(3, sandbox=replace(now.sandbox, processors=64)),
            earlier(4, level="restore"),
            earlier(5, archive=replace(now.archive, compression="zstd")),
            earlier(6, sandbox=None),
        ],
    )
    assert [record.drill_id for record in history.earlier] == ["d2", "d1"]
    assert (history.ratio, history.others) == (pytest.approx(2.0), 4)
    assert likeness(replace(now, rto=Objective(objective_s=None, measured_s=None, met=None))) is None


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, record in enumerate((a_record(), OLD)):
        folder = tmp_path / "reports" / f"d{number}"
        folder.mkdir(parents=True)
        (folder / "record.json").write_bytes(render_record(record))
    (tmp_path / "reports" / "broken").mkdir()
    (tmp_path / "reports" / "broken" / "record.json").write_bytes(b"{")
    (tmp_path / "reports" / "latest").symlink_to("d0")
    return tmp_path / "reports"


@pytest.fixture
def ask(reports: Path) -> Callable[..., object]:
    return lambda *words: CliRunner().invoke(app, ["report", *words])


def test_the_command_shows_the_latest_drill(ask) -> None:  # type: ignore[no-untyped-def]
    said = ask("--size", "10x", "--cores", "4").stdout
    assert "bounded by: Waiting for one another" in said
    assert "INDEX a_2" in said
    assert "projected for 10 times the size and 4 processors" in said
    assert "no earlier drill like it" in said


def test_the_command_gives_data(ask) -> None:  # type: ignore[no-untyped-def]
    told = json.loads(ask("--json", "--size", "1GB").stdout)
    assert told["projection"]["times_the_size"] == pytest.approx((1 << 30) / OLD.archive.size_bytes)
    assert told["bound"]["kind"] == "order"
    assert {leg["name"] for leg in told["critical_path"]} > {"TABLE DATA a"}
    assert [table["table"] for table in told["tables"]]


def test_a_record_of_an_older_version_is_shown_as_far_as_it_goes(ask) -> None:  # type: ignore[no-untyped-def]
    assert "its version is older" in ask("reports/d1", "--size", "2x").stdout


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("nowhere",), "no drill's record"),
        (("--size", "much"), "no size"),
        (("--size", "0x"), "no size"),
        (("reports/broken",), "cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_said(ask, words: tuple[str, ...], error: str) -> None:  # type: ignore[no-untyped-def]
    assert error in str(ask(*words).exception)
