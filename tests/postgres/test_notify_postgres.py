"""What people are told of real backups and drills."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from receivers import http_receiver

from backup_lib.servers import Server

pytestmark = pytest.mark.postgres
SECRET_ROW = "Ana-Restrepo-4711"  # noqa: S105


def test_backup_drill_failure_and_recovery_are_told(
    server: Server, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    """One day of a shop: a backup, its drill by pytest, a damaged archive by `pgdrill verify`, and a good one again."""
    import psycopg

    dsn = fresh_database(server)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE customer (id int PRIMARY KEY, name text)")
        connection.execute("INSERT INTO customer SELECT i, %s FROM generate_series(1, 500) i", [SECRET_ROW])

    def run(*words: str) -> int:
        silent = ("BACKUP_", "PG", "POSTGRES_", "DATABASE_URL", "NOTIFY_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
        told = {"NOTIFY_WEBHOOK": f"{receiver.url}/hook", "NOTIFY_PING_DRILL": f"{receiver.url}/drill"}
        env = {
            **clean,
            "DATABASE_URL": dsn,
            "NOTIFY_ON": "always",
            **told,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        return subprocess.run(words, cwd=tmp_path, env=env, check=False, stdin=subprocess.DEVNULL).returncode

    pgdrill = (sys.executable, "-c", "from backup_lib.cli import main; main()")
    with http_receiver() as receiver:
        assert run(*pgdrill, "backup") == 0
        pytest_words = (
            "-m",
            "pytest",
            "--pyargs",
            "verification",
            "-q",
            "--sandbox",
            "embedded",
            "-p",
            "no:cacheprovider",
        )
        assert run(sys.executable, *pytest_words, "-c", os.devnull) == 0
        (archive,) = (tmp_path / "backups").glob("*.sql.gz")
        good = archive.read_bytes()
        archive.write_bytes(good[: len(good) // 2])
        assert run(*pgdrill, "verify", "--level", "integrity") == 1
        archive.write_bytes(good)
        assert run(*pgdrill, "verify", "--level", "integrity") == 0
    hooks = [got.json for got in receiver.got if got.path == "/hook"]
    assert [(one["event"], one["command"], one["exit_status"]) for one in hooks] == [
        ("success", "backup", 0), ("success", "drill", 0), ("failure", "drill", 1), ("recovery", "drill", 0),
    ]  # fmt: skip
    backup, drill, failure, _recovery = hooks
    assert f"{archive.name}: " in backup["lines"][0]
    assert "500 rows in 1 table" in backup["lines"][0]
    assert drill["lines"][0].startswith("VERIFIED latest: ")
    assert failure["lines"][0].startswith("FAILED latest: ")
    assert any(line.startswith("integrity, ") for line in failure["lines"])
    assert any(line.strip().startswith("next: ") for line in failure["lines"])
    pings = [got.path.partition("?")[0] for got in receiver.got if got.path.startswith("/drill")]
    assert pings == ["/drill/start", "/drill", "/drill/start", "/drill/fail", "/drill/start", "/drill"]
    assert not [got for got in receiver.got if SECRET_ROW in got.body]
    assert all(len(one["text"].splitlines()) <= 20 for one in hooks)
