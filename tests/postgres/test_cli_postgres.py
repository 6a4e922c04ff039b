"""The command line with real servers: what was backed up is listed, shown, verified, and its damage caught."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from drilling import PgDump, execute

from backup_lib.cli.damage import flip_byte, leave_out_row
from backup_lib.manifest import parse_manifest
from backup_lib.server_programs import NEWEST_MAJOR, Programs
from backup_lib.servers import Server, start_server

pytestmark = pytest.mark.postgres

Pgdrill = Callable[..., subprocess.CompletedProcess[str]]

_PEOPLE = """
    CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL);
    INSERT INTO people SELECT n, 'Margarita ' || n FROM generate_series(1, 500) n;
    CREATE VIEW names AS SELECT name FROM people"""


@pytest.fixture
def dsn(server: Server, fresh_database: Callable[..., str]) -> str:
    dsn = fresh_database(server)
    execute(dsn, _PEOPLE)
    return dsn


@pytest.fixture
def pgdrill(tmp_path: Path) -> Pgdrill:
    """`pgdrill("list", dsn=…)`, as a program in a folder of its own; its output shows no row."""

    def pgdrill(*words: str | Path, dsn: str = "") -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "BACKUP_"))}
        kept |= {name: os.environ[name] for name in ("PGDRILL_SERVERS",) if name in os.environ}
        argv = [sys.executable, "-c", "from backup_lib.cli import main; main()", *map(str, words)]
        said = subprocess.run(
            argv, cwd=tmp_path, env={**kept, "DATABASE_URL": dsn}, capture_output=True, text=True, timeout=300
        )
        assert "Margarita" not in said.stdout + said.stderr
        return said

    return pgdrill


def back_up(pgdrill: Pgdrill, dsn: str, *options: str) -> dict[str, Any]:
    said = pgdrill("backup", "--json", *options, dsn=dsn)
    assert said.returncode == 0, said.stderr
    made: dict[str, Any] = json.loads(said.stdout)
    return made


def test_a_backup_is_listed_shown_and_verified(pgdrill: Pgdrill, dsn: str, tmp_path: Path) -> None:
    made = back_up(pgdrill, dsn)
    assert (made["rows"], made["tables"], made["kind"]) == (500, 1, "full")
    (listed,) = json.loads(pgdrill("list", "--json").stdout)
    assert (listed["name"], listed["has_manifest"]) == (made["name"], True)
    shown = json.loads(pgdrill("show", "latest", "--json").stdout)
    assert [(t["table"], t["rows"]) for t in shown["tables"]] == [("public.people", 500)]
    assert shown["sha256"] == made["sha256"]

    said = pgdrill("verify", "--sandbox", "embedded", "--json")
    assert said.returncode == 0, said.stderr
    (drill,) = json.loads(said.stdout)["drills"]
    assert (drill["archive"], drill["verdict"]) == ("latest", "verified")
    assert pgdrill("evidence", "verify", "reports/latest").returncode == 0
    assert not (tmp_path / ".pytest_cache").exists()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--format", "custom"], id="custom"),
        pytest.param(["--format", "tar"], id="tar"),
        pytest.param(["--compress", "zstd"], id="zstd"),
        pytest.param(["-t", "peop*"], id="table"),
        pytest.param(["--kind", "schema"], id="schema"),
    ],
)
def test_a_line_tells_what_was_made(pgdrill: Pgdrill, dsn: str, tmp_path: Path, options: list[str]) -> None:
    said = pgdrill("backup", "--to", "elsewhere", *options, dsn=dsn)
    assert said.returncode == 0, said.stderr
    (line,) = said.stdout.splitlines()
    path = Path(line.split("  ")[0])
    assert (tmp_path / path).exists()
    assert path.parent == Path("elsewhere")
    assert f"{0 if 'schema' in options else 500} rows" in line


def test_a_missed_objective_is_told_from_damage(pgdrill: Pgdrill, dsn: str) -> None:
    back_up(pgdrill, dsn)
    assert pgdrill("verify", "--sandbox=embedded", "--level=restore", "--rto=0.001").returncode == 4


def test_damaged_archives_fail_among_good_ones(pgdrill: Pgdrill, dsn: str, tmp_path: Path) -> None:
    archive = tmp_path / back_up(pgdrill, dsn)["path"]
    manifest = parse_manifest((archive.parent / f"{archive.name}.manifest.json").read_bytes())
    assert manifest.inventory
    flipped = flip_byte(archive, tmp_path / "flipped")
    shortened = leave_out_row(archive, tmp_path / "shortened", manifest.inventory.tables[0])
    said = pgdrill("verify", archive, flipped, shortened, "--sandbox=embedded", "--json")
    assert said.returncode == 1
    assert [drill["verdict"] for drill in json.loads(said.stdout)["drills"]] == ["verified", "failed", "failed"]
    findings = json.loads((tmp_path / "reports/latest/record.json").read_text())["findings"]
    assert {f["check"] for f in findings if f["status"] == "fault"} == {"row-count", "content"}
    assert {f["object"] for f in findings if f["status"] == "fault"} == {"public.people"}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("x.sql.gz", b"", id="zero-bytes"),
        pytest.param("notes.txt", b"buy milk\n", id="text-file"),
    ],
)
def test_what_is_no_dump_is_drilled_when_it_is_named_and_fails(
    pgdrill: Pgdrill, tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    said = pgdrill("verify", f"./{name}", "--sandbox", "embedded")
    assert said.returncode == 1
    assert f"{name} failed" in said.stdout


def test_a_recorded_manifest_proves_somebody_elses_archive(
    pgdrill: Pgdrill, pg_dump: PgDump, server: Server, dsn: str, tmp_path: Path
) -> None:
    with psycopg.connect(dsn) as holding:
        holding.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        row = holding.execute("SELECT pg_export_snapshot()").fetchone()
        assert row
        said = pgdrill("manifest", "--out", "m.json", "--snapshot", row[0], dsn=dsn)
        pg_dump(server, dsn, tmp_path / "theirs.sql", f"--snapshot={row[0]}")
    assert said.returncode == 0, said.stderr
    assert "500 rows in 1 table" in said.stdout
    assert (tmp_path / "m.json").stat().st_mode & 0o777 == 0o600
    said = pgdrill("verify", "./theirs.sql", "--manifest", "m.json", "--sandbox", "embedded")
    assert said.returncode == 0, said.stdout
    assert "m.json" in (tmp_path / "reports/latest/record.json").read_text()


def test_the_doctor_names_what_is_here_and_the_database(pgdrill: Pgdrill, dsn: str, tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir(mode=0o755)
    said = pgdrill("doctor", "--json", dsn=dsn)
    told = json.loads(said.stdout)
    by_name = {item["what"]: item for item in told["examined"]}
    assert (said.returncode, told["able"]) == (0, True)
    assert by_name["database"]["status"] == "ok"
    assert "chmod" in by_name["backup folder backups"]["hint"]
    assert all(item["hint"] for item in told["examined"] if item["status"] == "missing")
    assert "archives can be drilled here" in pgdrill("doctor").stdout


def test_the_demo_proves_the_good_archive_and_catches_the_damaged(pgdrill: Pgdrill, tmp_path: Path) -> None:
    said = pgdrill("demo", "--folder", "demo")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "the archive: VERIFIED" in said.stdout
    assert "one byte flipped: FAILED" in said.stdout
    assert "one row left out: FAILED" in said.stdout
    assert len(list((tmp_path / "demo/reports").glob("*/report.html"))) == 4  # one is of `latest`, a link


def test_a_dry_run_of_backup_says_what_would_be_dumped_and_writes_nothing(
    pgdrill: Pgdrill, dsn: str, tmp_path: Path
) -> None:
    said = pgdrill("backup", "--dry-run", "--json", "--to", "new", dsn=dsn)
    assert said.returncode == 0, said.stderr
    plan = json.loads(said.stdout)
    assert (plan["tables"], plan["left_out"], plan["expected_bytes"]) == (["public.people"], [], None)
    assert not (tmp_path / "new").exists()

    made = back_up(pgdrill, dsn, "--to", "new")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "new").iterdir()}
    plan = json.loads(pgdrill("backup", "--dry-run", "--json", "--to", "new", dsn=dsn).stdout)
    assert (plan["like"], plan["expected_bytes"], plan["kind"]) == (made["name"], made["size_bytes"], "full")
    assert plan["name"] != made["name"]
    assert (plan["places"][0]["free_bytes"] or 0) > 0
    said = pgdrill("backup", "--dry-run", "--kind", "schema", "--exclude-table", "people", "--to", "new", dsn=dsn)
    assert "rows of 0 tables: none\n  NOT of 1: public.people\n" in said.stdout
    assert said.stdout.endswith("nothing was dumped or written\n")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "new").iterdir()} == before


def test_a_dry_run_of_backup_finds_what_a_backup_would_stumble_over(pgdrill: Pgdrill, dsn: str) -> None:
    said = pgdrill("backup", "--dry-run", "--table", "persons", dsn=dsn)
    assert (said.returncode, "no table is called persons" in said.stderr) == (3, True)
    said = pgdrill("backup", "--dry-run", "--format", "tar", "--compress", "gzip", dsn=dsn)
    assert (said.returncode, "a tar archive cannot be compressed" in said.stderr) == (2, True)


def test_what_manifest_recorded_is_told_as_json(pgdrill: Pgdrill, dsn: str, tmp_path: Path) -> None:
    told = json.loads(pgdrill("manifest", "--out", "m.json", "--json", dsn=dsn).stdout)
    assert (told["path"], told["rows"], told["tables"], told["kind"]) == ("m.json", 500, 1, "full")
    assert (tmp_path / "m.json").exists()


def test_all_databases_of_a_server_are_backed_up_each_and_one_that_fails_stops_no_other(
    programs_of: Callable[[int], Programs], pgdrill: Pgdrill, tmp_path: Path
) -> None:
    with start_server(programs_of(NEWEST_MAJOR)) as server:
        execute(server.conninfo(), 'CREATE DATABASE "La tienda"', "CREATE DATABASE closed ALLOW_CONNECTIONS false")
        execute(server.conninfo("La tienda"), _PEOPLE)
        said = pgdrill("backup", "--all-databases", "--json", dsn=server.conninfo("template1"))
        assert said.returncode == 0, said.stderr
        assert [(made["database"], made["rows"]) for made in json.loads(said.stdout)] == [
            ("La tienda", 500),
            ("postgres", 0),
        ]
        assert len(list((tmp_path / "backups").glob("*.sql.gz"))) == 2
        (tmp_path / "backups").rename(tmp_path / "first")
        execute(server.conninfo("postgres"), "CREATE TABLE t (a int)", "CREATE ROLE modest LOGIN")
        execute(server.conninfo("La tienda"), "GRANT SELECT ON people TO modest")
        said = pgdrill("backup", "--all-databases", dsn=f"{server.conninfo('postgres')} user=modest")
        assert said.returncode == 3
        assert "database postgres, full:" in said.stderr
        assert "may not read public.t" in said.stderr
        assert [path.name.partition("_backup")[0] for path in (tmp_path / "backups").glob("*.gz")] == ["La%20tienda"]
    assert pgdrill("backup", "--all-databases", "--database", "x").returncode == 2
