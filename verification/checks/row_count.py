"""Does every table have as many rows as it had?"""

from __future__ import annotations

from backup_lib.quantity import number_of
from verification.checks.restore import lacked
from verification.facts import Facts
from verification.finding import Finding, fault, match
from verification.findings import excused, not_reached
from verification.scope import (
    loaded_through,
    rows_by_table,
    scope_of,
    table_label,
    tables_in_catalog,
    views_in_catalog,
)

NAME = "row-count"


def check_row_counts(facts: Facts) -> list[Finding]:
    """Promised, archived, restored; a foreign archive's rows are counted against the restored table alone."""
    dump, restored = facts.archived.inventory, facts.restored
    if dump is None or restored is None:
        return [not_reached(NAME, facts)]
    archived = rows_by_table(dump)
    promised = facts.manifest.row_counts if facts.manifest is not None else None
    without = lacked(facts)
    found = [
        _judge(table, promised, archived.get(table), restored.row_counts.get(table), without)
        for table in sorted(archived.keys() | promised_tables(facts))
    ]
    return (found or [_nothing(facts)]) + _of_extensions(facts)


def _of_extensions(facts: Facts) -> list[Finding]:
    """Tables that belong to an extension, which alone decides whether pg_dump writes their rows: said, not judged."""
    manifest, restored = facts.manifest, facts.restored
    if manifest is None or restored is None or not scope_of(facts.expect, manifest, None).is_whole:
        return []
    there = restored.row_counts
    own = tables_in_catalog(manifest.catalog) | views_in_catalog(manifest.catalog)
    return [
        Finding(
            check=NAME,
            object=table,
            status="note",
            cause="source",
            expected=f"{number_of(rows, 'row')} at the source, in a table that belongs to an extension",
            actual="no such table" if table not in there else f"{number_of(there[table], 'row')} made by the extension",
            why="pg_dump leaves such a table out unless its extension registers it: these rows are in no archive",
            hint=f"if they matter: pg_extension_config_dump in the extension, or copy {table} apart",
        )
        for table, rows in sorted(manifest.row_counts.items())
        if table not in own and rows and there.get(table) != rows
    ]


def promised_tables(facts: Facts) -> set[str]:
    """The tables whose rows this archive must bring, from the manifest; empty without one.

    Of a whole database all that the source's catalog named, so that a pg_dump that loses a table with all
    its traces is seen. Not the partitions that are loaded through their root: rows move between them.
    """
    manifest, dump = facts.manifest, facts.archived.inventory
    if manifest is None:
        return set()
    scope = scope_of(facts.expect, manifest, dump)
    if scope.kind == "schema":
        return set()
    through_root = {table_label(t) for t in (dump.tables if dump else ()) if loaded_through(t)}
    if scope.is_whole:
        return (manifest.row_counts.keys() & tables_in_catalog(manifest.catalog)) - through_root
    return set(rows_by_table(manifest.inventory)) if manifest.inventory is not None else set()


def _judge(
    table: str, promised: dict[str, int] | None, archived: int | None, restored: int | None, without: set[str]
) -> Finding:
    expected = archived if promised is None else promised.get(table)
    if expected is None:
        held = "none" if archived is None else number_of(archived, "row")
        return _fault(table, "no such table in the source's snapshot", f"{held} in the archive")
    if archived is not None and archived != expected:
        return _fault(table, number_of(expected, "row"), f"{number_of(archived, 'row')} in the archive")
    if restored != expected:
        actual = "no such table restored" if restored is None else f"{number_of(restored, 'row')} restored"
        finding = _fault(table, number_of(expected, "row"), actual)
        return finding if without.isdisjoint({f"TABLE {table}", f"TABLE DATA {table}"}) else excused(finding)
    return match(NAME, table, number_of(expected, "row"))


def _fault(table: str, expected: str, actual: str) -> Finding:
    return fault(
        NAME,
        table,
        expected,
        actual,
        why="rows that do not come back are lost",
        hint="pgdrill backup now, while the source is there; then look how this archive was made",
    )


def _nothing(facts: Facts) -> Finding:
    dump = facts.archived.inventory
    if facts.promised is not None and not facts.promised.tables:
        return match(NAME, "database", "no table promised, none archived")
    if dump is not None and dump.entries and not dump.tables:
        return match(NAME, "database", "definitions only: no rows to count")
    return fault(
        NAME,
        "database",
        "some tables",
        "none",
        why="a check that compared nothing proves nothing",
        hint="pgdrill show ARCHIVE lists what it holds",
    )
