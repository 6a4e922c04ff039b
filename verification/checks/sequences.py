"""Does every sequence go on where it stood?"""

from __future__ import annotations

from collections.abc import Iterable

from backup_lib.inventory import SequenceValue
from verification.checks.restore import lacked
from verification.facts import Facts
from verification.finding import Finding, fault, match
from verification.findings import excused, not_reached
from verification.scope import scope_of

NAME = "sequences"
_Key = tuple[str | None, str | None, str]


def check_sequences(facts: Facts) -> list[Finding]:
    dump, restored = facts.archived.inventory, facts.restored
    if dump is None or restored is None:
        return [not_reached(NAME, facts)]
    scope = scope_of(facts.expect, facts.manifest, dump)
    promised = facts.promised.sequences if facts.promised is not None else ()
    found = []
    if facts.promised is not None and not (scope.said_by == "--expect" and scope.kind in ("tables", "schema")):
        found += _compare(_by_name(promised, placed=False), _by_name(dump.sequences, placed=False), "in the archive")
    without = lacked(facts)
    held = {sequence.label for sequence in dump.sequences}
    made = {label.removeprefix("SEQUENCE ") for label in facts.made_by_drill}
    back = [s for s in restored.inventory.sequences if s.label in held or s.label not in made]
    for finding in _compare(_by_name(dump.sequences), _by_name(back), "after the restore"):
        found.append(excused(finding) if f"SEQUENCE SET {finding.object}" in without else finding)
    if found:
        return found
    return [match(NAME, s.label, _value(s)) for s in dump.sequences] or [
        match(NAME, "database", "no sequence promised, none archived")
    ]


def _compare(wanted: dict[_Key, SequenceValue], there: dict[_Key, SequenceValue], where: str) -> list[Finding]:
    found = []
    for key in sorted(wanted.keys() | there.keys(), key=str):
        expected, actual = wanted.get(key), there.get(key)
        if (expected and _value(expected)) == (actual and _value(actual)):
            continue
        label = (expected or actual or wanted[key]).label
        found.append(_fault(label, _value(expected), f"{_value(actual)} {where}"))
    return found


def _by_name(values: Iterable[SequenceValue], *, placed: bool = True) -> dict[_Key, SequenceValue]:
    return {(value.database if placed else None, value.schema, value.name): value for value in values}


def _value(sequence: SequenceValue | None) -> str:
    if sequence is None:
        return "no value"
    return f"{sequence.last_value} ({'used' if sequence.is_called else 'not used yet'})"


def _fault(label: str, expected: str, actual: str) -> Finding:
    return fault(
        NAME,
        label,
        expected,
        actual,
        why="the next insert would take a number that is in use, or leave a gap nobody can explain",
        hint="after a restore set it with `setval`; take another backup with `pgdrill backup`",
    )
