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


@pytest.mark.parametrize("form", ["copy", "inserts"])
@pytest.mark.parametrize("alter", DAMAGE.values(), ids=DAMAGE.keys())
def test_values_of_rows_appear_nowhere(
    server: Server, fresh_database: Callable[..., str], pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path,
    alter: Alter, form: str,
) -> None:  # fmt: skip
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
    if form == "copy":
        path = make_backup(dsn, tmp_path / "own").path
        assert path
        rewrite(path, alter)
    else:
        path = pg_dump(server, dsn, tmp_path / "t.sql", "--inserts")
        text = path.read_bytes().replace(f"'{CANARY} 2'".encode(), f"'{CANARY} 2''{CANARY}".encode(), 1)
        path.write_bytes(text)
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    folder = write_evidence(tmp_path / "reports", record)
    for file in folder.iterdir():
        said = file.read_text()
        assert CANARY not in said, f"{file.name}: {told(record)}"
        assert "4510451" not in said, f"{file.name}: {told(record)}"
