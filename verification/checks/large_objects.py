"""Is every large object back, byte by byte?"""

from __future__ import annotations

from collections.abc import Iterable

from backup_lib.inventory import LargeObject
from verification.checks.restore import lacked
from verification.facts import Facts, Restored
from verification.finding import Finding, fault, match
from verification.findings import not_compared, not_reached
from verification.scope import scope_of

NAME = "large-objects"


def check_large_objects(facts: Facts) -> list[Finding]:
    dump, restored = facts.archived.inventory, facts.restored
    if dump is None or restored is None:
        return [not_reached(NAME, facts)]
    found = []
    promised = facts.promised
    scope = scope_of(facts.expect, facts.manifest, dump)
    if promised is not None and not (scope.said_by == "--expect" and scope.kind in ("tables", "schema")):
        found += _compare(promised.large_objects, dump.large_objects, "in the archive")
    found += _compare(dump.large_objects, restored.inventory.large_objects, "after the restore")
    found = found or _summed_up(facts, restored)
    if found:
        return found
    return [match(NAME, f"large object {o.oid}", _digest(o)) for o in dump.large_objects] or [
        match(NAME, "database", "no large object promised, none archived")
    ]


def _summed_up(facts: Facts, restored: Restored) -> list[Finding]:
    """Against the servers' own sums, which pg_dump has no part in."""
    manifest, there = facts.manifest, restored.row_sums
    if manifest is None or manifest.row_sums is None or there is None:
        return []
    if not scope_of(facts.expect, manifest, facts.archived.inventory).is_whole or lacked(facts):
        return []
    expected, actual = manifest.row_sums.large_objects, there.large_objects
    if expected is None or actual is None:
        why = "a server could not sum up large objects: that pg_dump altered none of their bytes is not proved"
        return [not_compared(NAME, why)]
    if expected == actual:
        return []
    return [
        fault(
            NAME,
            "large objects",
            f"large objects whose hashes sum up to {expected}, as the source's server had them",
            f"{actual}, though they are the archive's",
            why="pg_dump wrote other bytes than the source held in the snapshot of this backup",
            hint="check the pg_dump that made the archive, then take another with `pgdrill backup`",
        )
    ]


def _compare(wanted: Iterable[LargeObject], there: Iterable[LargeObject], where: str) -> list[Finding]:
    expected, actual = ({o.oid: o for o in side} for side in (wanted, there))
    return [
        fault(
            NAME,
            f"large object {oid}",
            _digest(expected.get(oid)),
            f"{_digest(actual.get(oid))} {where}",
            why="a document or picture the application points to would be gone or damaged",
            hint="take another backup with `pgdrill backup`; dumps with -t or -n leave large objects out",
        )
        for oid in sorted(expected.keys() | actual.keys())
        if _digest(expected.get(oid)) != _digest(actual.get(oid))
    ]


def _digest(large: LargeObject | None) -> str:
    return f"{large.size_bytes} bytes, SHA-256 {large.sha256}" if large is not None else "none"
