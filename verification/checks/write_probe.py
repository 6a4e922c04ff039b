"""Can the restored database be written to as the source could?"""

from __future__ import annotations

from verification.facts import Counter, Facts, Restored, Written
from verification.finding import Finding, match
from verification.findings import not_reached

NAME = "write-probe"
# The server keeps the table's own rules: unique keys, foreign keys, checks, NOT NULL, exclusion, a trigger's RAISE.
_RULES = ("23", "P0001", "44000")


def check_writes(facts: Facts) -> list[Finding]:
    restored = facts.restored
    if restored is None or restored.writing is None:
        return [not_reached(NAME, facts)]
    found = [_judge_counter(facts, restored, counter) for counter in restored.writing.counters]
    found += [_judge_table(written) for written in restored.writing.written]
    return found or [match(NAME, "database", "no table to write to")]


def _judge_table(written: Written) -> Finding:
    if written.code is None:
        return match(NAME, written.table, "a row inserted" if written.rows else "no row to copy")
    if written.code.startswith(_RULES):
        return match(NAME, written.table, f"a copy refused by its own rule {written.by or written.code}")
    return Finding(
        check=NAME,
        object=written.table,
        status="note",
        expected="an insert, or one of the table's own rules against it",
        actual=f"the server stopped it ({written.code})",
        why="a trigger or default needs something that a restored database alone does not have, or takes too long",
        hint="see what the table's triggers and defaults use, and whether the recovery plan brings it",
    )


def _judge_counter(facts: Facts, restored: Restored, counter: Counter) -> Finding:
    if not (counter.exhausted or (counter.behind and counter.is_key)):
        return match(NAME, counter.column, f"the next value of {counter.sequence} is free")
    told = facts.promised or facts.archived.inventory
    promised, back = (
        {s.label: (s.last_value, s.is_called) for s in inventory.sequences} if inventory is not None else {}
        for inventory in (told, restored.inventory)
    )
    as_promised = promised.get(counter.sequence) == back.get(counter.sequence)
    return Finding(
        check=NAME,
        object=counter.column,
        status="note" if as_promised else "fault",
        cause="source" if as_promised else "archive",
        expected=f"a next value of {counter.sequence} that is free",
        actual="it has no more values" if counter.exhausted else "it stands behind the highest value in the column",
        why="the next insert is refused"
        + (", at the source as well: its sequence stands at the same value" if as_promised else ""),
        hint=f"SELECT setval('{counter.sequence}', …) above the highest value"
        + (", at the source and after a restore" if as_promised else "; take another backup with `pgdrill backup`"),
    )
