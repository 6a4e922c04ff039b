"""Can the restored database be written to? Asked by writing, in a transaction that is rolled back.

Of each table one row is inserted once more, its keys and defaults made anew by the server: so identity, sequences,
defaults, triggers and rules act once. Values never leave the server; what it says of a refusal is a name or a code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any

import psycopg
from psycopg import sql

from backup_lib.inventory import SequenceValue
from verification.facts import Counter, Writing, Written

Connection = psycopg.Connection[tuple[Any, ...]]
Connect = Callable[[str], Connection]

MOST_TABLES = 200
MOST_SECONDS = 5.0  # for all tables of a database
STATEMENT_TIMEOUT_MS = 1000
_PER_QUERY = 100

_MEMBER = "SELECT FROM pg_depend m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid AND m.deptype = 'e'"

# Columns filled from a sequence: by identity, or by a default that is nothing but nextval.
# schema, table, column, schema and name of the sequence, is the column alone a key
_COUNTERS = f"""
SELECT DISTINCT n.nspname, c.relname, a.attname, sn.nspname, s.relname,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL
               AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
FROM pg_class s
JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid AND d.classid = 'pg_attrdef'::regclass
    OR d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype = 'i' AND d.refclassid = 'pg_class'::regclass
LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
JOIN pg_attribute a ON a.attrelid = coalesce(f.adrelid, d.refobjid) AND a.attnum = coalesce(f.adnum, d.refobjsubid)
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE s.relkind = 'S' AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype)
  AND (f.oid IS NULL OR pg_get_expr(f.adbin, f.adrelid) ~ '^nextval\\(''[^'']+''::regclass\\)$')
  AND NOT EXISTS ({_MEMBER})
ORDER BY 1, 2, 3
"""

# schema, table, columns to copy, columns to copy if defaults that are no sequence's are copied too
_TABLES = f"""
SELECT n.nspname, c.relname,
       array_remove(array_agg(CASE WHEN NOT a.atthasdef THEN a.attname END ORDER BY a.attnum), NULL),
       array_remove(array_agg(CASE WHEN coalesce(pg_get_expr(f.adbin, f.adrelid), '') !~ 'nextval\\('
                              THEN a.attname END ORDER BY a.attnum), NULL)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attidentity = '' AND a.attgenerated = ''
LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT EXISTS ({_MEMBER})
GROUP BY 1, 2
ORDER BY 1, 2
LIMIT {MOST_TABLES}
"""
_EXTREMES = sql.SQL("max({column})::numeric, min({column})::numeric FROM {table}")


def probe_writes(connect: Connect, databases: Sequence[str], restored: Iterable[SequenceValue]) -> Writing:
    """Write to each database, and leave it as it was.

    :param restored: the values its sequences stand at; what a probe has taken from them is set back.
    :raises psycopg.OperationalError: when the server goes away.
    """
    counters: list[Counter] = []
    written: list[Written] = []
    values = list(restored)
    for database in databases:
        with closing(connect(database)) as connection:
            connection.execute("SET client_encoding = 'UTF8'")  # in SQL_ASCII names would come as bytes
            counters += _counters(connection)
            try:
                with connection.transaction(force_rollback=True):
                    written += _write_all(connection)
            finally:
                _set_back(connection, [v for v in values if v.database in (None, database)])
    return Writing(counters=tuple(counters), written=tuple(written))


def _counters(connection: Connection) -> list[Counter]:
    columns = connection.execute(_COUNTERS).fetchall()
    found: list[Counter] = []
    for start in range(0, len(columns), _PER_QUERY):
        some = columns[start : start + _PER_QUERY]
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL(
                "SELECT {n}, CASE WHEN q.seqincrement > 0 THEN v.next <= x.top ELSE v.next >= x.low END,"
                " NOT q.seqcycle AND v.next NOT BETWEEN q.seqmin AND q.seqmax FROM pg_sequence q, {sequence} s,"
                " LATERAL (SELECT s.last_value::numeric + CASE WHEN s.is_called THEN q.seqincrement ELSE 0 END) v(next)"
                ", (SELECT {extremes}) x(top, low)"
                " WHERE q.seqrelid = {name}::regclass"
            ).format(
                n=sql.Literal(start + n),
                sequence=sql.Identifier(seq_schema, sequence),
                name=sql.Literal(sql.Identifier(seq_schema, sequence).as_string(connection)),
                # Of what is no key alone, equal values are no fault, and without its index the search takes long.
                extremes=_EXTREMES.format(column=sql.Identifier(column), table=sql.Identifier(schema, table))
                if is_key
                else sql.SQL("NULL::numeric, NULL::numeric"),
            )
            for n, (schema, table, column, seq_schema, sequence, is_key) in enumerate(some)
        )
        for n, behind, exhausted in connection.execute(query):
            schema, table, column, seq_schema, sequence, is_key = columns[n]
            found.append(
                Counter(
                    column=f"{schema}.{table}.{column}",
                    sequence=f"{seq_schema}.{sequence}",
                    is_key=is_key,
                    behind=bool(behind),
                    exhausted=bool(exhausted),
                )
            )
    return found


def _write_all(connection: Connection) -> list[Written]:
    tables = connection.execute(_TABLES).fetchall()
    connection.execute(f"SET LOCAL statement_timeout = {STATEMENT_TIMEOUT_MS}".encode())
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    deadline = time.monotonic() + MOST_SECONDS
    found = []
    for schema, table, own, with_defaults in tables:
        if time.monotonic() > deadline:
            break
        label = f"{schema}.{table}"
        attempts = [own] if own == with_defaults else [own, with_defaults]
        outcomes = []
        for columns in attempts:
            outcomes.append(_write(connection, label, sql.Identifier(schema, table), columns))
            if outcomes[-1].code is None:
                break
        found.append(outcomes[-1])
    return found


def _write(connection: Connection, label: str, table: sql.Identifier, columns: Sequence[str]) -> Written:
    """Insert a copy of one row, with `columns` as they are and all others made by the server."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = (
        sql.SQL("INSERT INTO {table} ({names}) SELECT {names} FROM {table} LIMIT 1")
        if columns
        else sql.SQL("INSERT INTO {table} DEFAULT VALUES")
    )
    try:
        with connection.transaction(force_rollback=True):
            rows = connection.execute(query.format(table=table, names=names)).rowcount
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return Written(table=label, rows=0, code=exc.sqlstate, by=exc.diag.constraint_name or "")
    return Written(table=label, rows=rows, code=None)


def _set_back(connection: Connection, values: Sequence[SequenceValue]) -> None:
    """Sequences do not roll back."""
    now = {
        (schema, name): last
        for schema, name, last in connection.execute("SELECT schemaname, sequencename, last_value FROM pg_sequences")
    }
    for value in values:
        key = (value.schema, value.name)
        if key in now and now[key] != (value.last_value if value.is_called else None):
            name = sql.Identifier(*(part for part in key if part)).as_string(connection)
            connection.execute("SELECT setval(%s::regclass, %s, %s)", [name, value.last_value, value.is_called])
