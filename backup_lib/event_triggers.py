"""Event triggers that came with a dump: they must not act on the statements of the restore itself.

pg_dump makes them next to last, but REFRESH MATERIALIZED VIEW comes behind them: a trigger that keeps a log of all
DDL would add a row that the source never had.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

Connection = psycopg.Connection[tuple[object, ...]]

# Of those that fire: what stops them, and what makes each again what it is. Altering one fires none, and unlike
# `SET event_triggers` all majors have it.
_FIRING = b"""
SELECT format('ALTER EVENT TRIGGER %I DISABLE', evtname),
       format('ALTER EVENT TRIGGER %I ENABLE %s', evtname,
              CASE evtenabled WHEN 'R' THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' END)
FROM pg_catalog.pg_event_trigger
WHERE evtenabled <> 'D' AND pg_catalog.pg_has_role(evtowner, 'USAGE')
"""


@contextmanager
def event_triggers_off(connection: Connection) -> Iterator[None]:
    """A transaction in which this role's event triggers do not fire; to all others they are what they were."""
    with connection.transaction():
        firing = _firing(connection)
        for stop, _ in firing:
            connection.execute(stop)
        yield
        for _, start in firing:
            connection.execute(start)


def _firing(connection: Connection) -> list[tuple[bytes, bytes]]:
    """As bytes, since a session in SQL_ASCII could not decode a name."""
    result = connection.execute(_FIRING).pgresult
    if result is None:
        return []
    values = ((result.get_value(row, 0), result.get_value(row, 1)) for row in range(result.ntuples))
    return [(stop, start) for stop, start in values if stop is not None and start is not None]
