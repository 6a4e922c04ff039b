"""Two databases change names in one transaction: both have their new names, or both their old ones.

Who connects meanwhile is kept waiting by the server and then turned away once (`just been dropped or renamed`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for

import psycopg
from psycopg import errors as pg_errors
from psycopg import sql

from backup_lib.errors import RestoreError
from backup_lib.restore.target import Connection, TargetServer

ATTEMPTS = 3  # the server waits five seconds for sessions to leave, each time
_AGAIN_S = 0.05


def oid_of(conn: Connection, name: str) -> int | None:
    row = conn.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", [name]).fetchone()
    return int(row[0]) if row else None


def name_of(conn: Connection, oid: int | None) -> str | None:
    """What a database is called now: names change, its oid does not."""
    row = conn.execute("SELECT datname FROM pg_database WHERE oid = %s", [oid]).fetchone() if oid is not None else None
    return str(row[0]) if row else None


def rename(server: TargetServer, renames: Sequence[tuple[str, str]]) -> float:
    """Rename databases, in this order, in one transaction; sessions in them are ended.

    From the first rename on, the server lets nobody in until the transaction ends; who is still in meanwhile is
    ended from a second session.

    :return: seconds in which nobody could connect.
    :raises RestoreError: when sessions cannot be ended, or the role may not; nothing is renamed then.
    """
    names = [before for before, _ in renames]
    with server.maintenance(avoid=names) as renaming, server.maintenance(avoid=names) as ending:
        for attempt in range(1, ATTEMPTS + 1):
            begun = time.monotonic()
            try:
                with ThreadPoolExecutor(1, thread_name_prefix="pgdrill-rename") as beside:
                    work = beside.submit(_rename, renaming, renames)
                    while not wait_for([work], timeout=_AGAIN_S).done:
                        end_sessions(ending, names)
                    work.result()
                return time.monotonic() - begun
            except pg_errors.ObjectInUse as exc:
                if attempt == ATTEMPTS:
                    raise RestoreError(
                        f"the names were not changed: {exc.diag.message_primary}: {exc.diag.message_detail}",
                        hint="stop the application (--stop-command), and go on: --resume",
                    ) from exc
            except psycopg.Error as exc:
                message = exc.diag.message_primary or "the server went away"
                raise RestoreError(
                    f"the names were not changed: {message}", hint="mend that, and go on: --resume"
                ) from exc
    raise AssertionError("unreachable: the last attempt returns or raises")


def _rename(conn: Connection, renames: Iterable[tuple[str, str]]) -> None:
    with conn.transaction():
        for before, after in renames:
            conn.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(before), sql.Identifier(after))
            )


def end_sessions(conn: Connection, databases: Sequence[str]) -> None:
    """All that this role may end; the others keep the rename from happening, which then says so."""
    try:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s)", [list(databases)]
        )
    except pg_errors.InsufficientPrivilege:
        own = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s) AND usename = current_user"
        )
        conn.execute(own, [list(databases)])
