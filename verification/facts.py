"""What a drill has seen, for the checks to judge: the promise, the archive, the restored database."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from backup_lib.inventory import Entry, Inventory, major_of
from backup_lib.load_report import LoadReport
from backup_lib.manifest import Environment, FileFacts, Manifest, RowSums
from backup_lib.statement_errors import StatementError
from backup_lib.traits import Traits

Content = Literal["identical", "reordered", "different", "not_compared"]


class Definitions:
    """The text of a dump's definitions, in its order; beyond some MiB on disk, since dumps have no bound."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=32 << 20)  # noqa: SIM115 - lives as long as the drill
        self._places: list[tuple[Entry, int, int]] = []
        weakref.finalize(self, self._file.close)  # where a drill stops half-way, nobody else closes it

    def add(self, entry: Entry, text: bytes) -> None:
        self._places.append((entry, self._file.tell(), len(text)))
        self._file.write(text)

    def __iter__(self) -> Iterator[tuple[Entry, bytes]]:
        for place in range(len(self._places)):
            yield self._places[place][0], self.text(place)

    @property
    def entries(self) -> list[Entry]:
        """Without their texts, which may be on disk."""
        return [entry for entry, _, _ in self._places]

    def text(self, place: int) -> bytes:
        """The text of the entry at this place in the inventory's `entries`."""
        _, offset, size = self._places[place]
        self._file.seek(offset)
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True, kw_only=True)
class Archived:
    """What was read from the archive."""

    size_bytes: int | None = None
    sha256: str | None = None  # as stored
    inventory: Inventory | None = None  # None: nothing of a dump could be read
    damage: str | None = None  # why it could not be read to its end
    encryption: str | None = None  # how, for people; None: not encrypted, or not opened
    is_authenticated: bool = True  # False: an altered byte of what is encrypted may pass unseen
    inner_sha256: str | None = None  # of what was encrypted
    files: tuple[FileFacts, ...] | None = None  # of an archive of configuration files; None: not read to its end
    definitions: Definitions = field(default_factory=Definitions)


@dataclass(slots=True, kw_only=True)
class Difference:
    """One table whose restored rows are not the archive's, as the sandbox's server reads both."""

    content: Content
    by_sums: bool = False  # the servers' sums say so; the restored rows were not read a second time
    missing: int = 0  # archived rows that are not in the restored table
    unexpected: int = 0
    columns: Mapping[str, int] = field(default_factory=dict)  # column → rows in which it differs
    places: tuple[str, ...] = ()  # "row 17 (key 3f2a…)", the first few


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A column that a sequence fills, and whether that goes on. No values: only how they stand to one another."""

    column: str
    sequence: str
    is_key: bool  # the column alone is unique
    behind: bool  # the next value is not above all in the column
    exhausted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How one insert into a table ended."""

    table: str
    rows: int
    code: str | None  # the server's, of its refusal
    by: str = ""  # the constraint that refused it


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What a probe of writes saw."""

    counters: tuple[Counter, ...]
    written: tuple[Written, ...]


@dataclass(slots=True, kw_only=True)
class Restored:
    """What came back, asked of the sandbox after the restore."""

    server_version: str
    inventory: Inventory
    definitions: Definitions
    row_counts: Mapping[str, int]
    catalog: tuple[str, ...]
    traits: Traits
    environment: Environment
    writing: Writing | None = None
    row_sums: RowSums | None = None  # None: the manifest has none, or they cannot be compared here
    differences: dict[tuple[str | None, str], Difference] = field(default_factory=dict)
    referee: Inventory | None = None  # None: not needed
    referee_definitions: Definitions | None = None
    # Of tables that only so can be held against the manifest: the digest of their rows in its columns and settings.
    as_promised: Mapping[tuple[str | None, str], str] = field(default_factory=dict)
    refused: list[StatementError] = field(default_factory=list)  # what event triggers of the archive would refuse

    def is_by_another_pg_dump(self, archived: Inventory) -> bool:
        """Whether the archive was written by another major, which may write entries that this one leaves out."""
        return major_of(archived.dump_version) != major_of(self.inventory.dump_version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the restored database answered to one query of the configuration; the value as the server wrote it."""

    rows: int = 0  # 2: more than one
    columns: int = 0
    value: bytes | None = None  # of the first row and column; None: NULL, or none
    type_oid: int = 0
    type_name: str = ""
    error: str | None = None  # the server's message, without values
    sqlstate: str | None = None


@dataclass(slots=True, kw_only=True)
class Facts:
    """All that the checks judge. `None` where a step was not reached or not asked for."""

    level: str
    name: str = "the archive"  # as it is stored
    expect: tuple[str, ...]  # from --expect; empty: what the manifest or the dump says
    manifest: Manifest | None
    manifest_damage: str | None
    archived: Archived
    load: LoadReport | None = None
    restored: Restored | None = None
    answers: Mapping[str, Answer] | None = None  # by the name of the configuration's check; None: none was asked
    server_major: int | None = None
    wide: tuple[str, ...] = ()  # paths of archive and manifest that others than their owner may read
    obstacle: str | None = None  # why the drill could not go on
    obstacle_hint: str = ""
    outward_keys: tuple[str, ...] = ()  # labels of foreign keys not made: to tables whose rows the archive leaves out
    made_by_drill: tuple[str, ...] = ()  # labels of entries that stand for what the drill had to make itself

    @property
    def promised(self) -> Inventory | None:
        return self.manifest.inventory if self.manifest is not None else None

    @property
    def is_as_promised(self) -> bool:
        """Whether its bytes are those that the manifest has the digest of."""
        written = self.manifest.archive if self.manifest is not None else None
        return written is not None and written.sha256 == self.archived.sha256

    @property
    def archive_major(self) -> int | None:
        """The source server's."""
        if self.archived.inventory is not None and self.archived.inventory.server_version:
            return major_of(self.archived.inventory.server_version)
        return major_of(self.manifest.source.server_version) if self.manifest is not None else None

    @property
    def is_cross_major(self) -> bool:
        return None not in (self.archive_major, self.server_major) and self.archive_major != self.server_major


OF_DATABASE = frozenset({"DATABASE", "DATABASE PROPERTIES"})  # only in dumps made with --create


def is_of_database(entry: Entry) -> bool:
    """About a database itself, by its name; in a dump it stands before the database is entered."""
    return entry.type in OF_DATABASE or entry.name.startswith("DATABASE ")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two inventories' entries, matched; `places` index into each side's `entries`."""

    same: list[tuple[int, int]]  # equal in owner and text
    changed: list[tuple[int, int]]
    missing: list[int]  # on the first side only
    extra: list[int]  # on the second side only


def pair_entries(first: Iterable[Entry], second: Iterable[Entry]) -> Pairs:
    """Match entries by database, type, schema and name.

    Where several share these (casts, default privileges, operators), equal ones are matched first, and what
    then remains in the order of the dumps: losing one of three is one entry missing, not two changed.
    """
    left, right = list(first), list(second)
    groups: dict[tuple[str | None, str, str | None, str], tuple[list[int], list[int]]] = {}
    for side, entries in enumerate((left, right)):
        for place, entry in enumerate(entries):
            database = None if is_of_database(entry) else entry.database
            key = (database, entry.type, entry.schema, entry.name)
            groups.setdefault(key, ([], []))[side].append(place)
    pairs = Pairs([], [], [], [])
    for lefts, rights in groups.values():
        rest = list(rights)
        unmatched = []
        for place in lefts:
            mine = left[place]
            twin = next((r for r in rest if (right[r].sha256, right[r].owner) == (mine.sha256, mine.owner)), None)
            if twin is None:
                unmatched.append(place)
            else:
                rest.remove(twin)
                pairs.same.append((place, twin))
        shared = min(len(unmatched), len(rest))
        pairs.changed.extend(zip(unmatched[:shared], rest[:shared], strict=True))
        pairs.missing.extend(unmatched[shared:])
        pairs.extra.extend(rest[shared:])
    return pairs
