"""Are the restored rows the archived ones? Asked of the server, where the texts of the two dumps differ.

Order, session settings, the form of the dump and the order of columns change the text of equal rows. So the
archived rows of the tables in question are loaded once more, into empty tables of the same names in a transaction
that is rolled back, and the server compares what it has read with what was restored, as multisets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex

import psycopg
from psycopg import sql

from backup_lib.dump_reader import Connect as ConnectTo
from backup_lib.dump_reader import CopyData, CopyStart, EntryStart, Event, Sql
from backup_lib.event_triggers import event_triggers_off
from backup_lib.load_order import Table, parse_table, table_of
from backup_lib.load_sessions import session_settings
from backup_lib.statement_errors import message_without_values
from verification.facts import Difference

Connection = psycopg.Connection[tuple[object, ...]]
PLACES = 20  # rows named of one table


@dataclass(frozen=True, slots=True)
class _Pair:
    """A table with the archived rows beside the restored one, under its new name."""

    table: Table
    kept: Table  # the restored one

    @property
    def archived(self) -> sql.Identifier:
        return sql.Identifier(*self.table)

    @property
    def restored(self) -> sql.Identifier:
        return sql.Identifier(*self.kept)


def compare_rows(connection: Connection, events: Iterable[Event], tables: Iterable[Table]) -> dict[Table, Difference]:
    """Compare the archived rows of `tables` with the restored ones, in the database of `connection`.

    :param connection: in autocommit mode; a superuser's.
    :param events: the archive's, from its start, of this database alone.
    """
    refused: dict[Table, str] = {}
    with connection.transaction(force_rollback=True), event_triggers_off(connection):
        connection.execute("SET LOCAL session_replication_role = replica")  # the archive's triggers are not asked
        connection.execute("SET LOCAL array_nulls = on")  # off, it reads a NULL as text: that is to be seen
        pairs: dict[Table, _Pair] = {}
        for table in sorted(set(tables)):
            with _noting(connection, table, refused):
                pairs[table] = _swap(connection, table)
        _load(connection, events, set(pairs), refused)
        found: dict[Table, Difference] = {}
        for table in pairs.keys() - refused.keys():
            with _noting(connection, table, refused):
                found[table] = _compare(connection, pairs[table])
    return found | {table: Difference(content="not_compared", places=(why,)) for table, why in refused.items()}


@contextmanager
def _noting(connection: Connection, table: Table, refused: dict[Table, str]) -> Iterator[None]:
    """A savepoint, so that what the server refuses of one table keeps no other from being compared."""
    try:
        with connection.transaction():
            yield
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        refused[table] = f"the server refused to compare them: {message_without_values(exc, of_rows=True)}"


def _swap(connection: Connection, table: Table) -> _Pair:
    pair = _Pair(table, (*table[:-1], f"pgdrill_restored_{token_hex(8)}"))
    connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(pair.archived, sql.Identifier(pair.kept[-1])))
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING GENERATED)").format(pair.archived, pair.restored))
    return pair


def _load(connection: Connection, events: Iterable[Event], tables: set[Table], refused: dict[Table, str]) -> None:
    entry: EntryStart | None = None
    events = iter(events)
    for event in events:
        match event:
            case EntryStart():
                entry = event
            case CopyStart(statement, target) if parse_table(target) in tables:
                noting = _noting(connection, parse_table(target), refused)
                with noting, connection.cursor().copy(statement) as copy:
                    for data in _rows(events):
                        copy.write(data)
            case Sql(text) if entry is None:
                for line in session_settings(text, connection.info.server_version):
                    connection.execute(line)
            case Sql(text) if entry is not None and entry.type == "TABLE DATA" and table_of(entry) in tables:
                with _noting(connection, table_of(entry), refused):
                    connection.execute(text)
            case ConnectTo():
                entry = None
            case _:
                pass


def _rows(events: Iterator[Event]) -> Iterator[bytes]:
    """The rows up to the end of their block."""
    for event in events:
        if not isinstance(event, CopyData):
            return
        yield event.data


def _compare(connection: Connection, pair: _Pair) -> Difference:
    (kind,) = _row(connection, sql.SQL("SELECT relkind::text FROM pg_class WHERE oid = {}::regclass"), pair.kept)
    names = {
        "archived": pair.archived,
        "restored": sql.SQL("{}").format(pair.restored) if kind == "p" else sql.SQL("ONLY {}").format(pair.restored),
    }
    missing, unexpected = (
        int(str(connection.execute(query.format(**names)).fetchone()[0]))  # type: ignore[index]
        for query in (
            sql.SQL("SELECT count(*) FROM (SELECT (a.*)::text FROM {archived} a EXCEPT ALL "
                    "SELECT (r.*)::text FROM {restored} r) x"),
            sql.SQL("SELECT count(*) FROM (SELECT (r.*)::text FROM {restored} r EXCEPT ALL "
                    "SELECT (a.*)::text FROM {archived} a) x"),
        )
    )  # fmt: skip
    if not missing and not unexpected:
        return Difference(content="reordered")
    key = _key_columns(connection, pair)
    return Difference(
        content="different",
        missing=missing,
        unexpected=unexpected,
        columns=_differing_columns(connection, pair, names, key) if key else {},
        places=_places(connection, names, key),
    )


def _key_columns(connection: Connection, pair: _Pair) -> list[str]:
    rows = connection.execute(
        """SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY k(number, place)
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
           WHERE i.indrelid = %s::regclass AND i.indisprimary ORDER BY k.place""",
        [pair.restored.as_string(connection)],
    ).fetchall()
    return [str(name) for (name,) in rows]


def _differing_columns(
    connection: Connection, pair: _Pair, names: dict[str, sql.Composable], key: list[str]
) -> dict[str, int]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        [pair.restored.as_string(connection)],
    ).fetchall()
    columns = [str(name) for (name,) in rows if name not in key]
    if not columns:
        return {}
    counts = sql.SQL(", ").join(
        sql.SQL("count(*) FILTER (WHERE a.{0}::text IS DISTINCT FROM r.{0}::text)").format(sql.Identifier(name))
        for name in columns
    )
    on = sql.SQL(" AND ").join(sql.SQL("a.{0}::text = r.{0}::text").format(sql.Identifier(name)) for name in key)
    query = sql.SQL("SELECT {counts} FROM {archived} a JOIN {restored} r ON {on}").format(counts=counts, on=on, **names)
    found = connection.execute(query).fetchone() or ()
    return {name: int(str(count)) for name, count in zip(columns, found, strict=True) if count}


def _places(connection: Connection, names: dict[str, sql.Composable], key: list[str]) -> tuple[str, ...]:
    """Rows by their number in the archive's table and the digest of their key: they are found, but not shown."""
    what = sql.SQL("ROW({})").format(sql.SQL(", ").join(map(sql.Identifier, key))) if key else sql.SQL("a")
    query = sql.SQL(
        """SELECT a.number, md5(a.key) FROM (
               SELECT row_number() OVER (ORDER BY a.ctid) AS number, {what}::text AS key, (a.*)::text AS row
               FROM {archived} a) a
           WHERE a.row IN (SELECT (a.*)::text FROM {archived} a EXCEPT ALL SELECT (r.*)::text FROM {restored} r)
           ORDER BY 1 LIMIT {limit}"""
    ).format(what=what, limit=PLACES, **names)
    named = ", ".join(key)
    return tuple(
        f"archived row {number}" + (f" ({named}: md5 {digest})" if key else f" (md5 {digest})")
        for number, digest in connection.execute(query).fetchall()
    )


def _row(connection: Connection, query: sql.SQL, table: Table) -> tuple[object, ...]:
    literal = sql.Literal(sql.Identifier(*table).as_string(connection))
    return connection.execute(query.format(literal)).fetchone() or (None,)
