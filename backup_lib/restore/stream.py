"""The events of a dump that a restore acts on: the chosen entries, and nothing that is somebody else's decision."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from backup_lib.dump_events import Connect, CopyData, CopyEnd, CopyStart, DumpEnd, EntryStart, Event, Sql, Trailer
from backup_lib.load_order import NAME, parse_table
from backup_lib.restore.outline import Part
from backup_lib.sql_lexer import repeated

_COMMENTS = re.compile(repeated(rb"\s*--[^\n]*+(?:\n|\Z)") + rb"\s*")
_TRANSACTION = re.compile(rb"(?:BEGIN|COMMIT|END|ROLLBACK|ABORT|START|PREPARE TRANSACTION|SAVEPOINT|RELEASE)\b", re.I)
_SESSION = re.compile(rb"SET [a-z_]+ = |SELECT pg_catalog\.set_config\('search_path'")
_OURS = re.compile(
    rb"SET (?:statement_timeout|lock_timeout|idle_in_transaction_session_timeout|transaction_timeout) = "
)
_STATE = re.compile(rb"SET default_(?:tablespace|table_access_method) = ")
_TABLESPACE = re.compile(rb"SET default_tablespace = ('(?:[^']|'')*'|" + NAME + rb");")
_OWNER = re.compile(rb"ALTER [\s\S]* OWNER TO (" + NAME + rb");\s*\Z")
_GRANTS = re.compile(rb"(?:GRANT|REVOKE) [\s\S]* (?:TO|FROM) (" + NAME + rb")(?: WITH GRANT OPTION)?;\s*\Z")
_AS = re.compile(rb"SET SESSION AUTHORIZATION (?:DEFAULT|(" + NAME + rb"));")
_DEFAULTS_OF = re.compile(rb"ALTER DEFAULT PRIVILEGES FOR ROLE (" + NAME + rb") ")
_MAKES_SCHEMA = re.compile(rb"CREATE SCHEMA (" + NAME + rb");\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a restore does otherwise than the archive says; each of them is in the plan."""

    places: frozenset[int]  # of the entries that are restored
    keep_owners: bool = True
    missing_roles: frozenset[str] = frozenset()  # whose privileges are left out, where owners are not kept
    missing_tablespaces: frozenset[str] = frozenset()
    schemas_there: frozenset[str] = frozenset()
    in_one_transaction: bool = True  # ours; else large objects are written in one of their own, as the dump says


def chosen_events(events: Iterable[Event], changes: Changes) -> Iterator[Event]:
    """Left out are other entries, `\\connect`, what drops and makes databases, and transaction control.

    Statements before the first entry are only let through where they set up the session.
    """
    place, inside, wanted, begins = -1, False, False, False
    for event in events:
        match event:
            case EntryStart():
                place += 1
                inside, wanted = True, place in changes.places
                begins = wanted and event.type == "BLOBS" and not changes.in_one_transaction
                if wanted:
                    yield event
            case Sql(text):
                kept = text if begins else _kept(text, changes, inside=inside, wanted=wanted)
                if kept:
                    yield Sql(kept)
            case CopyStart() | CopyData() | CopyEnd():
                if wanted:
                    yield event
            case Connect() | Trailer():
                inside = False
            case DumpEnd():
                yield event


def _kept(text: bytes, changes: Changes, *, inside: bool, wanted: bool) -> bytes:
    statement = bare(text)
    if _OURS.match(statement) or _TRANSACTION.match(statement):
        return b""
    if _STATE.match(statement):
        return _with_known_tablespace(text, changes)
    if not inside:
        return text if _SESSION.match(statement) else b""
    if not wanted:
        return b""
    if statement.startswith((b"INSERT INTO ", b"SELECT pg_catalog.")):  # many at a time, and about no role
        return text
    return text if _may_run(statement, changes) else b""


def bare(text: bytes) -> bytes:
    """A statement without the comments before it."""
    comments = _COMMENTS.match(text)
    return text[comments.end() :] if comments else text


def _may_run(statement: bytes, changes: Changes) -> bool:
    if (schema := _MAKES_SCHEMA.match(statement)) and parse_table(schema[1])[0] in changes.schemas_there:
        return False
    if changes.keep_owners:
        return True
    if _OWNER.match(statement):
        return False
    if named := _AS.match(statement):
        return False
    named = _DEFAULTS_OF.match(statement)
    if named and parse_table(named[1])[0] in changes.missing_roles:
        return False
    named = _GRANTS.match(statement)
    return not (named and parse_table(named[1])[0] in changes.missing_roles)


def _with_known_tablespace(text: bytes, changes: Changes) -> bytes:
    named = _TABLESPACE.search(text)
    if named is None or not changes.missing_tablespaces:
        return text
    name = named[1].decode("utf-8", "replace")
    name = name[1:-1].replace("''", "'") if name.startswith("'") else parse_table(named[1])[0]
    return b"SET default_tablespace = '';\n" if name in changes.missing_tablespaces else text


def tablespaces_of(parts: Iterable[Part]) -> set[str]:
    """Those that the dump sets before its entries."""
    found = set()
    for part in parts:
        for named in _TABLESPACE.finditer(part.text):
            bare = named[1]
            name = (
                bare[1:-1].replace(b"''", b"'").decode("utf-8", "replace") if bare[:1] == b"'" else parse_table(bare)[0]
            )
            if name:
                found.add(name)
    return found
