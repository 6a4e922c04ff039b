"""The sessions that load one database, all with the settings which its dump asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Lock

import psycopg

Connection = psycopg.Connection[tuple[object, ...]]

_SESSION = re.compile(
    rb"^(?:SET ([a-z_.]+) = [^\n]*;|SELECT pg_catalog\.set_config\('search_path', '[^'\n]*', false\);)[ \t]*$",
    re.MULTILINE,
)


class LoadSessions:
    """One that runs definitions in their order, and as many more as there is work beside it.

    :param connect: opens a connection in autocommit mode to a database of that name; called from several threads.
    """

    def __init__(self, connect: Callable[[str], Connection], database: str) -> None:
        self.database = database
        self.main = connect(database)
        self._connect = connect
        self._lock = Lock()
        self._opened = [self.main]
        self._idle: Queue[Connection] = Queue()
        self._settings: list[bytes] = []  # SET lines of the preamble, for each further connection

    def close(self) -> None:
        for connection in self._opened:
            connection.close()
        self._opened = []

    def learn(self, preamble: bytes) -> None:
        """What each further session is told before anything else."""
        self._settings += session_settings(preamble, self.main.info.server_version)

    def takes(self, statement: bytes) -> bool:
        """False for a setting that this server does not know and that says nothing about the data."""
        line = _SESSION.search(statement)
        return line is None or not _is_unknown(line[1], self.main.info.server_version)

    @contextmanager
    def worker(self) -> Iterator[Connection]:
        """One that nobody else uses meanwhile."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect(self.database)
            with self._lock:
                self._opened.append(connection)
            for line in self._settings:
                connection.execute(line)
        try:
            yield connection
        finally:
            self._idle.put(connection)


def session_settings(text: bytes, server_version: int) -> list[bytes]:
    """The statements of a dump's preamble that set up the session, as far as this server knows them.

    :param server_version: as libpq counts, 150018.
    """
    return [line[0] for line in _SESSION.finditer(text) if not _is_unknown(line[1], server_version)]


def _is_unknown(setting: bytes | None, server_version: int) -> bool:
    """A newer client's own setting; it says nothing about the data."""
    return setting == b"transaction_timeout" and server_version < 170000
