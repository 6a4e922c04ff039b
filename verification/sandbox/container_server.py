"""The container with a server in it: how it is shut in, how it is reached, and why it ended."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.types import LogConfig, Mount
from psycopg.conninfo import make_conninfo
from requests.exceptions import RequestException
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import ConnectionMode

from backup_lib.errors import ServerError
from verification.sandbox.engine import Image, explain
from verification.sandbox.throwaway import MIB, Budget, throwaway_settings

SOCKETS = "/run/postgresql"  # where the programs of the official images look for the server
START_TIMEOUT_S = 60
PROCESSES = 512

_PORT = 5432
_DATA = "/pg"  # not where the image declares its volume: that differs by major, and would be mounted over it
_POLL_S = 0.05
_LOOKS = 20
_RUNNING = ("created", "configured", "initialized", "running")
_MORE_MEMORY = "free memory on the engine's machine, or verify with --sandbox embedded, which keeps data on disk"
# Lines of the server's log that no row and no text of a dump gets into: RAISE cannot write FATAL.
_SPEAKS_OF_ITSELF = re.compile(r" (?:FATAL|PANIC):  |terminated by signal \d+")

# The shell stays as the first process, so that everything ends with it; `exit` keeps it from replacing itself
# by `timeout`. The lease holds whatever became of the drill; KILL, since a dump may hold up a polite shutdown.
_LEASE = 'timeout -s KILL "$@"; exit $?'
# Not the image's own entrypoint: it runs scripts that came with the image, so that the server would not be
# empty, and starts the server twice. Checksums, which are on from 18, guard nothing that lies in memory.
# $0 is the superuser's name, the arguments are settings for postgres.
_SERVE = """
set -eu
umask 077
password=
if [ -n "${PGDRILL_PASSWORD-}" ]; then
    password=--pwfile=/tmp/password
    printf '%s\\n' "$PGDRILL_PASSWORD" >/tmp/password
fi
checksums=
case "$(initdb --help)" in *--no-data-checksums*) checksums=--no-data-checksums ;; esac
initdb --pgdata="$PGDATA" --username="$0" --encoding=UTF8 --locale=C.UTF-8 --no-sync $checksums \
    --auth-local=trust --auth-host=scram-sha-256 $password >/dev/null
echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
rm -f /tmp/password
unset PGDRILL_PASSWORD
exec postgres "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The way to the server: its socket in a folder of ours, or a published port where none can be shared."""

    folder: Path | None
    relabel: bool = False  # where SELinux keeps containers from folders that are not labelled as theirs
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def network(self) -> str:
        if self.folder:
            return "none; reached by a socket in a private folder"
        return "bridge, since the engine cannot share a folder with this process; reached by port and password"


class Server(PostgresContainer):
    """testcontainers' container, shut in, and with a wait that sees when the server is dead."""

    def __init__(
        self, image: Image, link: Link, *, budget: Budget, role: str, lease_s: int, labels: Mapping[str, str]
    ) -> None:
        super().__init__(image.name, username=role, password=link.password, dbname="postgres", driver=None)
        self.image = image.id  # after the constructor, which may put a registry's name before it
        self.what = image
        self.link = link
        self.budget = budget
        self.lease_s = lease_s
        self._was_ready = False
        self.settings = throwaway_settings(budget) | {
            "listen_addresses": "" if link.folder else "*",
            "unix_socket_directories": SOCKETS,
        }
        self.with_command([word for pair in self.settings.items() for word in ("-c", "=".join(pair))])
        self.with_envs(PGDATA=f"{_DATA}/data", TZ="UTC", LC_ALL="C.UTF-8")
        self.with_tmpfs_mount(_DATA, f"size={budget.data_bytes}")
        self.with_tmpfs_mount("/tmp", f"size={16 * MIB}")  # noqa: S108 - the container's own
        for volume in image.volumes:
            # Else the engine makes an anonymous volume, which stays when the container is removed by hand.
            self.with_tmpfs_mount(volume, f"size={MIB}")
        self.with_kwargs(
            **isolation(budget),
            **self._connection(),
            entrypoint=["sh", "-c", _LEASE, "pgdrill", str(lease_s), "sh", "-c", _SERVE, role],
            labels=dict(labels),
        )

    def _connection(self) -> dict[str, Any]:
        self.ports = {}
        if self.link.folder and self.link.relabel:
            self.with_volume_mapping(self.link.folder, SOCKETS, "rw,Z")
            return {"network": "none"}
        if self.link.folder:
            # A mount, not a volume: of that an engine would make the folder where it does not find it.
            return {"network": "none", "mounts": [Mount(SOCKETS, str(self.link.folder), type="bind")]}
        self.with_env("PGDRILL_PASSWORD", self.link.password)
        self.with_tmpfs_mount(SOCKETS, f"size={MIB},mode=1777")
        client = self.get_docker_client()
        is_local = client.get_connection_mode() is ConnectionMode.docker_host and client.host() in (
            "localhost",
            "127.0.0.1",
            "::1",
        )
        # An engine on another machine has to open the port to us, and so to its own network.
        self.ports = {f"{_PORT}/tcp": ("127.0.0.1", None) if is_local else None}  # type: ignore[dict-item]
        return {}

    def _configure(self) -> None:
        """Nothing: the image's entrypoint, which reads POSTGRES_*, does not run."""

    def _connect(self) -> None:
        """Wait until three connections in a row are answered, or the server is dead."""
        deadline = time.monotonic() + START_TIMEOUT_S
        answers = 0
        while answers < 3:
            if death := self.death():
                raise death
            try:
                with psycopg.connect(self.conninfo("postgres")) as connection:
                    connection.execute("SELECT 1")
                answers += 1
            except psycopg.OperationalError as exc:
                answers = 0
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"the server in the container does not answer after {START_TIMEOUT_S} s: {exc}",
                        hint=f"look at the load of the engine's machine, or at the engine's log; {_MORE_MEMORY}",
                    ) from exc
                time.sleep(_POLL_S)
        self._was_ready = True

    def conninfo(self, dbname: str) -> str:
        if self.link.folder:
            where = make_conninfo("", host=str(self.link.folder), port=_PORT)
        else:
            host, port = self.get_container_host_ip(), self._get_exposed_port(_PORT)
            where = make_conninfo("", host=host, port=port, password=self.password)
        return make_conninfo(where, user=self.username, dbname=dbname, connect_timeout=10)

    def death(self) -> ServerError | None:
        """What ended the container; None while it runs."""
        container = self.get_wrapped_container()
        try:
            _look_at(container)
            if container.status in _RUNNING:
                return None
            log = container.logs(tail=100).decode(errors="replace").splitlines()
        except NotFound:
            return ServerError("the sandbox's container is gone", hint="somebody removed it: run the drill again")
        except (DockerException, RequestException) as exc:
            return ServerError(
                f"the container engine stopped answering: {explain(exc)}", hint="start it, and run the drill again"
            )
        # Before the first connection there are no rows that could be in the log.
        lines = [line for line in log if not self._was_ready or _SPEAKS_OF_ITSELF.search(line)]
        return explain_death(
            container.attrs["State"], lines, budget=self.budget, lease_s=self.lease_s, image=self.what.name
        )


def _look_at(container: Container) -> None:
    """Ask for its state: more than once, as Podman's answer while one is ending is an error."""
    for _ in range(_LOOKS - 1):
        try:
            container.reload()
        except NotFound:
            raise
        except APIError:
            time.sleep(_POLL_S)
        else:
            return
    container.reload()


def isolation(budget: Budget) -> dict[str, Any]:
    """What is taken from a program that somebody else wrote; engine options, see docs/guides/containers.md."""
    return {
        "user": "postgres",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "mem_limit": budget.memory_bytes,
        "memswap_limit": budget.memory_bytes,  # the same: no swap beside it
        "shm_size": budget.shared_memory_bytes,
        "pids_limit": PROCESSES,
        # RAISE LOG in a loop would fill the engine's disk.
        "log_config": LogConfig(type=LogConfig.types.JSON, config={"max-size": "1m", "max-file": "1"}),
    }


def explain_death(
    state: Mapping[str, Any], log: Sequence[str], *, budget: Budget, lease_s: int, image: str
) -> ServerError:
    """Turn what the engine knows of an ended container, and the end of its log, into a reason and a remedy."""
    status = state.get("ExitCode")
    text = "\n".join(log)
    memory = f"{budget.memory_bytes // MIB} MiB"
    if state.get("OOMKilled") or "terminated by signal 9" in text:
        return ServerError(f"the sandbox's server was killed: it needed more memory than its {memory}", _MORE_MEMORY)
    if "No space left on device" in text:
        return explain_full(budget)
    if status in (126, 127):
        return ServerError(
            f"the image {image} lacks a program a server needs: {_last(log)}",
            hint="name an image of PostgreSQL with --postgres-image, e.g. one made from the official one",
        )
    if status == 137:  # killed, and not for want of memory
        return ServerError(
            f"the sandbox's server was killed: its {lease_s} s are over, or somebody ended it",
            hint="a drill that needs longer restores faster with more processors or --jobs",
        )
    return ServerError(
        f"the sandbox's server ended with exit status {status}: {_last(log)}",
        hint=f"try the image by hand: `docker run --rm {image} postgres --version`",
    )


def explain_full(budget: Budget) -> ServerError:
    size = budget.data_bytes // MIB
    return ServerError(f"the sandbox is full: the database needs more than its {size} MiB", hint=_MORE_MEMORY)


def _last(log: Sequence[str]) -> str:
    return " / ".join(line.strip() for line in log[-5:]) or "its log says nothing"
