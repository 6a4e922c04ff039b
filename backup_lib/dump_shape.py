"""How a dump was made, so that the restored database is dumped the same way and the texts can be compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from backup_lib.inventory import Entry, Inventory
from backup_lib.load_order import parse_table

NeedsQuotes = Callable[[Sequence[str]], bool]

PUBLIC_ALONE = ("--schema-only", "--schema=public")

_QUOTED = re.compile(r'"(?:[^"]|"")+"(?:\."(?:[^"]|"")+")?')  # a name of which nothing is without quotes

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpShape:
    """pg_dump's options that change its text, as far as a text shows them."""

    form: str  # copy, insert, column-insert; none: no rows
    no_owner: bool
    create: bool
    encoding: str | None
    quotes_all: bool = False
    rows_only: bool = False  # sequence values and large objects among them

    def options(self) -> tuple[str, ...]:
        chosen = {"none": ("--schema-only",), "insert": ("--inserts",), "column-insert": ("--column-inserts",)}
        options = ["--data-only"] if self.rows_only else []
        if not (self.rows_only and self.form == "none"):
            options += chosen.get(self.form, ())
        if self.no_owner:
            options.append("--no-owner")
        if self.create:
            options.append("--create")
        if self.quotes_all:
            options.append("--quote-all-identifiers")
        if self.encoding:
            options.append(f"--encoding={self.encoding}")
        return tuple(options)


def shape_of(
    dump: Inventory, promised: Inventory | None, *, needs_quotes: NeedsQuotes, rows_only: bool = False
) -> DumpShape:
    """Rows in the form the manifest promises them, else in the dump's own; all else as the dump has it.

    :param needs_quotes: whether a server writes all these names with quotes anyway.
    """
    rows = promised.tables if promised is not None and promised.tables else dump.tables
    # With generated columns a table's rows name their columns in either form.
    named = all(table.columns is not None for table in rows if table.rows)
    filled = any(entry.type == "MATERIALIZED VIEW DATA" for entry in dump.entries)  # a --schema-only dump fills none
    if not (filled or dump.tables or dump.sequences or dump.large_objects):
        form = "none"
    elif any(table.form == "copy" for table in rows) or not rows:
        form = "copy"
    else:
        form = "column-insert" if named else "insert"
    return DumpShape(
        form=form,
        no_owner=bool(dump.entries) and all(entry.owner is None for entry in dump.entries),
        create=any(entry.type == "DATABASE" for entry in dump.entries),
        encoding=dump.encoding,
        quotes_all=_quotes_all(dump, needs_quotes),
        rows_only=rows_only,
    )


def needs_quotes(connection: psycopg.Connection[Any], names: Sequence[str]) -> bool:
    """Whether the server, by its own rules and keywords, writes all of these names with quotes."""
    row = connection.execute("SELECT bool_and(quote_ident(n) <> n) FROM unnest(%s::text[]) n", [list(names)]).fetchone()
    return bool(row and row[0])


def lacks_public(connection: psycopg.Connection[Any], dumped: Iterable[Entry], like: Iterable[Entry]) -> bool:
    """Whether an archive makes the schema public, which is in the restored database, and a dump of that does not.

    `pg_dump -n public` does; one of the whole database leaves out what each new one has; `PUBLIC_ALONE` tells of it.
    """
    if not any(map(_is_public, like)) or any(map(_is_public, dumped)):
        return False
    # Of one that is not there pg_dump cannot be asked.
    return connection.execute("SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'public'").fetchone() is not None


def about_public(alone: Iterable[Entry], dumped: Iterable[Entry], like: Iterable[Entry]) -> list[int]:
    """Places of what a dump of that schema alone says of it, as an archive does and another dump does not.

    :param like: entries of the archive; without a comment on the schema in it, that of each new database is none.
    """
    told = {(entry.type, entry.name) for entry in dumped}
    wanted = {
        (entry.type, entry.name)
        for entry in like
        if _is_public(entry) or entry.name in ("SCHEMA public", 'SCHEMA "public"')
    }
    return [place for place, entry in enumerate(alone) if (entry.type, entry.name) in wanted - told]


def _is_public(entry: Entry) -> bool:
    return (entry.type, entry.name) == ("SCHEMA", "public")


def _quotes_all(dump: Inventory, needs_quotes: NeedsQuotes) -> bool:
    """Whether it was made with --quote-all-identifiers: there are quotes around names that need none."""
    about = (entry.name for entry in dump.entries if entry.type in ("ACL", "COMMENT"))
    if any(name == 'SCHEMA "public"' for name in about):
        return True
    targets = [table.target for table in dump.tables]
    if not targets or not all(map(_QUOTED.fullmatch, targets)):
        return False
    plain = sorted({name for target in targets for name in parse_table(target) if _PLAIN.fullmatch(name)})
    return bool(plain) and not needs_quotes(plain)  # a keyword is plain, and has quotes anyway
