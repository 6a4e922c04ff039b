"""Tables that a dump has just made: emptied in the transaction that loads them, so that nothing slows their rows."""

from __future__ import annotations

import re

import psycopg

from backup_lib.load_order import QUALIFIED

Connection = psycopg.Connection[tuple[object, ...]]

_COPY = re.compile(rb"COPY " + QUALIFIED)
_COPY_TAIL = re.compile(rb" FROM stdin;\s*\Z")


def emptying(connection: Connection, statement: bytes) -> bytes:
    """Empty the table that a COPY statement fills, where that loses nothing; the COPY statement to use then."""
    target = _COPY.match(statement)
    if target is None or not _may_be_emptied(connection, target[1]):
        return statement
    connection.execute(b"TRUNCATE ONLY " + target[1])
    return _COPY_TAIL.sub(b" FROM stdin WITH (FREEZE)", statement)


def _may_be_emptied(connection: Connection, target: bytes) -> bool:
    """Whether a table is an ordinary one without rows, which no key refers to and no extension filled."""
    row = connection.execute(
        b"""SELECT c.relkind = 'r' AND pg_relation_size(c.oid) = 0
                AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.confrelid = c.oid)
            FROM pg_class c WHERE c.oid = '"""
        + target.replace(b"'", b"''")
        + b"'::regclass"
    ).fetchone()
    return bool(row and row[0])


def are_ordinary(connection: Connection, tables: tuple[bytes, bytes]) -> bool:
    # One that is missing is no error here: the server's answer to the key itself is the one to report.
    oids = b", ".join(b"to_regclass('" + table.replace(b"'", b"''") + b"')" for table in tables)
    row = connection.execute(b"SELECT bool_and(relkind = 'r') FROM pg_class WHERE oid IN (" + oids + b")").fetchone()
    return bool(row and row[0])
