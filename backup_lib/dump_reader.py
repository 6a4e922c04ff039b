"""Reads pg_dump's text as a stream: events for a loader, an inventory for a proof; constant memory.

What the server would run is told from what only looks like it (a COPY block or a comment inside a function's
body) by the rules of psql, see `sql_lexer`. One difference is on purpose: psql takes the end of the text inside
COPY as success, here the dump is not complete.

The digest of the whole text, where it is wanted, is plain SHA-256, so that anybody can check it with `sha256sum`; left
out are the lines that differ between two dumps of the same data, outside of rows and literals: `\\restrict`,
`\\unrestrict`, `-- Started on` and `-- Completed on`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from hashlib import sha256

from backup_lib.dump_events import (
    Connect,
    CopyData,
    CopyEnd,
    CopyStart,
    DumpEnd,
    EntryStart,
    Event,
    MetaCommand,
    Sql,
    Trailer,
)
from backup_lib.dump_frame import Sections, has_header, skip_to_text
from backup_lib.inventory import Entry, Inventory
from backup_lib.inventory_builder import InventoryBuilder
from backup_lib.sql_lexer import IDENTIFIER, QUALIFIED, Rules, StatementScanner, Stop, repeated, unquote

__all__ = [
    "Connect",
    "CopyData",
    "CopyEnd",
    "CopyStart",
    "DumpEnd",
    "EntryStart",
    "Event",
    "InventoryBuilder",
    "MetaCommand",
    "Sql",
    "Trailer",
    "read_events",
    "read_inventory",
]

READ_BYTES = 256 << 10  # read at a time: much, to have few events; little, to stay in the cache
SQL_BYTES = 1 << 20  # of INSERT statements in one event
ROW_BYTES = 1 << 20  # a longer row is handed on in pieces

_ENTRY = re.compile(
    rb"-- (?:Data for |Statistics for )?Name: (.*); Type: ([A-Z0-9 ]+)"
    rb"; Schema: (.*?); Owner: (.*?)(?:; Tablespace: .*)?"
)
_SECTION = re.compile(rb"-- PostgreSQL database (cluster )?dump( complete)?[ \t]*")
_VERSION = re.compile(rb"-- Dumped (?:from database|by pg_dump) version (.+)")
_TIME = re.compile(rb"-- (?:Started|Completed) on ")
_ABOUT_ENTRY = re.compile(rb"--[ \t]*$|-- (?:TOC entry \d|Dependencies: |Data Pos: |File: )")
_RESTRICT = re.compile(rb"\\(?:un)?restrict(?:\s|$)")
_ENCODING_OF_CONNECT = b"\\encoding SQL_ASCII"  # so that psql hands on an odd name as it is; we do
_CONNECT = re.compile(rb'\\c(?:onnect)?[ \t]+(?:-reuse-previous=on[ \t]+)?("(?:[^"]|"")*"|[^\s"\'-][^\s"\']*)\s*')
_DBNAME = re.compile(r"dbname=(?:'((?:[^'\\]|\\.)*)'|(\S+))")
_COPY = re.compile(
    rb"COPY\s+(" + QUALIFIED + rb")\s*(?:\(([^()\"]*(?:\"[^\"]*\"[^()\"]*)*)\))?\s*FROM\s+STDIN\b[^;]*;\Z",
    re.IGNORECASE | re.DOTALL,
)
_COLUMN = re.compile(IDENTIFIER)
_BLANKS = re.compile(repeated(rb"\s++|--\n"))  # empty comments too: pg_dump frames its own with them
_REST_OF_LINE = re.compile(rb"[ \t\r]*\n?")


def read_events(chunks: Iterable[bytes], *, read_bytes: int = READ_BYTES, with_digest: bool = False) -> Iterator[Event]:
    """The events of one dump, a DumpEnd last; where the chunks part the text does not matter.

    :param read_bytes: chunks are put together to at least this; with less, events come sooner.
    :param with_digest: of the whole text, at its end; rows and definitions have their own, which cost as much.
    :raises DamagedArchiveError: when the text is not pg_dump's at all.
    """
    return _Reader(chunks, read_bytes, with_digest=with_digest).events()


def read_inventory(
    chunks: Iterable[bytes], *, on_definition: Callable[[Entry, bytes], None] | None = None
) -> Inventory:
    """What one dump contains.

    :param on_definition: called with each finished definition and its text, see `InventoryBuilder`.
    :raises DamagedArchiveError: when the text is not pg_dump's at all.
    """
    builder = InventoryBuilder(on_definition=on_definition)
    for event in read_events(chunks):
        builder.feed(event)
    return builder.result()


class _Reader:
    """One pass over one text. `_text` holds what is read but not used up, from `_at` on."""

    def __init__(self, chunks: Iterable[bytes], read_bytes: int, *, with_digest: bool) -> None:
        self._pieces = _pieces(chunks)
        self._read_bytes = read_bytes
        self._text = b""
        self._at = 0
        self._limit = 0  # behind the last newline; at the end of the text, behind its last byte
        self._at_end = False
        self._hashed = 0
        self._digest = sha256() if with_digest else None
        self._size_bytes = 0
        self._rules = Rules()
        self._scanner = StatementScanner()
        self._comments: list[bytes] = []  # before the next statement
        self._entry: EntryStart | None = None
        self._sections = Sections()
        self._versions: dict[bytes, str] = {}
        self._unfinished = False

    def events(self) -> Iterator[Event]:
        while not has_header(self._text) and self._read_more():
            pass
        self._at = skip_to_text(self._text)
        while True:
            self._at = _skip(_BLANKS, self._text, self._at, self._limit)
            if self._at >= self._limit:
                if not self._read_more():
                    break
            elif self._text.startswith(b"--", self._at):
                yield from self._comment()
            elif self._text.startswith(b"\\", self._at):
                yield from self._backslash()
            else:
                yield from self._statement()
                if self._unfinished:
                    break
        yield from self._flush_comments()
        yield self._end()

    # Reading

    def _read_more(self) -> bool:
        """Read on, at least as much as is kept, so that a long statement costs linear time. False at the end."""
        if self._at_end:
            return False
        self._hash_up_to(self._at)
        parts = [self._text[self._at :]]
        wanted = max(self._read_bytes, len(parts[0]))
        for piece in self._pieces:
            parts.append(piece)
            self._size_bytes += len(piece)
            wanted -= len(piece)
            if wanted <= 0:
                break
        else:
            self._at_end = True
        self._text = b"".join(parts)
        self._at = self._hashed = 0
        self._limit = len(self._text) if self._at_end else self._text.rfind(b"\n") + 1
        return True

    def _hash_up_to(self, end: int) -> None:
        if self._digest is not None:
            self._digest.update(memoryview(self._text)[self._hashed : end])
        self._hashed = end

    def _take_line(self) -> bytes:
        """Use up the line that begins here, without its newline."""
        line = _line_at(self._text, self._at, self._limit)
        self._at = min(self._at + len(line) + 1, self._limit)
        return line

    # Between statements

    def _comment(self) -> Iterator[Event]:
        start = self._at
        line = self._take_line()
        if _TIME.match(line):
            self._hash_up_to(start)
            self._hashed = self._at
        elif section := _SECTION.fullmatch(line):
            yield from self._flush_comments()
            self._sections.mark(cluster=bool(section[1]), end=bool(section[2]))
            if section[2]:
                self._entry = None
                yield Trailer()
        elif entry := _ENTRY.fullmatch(line):
            yield from self._flush_comments()
            self._sections.content()
            name, kind, schema, owner = map(self._rules.decode, entry.groups())
            self._entry = EntryStart(
                kind, None if schema == "-" else schema, name, owner if owner not in ("", "-") else None
            )
            yield self._entry
        elif version := _VERSION.match(line):
            self._versions.setdefault(line[:14], self._rules.decode(version[1]).strip())
        elif self._entry is not None and not _ABOUT_ENTRY.match(line):
            self._comments.append(line + b"\n")
            if len(self._comments) * len(line) > SQL_BYTES:
                yield from self._flush_comments()

    def _flush_comments(self) -> Iterator[Event]:
        if self._comments:
            yield Sql(b"".join(self._comments))
            self._comments = []

    def _backslash(self) -> Iterator[Event]:
        start = self._at
        line = self._take_line()
        if _RESTRICT.match(line):
            self._hash_up_to(start)
            self._hashed = self._at
            return
        if line == _ENCODING_OF_CONNECT:
            return
        yield from self._flush_comments()
        self._sections.content()
        database = self._database_of(line)
        if database is None:
            yield MetaCommand(line)
        else:
            self._rules = Rules(encoding=self._rules.encoding)
            self._entry = None
            yield Connect(database)

    def _database_of(self, line: bytes) -> str | None:
        """The database a `\\connect` line names; pg_dump writes odd names as a connection string."""
        match = _CONNECT.fullmatch(line)
        if match is None:
            return None
        name = self._rules.decode(unquote(match[1]))
        if b"-reuse-previous" not in line:
            return name
        option = _DBNAME.fullmatch(name)
        if option is None:
            return None
        return option[2] if option[1] is None else re.sub(r"\\(.)", r"\1", option[1])

    # Statements

    def _statement(self) -> Iterator[Event]:
        self._sections.content()
        if self._text.startswith(b"INSERT INTO ", self._at):
            end = self._end_of_inserts()
            if end > self._at:
                yield from self._flush_comments()
                text, self._at = self._text[self._at : end], end
                yield Sql(text)
                return
        self._scanner.rules = self._rules
        while True:
            stop, end = self._scanner.scan(self._text, self._at, self._limit)
            if stop is Stop.END:
                break
            if stop is Stop.BACKSLASH:
                yield MetaCommand(_line_at(self._text, end, self._limit))
            elif not self._read_more():
                self._unfinished = True
                return
        statement = self._text[self._at : end]
        line_end = _skip(_REST_OF_LINE, self._text, end, self._limit)
        copy = _COPY.match(statement) if statement[:4].upper() == b"COPY" else None
        if copy is not None:
            yield from self._flush_comments()
            self._at = line_end
            columns = (self._rules.decode(unquote(name)) for name in _COLUMN.findall(copy[2] or b""))
            yield CopyStart(statement, self._rules.decode(copy[1]), tuple(columns))
            yield from self._rows()
            return
        self._rules = self._rules.after(statement)
        text = b"".join((*self._comments, self._text[self._at : line_end]))
        self._comments, self._at = [], line_end
        yield Sql(text if text.endswith(b"\n") else text + b"\n")

    def _end_of_inserts(self) -> int:
        """Where a run of plain INSERT statements ends that begins here."""
        while True:
            window = min(self._limit, self._at + SQL_BYTES)
            end = _skip(_inserts(self._rules), self._text, self._at, window)
            if end > self._at or window - self._at >= SQL_BYTES or not self._read_more():
                return end

    def _rows(self) -> Iterator[Event]:
        """The rows of a COPY block, up to its `\\.`."""
        at_row_start = True
        while (end := _end_of_rows(self._text, self._at, at_row_start=at_row_start)) < 0:
            start, end = self._at, self._text.rfind(b"\n", self._at) + 1
            if end:
                at_row_start = True
            elif len(self._text) - start > ROW_BYTES:
                end, at_row_start = len(self._text), False
            if end > start:
                yield CopyData(self._text[start:end])
                self._at = end
            if not self._read_more():
                self._unfinished = True
                return
        if end > self._at:
            yield CopyData(self._text[self._at : end])
        self._at = end + len(b"\\.\n")
        yield CopyEnd()

    def _end(self) -> DumpEnd:
        self._hash_up_to(len(self._text))
        complete = self._sections.complete and not self._unfinished
        return DumpEnd(
            complete=complete,
            ends_in=self._entry.label if self._entry and not complete else None,
            scope=self._sections.scope,
            server_version=self._versions.get(b"-- Dumped from"),
            dump_version=self._versions.get(b"-- Dumped by p"),
            encoding=self._rules.encoding,
            sha256=self._digest.hexdigest() if self._digest is not None else "",
            size_bytes=self._size_bytes,
        )


def _end_of_rows(text: bytes, at: int, *, at_row_start: bool) -> int:
    """Where the `\\.` line begins; -1 if it is not there yet."""
    if at_row_start and text.startswith(b"\\.\n", at):
        return at
    # One byte is looked for several times as fast as four, and most rows have no backslash.
    backslash = text.find(b"\\", at)
    newline = text.find(b"\n\\.\n", max(at, backslash - 1)) if backslash >= 0 else -1
    return newline + 1 if newline >= 0 else -1


@lru_cache
def _inserts(rules: Rules) -> re.Pattern[bytes]:
    """A run of whole INSERT statements as pg_dump writes them; anything odder is left to the scanner."""
    literal = rb"(?<![eE])" + rules.quoted
    plain = rb"[^'\"();$\\/\-]++|-(?!-)|" + literal + rb'|"[^"]*+"'
    statement = rb"INSERT INTO " + repeated(plain + rb"|\(" + repeated(plain) + rb"\)") + rb";\n"
    return re.compile(repeated(statement), re.DOTALL)


def _line_at(text: bytes, at: int, limit: int) -> bytes:
    newline = text.find(b"\n", at, limit)
    return text[at : limit if newline < 0 else newline]


def _skip(pattern: re.Pattern[bytes], text: bytes, at: int, limit: int) -> int:
    match = pattern.match(text, at, limit)
    return match.end() if match else at


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if len(chunk) <= ROW_BYTES:
            yield chunk
        else:
            yield from (chunk[at : at + READ_BYTES] for at in range(0, len(chunk), READ_BYTES))
