"""The second half of a drill: what came back, asked of the sandbox by pg_dump and, independently of it, by SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from backup_lib import row_sums, source
from backup_lib.dump_events import Connect as ConnectTo
from backup_lib.dump_events import Event
from backup_lib.dump_reader import read_events
from backup_lib.dump_shape import needs_quotes, shape_of
from backup_lib.dump_text import open_dump_text
from backup_lib.encryption import NO_KEYS, Keys
from backup_lib.errors import DamagedArchiveError
from backup_lib.inventory import Inventory, TableData
from backup_lib.load_order import Table
from backup_lib.manifest import Environment, RowSums
from backup_lib.statement_errors import StatementError
from backup_lib.traits import Traits
from verification.checks.content import difference_key
from verification.dumping import dump_again, dump_rows, large_tables
from verification.event_triggers import refused_refreshes
from verification.facts import Definitions, Difference, Facts, Restored, pair_entries
from verification.promised_rows import digests_as_promised
from verification.referee import DATABASE as REFEREE
from verification.referee import build_referee
from verification.restoring import Connect, create_like
from verification.row_comparison import compare_rows
from verification.sandbox import Sandbox
from verification.scaffold import scaffold_of
from verification.scope import loaded_through, makes_tables, scope_of, table_label
from verification.write_probe import probe_writes

_NOT_DUMPED = Inventory(entries=(), tables=(), sequences=(), large_objects=(), complete=False)


def examine(
    facts: Facts,
    sandbox: Sandbox,
    connect: Connect,
    path: Path,
    databases: list[str],
    *,
    jobs: int,
    keys: Keys = NO_KEYS,
) -> Restored:
    """Take the restored side's inventory, counts, catalog and environment; ask the referee where texts differ.

    :param databases: those that were loaded, in the order of the archive.
    :param jobs: sessions that may read at the same time.
    :raises ProgramError, psycopg.OperationalError: when the sandbox does not answer.
    """
    dump = facts.archived.inventory
    if dump is None:
        raise ValueError("nothing was read from the archive, so there is nothing to examine")
    if facts.level == "restore":  # asks for the counts alone
        counts, catalog, traits, environment, _ = _look(facts, connect, databases, [], jobs=1)
        return Restored(
            server_version=sandbox.server_version,
            inventory=_NOT_DUMPED,
            definitions=Definitions(),
            row_counts=counts,
            catalog=catalog,
            traits=traits,
            environment=environment,
            refused=_refused(connect, databases, facts.archived.definitions),
        )
    rows_only = scope_of(facts.expect, facts.manifest, dump).kind == "data" and not makes_tables(dump)
    with closing(connect(databases[-1])) as connection:
        shape = shape_of(dump, facts.promised, needs_quotes=partial(needs_quotes, connection), rows_only=rows_only)
    options = shape.options()
    large = large_tables(dump.tables, encoding=dump.encoding)
    left_to_sums = {table for table in large if _may_be_proved_by_sums(facts, table)}
    with ThreadPoolExecutor(1, thread_name_prefix="pgdrill-count") as beside:
        looked = beside.submit(_look, facts, connect, databases, [table_label(table) for table in large], jobs=jobs)
        inventory, definitions = dump_again(sandbox, connect, databases, options, dump, without=left_to_sums, jobs=jobs)
        counts, catalog, traits, environment, sums = looked.result()
    proved = {table for table in left_to_sums if _has_promised_sum(facts, sums, table)}
    if unproved := [table for table in large if table in left_to_sums - proved]:
        rows = dump_rows(sandbox, connect, databases[-1], options, unproved, jobs=jobs)
        inventory = replace(inventory, tables=inventory.tables + rows)
    restored = Restored(
        server_version=sandbox.server_version,
        inventory=inventory,
        definitions=definitions,
        row_counts=counts,
        catalog=catalog,
        traits=traits,
        environment=environment,
        row_sums=sums,
    )
    pairs = pair_entries(dump.entries, inventory.entries)
    if pairs.changed or (pairs.missing and restored.is_by_another_pg_dump(dump)):
        restored.referee, restored.referee_definitions = _ask_referee(facts, sandbox, connect, databases, options)
    restored.differences = _compare_content(dump, inventory, connect, path, databases, keys, proved)
    if facts.promised is not None:
        with closing(connect(databases[-1])) as connection:
            restored.as_promised = digests_as_promised(connection, facts.promised, dump, inventory)
    # Last of all: until it is rolled back it changes what the others look at.
    restored.writing = probe_writes(connect, databases, inventory.sequences)
    restored.refused = _refused(connect, databases, facts.archived.definitions)  # what it tries may advance sequences
    return restored


def _refused(connect: Connect, databases: list[str], definitions: Definitions) -> list[StatementError]:
    found = []
    for database in databases:
        with closing(connect(database)) as connection:
            own = [(entry, text) for entry, text in definitions if entry.database in (None, database)]
            found += refused_refreshes(connection, own)
    return found


def _may_be_proved_by_sums(facts: Facts, table: TableData) -> bool:
    """Whether the source's sum of its rows, if the restored server has the same, proves them to be the archive's.

    The archive's text of them is then the one that was promised, by SHA-256, of the snapshot that was summed up. What
    is read a second time only to be hashed anew, a drill need not wait for; see decision 6.
    """
    manifest, promised = facts.manifest, facts.promised
    return (
        manifest is not None
        and manifest.row_sums is not None
        and promised is not None
        and table.database is None
        and loaded_through(table) is None
        and table_label(table).count(".") == 1  # sums go by label, and no other table may have this one
        and table_label(table) in manifest.row_sums.sums
        and any(one.label == table.label and _is_same(one, table) for one in promised.tables)
    )


def _has_promised_sum(facts: Facts, there: RowSums | None, table: TableData) -> bool:
    promised = facts.manifest.row_sums if facts.manifest is not None else None
    label = table_label(table)
    return promised is not None and there is not None and promised.sums[label] == there.sums.get(label)


def _look(
    facts: Facts, connect: Connect, databases: list[str], large: Sequence[str], *, jobs: int
) -> tuple[dict[str, int], tuple[str, ...], Traits, Environment, RowSums | None]:
    """By SQL; of several databases the last one's environment, which no manifest promises anyway."""
    dump = facts.archived.inventory
    counts: dict[str, int] = {}
    catalog: list[str] = []
    traits: Traits = {}
    sums: RowSums | None = None
    for database in databases:
        with closing(connect(database)) as connection:
            source.pin(connection)
            prefix = f"{database}." if dump is not None and dump.scope == "cluster" else ""
            environment = source.environment(connection)
            reading = partial(_sum_rows, connect, database, large, jobs=jobs)
            counted, sums = _count_rows(facts, connection, environment, reading)
            counts.update({prefix + table: rows for table, rows in counted.items()})
            identities, of_these = source.described_catalog(connection)
            catalog += identities
            traits |= of_these
    return counts, tuple(catalog), traits, environment, sums


def _sum_rows(
    connect: Connect, database: str, large: Sequence[str], tables: Sequence[source.Table], *, jobs: int
) -> dict[int, row_sums.Summed]:
    """Each large table in a session of its own, as many as `jobs` at a time."""

    def summed(part: Sequence[source.Table]) -> dict[int, row_sums.Summed]:
        with closing(connect(database)) as connection:
            source.pin(connection)
            return row_sums.sum_rows(connection, part)

    by_label = {table.label: table for table in tables}
    apart = [by_label[label] for label in large if label in by_label]
    named = {table.oid for table in apart}
    rest = [table for table in tables if table.oid not in named]
    with ThreadPoolExecutor(jobs, thread_name_prefix="pgdrill-sums") as pool:
        parts = pool.map(summed, [*([table] for table in apart), rest])
        return {oid: one for part in parts for oid, one in part.items()}


def _count_rows(
    facts: Facts,
    connection: source.Connection,
    environment: Environment,
    sum_rows: Callable[[Sequence[source.Table]], dict[int, row_sums.Summed]],
) -> tuple[dict[str, int], RowSums | None]:
    """By label; and their sums, where the manifest has some that this server would make too."""
    tables = source.list_tables(connection)
    promised = facts.manifest.row_sums if facts.manifest is not None else None
    if (
        promised is None
        or facts.manifest is None
        or facts.level == "restore"
        or facts.is_cross_major
        or environment.encoding != facts.manifest.environment.encoding
        or row_sums.probe(connection) != promised.probe
    ):
        return source.row_counts(connection, tables), None
    sums = sum_rows(tables)
    left = [table for table in tables if table.oid not in sums]
    counts = {oid: summed.rows for oid, summed in sums.items()} | source.count_rows(connection, left)
    there = row_sums.by_label(connection, sums, tables)
    if promised.large_objects is not None:
        there = replace(there, large_objects=row_sums.sum_large_objects(connection))
    return source.sum_up(counts, tables), there


def _ask_referee(
    facts: Facts, sandbox: Sandbox, connect: Connect, databases: list[str], options: tuple[str, ...]
) -> tuple[Inventory, Definitions]:
    dump = facts.archived.inventory
    sections = dict.fromkeys(entry.database for entry in dump.entries) if dump is not None else {}
    inventory: Inventory | None = None
    definitions = Definitions()
    for section in sections:
        with closing(connect(section or databases[0])) as connection:
            like = source.environment(connection)
            quotes = connection.execute("SHOW quote_all_identifiers").fetchone() or ("off",)
        with closing(connect("template1")) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {REFEREE}".encode())
            create_like(connection, REFEREE, like, None)
            # Of a database's own settings the one that pg_dump's text depends on and no session pins.
            connection.execute(f"ALTER DATABASE {REFEREE} SET quote_all_identifiers = {quotes[0]}".encode())
        encoding = (dump.encoding if dump is not None else None) or "UTF8"
        part, texts = build_referee(
            sandbox,
            connect,
            facts.archived.definitions,
            database=section,
            encoding=encoding,
            options=options,
            mend=scaffold_of(connect, facts.manifest, scope_of(facts.expect, facts.manifest, dump)),
        )
        for entry, text in texts:
            definitions.add(entry, text)
        texts.close()
        inventory = part if inventory is None else replace(inventory, entries=inventory.entries + part.entries)
    if inventory is None:
        raise ValueError("a referee was asked for where there is no definition")
    return inventory, definitions


def _compare_content(
    archived: Inventory,
    restored: Inventory,
    connect: Connect,
    path: Path,
    databases: list[str],
    keys: Keys,
    proved: Collection[TableData],
) -> dict[tuple[str | None, str], Difference]:
    back = {(t.database, t.schema, t.name): t for t in restored.tables}
    found: dict[tuple[str | None, str], Difference] = {}
    suspects: dict[str | None, set[Table]] = {}
    for table in archived.tables:
        other = back.get((table.database, table.schema, table.name))
        key = (table.database, difference_key(table))
        if table in proved:
            found[key] = Difference(content="identical", by_sums=True)
        elif other is not None and _is_same(table, other):
            found.setdefault(key, Difference(content="identical"))
        elif other is None and not loaded_through(table):
            found[key] = Difference(content="different", missing=table.rows, places=("the table is not there",))
        else:
            suspects.setdefault(table.database, set()).add(_target(table))
            found[key] = Difference(content="not_compared")
    for section, tables in suspects.items():
        # What lies behind a damage, which ended the restore as well, is not compared.
        with suppress(DamagedArchiveError), closing(connect(section or databases[-1])) as connection:
            with open_dump_text(path, keys=keys) as chunks:
                compared = compare_rows(connection, _section(read_events(chunks), section), tables)
            found.update({(section, ".".join(table)): difference for table, difference in compared.items()})
    return found


def _is_same(one: TableData, other: TableData) -> bool:
    return (one.form, one.columns, one.rows, one.sha256) == (other.form, other.columns, other.rows, other.sha256)


def _target(table: TableData) -> Table:
    return loaded_through(table) or tuple(part for part in (table.schema, table.name) if part)


def _section(events: Iterable[Event], database: str | None) -> Iterator[Event]:
    """The events of one database: all of them where the archive names none."""
    current: str | None = None
    for event in events:
        if isinstance(event, ConnectTo):
            current = event.database
        elif current == database or database is None:
            yield event
