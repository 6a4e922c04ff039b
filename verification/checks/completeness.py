"""Is the dump whole, and does it hold what an archive of its kind must hold?"""

from __future__ import annotations

import fnmatch
import re

from backup_lib.inventory import Inventory, as_shown
from backup_lib.quantity import number_of
from verification.contract import breaches, lacking
from verification.facts import Facts
from verification.finding import Finding, fault, match
from verification.findings import not_reached, some
from verification.scope import Scope, scope_of, table_label

NAME = "completeness"
# Tables whose rows pg_dump leaves out, or which have none of their own.
_WITHOUT_ROWS = re.compile(rb"^PARTITION BY |^CREATE UNLOGGED TABLE ", re.MULTILINE)

_BREACH = "who restores it relies on what its kind promises, and on what it leaves alone"
_OTHER_KIND = "say what it is meant to hold (--expect), or take the kind you need: pgdrill backup --kind"


def check_completeness(facts: Facts) -> list[Finding]:
    dump = facts.archived.inventory
    if dump is None and facts.archived.damage is not None:
        return [_fault("dump", "a PostgreSQL dump", facts.archived.damage)]
    if dump is None:
        return [not_reached(NAME, facts)]
    scope = scope_of(facts.expect, facts.manifest, dump)
    found = [] if dump.complete else [_cut(facts, dump)]
    found += _nothing(facts, dump) if dump.is_empty else _expected(scope, dump)
    if facts.manifest is None and scope.said_by == "dump" and scope.kind == "full":
        found += _holes(facts, dump)
    rows = f"rows of {number_of(len(dump.tables), 'table')}" if dump.tables else "no rows"
    return found or [
        match(
            NAME,
            "dump",
            f"{scope.kind}: {number_of(len(dump.entries), 'definition')}, {rows}, closing line",
        )
    ]


def _cut(facts: Facts, dump: Inventory) -> Finding:
    where = f"it ends in {dump.ends_in}" if dump.ends_in else "it ends before that line"
    actual = where
    if facts.promised is not None:
        present = {(t.database, t.schema, t.name) for t in dump.tables}
        lost = [t.label for t in facts.promised.tables if (t.database, t.schema, t.name) not in present]
        actual += f"; no rows at all of {some(lost)}" if lost else ""
    return _fault("dump", "the closing line of pg_dump at its end", actual)


def _nothing(facts: Facts, dump: Inventory) -> list[Finding]:
    if facts.promised is not None and facts.promised.is_empty:
        return [match(NAME, "dump", "empty, as the database was")]
    if facts.promised is not None:
        return [_fault("dump", number_of(len(facts.promised.entries), "definition"), "none")]
    return [
        _fault(
            "dump",
            "at least one table or other object",
            "none",
            why="a dump of the wrong or an emptied database is well-formed, and restores nothing",
            hint="if the database is meant to be empty, record that at the source: pgdrill manifest --out FILE",
        )
    ]


def _expected(scope: Scope, dump: Inventory) -> list[Finding]:
    found = []
    labels = {table_label(table) for table in dump.tables}
    for pattern in scope.tables:
        if not any(fnmatch.fnmatchcase(name, pattern) for label in labels for name in (label, label.partition(".")[2])):
            found.append(_fault(pattern, "rows of this table", f"rows of {some(sorted(labels)) or 'no table'}"))
    if scope.said_by == "dump":
        return found  # what it holds is what it is taken for
    broken = breaches(scope.kind, dump) + (lacking(scope.kind, dump) if scope.said_by == "--expect" else [])
    found += [_fault(b.object, b.expected, b.actual, why=_BREACH, hint=_OTHER_KIND) for b in broken]
    return found


def _holes(facts: Facts, dump: Inventory) -> list[Finding]:
    """A foreign archive against itself: pg_dump writes rows for every ordinary table, a value for every sequence."""
    with_rows = {(t.database, *as_shown(t.schema, t.name)) for t in dump.tables}
    with_value = {(s.database, s.schema, s.name) for s in dump.sequences}
    found = []
    for place, entry in enumerate(dump.entries):
        key = (entry.database, entry.schema, entry.name)
        if entry.type == "SEQUENCE" and key not in with_value:
            found.append(_hole(entry.label, "the value it stands at"))
        has_rows = entry.type == "TABLE" and not _WITHOUT_ROWS.search(facts.archived.definitions.text(place))
        if has_rows and key not in with_rows:
            found.append(_hole(entry.label, "its rows"))
    return found


def _hole(label: str, what: str) -> Finding:
    return _fault(
        label,
        f"{what}, as others of this archive have",
        "its definition only",
        why="it was left out on purpose, which a dump does not say, or lost",
        hint="if on purpose, name the tables it should hold (--expect TABLE,…), or record the source: pgdrill manifest",
    )


def _fault(
    subject: str,
    expected: str,
    actual: str,
    *,
    why: str = "what is not in the archive cannot come back",
    hint: str = "take another archive, and look why this one is short: disk space, and pg_dump's exit status",
) -> Finding:
    return fault(NAME, subject, expected, actual, why=why, hint=hint)
