"""The first reading of an archive: what is in it, entry by entry with its text, before anything is touched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backup_lib.dump_events import Connect, CopyStart, EntryStart, Event, MetaCommand, Sql, Trailer
from backup_lib.dump_reader import read_events
from backup_lib.dump_text import Stored, open_dump_text
from backup_lib.encryption import NO_KEYS, Keys
from backup_lib.errors import DamagedArchiveError, UsageError
from backup_lib.inventory import Inventory
from backup_lib.inventory_builder import InventoryBuilder
from backup_lib.load_order import NAME, QUALIFIED, parse_table
from backup_lib.sql_lexer import repeated

Progress = Callable[[int], object]
"""Is told the bytes of plain text that have been read so far."""

ROWS = frozenset({"TABLE DATA", "SEQUENCE SET", "BLOBS", "BLOB COMMENTS"})
OF_DATABASE = frozenset({"DATABASE", "DATABASE PROPERTIES"})
# What reaches beyond the database, or runs what cannot be seen; pg_dump writes none of it.
_BEYOND = re.compile(
    repeated(rb"\s++|--[^\n]*+(?:\n|\Z)|/\*.*?\*/") + rb"(COPY|ALTER\s+SYSTEM|LOAD|DO|CALL|EXECUTE)\b",
    re.IGNORECASE | re.DOTALL,
)
_ROLES = re.compile(
    rb"(?: OWNER TO |^ALTER DEFAULT PRIVILEGES FOR ROLE |^SET SESSION AUTHORIZATION )(" + NAME + rb")", re.MULTILINE
)
_GRANTEE = re.compile(rb" (?:TO|FROM) (" + NAME + rb")(?: WITH GRANT OPTION)?;[ \t]*$", re.MULTILINE)
_POLICY_ROLES = re.compile(
    rb"CREATE POLICY "
    + NAME
    + rb" ON "
    + QUALIFIED
    + rb"(?: AS RESTRICTIVE)?(?: FOR \w+)? TO ([^;]*?)(?: USING \(| WITH CHECK \(|;)"
)
_NO_ROLES = frozenset({"PUBLIC", "CURRENT_USER", "SESSION_USER", "DEFAULT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One entry of the archive. `place` counts the entries from 0, in the order of the dump."""

    place: int
    start: EntryStart
    text: bytes  # its statements; of rows nothing

    @property
    def type(self) -> str:
        return self.start.type

    @property
    def label(self) -> str:
        return self.start.label

    @property
    def table(self) -> tuple[str, ...]:
        """Schema and name, as the header says them."""
        return tuple(part for part in (self.start.schema, self.start.name) if part)

    @property
    def is_of_database(self) -> bool:
        """About the database itself, which is somebody else's decision at a restore."""
        return self.type in OF_DATABASE or self.start.name.startswith("DATABASE ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """All that a restore must know of an archive beforehand; of the rows only how many."""

    name: str
    parts: tuple[Part, ...]
    inventory: Inventory
    sha256: str  # as stored

    @property
    def makes_database(self) -> Part | None:
        """The entry that makes the database, of a dump with --create."""
        return next((part for part in self.parts if part.type == "DATABASE"), None)

    @property
    def extensions(self) -> tuple[str, ...]:
        return tuple(part.start.name for part in self.parts if part.type == "EXTENSION")


def read_outline(path: Path, *, keys: Keys = NO_KEYS, progress: Progress | None = None) -> Outline:
    """Read an archive of any format to its end.

    :raises DamagedArchiveError: when it is cut short or cannot be read.
    :raises UsageError: when it is not of one database, or holds commands that psql would carry out.
    """
    stored = Stored()
    builder = InventoryBuilder()
    with open_dump_text(path, stored, keys=keys) as chunks:
        parts = _collect(read_events(watched(chunks, progress)), builder, path.name)
    inventory = builder.result()
    if not inventory.complete:
        raise DamagedArchiveError(
            f"{path.name} is cut short: it ends in {inventory.ends_in or 'the middle of its text'}",
            hint="nothing was restored; take another archive: pgdrill list",
        )
    if inventory.scope == "cluster":
        raise UsageError(
            f"{path.name} is of a whole cluster, by pg_dumpall",
            hint="restore takes archives of one database; psql reads a cluster's into an empty server",
        )
    return Outline(name=path.name, parts=tuple(parts), inventory=inventory, sha256=stored.sha256 or "")


def watched(chunks: Iterable[bytes], progress: Progress | None) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        if progress is not None:
            progress(done)
        yield chunk


def _collect(events: Iterable[Event], builder: InventoryBuilder, name: str) -> list[Part]:
    parts: list[Part] = []
    start: EntryStart | None = None
    text: list[bytes] = []
    databases: set[str] = set()

    def close() -> None:
        nonlocal start
        if start is not None:
            parts.append(Part(place=len(parts), start=start, text=b"".join(text)))
        start = None
        text.clear()

    for event in events:
        builder.feed(event)
        match event:
            case EntryStart():
                close()
                start = event
            case Sql(statement) if beyond := _BEYOND.match(statement):
                raise _hostile(name, b" ".join(beyond[1].split()).decode().upper())
            case Sql(statement):
                if start is not None and start.type not in ROWS:
                    text.append(statement)
            case Connect(database):
                close()
                databases.add(database)
            case Trailer():
                close()
            case CopyStart() if start is None:
                raise DamagedArchiveError(f"{name} holds rows that belong to no table", hint="take another archive")
            case MetaCommand(line):
                raise _hostile(name, line.split(maxsplit=1)[0].decode("ascii", "replace"))
    close()
    if len(databases) > 1:
        raise UsageError(f"{name} holds {len(databases)} databases", hint="restore takes archives of one database")
    return parts


def _hostile(name: str, word: str) -> UsageError:
    return UsageError(
        f"{name} holds {word}, which pg_dump never writes there: it reaches beyond the database",
        hint="whoever put it there wants more than your data: nothing of it was run; take another archive",
    )


def roles_of(part: Part) -> set[str]:
    """The roles an entry names: its owner, and whom its privileges and policies are for."""
    found = {part.start.owner} if part.start.owner else set()
    if part.type in ROWS:
        return found
    quoted = [match[1] for match in _ROLES.finditer(part.text)]
    if part.type in ("ACL", "DEFAULT ACL"):
        quoted += [match[1] for match in _GRANTEE.finditer(part.text)]
    if part.type == "POLICY":
        for match in _POLICY_ROLES.finditer(part.text):
            quoted += match[2].split(b", ")
    return (found | {parse_table(name)[0] for name in quoted}) - _NO_ROLES
