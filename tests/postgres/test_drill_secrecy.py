"""No value of a row in anything a drill says, whatever the server quotes in its messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from drilling import Alter, DrillOf, PgDump, execute, rewrite, told

from backup_lib.backup import make_backup
from backup_lib.servers import Server
from verification.evidence.folder import write_evidence
from verification.evidence.record import Record

pytestmark = pytest.mark.postgres

CANARY = "canario0451"


def put(pattern: str, instead: str) -> Alter:
    return lambda text: re.sub(pattern.encode(), instead.encode(), text, count=1, flags=re.MULTILINE)


DAMAGE = {
    "no-number": put(r"^2\t2\t", rf"2\t{CANARY}\t"),
    "out-of-range": put(r"^2\t2\t", r"2\t45104510451045104510451\t"),
    "no-date": put(r"\t2024-01-03$", rf"\t{CANARY}"),
    "key-twice": put(r"^3\t", r"2\t"),
    "unique-twice": put(rf"{CANARY} 3\t", rf"{CANARY} 2\t"),
    "not-in-the-enum": put(r"\trojo\t", rf"\t{CANARY}\t"),
    "no-json": put(r"\t\{\}\t", rf"\t{{{CANARY}}}\t"),
    "check-violated": put(r"^2\t2\t", r"2\t-451045104510\t"),
    "column-too-many": put(r"(\t2024-01-03)$", rf"\1\t{CANARY}"),
    "column-missing": put(r"\t2024-01-03$", ""),
    "row-like-a-context": put(r"^(2\t2\t)[^\t]*\t(.*)\t2024-01-03$", rf"\1x, line 7, column {CANARY}\t\2"),
    "altered": put(rf"{CANARY} 2\t", rf"{CANARY} dos\t"),
    "raised-by-a-function": put(r"^2\t2\t", r"2\t45104510\t"),
}


@pytest.fixture
def table(server: Server, fresh_database: Callable[..., str]) -> str:
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE TYPE color AS ENUM ('rojo', 'azul')",
        """CREATE FUNCTION pequeno(n bigint) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
           $$ BEGIN IF n > 45000000 THEN RAISE EXCEPTION 'too much: %', n; END IF; RETURN true; END $$""",
        """CREATE TABLE t (id int PRIMARY KEY, n bigint CHECK (n > 0) CHECK (pequeno(n)), a text UNIQUE, c color,
           j json, d date)""",
        f"""INSERT INTO t SELECT i, i, '{CANARY} ' || i, 'rojo', '{{}}', date '2024-01-01' + i
            FROM generate_series(1, 5) i""",
    )
    return dsn


def says_no_value(record: Record, reports: Path) -> None:
    assert record.verdict == "failed", told(record)
    folder = write_evidence(reports, record)
    assert folder.stat().st_mode & 0o777 == 0o700
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
        for value in (CANARY, "45104510"):
            assert value not in file.read_text(), f"{file.name}: {told(record)}"


@pytest.mark.parametrize("alter", DAMAGE.values(), ids=DAMAGE.keys())
def test_values_of_rows_appear_nowhere(table: str, drill_of: DrillOf, tmp_path: Path, alter: Alter) -> None:
    path = make_backup(table, tmp_path / "own").path
    assert path
    rewrite(path, alter)
    says_no_value(drill_of(path), tmp_path / "reports")


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        pytest.param(f"'{CANARY} 2'", f"'{CANARY} 2''{CANARY}", id="quote-lost"),
        pytest.param(f"'{CANARY} 2'", CANARY, id="word-without-quotes"),
        pytest.param(f"'{CANARY} 2'", f"'x' {CANARY}", id="comma-lost"),
        pytest.param("(2, 2,", f"('{CANARY}', 2,", id="no-number"),
    ],
)
def test_values_of_insert_statements_appear_nowhere(
    server: Server, table: str, pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path, value: str, instead: str
) -> None:
    path = pg_dump(server, table, tmp_path / "t.sql", "--inserts")
    text = path.read_bytes()
    assert value.encode() in text
    path.write_bytes(text.replace(value.encode(), instead.encode(), 1))
    says_no_value(drill_of(path), tmp_path / "reports")
