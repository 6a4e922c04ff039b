"""Databases in which nothing is wrong, however odd: each archive of them must end verified, with nothing raised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from drilling import DrillOf, PgDump, execute, told
from psycopg import sql

from backup_lib.backup import make_backup, record_manifest
from backup_lib.manifest import SUFFIX, render_manifest
from backup_lib.server_programs import Programs
from backup_lib.servers import Server, start_server
from verification.evidence.record import Record

pytestmark = pytest.mark.postgres

CASES = Path(__file__).with_name("healthy")
Filled = Callable[..., str]
Psql = Callable[[Server, str, bytes], None]


@pytest.fixture(scope="module")
def own_server(programs_of: Callable[[int], Programs]) -> Iterator[Callable[[int], Server]]:
    """Servers of these tests alone: their roles and tablespaces stay, and come into every manifest."""
    running: dict[int, Server] = {}
    with ExitStack() as cleanup:

        def own_server(major: int) -> Server:
            if major not in running:
                running[major] = cleanup.enter_context(start_server(programs_of(major), lease_s=3600))
            return running[major]

        yield own_server


@pytest.fixture(scope="module")
def filled(psql: Psql) -> Iterator[Filled]:
    """`filled(server, "values", name="…", options="…")`: a database with what healthy/values.sql makes."""
    made: list[tuple[Server, str]] = []
    dsns: dict[tuple[int, str, str], str] = {}

    def filled(server: Server, case: str, *, name: str = "", options: str = "") -> str:
        key = (id(server), case, options)
        if key not in dsns:
            name = name or f"sana_{uuid4().hex[:12]}"
            execute(server.conninfo(), f"CREATE DATABASE {_quoted(name)} {options}")
            made.append((server, name))
            dsns[key] = server.conninfo(name)
            script = "SET client_encoding = 'UTF8';\n" if options and "SQL_ASCII" not in options else ""
            psql(server, dsns[key], script.encode() + (CASES / f"{case}.sql").read_bytes())
        return dsns[key]

    yield filled
    for server, name in made:
        execute(server.conninfo(), f"DROP DATABASE {_quoted(name)} WITH (FORCE)")


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


def raises_nothing(record: Record) -> None:
    assert record.verdict == "verified", told(record)
    assert not [f for f in record.findings if f.status in ("fault", "gap")], told(record)


@pytest.mark.parametrize(
    ("case", "major", "create"),
    [
        pytest.param(case, major, create, id=f"{case}-{major}{'-create' * create}")
        for case, major, create in [
            ("values", 15, False),
            ("values", 18, False),
            ("definitions", 15, False),
            ("definitions", 18, True),
            ("of_16", 16, False),
            ("of_17", 17, False),
            ("of_18", 18, False),
            ("settings", 15, False),
            ("settings", 18, True),
            ("roles", 15, False),
            ("event_triggers", 15, False),
            ("event_triggers", 18, False),
        ]
    ],
)
def test_own_archive_raises_nothing(
    own_server: Callable[[int], Server], filled: Filled, drill_of: DrillOf, tmp_path: Path,
    case: str, major: int, create: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    server = own_server(major)
    path = make_backup(filled(server, case), tmp_path, programs=server.programs, create=create).path
    assert path
    raises_nothing(drill_of(path))


@pytest.mark.parametrize(
    ("case", "major", "recorded"),
    [
        pytest.param("definitions", 18, True, id="definitions-18-with-manifest"),
        pytest.param("settings", 18, True, id="settings-18-with-manifest"),
        pytest.param("event_triggers", 15, True, id="event_triggers-15-with-manifest"),
        pytest.param("definitions", 15, False, id="definitions-15"),
        pytest.param("roles", 15, False, id="roles-15"),
    ],
)
def test_somebody_elses_archive_raises_nothing(
    own_server: Callable[[int], Server], filled: Filled, pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path,
    case: str, major: int, recorded: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    server = own_server(major)
    dsn = filled(server, case)
    path = pg_dump(server, dsn, tmp_path / "db.sql")
    if recorded:
        manifest = render_manifest(record_manifest(dsn, programs=server.programs))
        path.with_name(path.name + SUFFIX).write_bytes(manifest)
    raises_nothing(drill_of(path))


@pytest.mark.parametrize("form", ["plain", "custom"])
@pytest.mark.parametrize(
    ("case", "name"),
    [("roles", 'Una "base" ñ/x\'y'), ("names", " raro; \"DROP\" \\ 'x' -- ñ 日本 %s {}")],
    ids=["roles", "names"],
)
def test_names_of_any_characters_raise_nothing(
    own_server: Callable[[int], Server], filled: Filled, drill_of: DrillOf, tmp_path: Path,
    case: str, name: str, form: str,
) -> None:  # fmt: skip
    server = own_server(18)
    path = make_backup(filled(server, case, name=name), tmp_path, programs=server.programs, format=form).path  # type: ignore[arg-type]
    assert path
    raises_nothing(drill_of(path))


@pytest.mark.parametrize(
    ("major", "options"),
    [
        (17, "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"),
        (17, "ENCODING 'WIN1252' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"),
        (17, "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"),
        (17, "ENCODING 'EUC_JIS_2004' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"),
        (15, "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8' TEMPLATE template0"),
        (15, "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'und' TEMPLATE template0"),
        (15, "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'es-CO' TEMPLATE template0"),
        (17, "ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' TEMPLATE template0"),
    ],
    ids=["latin1", "win1252", "sql-ascii", "euc", "mixed", "icu", "icu-es", "builtin"],
)
def test_letters_of_any_encoding_and_locale_raise_nothing(
    own_server: Callable[[int], Server], filled: Filled, drill_of: DrillOf, tmp_path: Path, major: int, options: str
) -> None:
    server = own_server(major)
    try:
        dsn = filled(server, "letters", options=options)
    except psycopg.errors.FeatureNotSupported:
        pytest.skip(f"this server of {major} is built without ICU")
    path = make_backup(dsn, tmp_path, programs=server.programs).path
    assert path
    raises_nothing(drill_of(path))


def test_filled_views_without_any_table_raise_nothing(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    execute(
        dsn, "CREATE MATERIALIZED VIEW uno AS SELECT 1 AS a; CREATE MATERIALIZED VIEW nada AS SELECT 1 WITH NO DATA"
    )
    path = make_backup(dsn, tmp_path).path
    assert path
    raises_nothing(drill_of(path))


@pytest.mark.parametrize("options", [("--clean",), ("--clean", "--if-exists")], ids=["clean", "if-exists"])
def test_what_is_dropped_first_need_not_be_there(
    server: Server, fresh_database: Callable[..., str], pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path,
    options: tuple[str, ...],
) -> None:  # fmt: skip
    """A view that groups by a key: pg_dump first makes an empty one of it, in a schema that is not there yet."""
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE SCHEMA caja; CREATE TYPE caja.tono AS ENUM ('a'); CREATE TABLE caja.p (id int PRIMARY KEY, t caja.tono)",
        "CREATE VIEW caja.v AS SELECT p.*, count(*) AS n FROM caja.p GROUP BY p.id",
        "INSERT INTO caja.p VALUES (1, 'a')",
    )
    record = drill_of(pg_dump(server, dsn, tmp_path / "a.sql", *options))
    raises_nothing(record)
    said = [f for f in record.findings if f.check == "restore" and f.status == "note"]
    assert ["to remove what is not there" in finding.actual for finding in said] == [True]


@pytest.mark.parametrize(
    "options",
    [(), ("--quote-all-identifiers",), ("--no-owner", "--no-acl", "--no-comments")],
    ids=["", "quoted", "bare"],
)
@pytest.mark.parametrize("major", [14, 15, 18])
def test_the_schema_public_alone_raises_nothing(
    server_of: Callable[[int], Server], fresh_database: Callable[..., str], pg_dump: PgDump, drill_of: DrillOf,
    tmp_path: Path, major: int, options: tuple[str, ...],
) -> None:  # fmt: skip
    """Such a dump makes the schema, which every database has; our own `backup --schema public` failed."""
    server = server_of(major)
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (id serial PRIMARY KEY, a text); INSERT INTO t (a) VALUES ('x'); CREATE SCHEMA otro")
    for statement in ("SELECT", "REVOKE ALL ON SCHEMA public FROM PUBLIC; COMMENT ON SCHEMA public IS 'nuestro'"):
        execute(dsn, statement)
        folder = tmp_path / f"{len(statement)}"
        own = make_backup(dsn, folder, schemas=["public"], programs=server.programs).path
        assert own
        raises_nothing(drill_of(own))
        raises_nothing(drill_of(pg_dump(server, dsn, folder / "theirs.sql", "--schema=public", *options)))


def test_rewritten_tables_and_stale_views_raise_nothing(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE TABLE t (id int PRIMARY KEY, b text, c timestamptz DEFAULT now(), d uuid DEFAULT gen_random_uuid())",
        "INSERT INTO t SELECT i, repeat('x', i % 70) FROM generate_series(1, 3000) i",
        "CREATE INDEX por_b ON t (b); CREATE MATERIALIZED VIEW mv AS SELECT count(*), now() FROM t",
        "UPDATE t SET b = b || 'y' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0",
        "CLUSTER t USING por_b",
        "DELETE FROM t WHERE id < 100",
        "VACUUM FULL t",
        "UPDATE t SET b = NULL WHERE id % 5 = 0",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY",
    )
    path = make_backup(dsn, tmp_path).path
    assert path
    raises_nothing(drill_of(path))


def test_names_that_all_need_quotes_are_not_taken_for_quotes_around_all_names(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    execute(
        dsn,
        'CREATE SCHEMA "Ventas"; CREATE TABLE "Ventas"."Orden" (id int); CREATE TABLE "Ventas"."select" (id int)',
        'COMMENT ON COLUMN "Ventas"."Orden".id IS \'plain\'',
    )
    path = make_backup(dsn, tmp_path).path
    assert path
    raises_nothing(drill_of(path))


def test_privileges_that_an_older_pg_dump_leaves_out_raise_nothing(
    server_of: Callable[[int], Server], fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    server = server_of(14)
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY); GRANT USAGE ON SEQUENCE t_a_seq TO PUBLIC")
    path = make_backup(dsn, tmp_path, programs=server.programs).path
    assert path
    raises_nothing(drill_of(path))
