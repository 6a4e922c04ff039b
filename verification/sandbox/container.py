"""A throwaway server in a container: no network, not root, no capability, read-only but for data in memory.

Import late: testcontainers and the engine's client cost 0.3 s.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import psycopg
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from psycopg.conninfo import make_conninfo
from requests.exceptions import RequestException
from testcontainers.core.config import testcontainers_config
from testcontainers.core.exceptions import ContainerStartException

from backup_lib.errors import ProgramError, ServerError
from backup_lib.process import owner_id, owner_is_alive, owner_is_in_sight
from backup_lib.run_folder import run_folder
from verification.sandbox.container_exec import stream_program
from verification.sandbox.container_server import PROCESSES, SOCKETS, Link, Server, explain_full
from verification.sandbox.engine import EngineError, engine, engine_address, engine_name, explain, find_image
from verification.sandbox.sessions import session_options
from verification.sandbox.throwaway import MIB, Budget

OWNER_LABEL = "io.pgdrill.owner"
EXPIRES_LABEL = "io.pgdrill.expires"  # seconds since 1970

_REMOVAL_S = 20
_LONGEST_PARENT = 60  # of the 107 bytes that a socket's path may have
_DYING_S = 2  # from the connection lost to the container ended
_NO_FOLDER = re.compile(r"does not exist|no such file", re.IGNORECASE)


class ContainerSandbox:
    """A server in a container of this process; `start_container` makes it."""

    kind = "container"

    def __init__(self, server: Server, *, server_version: str, facts: Mapping[str, str]) -> None:
        self._server = server
        self.server_version = server_version
        self.facts = facts

    def conninfo(self, dbname: str) -> str:
        """A libpq connection string of the bootstrap superuser. It may hold a password: never log it."""
        return self._server.conninfo(dbname)

    def dump(self, dbname: str, options: Sequence[str]) -> AbstractContextManager[Iterator[bytes]]:
        """Run the container's own pg_dump on `dbname`; the chunks of what it prints.

        :raises ProgramError: on leaving, when pg_dump did not exit with 0; it holds what pg_dump said.
        """
        options_of_session = session_options(self.server_version)
        target = make_conninfo("", host=SOCKETS, user=self._server.username, dbname=dbname, options=options_of_session)
        argv = ["pg_dump", f"--dbname={target}", *options]
        return stream_program(self._server.get_wrapped_container(), argv)

    def failure(self, *, wait_s: float = 0) -> ServerError | None:
        """Why the server has ended, None while it runs; `wait_s`: connections are lost a bit before it ends."""
        deadline = time.monotonic() + wait_s
        while (death := self._server.death()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return death

    def full(self) -> ServerError:
        return explain_full(self._server.budget)


@contextmanager
def start_container(
    image: str,
    *,
    bootstrap_role: str = "postgres",
    memory_bytes: int | None = None,
    lease_s: int = 3600,
    jobs: int | None = None,
) -> Iterator[ContainerSandbox]:
    """A server in a new container, gone on leaving: leaving without an error proves that it is.

    :param image: pulled if the engine does not hold it.
    :param memory_bytes: of data and server together, as both are in memory; default: 3/4 of what the
        engine's machine has. The data may take 3/4 of it.
    :param lease_s: after so many seconds everything in it is killed, whatever became of this process.
    :param jobs: connections that restore at the same time; default: the engine's processors.
    :raises ServerError: when it cannot be started, and in place of a lost connection or a failed pg_dump when
        the server died in the meantime: the message then says of what.
    """
    found = find_image(image)
    with engine() as client:
        try:
            remove_leftovers(client)
            info, name = client.info(), engine_name(client.version())
        except (DockerException, RequestException) as exc:
            hint = "look at the engine's log, or restart it"
            raise EngineError(f"the container engine fails: {explain(exc)}", hint) from exc
    available = int(info["MemTotal"])
    budget = Budget(
        memory_bytes=min(memory_bytes or available * 3 // 4, available), jobs=max(1, jobs or int(info["NCPU"]))
    )

    def build(link: Link) -> Server:
        labels = {OWNER_LABEL: owner_id(), EXPIRES_LABEL: f"{time.time() + lease_s:.0f}"}
        return Server(found, link, budget=budget, role=bootstrap_role, lease_s=lease_s, labels=labels)

    with run_folder(_parent(), lease_s=lease_s) as folder:
        server = _started(build, _link(info, folder))
        try:
            with psycopg.connect(server.conninfo("postgres")) as connection:
                version = connection.info.parameter_status("server_version") or "?"
            facts = _facts(server, engine_name=name, info=info)
            sandbox = ContainerSandbox(server, server_version=version, facts=facts)
            with _explained(sandbox):
                yield sandbox
        finally:
            _stop(server)


def remove_leftovers(client: docker.DockerClient) -> int:
    """Remove the containers of drills that were killed, or that are out of sight and over their time; how many."""
    left = 0
    for container in client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
        owner, expires = str(container.labels[OWNER_LABEL]), str(container.labels.get(EXPIRES_LABEL, ""))
        is_over = not expires.isdigit() or time.time() > int(expires)
        # Clocks jump: by this one's, the lease of a drill that runs may be over.
        if not owner_is_alive(owner) if owner_is_in_sight(owner) else is_over:
            _remove(container)
            left += 1
    return left


def _parent() -> Path:
    """Where the socket's folder goes: short, since a socket's path is."""
    usual = Path(tempfile.gettempdir())
    return usual if len(os.fsencode(usual)) <= _LONGEST_PARENT else Path("/tmp")  # noqa: S108 - made by mkdtemp


def _link(info: Mapping[str, Any], folder: Path) -> Link:
    """By a socket wherever the engine's kernel is ours; nobody but this account can reach it."""
    if (
        not engine_address().startswith("unix://")
        or sys.platform != "linux"
        or "Docker Desktop" in str(info.get("OperatingSystem"))
    ):
        return Link(folder=None)
    folder.chmod(0o700)  # no other account passes, since what lies in it is open to all of them
    sockets = folder / "s"
    sockets.mkdir()
    sockets.chmod(0o777)  # the server runs as an account of the image, to which we may not give it away
    return Link(folder=sockets, relabel=any("selinux" in option for option in info.get("SecurityOptions") or ()))


def _started(build: Callable[[Link], Server], link: Link) -> Server:
    server = build(link)
    try:
        with _without_ryuk():
            server.start()
    except (DockerException, RequestException, ContainerStartException, ConnectionError) as exc:
        _stop(server)
        reason = explain(exc)
        # An engine reached by a socket may still be outside of the container this process is in.
        if link.folder and str(link.folder) in reason and _NO_FOLDER.search(reason):
            return _started(build, Link(folder=None))
        raise _start_error(server, reason, wanted_ryuk="ryuk" in str(exc)) from exc
    except BaseException:
        _stop(server)
        raise
    return server


def _start_error(server: Server, reason: str, *, wanted_ryuk: bool) -> ServerError:
    hint = f"try it by hand: `docker run --rm --network none {server.what.name} postgres --version`"
    if wanted_ryuk:
        hint = "unset TESTCONTAINERS_RYUK_DISABLED: pgdrill clears up without testcontainers' own helper"
    elif "user postgres" in reason or '"sh"' in reason:
        hint = "name an image with --postgres-image that is made from the official one: with user postgres and a shell"
    return ServerError(f"no container of {server.what.name} could be started: {reason}", hint=hint)


@contextmanager
def _without_ryuk() -> Iterator[None]:
    """Keep testcontainers from starting its reaper, unless the user asked for it.

    It would pull one more image, and give a container the engine's socket, which is as good as root. Labels
    and lease do the same without. The setting is for the whole process, so it is put back.
    """
    name = "TESTCONTAINERS_RYUK_DISABLED"
    if name in os.environ or "ryuk.disabled" in testcontainers_config.tc_properties:
        yield
        return
    before = testcontainers_config.ryuk_disabled
    testcontainers_config.ryuk_disabled = True
    try:
        yield
    finally:
        testcontainers_config.ryuk_disabled = before


@contextmanager
def _explained(sandbox: ContainerSandbox) -> Iterator[None]:
    """Put the reason for a server's death in the place of what its clients noticed of it."""
    try:
        yield
    except psycopg.errors.DiskFull as exc:
        raise sandbox.full() from exc
    except (psycopg.OperationalError, ProgramError) as exc:
        if death := sandbox.failure(wait_s=_DYING_S):
            raise death from exc
        raise


def _stop(server: Server) -> None:
    with suppress(ContainerStartException):
        _remove(server.get_wrapped_container())
    server.get_docker_client().client.close()


def _remove(container: Container) -> None:
    """Remove a container, and wait until the engine does not know it any more.

    :raises ServerError: when it is still there after 20 s.
    """
    deadline = time.monotonic() + _REMOVAL_S
    reason = ""
    while time.monotonic() < deadline:
        try:
            container.remove(force=True, v=True)
            container.reload()
        except NotFound:
            return
        except (APIError, RequestException) as exc:  # 409: its removal is under way
            reason = explain(exc)
        time.sleep(0.05)
    raise ServerError(
        f"the sandbox's container {container.short_id} is still there after {_REMOVAL_S} s: {reason}",
        hint=f"remove it: `docker rm --force --volumes {container.short_id}`",
    )


def _facts(server: Server, *, engine_name: str, info: Mapping[str, Any]) -> dict[str, str]:
    budget = server.budget
    bounds = f"{budget.memory_bytes // MIB} MiB, of which data {budget.data_bytes // MIB} MiB (in memory)"
    unbounded = [] if info.get("MemoryLimit") else ["memory"]
    unbounded += [] if info.get("PidsLimit", True) else ["processes"]
    return {
        "engine": engine_name,
        "image": server.what.name,
        "image id": server.what.id,
        "image digest": server.what.digest or "none: not from a registry",
        "network": server.link.network,
        "isolation": "account postgres, no capabilities, no new privileges, read-only file system",
        "memory": bounds,
        "bounds": f"{PROCESSES} processes, {server.lease_s} s"
        + (f"; this engine cannot bound: {', '.join(unbounded)}" if unbounded else ""),
        "settings": " ".join(f"{name}={value}" for name, value in server.settings.items()),
    }
