"""Programs that lie, fail or hang, and dumps that were made or restored in a way that loses something."""

from __future__ import annotations

import gzip
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from drilling import DrillOf, PgDump, execute, put, reseal, rewrite, told

from backup_lib.backup import BackupResult, make_backup, record_manifest
from backup_lib.dump_reader import read_inventory
from backup_lib.dump_text import open_dump_text
from backup_lib.errors import BackupError, ProgramError, StoreError
from backup_lib.inventory import Inventory
from backup_lib.manifest import SUFFIX, Manifest, render_manifest
from backup_lib.replicas import back_up_to
from backup_lib.servers import Server
from backup_lib.store import LocalStore, Store
from verification.evidence.record import Record

pytestmark = pytest.mark.postgres

SHOP = """
CREATE SCHEMA otro;
CREATE TABLE ventas (id int PRIMARY KEY, nota text);
INSERT INTO ventas SELECT i, 'nota ' || i FROM generate_series(1, 200) i;
CREATE INDEX por_nota ON ventas (nota); CREATE TABLE "Orders" (a int); CREATE TABLE orders (a int);
INSERT INTO "Orders" VALUES (1); INSERT INTO orders VALUES (2);
CREATE TABLE secretos (id int PRIMARY KEY); INSERT INTO secretos SELECT generate_series(1, 100);
ALTER TABLE secretos ENABLE ROW LEVEL SECURITY; CREATE POLICY pocos ON secretos USING (id <= 10);
CREATE TABLE partes (dia date) PARTITION BY RANGE (dia);
CREATE TABLE partes_2024 PARTITION OF partes FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO partes SELECT date '2024-01-01' + i FROM generate_series(1, 30) i;
CREATE UNLOGGED TABLE pasajera (a int); INSERT INTO pasajera SELECT generate_series(1, 5);
SELECT lo_from_bytea(777, 'un documento');
CREATE TABLE cuentas (a int, b int, c int, d text COMPRESSION pglz,
    CONSTRAINT de_venta FOREIGN KEY (a) REFERENCES ventas, CONSTRAINT reglas CHECK (((a > 0) OR (b > 0)) AND (c > 0)));
CREATE DOMAIN corto AS text; CREATE VIEW algunos AS SELECT dia FROM partes WHERE dia IS NOT NULL;
CREATE SEQUENCE tickets; SELECT setval('tickets', 3);
CREATE VIEW dias AS SELECT dia::text::date AS dia FROM partes;
"""


@pytest.fixture(scope="module")
def shop(server: Server) -> Iterator[str]:
    execute(server.conninfo(), "CREATE DATABASE programas", "CREATE ROLE limitada LOGIN")
    dsn = server.conninfo("programas")
    execute(
        dsn, SHOP, *(f"GRANT SELECT ON ALL {what} IN SCHEMA public TO limitada" for what in ("TABLES", "SEQUENCES"))
    )
    yield dsn
    execute(server.conninfo(), "DROP DATABASE programas WITH (FORCE)", "DROP ROLE limitada")


@pytest.fixture(scope="module")
def promise(shop: str) -> Manifest:
    """What a full archive of the shop must hold, recorded for one that somebody else makes."""
    return record_manifest(shop)


def beside(path: Path, promise: Manifest) -> Path:
    path.with_name(path.name + SUFFIX).write_bytes(render_manifest(promise))
    return path


def faults(record: Record) -> str:
    assert record.verdict == "failed", told(record)
    return "\n".join(
        f"{f.check} {f.object}: {f.expected} | {f.actual}" for f in record.findings if f.status == "fault" and f.hint
    )


# Dumps that end with 0 and lack something


@pytest.mark.parametrize(
    ("options", "named"),
    [
        pytest.param(["--schema=public"], ["large-objects large object 777"], id="row-25-large-objects"),
        pytest.param(
            ["--table=partes", "--table=ventas"], ["row-count public.partes_2024: 30"], id="row-26-partitions"
        ),
        pytest.param(
            ["--exclude-table=Orders"], ["row-count public.orders: 1", "table public.orders"], id="row-27-folded"
        ),
        pytest.param(["--no-unlogged-table-data"], ["row-count public.pasajera: 5"], id="row-33-unlogged"),
    ],
)
def test_what_options_of_pg_dump_left_out_is_named(
    server: Server, shop: str, promise: Manifest, pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path,
    options: list[str], named: list[str],
) -> None:  # fmt: skip
    """Rows 25, 26, 27 and 33: pg_dump ends with 0 on each."""
    said = faults(drill_of(beside(pg_dump(server, shop, tmp_path / "db.sql", *options), promise)))
    assert all(what in said for what in named), said


def test_a_dump_that_row_security_filtered_is_named(
    server: Server, shop: str, promise: Manifest, pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 24: the role of the backup sees 10 rows of 100."""
    limited = psycopg.conninfo.make_conninfo(shop, user="limitada")
    options = ("--enable-row-security", "--exclude-table=pasajera", "--no-large-objects")
    said = faults(drill_of(beside(pg_dump(server, limited, tmp_path / "db.sql", *options), promise)))
    assert "row-count public.secretos: 100 rows | 10 rows in the archive" in said, said
    with pytest.raises(BackupError, match=r"row-level security would hide rows .*secretos"):
        make_backup(limited, tmp_path / "own")


def test_a_table_that_pg_restore_brought_alone_is_named_with_what_it_lacks(
    server: Server, shop: str, promise: Manifest, pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 28: 200 rows, no index, no key, exit status 0."""
    whole = pg_dump(server, shop, tmp_path / "whole.dump", "--format=custom")
    alone = tmp_path / "alone.sql"
    argv = [str(server.programs.program("pg_restore")), "--table=ventas", f"--file={alone}", str(whole)]
    subprocess.run(argv, check=True, capture_output=True, env=dict(server.programs.env) or None)
    said = faults(drill_of(beside(alone, promise)))
    assert "catalog index public.por_nota: there, as at the source | not there" in said, said
    assert "table constraint ventas_pkey on public.ventas" in said, said


def test_an_exit_status_lost_in_a_pipe_leaves_a_sound_file_of_nothing(
    promise: Manifest, drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 2: 20 bytes that gunzip -t calls OK; with and without a manifest."""
    path = tmp_path / "db.sql.gz"
    path.write_bytes(gzip.compress(b"", mtime=0))
    assert len(path.read_bytes()) == 20
    assert "completeness dump" in faults(drill_of(path, level="integrity"))
    assert "completeness dump" in faults(drill_of(beside(path, promise), level="integrity"))


def test_a_restore_that_ends_well_and_restores_nothing_is_seen_by_counting(
    shop: str, drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 12: every statement is accepted, and one of them empties a table."""
    path = make_backup(shop, tmp_path).path
    assert path
    rewrite(path, put(rb"(^CREATE INDEX por_nota [^\n]*\n)", rb"\1TRUNCATE public.ventas;\n"))
    reseal(path, lying=True)
    assert "row-count public.ventas: 200 rows | 0 rows restored" in faults(drill_of(path))


@pytest.mark.parametrize("major", [14])
def test_a_dump_by_a_newer_pg_dump_is_verified_in_the_sources_major(
    server_of: Callable[[int], Server], server: Server, fresh_database: Callable[..., str], pg_dump: PgDump,
    drill_of: DrillOf, tmp_path: Path, major: int,
) -> None:  # fmt: skip
    """Rows 35 and 36: it sets transaction_timeout, unknown to the older server, and writes restrict lines."""
    dsn = fresh_database(server_of(major))
    execute(dsn, "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)")
    path = pg_dump(server, dsn, tmp_path / "db.sql")
    text = path.read_text()
    assert "SET transaction_timeout" in text
    assert "\\restrict" in text
    record = drill_of(path)
    assert record.verdict == "verified", told(record)


def test_two_dumps_of_one_database_differ_in_bytes_and_promise_the_same(
    server: Server, shop: str, promise: Manifest, pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path
) -> None:
    """Row 36: the manifest was recorded with another dump, whose restrict key is another."""
    first, second = (pg_dump(server, shop, tmp_path / name) for name in ("one.sql", "two.sql"))
    assert first.read_bytes() != second.read_bytes()
    record = drill_of(beside(first, promise))
    assert record.verdict == "verified", told(record)


# Programs that lie, fail or hang


@pytest.fixture
def shim(server: Server, tmp_path: Path) -> Callable[[str], Server]:
    """`shim(script)`: the server, whose pg_dump is a shell script in which $PG_DUMP is the real one."""

    def shim(script: str) -> Server:
        folder = tmp_path / "bin"
        folder.mkdir()
        set_up = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in server.programs.env.items())
        for name in ("pg_dump", "pg_restore"):
            real = shlex.quote(str(server.programs.program(name)))
            run = f"PG_DUMP={real}\n{script}" if name == "pg_dump" else f'exec {real} "$@"'
            (folder / name).write_text(f"#!/bin/sh\n{set_up}{run}\n")
            (folder / name).chmod(0o755)
        return replace(server, programs=replace(server.programs, bin_dir=folder))

    return shim


def published(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.endswith("_lock")] if folder.is_dir() else []


FORMATS = ["plain", "custom", "directory", "tar"]


NO_VENTAS = r"no rows of public\.ventas, .*200"


@pytest.mark.parametrize(
    ("format", "loses", "named"),
    [
        *(pytest.param(form, "--exclude-table-data=ventas", NO_VENTAS, id=f"all-rows-{form}") for form in FORMATS),
        pytest.param("custom", "--exclude-table=ventas", NO_VENTAS, id="table"),
        pytest.param("tar", "--schema-only", r"no rows of .*7 tables differ", id="all-data"),
        pytest.param("plain", "--exclude-schema=public", r"no rows of .*7 tables differ", id="schema"),
    ],
)
def test_a_pg_dump_that_loses_rows_publishes_nothing(
    shop: str, shim: Callable[[str], Server], tmp_path: Path, format: str, loses: str, named: str
) -> None:
    lying = shim(f'exec "$PG_DUMP" "$@" {loses}').programs
    with pytest.raises(ProgramError, match=named) as caught:
        make_backup(shop, tmp_path / "out", format=format, programs=lying)  # type: ignore[arg-type]
    assert "doctor" in caught.value.hint
    assert published(tmp_path / "out") == []


LIES = {
    "index": ("/^CREATE INDEX por_nota/d", "index public.por_nota"),
    "grant": ("/^GRANT SELECT ON TABLE public.ventas/d", "table public.ventas: privileges"),
    "policy": ("s/(id <= 10)/(id <= 99)/", "policy pocos on public.secretos"),
    "parentheses": (
        "s/((((a > 0) OR (b > 0)) AND (c > 0)))/(((a > 0) OR ((b > 0) AND (c > 0))))/",
        "table constraint reglas on public.cuentas",
    ),
    "cast": ("s/((dia)::text)::date/((dia)::text)::timestamp::date/", "view public.dias"),
    "limit": ("s/^  WHERE (dia IS NOT NULL);/  WHERE (dia IS NOT NULL) LIMIT 9;/", "view public.algunos"),
    "cascade": (
        "s/REFERENCES public.ventas(id);/REFERENCES public.ventas(id) ON DELETE CASCADE;/",
        "table constraint de_venta on public.cuentas",
    ),
    "domain": (
        "s/CREATE DOMAIN public.corto AS text;/CREATE DOMAIN public.corto AS text NOT NULL;/",
        "type public.corto",
    ),
    "compression": ("/SET COMPRESSION/d", "table public.cuentas: columns"),
    "row-security": ("/ENABLE ROW LEVEL SECURITY/d", "table public.secretos: row security"),
}


def test_a_pg_dump_that_loses_what_is_no_row_is_found_out_by_the_drill(
    shop: str, shim: Callable[[str], Server], drill_of: DrillOf, tmp_path: Path
) -> None:
    script = " ".join(f"-e {shlex.quote(edit)}" for edit, _ in LIES.values())
    lying = shim(f'"$PG_DUMP" "$@" | sed {script}').programs
    path = make_backup(shop, tmp_path / "out", programs=lying).path
    assert path
    said = faults(drill_of(path))
    assert all(named in said for _, named in LIES.values()), said


@pytest.mark.parametrize("format", ["plain", "custom"])
def test_a_pg_dump_that_alters_a_value_is_found_out_by_the_drill(
    shop: str, shim: Callable[[str], Server], drill_of: DrillOf, tmp_path: Path, format: str
) -> None:
    """As many rows, and a manifest that agrees: only the source's own sum of its rows tells."""
    if format == "plain":
        lying = shim('"$PG_DUMP" "$@" | sed "s/^7\tnota 7$/7\tnota 8/; s/^2024-01-09$/2024-02-09/"').programs
        path = make_backup(shop, tmp_path / "out", programs=lying).path
        named = {"public.ventas", "public.partes", "public.partes_2024"}
    else:  # what is in a custom archive cannot be altered by a filter: another database is dumped instead
        with psycopg.connect(shop, autocommit=True) as connection:
            connection.execute("CREATE DATABASE otras TEMPLATE programas")
        other = psycopg.conninfo.make_conninfo(shop, dbname="otras")
        execute(
            other,
            "UPDATE ventas SET nota = '' WHERE id = 7; UPDATE ventas SET nota = NULL WHERE id = 9",
            "SELECT lo_put(777, 3, 'O')",
        )
        manifest = record_manifest(shop)
        path = make_backup(other, tmp_path / "out", format="custom").path
        execute(shop, "DROP DATABASE otras WITH (FORCE)")
        assert path
        beside(path, replace(manifest, inventory=make_inventory(path)))
        named = {"public.ventas", "large objects"}
    assert path
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    assert {f.object for f in record.findings if f.status == "fault"} == named, told(record)


def test_a_pg_dump_that_alters_a_sequence_publishes_nothing(
    shop: str, shim: Callable[[str], Server], tmp_path: Path
) -> None:
    lying = shim('"$PG_DUMP" "$@" | sed "s/\'public.tickets\', 3, true/\'public.tickets\', 2, true/"').programs
    with pytest.raises(ProgramError, match=r"public\.tickets stands at 2, and it stands at 3"):
        make_backup(shop, tmp_path / "out", programs=lying)
    assert published(tmp_path / "out") == []


def make_inventory(path: Path) -> Inventory:
    with open_dump_text(path) as chunks:
        return read_inventory(chunks)


def test_without_the_second_reading_the_record_says_what_is_not_proved(
    shop: str, drill_of: DrillOf, tmp_path: Path
) -> None:
    path = make_backup(shop, tmp_path, independent_content=False).path
    assert path
    record = drill_of(path)
    assert record.verdict == "verified", told(record)
    assert [f.actual for f in record.findings if f.check == "content" and "altered no value" in f.why], told(record)


@pytest.mark.parametrize("format", ["plain", "directory"])
@pytest.mark.parametrize(
    ("script", "named"),
    [
        pytest.param("kill -9 $$", "SIGKILL", id="killed"),
        pytest.param('"$PG_DUMP" "$@" && exit 7', "exited 7", id="fails-when-done"),
        pytest.param("echo no connection >&2; exit 1", "no connection", id="fails"),
        pytest.param("exit 0", ".", id="writes-nothing"),
        pytest.param('"$PG_DUMP" "$@" --file=/dev/null; head -c 9999 /dev/urandom; exit 0', ".", id="writes-garbage"),
        pytest.param('exec "$PG_DUMP" "$@" --no-such-option', "no-such-option", id="does-not-know-an-option"),
    ],
)
def test_a_pg_dump_that_fails_leaves_no_half_archive(
    shop: str, shim: Callable[[str], Server], tmp_path: Path, format: str, script: str, named: str
) -> None:
    broken = shim(script).programs
    with pytest.raises(BackupError, match=named):
        make_backup(shop, tmp_path / "out", format=format, programs=broken)  # type: ignore[arg-type]
    assert published(tmp_path / "out") == []


@pytest.mark.parametrize("format", ["plain", "custom"])
def test_a_pg_dump_that_waits_for_a_lock_gives_up_by_name(
    shop: str, shim: Callable[[str], Server], tmp_path: Path, format: str
) -> None:
    """Its limit is minutes; the shim's is shorter."""
    impatient = shim('exec "$PG_DUMP" "$@" --lock-wait-timeout=300ms').programs
    with psycopg.connect(shop) as other:
        other.execute("LOCK TABLE ventas IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ProgramError, match=r"ventas|lock timeout"):
            make_backup(shop, tmp_path / "out", format=format, programs=impatient)  # type: ignore[arg-type]
    assert published(tmp_path / "out") == []


def test_a_full_disk_leaves_no_half_archive(shop: str, tmp_path: Path) -> None:
    """Row 9: a file may not grow beyond 3 kB, as where the disk is full."""
    code = (
        "import sys; from pathlib import Path; from backup_lib.backup import make_backup\n"
        "make_backup(sys.argv[1], Path(sys.argv[2]), compression='none')\n"
    )

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    argv = [sys.executable, "-c", code, shop, str(tmp_path / "out")]
    ended = subprocess.run(argv, preexec_fn=small, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "StoreError" in ended.stderr
    assert published(tmp_path / "out") == []


@pytest.mark.parametrize("format", ["custom", "directory", "tar"])
def test_a_disk_that_is_full_for_pg_dump_is_that_places_fault(
    shop: str, shim: Callable[[str], Server], tmp_path: Path, format: str
) -> None:
    """Where pg_dump writes itself; the next place gets the archive. A full disk of the server's is no place's fault."""
    said = "pg_dump: error: could not write to output file: No space left on device"
    tried = f'case "$*" in *first*) echo "{said}" >&2; exit 1;; esac; exec "$PG_DUMP" "$@"'
    programs = shim(tried).programs

    def make(place: Store) -> BackupResult:
        return make_backup(shop, place, format=format, programs=programs)  # type: ignore[arg-type]

    places = [LocalStore(tmp_path / "first"), LocalStore(tmp_path / "second")]
    result, replicas = back_up_to(places, make)
    assert [replica.status for replica in replicas] == ["failed", "copied"]
    assert replicas[0].detail.startswith(str(tmp_path / "first"))
    assert replicas[0].detail.endswith(": No space left on device")
    assert published(tmp_path / "first") == []
    assert result.name in published(tmp_path / "second")
    with pytest.raises(StoreError) as caught:
        make(places[0])
    assert caught.value.hint.startswith("free some space")


def test_a_full_disk_of_the_servers_is_not_the_places(shop: str, shim: Callable[[str], Server], tmp_path: Path) -> None:
    said = 'pg_dump: error: query failed: ERROR:  could not write to file "base/1": No space left on device'
    programs = shim(f"echo '{said}' >&2; exit 1").programs
    with pytest.raises(ProgramError, match="query failed"):
        make_backup(shop, tmp_path / "out", format="custom", programs=programs)


def test_a_stale_archive_misses_its_objective_and_an_archive_of_another_day_is_seen(
    server: Server, shop: str, drill_of: DrillOf, tmp_path: Path
) -> None:
    """Rows 38 and 43: how old the data is and how long the restore took are held against what was promised."""
    path = make_backup(shop, tmp_path).path
    assert path
    yesterday = tmp_path / "yesterday"
    yesterday.mkdir()
    shutil.copy(path, yesterday)
    execute(shop, "INSERT INTO orders VALUES (3)")
    today = make_backup(shop, tmp_path / "today").path
    execute(shop, "DELETE FROM orders WHERE a = 3")
    assert today
    shutil.copy(today.with_name(today.name + SUFFIX), (yesterday / path.name).with_name(path.name + SUFFIX))
    reseal(yesterday / path.name)
    record = drill_of(yesterday / path.name, rpo_s=0.001, rto_s=0.001)
    assert "row-count public.orders: 2 rows | 1 row in the archive" in faults(record)
    assert (record.rpo.met, record.rto.met) == (False, False)
