"""Flaws of the source that pg_dump takes without a word: the drill meets them, names them, and blames the right one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from drilling import DrillOf, execute, reseal, rewrite, swap, told

from backup_lib.backup import make_backup
from backup_lib.manifest import SUFFIX, parse_manifest, render_manifest
from backup_lib.servers import Server
from verification.drill import Drill
from verification.evidence.record import Record

pytestmark = pytest.mark.postgres

ServerOf = Callable[[int], Server]

FLAWED = """
CREATE SCHEMA app;
CREATE TABLE app.tasa (x numeric); INSERT INTO app.tasa VALUES (0.1);
CREATE FUNCTION app.con_tasa(n numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT n * (SELECT max(x) FROM tasa)';
CREATE TABLE app.generada (n numeric, m numeric GENERATED ALWAYS AS (app.con_tasa(n)) STORED);
INSERT INTO app.generada SELECT generate_series(1, 50);
CREATE TABLE app.zpadre (id int, relleno text);
INSERT INTO app.zpadre SELECT i, repeat('x', 200) FROM generate_series(1, 20000) i;
CREATE FUNCTION app.hay_padre(i int) RETURNS boolean LANGUAGE plpgsql AS
    'BEGIN RETURN EXISTS (SELECT FROM app.zpadre WHERE id = i); END';
CREATE TABLE app.ahijo (id int CONSTRAINT con_padre CHECK (app.hay_padre(id))); INSERT INTO app.ahijo VALUES (20000);
CREATE TABLE app.duplicada (id int PRIMARY KEY, nota text); INSERT INTO app.duplicada SELECT i, 'x' FROM generate_series(1, 100) i;
UPDATE pg_index SET indisready = false WHERE indexrelid = 'app.duplicada_pkey'::regclass;
INSERT INTO app.duplicada VALUES (1, 'otra vez');
UPDATE pg_index SET indisready = true WHERE indexrelid = 'app.duplicada_pkey'::regclass;
CREATE TABLE app.duena (id int PRIMARY KEY); CREATE TABLE app.huerfana (d int CONSTRAINT de_duena REFERENCES app.duena);
SET session_replication_role = replica; INSERT INTO app.huerfana VALUES (99); RESET session_replication_role;
"""  # fmt: skip
UNTIL_16 = """
CREATE TABLE app.indizada (n numeric); INSERT INTO app.indizada SELECT generate_series(1, 50);
CREATE INDEX por_tasa ON app.indizada (app.con_tasa(n));
CREATE MATERIALIZED VIEW app.vista_tasa AS SELECT app.con_tasa(1) AS t;
"""  # from 17 on the server itself makes neither with such a function


def faults(record: Record) -> str:
    return "\n".join(
        f"{f.check} {f.object}: {f.expected} | {f.actual}" for f in record.findings if f.status == "fault" and f.hint
    )


@pytest.mark.parametrize("major", [14, 18])
def test_what_the_source_tolerates_and_a_restore_refuses_is_named(
    server_of: ServerOf, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path, major: int
) -> None:
    """Rows 16, 17, 19 and 20: pg_dump and psql end with 0 on each of these."""
    server = server_of(major)
    dsn = fresh_database(server)
    for statement in (FLAWED + UNTIL_16 * (major < 17)).split(";\n"):
        execute(f"{dsn} options='-c search_path=app,public'", statement)
    path = make_backup(dsn, tmp_path, programs=server.programs).path
    assert path
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    said = faults(record)
    assert 'relation "tasa" does not exist' in said, said  # row 16, with its cause
    for table in ("app.generada: 50 rows | no such table restored", "app.ahijo: 1 row | 0 rows restored"):
        assert table in said, said
    for constraint in ("duplicada_pkey", "de_duena"):
        assert f"table constraint {constraint} on app" in said, said
    assert "restore TABLE DATA app.ahijo" in said, said
    assert "con_padre" in said, said
    if major < 17:
        assert "index app.por_tasa" in said, said
        assert "app.vista_tasa: populated: true | populated: false" in said, said


ODD = """
CREATE EXTENSION hstore;
CREATE TABLE de_extension (a int); INSERT INTO de_extension SELECT generate_series(1, 7);
ALTER EXTENSION hstore ADD TABLE de_extension;
CREATE TABLE t (a int, b int); INSERT INTO t VALUES (1, 1), (1, 2);
CREATE UNLOGGED TABLE sin_registro (a int); INSERT INTO sin_registro VALUES (1);
CREATE MATERIALIZED VIEW atrasada AS SELECT count(*) AS n FROM t; INSERT INTO t VALUES (2, 3);
CREATE TABLE vacia (a int);
CREATE SEQUENCE propia; SELECT nextval('propia') FROM generate_series(1, 40);
"""


def test_oddities_of_the_source_are_said_and_blame_no_archive(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """Rows 15, 21, 30 and 31."""
    dsn = fresh_database(server)
    execute(dsn, ODD)
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(dsn, "CREATE UNIQUE INDEX CONCURRENTLY a_medias ON t (a)")
    path = make_backup(dsn, tmp_path).path
    assert path
    at = path.with_name(path.name + SUFFIX)
    manifest = parse_manifest(at.read_bytes())
    older = replace(manifest.environment, collation_version="2.27")
    at.write_bytes(render_manifest(replace(manifest, environment=older)))
    record = drill_of(path)
    assert record.verdict == "verified", told(record)
    notes = {f.object: f for f in record.findings if f.status == "note"}
    assert notes["index public.a_medias"].cause == "source"
    assert notes["public.de_extension"].cause == "source"
    assert "7 rows" in notes["public.de_extension"].expected
    assert notes["collation version"].expected == "2.27"


def test_sequences_drawn_from_during_a_backup_raise_nothing(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """Trap 4: no snapshot holds a sequence still, so no value of before or after is demanded of it."""
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (id serial PRIMARY KEY); INSERT INTO t DEFAULT VALUES; CREATE SEQUENCE s CACHE 32")
    ended = threading.Event()

    def draw() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not ended.is_set():
                conn.execute("INSERT INTO t DEFAULT VALUES")
                conn.execute("SELECT nextval('s')")

    drawing = threading.Thread(target=draw)
    drawing.start()
    try:
        path = make_backup(dsn, tmp_path).path
    finally:
        ended.set()
        drawing.join()
    assert path
    record = drill_of(path)
    assert record.verdict == "verified", told(record)


def test_a_locale_that_the_sandbox_lacks_is_a_gap_and_not_the_archives_fault(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 22."""
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (a text); INSERT INTO t VALUES ('x')")
    path = make_backup(dsn, tmp_path).path
    assert path
    at = path.with_name(path.name + SUFFIX)
    manifest = parse_manifest(at.read_bytes())
    elsewhere = replace(manifest.environment, collate="qq_QQ.UTF-8", ctype="qq_QQ.UTF-8")
    at.write_bytes(render_manifest(replace(manifest, environment=elsewhere)))
    record = drill_of(path)
    assert record.verdict == "could_not_verify", told(record)
    gaps = [f for f in record.findings if f.status in ("fault", "gap")]
    assert {f.cause for f in gaps} == {"environment"}
    assert any("qq_QQ" in f.expected and "--postgres-image" in f.hint for f in gaps), told(record)


def test_an_archive_that_makes_its_database_names_the_locale_that_the_sandbox_lacks(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 22, in an archive with --create: it was said that the database does not exist."""
    dsn = fresh_database(server, options="TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    execute(dsn, "CREATE TABLE t (a text); INSERT INTO t VALUES ('x')")
    path = make_backup(dsn, tmp_path, create=True).path
    assert path
    rewrite(path, swap("LOCALE = 'C'", "LOCALE = 'qq_QQ.UTF-8'"))
    reseal(path, lying=True)
    record = drill_of(path)
    assert record.verdict == "could_not_verify", told(record)
    gaps = [f for f in record.findings if f.status in ("fault", "gap")]
    assert {f.cause for f in gaps} == {"environment"}
    assert any("makes its database" in f.actual and "qq_QQ" in f.actual for f in gaps), told(record)
    assert any("--postgres-image" in f.hint for f in gaps), told(record)


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII"])
def test_an_encoding_that_the_text_is_not_in_is_named(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path, encoding: str
) -> None:
    """Row 23: LATIN1 bytes said to be of another encoding."""
    dsn = fresh_database(server, options="ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    execute(dsn, "CREATE TABLE textos (a text); INSERT INTO textos VALUES ('piñata')")
    path = make_backup(dsn, tmp_path).path
    assert path
    rewrite(path, swap("client_encoding = 'LATIN1'", f"client_encoding = '{encoding}'"))
    reseal(path, lying=True)
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    assert f"client_encoding: text in LATIN1, the database's encoding | text said to be in {encoding}" in faults(record)


def test_a_role_that_is_in_no_globals_is_named(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 13."""
    dsn = fresh_database(server)
    execute(dsn, "CREATE ROLE perdida", "CREATE TABLE t (a int)", "GRANT SELECT ON t TO perdida")
    try:
        path = make_backup(dsn, tmp_path).path
    finally:
        execute(dsn, "DROP OWNED BY perdida", "DROP ROLE perdida")
    assert path
    at = path.with_name(path.name + SUFFIX)
    manifest = json.loads(at.read_bytes())
    kept = [s for s in manifest["globals"]["statements"] if "perdida" not in s]
    assert len(kept) < len(manifest["globals"]["statements"])
    manifest["globals"]["statements"] = kept
    at.write_text(json.dumps(manifest))
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    assert 'role "perdida" does not exist' in faults(record), told(record)
    assert "table public.t: privileges" in faults(record), told(record)


def test_a_setting_of_the_database_lost_from_the_archive_is_named(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 34: only a dump with --create holds them."""
    dsn = fresh_database(server, name="con_ajuste")
    execute(dsn, "CREATE TABLE t (a int)", "ALTER DATABASE con_ajuste SET work_mem TO '7MB'")
    path = make_backup(dsn, tmp_path, create=True).path
    assert path
    rewrite(path, swap("ALTER DATABASE con_ajuste SET work_mem TO '7MB';\n", ""))
    reseal(path, lying=True)
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    assert "work_mem=7MB: set | not set" in faults(record), told(record)


def test_the_planners_estimates_are_made_and_never_taken_for_counts(
    server: Server, fresh_database: Callable[..., str], tmp_path: Path, drilled: Callable[[Path], Drill]
) -> None:
    """Row 39: reltuples is -1 after a restore."""
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (a int) WITH (autovacuum_enabled = off); INSERT INTO t SELECT generate_series(1, 30)")
    made = make_backup(dsn, tmp_path)
    assert made.manifest.row_counts == {"public.t": 30}  # where the source's own estimate is -1
    assert made.path
    with drilled(made.path).connect() as connection:
        row = connection.execute("SELECT reltuples FROM pg_class WHERE oid = 'public.t'::regclass").fetchone()
    assert row == (30,)
