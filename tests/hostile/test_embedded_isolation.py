"""A dump is somebody else's program: what it can do as superuser of an embedded sandbox, and what it cannot."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from backup_lib.server_programs import NEWEST_MAJOR, Programs
from verification.sandbox.embedded import EmbeddedSandbox, start_embedded

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the server another account"),
]


@pytest.fixture(scope="module")
def programs(programs_of: Callable[[int], Programs]) -> Programs:
    return programs_of(NEWEST_MAJOR)


@pytest.fixture(scope="module")
def sandbox(programs: Programs) -> Iterator[EmbeddedSandbox]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PGPASSWORD", "of-the-source")
        environment.setenv("BACKUP_ENCRYPT_PASSWORD", "of-the-archives")
        with start_embedded(programs, memory_bytes=512 << 20, lease_s=600) as running:
            yield running


def shell(sandbox: EmbeddedSandbox, command: str) -> str:
    """What a command prints, run by the server as a dump can have it run; its status does not matter."""
    with psycopg.connect(sandbox.conninfo("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE said (n int GENERATED ALWAYS AS IDENTITY, line text)")
        # One odd character as delimiter, and no escapes, so that any line is one value.
        quoted = f"({command}) 2>&1; true".replace("'", "''")
        connection.execute(f"COPY said (line) FROM PROGRAM '{quoted}' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')")
        return "\n".join(line or "" for (line,) in connection.execute("SELECT line FROM said ORDER BY n"))


def status(sandbox: EmbeddedSandbox) -> dict[str, str]:
    lines = shell(sandbox, "cat /proc/self/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_it_is_nobody_known_and_has_no_capability(sandbox: EmbeddedSandbox) -> None:
    found = status(sandbox)
    assert {61184 <= int(uid) < 65520 for uid in found["Uid"].split()} == {True}
    assert found["Groups"] == ""
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"


def test_set_user_id_programs_do_not_help(sandbox: EmbeddedSandbox) -> None:
    assert "su: " in shell(sandbox, "echo | su -c id root")
    assert "uid=0" not in shell(sandbox, "echo | su -c id root")


def test_files_of_root_are_not_readable(sandbox: EmbeddedSandbox) -> None:
    assert "Permission denied" in shell(sandbox, "cat /etc/shadow")
    with (
        psycopg.connect(sandbox.conninfo("postgres")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT pg_read_file('/etc/shadow')")


def test_files_of_the_machine_are_not_writable(sandbox: EmbeddedSandbox) -> None:
    assert "Permission denied" in shell(sandbox, "touch /etc/pgdrill-was-here")
    assert not Path("/etc/pgdrill-was-here").exists()


def test_the_mark_of_its_folder_is_out_of_reach(sandbox: EmbeddedSandbox) -> None:
    """Else it could name another owner, and live on."""
    with psycopg.connect(sandbox.conninfo("postgres")) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    folder = Path(row[0]).parent
    assert "Permission denied" in shell(sandbox, f"echo 1 > {folder}/owner")
    assert "Permission denied" in shell(sandbox, f"ls {folder}")


def test_the_network_cannot_be_reached_not_even_this_machines(sandbox: EmbeddedSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1)
        port = listener.getsockname()[1]
        said = shell(sandbox, f"bash -c 'echo hello > /dev/tcp/127.0.0.1/{port}'")
        assert "unreachable" in said or "refused" in said
        with pytest.raises(TimeoutError):
            listener.accept()
    interfaces = shell(sandbox, "tail -n +3 /proc/net/dev")
    assert [line.split(":")[0].strip() for line in interfaces.splitlines()] == ["lo"]


def test_another_server_of_this_machine_cannot_be_reached_by_dblink(sandbox: EmbeddedSandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with psycopg.connect(sandbox.conninfo("postgres"), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS dblink")
            with pytest.raises(psycopg.OperationalError, match=r"unreachable|refused"):
                connection.execute(f"SELECT dblink_connect('host=127.0.0.1 port={port} user=x')")


def test_secrets_of_this_process_are_not_in_its_environment(sandbox: EmbeddedSandbox) -> None:
    environment = shell(sandbox, "cat /proc/*/environ | tr '\\000' '\\n'")
    assert "LC_ALL" in environment or "LC_CTYPE" in environment
    assert "of-the-" not in environment


def test_no_process_but_its_own_is_seen(sandbox: EmbeddedSandbox) -> None:
    seen = shell(sandbox, "cat /proc/[0-9]*/comm").splitlines()
    assert "postgres" in seen
    assert not [name for name in seen if name.startswith(("python", "pytest", "systemd", "dockerd"))]


def test_a_process_it_leaves_behind_ends_with_it(programs: Programs) -> None:
    mark = f"6{os.getpid()}.25"  # seconds, and found in the list of processes
    with start_embedded(programs, memory_bytes=512 << 20) as sandbox:
        shell(sandbox, f"setsid sleep {mark} > /dev/null 2>&1 &")
        assert _is_running(mark)
    until = time.monotonic() + 5
    while _is_running(mark) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _is_running(mark)


def test_it_can_neither_start_nor_keep_processes_without_end(programs: Programs) -> None:
    with start_embedded(programs, memory_bytes=512 << 20) as sandbox:
        said = shell(sandbox, "i=0; while [ $i -lt 2000 ]; do sleep 60 & i=$((i+1)); done; echo all")
    assert "all" not in said.splitlines()


def test_dumping_it_happens_as_its_own_account(sandbox: EmbeddedSandbox) -> None:
    """pg_dump reads what a foreign archive has made of the server."""
    with psycopg.connect(sandbox.conninfo("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS big AS SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    with sandbox.dump("postgres", []) as chunks:
        next(chunks)
        owners = {path.stat().st_uid for path in _processes(f"--dbname={sandbox.conninfo('postgres')}")}
    assert owners
    assert 0 not in owners


def test_many_drills_at_once_do_not_share_an_account(programs: Programs) -> None:
    uids: list[str] = []

    def drill() -> None:
        with start_embedded(programs, memory_bytes=512 << 20) as sandbox:
            uids.append(status(sandbox)["Uid"].split()[0])

    threads = [threading.Thread(target=drill) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(uids)) == 3


def _is_running(word: str) -> bool:
    return bool(_processes(word))


def _processes(word: str) -> list[Path]:
    """Processes with this word in their argv."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            if word in (entry / "cmdline").read_bytes().decode(errors="replace").split("\0"):
                found.append(entry)
    return found
