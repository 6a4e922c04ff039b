"""A drill that does not get to its archive says nothing against it, and proves nothing either."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import pytest

from backup_lib.catalog import resolve
from verification.drill import Drill, Plan
from verification.evidence.builder import build_record, decide
from verification.evidence.record import CheckRecord, CheckStatus, Record
from verification.finding import Finding

DUMP = (
    b"--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.18\n-- Dumped by pg_dump version 15.18\n\n"
    b"SET client_encoding = 'UTF8';\n\n--\n-- PostgreSQL database dump complete\n--\n"
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sql"
    path.write_bytes(DUMP)
    return path


def drill_of(archive: Path, **plan: str) -> Drill:
    (found,) = resolve([str(archive)], archive.parent)
    return Drill(found, archive, Plan(**plan), drill_id="one")  # type: ignore[arg-type]


def recorded(drill: Drill) -> Record:
    return build_record(drill, finished_at=datetime.now(UTC))


def is_open(record: Record) -> None:
    assert record.verdict == "could_not_verify"
    assert not [f for f in record.findings if f.status == "fault" or f.cause == "archive"]
    assert {check.status for check in record.checks} == {"could_not_verify"}


def test_an_archive_is_not_blamed_for_a_sandbox_that_cannot_be_had(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{archive.parent}/no-engine.sock")
    with drill_of(archive, sandbox="container") as drill:
        drill.judge_all()
    record = recorded(drill)
    is_open(record)
    assert "no container engine answers" in record.summary


def test_an_interrupted_drill_does_not_blame_the_archive(archive: Path) -> None:
    drill = drill_of(archive)
    archive.unlink()
    os.mkfifo(archive)  # reading it waits for ever
    with drill, interrupted_after(0.2), pytest.raises(KeyboardInterrupt):
        drill.restore()
    archive.unlink()
    archive.write_bytes(DUMP)
    drill.judge_all()
    record = recorded(drill)
    is_open(record)
    assert "interrupted" in record.summary


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check(status: CheckStatus, *, compared: int = 1) -> CheckRecord:
    return CheckRecord(name="x", title="x", status=status, compared=compared, faults=0, seconds=0, method="x")


def finding(status: str) -> Finding:
    return Finding(check="x", object="x", status=status, cause="archive")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("findings", "checks", "verdict"),
    [
        pytest.param([], [check("passed")], "verified", id="all-passed"),
        pytest.param([finding("note")], [check("passed"), check("not_run", compared=0)], "verified", id="nothing-to-compare-with"),
        pytest.param([finding("fault")], [check("passed")], "failed", id="fault"),
        pytest.param([finding("fault"), finding("gap")], [check("passed")], "failed", id="fault-and-gap"),
        pytest.param([finding("gap")], [check("passed")], "could_not_verify", id="gap"),
        pytest.param([], [check("passed"), check("could_not_verify")], "could_not_verify", id="check-left-open"),
        pytest.param([], [], "failed", id="no-check"),
        pytest.param([finding("note")], [check("not_run", compared=0)], "failed", id="nothing-compared"),
    ],
)  # fmt: skip
def test_the_worst_decides(findings: list[Finding], checks: list[CheckRecord], verdict: str) -> None:
    assert decide(findings, checks) == verdict
