"""The referee: what this very server makes of the archive's own definitions.

A server writes some definitions in other words than they were given to it. A second, empty database in the same
sandbox is built from the archive's definitions alone and dumped by the same pg_dump: the restored database must
equal it, entry by entry. That needs no list of rewordings, and holds across majors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg

from backup_lib.dump_reader import DumpEnd, EntryStart, Event, InventoryBuilder, Sql, read_events
from backup_lib.inventory import Inventory
from backup_lib.plain_loader import Loader, Mend
from verification.dumping import with_public
from verification.facts import Definitions, is_of_database
from verification.sandbox import Sandbox

DATABASE = "pgdrill_referee"
_PREAMBLE = (
    b"SET client_encoding = '%s';\nSET standard_conforming_strings = on;\nSET check_function_bodies = false;\n"
    b"SET xmloption = content;\nSET client_min_messages = warning;\nSET row_security = off;\n"
    b"SELECT pg_catalog.set_config('search_path', '', false);\n"
)


def build_referee(
    sandbox: Sandbox,
    connect: Callable[[str], psycopg.Connection[tuple[object, ...]]],
    definitions: Definitions,
    *,
    database: str | None,
    encoding: str,
    options: tuple[str, ...],
    mend: Mend | None = None,
) -> tuple[Inventory, Definitions]:
    """Build one database from its definitions, dump it, and drop nothing: the sandbox is thrown away anyway.

    :param database: the section of the archive, as its entries name it.
    :param encoding: the dump's client_encoding.
    :param options: those the restored database was dumped with.
    :param mend: makes what a part of a database stands on.
    """
    with Loader(connect, DATABASE, mend=mend) as loader:
        loader.load(_events(definitions, database, encoding))
    texts = Definitions()
    builder = InventoryBuilder(on_definition=texts.add)
    # Not --schema-only where the archive is not: that leaves out large objects and what fills materialized views.
    wanted = [option for option in options if option != "--create"]
    with sandbox.dump(DATABASE, wanted) as chunks:
        for event in read_events(chunks):
            builder.feed(event)
    made = [entry for entry in definitions.entries if entry.database == database]
    inventory = with_public(sandbox, connect, DATABASE, wanted, builder.result(), texts, like=made)
    placed = tuple(replace(entry, database=database) for entry in inventory.entries)
    return replace(inventory, entries=placed), texts


def _events(definitions: Definitions, database: str | None, encoding: str) -> Iterator[Event]:
    yield Sql(_PREAMBLE % encoding.encode())
    for entry, text in definitions:
        if entry.database == database and not is_of_database(entry):
            yield EntryStart(entry.type, entry.schema, entry.name, entry.owner)
            yield Sql(text + b"\n")
            if text.startswith(b"SET default_table"):  # for this entry alone
                yield Sql(b"RESET default_tablespace;\n")
                yield Sql(b"RESET default_table_access_method;\n")
    yield DumpEnd(complete=True, ends_in=None)
