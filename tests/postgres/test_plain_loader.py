"""The loader makes what psql makes, whatever runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from drilling import PgDump

from backup_lib.dump_reader import read_events
from backup_lib.dump_text import open_dump_text
from backup_lib.inventory_builder import InventoryBuilder
from backup_lib.load_report import LoadReport
from backup_lib.plain_loader import Loader
from backup_lib.servers import Server
from backup_lib.statement_errors import context_without_values, message_without_values

pytestmark = pytest.mark.postgres

EVERY_OBJECT = Path(__file__).with_name("every_object.sql").read_bytes()
END = b"\n--\n-- PostgreSQL database dump complete\n--\n\n"
HEAD = b"--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 18.0\n\nSET client_encoding = 'UTF8';\n"


def load(dsn: str, chunks: list[bytes], **options: object) -> LoadReport:
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]

    def connect(database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(psycopg.conninfo.make_conninfo(dsn, dbname=database), autocommit=True)

    with Loader(connect, str(name), **options) as loader:  # type: ignore[arg-type]
        return loader.load(read_events(iter(chunks)))


def read(path: Path) -> list[bytes]:
    with open_dump_text(path) as chunks:
        return list(chunks)


def inventory(path: Path) -> tuple[object, ...]:
    builder = InventoryBuilder()
    for event in read_events(iter(read(path))):
        builder.feed(event)
    result = builder.result()
    return result.entries, result.tables, result.sequences, result.large_objects


@pytest.mark.parametrize("truncate", [False, True], ids=["appending", "truncating"])
@pytest.mark.parametrize("jobs", [1, 4])
def test_the_loaded_database_is_dumped_as_it_was(
    server: Server, fresh_database: Callable[..., str], psql: Callable[..., None], pg_dump: PgDump, tmp_path: Path,
    jobs: int, truncate: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    source, target = fresh_database(server), fresh_database(server)
    psql(server, source, EVERY_OBJECT)
    archive = pg_dump(server, source, tmp_path / "a.sql")
    report = load(target, read(archive), jobs=jobs, truncate=truncate)
    assert report.errors == []
    rows = {step.table: step for step in report.steps if step.label.startswith("TABLE DATA")}
    assert rows.keys() >= {("public", "cliente"), ("public", "hijo")}
    sizes = {table.target: table.size_bytes for table in inventory(archive)[1]}  # type: ignore[attr-defined]
    assert rows["public", "cliente"].size_bytes == sizes["public.cliente"]
    built = {step.label: step.table for step in report.steps if step.size_bytes is None}
    assert any(label.startswith("INDEX ") for label in built)
    assert all(built.values()), built  # each of a table
    assert inventory(pg_dump(server, target, tmp_path / "b.sql")) == inventory(archive)


def test_a_refused_entry_leaves_nothing_behind_and_the_next_one_runs(
    server: Server, fresh_database: Callable[..., str]
) -> None:
    dsn = fresh_database(server)
    entries = b"".join(
        b"\n--\n-- Name: %s; Type: TABLE; Schema: public; Owner: postgres\n--\n\n%s\n" % (name, text)
        for name, text in (
            (b"a", b"CREATE TABLE public.a ();\nALTER TABLE public.nope OWNER TO postgres;\n"),
            (b"b", b"CREATE TABLE public.b ();\n"),
        )
    )
    report = load(dsn, [HEAD + entries + END])
    assert [(e.entry, e.sqlstate) for e in report.errors] == [("TABLE public.a", "42P01")]
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT relname FROM pg_class WHERE relname IN ('a', 'b')").fetchall() == [("b",)]


def test_commands_for_psql_are_not_carried_out(
    server: Server, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    victim = tmp_path / "touched"
    report = load(fresh_database(server), [HEAD + f"\n\\! touch {victim}\n".encode() + END])
    assert report.refused == ["\\!"]
    assert not victim.exists()


def test_what_clean_removes_need_not_be_there(server: Server, fresh_database: Callable[..., str]) -> None:
    """A dump made with --clean was said to be broken, for each thing that an empty database does not have."""
    dsn = fresh_database(server)
    removals = (
        b"DROP TABLE app.a;", b"ALTER TABLE ONLY public.a DROP CONSTRAINT a_pkey;", b"DROP SCHEMA app;",
        b"CREATE OR REPLACE VIEW app.v AS\nSELECT\n    NULL::integer AS id;", b"SELECT pg_catalog.lo_unlink('4711');",
        b"DROP FUNCTION public.f(integer);", b"ALTER TABLE ONLY public.a DETACH PARTITION public.b;",
    )  # fmt: skip
    report = load(
        dsn, [HEAD + b"\n".join(removals) + b"\nDROP SCHEMA public;\nGRANT SELECT ON public.a TO PUBLIC;\n" + END]
    )
    assert report.passed_over == len(removals)
    assert [(e.entry, e.sqlstate) for e in report.errors] == [("session settings", "3F000")]
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'public'").fetchall() == []
        connection.execute("CREATE SCHEMA uno CREATE TABLE t () CREATE VIEW v AS SELECT FROM t")
    in_use = load(dsn, [HEAD + b"DROP TABLE uno.t;\n" + END])
    assert [e.sqlstate for e in in_use.errors] == ["2BP01"]


def test_the_sessions_own_role_is_left_as_it_is(server: Server, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(server)
    own = server.superuser.encode()
    text = b"\nCREATE ROLE %s;\nALTER ROLE %s WITH NOSUPERUSER NOLOGIN PASSWORD 'x';\n" % (own, own)
    assert load(dsn, [HEAD + text + END]).errors == []
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (True,)


@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        pytest.param("SELECT 'secreto'::int", "invalid input syntax for type integer", id="syntax"),
        pytest.param("SELECT '99999999999999'::int", 'value "…" is out of range', id="range"),
        pytest.param("SELECT 'a' secreto secreto2", "syntax error at or near", id="statement"),
        pytest.param("DO $$ BEGIN RAISE EXCEPTION 'secreto'; END $$", "a function of the archive", id="raised"),
        pytest.param("SELECT * FROM nope", 'relation "nope" does not exist', id="a-name-stays"),
    ],
)
def test_messages_keep_names_and_lose_values(server: Server, statement: str, kept: str) -> None:
    with psycopg.connect(server.conninfo()) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode())
    message = message_without_values(caught.value)
    assert kept in message
    assert "secreto" not in message
    assert "9999" not in message


def test_the_place_of_a_row_is_kept_without_the_row(server: Server) -> None:
    with psycopg.connect(server.conninfo()) as connection:
        connection.execute("CREATE TEMP TABLE t (a int, b int)")
        with pytest.raises(psycopg.Error) as caught, connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write(b"secreto, line 3, column b\t1\n")
    assert context_without_values(caught.value) == "COPY t, line 1, column a"


KEYS = b"""
CREATE TABLE public.madre (id int PRIMARY KEY, jefa int);
ALTER TABLE public.madre ADD CONSTRAINT jefa FOREIGN KEY (jefa) REFERENCES public.madre;
CREATE TABLE public.mes (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE public.enero PARTITION OF public.mes FOR VALUES FROM (0) TO (10);
CREATE TABLE public.hija (madre int, mes int, otra int);
ALTER TABLE public.hija ADD CONSTRAINT a FOREIGN KEY (madre) REFERENCES public.madre ON DELETE CASCADE;
ALTER TABLE public.hija ADD CONSTRAINT b FOREIGN KEY (mes) REFERENCES public.mes DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE public.hija ADD CONSTRAINT c FOREIGN KEY (otra) REFERENCES public.madre NOT VALID;
COMMENT ON CONSTRAINT a ON public.hija IS 'de';
CREATE INDEX por_madre ON public.hija (madre);
COMMENT ON INDEX public.por_madre IS 'lista';
INSERT INTO public.madre SELECT i, i FROM generate_series(1, 9) i;
INSERT INTO public.mes VALUES (1);
INSERT INTO public.hija SELECT i, 1, NULL FROM generate_series(1, 9) i;
"""
CONSTRAINTS = b"""SELECT conrelid::regclass::text, confrelid::regclass::text, contype::text, convalidated, condeferred,
    pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2, 3, 6"""


def test_foreign_keys_checked_side_by_side_are_what_one_session_makes(
    server: Server, fresh_database: Callable[..., str], psql: Callable[..., None], pg_dump: PgDump, tmp_path: Path
) -> None:
    source = fresh_database(server)
    psql(server, source, KEYS)
    archive = pg_dump(server, source, tmp_path / "a.sql")
    made = []
    for jobs in (1, 4):
        target = fresh_database(server)
        assert load(target, read(archive), jobs=jobs).errors == []
        with psycopg.connect(target) as connection:
            made.append(connection.execute(CONSTRAINTS).fetchall())
    assert made[0] == made[1]
    assert len(made[0]) >= 6


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_foreign_key_with_orphans_is_refused_whole(
    server: Server, fresh_database: Callable[..., str], psql: Callable[..., None], pg_dump: PgDump, tmp_path: Path,
    jobs: int,
) -> None:  # fmt: skip
    source, target = fresh_database(server), fresh_database(server)
    psql(server, source, KEYS)
    text = b"".join(read(pg_dump(server, source, tmp_path / "a.sql")))
    orphaned = text.replace(b"\n7\t1\t\\N\n", b"\n77\t1\t\\N\n")
    assert orphaned != text
    report = load(target, [orphaned], jobs=jobs)
    assert (report.errors[0].entry, report.errors[0].sqlstate) == ("FK CONSTRAINT public.hija a", "23503")
    assert {error.entry for error in report.errors[1:]} <= {"COMMENT public.CONSTRAINT a ON hija"}
    with psycopg.connect(target) as connection:
        names = connection.execute("SELECT conname FROM pg_constraint WHERE contype = 'f' ORDER BY 1").fetchall()
    assert ("a",) not in names
    assert ("jefa",) in names


def test_keys_in_a_circle_that_all_have_orphans_are_each_refused(
    server: Server, fresh_database: Callable[..., str], psql: Callable[..., None], pg_dump: PgDump, tmp_path: Path
) -> None:
    """Each of their checks looks at the next one's table, and each that fails wants two tables alone."""
    source, target = fresh_database(server), fresh_database(server)
    ring = range(6)
    tables = [f"CREATE TABLE t{n} (id int PRIMARY KEY, next int); INSERT INTO t{n} VALUES (1, 1);" for n in ring]
    keys = [f"ALTER TABLE t{n} ADD CONSTRAINT k{n} FOREIGN KEY (next) REFERENCES t{(n + 1) % 6};" for n in ring]
    psql(server, source, "".join([*tables, *keys]).encode())
    text = b"".join(read(pg_dump(server, source, tmp_path / "a.sql")))
    report = load(target, [text.replace(b"\n1\t1\n", b"\n1\t7\n")], jobs=4)
    assert sorted((error.entry, error.sqlstate) for error in report.errors) == [
        (f"FK CONSTRAINT public.t{n} k{n}", "23503") for n in ring
    ]
    with psycopg.connect(target) as connection:
        assert connection.execute("SELECT conname FROM pg_constraint WHERE contype = 'f'").fetchall() == []


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_foreign_key_to_a_table_that_is_not_there_is_refused_by_the_server(
    server: Server, fresh_database: Callable[..., str], psql: Callable[..., None], pg_dump: PgDump, tmp_path: Path,
    jobs: int,
) -> None:  # fmt: skip
    """The archive is at fault, so this must not end the drill."""
    source, target = fresh_database(server), fresh_database(server)
    psql(server, source, KEYS)
    text = b"".join(read(pg_dump(server, source, tmp_path / "a.sql")))
    garbled = text.replace(b"CREATE TABLE public.hija ", b"CREATE TABEL public.hija ", 1)
    assert garbled != text
    report = load(target, [garbled], jobs=jobs)
    errors = {error.entry: error.sqlstate for error in report.errors}
    assert errors["TABLE public.hija"] == "42601"
    assert errors["FK CONSTRAINT public.hija a"] == "42P01"
