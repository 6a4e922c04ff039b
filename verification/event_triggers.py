"""Would the archive's own event triggers refuse what its restore ends with?

pg_dump writes REFRESH MATERIALIZED VIEW behind the event triggers. The drill refreshes without them, so that a log
of DDL gets no row more than it had; a trigger that raises an error would keep psql and pg_restore from filling the
view, and that must be seen all the same.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from backup_lib.inventory import Entry
from backup_lib.plain_loader import StatementError, message_without_values

Connection = psycopg.Connection[tuple[object, ...]]
_FILLED = "MATERIALIZED VIEW DATA"


def refused_refreshes(connection: Connection, entries: list[Entry]) -> list[StatementError]:
    """What event triggers refuse of the refreshes among `entries`, tried and rolled back.

    :param connection: to the restored database, after everything else was asked of it: sequences that the
        triggers advance stay so.
    """
    if all(entry.type != "EVENT TRIGGER" for entry in entries):
        return []
    if connection.info.server_version >= 170000:
        connection.execute("SET event_triggers = on")
    tried = ((entry, _refused(connection, entry)) for entry in entries if entry.type == _FILLED)
    return [
        StatementError(entry=entry.label, sqlstate=exc.sqlstate, message=message_without_values(exc))
        for entry, exc in tried
        if exc is not None and exc.sqlstate is not None
    ]


def _refused(connection: Connection, entry: Entry) -> psycopg.Error | None:
    view = sql.Identifier(*(part for part in (entry.schema, entry.name) if part))
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(sql.SQL("REFRESH MATERIALIZED VIEW {} WITH NO DATA").format(view))
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return exc
    return None
