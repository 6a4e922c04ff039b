"""A database's definitions, kept in the manifest of an archive that holds rows or a part only.

Rows alone have no table to be loaded into. So what is before the rows in a dump is made first, and keys, indexes
and triggers come when the rows are there: keys that refer to one another in a circle hold then.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from dataclasses import replace
from hashlib import sha256

from backup_lib.dump_events import DumpEnd, EntryStart, Event, Sql, Trailer
from backup_lib.dump_reader import read_events
from backup_lib.errors import DamagedManifestError, ProgramError
from backup_lib.load_order import parse_table, referenced_table, section_of
from backup_lib.manifest import PackedDefinitions

_WITH_PASSWORDS = ("USER MAPPING", "SUBSCRIPTION")  # no rows need them, and no manifest may hold them
_HEADER = "--\n-- Name: {}; Type: {}; Schema: {}; Owner: {}\n--\n\n"
_TRAILER = b"--\n-- PostgreSQL database dump complete\n--\n\n"
# pg_dump writes it behind the statements of the entry before the one it is for.
_STATE = re.compile(rb"(?:\s*--[^\n]*\n)*\s*SET default_table")
_OF_CONSTRAINT = re.compile(r"CONSTRAINT (.+) ON (.+)", re.DOTALL)


def pack_definitions(chunks: Iterable[bytes]) -> PackedDefinitions:
    """Keep the text of a `pg_dump --schema-only`, as text that psql would take as well.

    :raises ProgramError: when the text has no end.
    """
    kept = [b"--\n-- PostgreSQL database dump\n--\n\n"]
    secret = False
    for event in read_events(chunks):
        match event:
            case EntryStart():
                secret = event.type in _WITH_PASSWORDS or event.name.startswith(_WITH_PASSWORDS)
                if not secret:
                    header = _HEADER.format(event.name, event.type, event.schema or "-", event.owner or "")
                    kept.append(header.encode("utf-8", "surrogateescape"))
            case Sql(text):
                if not secret or _STATE.match(text):
                    kept.append(text + b"\n")
            case DumpEnd(complete=False):
                raise ProgramError("pg_dump's text of the definitions has no end", hint="run it again")
            case _:
                pass
    text = b"".join([*kept, _TRAILER])
    return PackedDefinitions(
        size_bytes=len(text), sha256=sha256(text).hexdigest(), gzip=gzip.compress(text, 6, mtime=0)
    )


def around_rows(definitions: PackedDefinitions) -> tuple[list[Event], list[Event]]:
    """The events of what a loader makes before the rows, and of what it makes after them; each a dump of its own.

    :raises DamagedManifestError: when the text is not the one that was packed.
    """
    session: list[Event] = []
    before: list[Event] = []
    after: list[Event] = []
    side = session
    for event in read_events([unpack_definitions(definitions)]):
        if isinstance(event, EntryStart) and side is not after:
            side = after if section_of(event) == "post-data" else before
        if isinstance(event, Trailer | DumpEnd):
            continue
        if isinstance(event, Sql) and side is before and _STATE.match(event.text):
            session.append(event)  # in force for what comes next, which may be the first one after the rows
        side.append(event)
    opening = [event for event in session if event not in before]
    end: list[Event] = [Trailer(), DumpEnd(complete=True, ends_in=None)]
    return [*opening, *before, *end], [*session, *after, *end]


def unpack_definitions(definitions: PackedDefinitions) -> bytes:
    """:raises DamagedManifestError: when it is not the text that was packed."""
    try:
        text = gzip.decompress(definitions.gzip)
    except (OSError, EOFError, zlib.error):
        text = b""
    if sha256(text).hexdigest() != definitions.sha256:
        raise DamagedManifestError(
            "the manifest's definitions are not those it was written with",
            hint="take the manifest that was written with this archive",
        )
    return text


def only_entries(events: Iterable[Event], wanted: Callable[[EntryStart], bool]) -> Iterator[Event]:
    """The events of some entries, and the session's state that each of them was written in."""
    passing = True
    for event in events:
        if isinstance(event, EntryStart):
            passing = wanted(event)
        if passing or isinstance(event, Trailer | DumpEnd) or (isinstance(event, Sql) and _STATE.match(event.text)):
            yield event


def without_outward_keys(events: Iterable[Event], with_rows: Container[str], dropped: list[str]) -> Iterator[Event]:
    """The events without the foreign keys that refer to tables whose rows are not there, and what is said of them.

    :param with_rows: labels of the tables that have theirs.
    :param dropped: gets the labels of the entries left out.
    """
    key: EntryStart | None = None  # a foreign key that has not said yet what it refers to
    passing = True
    for event in events:
        if isinstance(event, EntryStart):
            passing = not _is_about(event, dropped)
            key = event if event.type == "FK CONSTRAINT" else None
            if not passing:
                dropped.append(event.label)
        elif key is not None and isinstance(event, Sql):
            table = referenced_table(event.text)
            if table is not None and ".".join(table) not in with_rows:
                dropped.append(key.label)
                passing = False
            else:
                yield key
            key = None
        elif isinstance(event, Trailer | DumpEnd):
            passing = True
        if key is None and (passing or (isinstance(event, Sql) and _STATE.match(event.text))):
            yield event


def _is_about(event: EntryStart, dropped: Collection[str]) -> bool:
    """Whether it is the comment on a foreign key that was left out."""
    found = _OF_CONSTRAINT.fullmatch(event.name) if event.type == "COMMENT" else None
    if found is None or not dropped:
        return False
    key = " ".join(".".join(parse_table(part)) for part in (found[2], found[1]))
    return replace(event, type="FK CONSTRAINT", name=key).label in dropped
