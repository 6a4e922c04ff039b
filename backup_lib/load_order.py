"""What may be loaded side by side: which tables a piece of work locks, and what must be done before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from queue import Queue
from threading import Condition

from backup_lib.dump_reader import EntryStart

Table = tuple[str, ...]
"""A table's name without quotes: `("public", "ventas")`."""

NAME = rb'(?:"(?:[^"]|"")+"|[^\s".(;]+)'
QUALIFIED = rb"(" + NAME + rb"(?:\." + NAME + rb")?)"
_INDEX = re.compile(rb"CREATE (?:UNIQUE )?INDEX " + NAME + rb" ON (?:ONLY )?" + QUALIFIED + rb" USING ")
_ALTERED_TABLE = re.compile(rb"ALTER TABLE (?:ONLY )?" + QUALIFIED + rb"\s")
_REFERENCED = re.compile(rb"FOREIGN KEY \([^;]*?\) REFERENCES " + QUALIFIED + rb"\(")

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

    None for any other entry, and where the text does not say it plainly: it must run alone.
    """
    if entry.type == "INDEX":
        table = _INDEX.search(text)
        if table is None:
            return None
        # CREATE INDEX alone lets others build on the same table; CLUSTER ON and REPLICA IDENTITY behind it do not.
        alone = b";" not in text.rstrip().removesuffix(b";")
        return (set(), {parse_table(table[1])}) if alone else ({parse_table(table[1])}, set())
    if entry.type in ("CONSTRAINT", "FK CONSTRAINT"):
        table, other = _ALTERED_TABLE.search(text), _REFERENCED.search(text)
        if table is None or (entry.type == "FK CONSTRAINT" and other is None):
            return None
        return {parse_table(found[1]) for found in (table, other) if found is not None}, set()
    return None


def referenced_table(text: bytes) -> Table | None:
    """The table a foreign key's statement refers to; None for any other statement."""
    found = _REFERENCED.search(text)
    return parse_table(found[1]) if found else None


class LoadOrder:
    """Which work must be done before further work on the same tables may start."""

    def __init__(self) -> None:
        self._exclusive: dict[Table, Future[None]] = {}
        self._shared: dict[Table, list[Future[None]]] = {}
        self._all: list[Future[None]] = []

    def before(self, exclusive: Iterable[Table], shared: Iterable[Table]) -> list[Future[None]]:
        found: list[Future[None]] = []
        for table in exclusive:
            found += self._shared.get(table, [])
        for table in (*exclusive, *shared):
            if table in self._exclusive:
                found.append(self._exclusive[table])
        return found

    def add(self, work: Future[None], exclusive: Iterable[Table], shared: Iterable[Table]) -> None:
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

    def put(self, chunk: bytes) -> None:
        self._budget.take(len(chunk))
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
