"""Restores into a server that exists: a throwaway server plays it. All of it comes back, or the target is as it was."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from drilling import PgDump, execute, rewrite
from psycopg.conninfo import conninfo_to_dict

from backup_lib import source
from backup_lib.backup import make_backup
from backup_lib.dump_reader import read_inventory
from backup_lib.dump_text import open_dump_text
from backup_lib.errors import (
    BackupError,
    DamagedArchiveError,
    NoSuchArchiveError,
    RestoredOtherwiseError,
    RestoreError,
    SourceError,
    UsageError,
)
from backup_lib.files_backup import make_files_backup
from backup_lib.inventory import Inventory
from backup_lib.restore.prepare import Request, prepare
from backup_lib.restore.run import Restored, carry_out
from backup_lib.restore.target import UNFINISHED
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres

_SHOP = """
CREATE SCHEMA tienda;
CREATE TYPE tienda.estado AS ENUM ('abierta', 'cobrada');
CREATE SEQUENCE tienda.folio START 100;
CREATE FUNCTION tienda.sellar() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.nota := ''sellada''; RETURN NEW; END';
CREATE TABLE tienda.clientes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, nombre text NOT NULL, jefe int);
CREATE TABLE tienda.ventas (id serial PRIMARY KEY, cliente int, estado tienda.estado DEFAULT 'abierta',
    folio bigint DEFAULT nextval('tienda.folio'), nota text, CHECK (id > 0));
CREATE TABLE tienda.partidas (venta int, linea int, importe numeric(9, 2), PRIMARY KEY (venta, linea));
CREATE TABLE tienda.movimientos (dia date, cuanto int) PARTITION BY RANGE (dia);
CREATE TABLE tienda.movimientos_25 PARTITION OF tienda.movimientos FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE tienda.movimientos_26 PARTITION OF tienda.movimientos FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO tienda.clientes (nombre, jefe) SELECT 'Margarita ' || n, n % 10 + 1 FROM generate_series(1, 50) n;
INSERT INTO tienda.ventas (cliente, nota) SELECT n % 50 + 1, 'de Margarita' FROM generate_series(1, 300) n;
INSERT INTO tienda.partidas SELECT n, 1, n FROM generate_series(1, 300) n;
INSERT INTO tienda.movimientos SELECT date '2025-12-01' + n, n FROM generate_series(1, 60) n;
ALTER TABLE tienda.clientes ADD CONSTRAINT clientes_jefe_fk FOREIGN KEY (jefe) REFERENCES tienda.clientes;
ALTER TABLE tienda.ventas ADD CONSTRAINT ventas_cliente_fk FOREIGN KEY (cliente) REFERENCES tienda.clientes;
ALTER TABLE tienda.partidas ADD CONSTRAINT partidas_venta_fk FOREIGN KEY (venta) REFERENCES tienda.ventas;
COMMENT ON CONSTRAINT partidas_venta_fk ON tienda.partidas IS 'cada partida es de una venta';
CREATE INDEX ventas_cliente_ix ON tienda.ventas (cliente);
CREATE INDEX movimientos_dia_ix ON tienda.movimientos (dia);
CREATE TRIGGER sellar BEFORE INSERT ON tienda.ventas FOR EACH ROW EXECUTE FUNCTION tienda.sellar();
CREATE POLICY de_todos ON tienda.ventas TO pos_cajero USING (true);
COMMENT ON TABLE tienda.ventas IS 'lo vendido';
COMMENT ON COLUMN tienda.ventas.nota IS 'al margen';
GRANT USAGE ON SCHEMA tienda TO pos_cajero;
GRANT SELECT ON tienda.ventas TO pos_cajero;
CREATE MATERIALIZED VIEW tienda.resumen AS SELECT cliente, count(*) FROM tienda.ventas GROUP BY cliente;
SELECT lo_from_bytea(4711, 'un objeto grande');
COMMENT ON LARGE OBJECT 4711 IS 'lo grande';
GRANT SELECT ON LARGE OBJECT 4711 TO pos_cajero;
"""


@dataclass(frozen=True)
class Shop:
    """A source database, and archives of it in all the ways they are made."""

    server: Server
    dsn: str
    ours: Path
    theirs: dict[str, Path]  # by what made it: guide, custom, directory, tar, inserts
    inventory: Inventory


def inventory_of(path: Path) -> Inventory:
    with open_dump_text(path) as chunks:
        return read_inventory(chunks)


@pytest.fixture(scope="module")
def shop_of(
    server_of: Callable[[int], Server], pg_dump: PgDump, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[int], Shop]]:
    shops: dict[int, Shop] = {}

    def shop_of(major: int) -> Shop:
        if major not in shops:
            server, folder = server_of(major), tmp_path_factory.mktemp(f"shop{major}")
            with suppress(psycopg.errors.DuplicateObject):
                execute(server.conninfo(), "CREATE ROLE pos_cajero")
            execute(server.conninfo(), "CREATE DATABASE pos_tienda_restore")
            dsn = server.conninfo("pos_tienda_restore")
            execute(dsn, _SHOP)
            path = make_backup(dsn, folder).path
            assert path
            guide = pg_dump(server, dsn, folder / "guia.sql", "--clean", "--create", "--if-exists")
            packed = folder / "guia.sql.gz"
            packed.write_bytes(gzip.compress(guide.read_bytes()))
            theirs = {"guide": packed}
            for name, options in {
                "custom": ["-Fc"],
                "directory": ["-Fd"],
                "tar": ["-Ft"],
                "inserts": ["--inserts"],
            }.items():
                theirs[name] = pg_dump(server, dsn, folder / f"shop.{name}", *options)
            shops[major] = Shop(server=server, dsn=dsn, ours=path, theirs=theirs, inventory=inventory_of(path))
        return shops[major]

    yield shop_of
    for shop in shops.values():
        execute(shop.server.conninfo(), "DROP DATABASE pos_tienda_restore WITH (FORCE)", "DROP OWNED BY pos_cajero",
                "DROP ROLE pos_cajero")  # fmt: skip


@pytest.fixture
def shop(shop_of: Callable[[int], Shop]) -> Shop:
    return shop_of(18)


@pytest.fixture
def new_name() -> Iterator[Callable[[Server], str]]:
    """A name for a database that the test makes; it is dropped afterwards."""
    made: list[tuple[Server, str]] = []

    def new_name(server: Server) -> str:
        made.append((server, f"nueva_{os.urandom(4).hex()}"))
        return made[-1][1]

    yield new_name
    for server, name in made:
        execute(server.conninfo(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def restore(archive: Path, dsn: str, **wish: Any) -> Restored:
    return carry_out(prepare(Request(archive=archive, dsn=dsn, **wish)))


def query(dsn: str, statement: str) -> Any:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return row and row[0]


def databases(server: Server) -> set[str]:
    with psycopg.connect(server.conninfo()) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}


def facts(inventory: Inventory) -> tuple[Any, ...]:
    """All that two dumps of equal databases share, whatever made them."""
    kept = [e for e in inventory.entries if e.type not in ("DATABASE", "DATABASE PROPERTIES")]
    return (
        [(e.type, e.schema, e.name, e.owner, e.sha256) for e in kept],
        [(t.label, t.columns, t.rows, t.sha256) for t in inventory.tables],
        [(s.label, s.last_value, s.is_called) for s in inventory.sequences],
        [(o.oid, o.sha256) for o in inventory.large_objects],
    )


@pytest.mark.parametrize(
    ("major", "form", "create"),
    [
        pytest.param(15, "guide", True, id="15-guide-new"),
        pytest.param(15, "ours", False, id="15-ours-existing"),
        pytest.param(18, "ours", True, id="18-ours-new"),
        pytest.param(18, "custom", True, id="18-custom-new"),
        pytest.param(18, "guide", False, id="18-guide-existing"),
        pytest.param(18, "directory", False, id="18-directory-existing"),
        pytest.param(18, "tar", False, id="18-tar-existing"),
    ],
)
def test_every_archive_comes_back_whole(
    shop_of: Callable[[int], Shop], new_name: Callable[[Server], str], fresh_database: Callable[..., str],
    pg_dump: PgDump, tmp_path: Path, major: int, form: str, create: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    shop = shop_of(major)
    archive = shop.ours if form == "ours" else shop.theirs[form]
    name = new_name(shop.server) if create else fresh_database(shop.server).rpartition("'")[0].rpartition("'")[2]
    restored = restore(archive, shop.server.conninfo(), database=name, create=create, jobs=3 if create else 1)
    assert restored.plan.in_one_transaction is not create
    assert (restored.rows_counted, restored.sequences_checked) == (710, 3)
    again = inventory_of(pg_dump(shop.server, shop.server.conninfo(name), tmp_path / "again.sql"))
    assert facts(again) == facts(shop.inventory)
    assert query(shop.server.conninfo(name), "SELECT shobj_description(oid, 'pg_database') FROM pg_database "
                 "WHERE datname = current_database()") is None  # fmt: skip


@pytest.mark.parametrize("major", [15, 18])
def test_the_guides_own_restores_bring_back_what_was_backed_up(
    shop_of: Callable[[int], Shop], fresh_database: Callable[..., str], pg_dump: PgDump, tmp_path: Path, major: int
) -> None:
    """`gunzip NAME.sql.gz`, and `psql -d NEW < NAME.sql` or `-d LIVE`: over a database in use nothing came back."""
    shop = shop_of(major)
    target = fresh_database(shop.server)
    script = gzip.decompress(shop.ours.read_bytes())
    psql = [str(shop.server.programs.program("psql")), "-q", "-d", target]

    def restore_by_hand() -> Any:
        environment = dict(shop.server.programs.env) or None
        done = subprocess.run(psql, input=script, check=True, capture_output=True, env=environment)
        assert done.stderr == b""
        return facts(inventory_of(pg_dump(shop.server, target, tmp_path / "again.sql")))

    assert restore_by_hand() == facts(shop.inventory)
    execute(
        target,
        "DELETE FROM tienda.partidas WHERE venta > 7; DROP TABLE tienda.movimientos",
        "UPDATE tienda.clientes SET nombre = 'Eva'; INSERT INTO tienda.clientes (nombre) VALUES ('after the backup')",
        "ALTER TABLE tienda.ventas DROP COLUMN nota; SELECT lo_unlink(4711)",
    )
    assert restore_by_hand() == facts(shop.inventory)


@pytest.mark.parametrize("of_parts", [True, False], ids=["two-archives", "one-archive-twice"])
def test_definitions_and_then_rows_make_the_whole(
    shop_of: Callable[[int], Shop], fresh_database: Callable[..., str], pg_dump: PgDump, tmp_path: Path,
    of_parts: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    """The guide's partial recovery: an archive of mere rows goes, unasked, into the tables that are there."""
    shop = shop_of(15)
    target = fresh_database(shop.server)
    if of_parts:
        restore(pg_dump(shop.server, shop.dsn, tmp_path / "schema_backup.sql", "--schema-only"), target)
        restore(pg_dump(shop.server, shop.dsn, tmp_path / "data_backup.sql", "--data-only"), target)
    else:
        restore(shop.ours, target, what="schema")
        restore(shop.ours, target, what="data")
    again = facts(inventory_of(pg_dump(shop.server, target, tmp_path / "again.sql")))
    # Neither of the two has the REFRESH of a materialized view.
    entries = [e for e in facts(shop.inventory)[0] if not (of_parts and e[0] == "MATERIALIZED VIEW DATA")]
    assert again == (entries, *facts(shop.inventory)[1:])


@pytest.mark.parametrize(("source", "target"), [(15, 18), (18, 15)])
def test_another_major_is_said_and_tried(
    shop_of: Callable[[int], Shop], new_name: Callable[[Server], str], source: int, target: int
) -> None:
    archive, server = shop_of(source).ours, shop_of(target).server
    restored = restore(archive, server.conninfo(), database=new_name(server), create=True)
    assert restored.rows_counted == 710
    assert (
        f"from PostgreSQL {source}, the server is {'newer' if target > source else 'older'}" in restored.plan.notes[0]
    )


def test_a_table_comes_back_without_what_it_needs_of_others(
    shop: Shop, fresh_database: Callable[..., str], new_name: Callable[[Server], str], tmp_path: Path
) -> None:
    """The guide's single table, into a new database: its foreign key was refused, and nothing was restored."""
    source_dsn = fresh_database(shop.server)
    execute(
        source_dsn,
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE o (id int REFERENCES p, a text, v tsvector)",
        "INSERT INTO p VALUES (1); INSERT INTO o VALUES (1, 'x')",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER ours BEFORE INSERT ON o FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE TRIGGER servers BEFORE UPDATE ON o FOR EACH ROW EXECUTE FUNCTION "
        "tsvector_update_trigger(v, 'pg_catalog.english', a)",
    )
    archive = make_backup(source_dsn, tmp_path, tables=["o"]).path
    assert archive
    name = new_name(shop.server)
    restored = restore(archive, shop.server.conninfo(), database=name, create=True)
    assert [reason.partition(":")[0] for reason in restored.plan.left_out] == [
        "TRIGGER public.o ours",
        "FK CONSTRAINT public.o o_id_fkey",
    ]
    dsn = shop.server.conninfo(name)
    assert query(dsn, "SELECT count(*) FROM o") == 1
    assert query(dsn, "SELECT string_agg(tgname, ' ') FROM pg_trigger WHERE NOT tgisinternal") == "servers"
    whole = restore(archive, source_dsn, tables=("o",), clean=True)
    assert (whole.plan.left_out, whole.plan.leans_on) == ((), ("FUNCTION public.f", "TABLE public.p"))


def test_a_key_to_a_table_that_another_encoding_writes_otherwise_comes_back(
    shop: Shop, fresh_database: Callable[..., str], pg_dump: PgDump, tmp_path: Path
) -> None:
    """The table's header and the key's statement were not read alike, and the key was left out of a whole archive."""
    latin = "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    source_dsn, target = (fresh_database(shop.server, options=latin) for _ in range(2))
    execute(
        source_dsn,
        'CREATE TABLE "año" (id int PRIMARY KEY); CREATE TABLE "dos\nlineas" (id int PRIMARY KEY)',
        'CREATE TABLE o (a int REFERENCES "año", b int REFERENCES "dos\nlineas")',
    )
    assert restore(pg_dump(shop.server, source_dsn, tmp_path / "latin.sql"), target).plan.left_out == ()
    assert query(target, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == 2


def test_a_server_older_than_any_that_is_known_is_refused_by_name(
    shop: Shop, fresh_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a server of PostgreSQL 12 it said "this is a bug in pgdrill", or that the source had stopped answering."""
    dsn = fresh_database(shop.server)
    monkeypatch.setattr(source, "OLDEST_MAJOR", shop.server.programs.major + 1)
    version = shop.server.programs.version.partition(" ")[0]
    with pytest.raises(SourceError, match=rf"is PostgreSQL {version}\b.* restores into 19 and newer"):
        restore(shop.ours, dsn)
    with pytest.raises(SourceError, match=rf"is PostgreSQL {version}\b.* backs up 19 and newer"), source.connect(dsn):
        pass


def test_a_filled_target_is_refused_by_name_and_left_alone(shop: Shop, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(shop.server)
    execute(dsn, "CREATE TABLE mia (n int)", "INSERT INTO mia VALUES (1)")
    with pytest.raises(RestoreError, match=r"is not empty: it holds 1 object, such as table public.mia") as refused:
        restore(shop.ours, dsn)
    assert "--clean" in refused.value.hint
    assert query(dsn, "SELECT count(*) FROM mia") == 1


def test_clean_replaces_all_that_is_there(
    shop: Shop, fresh_database: Callable[..., str], psql: Callable[..., None], pg_dump: PgDump, tmp_path: Path
) -> None:
    dsn = fresh_database(shop.server)
    psql(shop.server, dsn, Path(__file__).with_name("every_object.sql").read_bytes())
    execute(dsn, "ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC")
    prepared = prepare(Request(archive=shop.ours, dsn=dsn, clean=True))
    assert "table public.cliente" in prepared.plan.overwritten
    (gone,) = [note for note in prepared.plan.notes if note.startswith("not in the archive, and gone")]
    assert "public.cliente" in gone
    carry_out(prepared)
    again = inventory_of(pg_dump(shop.server, dsn, tmp_path / "again.sql"))
    assert {e.label for e in again.entries} - {e.label for e in shop.inventory.entries} == set()
    assert facts(again) == facts(shop.inventory)


@pytest.mark.parametrize("clean", [True, False])
def test_what_goes_wrong_leaves_an_existing_database_as_it_was(
    shop: Shop,
    fresh_database: Callable[..., str],
    tmp_path: Path,
    clean: bool,  # noqa: FBT001
) -> None:
    dsn, broken = fresh_database(shop.server), tmp_path / "broken.sql.gz"
    if clean:
        execute(dsn, "CREATE TABLE mia (n int)")
    broken.write_bytes(shop.theirs["guide"].read_bytes())
    rewrite(broken, lambda text: text.replace(b"\n2\t1\t2.00\n", b"\n1\t1\t2.00\n"))
    with pytest.raises(RestoreError, match=r"partidas_pkey.*is as it was before") as failed:
        restore(broken, dsn, clean=clean)
    assert "could not create unique index" in failed.value.message
    assert query(dsn, "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text IN ('tienda')") == 0
    assert (query(dsn, "SELECT to_regclass('mia')") is not None) is clean


def test_what_goes_wrong_drops_a_new_database_and_its_roles(
    shop: Shop, new_name: Callable[[Server], str], tmp_path: Path
) -> None:
    broken, name = tmp_path / "broken.sql.gz", new_name(shop.server)
    broken.write_bytes(shop.theirs["guide"].read_bytes())
    rewrite(broken, lambda text: text.replace(b"\n2\t1\t2.00\n", b"\n1\t1\t2.00\n"))
    with pytest.raises(RestoreError, match=f"partidas_pkey.*the new database {name} was dropped again"):
        restore(broken, shop.server.conninfo(), database=name, create=True, jobs=2)
    assert name not in databases(shop.server)


def test_a_cut_archive_is_refused_before_anything_is_touched(
    shop: Shop, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    dsn, cut = fresh_database(shop.server), tmp_path / "cut.sql.gz"
    execute(dsn, "CREATE TABLE mia (n int)")
    cut.write_bytes(shop.theirs["guide"].read_bytes())
    rewrite(cut, lambda text: text[: text.index(b"Name: partidas partidas_pkey")])
    with pytest.raises(DamagedArchiveError, match="cut short"):
        restore(cut, dsn, clean=True)
    flipped = bytearray(shop.ours.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / "flipped.sql.gz").write_bytes(flipped)
    with pytest.raises(DamagedArchiveError):
        restore(tmp_path / "flipped.sql.gz", dsn, clean=True)
    assert query(dsn, "SELECT to_regclass('mia')") is not None


def test_an_archive_that_is_not_what_its_manifest_promises_is_refused(
    shop: Shop, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    altered = tmp_path / shop.ours.name
    altered.write_bytes(shop.ours.read_bytes())
    (tmp_path / f"{altered.name}.manifest.json").write_bytes(
        shop.ours.with_name(f"{shop.ours.name}.manifest.json").read_bytes()
    )
    rewrite(altered, lambda text: text.replace(b"\n2\t1\t2.00\n", b"\n2\t1\t3.00\n"))
    with pytest.raises(DamagedArchiveError, match="not what its manifest promises"):
        restore(altered, fresh_database(shop.server))


def test_a_hostile_archive_is_refused_before_anything_runs(
    shop: Shop, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    dsn, evil, victim = fresh_database(shop.server), tmp_path / "evil.sql.gz", tmp_path / "touched"
    evil.write_bytes(shop.theirs["guide"].read_bytes())
    rewrite(
        evil,
        lambda text: text.replace(b"\nCREATE SCHEMA tienda;", b"\n\\! touch %s\nCREATE SCHEMA tienda;" % bytes(victim)),
    )
    with pytest.raises(UsageError, match=r"holds \\!"):
        restore(evil, dsn)
    rewrite(evil, lambda text: text.replace(b"\\! touch %s" % bytes(victim), b"COMMIT;\nROLLBACK;"))
    rewrite(evil, lambda text: text.replace(b"CREATE TYPE tienda", b"SELECT 1/0;\nCREATE TYPE tienda"))
    with pytest.raises(RestoreError, match="division by zero"):  # and what came before it was not committed
        restore(evil, dsn)
    assert not victim.exists()
    assert query(dsn, "SELECT to_regnamespace('tienda')") is None


def test_missing_roles_refuse_unless_they_are_made_or_not_wanted(
    shop_of: Callable[[int], Shop], server_of: Callable[[int], Server], new_name: Callable[[Server], str]
) -> None:
    archive, server = shop_of(18).ours, server_of(16)
    with pytest.raises(RestoreError, match="no role pos_cajero") as refused:
        restore(archive, server.conninfo(), database=new_name(server), create=True)
    assert "--globals" in refused.value.hint
    name = new_name(server)
    with pytest.raises(RestoreError, match=r"POLICY tienda.ventas de_todos is for a role"):
        restore(archive, server.conninfo(), database=name, create=True, keep_owners=False)
    restored = restore(archive, server.conninfo(), database=name, create=True, with_globals=True)
    assert restored.plan.roles_made == ("pos_cajero",)
    assert query(server.conninfo(name), "SELECT has_table_privilege('pos_cajero', 'tienda.ventas', 'SELECT')") is True
    execute(server.conninfo(), f"DROP DATABASE {name}", "DROP ROLE pos_cajero")


def test_a_table_comes_with_all_that_is_its_own(
    shop: Shop, fresh_database: Callable[..., str], pg_dump: PgDump, tmp_path: Path
) -> None:
    """pg_restore -t brings the rows, and neither key, index, sequence, default, grant nor comment."""
    dsn = fresh_database(shop.server)
    restore(shop.ours, dsn)
    execute(dsn, "DROP MATERIALIZED VIEW tienda.resumen", "DROP TABLE tienda.partidas, tienda.ventas",
            "DROP SEQUENCE tienda.folio")  # fmt: skip
    restored = restore(shop.theirs["custom"], dsn, tables=("ventas",), database=None)
    assert restored.plan.leans_on == ("FUNCTION tienda.sellar()", "TABLE tienda.clientes", "TYPE tienda.estado")
    again = inventory_of(pg_dump(shop.server, dsn, tmp_path / "again.sql"))
    about = {
        (e.type, e.name, e.sha256)
        for e in shop.inventory.entries
        if e.schema == "tienda" and ("ventas" in e.name or e.name == "folio") and "partidas" not in e.name
    }
    assert {kind for kind, _, _ in about} >= {
        "TABLE", "SEQUENCE", "SEQUENCE OWNED BY", "DEFAULT", "CONSTRAINT", "INDEX", "FK CONSTRAINT", "TRIGGER",
        "POLICY", "ACL", "COMMENT",
    }  # fmt: skip
    assert about <= {(e.type, e.name, e.sha256) for e in again.entries}
    assert {(s.name, s.last_value) for s in again.sequences} >= {("ventas_id_seq", 300), ("folio", 399)}
    assert query(dsn, "SELECT count(*) FROM tienda.ventas") == 300


def test_a_table_says_what_it_could_not_bring(shop: Shop, new_name: Callable[[Server], str]) -> None:
    name = new_name(shop.server)
    restored = restore(shop.ours, shop.server.conninfo(), database=name, create=True, tables=("tienda.p*",))
    assert restored.plan.left_out == (
        "FK CONSTRAINT tienda.partidas partidas_venta_fk: needs TABLE tienda.ventas, which is not there",
        "COMMENT tienda.CONSTRAINT partidas_venta_fk ON partidas: what it is about is left out",
    )
    with pytest.raises(RestoreError, match=r"TABLE tienda.ventas needs TYPE tienda.estado"):
        restore(shop.ours, shop.server.conninfo(), database=name, tables=("ventas",))
    with pytest.raises(NoSuchArchiveError, match="Ventas"):
        restore(shop.ours, shop.server.conninfo(), database=name, tables=("Ventas",))


def test_a_partitioned_table_comes_with_its_partitions(shop: Shop, new_name: Callable[[Server], str]) -> None:
    dsn = shop.server.conninfo(new_name(shop.server))
    restore(shop.ours, shop.server.conninfo(), database=dsn.split("'")[-2], create=True, tables=("movimientos",))
    assert query(dsn, "SELECT count(*) FROM tienda.movimientos") == 60
    assert query(dsn, "SELECT count(*) FROM pg_inherits") == 4  # two tables, two indexes


def test_a_replaced_table_keeps_other_tables_keys_to_it(shop: Shop, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(shop.server)
    restore(shop.ours, dsn)
    execute(dsn, "UPDATE tienda.ventas SET nota = 'x'")
    with pytest.raises(RestoreError, match=r"materialized view tienda.resumen depends on table tienda.ventas"):
        restore(shop.ours, dsn, tables=("ventas",), clean=True)
    execute(dsn, "DROP MATERIALIZED VIEW tienda.resumen")
    restored = restore(shop.ours, dsn, tables=("ventas",), clean=True)
    assert restored.put_back == ("CONSTRAINT partidas_venta_fk ON tienda.partidas",)
    assert query(dsn, "SELECT count(*) FROM tienda.ventas WHERE nota = 'x'") == 0
    assert query(dsn, "SELECT obj_description(oid) FROM pg_constraint WHERE conname = 'partidas_venta_fk'")
    execute(dsn, "INSERT INTO tienda.ventas VALUES (999)", "INSERT INTO tienda.partidas VALUES (999, 1, 1)")
    with pytest.raises(RestoreError, match=r"violates foreign key constraint.*is as it was before"):
        restore(shop.ours, dsn, tables=("ventas",), clean=True)
    assert query(dsn, "SELECT count(*) FROM tienda.ventas") == 301


@pytest.mark.parametrize("is_foreign", [False, True], ids=["ours", "foreign"])
def test_an_archive_of_one_table_takes_the_place_of_that_table_alone(
    server: Server, fresh_database: Callable[..., str], pg_dump: PgDump, tmp_path: Path, *, is_foreign: bool
) -> None:
    """`pg_dump -t products`, and back with --clean: it emptied the whole database."""
    dsn = fresh_database(server)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE products (id serial PRIMARY KEY, name text)")
        conn.execute("INSERT INTO products (name) VALUES ('uno'), ('dos')")
        conn.execute("CREATE TABLE items (product int REFERENCES products); INSERT INTO items VALUES (1), (2)")
        conn.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT lo_from_bytea(0, 'logo')")
    if is_foreign:
        archive = pg_dump(server, dsn, tmp_path / "products_backup.sql", "-t", "products")
    else:
        archive = make_backup(dsn, tmp_path, tables=["products"]).path
    query(dsn, "UPDATE products SET name = 'tres' RETURNING 1")
    with pytest.raises(RestoreError, match=r"already there: TABLE public\.products\n"):
        restore(archive, dsn)
    restore(archive, dsn, clean=True)
    assert query(dsn, "SELECT string_agg(name, ' ' ORDER BY id) FROM products") == "uno dos"
    left = (
        "(SELECT count(*) FROM items), f(), (SELECT count(*) FROM pg_largeobject_metadata), nextval('products_id_seq')"
    )
    assert query(dsn, f"SELECT concat_ws(' ', {left})") == "2 1 1 3"
    assert query(dsn, "SELECT confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'") == "products"


def test_definitions_alone_do_not_cost_the_rows_that_are_there(
    server: Server, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE ventas (a int); INSERT INTO ventas VALUES (1); CREATE TABLE vacia (a int)")
    archive = make_backup(dsn, tmp_path, kind="schema").path
    with pytest.raises(RestoreError, match=r"holds no rows, and those of public\.ventas would be gone") as refused:
        restore(archive, dsn, clean=True)
    assert "--schema-only" in refused.value.hint
    assert query(dsn, "SELECT count(*) FROM ventas") == 1
    restore(archive, dsn, clean=True, what="schema")  # that is what was wanted
    assert query(dsn, "SELECT count(*) FROM ventas") == 0
    restore(archive, dsn, clean=True)  # and there are none to lose


def test_a_part_that_is_more_than_tables_never_empties_a_database(
    server: Server, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE items (a int); INSERT INTO items VALUES (1); CREATE SCHEMA ventas")
        conn.execute("CREATE TABLE ventas.v (a int); CREATE FUNCTION ventas.f() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    archive = make_backup(dsn, tmp_path, schemas=["ventas"]).path
    with pytest.raises(RestoreError, match=r"a part of a database, and .* is not empty"):
        restore(archive, dsn, clean=True)
    assert query(dsn, "SELECT count(*) FROM items") == 1
    restore(archive, dsn, clean=True, tables=("ventas.v",))
    assert query(dsn, "SELECT count(*) + ventas.f() FROM items") == 2


@pytest.mark.parametrize("form", ["ours", "inserts"])
def test_rows_alone_go_into_tables_with_keys_and_triggers(
    shop: Shop, fresh_database: Callable[..., str], form: str
) -> None:
    dsn = fresh_database(shop.server)
    restore(shop.ours, dsn, what="schema")
    assert query(dsn, "SELECT count(*) FROM tienda.clientes") == 0
    archive = shop.ours if form == "ours" else shop.theirs[form]
    restore(archive, dsn, what="data")
    assert query(dsn, "SELECT count(*) FROM tienda.ventas WHERE nota = 'sellada'") == 0
    assert query(dsn, "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == 3
    assert query(dsn, "SELECT tgenabled FROM pg_trigger WHERE tgname = 'sellar'") == "O"
    with pytest.raises(RestoreError, match=r"the rows of .*tienda.clientes.* are in the way"):
        restore(archive, dsn, what="data")
    execute(dsn, "UPDATE tienda.partidas SET importe = 0", "INSERT INTO tienda.ventas (id) VALUES (7000)")
    restore(archive, dsn, what="data", clean=True)
    assert query(dsn, "SELECT sum(importe) FROM tienda.partidas") == 45150


def test_rows_that_do_not_arrive_are_seen_and_rolled_back(shop: Shop, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(shop.server)
    restore(shop.ours, dsn, what="schema")
    execute(dsn, "CREATE RULE nada AS ON INSERT TO tienda.partidas DO INSTEAD NOTHING")
    with pytest.raises(RestoredOtherwiseError, match=r"tienda.partidas has 0 rows, the archive holds 300.*as it was"):
        restore(shop.theirs["inserts"], dsn, what="data")
    assert query(dsn, "SELECT count(*) FROM tienda.clientes") == 0


# The command


def pgdrill(*words: str | Path, dsn: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "BACKUP_"))}
    argv = [sys.executable, "-c", "from backup_lib.cli import main; main()", *map(str, words)]
    return subprocess.Popen(
        argv, env={**kept, "DATABASE_URL": dsn}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def said(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = program.communicate(timeout=120)
    assert "Margarita" not in out + err
    return program.returncode, out, err


def test_latest_is_of_the_database_that_is_restored_into(
    server: Server, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    own, other = fresh_database(server), fresh_database(server)
    execute(own, "CREATE TABLE mine (a int)")
    execute(other, "CREATE TABLE theirs (a int)")
    now = datetime.now(UTC)
    mine = make_backup(own, tmp_path, now=now - timedelta(seconds=5)).name
    theirs = make_backup(other, tmp_path, now=now).name  # as --all-databases does: the last one is anybody's
    unknown = fresh_database(server)
    files = str(conninfo_to_dict(unknown)["dbname"])  # configuration files that are called as the database is
    make_files_backup([__file__], tmp_path, name=files)
    for dsn, words, meant in (
        (own, (), mine),
        (own, ("--create-database", "nueva"), mine),
        (other, ("--to-database", str(conninfo_to_dict(own)["dbname"])), mine),
        (unknown, (), theirs),
    ):
        status, out, err = said(pgdrill("restore", "latest", "--dry-run", "--backups", tmp_path, *words, dsn=dsn))
        assert meant in out + err, (words, status, out, err)


def test_the_plan_comes_first_and_alone_if_asked(shop: Shop, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(shop.server)
    status, out, _ = said(pgdrill("restore", shop.ours, "--dry-run", dsn=dsn))
    assert status == 0
    assert "710 in 5 tables" in out
    assert "in one transaction" in out
    assert query(dsn, "SELECT to_regnamespace('tienda')") is None
    status, out, _ = said(pgdrill("restore", shop.ours, dsn=dsn))
    assert status == 0
    assert "counted again: 710 rows in 5 tables, 3 sequences, all as in the archive" in out
    status, out, err = said(pgdrill("restore", shop.ours, dsn=dsn))
    assert (status, "REFUSED" in out) == (3, True)
    assert "not empty" in err


@pytest.mark.parametrize("create", [True, False], ids=["new", "existing"])
def test_an_interrupted_restore_says_how_the_target_is(
    shop: Shop, new_name: Callable[[Server], str], fresh_database: Callable[..., str], tmp_path: Path,
    create: bool,  # noqa: FBT001
) -> None:  # fmt: skip
    slow, dsn = tmp_path / "slow.sql.gz", fresh_database(shop.server)
    slow.write_bytes(shop.theirs["guide"].read_bytes())
    rewrite(
        slow,
        lambda text: text.replace(
            b"ADD CONSTRAINT partidas_pkey", b"ADD CHECK (pg_sleep(60) IS NULL), ADD CONSTRAINT partidas_pkey"
        ),
    )
    name = new_name(shop.server)
    program = pgdrill("restore", slow, *(["--create-database", name] if create else []), dsn=dsn)
    for _ in range(300):
        if query(shop.server.conninfo(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
            break
        time.sleep(0.05)
    begun = time.monotonic()
    program.send_signal(signal.SIGTERM)
    status, _, err = said(program)
    assert time.monotonic() - begun < 20
    assert status == 130
    assert "interrupted; " + (f"the new database {name} was dropped" if create else "") in err
    assert name not in databases(shop.server)
    assert query(dsn, "SELECT to_regnamespace('tienda')") is None


def test_interrupted_when_it_is_restored_it_says_that_it_is(shop: Shop, fresh_database: Callable[..., str]) -> None:
    dsn = fresh_database(shop.server)
    with psycopg.connect(dsn) as holder:
        holder.execute("LOCK TABLE pg_catalog.pg_statistic IN SHARE MODE")  # what ANALYZE alone waits for
        program = pgdrill("restore", shop.ours, "--table", "tienda.partidas", dsn=dsn)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ANALYZE%'"
        for _ in range(600):
            if query(shop.server.conninfo(), waiting):
                break
            time.sleep(0.05)
        program.send_signal(signal.SIGTERM)
        status, _, err = said(program)
    assert status == 130
    assert "is restored and checked; only planner statistics are lacking" in err
    assert query(dsn, "SELECT count(*) FROM tienda.partidas") == 300


def test_what_a_killed_restore_left_is_known_for_what_it_is(shop: Shop, new_name: Callable[[Server], str]) -> None:
    name = new_name(shop.server)
    execute(shop.server.conninfo(), f"CREATE DATABASE {name}", f"COMMENT ON DATABASE {name} IS '{UNFINISHED}'")
    with pytest.raises(RestoreError, match="exists already, left incomplete by a restore that was killed") as failed:
        restore(shop.ours, shop.server.conninfo(), database=name, create=True)
    assert failed.value.hint == f'DROP DATABASE "{name}"'


def test_a_database_that_somebody_else_makes_meanwhile_is_theirs(shop: Shop, new_name: Callable[[Server], str]) -> None:
    name = new_name(shop.server)
    prepared = prepare(Request(archive=shop.ours, dsn=shop.server.conninfo(), database=name, create=True))
    execute(shop.server.conninfo(), f"CREATE DATABASE {name}")
    execute(shop.server.conninfo(name), "CREATE TABLE theirs AS SELECT 1 AS a")
    with pytest.raises(RestoreError, match="somebody else has just made one of that name; nothing was changed"):
        carry_out(prepared)
    assert query(shop.server.conninfo(name), "SELECT count(*) FROM theirs") == 1


def test_many_sessions_into_an_existing_database_leave_a_part_and_say_so(
    shop: Shop, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    dsn, broken = fresh_database(shop.server), tmp_path / "broken.sql.gz"
    broken.write_bytes(shop.theirs["guide"].read_bytes())
    rewrite(broken, lambda text: text.replace(b"\n2\t1\t2.00\n", b"\n1\t1\t2.00\n"))
    with pytest.raises(RestoreError, match=r"which was empty, is incomplete now: restore again with --clean"):
        restore(broken, dsn, jobs=2)
    with pytest.raises(RestoreError, match="is not empty, so it is restored into in one transaction"):
        restore(shop.ours, dsn, jobs=2, clean=True)
    assert restore(shop.ours, dsn, clean=True).rows_counted == 710


def test_errors_survive_with_their_kind(shop: Shop) -> None:
    with pytest.raises(BackupError, match="has no database nada") as failed:
        restore(shop.ours, shop.server.conninfo("nada"))
    assert failed.value.hint == "make it meanwhile: --create-database nada"
