"""Is the restored database what the archive holds? Dumped again by pg_dump, and compared entry by entry.

What is compared, and with what, is the inventory that a drill compares as well. A definition that the server writes
in other words is only counted here; that it means the same is seen by SQL, object by object, where the manifest says
what the source's were like. A drill's referee (`pgdrill verify`) decides it for every archive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from psycopg.conninfo import make_conninfo

from backup_lib import source
from backup_lib.dsn import client_target
from backup_lib.dump_data import Rows
from backup_lib.dump_events import CopyData, CopyStart, EntryStart, Event, Sql
from backup_lib.dump_reader import read_events, read_inventory
from backup_lib.dump_shape import PUBLIC_ALONE, about_public, lacks_public, needs_quotes, shape_of
from backup_lib.dump_text import open_dump_text
from backup_lib.encryption import NO_KEYS, Keys
from backup_lib.inventory import Inventory, TableData, major_of
from backup_lib.load_order import Table
from backup_lib.manifest import Manifest
from backup_lib.process import stream
from backup_lib.restore.check import target_of
from backup_lib.restore.outline import OF_DATABASE, Progress, watched
from backup_lib.restore.target import TargetServer
from backup_lib.server_programs import client_for
from backup_lib.sql_lexer import Rules
from backup_lib.traits import Traits
from backup_lib.wording import skeleton

_MODULUS = 1 << 256
_QUERIES = ("view ", "materialized view ", "rule ")
Key = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the comparison found; without a fault, the database is what the archive holds."""

    faults: tuple[str, ...]
    uncompared: tuple[str, ...]  # tables of somebody else's archive whose rows are as many, in another text
    tables: int  # whose rows are the same
    rows: int
    definitions: int  # that are there, of the same owner
    rephrased: int  # of those, the ones the server writes in other words
    objects: int  # of the source's catalog; 0 where the manifest has none, or it is of another major


def prove(
    archive: Path,
    archived: Inventory,
    manifest: Manifest | None,
    server: TargetServer,
    database: str,
    *,
    keys: Keys = NO_KEYS,
    progress: Progress | None = None,
) -> Proof:
    """Dump the database again and compare.

    :raises ProgramError, ServerError: when pg_dump fails, or there is none as new as the server.
    """
    pinned = manifest is not None and manifest.archive is not None  # ours; else in the database's own settings
    dumping = _Dumping(server, database, archived, pinned=pinned)
    restored = dumping.inventory(archived, progress)
    faults = [*_entry_faults(archived, restored), *_value_faults(archived, restored)]
    differing = differing_tables(archived, restored)
    uncompared: list[str] = []
    if differing:
        altered, uncompared = _row_faults(archive, dumping, archived, differing, pinned=pinned, keys=keys)
        faults += altered
    objects = 0
    with server.connect(database) as conn:
        source.pin(conn)
        same_major = major_of(archived.server_version) == conn.info.server_version // 10000
        if manifest is not None and manifest.catalog and same_major:
            objects = len(manifest.catalog)
            identities, traits = source.described_catalog(conn)
            faults += _catalog_faults(manifest.catalog, identities)
            faults += _trait_faults(manifest.traits, traits)
    return Proof(
        faults=tuple(faults),
        uncompared=tuple(uncompared),
        tables=len(archived.tables),
        rows=sum(table.rows for table in archived.tables),
        definitions=len(_entries(archived)),
        rephrased=_rephrased(archived, restored),
        objects=objects,
    )


class _Dumping:
    """pg_dump of the restored database, in the form of the archive."""

    def __init__(self, server: TargetServer, database: str, archived: Inventory, *, pinned: bool) -> None:
        self._server, self._database = server, database
        with server.connect(database) as conn:
            self._programs = client_for(conn.info.server_version // 10000)
            target = client_target(conn, server.conninfo(database))
            shape = shape_of(archived, None, needs_quotes=partial(needs_quotes, conn))
        conninfo = target.conninfo if pinned else make_conninfo(target.conninfo, options="")
        options = replace(shape, create=False).options()
        self._argv: list[str | Path] = [self._programs.program("pg_dump"), *options, f"--dbname={conninfo}"]
        self._env = {**self._programs.env, **target.env}

    def inventory(self, archived: Inventory, progress: Progress | None) -> Inventory:
        with stream(self._argv, env=self._env) as chunks:
            dumped = read_inventory(watched(chunks, progress))
        with closing(self._server.connect(self._database)) as conn:
            if not lacks_public(conn, dumped.entries, archived.entries):
                return dumped
        with stream([*self._argv, *PUBLIC_ALONE], env=self._env) as chunks:
            alone = read_inventory(chunks).entries
        added = (alone[place] for place in about_public(alone, dumped.entries, archived.entries))
        return replace(dumped, entries=(*dumped.entries, *added))

    def events(self) -> Iterator[Event]:
        with stream([*self._argv, "--data-only"], env=self._env) as chunks:
            yield from read_events(chunks)


def _entries(inventory: Inventory) -> list[tuple[Key, str]]:
    """(type, schema, name, owner) and digest of each entry that is not about the database itself."""
    return [
        ((entry.type, entry.schema, entry.name, entry.owner), entry.sha256)
        for entry in inventory.entries
        if entry.type not in OF_DATABASE and not entry.name.startswith("DATABASE ")
    ]


def _entry_faults(archived: Inventory, restored: Inventory) -> Iterator[str]:
    expected, found = (Counter(key for key, _ in _entries(side)) for side in (archived, restored))
    for key in sorted((expected - found).elements(), key=str):
        yield f"{_label(key)} is not there, or of another owner"
    for key in sorted((found - expected).elements(), key=str):
        yield f"{_label(key)} is there, and not in the archive"


def _rephrased(archived: Inventory, restored: Inventory) -> int:
    expected, found = Counter(_entries(archived)), Counter(_entries(restored))
    return (expected - found).total()


def _label(key: Key) -> str:
    kind, schema, name, owner = key
    return f"{kind} {f'{schema}.' if schema else ''}{name}" + (f" of {owner}" if owner else "")


def _value_faults(archived: Inventory, restored: Inventory) -> Iterator[str]:
    values = {(s.schema, s.name): (s.last_value, s.is_called) for s in restored.sequences}
    for sequence in archived.sequences:
        if values.get((sequence.schema, sequence.name)) != (sequence.last_value, sequence.is_called):
            yield f"the sequence {sequence.label} does not stand where the archive says"
    objects = {o.oid: (o.size_bytes, o.sha256) for o in restored.large_objects}
    for large in archived.large_objects:
        if objects.get(large.oid) != (large.size_bytes, large.sha256):
            yield f"the large object {large.oid} is not the archive's"


def _catalog_faults(promised: Iterable[str], found: Iterable[str]) -> Iterator[str]:
    yield from (f"{name} is not there, which the source had" for name in sorted(set(promised) - set(found)))
    yield from (f"{name} is there, which the source did not have" for name in sorted(set(found) - set(promised)))


def _trait_faults(promised: Traits, found: Traits) -> Iterator[str]:
    """Objects that are not as at the source: owner, privileges, columns, definition, by SQL on both sides."""
    for identity in sorted(promised.keys() & found.keys()):
        mine, other = promised[identity], found[identity]
        # A query comes back with columns named that had no name: no part of it can be told from a fault.
        ignored = {"definition"} if identity.startswith(_QUERIES) else set()
        if not mine.get("body", "").startswith("MD5 "):
            ignored.add("body")  # in standard SQL
        for trait in sorted((mine.keys() | other.keys()) - ignored):
            if skeleton(mine.get(trait, "")) != skeleton(other.get(trait, "")):
                yield f"{identity}: its {trait} is not the source's"


def differing_tables(archived: Inventory, restored: Inventory) -> set[Table]:
    """Tables whose rows' text is not the same, by the name they are loaded by."""
    back = {(t.schema, t.name): t for t in restored.tables}
    return {
        target_of(table) for table in archived.tables if _text(table) != _text(back.get((table.schema, table.name)))
    }


def _text(table: TableData | None) -> tuple[object, ...] | None:
    # Of an empty table the two forms say different things, or nothing.
    return None if table is None else (table.columns if table.rows else None, table.rows, table.sha256)


def _row_faults(
    archive: Path, dumping: _Dumping, archived: Inventory, differing: set[Table], *, pinned: bool, keys: Keys
) -> tuple[list[str], list[str]]:
    """Text may differ in the order of rows and of columns alone: as sets, they must be the same.

    Where somebody else's pg_dump wrote the archive, in what time zone is not known: there, equal counts are no fault.
    """
    loaded_by = {(t.schema, t.name): target_of(t) for t in archived.tables}
    with open_dump_text(archive, keys=keys) as chunks:
        expected = RowSets(differing, loaded_by).read(read_events(chunks))
    found = RowSets(differing, loaded_by).read(dumping.events())
    altered: list[str] = []
    uncompared: list[str] = []
    for table in sorted(differing):
        mine, other = expected.get(table, (0, 0)), found.get(table)
        if mine != other:
            as_many = other is not None and mine[0] == other[0] and not pinned
            (uncompared if as_many else altered).append(".".join(table))
    return [f"the rows of {table} are not the archive's" for table in altered], uncompared


class RowSets:
    """Count and digest of the rows of some tables, whatever the order of rows and of COPY's columns.

    The digest is the sum of the rows' SHA-256: equal sets have equal sums, in constant memory.

    :param tables: by the name they are loaded by.
    :param loaded_by: that name, of the table an entry is of.
    """

    def __init__(self, tables: set[Table], loaded_by: Mapping[tuple[str | None, str], Table]) -> None:
        self._tables = tables
        self._loaded_by = loaded_by
        self._sums: dict[Table, tuple[int, int]] = {}
        self._table: Table | None = None  # whose rows come now
        self._order: list[int] = []
        self._rest = b""  # of a row so long that it comes in pieces
        self._rules = Rules()

    def read(self, events: Iterable[Event]) -> dict[Table, tuple[int, int]]:
        inserted: Rows | None = None
        for event in events:
            match event:
                case EntryStart():
                    name = self._loaded_by.get((event.schema, event.name))
                    self._begin(name if event.type == "TABLE DATA" and name in self._tables else None)
                    inserted = Rows(event.schema, event.name, on_inserted=self._add) if self._table else None
                case CopyStart(columns=columns):
                    self._order = sorted(range(len(columns)), key=columns.__getitem__)
                case CopyData(data) if self._table is not None:
                    whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
                    if newline:
                        self._add(whole.split(b"\n"))
                case Sql(text):
                    self._rules = self._rules.after(text.lstrip())
                    if inserted is not None:
                        inserted.add_inserted(text, self._rules)
        return self._sums

    def _begin(self, table: Table | None) -> None:
        self._table, self._order, self._rest = table, [], b""
        if table is not None:
            self._sums.setdefault(table, (0, 0))

    def _add(self, rows: Sequence[bytes]) -> None:
        if self._table is None:
            return
        count, total = self._sums[self._table]
        straight = self._order == list(range(len(self._order)))
        for row in rows:
            fields = row if straight else b"\t".join([row.split(b"\t")[place] for place in self._order])
            total += int.from_bytes(sha256(fields).digest(), "big")
        self._sums[self._table] = (count + len(rows), total % _MODULUS)
