"""The suite: every archive asked for must pass all of it. One restore serves all its tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # collecting the tests must be quick: what a drill needs is imported when one begins
    from verification.drill import Drill
    from verification.finding import Finding
    from verification.prove import Proof


def test_restore_benchmark(drill: Drill, benchmark: Any) -> None:
    """From the stored archive to a server that answers: once, since a restore is long, and really starts cold."""
    benchmark.group = "restore"
    benchmark.pedantic(drill.restore, rounds=1, iterations=1, warmup_rounds=0)
    benchmark.extra_info.update({phase.name: round(phase.seconds, 3) for phase in drill.phases.records()})
    benchmark.extra_info["archive"] = drill.found.name
    if drill.facts.obstacle is not None:
        pytest.fail(f"could not verify: {drill.facts.obstacle}\nhint: {drill.facts.obstacle_hint}", pytrace=False)


def test_bytes_are_intact(drill: Drill) -> None:
    demand(drill, "integrity")


def test_dump_is_complete(drill: Drill) -> None:
    demand(drill, "completeness")


def test_restores_without_an_error(drill: Drill) -> None:
    demand(drill, "restore")


def test_row_counts_are_equal(drill: Drill) -> None:
    demand(drill, "row-count")


def test_schema_is_equal_entry_by_entry(drill: Drill) -> None:
    demand(drill, "schema")


def test_content_of_every_table_is_equal(drill: Drill) -> None:
    demand(drill, "content")


def test_sequences_go_on_where_they_stood(drill: Drill) -> None:
    demand(drill, "sequences")


def test_large_objects_are_equal(drill: Drill) -> None:
    demand(drill, "large-objects")


def test_environment_is_equal(drill: Drill) -> None:
    demand(drill, "environment")


def test_every_object_is_there(drill: Drill) -> None:
    demand(drill, "catalog")


def test_it_can_be_written_to(drill: Drill) -> None:
    demand(drill, "write-probe")


def test_sql_check(drill: Drill, sql_check: str) -> None:
    """One query of the configuration; its name is the test's id."""
    demand(drill, f"sql:{sql_check}")


def test_objectives_are_met(drill: Drill) -> None:
    """RTO and RPO, as far as they are set; a suppression that has expired is a missed one too."""
    drill.examine()
    from verification.evidence.builder import missed_policies

    _report([finding for finding in missed_policies(drill) if finding.status in ("fault", "gap")])


def test_damage_would_be_seen(proof: Proof) -> None:
    """With --prove: damaged copies of this archive, each of which the drill must catch."""
    from verification.prove import check_controls

    findings = check_controls(proof)
    _report([finding for finding in findings if finding.status in ("fault", "gap")])
    if proof.skipped:
        pytest.skip(f"not tried: {proof.skipped}")


def demand(drill: Drill, name: str) -> None:
    """Fail with the findings of one check, unless all it compared is equal."""
    check = next((check for check in drill.checks if check.name == name), None)
    if check is None:
        of_files = "an archive of configuration files has none"
        pytest.skip(of_files if drill.is_of_files else f"--level {drill.plan.level} does not ask for it")
    findings = drill.judge(check).findings
    _report([finding for finding in findings if finding.status in ("fault", "gap")])
    if all(finding.status == "note" for finding in findings):
        pytest.skip(f"nothing to compare with: {findings[0].why}")


def _report(bad: list[Finding]) -> None:
    if bad:
        pytest.fail("\n".join(_render(finding) for finding in bad), pytrace=False)


def _render(finding: Finding) -> str:
    lead = "FAULT" if finding.status == "fault" else "COULD NOT VERIFY"
    return (
        f"{lead} ({finding.cause}) {finding.object}\n  expected: {finding.expected}\n  found:    {finding.actual}\n"
        f"  why:      {finding.why}\n  next:     {finding.hint}"
    )
