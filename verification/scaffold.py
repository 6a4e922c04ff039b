"""What a part of a database stands on: made from the manifest's definitions, when the archive's own statements need it.

An archive of some tables holds no type, function or extension they use, nor a table that a view or key of theirs names.
A restore into a database that has these works; so the drill makes them, without rows, and the record says so.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from backup_lib.definitions import around_rows, only_entries
from backup_lib.dump_events import EntryStart
from backup_lib.load_order import parse_table
from backup_lib.manifest import Manifest
from backup_lib.plain_loader import Loader
from backup_lib.quantity import number_of
from backup_lib.statement_errors import StatementError
from verification.scope import Scope

Connect = Callable[[str], psycopg.Connection[tuple[object, ...]]]

# Refused for want of a schema, table, function, other object, or the key that a reference or GROUP BY goes by.
_MISSING = ("3F000", "42P01", "42883", "42704", "42830", "42803")
_SAID_OF_OTHERS = frozenset({"ACL", "DEFAULT ACL", "COMMENT", "SECURITY LABEL"})
_OF_TABLES = frozenset({"DEFAULT", "CONSTRAINT", "TABLE ATTACH", "SEQUENCE OWNED BY"})


class Scaffold:
    """Called by a loader with what the server refused."""

    def __init__(self, connect: Connect, manifest: Manifest) -> None:
        if manifest.definitions is None:
            raise ValueError("the manifest has no definitions")
        self._connect = connect
        before, after = around_rows(manifest.definitions)
        own = _entries_of(manifest)
        self._events = [event for events in (before, after) for event in events]
        entries = [event for event in self._events if isinstance(event, EntryStart)]
        keys = {entry.label for entry in after if isinstance(entry, EntryStart) and entry.type == "CONSTRAINT"}
        first = {entry.label for entry in before if isinstance(entry, EntryStart)}
        self._waiting = {entry.label for entry in entries if entry.label in first | keys and not _is_own(entry, own)}
        self.others = tuple(entry.label for entry in entries if entry.label not in own)
        self.made: list[str] = []
        self.lacking: dict[str, StatementError] = {}  # extensions that this server does not have

    def __call__(self, exc: psycopg.Error, database: str) -> str | None:
        """Make what can be made by now; what it needs itself may still come with the archive."""
        if exc.sqlstate not in _MISSING:
            return None
        with Loader(self._connect, database) as loader:
            report = loader.load(only_entries(self._events, lambda entry: entry.label in self._waiting))
        refused = {error.entry: error for error in report.errors}
        made = sorted(self._waiting - refused.keys())
        self.lacking = {label: error for label, error in refused.items() if label.startswith("EXTENSION ")}
        self._waiting -= set(made)
        self.made += [label for label in made if not label.startswith(tuple(_OF_TABLES))]
        return f"{number_of(len(made), 'definition')} of the manifest" if made else None


def scaffold_of(connect: Connect, manifest: Manifest | None, scope: Scope) -> Scaffold | None:
    """That of a part; None for what must stand by itself."""
    if manifest is None or manifest.definitions is None or not scope.is_part or scope.kind == "data":
        return None
    return Scaffold(connect, manifest)


def tables_of(manifest: Manifest) -> set[str]:
    """Labels of the tables that the archive makes; keys to others are none of its promises."""
    entries = manifest.inventory.entries if manifest.inventory is not None else ()
    return {f"{entry.schema}.{entry.name}" for entry in entries if entry.type == "TABLE"}


def _entries_of(manifest: Manifest) -> set[str]:
    """Labels of what an archive must bring itself: what its pg_dump wrote, and what belongs to its tables by SQL."""
    own = {entry.label for entry in manifest.inventory.entries} if manifest.inventory is not None else set()
    for identity in manifest.catalog:
        kind, _, name = identity.partition(" ")
        if kind in ("table", "sequence"):
            own.add(f"{kind.upper()} {'.'.join(parse_table(name))}")
    return own


def _is_own(entry: EntryStart, own: set[str]) -> bool:
    """Whether the archive must bring it: itself, or as something of its own tables, such as a key or a default."""
    if entry.label in own or entry.type in _SAID_OF_OTHERS:
        return True
    if entry.type not in _OF_TABLES:
        return False
    # Named by its table and itself, `venta venta_pkey`; either may hold blanks.
    words = entry.name.split(" ")
    names = [" ".join(words[:count]) for count in range(1, len(words) + 1)]
    return any(f"{kind} {entry.schema}.{name}" in own for kind in ("TABLE", "SEQUENCE") for name in names)
