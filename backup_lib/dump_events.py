"""The events a dump's text is read as: what a loader acts on, and what an inventory is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class EntryStart:
    """A `-- Name: …; Type: …; Schema: …; Owner: …` line (or `-- Data for Name: …`). Lasts until the next one."""

    type: str
    schema: str | None
    name: str
    owner: str | None

    @property
    def label(self) -> str:
        return f"{self.type} {self.schema + '.' if self.schema else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Sql:
    """One whole statement with the comments before it, or comments alone; ends with a newline, as in the dump.

    INSERT statements come many at a time, about 1 MiB of them. Belongs to the last EntryStart, or to none; the
    session settings pg_dump writes before an entry's header come behind the statements of the entry before.
    """

    text: bytes


@dataclass(frozen=True, slots=True)
class CopyStart:
    statement: bytes  # without the newline
    target: str  # as written: public.ventas, "Odd""Name"."T"
    columns: tuple[str, ...]  # unquoted


@dataclass(frozen=True, slots=True)
class CopyData:
    """Whole rows, each with its newline; without the closing `\\.`. Only a row longer than 1 MiB is cut."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CopyEnd:
    pass


@dataclass(frozen=True, slots=True)
class Connect:
    """`\\connect`: what follows belongs to another database."""

    database: str


@dataclass(frozen=True, slots=True)
class Trailer:
    """`-- PostgreSQL database dump complete`, or of a cluster: what follows belongs to no entry, and to no database."""


@dataclass(frozen=True, slots=True)
class MetaCommand:
    """Any backslash command but `\\connect`, `\\restrict` and `\\unrestrict`: psql would act on it, nobody else may.

    One in the middle of a statement stands in the statement's Sql as well, where a server refuses it.
    """

    line: bytes


@dataclass(frozen=True, slots=True)
class DumpEnd:
    """The end of the text; always the last event. Holds what is known of the text as a whole."""

    complete: bool
    ends_in: str | None
    scope: Literal["database", "cluster"] = "database"
    server_version: str | None = None
    dump_version: str | None = None
    encoding: str | None = None
    sha256: str = ""
    size_bytes: int = 0


Event = EntryStart | Sql | CopyStart | CopyData | CopyEnd | Connect | Trailer | MetaCommand | DumpEnd
