"""The negative control: an uncaught damage fails the drill, and nothing of a copy is left behind."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backup_lib.catalog import resolve
from backup_lib.run_folder import PREFIX, reap
from verification.checks import Level
from verification.copies import Copy
from verification.drill import Drill, Plan
from verification.evidence.builder import build_record
from verification.evidence.record import Record
from verification.finding import Finding
from verification.prove import NAME, Verify, prove

DUMP = (
    b"--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.18\n-- Dumped by pg_dump version 15.18\n\n"
    b"SET client_encoding = 'UTF8';\n\n"
    b"--\n-- Name: venta; Type: TABLE; Schema: public; Owner: ana\n--\n\nCREATE TABLE public.venta (\n    id integer\n);\n\n\n"
    b"--\n-- Data for Name: venta; Type: TABLE DATA; Schema: public; Owner: ana\n--\n\n"
    b"COPY public.venta (id) FROM stdin;\n"
    + b"".join(b"%d\n" % number for number in range(500))
    + b"\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n"
)
FAULT = Finding(check="integrity", object="archive", status="fault", cause="archive", actual="public.venta closing")


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tienda.sql.gz"
    path.write_bytes(gzip.compress(DUMP, mtime=0))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return path


def proved(archive: Path, verify: Verify | None = None) -> Record:
    """At the level that needs no server."""
    (found,) = resolve([str(archive)], archive.parent)
    with Drill(found, archive, Plan(level="integrity"), drill_id="one") as drill:
        proof = prove(drill, verify=verify)
    record = build_record(drill, finished_at=datetime.now(UTC), proof=proof)
    drill.close()
    return record


def blind(_copy: Copy, _level: Level) -> tuple[Finding, ...]:
    return ()


def blaming(_copy: Copy, _level: Level) -> tuple[Finding, ...]:
    return (FAULT,)


def test_every_damage_that_an_archive_shows_by_itself_is_caught_and_named(archive: Path) -> None:
    record = proved(archive)
    assert record.verdict == "verified", record.summary
    tried = [control for control in record.controls if control.seconds is not None]
    assert {control.status for control in tried} == {"caught", "clean"}
    assert [c.kind for c in tried if c.status == "caught" and not c.named] == []
    assert len(tried) >= 12
    assert {check.name: check.status for check in record.checks}[NAME] == "passed"
    assert not list((archive.parent / "tmp").iterdir())


def test_a_damage_that_is_not_caught_fails_the_drill(archive: Path) -> None:
    record = proved(archive, blind)
    assert record.verdict == "failed"
    missed = [finding for finding in record.findings if finding.check == NAME and finding.status == "fault"]
    assert len(missed) == sum(control.status == "missed" for control in record.controls) > 10
    assert {finding.cause for finding in missed} == {"environment"}
    assert "expected a finding" in record.summary
    assert {check.name: check.status for check in record.checks}[NAME] == "failed"


def test_blame_for_an_undamaged_copy_leaves_the_drill_open(archive: Path) -> None:
    record = proved(archive, blaming)
    assert record.verdict == "could_not_verify"
    assert [control.status for control in record.controls if control.kind == "undamaged"] == ["false_alarm"]


def test_a_finding_about_something_else_does_not_name_the_damage(archive: Path) -> None:
    record = proved(archive, lambda copy, level: (Finding(check="x", object="y", status="fault", cause="archive"),))
    caught = [control for control in record.controls if control.status == "caught"]
    assert caught
    assert not any(control.named for control in caught)
    assert len([f for f in record.findings if f.status == "note"]) == len(caught)


def test_few_kinds_of_damage_are_said_to_be_few(archive: Path) -> None:
    assert any("fewer than 20" in sentence for sentence in proved(archive).not_proved)


def test_nothing_is_tried_on_an_archive_that_is_at_fault(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-20])
    record = proved(archive, blind)
    assert record.controls == ()
    assert any("the archive itself is at fault" in sentence for sentence in record.not_proved)


def test_a_drill_without_it_says_nothing_of_it(archive: Path) -> None:
    (found,) = resolve([str(archive)], archive.parent)
    with Drill(found, archive, Plan(level="integrity"), drill_id="one") as drill:
        drill.judge_all()
    record = build_record(drill, finished_at=datetime.now(UTC))
    drill.close()
    assert record.controls == ()
    assert NAME not in {check.name for check in record.checks}


_HANGS = """
import sys, time
from pathlib import Path
from backup_lib.catalog import resolve
from verification.drill import Drill, Plan
from verification.prove import prove

def hang(copy, level):
    print("here", flush=True)
    time.sleep(60)

path = Path(sys.argv[1])
(found,) = resolve([str(path)], path.parent)
with Drill(found, path, Plan(level="integrity"), drill_id="one") as drill:
    prove(drill, verify=hang)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_no_copy_outlives_its_process(archive: Path, number: signal.Signals) -> None:
    parent = archive.parent / "tmp"
    env = {**os.environ, "TMPDIR": str(parent), "PYTHONPATH": str(Path(__file__).parents[2])}
    argv = [sys.executable, "-c", _HANGS, str(archive)]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        assert list(parent.glob(f"{PREFIX}*/copies/*/*"))
        process.send_signal(number)
    time.sleep(0.01)
    reap([parent])  # as the next run does
    assert not list(parent.iterdir())
