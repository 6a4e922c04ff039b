"""The sample database: the same everywhere, of every kind of object, alive, and restorable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql

from backup_lib import sample
from backup_lib.dsn import PINS
from backup_lib.dump_reader import read_inventory
from backup_lib.errors import SourceError, UsageError
from backup_lib.inventory import Entry, Inventory, total_rows
from backup_lib.process import run
from backup_lib.server_programs import NEWEST_MAJOR, Programs
from backup_lib.servers import Server, start_server

pytestmark = pytest.mark.postgres

SMALL = 0.02
KINDS = """ACL; AGGREGATE; CAST; CHECK CONSTRAINT; COLLATION; COMMENT; CONSTRAINT; DEFAULT; DEFAULT ACL; DOMAIN;
EVENT TRIGGER; EXTENSION; FK CONSTRAINT; FUNCTION; INDEX; INDEX ATTACH; MATERIALIZED VIEW; MATERIALIZED VIEW DATA;
OPERATOR; POLICY; PROCEDURE; PUBLICATION; PUBLICATION TABLE; ROW SECURITY; RULE; SCHEMA; SEQUENCE; SEQUENCE OWNED BY;
STATISTICS; TABLE; TABLE ATTACH; TEXT SEARCH CONFIGURATION; TRIGGER; TYPE; VIEW"""
OWNED_SEQUENCES = """
    SELECT d.objid::regclass::text, d.refobjid::regclass::text, a.attname
    FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')"""

Shop = Callable[[int], Server]


@pytest.fixture(scope="module")
def shop(programs_of: Callable[[int], Programs]) -> Iterator[Shop]:
    """`shop(15)`: a server of that major with a small sample; its own, since roles belong to the cluster."""
    open_shops: dict[int, Server] = {}
    with ExitStack() as cleanup:

        def shop(major: int) -> Server:
            if major not in open_shops:
                open_shops[major] = cleanup.enter_context(start_server(programs_of(major)))
                sample.create(open_shops[major].conninfo(), scale=SMALL)
            return open_shops[major]

        yield shop


@pytest.fixture
def till(shop: Shop) -> Iterator[psycopg.Connection]:
    """A connection to the newest shop; what a test changes there is undone."""
    with connect(shop(NEWEST_MAJOR)) as conn:
        yield conn
        conn.rollback()


def connect(server: Server, database: str = sample.DATABASE) -> psycopg.Connection:
    # The sample's own search path must not shorten the names that are asked for here.
    return psycopg.connect(server.conninfo(database), options="-c search_path=pg_catalog -c timezone=UTC")


def one(conn: psycopg.Connection, query: str) -> Any:
    row = conn.execute(query.encode()).fetchone()
    return row[0] if row else None


def digests(server: Server, database: str = sample.DATABASE) -> dict[str, object]:
    """A digest of all rows of each table, generated columns too, and of each large object."""
    with connect(server, database) as conn:
        tables = conn.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'm') AND relispopulated"
            " AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'"
        ).fetchall()
        rows = "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM ONLY {} AS t"
        found = {table: one(conn, rows.format(table)) for (table,) in tables}
        objects = conn.execute("SELECT oid::text, md5(lo_get(oid)) FROM pg_largeobject_metadata").fetchall()
    return found | dict(objects)


def dump(server: Server, database: str) -> bytes:
    pins = " ".join(f"-c {name}={value}" for name, value in PINS.items())
    env = {**server.programs.env, "PGOPTIONS": pins}
    return run([server.programs.program("pg_dump"), "-d", server.conninfo(database)], env=env).stdout


def restore(server: Server, text: bytes, database: str) -> Inventory:
    """Restore strictly into a new database; the inventory of a dump of it."""
    with psycopg.connect(server.conninfo(), autocommit=True) as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 LOCALE 'C.UTF-8'").format(sql.Identifier(database)))
    psql = [server.programs.program("psql"), "-qXv", "ON_ERROR_STOP=1", "-d", server.conninfo(database)]
    run(psql, env=server.programs.env, stdin=text)
    return read_inventory([dump(server, database)])


def identity(entry: Entry) -> tuple[str | None, ...]:
    return entry.type, entry.schema, entry.name, entry.owner


def test_the_sample_is_the_same_on_every_major_and_on_every_run(
    shop: Shop, major: int, postgres_majors: list[int]
) -> None:
    server = shop(major)
    sample.create(server.conninfo(), "otra vez", scale=SMALL)

    found = digests(server)

    assert len(found) > 45
    assert found == digests(server, "otra vez")
    assert found == digests(shop(postgres_majors[0]))


def test_the_sample_restores_strictly_and_comes_back_equal(shop: Shop, major: int) -> None:
    server = shop(major)
    text = dump(server, sample.DATABASE)

    source = read_inventory([text])
    first = restore(server, text, "primera")
    second = restore(server, dump(server, "primera"), "segunda")

    assert digests(server, "primera") == digests(server)
    for restored in (first, second):
        assert list(map(identity, restored.entries)) == list(map(identity, source.entries))
        assert restored.sequences == source.sequences
        assert restored.large_objects == source.large_objects
        assert [(t.label, t.rows, t.sha256) for t in restored.tables] == [
            (t.label, t.rows, t.sha256) for t in source.tables
        ]
    assert second.entries == first.entries  # what a server makes of a text is stable,
    assert first.entries != source.entries  # even where it is another one: the sample must not be too easy


def test_the_sample_holds_every_kind_of_object(shop: Shop) -> None:
    inventory = read_inventory([dump(shop(NEWEST_MAJOR), sample.DATABASE)])

    assert {kind.strip() for kind in KINDS.split(";")} <= {entry.type for entry in inventory.entries}
    sizes = sorted(large.size_bytes for large in inventory.large_objects)
    assert len(sizes) == 4
    assert sizes[0] == 0
    assert sizes[-1] > 1 << 20
    assert max(len(table.name.encode()) for table in inventory.tables) == 63
    assert {"devoluciones"} <= {table.name for table in inventory.tables if not table.rows}


def test_the_whole_sample_is_large_enough_to_mean_something(shop: Shop) -> None:
    server = shop(NEWEST_MAJOR)

    facts = sample.create(server.conninfo(), "entera")

    assert 200_000 < facts.rows < 300_000
    held = read_inventory([dump(server, "entera")]).tables
    assert facts.tables == len(held)
    assert facts.rows == total_rows(held)
    assert facts.seconds < 60  # of a laptop that does something else, too; it takes four


def test_sequences_are_ahead_of_their_data(till: psycopg.Connection) -> None:
    sequences = till.execute(OWNED_SEQUENCES).fetchall()

    assert len(sequences) > 10
    for sequence, table, column in sequences:
        newest = one(till, f'SELECT max("{column}") FROM {table}')
        following = till.execute("SELECT nextval(%s::regclass)", [sequence]).fetchone()
        assert following is not None
        if newest is not None:
            assert following[0] > newest + 1, sequence  # ahead by more than one: rows were deleted


def test_tickets_add_up(till: psycopg.Connection) -> None:
    lines = one(till, "SELECT sum(importe) FROM ventas.partidas")
    assert lines == one(till, "SELECT sum(total) FROM ventas.ventas")
    charged = one(till, "SELECT sum(total) FROM ventas.ventas WHERE estado = 'cobrada'")
    assert charged == one(till, "SELECT sum(importe) FROM ventas.pagos")
    assert charged == one(till, "SELECT sum(total) FROM ventas.resumen_mensual")
    assert one(till, "SELECT count(DISTINCT tableoid) FROM ventas.ventas") == 13


def test_a_cashier_sees_the_sales_of_one_store_only(till: psycopg.Connection) -> None:
    everything = one(till, "SELECT count(*) FROM ventas.ventas")
    till.execute("SET LOCAL ROLE pos_cajero")
    assert one(till, "SELECT count(*) FROM ventas.ventas") == 0
    till.execute("SET LOCAL pos.tienda = 3")
    seen = one(till, "SELECT count(*) FROM ventas.ventas")
    assert 0 < seen < everything
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        till.execute("SELECT credito FROM catalogo.clientes")


def test_what_changes_is_written_down_by_the_triggers(till: psycopg.Connection) -> None:
    before = one(till, "SELECT count(*) FROM auditoria.bitacora")
    till.execute("SET LOCAL ROLE pos_dueno")
    till.execute("UPDATE catalogo.productos SET precio = precio + 1 WHERE id = 1")
    till.execute("UPDATE catalogo.clientes SET puntos = 0, rfc = NULL WHERE id = 1001")  # that trigger is off
    till.execute("INSERT INTO ventas.partidas VALUES (date '2024-12-30', 1, 99, 1, 2, 10)")
    till.execute("DELETE FROM catalogo.ofertas WHERE id = (SELECT min(id) FROM catalogo.ofertas WHERE NOT cancelado)")
    till.execute("CALL ventas.cerrar_dia('2025-06-15')")
    till.execute("DROP TABLE ventas.devoluciones")
    till.execute("RESET ROLE")
    assert one(till, "SELECT count(*) FROM auditoria.bitacora") > before
    assert one(till, "SELECT count(*) FROM auditoria.objetos_borrados") == 1


def test_functions_answer(till: psycopg.Connection) -> None:
    assert one(till, "SELECT count(*) FROM catalogo.buscar('CAFE de olla', 5)") == 5
    assert one(till, "SELECT catalogo.precio_vigente(1, 1::smallint, '2025-12-24') > 0") is True
    assert one(till, "SELECT ventas.total_del_dia('2025-06-15') > ventas.total_del_dia('2025-06-15', 1::smallint)")
    assert one(till, "SELECT 'PIÑATA'::text OPERATOR(catalogo.=~=) 'pinata'::text") is True
    assert one(till, "SELECT catalogo.factor_compuesto(f) FROM (VALUES (0.9), (0.95)) AS v (f)") is not None


def test_settings_of_the_database_reach_its_sessions(shop: Shop) -> None:
    with psycopg.connect(shop(NEWEST_MAJOR).conninfo(sample.DATABASE)) as conn:
        assert one(conn, "SHOW timezone") == "America/Mexico_City"
        own = "setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
        assert one(conn, f"SELECT count(*) FROM pg_db_role_setting WHERE setrole <> 0 AND {own}") == 2


def test_the_sample_loads_on_the_server_of_the_wheel(wheel: Programs) -> None:
    with start_server(wheel) as server:
        assert sample.create(server.conninfo(), scale=SMALL).rows > 3_000


def test_the_sample_loads_into_a_cluster_of_the_c_locale(programs_of: Callable[[int], Programs], shop: Shop) -> None:
    options = ("--encoding=SQL_ASCII", "--locale=C")
    with start_server(programs_of(NEWEST_MAJOR), initdb_options=options) as server:
        sample.create(server.conninfo(), scale=SMALL)
        assert digests(server) == digests(shop(NEWEST_MAJOR))


def test_a_database_that_exists_is_left_alone(shop: Shop) -> None:
    server = shop(NEWEST_MAJOR)
    before = digests(server)
    with pytest.raises(UsageError, match=r'pos_tienda exists already\nhint: .* DROP DATABASE "pos_tienda"'):
        sample.create(server.conninfo(), scale=SMALL)
    assert digests(server) == before


def test_a_missing_extension_is_said_and_nothing_is_left_behind(shop: Shop) -> None:
    server = shop(NEWEST_MAJOR)
    blind = server.conninfo() + " options='-c extension_control_path=/nowhere'"
    with pytest.raises(SourceError, match=r"02_tipos.sql: extension .* is not available\nhint: install the contrib"):
        sample.create(blind, "a medias")
    with connect(server) as conn:
        assert one(conn, "SELECT count(*) FROM pg_database WHERE datname = 'a medias'") == 0


def test_a_role_that_is_no_superuser_is_refused(shop: Shop) -> None:
    server = shop(NEWEST_MAJOR)
    with pytest.raises(SourceError, match="no superuser"):
        sample.create(server.conninfo() + " options='-c role=pos_gerente'", "de otro")


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_a_scale_that_means_nothing_is_refused_before_a_server_is_asked(scale: float) -> None:
    with pytest.raises(UsageError, match="positive number"):
        sample.create("host=/nowhere", scale=scale)


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(SourceError, match="cannot be reached"):
        sample.create("host=/nowhere user=postgres")
