"""How a dump was made, so that the restored database is dumped the same way and the texts can be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass

from backup_lib.inventory import Inventory

_QUOTED = re.compile(r'"(?:[^"]|"")+"(?:\."(?:[^"]|"")+")?')  # a name of which nothing is without quotes


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


def shape_of(dump: Inventory, promised: Inventory | None, *, rows_only: bool = False) -> DumpShape:
    """Rows in the form the manifest promises them, else in the dump's own; all else as the dump has it."""
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
        quotes_all=any(entry.name.endswith('"public"') for entry in dump.entries)
        or (bool(dump.tables) and all(_QUOTED.fullmatch(table.target) for table in dump.tables)),
        rows_only=rows_only,
    )
