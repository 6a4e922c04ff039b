"""A throwaway server from programs of this machine: another account, no network, its own processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from backup_lib.errors import ServerError
from backup_lib.process import stream
from backup_lib.server_programs import Programs
from backup_lib.server_template import server_env
from backup_lib.servers import INITDB_OPTIONS, Server, start_server
from verification.sandbox.sessions import session_options
from verification.sandbox.throwaway import Budget, throwaway_settings

_ALL_FEATURES = ("icu", "libxml", "openssl", "lz4")
# Where a container's own bound is found, of either version of control groups; absent or "max" without one.
_MEMORY_BOUNDS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class EmbeddedSandbox:
    """A server that is a child of this process; `start_embedded` makes it."""

    kind = "embedded"

    def __init__(self, server: Server) -> None:
        self._server = server
        self.server_version = server.version
        self.facts: Mapping[str, str] = _facts(server)

    def conninfo(self, dbname: str) -> str:
        """A libpq connection string of the bootstrap superuser. It needs no password."""
        return self._server.conninfo(dbname)

    def failure(self, *, wait_s: float = 0) -> ServerError | None:
        """Why its server has ended by itself, or ends within `wait_s`; None: it has not."""
        return self._server.failure(wait_s)

    def dump(self, dbname: str, options: Sequence[str]) -> AbstractContextManager[Iterator[bytes]]:
        """Run the server's own pg_dump on `dbname`; the chunks of what it prints.

        It runs as the server's account: it reads what a foreign archive has made of this server.

        :raises ProgramError: on leaving, when pg_dump did not exit with 0; it holds what pg_dump said.
        """
        programs = self._server.programs
        pins = {"PGOPTIONS": session_options(self.server_version)}
        target = f"--dbname={self._server.conninfo(dbname)}"
        pg_dump = str(programs.program("pg_dump"))
        argv = [*self._server.isolation.client, pg_dump, "--no-password", target, *options]
        return stream(argv, env={**server_env(programs), **pins})


@contextmanager
def start_embedded(
    programs: Programs,
    *,
    bootstrap_role: str = "postgres",
    memory_bytes: int | None = None,
    lease_s: float = 3600,
    jobs: int | None = None,
) -> Iterator[EmbeddedSandbox]:
    """A fresh server, gone on leaving with all it started; and at once when this process is killed.

    :param bootstrap_role: the superuser's name; privileges in an archive name the source's.
    :param memory_bytes: what one process of the server may have, and what its caches are scaled to;
        default: 3/4 of the machine's.
    :param lease_s: after so many seconds it ends by itself.
    :param jobs: connections that load at the same time; default: the processors.
    :raises ServerError: when it does not start; and in place of an error of the block when it has ended.
    """
    budget = Budget(memory_bytes=memory_bytes or machine_memory_bytes() * 3 // 4, jobs=jobs or processors())
    checksums = ["--no-data-checksums"] if programs.major >= 18 else []  # off before 18 unless asked for
    with start_server(
        programs,
        settings=throwaway_settings(budget),
        superuser=bootstrap_role,
        initdb_options=(*INITDB_OPTIONS, *checksums),
        memory_bytes=budget.memory_bytes,
        lease_s=lease_s,
    ) as server:
        yield EmbeddedSandbox(server)


def machine_memory_bytes() -> int:
    """The machine's memory, or what the container around this process may have of it."""
    bounds = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _MEMORY_BOUNDS:
        with suppress(OSError, ValueError):
            bounds.append(int(path.read_text()))
    return min(bounds)


def processors() -> int:
    """How many this process may use; a container or taskset grants fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _facts(server: Server) -> dict[str, str]:
    programs = server.programs
    lacking = [feature for feature in _ALL_FEATURES if feature not in programs.features]
    return {
        "programs": programs.label,
        "built without": ", ".join(lacking) or "nothing that archives ask for",
        **server.isolation.facts,
        "settings": " ".join(f"{name}={value}" for name, value in server.settings.items() if value),
    }
