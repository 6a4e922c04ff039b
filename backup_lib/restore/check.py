"""After a restore: is in the target what the archive holds? Counts of rows and sequences, asked of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import psycopg
from psycopg import sql

from backup_lib import source
from backup_lib.inventory import SequenceValue, TableData
from backup_lib.load_order import Table, parse_table
from backup_lib.quantity import quantity
from backup_lib.restore.target import Connection


def target_of(table: TableData) -> Table:
    """The table whose name the rows are loaded by: its partitioned root, where pg_dump wrote that."""
    own = tuple(part for part in (table.schema, table.name) if part)
    target = parse_table(table.target)
    return target if len(target) == len(own) else own


def expected_rows(tables: Sequence[TableData]) -> dict[Table, int]:
    """Rows by the table they are loaded by."""
    expected: Counter[Table] = Counter()
    for table in tables:
        expected[target_of(table)] += table.rows
    return dict(expected)


def check_counts(conn: Connection, tables: Sequence[TableData]) -> list[str]:
    """Each table that holds another number of rows than the archive, in a sentence.

    An extension's own table may hold the rows its script made besides.
    """
    known: dict[Table, source.Table] = {(t.schema, t.name): t for t in source.list_tables(conn)}
    wrong = []
    for name, rows in sorted(expected_rows(tables).items()):
        table = known.get(name)
        counted = _count(conn, table) if table is not None else None
        enough = counted is not None and counted >= rows and table is not None and table.is_member
        if counted != rows and not enough:
            found = "is not there" if counted is None else f"has {quantity(counted, 'row')}"
            wrong.append(f"{'.'.join(name)} {found}, the archive holds {rows:,}")
    return wrong


def _count(conn: Connection, table: source.Table) -> int:
    only = sql.SQL("ONLY " if table.kind == "r" else "")
    query = sql.SQL("SELECT count(*) FROM {}{}").format(only, sql.Identifier(table.schema, table.name))
    row = conn.execute(query).fetchone()
    return int(row[0]) if row else 0


def check_sequences(conn: Connection, values: Sequence[SequenceValue]) -> list[str]:
    """Each sequence that does not go on where the archive says, in a sentence."""
    wrong = []
    for value in values:
        name = sql.Identifier(*(part for part in (value.schema, value.name) if part))
        try:
            with conn.transaction():
                row = conn.execute(sql.SQL("SELECT last_value, is_called FROM {}").format(name)).fetchone()
        except psycopg.errors.UndefinedTable:
            row = None
        if row != (value.last_value, value.is_called):
            wrong.append(f"the sequence {value.label} does not stand where the archive says")
    return wrong
