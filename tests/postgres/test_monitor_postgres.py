"""What is watched between drills, from real archives and a real drill: as a user runs it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from drilling import execute
from test_cli_postgres import Pgdrill, dsn, pgdrill  # noqa: F401 - fixtures

from backup_lib.backup import make_backup
from backup_lib.configuration import load_configuration
from backup_lib.monitor.status import Status, examine
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres


def test_a_table_that_is_emptied_after_a_good_drill_is_a_problem(
    pgdrill: Pgdrill,
    dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def status() -> Status:
        return examine(load_configuration({"DATABASE_URL": dsn}, tmp_path), now=datetime.now(UTC))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pgdrill.toml").write_text(
        '[status]\nmetrics = "x.prom"\n[verify]\nsandbox = "embedded"\nlevel = "restore"\n'
    )
    execute(dsn, "CREATE TABLE rates AS SELECT generate_series(1, 3) AS rate")
    assert [problem.code for problem in status().problems] == ["missing"]
    for _ in range(4):
        make_backup(dsn, tmp_path / "backups")
    assert pgdrill("backup", dsn=dsn).returncode == 0
    assert re.search(r"^pgdrill_backup_last_rows\{.*\} 503", (tmp_path / "x.prom").read_text(), re.MULTILINE)
    unproved = status()
    assert [problem.code for problem in unproved.problems] == ["never-verified"]
    listed = pgdrill("checklist", "weekly", "--drill", dsn=dsn)
    assert (listed.returncode, "[x] Prove that an archive restores: proved" in listed.stdout) == (0, True), listed
    assert len(list((tmp_path / "reports" / "checklists").glob("*-weekly.md"))) == 1
    told = (tmp_path / "x.prom").read_text()
    assert re.search(r"^restore_drill_last_result\{.*\} 0", told, re.MULTILINE)
    assert re.search(r'^restore_drill_duration_seconds\{.*phase="data"\}', told, re.MULTILINE)
    assert status().problems == ()
    execute(dsn, "TRUNCATE rates")
    make_backup(dsn, tmp_path / "backups")
    said = pgdrill("status", dsn=dsn)
    assert said.returncode == 1
    assert "a table is empty that had rows before: public.rates" in said.stdout
    assert "PROBLEM" in said.stdout


def test_a_scheduled_night_leaves_each_database_backed_up_drilled_and_well(
    pgdrill: Pgdrill,
    dsn: str,
    fresh_database: Callable[..., str],
    server: Server,
    tmp_path: Path,
) -> None:
    """Two databases and kinds, one of them in two places of its own, and files: none may be left out unseen."""
    execute(dsn, "CREATE TABLE rates AS SELECT generate_series(1, 3) AS rate")
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "url").write_text(dsn)
    (tmp_path / "other").write_text(fresh_database(server))
    (tmp_path / "pgdrill.toml").write_text(
        '[backup]\ndir = "c"\n[verify]\nsandbox = "embedded"\nlevel = "restore"\n'
        '[databases.shop]\nurl_file = "url"\nto = ["a", "b"]\n'
        '[databases.other]\nurl_file = "other"\nkinds = ["schema"]\n'
        '[schedule]\nconfig = "30 2 * * 0"\nrotate = "0 4 1 * *"\n[files]\npaths = ["compose.yaml"]\n'
    )
    assert pgdrill("verify", "--each").returncode == 10
    early = pgdrill("schedule", "once", "rotate")  # before there is anything
    assert (early.returncode, early.stdout.count("nothing there yet")) == (0, 3), early
    assert pgdrill("rotate", "--backups", "typo").returncode == 3
    ran = pgdrill("schedule", "once", "backup")
    assert ran.returncode == 0, ran.stderr
    kept = {place: [p.name for p in (tmp_path / place).glob("*.sql.gz")] for place in ("a", "b", "c")}
    assert [len(names) for names in kept.values()] == [1, 1, 1]
    assert kept["a"] == kept["b"]
    ran = pgdrill("schedule", "once", "config")
    assert (ran.returncode, len(list((tmp_path / "c").glob("files_backup_*_config.tar.gz")))) == (0, 1), ran
    assert pgdrill("schedule", "once", "rotate").returncode == 0
    foreign = tmp_path / "a" / "nightly.sql"
    foreign.write_text("--\n-- PostgreSQL database dump\n--\n")
    ran = pgdrill("schedule", "once", "drill")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "left out, since nothing says of which database: nightly.sql" in ran.stderr
    foreign.unlink()
    told = json.loads(pgdrill("status", "--json").stdout)
    assert (told["exit_status"], [one["verdict"] for one in told["series"]]) == (0, ["ok", "ok", "ok"])
    assert {(one["kind"], one["verified"]["standing"]) for one in told["series"]} == {
        (kind, "verified") for kind in ("config", "full", "schema")
    }
    assert [task["last_status"] for task in told["tasks"]] == [0, 0, 0, 0]
    # What somebody takes a part of in between is not what is drilled and restored the next time.
    assert pgdrill("backup", "--database", "shop", "--table", "rates").returncode == 0
    assert pgdrill("verify", "latest", "--backups", "a", "--level", "integrity").returncode == 0
    record = json.loads((tmp_path / "reports" / "latest" / "record.json").read_text())
    assert record["archive"]["name"] == kept["a"][0]
    part = json.loads(pgdrill("show", "latest::tables", "--backups", "a", "--json").stdout)
    assert (part["kind"], len(part["tables"])) == ("tables", 1)
    (tmp_path / "a" / kept["a"][0]).unlink()
    fallen_back = pgdrill("verify", "latest", "--backups", "a", "--level", "integrity")
    said = f"There is no full archive, so latest means the newest of another kind, tables: {part['name']}"
    assert said in fallen_back.stdout
    record = json.loads((tmp_path / "reports" / "latest" / "record.json").read_text())
    assert f"{said}." in record["not_proved"]
