"""Making archives: what is published is what was there, and nothing else is ever published."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backup_lib import backup, backup_plan
from backup_lib.archive import HEAD_BYTES, detect_path, dump_version_of
from backup_lib.backup import BackupOptions, make_backup, record_manifest
from backup_lib.backup_plan import plan_backup
from backup_lib.catalog import list_archives, resolve
from backup_lib.codec import open_text
from backup_lib.dump_reader import read_inventory
from backup_lib.dump_text import digest_archive, open_dump_text
from backup_lib.errors import LockedError, ProgramError, SourceError, StoreError, UsageError
from backup_lib.manifest import SUFFIX, parse_manifest
from backup_lib.process import run, stream
from backup_lib.server_programs import Programs
from backup_lib.servers import Server
from backup_lib.source import open_source
from backup_lib.store import LocalStore
from verification.identity import mismatches

pytestmark = pytest.mark.postgres

EVERY_OBJECT = Path(__file__).with_name("every_object.sql").read_bytes()
NOW = datetime(2025, 9, 23, 2, 0, 0, tzinfo=UTC)


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def psql(server: Server, dsn: str, text: bytes) -> None:
    argv = [server.programs.program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", dsn]
    run(argv, env=server.programs.env, stdin=text, timeout_s=120)


def shim(programs: Programs, folder: Path, script: str) -> Programs:
    """The same programs, but pg_dump is a shell script in which $PG_DUMP is the real one."""
    folder.mkdir()
    real = shlex.quote(str(programs.program("pg_dump")))
    libraries = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in programs.env.items())
    (folder / "pg_dump").write_text(f"#!/bin/sh\n{libraries}PG_DUMP={real}\n{script}\n")
    (folder / "pg_dump").chmod(0o755)
    (folder / "pg_restore").write_text(
        f'#!/bin/sh\n{libraries}exec {shlex.quote(str(programs.program("pg_restore")))} "$@"\n'
    )
    (folder / "pg_restore").chmod(0o755)
    return replace(programs, bin_dir=folder)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith("_lock"))


@pytest.fixture
def shop(server: Server, fresh_database: Callable[..., str]) -> str:
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE ventas (id int PRIMARY KEY, nota text)", "CREATE TABLE vacia (a int)")
    execute(dsn, "INSERT INTO ventas SELECT i, 'nota ' || i FROM generate_series(1, 500) i")
    return dsn


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param({}, id="plain"),
        pytest.param({"compression": "zstd"}, id="zstd"),
        pytest.param({"compression": "none", "create": True}, id="create"),
        pytest.param({"format": "custom"}, id="custom"),
        pytest.param({"format": "directory", "jobs": 2}, id="directory"),
        pytest.param({"format": "tar"}, id="tar"),
        pytest.param({"kind": "schema"}, id="schema"),
        pytest.param({"kind": "data"}, id="data"),
        pytest.param({"schemas": ["public"]}, id="one-schema"),
        pytest.param({"tables": ["Venta"], "format": "custom", "compression": "none"}, id="partitioned-table"),
    ],
)
def test_an_archive_is_what_its_manifest_says(
    every_server: Server, fresh_database: Callable[..., str], tmp_path: Path, wanted: dict[str, Any]
) -> None:
    dsn = fresh_database(every_server)
    psql(every_server, dsn, EVERY_OBJECT)
    result = make_backup(dsn, tmp_path / "backups", **wanted)
    path = result.path
    assert path
    manifest = parse_manifest((path.parent / (path.name + SUFFIX)).read_bytes())
    facts = manifest.archive
    assert manifest == result.manifest
    assert facts
    assert (facts.size_bytes, facts.sha256) == digest_archive(path)
    content = detect_path(path)
    assert content.format == facts.format
    if content.format != "plain":
        toc = path / "toc.dat" if path.is_dir() else path
        assert dump_version_of(toc.read_bytes()[:HEAD_BYTES], content) == manifest.tools["pg_dump"]
    with open_dump_text(path) as chunks:
        inventory = read_inventory(chunks)
    assert inventory == manifest.inventory
    archived = {table.label: table.rows for table in inventory.tables}
    assert archived.items() <= manifest.row_counts.items()
    assert bool(archived) == (facts.kind != "schema")
    assert bool(manifest.catalog) == (facts.kind != "data")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.rglob("*") if file.is_file()}
    assert modes == {0o600}
    (found,) = list_archives(path.parent)
    assert (found.taken_at, found.kind) == (manifest.source.snapshot_at, facts.kind)


def test_the_default_archive_is_restored_by_gunzip_and_psql(
    every_server: Server, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    original, restored = fresh_database(every_server), fresh_database(every_server)
    psql(every_server, original, EVERY_OBJECT)
    result = make_backup(original, tmp_path)
    assert result.name.endswith(".sql.gz")
    psql(
        every_server,
        restored,
        subprocess.run(["gunzip", "-c", str(result.path)], check=True, capture_output=True).stdout,
    )
    with open_source(restored) as session:
        assert session.catalog() == result.manifest.catalog


def test_counts_are_of_the_archives_own_snapshot_while_others_write(server: Server, shop: str, tmp_path: Path) -> None:
    ended = threading.Event()

    def write(number: int) -> None:
        with psycopg.connect(shop, autocommit=True) as conn, suppress(psycopg.errors.DeadlockDetected):
            turn = 0
            while not ended.is_set():
                turn += 1
                key = 1000 + number * 1_000_000 + turn
                conn.execute("INSERT INTO ventas VALUES (%s, 'x'), (-%s, 'y')", [key, key])
                conn.execute("DELETE FROM ventas WHERE id = %s", [turn % 500])
                conn.execute("INSERT INTO vacia SELECT generate_series(1, 3)")
                if turn % 50 == 0:
                    conn.execute("TRUNCATE vacia")

    writers = [threading.Thread(target=write, args=[number]) for number in range(3)]
    for writer in writers:
        writer.start()
    try:
        results = [make_backup(shop, tmp_path) for _ in range(20)]
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    assert len({result.name for result in results}) == 20
    rows = []
    for result in results:
        inventory = result.manifest.inventory
        assert inventory
        archived = {table.label: table.rows for table in inventory.tables}
        assert result.manifest.row_counts == archived
        rows.append(archived["public.ventas"])
    assert len(set(rows)) > 10  # they did write


def test_a_pg_dump_that_loses_a_row_publishes_nothing(server: Server, shop: str, tmp_path: Path) -> None:
    lying = shim(server.programs, tmp_path / "bin", '"$PG_DUMP" "$@" | sed \'/^250\t/d\'')
    with pytest.raises(ProgramError, match=r"wrote 499 rows of public\.ventas, .* holds 500"):
        make_backup(shop, tmp_path / "backups", programs=lying)
    assert left_in(tmp_path / "backups") == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param('"$PG_DUMP" "$@" | head -c 900', "has no end|still|stops", id="cut-short-and-exit-0"),
        pytest.param('"$PG_DUMP" "$@"; echo lost connection >&2; exit 1', "lost connection", id="fails-at-the-end"),
        pytest.param("echo no such luck >&2; exit 3", "no such luck", id="fails-at-once"),
    ],
)
def test_a_pg_dump_that_fails_publishes_nothing(
    server: Server, shop: str, tmp_path: Path, script: str, message: str
) -> None:
    broken = shim(server.programs, tmp_path / "bin", script)
    with pytest.raises(ProgramError, match=message):
        make_backup(shop, tmp_path / "backups", programs=broken)
    assert left_in(tmp_path / "backups") == []


def test_what_pg_dump_warns_of_is_kept(server: Server, fresh_database: Callable[..., str], tmp_path: Path) -> None:
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY REFERENCES a)",
        "ALTER TABLE a ADD FOREIGN KEY (id) REFERENCES b",
    )
    warnings = make_backup(dsn, tmp_path, kind="data").warnings
    assert any("circular foreign-key" in warning for warning in warnings)


def test_a_table_truncated_meanwhile_is_counted_in_the_archive_and_that_is_said(
    server: Server, shop: str, tmp_path: Path
) -> None:
    waiting, go = tmp_path / "waiting", tmp_path / "go"
    slow = shim(
        server.programs,
        tmp_path / "bin",
        f'touch {waiting}; while [ ! -e {go} ]; do sleep 0.05; done; exec "$PG_DUMP" "$@"',
    )

    def truncate() -> None:
        while not waiting.exists():
            time.sleep(0.02)
        time.sleep(0.3)  # by now the two tables are counted
        execute(shop, "TRUNCATE ventas")
        go.touch()

    thread = threading.Thread(target=truncate)
    thread.start()
    result = make_backup(shop, tmp_path / "backups", format="custom", programs=slow)
    thread.join()
    assert result.manifest.row_counts["public.ventas"] == 0
    assert any("public.ventas was truncated" in warning for warning in result.warnings)


def test_an_interrupted_backup_leaves_what_was_there(server: Server, shop: str, tmp_path: Path) -> None:
    before = make_backup(shop, tmp_path, now=NOW)
    kept = left_in(tmp_path)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_backup(shop, tmp_path, now=NOW, progress=interrupt)
    assert left_in(tmp_path) == kept == [before.name, before.name + SUFFIX]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_backup_leaves_no_archive_and_the_next_one_clears_up(
    server: Server, shop: str, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "backups"
    code = (
        "import sys, time; from pathlib import Path; from backup_lib.backup import make_backup\n"
        "def wait(_):\n    print('writing', flush=True); time.sleep(60)\n"
        "make_backup(sys.argv[1], Path(sys.argv[2]), progress=wait)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, shop, folder], stdout=subprocess.PIPE) as victim:
        assert victim.stdout
        assert victim.stdout.readline() == b"writing\n"
        with pytest.raises(LockedError, match="another run"):
            make_backup(shop, folder)
        os.kill(victim.pid, number)
    assert list_archives(folder) == []
    assert all(name.endswith(".partial") for name in left_in(folder))
    result = make_backup(shop, folder)
    assert left_in(folder) == [result.name, result.name + SUFFIX]


_KILLED = """
import os, sys
from pathlib import Path
from backup_lib.backup import make_backup
left, fsync = int(sys.argv[1]), os.fsync
def killing(descriptor):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    fsync(descriptor)
os.fsync = killing
make_backup(sys.argv[2], Path(sys.argv[3]), format=sys.argv[4])
"""


@pytest.mark.parametrize("format", ["plain", "directory"])
def test_killed_at_any_moment_there_is_no_archive_without_its_manifest(
    server: Server, shop: str, tmp_path: Path, format: str
) -> None:
    """Such a one would be somebody else's from then on, of which nothing is promised."""
    ended, count = False, 0
    while not ended:
        folder = tmp_path / str(count)
        killed = subprocess.run([sys.executable, "-c", _KILLED, str(count), shop, folder, format], check=False)
        ended = killed.returncode == 0
        there = list_archives(folder)
        assert all(found.has_manifest for found in there), count
        result = make_backup(shop, folder, now=NOW)
        expected = sorted(
            f"{name}{suffix}" for name in (result.name, *(f.name for f in there)) for suffix in ("", SUFFIX)
        )
        assert left_in(folder) == expected, count
        count += 1
    assert count > 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_clears_up_and_exits_130(
    server: Server, fresh_database: Callable[..., str], tmp_path: Path, number: signal.Signals
) -> None:
    dsn, folder = fresh_database(server), tmp_path / "backups"
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'public.held'::regclass"
    argv = [sys.executable, "-c", "from backup_lib.cli import main; main()", "backup", "--to", str(folder)]
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn, autocommit=True) as watcher:
        watcher.execute("CREATE TABLE public.held (id int)")
        holder.execute("LOCK TABLE public.held IN ACCESS EXCLUSIVE MODE")
        with subprocess.Popen(argv, env={**os.environ, "DATABASE_URL": dsn}, stderr=subprocess.PIPE) as program:
            until = time.monotonic() + 30
            while watcher.execute(waiting).fetchone() == (0,) and time.monotonic() < until:
                time.sleep(0.02)
            program.send_signal(number)
            _, said = program.communicate(timeout=20)
    assert (program.returncode, said) == (130, b"error: interrupted before its end\n")
    assert left_in(folder) == []


def test_a_name_that_is_taken_is_never_overwritten(server: Server, shop: str, tmp_path: Path) -> None:
    first = make_backup(shop, tmp_path, now=NOW)
    second = make_backup(shop, tmp_path, now=NOW)
    assert "20250923_020000" in first.name
    assert "20250923_020001" in second.name
    assert [found.name for found in resolve(["latest"], tmp_path)] == [second.name]


@pytest.mark.parametrize("days", [-400, -1, 1])
def test_a_clock_that_is_not_the_servers_is_told_and_latest_finds_the_archive(
    server: Server, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    first = make_backup(shop, tmp_path)
    assert (first.warnings, plan_backup(shop, LocalStore(tmp_path), BackupOptions()).clocks) == ((), "")

    class Wrong:
        @staticmethod
        def now(zone: tzinfo) -> datetime:
            return datetime.now(zone) + timedelta(days=days)

    with monkeypatch.context() as patch:
        patch.setattr(backup, "datetime", Wrong)
        patch.setattr(backup_plan, "datetime", Wrong)
        planned = plan_backup(shop, LocalStore(tmp_path), BackupOptions())
        second = make_backup(shop, tmp_path)
    (warning,) = second.warnings
    assert planned.clocks.partition(":")[0] == warning.partition(":")[0] == "the clocks differ"
    assert planned.name[:-10] == second.name[:-10]  # but for seconds
    for clock in (datetime.now(UTC) + timedelta(days=days), datetime.now(UTC)):
        assert f"{clock:%Y-%m-%d}" in warning
    assert [found.name for found in resolve(["latest"], tmp_path)] == [second.name]
    assert list(mismatches(second.name, second.manifest)) == []
    assert [made.manifest.archive.clocks_differed for made in (first, second) if made.manifest.archive] == [False, True]


def test_a_manifest_that_cannot_be_written_takes_its_archive_along(server: Server, shop: str, tmp_path: Path) -> None:
    class FullStore(LocalStore):
        @contextmanager
        def create(self, name: str) -> Iterator[Any]:
            if name.endswith(SUFFIX):
                raise StoreError("No space left on device")
            with super().create(name) as sink:
                yield sink

    with pytest.raises(StoreError, match="No space left"):
        make_backup(shop, FullStore(tmp_path))
    assert left_in(tmp_path) == []


def test_too_little_room_is_noticed_before_anything_is_written(server: Server, shop: str, tmp_path: Path) -> None:
    class SmallStore(LocalStore):
        def free_bytes(self) -> int:
            return 10

    make_backup(shop, SmallStore(tmp_path))  # nothing to compare with
    with pytest.raises(StoreError, match="has 10 bytes left"):
        make_backup(shop, SmallStore(tmp_path))


def test_a_pg_dump_older_than_the_server_is_refused_by_name(
    server: Server, programs_of: Callable[[int], Programs], shop: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"pg_dump is version 14\.\d+, the server is 18") as caught:
        make_backup(shop, tmp_path, programs=programs_of(14))
    assert "install-server 18" in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"format": "tar", "compression": "gzip"}, "tar"),
        ({"jobs": 4}, "directory"),
        ({"create": True, "kind": "data"}, "create"),
        ({"create": True, "format": "custom"}, "create"),
        ({"kind": "tables"}, "no kind"),
    ],
)
def test_options_that_contradict_one_another_are_refused_before_connecting(
    tmp_path: Path, wanted: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_backup("host=/nowhere", tmp_path, **wanted)


def test_an_excluded_table_is_neither_archived_nor_promised(server: Server, shop: str, tmp_path: Path) -> None:
    result = make_backup(shop, tmp_path, exclude_tables=["vacia"])
    assert result.manifest.row_counts == {"public.ventas": 500}
    assert result.name.endswith("_tables.sql.gz")


def test_names_are_chosen_in_the_databases_own_encoding(server: Server, tmp_path: Path) -> None:
    make = "CREATE DATABASE latin1 TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(make.encode())
    dsn = server.conninfo("latin1")
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                'CREATE SCHEMA "Año"; CREATE TABLE "Año"."niños" AS SELECT 1 AS a; CREATE TABLE otra (a int)'
            )
        chosen = make_backup(dsn, tmp_path, tables=["niños"]).manifest
        left_out = make_backup(dsn, tmp_path, exclude_tables=["niños"]).manifest
        in_schema = make_backup(dsn, tmp_path, schemas=["Año"]).manifest
    finally:
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            connection.execute("DROP DATABASE latin1")
    tables = [[table.label for table in m.inventory.tables] for m in (chosen, left_out, in_schema) if m.inventory]
    assert tables == [["Año.niños"], ["public.otra"], ["Año.niños"]]


def test_the_manifest_has_what_only_a_dump_with_create_would_hold(
    server: Server, fresh_database: Callable[..., str], tmp_path: Path
) -> None:
    dsn = fresh_database(server, name="con_ajustes")
    execute(
        dsn,
        "ALTER DATABASE con_ajustes SET timezone TO 'America/Lima'",
        "COMMENT ON DATABASE con_ajustes IS 'la tienda'",
        "REVOKE CONNECT ON DATABASE con_ajustes FROM PUBLIC",
    )
    manifest = make_backup(dsn, tmp_path).manifest
    assert manifest.environment.settings == ("role=; TimeZone=America/Lima",)
    assert "COMMENT ON DATABASE con_ajustes IS 'la tienda'" in manifest.globals.statements
    assert "REVOKE ALL ON DATABASE con_ajustes FROM PUBLIC" in manifest.globals.statements


def test_a_manifest_can_be_recorded_for_a_dump_that_somebody_else_makes(
    server: Server, shop: str, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.sql"
    with psycopg.connect(shop) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        (snapshot,) = conn.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
        execute(shop, "DELETE FROM ventas WHERE id > 100")
        manifest = record_manifest(shop, snapshot=snapshot)
        argv = [server.programs.program("pg_dump"), f"--snapshot={snapshot}", f"--file={theirs}", shop]
        with stream(argv, env=server.programs.env) as chunks:
            list(chunks)
    assert manifest.archive is None
    assert manifest.row_counts == {"public.ventas": 500, "public.vacia": 0}
    assert read_inventory(open_text(theirs)) == manifest.inventory
