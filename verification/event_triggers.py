"""Would the archive's own event triggers refuse what its restore ends with?

pg_dump writes REFRESH MATERIALIZED VIEW behind the event triggers. The drill refreshes without them, so that a log
of DDL gets no row more than it had; a trigger that raises an error would keep psql and pg_restore from filling the
view, and that must be seen all the same.
"""

from __future__ import annotations

import psycopg

from backup_lib.inventory import Entry
from backup_lib.statement_errors import StatementError, message_without_values

Connection = psycopg.Connection[tuple[object, ...]]
_FILLED = "MATERIALIZED VIEW DATA"


def refused_refreshes(connection: Connection, definitions: list[tuple[Entry, bytes]]) -> list[StatementError]:
    """What event triggers refuse of the refreshes among `definitions`, tried and rolled back.

    :param connection: to the restored database, after everything else was asked of it: sequences that the
        triggers advance stay so.
    """
    if all(entry.type != "EVENT TRIGGER" for entry, _ in definitions):
        return []
    if connection.info.server_version >= 170000:
        connection.execute("SET event_triggers = on")
    tried = ((entry, _refused(connection, text)) for entry, text in definitions if entry.type == _FILLED)
    return [
        StatementError(entry=entry.label, sqlstate=exc.sqlstate, message=message_without_values(exc))
        for entry, exc in tried
        if exc is not None and exc.sqlstate is not None
    ]


def _refused(connection: Connection, statement: bytes) -> psycopg.Error | None:
    """The archive's own words, since an entry's name has no line ends; without any rows."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.strip().removesuffix(b";") + b" WITH NO DATA")
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return exc
    return None
