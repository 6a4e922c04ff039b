"""Findings that several checks make alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from verification.facts import Facts
from verification.finding import Finding

NOT_REACHED = "restored database"  # nothing was looked at, which nobody can answer for
LISTED = 50  # findings of one check; more of the same help nobody


def not_reached(check: str, facts: Facts) -> Finding:
    """The finding of a check whose comparison could not be made."""
    blames_archive = facts.obstacle is None
    return Finding(
        check=check,
        object=NOT_REACHED,
        status="gap",
        cause="archive" if blames_archive else "environment",
        expected="a restored database to compare",
        actual=facts.obstacle or facts.archived.damage or "the archive could not be restored",
        why="what was not compared is not proved",
        hint=facts.obstacle_hint or "mend what the other findings name, and drill again",
    )


def not_compared(check: str, why: str) -> Finding:
    """The finding of a check that has nothing to compare with: said, neither proved nor held against anybody."""
    return Finding(
        check=check,
        object="database",
        status="note",
        expected="the source's side to compare with",
        actual="none",
        why=why,
    )


def excused(finding: Finding) -> Finding:
    """The same as a gap: what is missing depends on something this sandbox lacks."""
    return replace(
        finding,
        status="gap",
        cause="environment",
        why="this sandbox could not take it; that says nothing against the archive",
        hint="close the gap that the restore check names, and drill again",
    )


def some(labels: Sequence[str], most: int = 10) -> str:
    """`a, b, c and 7 more`."""
    listed = ", ".join(labels[:most])
    return listed if len(labels) <= most else f"{listed} and {len(labels) - most} more"


def capped(found: list[Finding]) -> list[Finding]:
    """All matches, and the first faults and gaps with a line that says how many more there are."""
    bad = [finding for finding in found if finding.status in ("fault", "gap")]
    if len(bad) <= LISTED:
        return found
    rest = bad[LISTED:]
    summary = Finding(
        check=bad[0].check,
        object=f"{len(rest)} more",
        status="fault" if any(finding.status == "fault" for finding in rest) else "gap",
        cause=rest[0].cause,
        expected="as promised",
        actual=some([finding.object for finding in rest], 20),
        why=rest[0].why,
        hint=rest[0].hint,
    )
    dropped = {id(finding) for finding in rest}
    return [finding for finding in found if id(finding) not in dropped] + [summary]
