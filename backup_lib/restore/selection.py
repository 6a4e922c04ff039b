"""Which entries of an archive are restored: all, definitions, rows, or tables with all that belongs to them."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Literal

from backup_lib.errors import NoSuchArchiveError
from backup_lib.load_order import NAME, QUALIFIED, Table, parse_table
from backup_lib.restore.outline import ROWS, Outline, Part

What = Literal["full", "schema", "data"]

_DATA = ROWS | {"BLOB", "BLOB METADATA", "MATERIALIZED VIEW DATA", "STATISTICS DATA"}
_SAID = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})
_TABLES = frozenset({"TABLE", "FOREIGN TABLE"})
_OWN = _TABLES | {"TABLE DATA", "ROW SECURITY"}  # their name is the table's
_WORD = rb'(?:"(?:[^"]|"")*"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)'
_OF_TABLE = {  # where an entry's text names the table that it is of
    **dict.fromkeys(
        ("DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT"), rb"ALTER TABLE (?:ONLY )?" + QUALIFIED
    ),
    "TRIGGER": rb"CREATE (?:CONSTRAINT )?TRIGGER [\s\S]*? ON " + QUALIFIED + rb" (?:FROM |NOT |DEFERRABLE|INITIALLY|"
    rb"REFERENCING |FOR EACH |WHEN |EXECUTE )",
    "RULE": rb"CREATE RULE " + NAME + rb" AS\s+ON \w+ TO " + QUALIFIED,
    "POLICY": rb"CREATE POLICY " + NAME + rb" ON " + QUALIFIED,
    "INDEX": rb"CREATE (?:UNIQUE )?INDEX " + NAME + rb" ON (?:ONLY )?" + QUALIFIED + rb" USING ",
    "STATISTICS": rb"CREATE STATISTICS [\s\S]*? FROM " + QUALIFIED,
}
_NEEDING = {  # what an entry's text says it needs; without it the rest of the table is still what it was
    "FK CONSTRAINT": ("TABLE", re.compile(rb" FOREIGN KEY \([^;]*?\) REFERENCES " + QUALIFIED + rb"\(")),
    "TRIGGER": ("FUNCTION", re.compile(rb" EXECUTE (?:FUNCTION|PROCEDURE) " + QUALIFIED + rb"\(")),
}
_ATTACH = re.compile(rb"ALTER (?:TABLE|INDEX) (?:ONLY )?" + QUALIFIED + rb" ATTACH PARTITION " + QUALIFIED)
_OWNED = re.compile(rb"ALTER SEQUENCE " + QUALIFIED + rb" OWNED BY (" + _WORD + rb"\." + _WORD + rb")\.")
_IDENTITY = re.compile(rb"ALTER TABLE (?:ONLY )?" + QUALIFIED + rb" ALTER COLUMN " + NAME + rb" ADD GENERATED ")
_ABOUT = re.compile(  # of comments, privileges and labels: what they are about
    rb" ON (TABLE|COLUMN|SEQUENCE|INDEX|STATISTICS|FOREIGN TABLE|(?:CONSTRAINT|TRIGGER|POLICY|RULE) "
    + NAME
    + rb" ON) ("
    + _WORD
    + rb"\."
    + _WORD
    + rb")"
)
_QUALIFIED_WORD = re.compile(_WORD + rb"\." + _WORD + rb"|" + _WORD)  # the rest of a name is no name of its own
_NAMED = frozenset(  # objects that other entries name as schema.name
    {"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "TYPE", "DOMAIN", "FUNCTION", "PROCEDURE",
     "AGGREGATE", "COLLATION", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "SHELL TYPE"}
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """Something that is named by what is restored, and is not restored itself."""

    label: str  # FUNCTION public.f(integer)
    table: Table  # schema and name, without arguments
    needed_by: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of an archive is restored."""

    what: What
    tables: tuple[str, ...]  # as asked for; empty: everything
    places: frozenset[int]  # of the parts
    parts: tuple[Part, ...]  # those, in order
    dependencies: tuple[Dependency, ...]

    @property
    def is_whole(self) -> bool:
        return not self.tables

    @property
    def chosen_tables(self) -> tuple[Part, ...]:
        """The entries that make the tables, or of mere rows those that hold them."""
        made = tuple(part for part in self.parts if part.type in _TABLES)
        return made or tuple(part for part in self.parts if part.type == "TABLE DATA")


def select(
    outline: Outline, *, what: What = "full", tables: Sequence[str] = (), there: frozenset[Table] = frozenset()
) -> Selection:
    """Choose the entries.

    :param tables: `table`, `schema.table`, or a glob of either, in the exact case; with all partitions.
    :param there: names of schemas, relations, types and functions at the target. Of what a chosen table needs,
        schemas and sequences that are not there are brought along.
    :raises NoSuchArchiveError: when a name matches no table of the archive.
    """
    parts = tuple(part for part in outline.parts if not part.is_of_database)
    if what == "full" and parts and all(_is_data(part) for part in parts):
        what = "data"  # an archive of mere rows is for tables that are there
    chosen = _of_tables(parts, tables, there) if tables else set(range(len(outline.parts)))
    kept = tuple(part for part in parts if part.place in chosen and _is_wanted(part, what))
    places = frozenset(part.place for part in kept)
    return Selection(
        what=what,
        tables=tuple(tables),
        places=places,
        parts=kept,
        dependencies=(
            *(_dependencies(parts, kept) if tables and what != "data" else ()),
            *(_outside(parts, kept) if what != "data" else ()),
        ),
    )


def of_its_tables(outline: Outline, whole: Selection, what: What, there: frozenset[Table]) -> Selection:
    """The same entries, chosen by the tables they belong to, where all of the archive belongs to tables.

    So an archive of single tables goes beside other tables, and takes the place of its own alone.
    """
    names = [glob.escape(".".join(part.table)) for part in whole.chosen_tables]
    if not whole.is_whole or whole.what == "data" or outline.makes_database or not names:
        return whole
    chosen = select(outline, what=what, tables=names, there=there)
    return chosen if chosen.places == whole.places else whole


def _is_wanted(part: Part, what: What) -> bool:
    if what == "full":
        return True
    return _is_data(part) == (what == "data")


def _is_data(part: Part) -> bool:
    """Rows, sequence values and large objects, with what is said about these."""
    of_object = part.type in _SAID and part.start.name.startswith("LARGE OBJECT")
    return part.type in _DATA or of_object


def _of_tables(parts: Sequence[Part], patterns: Sequence[str], there: frozenset[Table]) -> set[int]:
    tables = _expand(parts, patterns)
    while more := {child for part in parts if part.type == "TABLE ATTACH" for parent, child in _attached(part)
                   if parent in tables and child not in tables}:  # fmt: skip
        tables |= more
    sequences = {sequence for part in parts if (sequence := _sequence_of(part, tables))}
    texts = b"".join(part.text for part in parts if part.type in _TABLES | {"DEFAULT"} and _table_of(part) in tables)
    used = {name for name in _names_in(texts) if name not in there}
    sequences |= {part.table for part in parts if part.type == "SEQUENCE" and part.table in used}
    own = tables | sequences
    own |= {part.table for part in parts if part.type in ("INDEX", "STATISTICS") and _table_of(part) in tables}
    own |= {  # the index of a key has the key's name
        (part.table[0], name) for part in parts if part.type == "CONSTRAINT" and _table_of(part) in tables
        for name in [part.start.name.rpartition(" ")[2]]
    }  # fmt: skip
    schemas: set[Table] = set()
    schemas.update(table[:1] for table in tables if len(table) == 2 and table[:1] not in there)
    return {part.place for part in parts if _belongs(part, tables, own, schemas)}


def _belongs(part: Part, tables: set[Table], own: set[Table], schemas: set[Table]) -> bool:
    match part.type:
        case "SCHEMA":
            return (part.start.name,) in schemas
        case "TABLE ATTACH" | "INDEX ATTACH":
            return all(parent in own and child in own for parent, child in _attached(part))
        case "SEQUENCE" | "SEQUENCE SET" | "SEQUENCE OWNED BY":
            return part.table in own
        case "ACL" | "COMMENT" | "SECURITY LABEL":
            about = _ABOUT.search(part.text)
            return about is not None and parse_table(about[2]) in own
    return _table_of(part) in tables


def _table_of(part: Part) -> Table | None:
    if part.type in _OWN:
        return part.table
    pattern = _OF_TABLE.get(part.type)
    found = re.search(pattern, part.text) if pattern else None
    return parse_table(found[1]) if found else None


def _attached(part: Part) -> list[tuple[Table, Table]]:
    return [(parse_table(found[1]), parse_table(found[2])) for found in _ATTACH.finditer(part.text)]


def _sequence_of(part: Part, tables: set[Table]) -> Table | None:
    """The sequence that this entry says belongs to one of the tables."""
    if part.type == "SEQUENCE OWNED BY" and (found := _OWNED.search(part.text)):
        return parse_table(found[1]) if parse_table(found[2]) in tables else None
    if part.type == "SEQUENCE" and (found := _IDENTITY.search(part.text)):
        return part.table if parse_table(found[1]) in tables else None
    return None


def _names_in(text: bytes) -> set[Table]:
    return {parse_table(found[0]) for found in _QUALIFIED_WORD.finditer(text) if b"." in found[0]}


def _expand(parts: Sequence[Part], patterns: Sequence[str]) -> set[Table]:
    known = {part.table for part in parts if part.type in _TABLES | {"TABLE DATA"}}
    found: set[Table] = set()
    for pattern in patterns:
        matching = {
            table for table in known if any(fnmatchcase(name, pattern) for name in (".".join(table), table[-1]))
        }
        if not matching:
            raise _no_such_table(pattern, [name for table in known for name in (".".join(table), table[-1])])
        found |= matching
    return found


def _no_such_table(pattern: str, names: Sequence[str]) -> NoSuchArchiveError:
    near = get_close_matches(pattern, names, n=1)
    shown = ", ".join(sorted(set(names))[:5]) or "none"
    return NoSuchArchiveError(
        f"the archive holds no table called {pattern}",
        hint=f"did you mean {near[0]}?" if near else f"there is {shown}; pgdrill show ARCHIVE lists all",
    )


def _outside(parts: Sequence[Part], kept: Sequence[Part]) -> Iterator[Dependency]:
    """What keys and triggers name and the archive does not hold: it is of some tables, and of no extension's."""
    if any(part.type == "EXTENSION" for part in parts):
        return
    held = {_bare_name(part) for part in parts if part.type in _NAMED}
    needed: dict[tuple[str, Table], list[Part]] = {}
    for part in kept:
        kind, pattern = _NEEDING.get(part.type, ("", None))
        found = pattern.search(part.text) if pattern is not None else None
        # A header has other letters in another encoding, and blanks for line ends: such a name is taken as held.
        if found is None or not found[1].isascii() or b"\n" in found[1] or b"\r" in found[1]:
            continue
        if len(name := parse_table(found[1])) == 2 and name not in held:  # without a schema it is the server's own
            needed.setdefault((kind, name), []).append(part)
    for (kind, name), users in sorted(needed.items()):
        yield Dependency(label=f"{kind} {'.'.join(name)}", table=name, needed_by=tuple(users))


def _bare_name(part: Part) -> Table:
    """Without a function's arguments."""
    of_function = part.type in ("FUNCTION", "PROCEDURE", "AGGREGATE")
    return (*part.table[:-1], part.start.name.partition("(")[0]) if of_function else part.table


def _dependencies(parts: Iterable[Part], kept: Sequence[Part]) -> tuple[Dependency, ...]:
    """What the kept entries name and do not bring: pg_dump qualifies all names."""
    brought = {part.place for part in kept}
    others: dict[Table, Part] = {}
    for part in parts:
        if part.type in _NAMED and part.place not in brought and len(part.table) == 2:
            others.setdefault(_bare_name(part), part)
    needed: dict[Table, list[Part]] = {}
    for part in kept:
        if part.type in ("COMMENT", "SECURITY LABEL"):  # anybody's words
            continue
        for name in _names_in(part.text) & others.keys():
            needed.setdefault(name, []).append(part)
    return tuple(
        Dependency(label=others[name].label, table=name, needed_by=tuple(users))
        for name, users in sorted(needed.items())
    )
