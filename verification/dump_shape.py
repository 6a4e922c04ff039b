"""How a dump was made, so that the restored database is dumped the same way and the texts can be compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backup_lib.inventory import Inventory
from backup_lib.load_order import parse_table

NeedsQuotes = Callable[[Sequence[str]], bool]

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
    filled = any(entry.type == "MATERIALIZED VIEW DATA" for entry in dump.entries)  # a --schema-only dump fills none
    if not (filled or dump.tables or dump.sequences or dump.large_objects):
        form = "none"
    elif any(table.form == "copy" for table in rows) or not rows:
        form = "copy"
    else:
        form = "column-insert" if any(table.columns for table in rows) else "insert"
    return DumpShape(
        form=form,
        no_owner=bool(dump.entries) and all(entry.owner is None for entry in dump.entries),
        create=any(entry.type == "DATABASE" for entry in dump.entries),
        encoding=dump.encoding,
        quotes_all=_quotes_all(dump, needs_quotes),
        rows_only=rows_only,
    )


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
