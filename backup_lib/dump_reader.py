"""Reads pg_dump's text as a stream: events for a loader, an inventory for a proof; constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from backup_lib.inventory import Inventory


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
    """One or more whole statements, comments and blank lines around them included; about 1 MiB at the most
    unless one statement is longer. Belongs to the last EntryStart, or to none (session settings)."""

    text: bytes


@dataclass(frozen=True, slots=True)
class CopyStart:
    statement: bytes  # without the newline
    target: str  # as written: public.ventas, "Odd""Name"."T"
    columns: tuple[str, ...]  # unquoted


@dataclass(frozen=True, slots=True)
class CopyData:
    data: bytes  # whole rows, each with its newline; without the closing \.


@dataclass(frozen=True, slots=True)
class CopyEnd:
    pass


@dataclass(frozen=True, slots=True)
class Connect:
    """`\\connect`: what follows belongs to another database."""

    database: str


@dataclass(frozen=True, slots=True)
class MetaCommand:
    """Any other backslash command outside data but `\\restrict` and `\\unrestrict`: psql would act on it, nobody else may."""

    line: bytes


@dataclass(frozen=True, slots=True)
class DumpEnd:
    """The end of the text; always the last event."""

    complete: bool
    ends_in: str | None


Event = EntryStart | Sql | CopyStart | CopyData | CopyEnd | Connect | MetaCommand | DumpEnd
