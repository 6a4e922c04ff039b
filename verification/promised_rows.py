"""The restored rows in the manifest's own words: its columns, its order, its encoding.

A dump that somebody else took beside the manifest was written under other session settings, and a table that got a
column from its parent late comes back with its columns in another order. Then neither the archive's text nor a dump
of the restored table can be the text whose digest was promised; the server can still write it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import psycopg
from psycopg import sql

from backup_lib.inventory import Inventory, TableData

Connection = psycopg.Connection[tuple[object, ...]]
Key = tuple[str | None, str]


def digests_as_promised(
    connection: Connection, promised: Inventory, archived: Inventory, restored: Inventory
) -> dict[Key, str]:
    """SHA-256 of COPY's text of each restored table whose promise neither the archive's nor the new dump's text meets.

    :param connection: to the restored database, in autocommit mode, with the pinned settings.
    """
    met = {_text_of(table) for side in (archived, restored) for table in side.tables}
    there = {(table.schema, table.name) for table in restored.tables}
    open_promises = [
        table
        for table in promised.tables
        if table.form == "copy" and _text_of(table) not in met and (table.schema, table.name) in there
    ]
    if not open_promises:
        return {}
    if promised.encoding:
        connection.execute("SELECT set_config('client_encoding', %s, false)", [promised.encoding])
    return dict(_digests(connection, open_promises))


def _digests(connection: Connection, tables: Iterable[TableData]) -> Iterable[tuple[Key, str]]:
    for table in tables:
        name = sql.Identifier(*(part for part in (table.schema, table.name) if part))
        columns = sql.SQL(", ").join(map(sql.Identifier, table.columns or ()))
        listed = sql.SQL("({})").format(columns) if table.columns else sql.SQL("")
        digest = sha256()
        try:
            with connection.cursor().copy(sql.SQL("COPY {} {} TO STDOUT").format(name, listed)) as rows:
                for row in rows:
                    digest.update(row)
        except psycopg.Error as exc:
            if exc.sqlstate is None:
                raise
            continue  # it lacks a column that was promised: then its rows are not as promised
        yield (table.schema, table.name), digest.hexdigest()


def _text_of(table: TableData) -> tuple[object, ...]:
    return (table.schema, table.name, table.form, table.columns, table.rows, table.sha256)
