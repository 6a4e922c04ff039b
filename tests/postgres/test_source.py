"""Looking at a source: all of it, in one snapshot, or an error that says why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from backup_lib import source
from backup_lib.cluster import HIDDEN, read_globals
from backup_lib.errors import BackupError, SourceError
from backup_lib.process import run, stream
from backup_lib.server_programs import Programs
from backup_lib.servers import Server, start_server
from backup_lib.source import connect, open_source
from backup_lib.traits import Traits
from backup_lib.wording import canonical

pytestmark = pytest.mark.postgres

EVERY_OBJECT = Path(__file__).with_name("every_object.sql")
SPOILED_OBJECTS = Path(__file__).with_name("spoiled_objects.sql")


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def psql(server: Server, dsn: str, text: bytes) -> None:
    argv = [server.programs.program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", dsn]
    run(argv, env=server.programs.env, stdin=text, timeout_s=120)


@contextmanager
def a_role(dsn: str, name: str, attributes: str = "") -> Iterator[str]:
    """The connection string of a role that is gone, with what it owns, afterwards."""
    execute(dsn, f"CREATE ROLE {name} LOGIN {attributes}")
    try:
        yield make_conninfo(dsn, user=name)
    finally:
        execute(dsn, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def _canonical(traits: Traits) -> Traits:
    return {identity: {name: canonical(text) for name, text in of.items()} for identity, of in traits.items()}


def test_catalog_and_counts_are_the_same_after_a_restore(
    every_server: Server, fresh_database: Callable[..., str]
) -> None:
    original, restored = fresh_database(every_server), fresh_database(every_server)
    psql(every_server, original, EVERY_OBJECT.read_bytes() + SPOILED_OBJECTS.read_bytes())
    pg_dump = [every_server.programs.program("pg_dump"), original]
    with stream(pg_dump, env=every_server.programs.env) as chunks:
        psql(every_server, restored, b"".join(chunks))
    with connect(original) as one, connect(restored) as other:
        (objects, traits), (copies, of_copies) = source.described_catalog(one), source.described_catalog(other)
        assert objects == copies == source.catalog(one)
        # A restored server words some definitions anew.
        assert traits != of_copies
        assert _canonical(traits) == _canonical(of_copies)
        assert source.row_counts(one) == source.row_counts(other)
        assert source.environment(one) == source.environment(other)
        kinds = {identity.split(" public")[0].split(" on ")[0] for identity in objects}
    execute(original, "REASSIGN OWNED BY dueña TO postgres", "DROP OWNED BY dueña, lectora")
    execute(restored, "REASSIGN OWNED BY dueña TO postgres", "DROP OWNED BY dueña, lectora", "DROP ROLE dueña, lectora")
    without_traits = {identity for identity in objects if identity not in traits}
    assert {identity.partition(" ")[0] for identity in without_traits} <= {"user", "large", "type"}
    # Of all types a multirange alone is not described: its owner is whoever made it, in 14 to 16.
    assert all("range" in identity for identity in without_traits if identity.startswith("type "))
    assert {"table", "index", "view", "function", "sequence", "type", "aggregate", "collation"} <= kinds


def test_counts_are_exact_and_of_own_rows_only(server: Server, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(server)
    psql(server, dsn, EVERY_OBJECT.read_bytes())
    with connect(dsn) as conn:
        counts = source.row_counts(conn)
    assert counts["public.padre"] == 1  # not its child's
    assert counts["public.hijo"] == 2
    assert counts["Ventas ñ.Venta"] == counts["Ventas ñ.v2024"] + counts["Ventas ñ.v2025"] == 1000
    assert counts["Ventas ñ.v2025"] == counts["Ventas ñ.v2025a"] + counts["Ventas ñ.v2025b"]
    assert counts["public.mv"] == 1
    assert "public.mv0" not in counts  # never populated


def test_one_snapshot_is_seen_until_the_end(server: Server, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
    with open_source(dsn) as before:
        execute(dsn, "INSERT INTO t VALUES (2)")
        with open_source(dsn) as after, open_source(dsn, snapshot=before.snapshot) as joined:
            seen = [source.row_counts(s.conn, s.tables)["public.t"] for s in (before, after, joined)]
            assert seen == [1, 2, 1]
            assert before.facts.snapshot_at < after.facts.snapshot_at
        assert before.facts.system_identifier
        assert before.facts.server_version == server.version
    with (
        pytest.raises(SourceError, match="cannot be joined") as caught,
        open_source(dsn, snapshot=before.snapshot),
    ):
        pass
    assert "pg_export_snapshot" in caught.value.hint


def test_counting_many_tables_does_not_keep_their_locks(server: Server, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(server)
    execute(
        dsn,
        "DO $$ BEGIN FOR i IN 1..600 LOOP EXECUTE 'CREATE TABLE t' || i || ' (a int PRIMARY KEY)'; END LOOP; END $$",
    )
    with open_source(dsn) as session:
        counts = session.count_rows(session.tables)
        (locks,) = session.conn.execute(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation >= 16384"
        ).fetchone() or (None,)
    assert (len(counts), locks) == (600, 0)


def test_a_truncated_table_is_known_as_changed(server: Server, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(server)
    execute(dsn, *(f"CREATE TABLE {name} AS SELECT 1 AS a" for name in ("kept", "emptied", "dropped")))
    with open_source(dsn) as session:
        execute(dsn, "TRUNCATE emptied", "DROP TABLE dropped", "INSERT INTO kept VALUES (2)")
        assert [table.name for table in session.changed(session.tables)] == ["dropped", "emptied"]
        oid_of = {table.name: table.oid for table in session.tables}
        assert session.count_rows(session.tables)[oid_of["kept"]] == 1


def test_values_have_one_text_whatever_the_database_is_set_to(
    server: Server, fresh_database: Callable[..., str]
) -> None:
    dsn = fresh_database(server)
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    settings = ("TimeZone TO 'America/Lima'", "DateStyle TO 'German'", "bytea_output TO 'escape'", "search_path TO x")
    execute(dsn, *(f"ALTER DATABASE {name} SET {setting}" for setting in settings))
    query = "SELECT '2025-01-01 00:00+00'::timestamptz::text, '\\xff00'::bytea::text, current_setting('search_path')"
    with connect(dsn) as conn:
        assert conn.execute(query).fetchone() == ("2025-01-01 00:00:00+00", "\\xff00", "")
        assert len(source.environment(conn).settings) == 4
    with open_source(dsn) as session:
        argv = [server.programs.program("psql"), "-XqAt", "-d", session.target.conninfo, "-c", "SHOW timezone"]
        env = {**server.programs.env, **session.target.env}
        assert run(argv, env=env).text == "UTC\n"


def test_a_server_that_stops_answering_is_a_source_error(server: Server, fresh_database: Callable[..., str]) -> None:
    with (
        pytest.raises(SourceError, match="stopped answering") as caught,
        open_source(fresh_database(server)) as session,
    ):
        session.conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert caught.value.hint


def test_rows_hidden_by_row_level_security_are_an_error_that_names_the_table(
    server: Server, fresh_database: Callable[..., str]
) -> None:
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE TABLE s AS SELECT 1 AS a",
        "ALTER TABLE s ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON s USING (a > 1)",
    )
    with a_role(dsn, "sees_a_part", "IN ROLE pg_read_all_data") as limited:
        with pytest.raises(SourceError, match=r"hide rows .*public\.s") as caught, open_source(limited):
            pass
        assert "BYPASSRLS" in caught.value.hint
        execute(dsn, "ALTER ROLE sees_a_part BYPASSRLS")
        with open_source(limited) as session:
            assert session.facts.role == "sees_a_part"


def test_a_role_that_may_not_read_everything_is_told_what(server: Server, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(server)
    execute(dsn, *(f"CREATE TABLE t{i} (a int)" for i in range(7)))
    with a_role(dsn, "reads_nothing") as limited:
        with pytest.raises(SourceError, match=r"may not read public\.t0, .* and 2 more") as caught:
            open_source(limited).__enter__()
        assert "pg_read_all_data" in caught.value.hint
        execute(dsn, "GRANT pg_read_all_data TO reads_nothing")
        with open_source(limited) as session:  # no superuser is needed
            assert session.globals().roles
            assert session.catalog()


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist', "psql --list"),
        ({"user": "nobody_here"}, 'role "nobody_here" does not exist', "POSTGRES_USER"),
        ({"host": "/nowhere"}, "No such file", "start the server"),
        ({"host": "127.0.0.1", "port": "1"}, "refused", "start the server"),
        ({"host": "nowhere.invalid"}, "cannot be reached", "POSTGRES_HOST"),
    ],
)
def test_a_source_that_cannot_be_reached_says_why_and_never_the_password(
    server: Server, change: dict[str, str], message: str, hint: str
) -> None:
    with (
        pytest.raises(SourceError, match=message) as caught,
        connect(
            make_conninfo(server.conninfo(), password="hush-hush", **change)  # noqa: S106
        ),
    ):
        pass
    assert hint in caught.value.hint
    assert "hush" not in str(caught.value)


def test_a_password_reaches_pg_dump_by_the_environment_alone(
    server: Server, fresh_database: Callable[..., str]
) -> None:
    dsn = make_conninfo(fresh_database(server), password="hush-hush")  # noqa: S106
    with open_source(dsn) as session:
        assert "hush" not in session.target.conninfo
        assert session.target.env["PGPASSWORD"] == "hush-hush"
        assert "hush" not in repr(session)
    with pytest.raises(BackupError, match="sslpassword"), open_source(make_conninfo(dsn, sslpassword="x")):
        pass


GLOBALS = """
CREATE ROLE lead NOLOGIN NOINHERIT CREATEDB VALID UNTIL '2030-01-01 00:00+00';
CREATE ROLE "O'data ""pos" LOGIN PASSWORD 'hush-hush' CONNECTION LIMIT 5 BYPASSRLS;
CREATE ROLE app LOGIN REPLICATION;
CREATE ROLE boss SUPERUSER;
GRANT lead TO app WITH ADMIN OPTION;
SET ROLE boss; GRANT lead TO "O'data ""pos"; RESET ROLE;
SET ROLE app; GRANT lead TO boss GRANTED BY app; RESET ROLE;
GRANT pg_monitor TO app;
COMMENT ON ROLE lead IS 'it''s the lead';
ALTER ROLE app SET search_path TO "$user", 'a "b"', public;
ALTER ROLE app SET app.jwt_secret TO 'hush-hush';
ALTER ROLE ALL SET work_mem TO '8MB';
CREATE DATABASE pos;
ALTER DATABASE pos OWNER TO app;
ALTER DATABASE pos SET timezone TO 'America/Lima';
ALTER ROLE app IN DATABASE pos SET statement_timeout TO '5s';
COMMENT ON DATABASE pos IS 'the shop';
REVOKE ALL ON DATABASE pos FROM PUBLIC;
GRANT CONNECT, CREATE ON DATABASE pos TO lead WITH GRANT OPTION;
"""


def test_globals_make_the_same_roles_on_a_fresh_cluster(major: int, programs_of: Callable[[int], Programs]) -> None:
    programs = programs_of(major)
    with start_server(programs) as original, start_server(programs) as copy:
        with psycopg.connect(original.conninfo(), autocommit=True) as conn:
            for statement in GLOBALS.split(";\n"):
                conn.execute(statement.encode())
            if major >= 16:
                conn.execute('GRANT boss TO "O\'data ""pos" WITH INHERIT FALSE, SET FALSE')
        with connect(original.conninfo("pos")) as conn:
            wanted = read_globals(conn)
            environment = source.environment(conn)
        assert "hush" not in repr(wanted) + repr(environment)
        assert f"app.jwt_secret={HIDDEN}" not in repr(wanted)
        with psycopg.connect(copy.conninfo(), autocommit=True) as conn:
            conn.execute("CREATE DATABASE pos")
            for statement in wanted.statements:
                conn.execute(statement.encode())
        with connect(copy.conninfo("pos")) as conn:
            assert read_globals(conn) == wanted
            assert source.environment(conn) == environment
