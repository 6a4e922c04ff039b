"""Servers that are thrown away: a fresh cluster, reached by socket only, that ends with its owner."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from backup_lib.errors import ServerError
from backup_lib.install_server import install_server
from backup_lib.isolation import Isolation, isolate
from backup_lib.process import kill, spawn
from backup_lib.run_folder import others_may_pass, run_folder
from backup_lib.server_programs import Programs, client_for, find_programs, server_for
from backup_lib.server_template import MAKE_ROOM, copy_cluster, reachable, server_env

__all__ = ["Programs", "Server", "client_for", "find_programs", "install_server", "server_for", "start_server"]

INITDB_OPTIONS = ("--encoding=UTF8", "--locale=C.UTF-8" if os.uname().sysname == "Linux" else "--locale=C")
DISK_RESERVE_BYTES = 512 << 20
_PORT = 5432  # of a socket in its own folder
_SOCKET_PATH_BYTES = 103  # the least any system allows; Linux has 107
_START_S = 60
_STOP_S = 10
_DYING_S = 0.2
_LEASE_OVER = 124  # exit status of timeout
_LOG_TAIL_BYTES = 2000

THROWAWAY_SETTINGS: Mapping[str, str] = {
    # Losing everything in a crash is fine here; being slow is not.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "restart_after_crash": "off",  # what such a server holds after a crash proves nothing
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log may be quoted in an error, so rows, which come in errors, details and statements, stay out.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "logging_collector": "off",
}
# Arguments, not a file: they win over whatever ALTER SYSTEM a dump may hold.
BASE_SETTINGS: Mapping[str, str] = {
    **THROWAWAY_SETTINGS,
    "listen_addresses": "",
    "port": str(_PORT),
    "lc_messages": "C",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server; superuser by trust, for whoever may enter the folder of its socket."""

    programs: Programs
    socket_dir: Path
    data_dir: Path
    superuser: str
    settings: Mapping[str, str]
    isolation: Isolation
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    failure: Callable[[float], ServerError | None] = field(repr=False)
    """Why it has ended by itself, or ends within so many seconds; None: it has not."""

    @property
    def version(self) -> str:
        """As `SHOW server_version` prints it."""
        return self.programs.full_version

    @property
    def port(self) -> int:
        return _PORT

    def conninfo(self, dbname: str = "postgres") -> str:
        """A libpq connection string. It is all there is to connecting: no password."""
        parts = {"host": str(self.socket_dir), "port": str(_PORT), "user": self.superuser, "dbname": dbname}
        return " ".join(f"{name}={_quoted(value)}" for name, value in parts.items())

    def log_tail(self) -> str:
        return _tail(self.log)


@contextmanager
def start_server(
    programs: Programs,
    *,
    settings: Mapping[str, str] | None = None,
    superuser: str = "postgres",
    initdb_options: Sequence[str] = INITDB_OPTIONS,
    network: bool = False,
    memory_bytes: int | None = None,
    lease_s: float = 3600,
    parent: Path | None = None,
    disk_reserve_bytes: int = DISK_RESERVE_BYTES,
) -> Iterator[Server]:
    """A fresh server, which is gone with all it holds on leaving, or when this process or its lease ends.

    An error of the block is replaced when the server had ended by then: that explains it.

    :param settings: on top of BASE_SETTINGS.
    :param superuser: the name of the role made by initdb.
    :param network: leave it the machine's network; it listens to none all the same.
    :param memory_bytes: bound of each of its processes.
    :param disk_reserve_bytes: it is stopped when less is free on the disk of its data.
    :param parent: where its folder is made; TMPDIR or /tmp if not given. Needs room for all the data.
    :raises ServerError: when it does not start, or ended by itself.
    """
    isolation = isolate(lease_s=lease_s, memory_bytes=memory_bytes, network=network)
    parent = parent or Path(tempfile.gettempdir())
    if os.geteuid() == 0 and not others_may_pass(parent):
        raise ServerError(f"no account but root's can pass through {parent}", hint="set TMPDIR to a folder all can")
    with ExitStack() as cleanup:
        folder = cleanup.enter_context(run_folder(parent, lease_s=lease_s))
        socket_dir = _socket_dir(folder, isolation, lease_s, cleanup)
        programs = reachable(programs)
        data_dir = folder / "data"
        options = (*initdb_options, f"--username={superuser}")
        copy_cluster(programs, options, data_dir, isolation.uid, isolation.gid)
        # Memory that parallel workers share must go with the server too, also after SIGKILL.
        shared = "sysv" if "ipc" in isolation.namespaces else "mmap"
        chosen = {**BASE_SETTINGS, "dynamic_shared_memory_type": shared, **(settings or {})}
        chosen["unix_socket_directories"] = str(socket_dir)
        log = folder / "log"
        argv = [*isolation.server, str(programs.program("postgres")), "-D", str(data_dir)]
        argv += [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            process = cleanup.enter_context(spawn(argv, env=server_env(programs), output=output))
        cleanup.callback(_stop, process, isolation)
        guard = _DiskGuard(process, data_dir, log, disk_reserve_bytes)
        server = Server(
            programs=programs,
            socket_dir=socket_dir,
            data_dir=data_dir,
            superuser=superuser,
            settings=chosen,
            isolation=isolation,
            log=log,
            process=process,
            failure=guard.failure,
        )
        _wait_until_ready(server)
        cleanup.enter_context(guard)
        cleanup.push(guard.explain)
        yield server


class _DiskGuard:
    """Ends a server that is about to fill the disk: an archive of some kilobytes can hold terabytes."""

    def __init__(self, process: subprocess.Popen[bytes], data_dir: Path, log: Path, reserve_bytes: int) -> None:
        self._process, self._data_dir, self._log = process, data_dir, log
        self._reserve_bytes = reserve_bytes
        self._full = False
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pgdrill-disk-guard", daemon=True)

    def __enter__(self) -> _DiskGuard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._left.wait(0.5):
            try:
                disk = os.statvfs(self._data_dir)
            except FileNotFoundError:  # then so is the server, in a moment
                return
            if disk.f_bavail * disk.f_frsize < self._reserve_bytes:
                self._full = True
                kill(self._process)
                return

    def failure(self, wait_s: float) -> ServerError | None:
        try:
            status = self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None
        if self._full:
            free = f"less than {self._reserve_bytes >> 20} MiB were left on the disk of {self._data_dir}"
            return ServerError(f"the server was stopped: {free}", hint=MAKE_ROOM)
        if status == _LEASE_OVER:
            return ServerError("the server's time was over", hint="give it a longer lease")
        said = _tail(self._log)
        hint = MAKE_ROOM if os.strerror(errno.ENOSPC) in said else ""
        return ServerError(f"the server ended by itself, status {status}: {said}", hint=hint)

    def explain(
        self, _kind: type[BaseException] | None, exc: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        """Replace an error of the block by its reason, if that is the end of the server."""
        if not isinstance(exc, Exception):
            return False
        failure = self.failure(_DYING_S)  # connections are lost a moment before the server has ended
        if failure is None:
            return False
        raise failure from exc


def _socket_dir(folder: Path, isolation: Isolation, lease_s: float, cleanup: ExitStack) -> Path:
    """In the server's folder; in one of its own when that makes the socket's path too long."""
    socket_dir = folder / "s"
    if len(os.fsencode(socket_dir / f".s.PGSQL.{_PORT}")) > _SOCKET_PATH_BYTES:
        # Any longer TMPDIR has its reasons, such as room for the data; the socket needs none.
        short = Path("/tmp")  # noqa: S108 - run_folder makes a private one in it
        socket_dir = cleanup.enter_context(run_folder(short, lease_s=lease_s)) / "s"
    socket_dir.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(socket_dir, isolation.uid, isolation.gid)
    return socket_dir


def _wait_until_ready(server: Server) -> None:
    """Read the line pg_ctl waits for."""
    status_file = server.data_dir / "postmaster.pid"
    until = time.monotonic() + _START_S
    while time.monotonic() < until and server.process.poll() is None:
        with suppress(FileNotFoundError):
            lines = status_file.read_text(errors="replace").splitlines()
            if len(lines) > 7 and lines[7].strip() == "ready":
                return
        time.sleep(0.005)
    raise ServerError(
        f"{server.programs.label} does not start: {server.log_tail() or 'it says nothing'}",
        hint=f"pgdrill install-server {server.programs.major} brings one that does",
    )


def _stop(process: subprocess.Popen[bytes], isolation: Isolation) -> None:
    """At once, without a checkpoint: nothing of it is kept.

    In namespaces of its own everything ends with its first process, shared memory too. That one is deaf to SIGQUIT
    where this process is, as whatever a script starts with `&` is.
    """
    is_alone = {"pid", "ipc"} <= set(isolation.namespaces)
    kill(process, signal.SIGKILL if is_alone else signal.SIGQUIT)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        kill(process)


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").strip()


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
