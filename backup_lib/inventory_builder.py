"""Makes the inventory of the events of a dump, entry by entry."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256

from backup_lib.dump_data import LargeObjects, Rows
from backup_lib.dump_events import (
    Connect,
    CopyData,
    CopyStart,
    DumpEnd,
    EntryStart,
    Event,
    Sql,
    Trailer,
)
from backup_lib.inventory import Entry, Inventory, SequenceValue, TableData
from backup_lib.sql_lexer import Rules, repeated

_COMMENTS = re.compile(repeated(rb"\s*--[^\n]*+\n") + rb"\s*")
# What pg_dump writes before an entry's header, and pg_restore -1 around everything. An ACL's own
# SET SESSION AUTHORIZATION names the grantor without quotes.
_SESSION = re.compile(
    rb"SET \w+ = |SELECT pg_catalog\.set_config\('search_path'|SET ROLE |BEGIN;|COMMIT;"
    rb"|SET SESSION AUTHORIZATION (?:'|DEFAULT;)"
)
_STATE = re.compile(rb"SET (default_tablespace|default_table_access_method) = ([^\n]*);")
_STATE_DEFAULTS = {b"default_tablespace": b"''", b"default_table_access_method": b"heap"}
_STATES_OF = {
    "TABLE": (b"default_tablespace", b"default_table_access_method"),
    "MATERIALIZED VIEW": (b"default_tablespace", b"default_table_access_method"),
    "INDEX": (b"default_tablespace",),
    "CONSTRAINT": (b"default_tablespace",),
}
_PARTITIONED = re.compile(rb"^\)?\s*PARTITION BY ", re.MULTILINE)
_SETVAL = re.compile(rb"SELECT pg_catalog\.setval\('.*', (-?\d+), (true|false)\);\Z", re.DOTALL)
_OF_LARGE_OBJECTS = re.compile(r"LARGE OBJECTS? \d+(?:\.\.\d+)?")
_LARGE_OBJECT = re.compile(rb"lo_create\('(\d+)'\)|LARGE OBJECT (\d+)")


class InventoryBuilder:
    """Takes the events of one dump; has its inventory after the last.

    An entry's digest is that of its statements, each trimmed, one after another, with a newline behind each. Where
    a tablespace or access method other than the default is in force the `SET` line for it comes first, since
    without it the same statement makes something else. Each large object is an entry of its own (`BLOB`), and so
    are its privileges and comments, whatever way the major of pg_dump groups them.

    :param on_definition: called with each finished definition and its text, `sha256(text)` being the entry's.
        A `SET` line at its start holds for this entry only.
    """

    def __init__(self, *, on_definition: Callable[[Entry, bytes], None] | None = None) -> None:
        self._on_definition = on_definition
        self._entries: list[Entry] = []
        self._tables: list[TableData] = []
        self._sequences: list[SequenceValue] = []
        self._large_objects = LargeObjects()
        self._rules = Rules()
        self._database: str | None = None
        self._state = dict(_STATE_DEFAULTS)
        self._entry: EntryStart | None = None
        self._state_before = self._state  # the entry; what comes behind its statements is for the next one
        self._parts: list[bytes] = []  # the entry's statements so far
        self._rows: Rows | None = None
        self._end: DumpEnd | None = None

    def feed(self, event: Event) -> None:
        match event:
            case CopyData(data):
                if self._rows is not None:
                    self._rows.add_copied(data)
            case Sql(text):
                self._add_sql(text)
            case EntryStart():
                self._finish()
                self._entry, self._state_before = event, dict(self._state)
                if event.type == "TABLE DATA":
                    self._rows = Rows(event.schema, event.name)
            case CopyStart(target=target, columns=columns):
                self._begin_copy(target, columns)
            case Connect(database):
                self._leave(database)
            case Trailer():
                self._leave(None)
            case DumpEnd():
                self._finish()
                self._end = event

    def result(self) -> Inventory:
        if self._end is None:
            raise ValueError("the events have not come to their end")
        return Inventory(
            entries=tuple(self._entries),
            tables=tuple(self._tables),
            sequences=tuple(self._sequences),
            large_objects=self._large_objects.result(),
            complete=self._end.complete,
            ends_in=self._end.ends_in,
            scope=self._end.scope,
            server_version=self._end.server_version,
            dump_version=self._end.dump_version,
            encoding=self._end.encoding,
            sha256=self._end.sha256,
            size_bytes=self._end.size_bytes,
        )

    def _leave(self, database: str | None) -> None:
        """Go on in another session."""
        self._finish()
        self._database = database
        self._state = dict(_STATE_DEFAULTS)
        self._rules = Rules(encoding=self._rules.encoding)

    def _begin_copy(self, target: str, columns: tuple[str, ...]) -> None:
        if self._rows is not None and self._rows.begun:
            self._tables.append(self._rows.result(self._database))
            self._rows = None
        if self._rows is None:  # nothing pg_dump writes, but rows are rows
            of = self._entry
            self._rows = Rows(of.schema, of.name) if of else Rows(None, target)
        self._rows.begin("copy", target, columns)

    def _add_sql(self, text: bytes) -> None:
        comments = _COMMENTS.match(text)
        at = comments.end() if comments else 0
        if _SESSION.match(text, at):
            statement = text[at:]
            self._rules = self._rules.after(statement)
            if state := _STATE.match(statement):
                self._state[state[1]] = state[2]
            text = text[:at]
        if self._entry is None or not text:
            return
        if self._entry.type == "TABLE DATA":
            if self._rows is not None:
                self._rows.add_inserted(text, self._rules)
        elif self._entry.type == "BLOBS":
            self._large_objects.add(text, self._database)
        elif text := text.strip():
            self._parts.append(text)

    def _finish(self) -> None:
        """The entry ends here."""
        entry, parts, rows = self._entry, self._parts, self._rows
        self._entry, self._parts, self._rows = None, [], None
        if rows is not None:
            self._tables.append(rows.result(self._database))
        # Planner statistics (pg_dump 18 writes them when told to) are estimates, and hold values of rows.
        if entry is None or entry.type in ("TABLE DATA", "BLOBS", "STATISTICS DATA"):
            return
        value = _SETVAL.match(parts[0]) if entry.type == "SEQUENCE SET" and len(parts) == 1 else None
        if value is not None:
            self._sequences.append(
                SequenceValue(
                    schema=entry.schema,
                    name=entry.name,
                    last_value=int(value[1]),
                    is_called=value[2] == b"true",
                    database=self._database,
                )
            )
            return
        objects = _by_large_object(parts) if _is_of_large_objects(entry) else {}
        for oid, own in objects.items():
            if entry.type in ("ACL", "COMMENT", "SECURITY LABEL"):
                self._define(entry, entry.type, f"LARGE OBJECT {oid}", own)
            else:
                self._define(entry, "BLOB", oid, own)
        if not objects:
            self._define(entry, entry.type, entry.name, self._states_of(entry, parts) + parts)

    def _states_of(self, entry: EntryStart, parts: list[bytes]) -> list[bytes]:
        """The session's state this entry means something else without, as the statements that set it."""
        names = [name for name in _STATES_OF.get(entry.type, ()) if self._state_before[name] != _STATE_DEFAULTS[name]]
        if parts and _PARTITIONED.search(parts[0]):  # has no storage, so no access method either
            names = [name for name in names if name != b"default_table_access_method"]
        return [b"SET " + name + b" = " + self._state_before[name] + b";" for name in names]

    def _define(self, of: EntryStart, kind: str, name: str, statements: list[bytes]) -> None:
        text = b"".join(statement + b"\n" for statement in statements)
        entry = Entry(
            type=kind,
            schema=of.schema,
            name=name,
            owner=of.owner,
            sha256=sha256(text).hexdigest(),
            database=self._database,
        )
        self._entries.append(entry)
        if self._on_definition is not None:
            self._on_definition(entry, text)


def _is_of_large_objects(entry: EntryStart) -> bool:
    if entry.type in ("ACL", "COMMENT", "SECURITY LABEL"):
        return bool(_OF_LARGE_OBJECTS.fullmatch(entry.name))
    return entry.type in ("BLOB", "BLOB METADATA")


def _by_large_object(statements: list[bytes]) -> dict[str, list[bytes]]:
    """The statements by the oid they name; one that names none goes with its neighbour."""
    objects: dict[str, list[bytes]] = {}
    before: list[bytes] = []
    oid = None
    for statement in statements:
        named = _LARGE_OBJECT.search(statement)
        if named is not None:
            oid = (named[1] or named[2]).decode()
            objects.setdefault(oid, []).extend((*before, statement))
            before = []
        elif oid is None or statement.startswith(b"SET SESSION"):  # a grantor: belongs to what follows
            before.append(statement)
        else:
            objects[oid].append(statement)
    return objects
