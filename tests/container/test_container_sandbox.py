"""The container sandbox with a real engine: empty on entry, gone on exit, and clear about why it died."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from testcontainers.core.config import testcontainers_config

from backup_lib.errors import ProgramError, ServerError
from verification.sandbox import Sandbox
from verification.sandbox.container import OWNER_LABEL, remove_leftovers, start_container
from verification.sandbox.reaper import owner_id
from verification.sandbox.throwaway import MIB

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("leaves_nothing_behind")]

SMALL = 384 * MIB
DOCKER_SOCKET = "/var/run/docker.sock"
OURS = {"label": f"{OWNER_LABEL}={owner_id()}"}  # other drills may be running on this machine


@pytest.fixture
def temporary_folder(monkeypatch):
    """A folder for temporary files of this test alone; its path is short, since sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture
def sandbox(image_of):
    with start_container(image_of(15), memory_bytes=SMALL) as sandbox:
        yield sandbox


def _run(sandbox: Sandbox, *statements: str, dbname: str = "postgres") -> list[tuple]:
    with psycopg.connect(sandbox.conninfo(dbname), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
    return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("tag", [14, 15, 16, 17, 18, "15-alpine"])
def test_every_major_starts_empty_and_is_gone_afterwards(image_of, engine_client, temporary_folder, tag):
    with start_container(image_of(tag), memory_bytes=SMALL) as sandbox:
        typed: Sandbox = sandbox
        assert typed.kind == "container"
        assert typed.server_version.startswith(str(tag).removesuffix("-alpine"))
        assert _run(sandbox, "SELECT datname FROM pg_database ORDER BY 1") == [
            ("postgres",),
            ("template0",),
            ("template1",),
        ]
        with sandbox.dump("postgres", ["--schema-only"]) as chunks:
            text = b"".join(chunks)
        assert b"-- Name:" not in text
        assert b"-- PostgreSQL database dump complete" in text
        assert engine_client.containers.list(filters=OURS)
        assert list(temporary_folder.iterdir())
    assert not engine_client.containers.list(all=True, filters=OURS)
    assert not list(temporary_folder.iterdir())


def test_the_facts_say_which_image_ran_and_how_it_was_shut_in(sandbox, engine_client):
    facts = sandbox.facts
    assert facts["image id"] == engine_client.images.get("postgres:15").id
    assert facts["engine"].startswith(("Docker", "Podman"))
    assert facts["network"].startswith("none")
    assert "no capabilities" in facts["isolation"]
    assert "fsync=off" in facts["settings"]
    assert "384 MiB" in facts["memory"]


def test_the_settings_named_in_the_facts_are_in_force(sandbox):
    for setting in sandbox.facts["settings"].split():
        name, _, value = setting.partition("=")
        assert _run(sandbox, f"SHOW {name}") == [(value,)]


def test_the_superuser_has_the_name_of_the_sources(image_of):
    role = "Due\u00f1a del POS"
    with start_container(image_of(15), memory_bytes=SMALL, bootstrap_role=role) as sandbox:
        assert _run(sandbox, "SELECT rolname FROM pg_roles WHERE oid = 10") == [(role,)]
        with sandbox.dump("postgres", []) as chunks:
            assert b"dump complete" in b"".join(chunks)


def test_a_dump_streams_everything_and_is_not_swayed_by_database_settings(sandbox):
    name = "a=b 'c' \u00f1"
    _run(sandbox, f'CREATE DATABASE "{name}"', f"""ALTER DATABASE "{name}" SET timezone = 'Asia/Tokyo'""")
    _run(
        sandbox,
        "CREATE TABLE t AS SELECT i, timestamptz '2026-01-01 00:00Z' AS at FROM generate_series(1, 300000) i",
        dbname=name,
    )
    with sandbox.dump(name, ["--data-only"]) as chunks:
        pieces = list(chunks)
    text = b"".join(pieces)
    assert text.count(b"\t2026-01-01 00:00:00+00\n") == 300_000
    assert max(map(len, pieces)) < 1024 * 1024


def test_a_failing_dump_is_an_error_with_what_pg_dump_said(sandbox):
    with (
        pytest.raises(ProgramError, match=r'pg_dump exited 1 in the sandbox: .*"nope" does not exist'),
        sandbox.dump("nope", []) as chunks,
    ):
        assert b"".join(chunks) == b""


def test_a_dump_that_breaks_half_way_is_an_error(sandbox):
    _run(sandbox, "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 100000)")

    def dump_and_break() -> None:
        with sandbox.dump("postgres", []) as chunks:
            next(chunks)
            _run(
                sandbox,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'",
            )
            for _ in chunks:
                pass

    with pytest.raises(ProgramError, match="pg_dump exited 1"):
        dump_and_break()


def test_a_dump_nobody_reads_to_its_end_is_ended(sandbox):
    _run(sandbox, "CREATE TABLE t AS SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
    with sandbox.dump("postgres", []) as chunks:
        next(chunks)
    deadline = time.monotonic() + 5
    while _run(sandbox, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pg_dump'"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    _run(sandbox, "DROP TABLE t")


def test_an_error_inside_the_dump_is_passed_on(sandbox):
    with pytest.raises(ZeroDivisionError), sandbox.dump("postgres", []):
        _ = 1 / 0


def test_a_database_that_outgrows_the_sandbox_is_reported_as_that(image_of):
    with (
        pytest.raises(ServerError, match="the sandbox is full: the database needs more than its 192 MiB") as full,
        start_container(image_of(15), memory_bytes=256 * MIB) as sandbox,
    ):
        _run(sandbox, "CREATE TABLE t AS SELECT repeat(md5(i::text), 50) FROM generate_series(1, 500000) i")
    assert "--sandbox embedded" in full.value.hint


def test_a_server_killed_for_want_of_memory_is_reported_as_that(image_of):
    with (
        pytest.raises(ServerError, match="needed more memory than its 256 MiB"),
        start_container(image_of(15), memory_bytes=256 * MIB) as sandbox,
    ):
        _run(sandbox, "SELECT cardinality(array_agg(repeat('x', 900) || i)) FROM generate_series(1, 2000000) i")


def test_a_death_is_explained_without_rows_from_the_log(image_of):
    with (
        pytest.raises(ServerError, match="exit status") as death,
        start_container(image_of(15), memory_bytes=SMALL) as sandbox,
    ):
        _run(
            sandbox,
            "DO $$ BEGIN RAISE LOG 'row of ana@example.com'; RAISE WARNING 'ana@example.com'; END $$",
            "COPY (SELECT 1) TO PROGRAM 'kill -QUIT $(head -n 1 $PGDATA/postmaster.pid)'",
            "SELECT pg_sleep(10)",
        )
    assert "ana@example" not in str(death.value)


def test_a_container_removed_by_somebody_else_is_reported_as_that(image_of, engine_client):
    def remove_and_ask(sandbox: Sandbox) -> None:
        (container,) = engine_client.containers.list(filters=OURS)
        container.remove(force=True, v=True)
        _run(sandbox, "SELECT 1")

    with (
        pytest.raises(ServerError, match="the sandbox's container is gone"),
        start_container(image_of(15), memory_bytes=SMALL) as sandbox,
    ):
        remove_and_ask(sandbox)


def test_an_error_of_the_drill_itself_is_passed_on(image_of):
    with pytest.raises(psycopg.errors.UndefinedTable), start_container(image_of(15), memory_bytes=SMALL) as sandbox:
        _run(sandbox, "TABLE nothing")


@pytest.fixture
def image_without_initdb(image_of, engine_client):
    name = "pgdrill-test-without-initdb:1"
    container = engine_client.containers.create(
        image_of(15), entrypoint=["sh", "-c", 'rm "$(command -v initdb)"'], user="root", network_mode="none"
    )
    try:
        container.start()
        assert container.wait()["StatusCode"] == 0
        container.commit(*name.split(":"))
        yield name
        engine_client.images.remove(name)
    finally:
        container.remove(force=True, v=True)


def test_an_image_without_a_server_is_reported_with_the_program_it_lacks(image_without_initdb):
    with (
        pytest.raises(ServerError, match=r"lacks a program a server needs: .*initdb") as error,
        start_container(image_without_initdb, memory_bytes=SMALL),
    ):
        pass
    assert "--postgres-image" in error.value.hint


def test_the_lease_ends_the_server_by_itself(image_of):
    with start_container(image_of(15), memory_bytes=SMALL, lease_s=3) as sandbox:
        assert sandbox.failure() is None
        death = sandbox.failure(wait_s=10)
    assert death is not None
    assert "its 3 s are over" in str(death)


def test_what_a_killed_drill_left_is_removed_by_the_next_one(image_of, engine_client, temporary_folder):
    program = (
        "import sys, time\n"
        "from verification.sandbox.container import start_container\n"
        "from verification.sandbox.reaper import owner_id\n"
        f"with start_container({image_of(15)!r}, memory_bytes={SMALL}) as sandbox:\n"
        "    print(owner_id(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as drill:
        assert drill.stdout is not None
        its = {"label": f"{OWNER_LABEL}={drill.stdout.readline().decode().strip()}"}
        drill.send_signal(signal.SIGKILL)
    assert len(engine_client.containers.list(filters=its)) == 1
    (folder,) = temporary_folder.iterdir()
    with start_container(image_of(15), memory_bytes=SMALL):
        assert not engine_client.containers.list(all=True, filters=its)
        assert not folder.exists()


def test_two_sandboxes_at_a_time_leave_each_other_alone(image_of, engine_client, monkeypatch):
    with (
        start_container(image_of(15), memory_bytes=SMALL) as one,
        start_container(image_of(16), memory_bytes=SMALL) as other,
    ):
        assert remove_leftovers(engine_client) == 0
        now = time.time()
        with monkeypatch.context() as clock:
            clock.setattr(time, "time", lambda: now + 365 * 86400)  # it jumps
            assert remove_leftovers(engine_client) == 0
        assert one.server_version.startswith("15")
        assert other.server_version.startswith("16")
        assert _run(one, "SELECT 1") == [(1,)]


@pytest.fixture
def engine_by_tcp(container_engine):
    """The address of a port which leads to the engine's socket, as an engine elsewhere would have one."""

    def carry(client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as engine:
            engine.connect(DOCKER_SOCKET)
            other = {client: engine, engine: client}
            while True:
                for source in select.select(list(other), [], [])[0]:
                    try:
                        data = source.recv(65536)
                        other[source].sendall(data)
                    except OSError:
                        return
                    if not data:
                        return

    def accept(server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            Thread(target=carry, args=[client], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=accept, args=[server], daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_engine_that_shares_no_folder_is_reached_by_port_and_password(image_of, engine_by_tcp, monkeypatch):
    image = image_of(15)
    monkeypatch.setenv("DOCKER_HOST", engine_by_tcp)
    with start_container(image, memory_bytes=SMALL) as sandbox:
        assert sandbox.facts["network"].startswith("bridge")
        target = conninfo_to_dict(sandbox.conninfo("postgres"))
        assert not str(target["host"]).startswith("/")
        assert _run(sandbox, "SELECT 1") == [(1,)]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(sandbox.conninfo("postgres"), password="wrong")  # noqa: S106
        with sandbox.dump("postgres", []) as chunks:
            assert b"dump complete" in b"".join(chunks)
        assert str(target["password"]) not in str(sandbox.facts)


def test_the_reaper_of_testcontainers_is_neither_started_nor_switched_off_for_others(image_of, engine_client):
    before = testcontainers_config.ryuk_disabled
    with start_container(image_of(15), memory_bytes=SMALL):
        assert len(engine_client.containers.list(filters={"label": "org.testcontainers"})) == 1
        assert testcontainers_config.ryuk_disabled is before


def test_whoever_wants_the_reaper_of_testcontainers_gets_it(image_of, monkeypatch):
    image = image_of(15)
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "false")
    monkeypatch.setattr(testcontainers_config, "ryuk_image", "localhost:1/testcontainers/ryuk:1")
    with pytest.raises(ServerError, match="could be started") as error, start_container(image, memory_bytes=SMALL):
        pass
    assert "TESTCONTAINERS_RYUK_DISABLED" in error.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another account")
def test_other_accounts_of_the_machine_cannot_reach_the_server(sandbox):
    folder = conninfo_to_dict(sandbox.conninfo("postgres"))["host"]
    seen = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls", str(folder)],
        capture_output=True,
        text=True,
    )
    assert "Permission denied" in seen.stderr
