"""Loads a dump in one transaction: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import psycopg
from psycopg.errors import DependentObjectsStillExist

from backup_lib.dump_events import CopyData, CopyEnd, CopyStart, DumpEnd, EntryStart, Event, Sql
from backup_lib.errors import DamagedArchiveError, RestoreError
from backup_lib.load_sessions import session_settings
from backup_lib.restore.target import Connection
from backup_lib.statement_errors import context_without_values, message_without_values

_HINTS = {
    "53200": "more objects than one transaction can lock here: raise max_locks_per_transaction, or restore into a "
    "new database: --create-database NAME",
    "53100": "the server's disk is full: free some space on it, and restore again",
    "55P03": "somebody holds a table for longer than a minute: end that session, or stop the application first",
    "40P01": "the application uses the tables meanwhile: stop it, and restore again",
    "42501": "restore as a superuser, or as the owner of the database",
    "2BP01": "drop those first, or bring back the rows alone: --data-only --table NAME --clean",
    "57014": "it was cancelled at the server",
}


def load_in_transaction(conn: Connection, events: Iterable[Event]) -> None:
    """Run all events in the transaction that the session is in, in their order.

    :raises RestoreError: at the first statement the server refuses, in its words without values of rows.
    :raises psycopg.OperationalError: when the server goes away.
    """
    entry: EntryStart | None = None
    stream = iter(events)
    for event in stream:
        try:
            match event:
                case EntryStart():
                    entry = event
                case Sql(text):
                    _execute(conn, text, entry)
                case CopyStart():
                    with conn.cursor().copy(event.statement) as copy:
                        for data in _rows(stream):
                            copy.write(data)
                case DumpEnd(complete=False):
                    raise DamagedArchiveError(
                        "the archive is cut short", hint="it was whole a moment ago: see its disk, and restore again"
                    )
        except psycopg.Error as exc:
            raise refused(exc, entry.label if entry else "session settings", entry) from exc


def _execute(conn: Connection, text: bytes, entry: EntryStart | None) -> None:
    if entry is None:  # the preamble, where a newer client sets what an older server does not know
        for line in session_settings(text, conn.info.server_version):
            conn.execute(line)
    else:
        conn.execute(text)


def _rows(stream: Iterator[Event]) -> Iterator[bytes]:
    for event in stream:
        match event:
            case CopyData(data):
                yield data
            case CopyEnd():
                return
            case _:
                break
    raise DamagedArchiveError("the archive is cut short inside its rows", hint="see its disk, and restore again")


def refused(exc: psycopg.Error, label: str, entry: EntryStart | None = None) -> RestoreError:
    """What the server said of an entry, without what may be a row's values."""
    if exc.sqlstate is None:
        return RestoreError("the server went away", hint="see its log, and restore again")
    of_rows = entry is not None and entry.type == "TABLE DATA"
    depending = exc.diag.message_detail if isinstance(exc, DependentObjectsStillExist) else None
    place = depending or context_without_values(exc)
    message = f"{label}: {message_without_values(exc, of_rows=of_rows)}{f' ({place})' if place else ''}"
    return RestoreError(message, hint=_HINTS.get(exc.sqlstate, "mend what the server names, and restore again"))
