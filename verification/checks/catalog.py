"""Is every object there and what it was, by the servers' own catalogs?"""

from __future__ import annotations

from backup_lib.traits import Traits
from backup_lib.wording import canonical
from verification.checks.restore import lacked
from verification.facts import Facts, Restored
from verification.finding import Finding, fault, match
from verification.findings import excused, not_compared, not_reached
from verification.scope import scope_of
from verification.wording import ArchivedWords

NAME = "catalog"


def check_catalog(facts: Facts) -> list[Finding]:
    """The one comparison that pg_dump has no part in: a pg_dump that loses an object is seen here."""
    restored = facts.restored
    if restored is None:
        return [not_reached(NAME, facts)]
    if facts.manifest is None:
        return [not_compared(NAME, "without a manifest the source's objects are not known")]
    scope = scope_of(facts.expect, facts.manifest, facts.archived.inventory)
    # Chosen tables promise what belongs to them; what else is there the drill made, for them to stand on.
    is_part = scope.is_part or (scope.said_by == "--expect" and scope.kind == "tables")
    if scope.kind == "data" or (is_part and not (scope.said_by == "manifest" and facts.manifest.catalog)):
        return [not_compared(NAME, "of rows, and of tables named here, the source's catalog promises nothing")]
    if facts.is_cross_major:
        return [not_compared(NAME, "another major names objects otherwise: they are compared in the schema")]
    wanted, there = set(facts.manifest.catalog), set(restored.catalog)
    if scope.kind == "schema":
        wanted, there = ({o for o in side if not o.startswith("large objects ")} for side in (wanted, there))
    found = [_fault(identity, "there, as at the source", "not there") for identity in sorted(wanted - there)]
    if lacked(facts):  # the catalog names no entries of a dump, so any of these may depend on what is lacking
        found = [excused(finding) for finding in found]
    if not is_part:
        found += [_fault(identity, "not there, as at the source", "there") for identity in sorted(there - wanted)]
    words = ArchivedWords(facts.archived)
    altered = _altered(facts.manifest.traits, restored, words, only_schema=scope.kind == "schema", is_part=is_part)
    found += [excused(finding) for finding in altered] if lacked(facts) else altered
    if found:
        return found
    return [match(NAME, identity, "there") for identity in sorted(wanted)] or [match(NAME, "database", "no object")]


def _altered(
    wanted: Traits, restored: Restored, words: ArchivedWords, *, only_schema: bool, is_part: bool
) -> list[Finding]:
    """Objects of both sides with another owner, privilege, column, definition …; none where none were recorded."""
    found = []
    there = restored.traits
    for identity in sorted(wanted.keys() & there.keys()):
        mine, other = wanted[identity], there[identity]
        for trait in sorted(mine.keys() | other.keys()):
            # A partition chosen without its root comes back as a table.
            if (only_schema and trait == "populated") or (is_part and trait == "partition"):
                continue
            before, after = mine.get(trait, "none"), other.get(trait, "none")
            if before == after or canonical(before) == canonical(after):
                continue
            if not words.hold(identity, trait, before, after):
                found.append(_fault(identity, *_told(trait, before, after)))
    return found


def _told(trait: str, before: str, after: str) -> tuple[str, str]:
    """What was expected and what there is: of several lines, such as columns, only those that differ."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) > 1 or len(new) > 1:
        kept = {canonical(line) for line in old} & {canonical(line) for line in new}
        old, new = ([line for line in side if canonical(line) not in kept] for side in (old, new))
    return _line(trait, old), _line(trait, new)


def _line(trait: str, lines: list[str]) -> str:
    return f"{trait}: {'; '.join(lines) or 'nothing more'}"


def _fault(identity: str, expected: str, actual: str) -> Finding:
    return fault(
        NAME,
        identity,
        expected,
        actual,
        why="the source had it in the very snapshot of this backup",
        hint="check the pg_dump that made the archive, then take another with `pgdrill backup`",
    )
