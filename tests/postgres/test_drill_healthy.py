"""Archives in which nothing is wrong: each must end verified, without a fault or a gap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drilling import DrillOf, PgDump, execute, told

from backup_lib.backup import make_backup
from backup_lib.servers import Server
from verification.evidence.record import Record

pytestmark = pytest.mark.postgres

EVERY_OBJECT = Path(__file__).with_name("every_object.sql").read_bytes()
ALONE = b"""CREATE SCHEMA tienda;
CREATE TABLE tienda.producto (id serial PRIMARY KEY, precio numeric(9,2) CHECK (precio > 0));
INSERT INTO tienda.producto (precio) SELECT i FROM generate_series(1, 30) i;
CREATE INDEX ON tienda.producto (precio);
"""
ServerOf = Callable[[int], Server]


def is_verified(record: Record) -> None:
    assert record.verdict == "verified", told(record)
    assert not [f for f in record.findings if f.status in ("fault", "gap")], told(record)
    # Of a part of a database, or without a manifest, there is nothing to hold these two against.
    unasked = {check.name for check in record.checks if check.status == "not_run"}
    assert unasked <= {"environment", "catalog"}
    assert {check.status for check in record.checks if check.name not in unasked} == {"passed"}


@pytest.fixture
def every_object(
    fresh_database: Callable[..., str], psql: Callable[[Server, str, bytes], None]
) -> Callable[[Server], str]:
    def every_object(server: Server) -> str:
        dsn = fresh_database(server)
        psql(server, dsn, EVERY_OBJECT + ALONE)
        return dsn

    return every_object


def test_own_archive_of_every_major_is_verified(
    every_server: Server, every_object: Callable[[Server], str], drill_of: DrillOf, tmp_path: Path
) -> None:
    path = make_backup(every_object(every_server), tmp_path, programs=every_server.programs).path
    assert path
    is_verified(drill_of(path))


@pytest.mark.parametrize("major", [15, 18])
@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param({"compression": "none"}, id="none"),
        pytest.param({"compression": "zstd"}, id="zstd"),
        pytest.param({"create": True}, id="create"),
        pytest.param({"format": "custom"}, id="custom"),
        pytest.param({"format": "directory", "jobs": 2}, id="directory"),
        pytest.param({"format": "tar"}, id="tar"),
        pytest.param({"kind": "schema"}, id="schema"),
        pytest.param({"schemas": ["tienda"]}, id="one-schema"),
        pytest.param({"tables": ["tienda.*"]}, id="some-tables"),
        pytest.param({"exclude_tables": ["padre", "hijo"]}, id="without-tables"),
    ],
)
def test_own_archive_of_every_form_is_verified(
    server_of: ServerOf,
    every_object: Callable[[Server], str],
    drill_of: DrillOf,
    tmp_path: Path,
    major: int,
    wanted: dict[str, Any],
) -> None:
    server = server_of(major)
    path = make_backup(every_object(server), tmp_path, programs=server.programs, **wanted).path
    assert path
    is_verified(drill_of(path))


@pytest.mark.parametrize(
    ("major", "name", "options"),
    [
        pytest.param(major, name, options, id=f"{case}-{major}")
        for case, name, options in (
            ("plain", "db.sql", ()),
            ("custom", "db.dump", ("--format=custom",)),
            ("directory", "db", ("--format=directory",)),
            ("tar", "db.tar", ("--format=tar",)),
            ("create", "db.sql", ("--clean", "--create", "--if-exists")),
            ("clean", "db.sql", ("--clean",)),
            ("clean-if-exists", "db.sql", ("--clean", "--if-exists")),
        )
        for major in (15, 18)
    ]
    + [
        pytest.param(18, "db.sql", options, id=case)
        for case, options in (
            ("inserts", ("--inserts",)),
            ("column-inserts", ("--column-inserts", "--rows-per-insert=7")),
            ("latin1-client", ("--create", "--encoding=LATIN1")),
            ("schema-only", ("--schema-only",)),
            ("no-owner", ("--no-owner", "--no-privileges", "--no-comments")),
            ("through-root", ("--load-via-partition-root",)),
            ("one-schema", ("--schema=tienda",)),
            ("one-table", ("--table=tienda.producto",)),
            ("quoted", ("--disable-triggers", "--quote-all-identifiers")),
        )
    ],
)
def test_foreign_archive_of_every_form_is_verified(
    server_of: ServerOf,
    every_object: Callable[[Server], str],
    pg_dump: PgDump,
    drill_of: DrillOf,
    tmp_path: Path,
    major: int,
    name: str,
    options: tuple[str, ...],
) -> None:
    server = server_of(major)
    path = pg_dump(server, every_object(server), tmp_path / name, *options)
    record = drill_of(path)
    is_verified(record)
    assert any("no manifest" in sentence for sentence in record.not_proved)


@pytest.mark.parametrize("options", [(), ("--clean",), ("--clean", "--if-exists")], ids=["", "clean", "if-exists"])
@pytest.mark.parametrize("major", [15, 18])
def test_a_dump_of_a_whole_cluster_is_verified(
    server_of: ServerOf, fresh_database: Callable[..., str], pg_dump: PgDump, drill_of: DrillOf,
    tmp_path: Path, major: int, options: tuple[str, ...],
) -> None:  # fmt: skip
    server = server_of(major)
    for name in ("uno", "dos"):
        rows = f"INSERT INTO t SELECT i, '{name}' FROM generate_series(1, 50) i"
        execute(fresh_database(server, name=f"{name}_{major}"), "CREATE TABLE t (a int PRIMARY KEY, b text)", rows)
    dump = pg_dump(server, server.conninfo("postgres"), tmp_path / "all.sql", *options, program="pg_dumpall")
    is_verified(drill_of(dump))


REWORDED = {
    "in-over-varchar": """CREATE TABLE t (s varchar(9) CHECK (s IN ('a', 'b')), u varchar CHECK (u NOT IN ('x', 'y')));
        CREATE INDEX i ON t (u) WHERE s IN ('a', 'b'); CREATE VIEW v AS SELECT * FROM t WHERE s IN ('a', 'b');
        INSERT INTO t VALUES ('a', 'b')""",
    "and-under-and": "CREATE TABLE t (x int, y int, CHECK (x BETWEEN 1 AND 9 AND y > 0)); INSERT INTO t VALUES (1, 1)",
    "untyped-null": """CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 2);
        CREATE VIEW v AS SELECT * FROM (SELECT a, b FROM t UNION ALL SELECT a, NULL FROM t) x""",
    "late-column-of-a-parent": """CREATE TABLE padre (a int); CREATE TABLE hijo (b int) INHERITS (padre);
        ALTER TABLE padre ADD c text; INSERT INTO hijo VALUES (1, 2, 'tres'), (4, 5, 'seis')""",
    "row-order": """CREATE TABLE t (a int, b text); ALTER TABLE t ALTER b SET STORAGE EXTERNAL;
        INSERT INTO t SELECT i, repeat('x', CASE i % 3 WHEN 0 THEN 3 ELSE 1900 END) FROM generate_series(1, 60) i""",
    "hash-partitions-on-an-enum": """CREATE TYPE e AS ENUM ('a', 'b', 'c', 'd', 'e', 'f');
        CREATE TABLE t (k e, n int) PARTITION BY HASH (k);
        CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 0);
        CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 1);
        CREATE TABLE t2 PARTITION OF t FOR VALUES WITH (MODULUS 3, REMAINDER 2);
        INSERT INTO t SELECT x, n FROM unnest(enum_range(NULL::e)) x, generate_series(1, 10) n""",
    "settings-of-the-database": """CREATE TABLE t (a bytea, b timestamptz);
        INSERT INTO t VALUES ('\\x00ff', '2024-07-01 12:00+00');
        SELECT format('ALTER DATABASE %I SET bytea_output = escape', current_database()) AS a,
               format('ALTER DATABASE %I SET timezone = %L', current_database(), 'America/Caracas') AS b \\gset
        :a;
        :b""",
}  # fmt: skip


@pytest.mark.parametrize("foreign", [False, True], ids=["own", "foreign"])
@pytest.mark.parametrize("statements", REWORDED.values(), ids=REWORDED.keys())
def test_what_a_server_words_or_orders_anew_is_no_fault(
    server: Server, fresh_database: Callable[..., str], psql: Callable[..., None], pg_dump: PgDump,
    drill_of: DrillOf, tmp_path: Path, statements: str, foreign: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    dsn = fresh_database(server)
    psql(server, dsn, statements.encode())
    path = pg_dump(server, dsn, tmp_path / "db.sql") if foreign else make_backup(dsn, tmp_path).path
    assert path
    is_verified(drill_of(path))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1252"])
def test_another_encoding_is_restored_as_it_was(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path, encoding: str
) -> None:
    dsn = fresh_database(server, options=f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    execute(
        dsn, 'CREATE TABLE t (a text, "año" int DEFAULT 1)' if encoding != "SQL_ASCII" else "CREATE TABLE t (a text)"
    )
    execute(dsn, "INSERT INTO t VALUES ('piñata')")
    path = make_backup(dsn, tmp_path).path
    assert path
    is_verified(drill_of(path))


def test_an_empty_database_is_verified_against_its_manifest_only(
    server: Server, fresh_database: Callable[..., str], pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    path = make_backup(dsn, tmp_path / "own").path
    assert path
    is_verified(drill_of(path))
    record = drill_of(pg_dump(server, dsn, tmp_path / "foreign.sql"))
    assert record.verdict == "failed", told(record)


def test_a_drill_that_only_restores_and_counts_claims_no_more(
    server_of: ServerOf, tmp_path: Path, fresh_database: Callable[..., str], drill_of: DrillOf
) -> None:
    server = server_of(18)
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)")
    path = make_backup(dsn, tmp_path).path
    assert path is not None
    record = drill_of(path, level="restore")
    assert record.verdict == "verified"
    assert "equal" not in record.summary
    assert {table.content for table in record.tables} == {"not_compared"}


def test_what_has_nothing_to_compare_with_is_said_not_passed(
    server_of: ServerOf, tmp_path: Path, fresh_database: Callable[..., str], drill_of: DrillOf
) -> None:
    server = server_of(18)
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (id int PRIMARY KEY)")
    made = make_backup(dsn, tmp_path)
    (tmp_path / f"{made.name}.manifest.json").unlink()
    record = drill_of(tmp_path / made.name)
    assert record.verdict == "verified"
    assert {c.name for c in record.checks if c.status == "not_run"} == {"environment", "catalog"}
