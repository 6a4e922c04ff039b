"""One throwaway server for many restores, emptied before each; where it cannot be emptied, another one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType

import psycopg
from psycopg import sql

from backup_lib.errors import BackupError
from verification.restoring import Connection, connector
from verification.sandbox.choice import Chosen

_MAINTENANCE = "template1"
_DATABASES = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
_TABLESPACES = "SELECT spcname FROM pg_tablespace WHERE spcname NOT LIKE 'pg\\_%'"
_ROLES = "SELECT rolname FROM pg_roles WHERE oid >= 16384"


class SharedServer:
    """A context manager; `empty` hands out the server as if it were new.

    :param start: starts a server of the kind that is needed.
    :param reusable: False where restores write into databases that every server has; then each gets its own.
    """

    def __init__(self, start: Callable[[], AbstractContextManager[Chosen]], *, reusable: bool) -> None:
        self._start = start
        self._reusable = reusable
        self._chosen: Chosen | None = None
        self._cleanup = ExitStack()

    def __enter__(self) -> SharedServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._cleanup.close()

    def empty(self) -> Chosen:
        """:raises ServerError: when none can be started."""
        if self._chosen is not None and not (self._reusable and _is_emptied(self._chosen)):
            self._cleanup.close()
            self._chosen = None
        if self._chosen is None:
            self._chosen = self._cleanup.enter_context(self._start())
        return self._chosen


def _is_emptied(chosen: Chosen) -> bool:
    try:
        with connector(chosen.sandbox)(_MAINTENANCE) as connection:
            _empty(connection)
    except (psycopg.Error, BackupError):  # it has ended, or something holds on to what it was given
        return False
    return True


def _empty(connection: Connection) -> None:
    for query, drop in (
        (_DATABASES, "DROP DATABASE {} WITH (FORCE)"),
        (_TABLESPACES, "DROP TABLESPACE {}"),
        (_ROLES, "DROP ROLE {}"),
    ):
        for (name,) in connection.execute(query.encode()).fetchall():
            connection.execute(sql.SQL(drop).format(sql.Identifier(str(name))))
    # Settings of roles that every server has, which a manifest's globals brought.
    connection.execute("DELETE FROM pg_catalog.pg_db_role_setting")
    connection.execute("DELETE FROM pg_catalog.pg_parameter_acl") if connection.info.server_version >= 150000 else None
