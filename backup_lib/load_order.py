"""What may be loaded side by side: which tables a piece of work locks, and what must be done before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Queue
from threading import Condition

from backup_lib.dump_reader import EntryStart
from backup_lib.sql_lexer import split_statements

Table = tuple[str, ...]
"""A table's name without quotes: `("public", "ventas")`."""

NAME = rb'(?:"(?:[^"]|"")+"|[^\s".(;]+)'
QUALIFIED = rb"(" + NAME + rb"(?:\." + NAME + rb")?)"
_INDEX = re.compile(rb"\s*CREATE (?:UNIQUE )?INDEX " + NAME + rb" ON (?:ONLY )?" + QUALIFIED + rb" USING ")
_CONSTRAINT = re.compile(rb"\s*ALTER TABLE (?:ONLY )?" + QUALIFIED + rb"\s+ADD CONSTRAINT ")
# What pg_dump writes behind a key, an index or a trigger, in the same entry; it touches their table and no other.
_OF_TABLE = re.compile(
    rb"\s*ALTER TABLE (?:ONLY )?" + QUALIFIED + rb" (?:CLUSTER ON|REPLICA IDENTITY USING INDEX"
    rb"|(?:DISABLE|ENABLE ALWAYS|ENABLE REPLICA) TRIGGER) " + NAME + rb";\s*"
)
_OF_INDEX = re.compile(
    rb"\s*ALTER INDEX "
    + QUALIFIED
    + rb" (?:ALTER COLUMN \d+ SET STATISTICS \d+|DEPENDS ON EXTENSION "
    + NAME
    + rb");\s*"
)
_TRIGGER = re.compile(
    rb"\s*CREATE (?:CONSTRAINT )?TRIGGER " + NAME + rb" (?:BEFORE|AFTER|INSTEAD OF) [^;]*? ON " + QUALIFIED + rb"\s"
)
_FOREIGN_KEY = re.compile(
    rb"\s*(ALTER TABLE ONLY " + QUALIFIED + rb")\s+ADD CONSTRAINT (" + NAME + rb") FOREIGN KEY \([^;]*\)"
    rb" REFERENCES " + QUALIFIED + rb"\([^;]*;\s*"
)
_UNCHECKED = re.compile(rb" NOT (?:VALID|ENFORCED)\b")
_SLOW_INDEX = re.compile(rb" USING (?:gin|gist|spgist)\b")
_REFERENCED = re.compile(rb"FOREIGN KEY \([^;]*?\) REFERENCES " + QUALIFIED + rb"\(")
_BESIDE = {"INDEX": _INDEX, "CONSTRAINT": _CONSTRAINT, "FK CONSTRAINT": _CONSTRAINT, "TRIGGER": _TRIGGER}

_DATA = frozenset({"TABLE DATA", "SEQUENCE SET", "BLOBS", "STATISTICS DATA"})
_POST_DATA = frozenset(
    {
        "CONSTRAINT",
        "INDEX",
        "INDEX ATTACH",
        "FK CONSTRAINT",
        "CHECK CONSTRAINT",
        "TRIGGER",
        "RULE",
        "POLICY",
        "ROW SECURITY",
        "STATISTICS",
        "EVENT TRIGGER",
        "PUBLICATION",
        "PUBLICATION TABLE",
        "SUBSCRIPTION",
        "MATERIALIZED VIEW DATA",
    }
)
_ANYWHERE = frozenset({"ACL", "DEFAULT ACL", "COMMENT", "SECURITY LABEL"})


def section_of(entry: EntryStart) -> str | None:
    """Of pg_dump's sections the one an entry belongs to; None for what stands in any.

    Source: PostgreSQL, src/bin/pg_dump/pg_dump.c, the `.section` of each entry.
    """
    if entry.type in _ANYWHERE:
        return None
    if entry.type in _DATA:
        return "data"
    return "post-data" if entry.type in _POST_DATA else "pre-data"


def table_of(entry: EntryStart) -> Table:
    return tuple(part for part in (entry.schema, entry.name) if part)


def parse_table(name: bytes | str) -> Table:
    """`public."Odd.Name"` without its quotes."""
    raw = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
    return tuple(
        part[1:-1].replace(b'""', b'"').decode("utf-8", "surrogateescape")
        if part.startswith(b'"')
        else part.decode("utf-8", "surrogateescape")
        for part in re.findall(NAME, raw)
    )


def locked_tables(entry: EntryStart, text: bytes) -> tuple[set[Table], set[Table]] | None:
    """The tables a key's or index's statements lock, exclusively and shared.

    None for any other entry, and where a statement is not one that pg_dump writes there: it must run alone.
    """
    if entry.type not in _BESIDE:
        return None
    first, *further = split_statements(text)
    found = _BESIDE[entry.type].match(first)
    if found is None:
        return None
    table = parse_table(found[1])
    for statement in further:
        altered = _OF_TABLE.fullmatch(statement)
        if _OF_INDEX.fullmatch(statement) is None and (altered is None or parse_table(altered[1]) != table):
            return None
    if entry.type == "FK CONSTRAINT":
        other = referenced_table(first)
        return None if other is None else ({table, other}, set())
    # CREATE INDEX alone lets others build on the same table; CLUSTER ON and REPLICA IDENTITY behind it do not.
    return (set(), {table}) if entry.type == "INDEX" and not further else ({table}, set())


def referenced_table(text: bytes) -> Table | None:
    """The table a foreign key's statement refers to; None for any other statement."""
    found = _REFERENCED.search(text)
    return parse_table(found[1]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key's statement in two: made without looking at rows, which needs both tables for a moment alone;
    and checked, which others on the referenced table need not wait for."""

    table: Table
    names: tuple[bytes, bytes]  # of both tables, as written
    add: bytes
    validate: bytes
    drop: bytes  # as if it had been refused whole


def split_foreign_key(entry: EntryStart, text: bytes) -> ForeignKey | None:
    """None for one that is not to be checked, that the whole tree of a partitioned table gets, or that reads oddly."""
    found = _FOREIGN_KEY.fullmatch(text) if entry.type == "FK CONSTRAINT" else None
    if found is None or _UNCHECKED.search(text):
        return None
    return ForeignKey(
        table=parse_table(found[2]),
        names=(found[2], found[4]),
        add=text.rstrip().removesuffix(b";") + b" NOT VALID;",
        validate=found[1] + b" VALIDATE CONSTRAINT " + found[3],
        drop=found[1] + b" DROP CONSTRAINT " + found[3],
    )


def cost_of(entry: EntryStart, text: bytes, size_bytes: int) -> float:
    """What making a key or index on a table with so many bytes of rows is likely to cost, in bytes of rows.

    Keys come early, since foreign keys wait for them; so does what takes long, lest it be left over at the end.
    """
    if entry.type == "CONSTRAINT":
        return 4.0 * size_bytes
    return (10.0 if _SLOW_INDEX.search(text) else 1.0) * size_bytes


class LoadOrder:
    """Which work must be done before further work on the same tables may start."""

    def __init__(self) -> None:
        self._exclusive: dict[Table, Future[None]] = {}
        self._shared: dict[Table, list[Future[None]]] = {}
        self._all: list[Future[None]] = []

    @property
    def last(self) -> list[Future[None]]:
        """The work that was added last, if there is any to wait for."""
        return self._all[-1:]

    def before(self, exclusive: Iterable[Table], shared: Iterable[Table]) -> list[Future[None]]:
        found: list[Future[None]] = []
        for table in exclusive:
            found += self._shared.get(table, [])
        for table in (*exclusive, *shared):
            if table in self._exclusive:
                found.append(self._exclusive[table])
        return found

    def add(self, work: Future[None], exclusive: Iterable[Table] = (), shared: Iterable[Table] = ()) -> None:
        for table in exclusive:
            self._exclusive[table] = work
            self._shared.pop(table, None)
        for table in shared:
            self._shared.setdefault(table, []).append(work)
        self._all.append(work)

    def take_all(self) -> list[Future[None]]:
        """All work so far, which then nobody waits for any more but the caller."""
        everything, self._all = self._all, []
        self._exclusive.clear()
        self._shared.clear()
        return everything


class Budget:
    """Bytes that may wait in memory; taking more waits until some were given back."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._used = 0
        self._changed = Condition()

    def take(self, count: int) -> None:
        with self._changed:
            # One piece larger than the limit passes alone.
            self._changed.wait_for(lambda: self._used == 0 or self._used + count <= self._limit)
            self._used += count

    def give(self, count: int) -> None:
        with self._changed:
            self._used -= count
            self._changed.notify_all()


class Block:
    """The rows of one COPY on their way from the reader to a connection."""

    def __init__(self, budget: Budget) -> None:
        self._chunks: Queue[bytes | None] = Queue()
        self._budget = budget
        self._ended = False
        self.size_bytes = 0  # that came so far

    def put(self, chunk: bytes) -> None:
        self._budget.take(len(chunk))
        self.size_bytes += len(chunk)
        self._chunks.put(chunk)

    def end(self) -> None:
        self._chunks.put(None)

    def __iter__(self) -> Iterator[bytes]:
        while not self._ended:
            chunk = self._chunks.get()
            if chunk is None:
                self._ended = True
                return
            self._budget.give(len(chunk))
            yield chunk

    def drain(self) -> None:
        """Take what is left, so that the reader never waits for a connection that has given up."""
        for _ in self:
            pass
