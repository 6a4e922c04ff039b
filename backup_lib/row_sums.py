"""A second reading of every table's rows, by the server itself: one sum a table, whatever the order of the rows.

pg_dump's text of the rows is compared with itself, in the archive and after the restore; a pg_dump that altered a value
on the way would be believed. So the source's server hashes its rows in the same snapshot, and the restored one its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from backup_lib.manifest import RowSums
from backup_lib.source import Connection, Table, sum_up

BY_DEFAULT_UP_TO_BYTES = 2 << 30  # of all tables together; one core hashes 2 GiB in about a minute
_SIZE = """
SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint FROM pg_class
WHERE oid = ANY(%s) OR oid = 'pg_largeobject'::regclass
"""
# By name: a restore may order an inheritance child's columns anew. A generated column is the restoring server's work.
_COLUMNS = """
SELECT attrelid::bigint, array_agg(attname::text ORDER BY attname COLLATE "C") FROM pg_attribute
WHERE attrelid = ANY(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' GROUP BY attrelid
"""
_LARGE_OBJECTS = """
SELECT coalesce(sum(hashtextextended(oid::text || ' ' || md5(lo_get(oid)) COLLATE "C", 0)), 0)::text
FROM pg_largeobject_metadata
"""
_PROBE = "SELECT hashtextextended('pgdrill' COLLATE \"C\", 0)::text"


def is_cheap(conn: Connection, tables: Sequence[Table]) -> bool:
    row = conn.execute(_SIZE, [[table.oid for table in tables]]).fetchone()
    return row is not None and row[0] <= BY_DEFAULT_UP_TO_BYTES


def sum_rows(conn: Connection, tables: Sequence[Table]) -> dict[int, int]:
    """By oid, of ordinary tables, their own rows only.

    :param conn: a pinned session. It is left as it was.
    """
    stored = [t for t in tables if t.kind == "r" and t.countable and t.readable and not t.is_member]
    columns: dict[int, list[str]] = dict(conn.execute(_COLUMNS, [[table.oid for table in stored]]).fetchall())
    sums: dict[int, int] = {}
    for table in stored:
        total = _sum(conn, table, columns.get(table.oid, []))
        if total is not None:
            sums[table.oid] = total
    return sums


def sum_large_objects(conn: Connection) -> str | None:
    """Of their numbers and contents; None where one may not be read, or has no room."""
    try:
        with conn.transaction(force_rollback=True):
            row = conn.execute(_LARGE_OBJECTS).fetchone()
    except psycopg.errors.QueryCanceled:
        raise
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return None
    return row[0] if row is not None else None


def _sum(conn: Connection, table: Table, columns: Iterable[str]) -> int | None:
    """None where the server cannot: the text of a row has no room, or a type's function needs a search_path."""
    row = sql.SQL(", ").join(sql.Identifier("t", column) for column in columns)
    query = sql.SQL(
        'SELECT coalesce(sum(pg_catalog.hashtextextended(ROW({})::text COLLATE "C", 0)), 0) FROM ONLY {} t'
    ).format(row, sql.Identifier(table.schema, table.name))
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("SET LOCAL lc_monetary = 'C'")  # every server has it
            found: tuple[Any, ...] | None = conn.execute(query).fetchone()
    except psycopg.errors.QueryCanceled:
        raise
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return None
    return int(found[0]) if found is not None else None


def by_label(conn: Connection, sums: dict[int, int], tables: Sequence[Table]) -> RowSums:
    """As the manifest keeps them; a partitioned table only where all its partitions have theirs."""
    parents = {table.oid: table.parents for table in tables}
    lacking = {table.oid for table in tables if table.has_rows and table.oid not in sums}
    above = list(lacking)
    while above:
        for oid in parents.get(above.pop(), ()):
            if oid not in lacking:
                lacking.add(oid)
                above.append(oid)
    labels = {table.label for table in tables if table.oid in lacking}
    totals = sum_up(sums, tables)
    row = conn.execute(_PROBE).fetchone()
    return RowSums(
        probe=row[0] if row is not None else "",
        sums={label: str(total) for label, total in sorted(totals.items()) if label not in labels},
    )
