"""What an archive is supposed to hold: said by --expect, by its manifest, or by the dump itself."""

from __future__ import annotations

from dataclasses import dataclass

from backup_lib.inventory import Inventory, TableData
from backup_lib.load_order import Table, parse_table
from backup_lib.manifest import Manifest

_SELECTING = ("--exclude-table=", "--exclude-schema=", "--table=", "--schema=")  # not --schema-only
KINDS = ("full", "schema", "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    kind: str  # full, schema, data, tables
    said_by: str  # --expect, manifest, dump
    tables: tuple[str, ...] = ()  # names or patterns, of --expect
    is_part: bool = False  # pg_dump was told to take or leave tables by name

    @property
    def is_whole(self) -> bool:
        """Every table of the database must be there."""
        return self.kind == "full" and self.said_by != "dump"


def scope_of(expect: tuple[str, ...], manifest: Manifest | None, dump: Inventory | None) -> Scope:
    names = tuple(name for name in expect if name not in KINDS)
    if names:
        return Scope(kind="tables", said_by="--expect", tables=names)
    if expect:
        kind = "full" if set(expect) >= {"schema", "data"} else expect[0]
        return Scope(kind=kind, said_by="--expect")
    if manifest is not None:
        facts = manifest.archive
        if facts is None:  # recorded at the source, beside somebody else's dump of the database
            return Scope(kind=manifest.kind, said_by="manifest")
        by_name = any(option.startswith(_SELECTING) for option in facts.options)
        return Scope(
            kind="tables" if by_name and facts.kind == "full" else facts.kind, said_by="manifest", is_part=by_name
        )
    if dump is not None and dump.entries and not (dump.tables or dump.sequences):
        return Scope(kind="schema", said_by="dump")
    if dump is not None and dump.tables and not makes_tables(dump):
        return Scope(kind="data", said_by="dump")
    return Scope(kind="full", said_by="dump")


def makes_tables(dump: Inventory | None) -> bool:
    return dump is not None and any(entry.type == "TABLE" for entry in dump.entries)


def table_label(table: TableData) -> str:
    """As the server's own count names it: `schema.table`, without quotes."""
    return ".".join(part for part in (table.schema, table.name) if part)


def loaded_through(table: TableData) -> Table | None:
    """The partitioned root whose name COPY uses for a partition's rows; None where it is the table itself."""
    target = parse_table(table.target)
    own = tuple(part for part in (table.schema, table.name) if part)
    return target if len(target) == len(own) and target != own else None


def rows_by_table(dump: Inventory) -> dict[str, int]:
    """Rows by table; a partition's that are loaded through its root count for the root."""
    rows: dict[str, int] = {}
    for table in dump.tables:
        root = loaded_through(table)
        name = ".".join(root) if root else table_label(table)
        key = f"{table.database}.{name}" if dump.scope == "cluster" else name
        rows[key] = rows.get(key, 0) + table.rows
    return rows


def tables_in_catalog(catalog: tuple[str, ...]) -> set[str]:
    """Labels of the tables among the identities, as `pg_identify_object` writes them: `table public."Odd"`."""
    return _labels(catalog, "table ")


def views_in_catalog(catalog: tuple[str, ...]) -> set[str]:
    """Labels of the materialized views among the identities, which have rows as well."""
    return _labels(catalog, "materialized view ")


def _labels(catalog: tuple[str, ...], kind: str) -> set[str]:
    return {".".join(parse_table(name.removeprefix(kind))) for name in catalog if name.startswith(kind)}
