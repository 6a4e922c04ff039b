"""The command line: what is said, where, and the exit status; nothing here needs a server."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from archives import a_manifest

from backup_lib.cli import main, talk
from backup_lib.cli.evidence import check_folder
from backup_lib.cli.suite import Drilled, FindingView, Outcome, RecordView
from backup_lib.manifest import SUFFIX, render_manifest

DUMP = b"--\n-- PostgreSQL database dump\n--\n\n"


class Said(NamedTuple):
    status: int
    out: str
    err: str


Pgdrill = Callable[..., Said]


@pytest.fixture
def pgdrill(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pgdrill:
    """`pgdrill("list", "--json")`, run in an empty folder with nothing set."""
    for name in ("BACKUP_DIR", "DATABASE_URL", "PGHOST", "PGDATABASE", "PGUSER", "PGSERVICE", "PGDRILL_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def pgdrill(*words: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["pgdrill", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return pgdrill


def test_help_lists_every_exit_status(pgdrill: Pgdrill) -> None:
    said = pgdrill("--help")
    assert said.status == 0
    listed = [line.split()[0] for line in said.out.partition("Exit statuses:")[2].splitlines() if line.strip()]
    assert listed == ["0", "1", "2", "3", "4", "10", "11", "12", "70", "130"]


def test_help_waits_for_no_library_that_only_a_command_needs() -> None:
    program = "import sys; import backup_lib.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"psycopg", "msgspec", "rich", "isal", "pytest", "docker", "verification"} & set(loaded)


@pytest.mark.parametrize(
    "command",
    [
        "backup", "manifest", "list", "show", "verify", "prune", "rotate", "sync", "rewrap", "demo", "sample-backup", "doctor", "install-server", "schedule", "evidence",
    ],
)  # fmt: skip
def test_each_command_explains_itself(pgdrill: Pgdrill, command: str) -> None:
    said = pgdrill(command, "--help")
    assert said.status == 0
    assert f"Usage: pgdrill {command}" in said.out
    assert command in pgdrill("--help").out


def test_the_version_is_printed(pgdrill: Pgdrill) -> None:
    assert pgdrill("--version").out.startswith("pgdrill ")


def test_an_unknown_option_is_a_usage_error(pgdrill: Pgdrill) -> None:
    assert pgdrill("list", "--nonsense").status == 2
    assert pgdrill("verify", "--level", "some").status == 2


@pytest.mark.parametrize(
    ("words", "status", "message", "hint"),
    [
        pytest.param(["nosuch.sql.gz"], 10, "does not exist", "--backups", id="no-folder"),
        pytest.param(["./nosuch.sql.gz"], 10, "./nosuch.sql.gz does not exist", "hint: ", id="no-such-path"),
        pytest.param(["--backups", "empty"], 10, "empty holds no archive", "pgdrill backup", id="empty-folder"),
        pytest.param(["--backups", "images"], 10, "only 1 other file", "pgdrill backup", id="folder-of-images"),
        pytest.param(["images"], 10, "images is a folder", "--backups images", id="folder-by-path"),
        pytest.param(["./x.sql.gz"], 12, "x.sql.gz is encrypted", "set BACKUP_ENCRYPT_PASSWORD", id="encrypted"),
        pytest.param(["./x.sql.zip"], 2, "x.sql.zip is a zip file", "unpack it", id="zip"),
        pytest.param(["random:none", "--backups", "empty"], 2, "names no number", "random:3", id="nonsense"),
        pytest.param(["https://host/x"], 2, "names no archive", "copy", id="url"),
    ],
)
def test_what_cannot_be_verified_is_one_sentence_and_a_next_step(
    pgdrill: Pgdrill, tmp_path: Path, words: list[str], status: int, message: str, hint: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(b"\x89PNG")
    (tmp_path / "x.sql.gz").write_bytes(b"Salted__rest")
    (tmp_path / "x.sql.zip").write_bytes(b"PK\x03\x04rest")
    said = pgdrill("verify", *words)
    assert (said.status, said.out) == (status, "")
    first, second = said.err.strip().splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert second.startswith("hint: ")
    assert hint in second


def test_without_a_database_named_nothing_is_backed_up(pgdrill: Pgdrill, tmp_path: Path) -> None:
    said = pgdrill("backup")
    assert said.status == 2
    assert "DATABASE_URL" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_password_in_argv_is_warned_of_and_not_repeated(pgdrill: Pgdrill) -> None:
    said = pgdrill("backup", "--dsn", "postgresql://u:s3cret@127.0.0.1:1/x")
    assert said.status == 3
    assert "PGPASSWORD" in said.err
    assert "s3cret" not in said.err


def test_a_manifest_that_cannot_be_recorded_is_not_left_half_written(pgdrill: Pgdrill, tmp_path: Path) -> None:
    assert pgdrill("manifest", "--dsn", "postgresql://u@127.0.0.1:1/x", "--out", "x.manifest.json").status == 3
    assert list(tmp_path.iterdir()) == []


def test_list_names_archives_on_stdout_alone(pgdrill: Pgdrill, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups/pos_backup_20250102_030405.sql").write_bytes(DUMP)
    said = pgdrill("list")
    assert (said.status, said.err) == (0, "")
    assert "2025-01-02 03:04:05Z  pos       full  no manifest" in said.out
    (listed,) = json.loads(pgdrill("list", "--json").out)
    assert (listed["database"], listed["size_bytes"], listed["has_manifest"]) == ("pos", len(DUMP), False)


def test_list_of_no_folder_is_no_such_archive(pgdrill: Pgdrill) -> None:
    assert pgdrill("list", "--backups", "/nowhere").status == 10


def test_show_says_what_the_manifest_promises(pgdrill: Pgdrill, tmp_path: Path) -> None:
    (tmp_path / "x.sql").write_bytes(DUMP)
    manifest = a_manifest()
    (tmp_path / f"x.sql{SUFFIX}").write_bytes(render_manifest(manifest))
    shown = json.loads(pgdrill("show", "./x.sql", "--json").out)
    assert {t["table"]: t["rows"] for t in shown["tables"]} == manifest.row_counts
    assert shown["said_by"] == "its manifest"
    assert "rows of their own" in pgdrill("show", "./x.sql").out


def test_show_reads_an_archive_that_has_no_manifest_and_shows_no_row(pgdrill: Pgdrill, tmp_path: Path) -> None:
    text = DUMP + (
        b"--\n-- Data for Name: people; Type: TABLE DATA; Schema: public; Owner: u\n--\n\n"
        b"COPY public.people (name) FROM stdin;\nMargarita\nIgnacio\n\\.\n\n"
        b"--\n-- PostgreSQL database dump complete\n--\n\n"
    )
    (tmp_path / "x.sql").write_bytes(text)
    said = pgdrill("show", "./x.sql")
    assert said.status == 0
    assert "public.people" in said.out
    assert "Margarita" not in said.out + said.err
    (table,) = json.loads(pgdrill("show", "./x.sql", "--json").out)["tables"]
    assert (table["table"], table["rows"]) == ("public.people", 2)


def test_show_of_what_is_no_dump_blames_the_archive(pgdrill: Pgdrill, tmp_path: Path) -> None:
    (tmp_path / "x.sql.gz").touch()
    said = pgdrill("show", "./x.sql.gz")
    assert (said.status, said.out) == (1, "")
    assert "x.sql.gz is empty" in said.err


def test_show_wants_one_archive(pgdrill: Pgdrill, tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / f"d_backup_2025010{day}_000000.sql").write_bytes(DUMP)
    assert pgdrill("show", "all", "--backups", ".").status == 2


@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("prune", "--keep-days", "1"), ("doctor",)])
def test_output_that_has_no_room_is_named_and_is_no_failed_check(tmp_path: Path, words: tuple[str, ...]) -> None:
    """As where a job's log is on a full disk; 1 would say that an archive is bad."""
    (tmp_path / "backups").mkdir()
    (tmp_path / "backups" / "d_backup_20250101_000000.sql").write_bytes(DUMP)
    program = (sys.executable, "-c", "from backup_lib.cli import main; main()", *words)
    env = {"PATH": os.environ["PATH"]}
    with Path("/dev/full").open("w") as full:
        said = subprocess.run(
            program, cwd=tmp_path, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
        assert said.returncode == 3
        assert "what is to be printed cannot be written: No space left on device\nhint: " in said.stderr
        both = subprocess.run(program, cwd=tmp_path, env=env, stdout=full, stderr=full, check=False)
        assert both.returncode == 3
        usual = subprocess.run(program, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, check=False)
        silent = subprocess.run(program, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=full, check=False)
        assert silent.returncode == usual.returncode


def test_a_bug_exits_70_and_does_not_quote_what_it_held(
    pgdrill: Pgdrill, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(_: object, **_options: object) -> None:
        raise ValueError("a row: Margarita")

    monkeypatch.setattr("backup_lib.catalog.list_archives", broken)
    said = pgdrill("list")
    assert (said.status, said.out) == (70, "")
    assert "bug in pgdrill (ValueError" in said.err
    assert "Margarita" not in said.err
    monkeypatch.setenv("PGDRILL_DEBUG", "1")
    assert "Traceback" in pgdrill("list").err


def test_a_file_that_cannot_be_used_is_no_bug(pgdrill: Pgdrill, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", "backups/x")

    monkeypatch.setattr("backup_lib.catalog.list_archives", refused)
    said = pgdrill("list")
    assert said.status == 3
    assert said.err.startswith("error: backups/x: Permission denied\nhint: ")


def test_the_demo_does_not_write_among_other_files(pgdrill: Pgdrill, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    said = pgdrill("demo", "--folder", tmp_path)
    assert said.status == 2
    assert "not empty" in said.err


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    talk.put("public.\x1b[2Jtienda ñ\u202e\n")
    assert capsys.readouterr().out == "public.\\x1b[2Jtienda ñ\\u202e\n\n"


def test_an_interrupted_verification_ends_the_suite_and_exits_130(tmp_path: Path) -> None:
    archive = tmp_path / "slow.sql"
    archive.write_bytes(DUMP)
    program = (
        "import sys; from backup_lib.cli import main, suite\n"
        "suite._PYTEST = (sys.executable, '-c', "
        "\"import time, pathlib\\ntry:\\n pathlib.Path('up').touch(); time.sleep(60)\\n"
        "except KeyboardInterrupt:\\n pathlib.Path('cleared').touch()\", '--')\n"
        "main()"
    )
    argv = [sys.executable, "-c", program, "verify", str(archive)]
    # As after a shell's `&`: SIGINT ignored from the start.
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *argv]
    with subprocess.Popen(ignoring, cwd=tmp_path) as running:
        until = time.monotonic() + 20
        while not (tmp_path / "up").exists() and time.monotonic() < until:
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 130
    assert (tmp_path / "cleared").exists()


def drilled(verdict: str | None, *checks: str) -> Drilled:
    """A drill that ended with this verdict, and faults that these checks found."""
    if verdict is None:
        return Drilled(archive="x", folder=None, record=None)
    faults = tuple(FindingView(check=check, object="o", status="fault") for check in checks)
    record = RecordView(drill_id="d", verdict=verdict, summary="s", findings=faults)
    return Drilled(archive="x", folder=Path(), record=record)


@pytest.mark.parametrize(
    ("drills", "suite_status", "status"),
    [
        pytest.param([drilled("verified")], 0, 0, id="verified"),
        pytest.param([drilled("verified")], 1, 1, id="verified-but-a-test-of-yours-failed"),
        pytest.param([drilled("failed", "content")], 1, 1, id="failed"),
        pytest.param([drilled("failed")], 1, 1, id="failed-for-no-fault-on-record"),
        pytest.param([drilled("failed", "objectives")], 1, 4, id="objective-missed"),
        pytest.param([drilled("failed", "objectives", "content")], 1, 1, id="objective-missed-and-damaged"),
        pytest.param([drilled("failed", "suppressions")], 1, 1, id="suppression-expired"),
        pytest.param([drilled("failed", "sql:no orphans", "objectives")], 1, 1, id="query-answered-otherwise"),
        pytest.param([drilled("could_not_verify")], 1, 3, id="could-not"),
        pytest.param([drilled(None)], 1, 3, id="never-ran"),
        pytest.param([], 0, 3, id="nothing-drilled"),
        pytest.param([drilled("verified"), drilled("could_not_verify")], 1, 3, id="one-could-not"),
        pytest.param([drilled("failed", "content"), drilled("could_not_verify")], 1, 1, id="failed-weighs-most"),
        pytest.param([drilled("failed", "objectives"), drilled(None)], 1, 3, id="could-not-weighs-more-than-late"),
    ],
)
def test_the_exit_status_is_the_worst_of_the_drills(drills: list[Drilled], suite_status: int, status: int) -> None:
    assert Outcome(drills=tuple(drills), suite_status=suite_status).exit_status == status


RECORD = b'{"drill_id": "d", "verdict": "verified", "summary": "s", "findings": []}'


def evidence(folder: Path, record: bytes = RECORD) -> Path:
    folder.mkdir()
    files = {"record.json": record, "report.html": b"<html>"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    (folder / "SHA256SUMS").write_text(sums)
    return folder


def test_evidence_as_it_was_written_is_intact(pgdrill: Pgdrill, tmp_path: Path) -> None:
    said = pgdrill("evidence", "verify", evidence(tmp_path / "d"))
    assert (said.status, said.err) == (0, "")
    assert "2 files as they were written" in said.out


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        pytest.param(lambda d: (d / "report.html").write_text("other"), "report.html was altered", id="altered"),
        pytest.param(lambda d: (d / "report.html").unlink(), "report.html is missing", id="missing"),
        pytest.param(lambda d: (d / "more.txt").touch(), "more.txt was added", id="added"),
        pytest.param(lambda d: (d / "SHA256SUMS").unlink(), "SHA256SUMS is missing", id="no-sums"),
        pytest.param(lambda d: (d / "SHA256SUMS").write_text("?\n"), "line 1", id="sums-are-none"),
        pytest.param(lambda d: (d / "SHA256SUMS").write_text(""), "does not name record.json", id="no-record-named"),
    ],
)
def test_evidence_that_was_touched_is_told(
    pgdrill: Pgdrill, tmp_path: Path, spoil: Callable[[Path], object], fault: str
) -> None:
    folder = evidence(tmp_path / "d")
    spoil(folder)
    said = pgdrill("evidence", "verify", folder)
    assert said.status == 1
    assert fault in said.out
    assert json.loads(pgdrill("evidence", "verify", folder, "--json").out)["faults"]


def test_a_record_that_is_none_is_a_fault(tmp_path: Path) -> None:
    _, faults = check_folder(evidence(tmp_path / "d", b"{}"))
    assert len(faults) == 1
    assert "record.json" in faults[0]


def test_evidence_of_no_drill_is_no_such_thing(pgdrill: Pgdrill) -> None:
    assert pgdrill("evidence", "verify", "nowhere").status == 10


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")])
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert talk.render_size(size) == text


def test_columns_are_aligned_and_never_cut() -> None:
    assert talk.render_columns(("name", "n"), [("x" * 200, "7"), ("y", "10")], right=[1]).splitlines()[2] == (
        "y" + " " * 199 + "  10"
    )
