"""The inventory: what a dump contains, entry by entry. Data only; `dump_reader` makes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

_LINE_END = re.compile(r"[\r\n]")


def as_shown(schema: str | None, name: str) -> tuple[str | None, str]:
    """A name as pg_dump's comments show it: line ends as blanks, and a schema called "-" like none."""
    return None if schema in (None, "-") else _LINE_END.sub(" ", schema), _LINE_END.sub(" ", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One definition, as pg_dump writes it under a `-- Name: …; Type: …` line.

    `(database, type, schema, name)` is not unique: casts, default privileges and operators repeat it.
    """

    type: str  # pg_dump's word: TABLE, INDEX, ACL, FK CONSTRAINT, …
    schema: str | None  # None where pg_dump writes "-"
    name: str
    owner: str | None
    sha256: str  # 64 hex digits, of the definition's text without comments and blank lines around it
    database: str | None = None  # set by `\connect`; None in a dump of one database without --create

    @property
    def label(self) -> str:
        """How a person names it: `INDEX ventas.ix_fecha`."""
        return f"{self.type} {self.schema + '.' if self.schema else ''}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableData:
    """The rows of one `TABLE DATA` entry."""

    schema: str | None
    name: str
    target: str  # the table COPY or INSERT names, as written: its root if loaded through it
    columns: tuple[str, ...] | None  # unquoted; None for INSERT without a column list
    form: Literal["copy", "insert"]
    rows: int
    size_bytes: int
    sha256: str  # of the rows' text in the order of the dump
    database: str | None = None

    @property
    def label(self) -> str:
        return f"{self.schema + '.' if self.schema else ''}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceValue:
    """What `setval` sets: the next value is `last_value`, or the one after it if `is_called`."""

    schema: str | None
    name: str
    last_value: int
    is_called: bool
    database: str | None = None

    @property
    def label(self) -> str:
        return f"{self.schema + '.' if self.schema else ''}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObject:
    oid: int
    size_bytes: int
    sha256: str  # of its bytes
    database: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All that one dump contains.

    `complete` is False when the closing line (`-- PostgreSQL database dump complete`) is missing, something
    follows it, or the text ends inside a statement or a COPY block; `ends_in` then names the entry it ends in.
    """

    entries: tuple[Entry, ...]
    tables: tuple[TableData, ...]
    sequences: tuple[SequenceValue, ...]
    large_objects: tuple[LargeObject, ...]
    complete: bool
    ends_in: str | None = None
    scope: Literal["database", "cluster"] = "database"  # cluster: written by pg_dumpall
    server_version: str | None = None  # "15.18 (Debian …)", from the dump's own comment
    dump_version: str | None = None  # of pg_dump
    encoding: str | None = None  # from SET client_encoding
    sha256: str = ""  # of the whole text but its `\restrict` lines; only of one that a drill read
    size_bytes: int = 0  # of the whole text

    @property
    def is_empty(self) -> bool:
        return not (self.entries or self.tables or self.sequences or self.large_objects)


def major_of(version: str | None) -> int | None:
    """The major of a version as PostgreSQL prints it: 15 of `15.18 (Debian 15.18-0+deb12u1)`, 17 of `17beta1`."""
    digits = ""
    for character in version or "":
        if not character.isdigit():
            break
        digits += character
    return int(digits) if digits else None


def total_rows(tables: Iterable[TableData]) -> int:
    return sum(table.rows for table in tables)
