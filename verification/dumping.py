"""The restored databases dumped again, the rows of large tables by pg_dumps of their own beside the first, or not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

from backup_lib.cluster import quote_ident
from backup_lib.dump_reader import read_events
from backup_lib.dump_shape import PUBLIC_ALONE, about_public, lacks_public
from backup_lib.inventory import Entry, Inventory, TableData
from backup_lib.inventory_builder import InventoryBuilder
from verification.facts import Definitions
from verification.restoring import Connect
from verification.sandbox import Sandbox

SHARED_FROM_BYTES = 64 << 20  # of rows; less, and a second pg_dump costs more than it saves
_TABLES = b"""SELECT n.nspname::text, c.relname::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'"""
_ABOUT_DEFINITIONS = frozenset({"--create", "--no-owner", "--data-only"})


def dump_again(
    sandbox: Sandbox,
    connect: Connect,
    databases: list[str],
    options: tuple[str, ...],
    archived: Inventory,
    *,
    without: Collection[TableData] = frozenset(),
    jobs: int,
) -> tuple[Inventory, Definitions]:
    """What pg_dump, with these options, says of the restored databases.

    :param archived: what was to be loaded; says how large which table is.
    :param without: tables whose rows are not wanted.
    :param jobs: how many pg_dumps may read one database. Nobody writes there, so they all see the same.
    :raises ProgramError: when one of them fails.
    """
    definitions = Definitions()
    parts = []
    for database in databases:
        makes_it = any(e.type == "DATABASE" and e.name == database for e in archived.entries)
        wanted = [option for option in options if option != "--create" or makes_it]
        section = database if archived.scope == "cluster" else None
        own = [t for t in archived.tables if section in (None, t.database) and t not in without]
        large = share_out(own, jobs, encoding=archived.encoding)
        large = _present(connect, database, large) if large else []
        part = _dump_shared(sandbox, database, wanted, definitions, large, without)
        there = [entry for entry in archived.entries if section in (None, entry.database)]
        part = with_public(sandbox, connect, database, wanted, part, definitions, like=there)
        parts.append(_placed(part, database) if section is not None else part)
    whole = parts[0]
    for part in parts[1:]:
        whole = replace(
            whole,
            entries=whole.entries + part.entries,
            tables=whole.tables + part.tables,
            sequences=whole.sequences + part.sequences,
            large_objects=whole.large_objects + part.large_objects,
        )
    return whole, definitions


def dump_rows(
    sandbox: Sandbox,
    connect: Connect,
    database: str,
    options: tuple[str, ...],
    tables: Sequence[TableData],
    *,
    jobs: int,
) -> tuple[TableData, ...]:
    """What pg_dump says of the rows of these tables, as far as they are there.

    :raises ProgramError: when one of them fails.
    """
    shares = _present(connect, database, _evenly(tables, jobs))
    with ThreadPoolExecutor(jobs, thread_name_prefix="pgdrill-dump") as pool:
        dumps = pool.map(lambda share: _dump_share(sandbox, database, options, share), shares)
        return tuple(table for dump in dumps for table in dump.tables)


def with_public(
    sandbox: Sandbox,
    connect: Connect,
    database: str,
    options: Sequence[str],
    dumped: Inventory,
    definitions: Definitions,
    *,
    like: Sequence[Entry],
) -> Inventory:
    """With the schema public and what is said of it, where the archive makes it: a dump of all schemas leaves it out.

    :param dumped: what pg_dump said of that database with these options, and `definitions` its texts.
    :param like: entries of the archive; those of a dump of chosen schemas (`pg_dump -n public`) make it.
    :raises ProgramError: when pg_dump fails.
    """
    with closing(connect(database)) as connection:
        if not lacks_public(connection, dumped.entries, like):
            return dumped
    alone = Definitions()
    chosen = [option for option in options if option not in ("--create", "--schema-only")]
    made = _dump(sandbox, database, [*chosen, *PUBLIC_ALONE], alone).entries
    places = about_public(made, dumped.entries, like)
    for place in places:
        definitions.add(made[place], alone.text(place))
    alone.close()
    return replace(dumped, entries=(*dumped.entries, *(made[place] for place in places)))


def large_tables(tables: Sequence[TableData], *, encoding: str | None) -> list[TableData]:
    """Those that hold a hundredth of all rows' bytes or more, the largest first; none where all have little.

    :param encoding: of the dump; pg_dump takes names in it, and we give them in UTF-8.
    """
    total = sum(table.size_bytes for table in tables)
    large = [
        table
        for table in tables
        if table.size_bytes * 100 >= total >= SHARED_FROM_BYTES
        and table.schema
        and (encoding in (None, "UTF8") or (table.schema + table.name).isascii())
    ]
    return sorted(large, key=lambda table: table.size_bytes, reverse=True)


def share_out(tables: Sequence[TableData], jobs: int, *, encoding: str | None = None) -> list[list[TableData]]:
    """Tables for each further pg_dump, so that all have about as much to read; the first reads all other tables.

    Empty where there is too little to share, or one table alone is most of it.
    """
    large = frozenset(large_tables(tables, encoding=encoding))
    # Many small tables are not worth naming: they stay with the first.
    further = [[table for table in share if table in large] for share in _evenly(tables, jobs)[1:]] if large else []
    return [share for share in further if share]


def _evenly(tables: Sequence[TableData], parts: int) -> list[list[TableData]]:
    shares: list[list[TableData]] = [[] for _ in range(parts)]
    sizes = [0] * parts
    for table in sorted(tables, key=lambda table: table.size_bytes, reverse=True):
        least = sizes.index(min(sizes))
        shares[least].append(table)
        sizes[least] += table.size_bytes
    return shares


def _present(connect: Connect, database: str, shares: list[list[TableData]]) -> list[list[TableData]]:
    """Without tables that were not restored: pg_dump fails where a name matches nothing."""
    with closing(connect(database)) as connection:
        there = set(connection.execute(_TABLES).fetchall())
    kept = [[table for table in share if (table.schema, table.name) in there] for share in shares]
    return [share for share in kept if share]


def _dump_shared(
    sandbox: Sandbox,
    database: str,
    options: list[str],
    definitions: Definitions,
    large: list[list[TableData]],
    without: Collection[TableData],
) -> Inventory:
    shared = [table for share in large for table in share]
    elsewhere = [f"--exclude-table-data={_pattern(table)}" for table in (*shared, *without)]
    with ThreadPoolExecutor(len(large) or 1, thread_name_prefix="pgdrill-dump") as beside:
        rows = [beside.submit(_dump_share, sandbox, database, options, share) for share in large]
        whole = _dump(sandbox, database, [*options, *elsewhere], definitions)
        others = [inventory.result() for inventory in rows]
    return replace(
        whole,
        tables=whole.tables + tuple(table for other in others for table in other.tables),
        complete=whole.complete and all(other.complete for other in others),
    )


def _dump_share(sandbox: Sandbox, database: str, options: Sequence[str], share: Sequence[TableData]) -> Inventory:
    kept = [option for option in options if option not in _ABOUT_DEFINITIONS]
    return _dump(sandbox, database, [*kept, "--data-only", *_chosen(share)], Definitions())


def _dump(sandbox: Sandbox, database: str, options: list[str], definitions: Definitions) -> Inventory:
    builder = InventoryBuilder(on_definition=definitions.add)
    with sandbox.dump(database, options) as chunks:
        for event in read_events(chunks):
            builder.feed(event)
    return builder.result()


def _chosen(tables: Sequence[TableData]) -> list[str]:
    return [f"--table={_pattern(table)}" for table in tables]


def _pattern(table: TableData) -> str:
    return f"{quote_ident(table.schema or '')}.{quote_ident(table.name)}"


def _placed(part: Inventory, database: str) -> Inventory:
    """Said to be of that database, as a dump of the whole cluster says it."""
    return replace(
        part,
        entries=tuple(replace(e, database=database) for e in part.entries),
        tables=tuple(replace(t, database=database) for t in part.tables),
        sequences=tuple(replace(s, database=database) for s in part.sequences),
        large_objects=tuple(replace(o, database=database) for o in part.large_objects),
    )
