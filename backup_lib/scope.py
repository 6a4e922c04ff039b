"""Which part of a database goes into an archive: names expanded against the catalog before pg_dump sees them.

pg_dump itself takes a name that matches nothing in silence, folds `Orders` to `orders`, and writes no row at
all for `--table` of a partitioned table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from backup_lib.cluster import quote_ident
from backup_lib.errors import SourceError, UsageError
from backup_lib.manifest import Kind
from backup_lib.source import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is asked for, and what that means in this database."""

    kind: Kind
    options: tuple[str, ...]  # pg_dump's
    tables: tuple[Table, ...]  # whose rows the archive promises
    is_whole: bool  # nothing was left out by name


def choose_scope(
    known: Sequence[Table],
    *,
    kind: Kind = "full",
    tables: Sequence[str] = (),
    schemas: Sequence[str] = (),
    exclude_tables: Sequence[str] = (),
    in_recovery: bool = False,
) -> Scope:
    """Expand the names.

    :param tables: `table`, `schema.table`, or a glob of either, in the exact case; with all partitions.
    :param schemas: names or globs; everything in them.
    :param exclude_tables: as `tables`; left out with all partitions.
    :raises SourceError: when a name matches nothing.
    :raises UsageError: when tables and schemas are both given: pg_dump would take them together.
    """
    if tables and schemas:
        raise UsageError("tables and schemas cannot both be chosen", hint="write the tables as SCHEMA.*")
    chosen = list(known)
    options = [f"--{kind}-only"] if kind in ("schema", "data") else []
    if tables:
        chosen = _expand(tables, known)
        options += [f"--table={_pattern(table)}" for table in chosen]
    if schemas:
        names = _expand_schemas(schemas, known)
        chosen = [table for table in known if table.schema in names]
        options += [f"--schema={quote_ident(name)}" for name in names]
    if exclude_tables:
        left_out = _expand(exclude_tables, known)
        chosen = [table for table in chosen if table not in left_out]
        options += [f"--exclude-table={_pattern(table)}" for table in left_out]
    if tables or schemas:
        options.append("--strict-names")
    if in_recovery:
        options.append("--no-unlogged-table-data")  # their rows cannot be read on a standby
    whole = not (tables or schemas or exclude_tables)
    return Scope(
        kind="tables" if kind == "full" and not whole else kind,
        options=tuple(options),
        tables=() if kind == "schema" else tuple(chosen),
        is_whole=whole,
    )


def _expand(patterns: Sequence[str], known: Sequence[Table]) -> list[Table]:
    found: dict[int, Table] = {}
    for pattern in patterns:
        matching = [t for t in known if fnmatchcase(t.label, pattern) or fnmatchcase(t.name, pattern)]
        if not matching:
            raise _no_such("table", pattern, [name for table in known for name in (table.label, table.name)])
        found |= {table.oid: table for table in matching}
    while more := [t for t in known if t.oid not in found and any(oid in found for oid in t.parents)]:
        found |= {table.oid: table for table in more}
    return list(found.values())


def _expand_schemas(patterns: Sequence[str], known: Sequence[Table]) -> list[str]:
    names = sorted({table.schema for table in known})
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise _no_such("schema with tables", pattern, names)
        found |= dict.fromkeys(matching)
    return list(found)


def _no_such(what: str, pattern: str, names: Sequence[str]) -> SourceError:
    near = get_close_matches(pattern, names, n=1)
    shown = ", ".join(sorted(set(names))[:5]) or "none"
    return SourceError(
        f"no {what} is called {pattern}", hint=f"did you mean {near[0]}?" if near else f"there is {shown}"
    )


def _pattern(table: Table) -> str:
    return f"{quote_ident(table.schema)}.{quote_ident(table.name)}"
