"""Where everything stands in a dump's text, so that one thing can be altered and all else be kept byte by byte."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from backup_lib.sql_lexer import QUALIFIED, Rules

HEAD_BYTES = 64 << 10  # of the rows of one table that are looked at
DEFINITION_BYTES = 1 << 20  # a longer definition is left alone
_LARGE_OBJECT_BYTES = 1 << 20

_HEADER = re.compile(
    rb"-- (?:Data for )?Name: (.*); Type: ([A-Z0-9 ]+); Schema: (.*?); Owner: (.*?)(?:; Tablespace: .*)?\n"
)
_CLOSING = re.compile(rb"-- PostgreSQL database (?:cluster )?dump complete")
_COPY = re.compile(rb"COPY (" + QUALIFIED + rb") .*FROM stdin;\n", re.DOTALL)
_ENCODING = re.compile(rb"^SET client_encoding = '([^'\n]+)';", re.MULTILINE)
# pg_dump writes these behind one entry for the next one.
_FOR_THE_NEXT = re.compile(rb"(?:^SET default_table[a-z_]+ = [^\n]*;\n\n?)+\Z", re.MULTILINE)
_LOWRITE = b"SELECT pg_catalog.lowrite("


@dataclass(slots=True, kw_only=True)
class Rows:
    """The rows of one COPY block."""

    target: str  # as COPY names it
    start: int
    end: int = 0  # where its `\\.` begins
    head: bytes = b""  # the first of them, whole ones


@dataclass(slots=True, kw_only=True)
class Place:
    """One entry of the dump and where it stands."""

    type: str
    schema: str | None
    name: str
    start: int  # of its header comment
    body: int  # behind it
    end: int = 0  # before the next one
    text: bytes = b""  # from `body` on; its first part only where it holds rows or large objects
    rows: Rows | None = None

    @property
    def label(self) -> str:
        """As findings of definitions name it."""
        return f"{self.type} {self.table}"

    @property
    def table(self) -> str:
        """As findings of rows and sequences name it."""
        return f"{self.schema + '.' if self.schema else ''}{self.name}"

    @property
    def is_whole(self) -> bool:
        return len(self.text) == self.end - self.body


@dataclass(slots=True, kw_only=True)
class DumpMap:
    preamble: bytes = b""  # before the first entry, from the text's start
    places: list[Place] = field(default_factory=list)
    closing: int | None = None  # where the comment with the closing line begins

    def of(self, *types: str) -> list[Place]:
        """The definitions of these types that are read whole."""
        return [place for place in self.places if place.type in types and place.is_whole]

    def blocks(self) -> list[tuple[Place, Rows]]:
        """Tables of which there is a row at least."""
        return [(place, place.rows) for place in self.places if place.rows is not None and place.rows.head]


def map_dump(chunks: Iterable[bytes]) -> DumpMap:
    """Read a dump's text once; of its rows only the first of each table are kept."""
    dump = DumpMap()
    rules = Rules()
    parts: list[bytes] = []  # of what precedes the next entry
    kept = 0
    before = 0  # where the line before this one began
    for at, line in lines(chunks):
        place = dump.places[-1] if dump.places and dump.closing is None else None
        rows = place.rows if place is not None else None
        if rows is not None and not rows.end:
            if line == b"\\.\n":
                rows.end = at
            elif len(rows.head) < HEAD_BYTES and at == rows.start + len(rows.head):
                rows.head += line
            continue
        header = _HEADER.fullmatch(line) if line.startswith(b"-- ") else None
        if header is not None or (line.startswith(b"-- Postgre") and _CLOSING.match(line)):
            _finish(dump, parts, before)
            parts, kept = [], 0
            if header is None:
                dump.closing = before
                continue
            if not dump.places:
                encoding = _ENCODING.search(dump.preamble)
                rules = Rules(encoding=encoding[1].decode("ascii", "replace") if encoding else None)
            name, kind, schema, _ = map(rules.decode, header.groups())
            dump.places.append(
                Place(type=kind, schema=None if schema == "-" else schema, name=name, start=before, body=at + len(line))
            )
        elif dump.closing is None:
            copy = _COPY.fullmatch(line) if place is not None and line.startswith(b"COPY ") else None
            if place is not None and copy is not None and place.type == "TABLE DATA":
                place.rows = Rows(target=rules.decode(copy[1]), start=at + len(line))
            if kept <= _most(place):
                parts.append(line)
                kept += len(line)
        before = at
    if dump.closing is None:
        _finish(dump, parts, before)
    return dump


def _most(place: Place | None) -> int:
    return _LARGE_OBJECT_BYTES if place is not None and place.type == "BLOBS" else DEFINITION_BYTES


def _finish(dump: DumpMap, parts: list[bytes], end: int) -> None:
    text = b"".join(parts)
    if not dump.places:
        dump.preamble = text
        return
    place = dump.places[-1]
    if place.rows is not None:
        place.end = end
        return
    # The "--" line of the next header was taken for part of this entry.
    text = text[: end - place.body] if end - place.body < len(text) else text
    behind = _FOR_THE_NEXT.search(text) if place.body + len(text) == end else None
    place.end = end - len(behind[0]) if behind is not None else end
    place.text = text[: place.end - place.body]


def definitions_only(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The text without the rows of its COPY blocks and the bytes of its large objects; all else stays."""
    inside = False
    for _, line in lines(chunks):
        if inside:
            inside = line != b"\\.\n"
            if inside:
                continue
        elif line.startswith(b"COPY ") and _COPY.fullmatch(line):
            inside = True
        elif line.startswith(_LOWRITE):
            continue
        yield line


def lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each line with its newline, and where it begins."""
    at = 0
    kept: list[bytes] = []  # of a line longer than a chunk
    for chunk in chunks:
        if b"\n" not in chunk:
            kept.append(chunk)
            continue
        *whole, rest = b"".join((*kept, chunk)).split(b"\n")
        kept = [rest]
        for line in whole:
            yield at, line + b"\n"
            at += len(line) + 1
    if last := b"".join(kept):
        yield at, last
