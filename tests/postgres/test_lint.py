"""Before the dump: what will not survive is named while the source still exists, and nothing else is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from drilling import DrillOf, execute, told

from backup_lib import sample
from backup_lib.backup import make_backup
from backup_lib.errors import ConcernsError
from backup_lib.lint import lint
from backup_lib.manifest import Concern
from backup_lib.scope import choose_scope
from backup_lib.servers import Server, start_server
from backup_lib.source import open_source

pytestmark = pytest.mark.postgres

ServerOf = Callable[[int], Server]
EVERY_OBJECT = Path(__file__).with_name("every_object.sql").read_bytes()
TROUBLE = """
CREATE SCHEMA tienda;
CREATE TYPE tienda.estado AS ENUM ('a', 'b');
CREATE TABLE tienda.tasas (id int PRIMARY KEY, tasa numeric);
INSERT INTO tienda.tasas VALUES (1, 0.16);
SET search_path = tienda, public;
CREATE FUNCTION tienda.tasa(int) RETURNS numeric LANGUAGE sql IMMUTABLE SET search_path = tienda AS 'SELECT tasa FROM tasas WHERE id = $1';
CREATE FUNCTION tienda.doble(int) RETURNS numeric LANGUAGE plpgsql IMMUTABLE SET search_path = tienda AS
    'BEGIN RETURN (SELECT 2 * sum(tasa) FROM tasas); END';
CREATE FUNCTION tienda.llama(int) RETURNS numeric LANGUAGE sql IMMUTABLE SET search_path = tienda AS 'SELECT tienda.doble($1)';
CREATE FUNCTION tienda.clase(int) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = tienda AS
    $$BEGIN RETURN ('a'::estado)::text; END$$;
CREATE FUNCTION tienda.existe(int) RETURNS boolean LANGUAGE sql STABLE AS
    'SELECT EXISTS (SELECT FROM tienda.tasas WHERE id = $1)';
CREATE FUNCTION tienda.fija(int) RETURNS numeric LANGUAGE sql IMMUTABLE SET search_path = tienda
    AS 'SELECT tasa FROM tasas WHERE id = $1';
CREATE FUNCTION tienda.sana(int) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS
    $$DECLARE tasas int := 1; BEGIN RETURN round(extract(day FROM now()) * 0 + tasas + upper('x')::text::int * 0); END$$;
CREATE TABLE tienda.venta (id int PRIMARY KEY, n int, CONSTRAINT con_tasa CHECK (tienda.existe(n)));
CREATE INDEX por_tasa ON tienda.venta (tienda.tasa(n));
CREATE INDEX por_llamada ON tienda.venta (tienda.llama(n));
CREATE INDEX por_clase ON tienda.venta (tienda.clase(n));
CREATE INDEX por_fija ON tienda.venta (tienda.fija(n));
CREATE INDEX por_sana ON tienda.venta (tienda.sana(n));
CREATE TABLE tienda.calculada (n int, g numeric GENERATED ALWAYS AS (tienda.tasa(n)) STORED);
CREATE MATERIALIZED VIEW tienda.resumen AS SELECT tienda.existe(1), tienda.fija(1);
CREATE TABLE tienda.duplicada (a int); INSERT INTO tienda.duplicada VALUES (1), (1);
CREATE TABLE tienda.huerfana (a int); INSERT INTO tienda.huerfana VALUES (1), (7);
ALTER TABLE tienda.huerfana ADD CONSTRAINT h FOREIGN KEY (a) REFERENCES tienda.tasas NOT VALID;
CREATE TABLE tienda.entera (a int);
ALTER TABLE tienda.entera ADD CONSTRAINT e FOREIGN KEY (a) REFERENCES tienda.tasas NOT VALID;
CREATE TABLE tienda.uno (id int PRIMARY KEY, otro int); CREATE TABLE tienda.dos (id int PRIMARY KEY REFERENCES tienda.uno);
ALTER TABLE tienda.uno ADD FOREIGN KEY (otro) REFERENCES tienda.dos;
CREATE FOREIGN DATA WRAPPER lejos; CREATE SERVER otro FOREIGN DATA WRAPPER lejos;
CREATE FOREIGN TABLE tienda.ajena (a int) SERVER otro;
CREATE TABLE tienda.con_objeto (foto oid, e tienda.estado); INSERT INTO tienda.con_objeto SELECT lo_from_bytea(0, 'x');
ALTER FUNCTION tienda.tasa RESET ALL; ALTER FUNCTION tienda.doble RESET ALL;  -- from 17 on no index could be made else
ALTER FUNCTION tienda.llama RESET ALL; ALTER FUNCTION tienda.clase RESET ALL;
CREATE FUNCTION tienda.avisa() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER avisa ON ddl_command_end EXECUTE FUNCTION tienda.avisa();
"""
LIMITED = """
DROP ROLE IF EXISTS lint_owner; CREATE ROLE lint_owner; GRANT CREATE ON SCHEMA public TO lint_owner;
GRANT lint_owner TO CURRENT_USER; SET ROLE lint_owner;
CREATE TABLE public.propia (a int); ALTER TABLE public.propia ENABLE ROW LEVEL SECURITY;
CREATE MATERIALIZED VIEW public.vista AS SELECT * FROM public.propia;
"""


def concerns(dsn: str, **wanted: object) -> list[Concern]:
    with open_source(dsn) as source:
        scope = choose_scope(source.tables, **wanted)  # type: ignore[arg-type]
        return list(lint(source, scope, client_major=source.server_major))


def by_code(found: Sequence[Concern]) -> dict[str, set[str]]:
    codes: dict[str, set[str]] = {}
    for concern in found:
        codes.setdefault(concern.code, set()).add(concern.object)
    return codes


@pytest.fixture(scope="module")
def trouble(server_of: ServerOf, psql: Callable[..., None]) -> Callable[[int], str]:
    made: dict[int, str] = {}

    def trouble(major: int) -> str:
        if major not in made:
            server = server_of(major)
            execute(server.conninfo(), "CREATE DATABASE lint_trouble")
            made[major] = server.conninfo("lint_trouble")
            psql(server, made[major], TROUBLE.encode())
            with psycopg.connect(made[major], autocommit=True) as connection, pytest.raises(psycopg.Error):
                connection.execute("CREATE UNIQUE INDEX CONCURRENTLY unico ON tienda.duplicada (a)")
        return made[major]

    return trouble


@pytest.mark.parametrize("major", [15, 18])
def test_what_will_not_survive_is_named_before_the_dump(trouble: Callable[[int], str], major: int) -> None:
    found = concerns(trouble(major))
    codes = by_code([concern for concern in found if concern.severity == "warning"])
    assert codes == {
        "invalid-index": {"index tienda.unico"},
        "search-path": {
            "index tienda.por_tasa",
            "index tienda.por_llamada",
            "index tienda.por_clase",
            "column tienda.calculada.g",
        },
        "reads-tables": {"check con_tasa on tienda.venta", "column tienda.calculada.g"},
    }
    assert by_code([concern for concern in found if concern.severity == "note"]) == {
        "orphans": {"key h on tienda.huerfana"},
        "event-trigger": {"event trigger avisa"},
        "foreign-table": {"foreign table tienda.ajena"},
    }
    assert all(concern.what and concern.why and concern.hint for concern in found)
    assert [c.severity for c in found] == sorted((c.severity for c in found), reverse=True)


def test_rows_alone_are_warned_of_circles_and_chosen_tables_of_what_they_leave_behind(
    trouble: Callable[[int], str],
) -> None:
    dsn = trouble(18)
    assert by_code(concerns(dsn, kind="data"))["circular-keys"] == {"tienda.dos, tienda.uno"}
    chosen = {concern.code: concern for concern in concerns(dsn, tables=["con_objeto"])}
    assert chosen["large-objects"].object == "tienda.con_objeto"
    assert "type tienda.estado" in chosen["needs"].what
    assert "invalid-index" not in chosen, "of a table that is not chosen"
    assert not by_code(concerns(dsn, schemas=["tienda"])).get("needs")


def test_a_view_that_cannot_be_filled_for_want_of_rights_is_named(
    server: Server, fresh_database: Callable[..., str], psql: Callable[..., None]
) -> None:
    dsn = fresh_database(server)
    psql(server, dsn, LIMITED.encode())
    assert not by_code(concerns(dsn)).get("hidden-rows"), "its owner sees all of its own table"
    execute(dsn, "ALTER TABLE public.propia FORCE ROW LEVEL SECURITY")
    assert by_code(concerns(dsn))["hidden-rows"] == {"materialized view public.vista"}
    execute(dsn, "DROP OWNED BY lint_owner; DROP ROLE lint_owner")


def test_versions_that_do_not_match_and_rows_that_are_elsewhere_are_named(
    server: Server, fresh_database: Callable[..., str]
) -> None:
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE UNLOGGED TABLE borrador (a int)",
        "UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'plpgsql'",
    )
    with open_source(dsn) as source:
        on_standby = replace(source, facts=replace(source.facts, in_recovery=True))
        found = lint(on_standby, choose_scope(source.tables), client_major=source.server_major + 1)
    codes = by_code(found)
    assert codes["extension"] == {"extension plpgsql"}
    assert codes["unlogged"] == {"public.borrador"}
    assert codes["newer-client"] == {"pg_dump 19"}


def test_a_collation_of_another_version_of_the_system_is_named(
    server_of: ServerOf, fresh_database: Callable[..., str]
) -> None:
    server = server_of(15)
    if "icu" not in server.programs.features:
        pytest.skip(f"{server.programs.label} is built without ICU, and C has no versions")
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE COLLATION de (provider = icu, locale = 'de')",
        "UPDATE pg_collation SET collversion = '0.1' WHERE collname = 'de'",
    )
    assert by_code(concerns(dsn)) == {"collation-version": {"collation public.de"}}


def test_strict_refuses_before_dumping_and_names_each(trouble: Callable[[int], str], tmp_path: Path) -> None:
    with pytest.raises(ConcernsError) as refused:
        make_backup(trouble(18), tmp_path, strict=True)
    assert refused.value.exit_status == 3
    for name in ("tienda.unico", "tienda.por_tasa", "con_tasa"):
        assert name in refused.value.message
    assert not [path for path in tmp_path.iterdir() if "backup" in path.name and "lock" not in path.name]


def test_without_strict_the_manifest_and_the_drill_repeat_it(
    server: Server, fresh_database: Callable[..., str], psql: Callable[..., None], drill_of: DrillOf, tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    psql(
        server,
        dsn,
        b"""CREATE TABLE t (a int); INSERT INTO t VALUES (1);
        CREATE FUNCTION f(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN EXISTS (SELECT FROM public.t); END';
        CREATE TABLE u (a int CHECK (f(a))); INSERT INTO u VALUES (1)""",
    )
    result = make_backup(dsn, tmp_path, strict=False)
    assert [concern.code for concern in result.manifest.lint] == ["reads-tables"]
    assert result.path
    record = drill_of(result.path)
    (note,) = [f for f in record.findings if f.cause == "source"]
    assert note.status == "note", told(record)
    assert "reads public.t" in note.actual


@pytest.mark.parametrize("major", [14, 15, 16, 17, 18])
def test_a_database_of_every_kind_of_object_is_not_warned_of(
    server_of: ServerOf, fresh_database: Callable[..., str], psql: Callable[..., None], major: int
) -> None:
    server = server_of(major)
    dsn = fresh_database(server)
    psql(server, dsn, EVERY_OBJECT)
    assert not [concern for concern in concerns(dsn) if concern.severity == "warning"]


def test_the_sample_is_not_warned_of_and_it_costs_no_time(server: Server) -> None:
    with start_server(server.programs) as own:  # roles belong to the cluster
        sample.create(own.conninfo(), scale=0.02)
        with open_source(own.conninfo(sample.DATABASE)) as source:
            scope = choose_scope(source.tables)
            times = []
            for _ in range(3):
                begun = time.monotonic()
                found = lint(source, scope, client_major=source.server_major)
                times.append(time.monotonic() - begun)
    assert not [concern for concern in found if concern.severity == "warning"], found
    assert min(times) < 0.3, times  # under 50 ms where nothing else runs
