"""Is every row what it was?"""

from __future__ import annotations

from backup_lib.inventory import TableData
from backup_lib.quantity import number_of
from verification.checks.restore import lacked
from verification.checks.row_count import promised_tables
from verification.facts import Facts, Restored
from verification.finding import Finding, fault, match
from verification.findings import excused, not_compared, not_reached, some
from verification.scope import loaded_through, scope_of, table_label

NAME = "content"
_OTHER_SUMS = "this server, or this version of pgdrill, sums up otherwise"


def check_content(facts: Facts) -> list[Finding]:
    """Promised against archived by digest, archived against restored by digest, else row by row in the server.

    Of a large table the servers' sums, source's and restored one's, stand for the second digest.
    """
    dump, restored = facts.archived.inventory, facts.restored
    if dump is None or restored is None:
        return [not_reached(NAME, facts)]
    found = _promised(facts, restored)
    without = lacked(facts)
    for table in dump.tables:
        finding = _brought_back(table, restored)
        if finding is not None and not without.isdisjoint({f"TABLE {table.label}", f"TABLE DATA {table.label}"}):
            finding = excused(finding)
        found.append(finding or match(NAME, table_label(table), _how_the_same(table, restored)))
    found += _summed_up(facts, restored, blamed={f.object for f in found if f.status == "fault"})
    return found or [match(NAME, "database", "no rows promised, none archived")]


def _promised(facts: Facts, restored: Restored) -> list[Finding]:
    promised, dump = facts.promised, facts.archived.inventory
    if promised is None or dump is None:
        return []
    scope = scope_of(facts.expect, facts.manifest, dump)
    if scope.said_by == "--expect" and scope.kind in ("tables", "schema"):
        return []
    held = {(t.schema, t.name): t for t in dump.tables}
    back = {(t.schema, t.name): t for t in restored.inventory.tables}
    found = []
    for table in promised.tables:
        key = (table.schema, table.name)
        archived, returned = held.get(key), back.get(key)
        if archived is None:
            found.append(_fault(table, number_of(table.rows, "row"), "no rows of it in the archive"))
        elif (
            _same(table, archived)
            or (returned is not None and _same(table, returned))
            or restored.as_promised.get(key) == table.sha256
        ):
            continue
        elif archived.form != table.form or archived.columns != table.columns:
            found.append(_not_comparable(table, archived))
        else:
            found.append(
                _fault(
                    table,
                    f"{number_of(table.rows, 'row')}, SHA-256 {table.sha256}",
                    f"{number_of(archived.rows, 'row')}, SHA-256 {archived.sha256} in the archive",
                )
            )
    known = {(t.schema, t.name) for t in promised.tables}
    found += [
        _fault(table, "no rows promised", f"{number_of(table.rows, 'row')} in the archive")
        for table in dump.tables
        if (table.schema, table.name) not in known
    ]
    return found


def _summed_up(facts: Facts, restored: Restored, *, blamed: set[str]) -> list[Finding]:
    """The one comparison of rows that pg_dump has no part in: the servers' own sums of them, at the source and here."""
    manifest = facts.manifest
    if manifest is None or not facts.archived.inventory or not facts.archived.inventory.tables:
        return []
    if manifest.row_sums is None or restored.row_sums is None:
        why = "the source read its rows once" if manifest.row_sums is None else _OTHER_SUMS
        return [not_compared(NAME, f"{why}: that pg_dump altered no value on the way is not proved")]
    promised, there = manifest.row_sums.sums, restored.row_sums.sums
    without = lacked(facts)
    found = []
    for table in sorted(promised_tables(facts) & promised.keys() & there.keys() - blamed):
        if promised[table] != there[table]:
            finding = fault(
                NAME,
                table,
                f"rows whose hashes sum up to {promised[table]}, as the source's server had them",
                f"{there[table]}, though they are the archive's",
                why="pg_dump wrote other values than the source held in the snapshot of this backup",
                hint="check the pg_dump that made the archive, then take another with `pgdrill backup`",
            )
            found.append(excused(finding) if f"TABLE DATA {table}" in without else finding)
    archived = {table_label(table) for table in facts.archived.inventory.tables}
    if unsummed := sorted(promised_tables(facts) & archived - (promised.keys() & there.keys()) - blamed):
        found.append(
            not_compared(
                NAME, f"a server could not sum up {some(unsummed)}: that no value was altered there is not proved"
            )
        )
    return found


def _same(one: TableData, other: TableData) -> bool:
    return (one.form, one.columns, one.rows, one.sha256) == (other.form, other.columns, other.rows, other.sha256)


def _brought_back(table: TableData, restored: Restored) -> Finding | None:
    difference = restored.differences.get((table.database, difference_key(table)))
    if difference is None or difference.content in ("identical", "reordered"):
        return None
    if difference.content == "not_compared":
        return Finding(
            check=NAME,
            object=table_label(table),
            status="gap",
            cause="environment",
            expected="its rows compared one by one",
            actual=difference.places[0] if difference.places else "the server could not compare them",
            why="what was not compared is not proved",
            hint="mend what the other findings name, and drill again",
        )
    columns = ", ".join(f"{name} in {count}" for name, count in difference.columns.items())
    missing, unexpected = number_of(difference.missing, "archived row"), number_of(difference.unexpected, "row")
    actual = f"{missing} not restored, {unexpected} nobody archived"
    return _fault(
        table,
        f"the {number_of(table.rows, 'archived row')}",
        actual + (f"; columns that differ: {columns}" if columns else "") + f"; {some(difference.places, 20)}",
    )


def _how_the_same(table: TableData, restored: Restored) -> str:
    rows = f"{number_of(table.rows, 'row')}, SHA-256 {table.sha256}"
    difference = restored.differences.get((table.database, difference_key(table)))
    if difference is None or not difference.by_sums:
        return rows
    return f"{rows} in the archive; the restored server's sum of their hashes is that of the source's"


def difference_key(table: TableData) -> str:
    """Rows loaded through a partitioned root are compared there: a leaf's may rightly be in another leaf."""
    root = loaded_through(table)
    return ".".join(root) if root else table_label(table)


def _not_comparable(table: TableData, archived: TableData) -> Finding:
    return Finding(
        check=NAME,
        object=table_label(table),
        status="gap",
        cause="environment",
        expected=f"rows as {table.form} with the manifest's columns",
        actual=f"rows as {archived.form}, in another order or other columns",
        why="the manifest's digest is of the rows in its own form and order",
        hint="dump with COPY (without --inserts) for rows that can be proved against the manifest",
    )


def _fault(table: TableData, expected: str, actual: str) -> Finding:
    return fault(
        NAME,
        table_label(table),
        expected,
        actual,
        why="these rows are not what the source held when the backup was taken",
        hint="take another backup with `pgdrill backup`, and find out what wrote or changed this archive",
    )
