"""What a dump written by an enemy can do in the container sandbox: a superuser's COPY … PROGRAM, and nothing more."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import psycopg
import pytest

from verification.sandbox import Sandbox
from verification.sandbox.container import OWNER_LABEL, start_container
from verification.sandbox.container_server import PROCESSES
from verification.sandbox.engine import engine_status
from verification.sandbox.reaper import owner_id
from verification.sandbox.throwaway import MIB

pytestmark = pytest.mark.container

IMAGE = "postgres:15"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    status = engine_status()
    if not status.answers or not docker.from_env().images.list(IMAGE):
        reason = f"{status.reason or 'no image ' + IMAGE}: run scripts/install-test-containers"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with start_container(IMAGE, memory_bytes=512 * MIB) as sandbox:
        yield sandbox


@pytest.fixture
def shell(sandbox):
    """Run a command the way a dump can; what it printed."""
    with psycopg.connect(sandbox.conninfo("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE printed (line text)")

        def run(command: str) -> str:
            connection.execute("TRUNCATE printed")
            quoted = psycopg.sql.Literal(f"({command}) 2>&1 || true").as_string(connection)
            connection.execute(
                f"COPY printed FROM PROGRAM {quoted} WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"
            )
            return "\n".join(line or "" for (line,) in connection.execute("TABLE printed"))

        yield run


def _status(shell, field: str) -> str:
    lines = dict(line.split(":", 1) for line in shell("cat /proc/self/status").splitlines() if ":" in line)
    return lines[field].strip()


def test_a_program_started_by_the_dump_is_not_root(shell):
    assert "uid=0" not in shell("id")
    assert set(_status(shell, "Uid").split()) != {"0"}


@pytest.mark.parametrize("capabilities", ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
def test_no_capability_is_left(shell, capabilities):
    assert int(_status(shell, capabilities), 16) == 0


def test_no_privilege_can_be_gained_and_system_calls_are_filtered(shell):
    assert _status(shell, "NoNewPrivs") == "1"
    assert _status(shell, "Seccomp") == "2"


def test_there_is_no_network_but_the_loopback_and_no_route(shell):
    interfaces = [line.partition(":")[0].strip() for line in shell("cat /proc/net/dev").splitlines()[2:]]
    assert interfaces == ["lo"]
    assert len(shell("cat /proc/net/route").splitlines()) <= 1


def test_the_server_itself_reaches_nobody(sandbox):
    with psycopg.connect(sandbox.conninfo("postgres"), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS dblink")
        with pytest.raises(psycopg.OperationalError, match="Network is unreachable"):
            connection.execute("SELECT dblink_connect('host=192.0.2.1 connect_timeout=2 dbname=x user=x')")


@pytest.mark.parametrize("folder", ["/", "/etc", "/usr/local/bin", "/usr", "/var/lib/postgresql"])
def test_the_images_own_folders_are_read_only(shell, folder):
    said = shell(f"touch {folder}/pgdrill-was-here")
    assert "Read-only file system" in said or "Permission denied" in said


def test_nothing_of_the_host_is_mounted_but_the_sockets_folder(shell):
    virtual = {"overlay", "proc", "tmpfs", "devpts", "sysfs", "cgroup", "cgroup2", "mqueue"}
    mounts = [line.split()[1:3] for line in shell("cat /proc/mounts").splitlines() if " " in line]
    from_the_host = {target for target, kind in mounts if kind not in virtual}
    assert from_the_host - {"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"} <= {"/run/postgresql"}
    assert "docker.sock" not in shell("cat /proc/mounts; ls /run /var/run")


def test_the_hosts_processes_are_not_seen(shell):
    seen = shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "dockerd" not in seen
    assert "pytest" not in seen


def test_the_data_cannot_outgrow_its_share_of_memory(shell):
    said = shell('head -c 600000000 /dev/zero >"$PGDATA/filler"; rm -f "$PGDATA/filler"')
    assert "No space left on device" in said


def test_a_fork_bomb_meets_a_bound(shell):
    said = shell(f"i=0; while [ $i -lt {2 * PROCESSES} ]; do sleep 2 >/dev/null & i=$((i + 1)); done")
    assert "fork" in said.lower() or "temporarily unavailable" in said


def test_the_server_still_answers_after_all_that(sandbox):
    with psycopg.connect(sandbox.conninfo("postgres")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture
def host_config(sandbox):
    """What the engine was asked for."""
    client = docker.from_env()
    (container,) = client.containers.list(filters={"label": f"{OWNER_LABEL}={owner_id()}"})
    yield container.attrs["HostConfig"]
    client.close()


def test_what_the_dump_logs_cannot_fill_the_engines_disk(host_config, sandbox):
    if sandbox.facts["engine"].startswith("Podman"):
        pytest.skip("Podman takes this bound from containers.conf (log_size_max) only")
    assert host_config["LogConfig"]["Config"] == {"max-size": "1m", "max-file": "1"}


def test_memory_and_processes_are_bounded_without_swap(host_config):
    assert host_config["Memory"] == host_config["MemorySwap"] == 512 * MIB
    assert host_config["PidsLimit"] == PROCESSES


def test_the_container_is_not_privileged(host_config):
    assert host_config["Privileged"] is False
    assert host_config["ReadonlyRootfs"] is True
    assert host_config["NetworkMode"] == "none"
