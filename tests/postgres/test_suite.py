"""The suite as people and CI call it: pytest in a process of its own, judged by exit status and files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from drilling import execute, rewrite

from backup_lib.backup import make_backup
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres

PASSED, FAILED, USAGE = 0, 1, 4
TESTS = 13  # of one archive


@pytest.fixture(scope="module")
def backups(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backups")
    for name in ("suite_una", "suite_otra"):
        execute(server.conninfo(), f"CREATE DATABASE {name}")
        execute(
            server.conninfo(name),
            "CREATE TABLE venta (id int PRIMARY KEY, total numeric)",
            "INSERT INTO venta SELECT i, i FROM generate_series(1, 30) i",
        )
        make_backup(server.conninfo(name), folder)
        execute(server.conninfo(), f"DROP DATABASE {name}")
    return folder


@pytest.fixture
def spoiled(backups: Path, tmp_path: Path) -> Path:
    """A folder with one archive in which a row is missing."""
    folder = tmp_path / "spoiled"
    folder.mkdir()
    for file in backups.glob("suite_una*"):
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    (archive,) = folder.glob("*.sql.gz")
    rewrite(archive, lambda text: text.replace(b"\n7\t7\n", b"\n"))
    return folder


def suite(place: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "--sandbox=embedded", f"--backups={place}", *arguments]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "BACKUP_DIR"))}
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=300, env={**env, "PYTHONPATH": root}, check=False
    )


def whole(place: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return suite(place, cwd, "--pyargs", "verification", *arguments)


def said(run: subprocess.CompletedProcess[str]) -> str:
    return f"exit {run.returncode}\n{run.stdout}\n{run.stderr}"


def test_a_sound_archive_passes_and_leaves_its_evidence(backups: Path, tmp_path: Path) -> None:
    run = whole(backups, tmp_path)
    assert run.returncode == PASSED, said(run)
    folder = tmp_path / "reports" / "latest"
    assert json.loads((folder / "record.json").read_text())["verdict"] == "verified"
    assert {file.name for file in folder.iterdir()} == {
        "record.json", "report.html", "report.md", "junit.xml", "SHA256SUMS"
    }  # fmt: skip
    cases = ET.fromstring((folder / "junit.xml").read_text()).findall(".//testcase")  # noqa: S314 - our own file
    assert len(cases) == TESTS
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert not [path.name for path in (tmp_path / "reports").iterdir() if path.name.startswith(".")]
    assert not (tmp_path / ".benchmarks").exists()


def test_with_prove_damaged_copies_are_on_record_and_on_the_screen(backups: Path, tmp_path: Path) -> None:
    run = whole(backups, tmp_path, "--prove", "--level=integrity")
    assert run.returncode == PASSED, said(run)
    controls = json.loads((tmp_path / "reports" / "latest" / "record.json").read_text())["controls"]
    assert {control["status"] for control in controls} == {"caught", "clean", "not_applicable"}
    assert "one bit flipped" in run.stderr, said(run)
    assert "damaged copies" in run.stdout, said(run)
    assert "Negative control" in (tmp_path / "reports" / "latest" / "report.md").read_text()
    cases = ET.fromstring((tmp_path / "reports" / "latest" / "junit.xml").read_text()).findall(".//testcase")  # noqa: S314 - our own file
    assert len(cases) == TESTS + 1


def test_a_spoiled_archive_fails_with_the_finding_in_the_terminal(spoiled: Path, tmp_path: Path) -> None:
    run = whole(spoiled, tmp_path)
    assert run.returncode == FAILED, said(run)
    assert "FAULT (archive) public.venta" in run.stdout, said(run)
    assert "30 rows" in run.stdout
    assert json.loads((tmp_path / "reports" / "latest" / "record.json").read_text())["verdict"] == "failed"


def test_choosing_a_test_that_passes_does_not_turn_a_failed_archive_green(spoiled: Path, tmp_path: Path) -> None:
    run = whole(spoiled, tmp_path, "-k", "sequences")
    assert run.returncode == FAILED, said(run)


def test_the_first_failure_ends_the_run_and_the_last_failed_can_be_run_again(spoiled: Path, tmp_path: Path) -> None:
    run = whole(spoiled, tmp_path, "-x")
    assert run.returncode == FAILED, said(run)
    assert "stopping after 1 failures" in run.stdout
    again = whole(spoiled, tmp_path, "--lf")
    assert again.returncode == FAILED, said(again)
    assert "1 failed" in again.stdout, said(again)


def test_all_archives_are_drilled_side_by_side(backups: Path, tmp_path: Path) -> None:
    run = whole(backups, tmp_path, "--archive=all", "-n", "2", "--dist=loadgroup")
    assert run.returncode == PASSED, said(run)
    assert f"{2 * TESTS} passed" in run.stdout, said(run)
    assert len(list((tmp_path / "reports").glob("*/record.json"))) == 3  # two drills, and `latest`


@pytest.mark.parametrize("dist", ["load", "worksteal"])
def test_any_way_of_spreading_over_workers_restores_each_archive_once(backups: Path, tmp_path: Path, dist: str) -> None:
    run = whole(backups, tmp_path, "--archive=all", "-n", "2", f"--dist={dist}")
    assert run.returncode == PASSED, said(run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param((), "no archive", id="empty-folder"),
        pytest.param(("--archive=nope.sql",), "nope.sql", id="no-such-name"),
        pytest.param(("--archive=latest:nope",), "nope", id="no-such-database"),
    ],
)
def test_nothing_to_drill_is_no_success(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "empty").mkdir()
    run = whole(tmp_path / "empty", tmp_path, *arguments)
    assert run.returncode == USAGE, said(run)
    assert words in run.stdout + run.stderr, said(run)
    assert "hint:" in run.stdout + run.stderr, said(run)
    assert "Traceback" not in run.stdout + run.stderr, said(run)


def test_evidence_that_cannot_be_written_is_said_before_anything_is_restored(backups: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = whole(backups, tmp_path, "--reports=file/reports")
    assert run.returncode == USAGE, said(run)
    assert "the evidence cannot be written to file/reports" in run.stdout + run.stderr, said(run)
    assert "--reports" in run.stderr, said(run)
    assert "Traceback" not in run.stdout + run.stderr, said(run)


def test_a_checkout_that_cannot_be_written_keeps_no_cache_and_fails_no_drill(backups: Path, tmp_path: Path) -> None:
    """Root's, say, where another account drills; warnings are errors in ours."""
    settings = f"-c{Path(__file__).parents[2] / 'pyproject.toml'}"
    run = whole(backups, tmp_path, settings, "-o", "cache_dir=/dev/null/cache", "--level=integrity")
    assert run.returncode == PASSED, said(run)


def test_evidence_that_can_no_longer_be_written_is_no_verdict(backups: Path, tmp_path: Path) -> None:
    """As where the disk fills up meanwhile; nothing is noted beside the archive either."""
    own = tmp_path / "test_own.py"
    own.write_text(
        "import pathlib, shutil\n"
        "def test_loses_the_folder(restored):\n    shutil.rmtree('reports')\n    pathlib.Path('reports').touch()\n"
    )
    before = {path.name: path.read_bytes() for path in backups.iterdir()}
    run = suite(backups, tmp_path, "--archive=latest:suite_una", str(own))
    assert run.returncode == FAILED, said(run)
    assert "the evidence cannot be written to reports: " in run.stdout, said(run)
    assert "not verified" in run.stdout, said(run)
    assert "Traceback" not in run.stdout + run.stderr, said(run)
    assert {path.name: path.read_bytes() for path in backups.iterdir()} == before


def test_the_database_restored_serves_tests_of_ones_own(backups: Path, tmp_path: Path) -> None:
    own = tmp_path / "test_own.py"
    own.write_text(
        "def test_total(restored):\n"
        "    assert restored.execute('SELECT sum(total) FROM venta').fetchone() == (465,)\n"
        "    restored.execute('DELETE FROM venta')\n"
    )
    run = suite(backups, tmp_path, "--archive=latest:suite_una", str(own))
    assert run.returncode == PASSED, said(run)
    own.write_text("def test_total(restored):\n    assert restored.execute('SELECT 1').fetchone() == (2,)\n")
    run = suite(backups, tmp_path, "--archive=latest:suite_una", str(own))
    assert run.returncode == FAILED, said(run)


def test_a_spoiled_archive_fails_a_run_of_ones_own_tests_that_pass(spoiled: Path, tmp_path: Path) -> None:
    own = tmp_path / "test_own.py"
    own.write_text("def test_there(restored):\n    restored.execute('SELECT FROM venta')\n")
    run = suite(spoiled, tmp_path, str(own))
    assert run.returncode == FAILED, said(run)


def test_a_run_without_drills_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "test_own.py"
    own.write_text("def test_nothing():\n    pass\n")
    run = suite(tmp_path / "nowhere", tmp_path, str(own))
    assert run.returncode == PASSED, said(run)
    assert "pgdrill" not in run.stdout.replace(str(tmp_path), "").partition("plugins:")[2].partition("\n")[2]
    assert not (tmp_path / "reports").exists()


def test_a_missed_objective_fails_the_run(backups: Path, tmp_path: Path) -> None:
    run = whole(backups, tmp_path, "--rto=0.001", "--level=restore")
    assert run.returncode == FAILED, said(run)
    assert "RTO" in run.stdout


def test_collecting_restores_nothing(backups: Path, tmp_path: Path) -> None:
    run = whole(backups, tmp_path, "--collect-only", "-q")
    assert run.returncode == PASSED, said(run)
    assert f"{TESTS} tests collected" in run.stdout, said(run)
    assert not (tmp_path / "reports").exists()


def test_workers_report_a_spoiled_archive_that_only_ones_own_tests_asked_for(spoiled: Path, tmp_path: Path) -> None:
    own = tmp_path / "test_own.py"
    own.write_text("def test_there(restored):\n    restored.execute('SELECT FROM venta')\n")
    run = suite(spoiled, tmp_path, str(own), "-n", "2")
    assert run.returncode == FAILED, said(run)
