"""A second reading of every table's rows, by the server itself: one sum a table, whatever the order of the rows.

pg_dump's text of the rows is compared with itself, in the archive and after the restore; a pg_dump that altered a value
on the way would be believed. So the source's server hashes its rows in the same snapshot, and the restored one its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

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
SELECT attrelid::bigint, array_agg(attname::text ORDER BY attname COLLATE "C"),
       array_agg(atttypid::bigint ORDER BY attname COLLATE "C"),
       array_agg(attnotnull AND NOT EXISTS (
           SELECT FROM pg_constraint WHERE conrelid = attrelid AND attnum = ANY(conkey) AND NOT convalidated
       ) ORDER BY attname COLLATE "C")
FROM pg_attribute
WHERE attrelid = ANY(%s) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' GROUP BY attrelid
"""
# A hash is the seed of the next column's, so that values are bound to their row and place. Of these types, by oid, no
# two values hash alike but by chance: hashint8extended folds a bigint's halves, so one half comes again by itself.
# Others are hashed as text, by the type's own function: a cast may be anybody's.
_INTEGER = "hashint4extended({0}::int4, {1})"
_BIGINT = "hashint4extended(({0} >> 32)::int4, hashint8extended({0}, {1}))"
_STRING = 'hashtextextended({0} COLLATE "C", {1})'
# NULL hashes as a value that hardly anybody stores, and is counted besides: cheaper than a hash of which it is.
_NO_NUMBER, _NO_TEXT = "coalesce({0}, -1263225677)", "coalesce({0}, 'pgdrill: no value')"
_COUNT_NULLS = " + (count(*) - count({0})) * {1}"
# How a value is prepared, what stands for NULL, and the hash.
_HASHES: Mapping[int, tuple[str, str, str]] = {
    21: ("{0}", _NO_NUMBER, _INTEGER),
    23: ("{0}", _NO_NUMBER, _INTEGER),
    20: ("{0}", _NO_NUMBER, _BIGINT),
    25: ("{0}", _NO_TEXT, _STRING),
    1043: ("{0}", _NO_TEXT, _STRING),
} | {
    oid: (f"textin({output}({{0}}))", _NO_TEXT, _STRING)
    for oid, output in {
        16: "boolout", 17: "byteaout", 114: "json_out", 700: "float4out", 701: "float8out", 1082: "date_out",
        1114: "timestamp_out", 1184: "timestamptz_out", 1700: "numeric_out", 2950: "uuid_out", 3802: "jsonb_out",
    }.items()
}  # fmt: skip
# The rest of the row at once, which takes twice as long; and what is too many for expressions within expressions.
_RECORD = 'hashtextextended(textin(record_out(ROW({0}))) COLLATE "C", {1})'
_MOST_NESTED = 100
_COLUMNS_PER_QUERY = 400


class _Column(NamedTuple):
    name: str
    type: int
    is_filled: bool  # has no NULL


_LARGE_OBJECTS = """
SELECT coalesce(sum(hashtextextended(oid::text || ' ' || md5(lo_get(oid)) COLLATE "C", 0)), 0)::text
FROM pg_largeobject_metadata
"""
_PROBE = "SELECT hashtextextended('pgdrill, by columns, NULLs counted' COLLATE \"C\", hashint8extended(1, 0))::text"


def is_cheap(conn: Connection, tables: Sequence[Table]) -> bool:
    row = conn.execute(_SIZE, [[table.oid for table in tables]]).fetchone()
    return row is not None and row[0] <= BY_DEFAULT_UP_TO_BYTES


class Summed(NamedTuple):
    """Of one table's own rows."""

    rows: int
    total: int  # of their hashes


def probe(conn: Connection) -> str:
    """The same where the same rows have the same sums: by this way of summing up, on this kind of machine."""
    row = conn.execute(_PROBE).fetchone()
    return row[0] if row is not None else ""


def sum_rows(conn: Connection, tables: Sequence[Table]) -> dict[int, Summed]:
    """By oid, of ordinary tables, their own rows only.

    :param conn: a pinned session. It is left as it was.
    """
    stored = [t for t in tables if t.kind == "r" and t.countable and t.readable and not t.is_member]
    found = conn.execute(_COLUMNS, [[table.oid for table in stored]]).fetchall()
    columns = {oid: list(map(_Column, names, types, filled)) for oid, names, types, filled in found}
    sums: dict[int, Summed] = {}
    for chunk in _together(stored, columns):
        together = _sum(conn, chunk, columns)
        # One that cannot be summed up must not take the others with it.
        for part in [together] if together is not None else [_sum(conn, [table], columns) for table in chunk]:
            sums.update(part or {})
    return sums


def _together(tables: Sequence[Table], columns: Mapping[int, Sequence[_Column]]) -> Iterator[list[Table]]:
    """Tables for one query each, which thousands of small ones would otherwise wait for."""
    chunk: list[Table] = []
    width = 0
    for table in tables:
        width += 1 + len(columns.get(table.oid, ()))
        if chunk and width > _COLUMNS_PER_QUERY:
            yield chunk
            chunk, width = [], 1 + len(columns.get(table.oid, ()))
        chunk.append(table)
    if chunk:
        yield chunk


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


def _sum(
    conn: Connection, tables: Sequence[Table], columns: Mapping[int, Sequence[_Column]]
) -> dict[int, Summed] | None:
    """None where the server cannot: a text has no room, or a type's function needs a search_path."""
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}::oid::bigint, count(*), coalesce(sum({}), 0){} FROM ONLY {} t").format(
            table.oid, *_hash_of_row(columns.get(table.oid, ())), sql.Identifier(table.schema, table.name)
        )
        for table in tables
    )
    try:
        with conn.transaction(force_rollback=True):  # which gives the locks back as well
            conn.execute("SET LOCAL lc_monetary = 'C'")  # every server has it
            # Beside pg_dump, which everybody waits for, one processor is enough.
            conn.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            return {oid: Summed(rows, int(total)) for oid, rows, total in conn.execute(query)}
    except psycopg.errors.QueryCanceled:
        raise
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return None


def _hash_of_row(columns: Sequence[_Column]) -> tuple[sql.Composable, sql.Composable]:
    """A row's hash, and what the NULLs of all rows add to their sum."""
    nested = [column for column in columns if column.type in _HASHES][:_MOST_NESTED]
    hashed: sql.Composable = sql.SQL("0")
    nulls: sql.Composable = sql.SQL("")
    for place, column in enumerate(nested, 1):
        name = sql.Identifier("t", column.name)
        prepare, no_value, hash_ = _HASHES[column.type]
        value: sql.Composable = sql.SQL(prepare).format(name)
        if not column.is_filled:
            value = sql.SQL(no_value).format(value)
            nulls += sql.SQL(_COUNT_NULLS).format(name, place)
        hashed = sql.SQL(hash_).format(value, hashed)
    rest = sql.SQL(", ").join(sql.Identifier("t", column.name) for column in columns if column not in nested)
    if len(nested) < len(columns) or not columns:
        hashed = sql.SQL(_RECORD).format(rest, hashed)
    return hashed, nulls


def by_label(conn: Connection, sums: Mapping[int, Summed], tables: Sequence[Table]) -> RowSums:
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
    totals = sum_up({oid: summed.total for oid, summed in sums.items()}, tables)
    return RowSums(
        probe=probe(conn),
        sums={label: str(total) for label, total in sorted(totals.items()) if label not in labels},
    )
