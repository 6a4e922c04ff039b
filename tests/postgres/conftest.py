"""Drills without a command line: one archive in, its record out."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from drilling import DrillOf, PgDump

from backup_lib.catalog import resolve
from backup_lib.servers import Server
from verification.drill import Drill, Plan
from verification.evidence.builder import build_record
from verification.evidence.record import Record


@pytest.fixture(scope="session")
def drill_of() -> DrillOf:
    """`drill_of(path, level="restore")`: the record of one archive's drill in an embedded sandbox."""

    def drill_of(path: Path, **plan: Any) -> Record:
        (found,) = resolve([str(path)], path.parent)
        with Drill(found, path, Plan(**{"sandbox": "embedded", "jobs": 2, **plan}), drill_id="test") as drill:
            drill.judge_all()
        record = build_record(drill, finished_at=datetime.now(UTC))
        drill.close()
        return record

    return drill_of


@pytest.fixture(scope="session")
def psql() -> Callable[[Server, str, bytes], None]:
    """`psql(server, dsn, script)`: run a script of SQL, and stop at its first error."""

    def psql(server: Server, dsn: str, script: bytes) -> None:
        argv = [str(server.programs.program("psql")), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", dsn]
        subprocess.run(argv, input=script, check=True, capture_output=True, env=dict(server.programs.env) or None)

    return psql


@pytest.fixture(scope="session")
def pg_dump() -> PgDump:
    """`pg_dump(server, dsn, path, "--inserts")`: an archive as somebody without pgdrill makes it."""

    def pg_dump(server: Server, dsn: str, path: Path, *options: str, program: str = "pg_dump") -> Path:
        argv = [str(server.programs.program(program)), f"--dbname={dsn}", f"--file={path}", *options]
        subprocess.run(argv, check=True, capture_output=True, env=dict(server.programs.env) or None)
        return path

    return pg_dump


@pytest.fixture
def drilled() -> Iterator[Callable[[Path], Drill]]:
    """`drilled(path)`: a drill whose sandbox is still there."""
    with ExitStack() as cleanup:

        def drilled(path: Path) -> Drill:
            (found,) = resolve([str(path)], path.parent)
            drill = cleanup.enter_context(Drill(found, path, Plan(sandbox="embedded"), drill_id="test"))
            cleanup.callback(drill.close)
            drill.judge_all()
            return drill

        yield drilled
