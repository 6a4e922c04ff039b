"""What every view of a record says, and in which order: worst first, and what is left out is counted."""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from verification.evidence.record import (
    CheckRecord,
    CheckStatus,
    ControlRecord,
    ControlStatus,
    Objective,
    PhaseRecord,
    Record,
    TableRecord,
    Verdict,
    render_record,
)
from verification.finding import Cause, Finding, Status, Suppressed
from verification.report.text import (
    UNKNOWN,
    render_bytes,
    render_duration,
    render_instant,
    render_quantity,
)

VERDICTS: dict[Verdict, str] = {
    "verified": "Verified",
    "failed": "Failed",
    "could_not_verify": "Could not verify",
}
CHECK_STATUSES: dict[CheckStatus, str] = {
    "passed": "passed",
    "failed": "FAILED",
    "could_not_verify": "not verified",
    "not_run": "not run",
    "suppressed": "suppressed",
}
CONTENTS = {
    "identical": "identical",
    "reordered": "reordered",
    "different": "DIFFERENT",
    "not_compared": "not compared",
}

_STATUS_ORDER: tuple[Status, ...] = ("fault", "gap", "suppressed", "note")
_CAUSE_ORDER: tuple[Cause | None, ...] = ("archive", "source", "environment", "policy", None)
_CAUSE_TITLES: dict[tuple[Status, Cause | None], str] = {
    ("fault", "archive"): "Faults in the archive",
    ("fault", "source"): "Faults at the source",
    ("fault", "environment"): "Faults in the environment",
    ("fault", "policy"): "Objectives and policies missed",
    ("fault", None): "Faults of unknown cause",
    ("gap", "archive"): "Could not be verified: the archive",
    ("gap", "source"): "Could not be verified: the source",
    ("gap", "environment"): "Could not be verified: the environment",
    ("gap", "policy"): "Could not be verified: by policy",
    ("gap", None): "Could not be verified",
    ("suppressed", None): "Suppressed: somebody answers for it until a day",
}
_NOTES_TITLE = "Notes: no fault, but worth knowing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of a list of facts; `exact` where each character counts, as in a digest."""

    label: str
    value: str
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """Findings that one check makes for one reason, and that one step mends: said once, objects listed."""

    title: str  # of the check
    check: str
    why: str
    hint: str
    suppressed: Suppressed | None
    findings: tuple[Finding, ...]  # never empty

    @property
    def answered_for(self) -> str:
        """`ana@example.org, until 2027-01-31: dropped with the next release`."""
        by = self.suppressed
        return f"{by.owner}, until {by.expires}: {by.reason}" if by else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseGroup:
    status: Status
    cause: Cause | None
    title: str
    matters: tuple[Matter, ...]

    @property
    def count(self) -> int:
        return sum(len(matter.findings) for matter in self.matters)


def group_findings(findings: Iterable[Finding], checks: Iterable[CheckRecord]) -> list[CauseGroup]:
    """By status, faults first, then by cause; in a group, one matter per check, reason and next step."""
    titles = {check.name: check.title for check in checks}
    gathered: dict[tuple[Status, Cause | None], dict[tuple[str, str, str, Suppressed | None], list[Finding]]] = {}
    for finding in findings:
        # Those that fail nothing stand together, whatever their cause.
        group = (finding.status, finding.cause if finding.status in ("fault", "gap") else None)
        matter = (finding.check, finding.why, finding.hint, finding.suppressed)
        gathered.setdefault(group, {}).setdefault(matter, []).append(finding)
    return [
        CauseGroup(
            status=status,
            cause=cause,
            title=_CAUSE_TITLES.get((status, cause), _NOTES_TITLE),
            matters=tuple(
                Matter(
                    title=titles.get(check, check),
                    check=check,
                    why=why,
                    hint=hint,
                    suppressed=by,
                    findings=tuple(found),
                )
                for (check, why, hint, by), found in gathered[status, cause].items()
            ),
        )
        for status in _STATUS_ORDER
        for cause in _CAUSE_ORDER
        if (status, cause) in gathered
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChoice:
    """The tables a view shows: all with a problem, then the largest of the others."""

    shown: tuple[TableRecord, ...]
    troubled: frozenset[str]  # names of those with a problem
    hidden: int
    summary: str  # of all tables, shown or not


def choose_tables(record: Record, *, largest: int) -> TableChoice:
    blamed = {finding.object for finding in record.findings if finding.status in ("fault", "gap")}
    ordered = sorted(record.tables, key=lambda table: (-(table.size_bytes or 0), table.table))
    troubled = [
        table for table in ordered if table.table in blamed or table.content == "different" or rows_differ(table)
    ]
    names = frozenset(table.table for table in troubled)
    sound = [table for table in ordered if table.table not in names]
    contents = Counter[str](table.content for table in record.tables)
    parts = [f"{contents[content]:,} {word}" for content, word in CONTENTS.items() if contents[content]]
    if by_sums := sum(table.by_sums for table in record.tables):
        parts[0] += f" ({by_sums:,} by the servers' sums of their rows)"
    return TableChoice(
        shown=(*troubled, *sound[:largest]),
        troubled=names,
        hidden=max(0, len(sound) - largest),
        summary=f"{render_quantity(len(ordered), 'table')}: {', '.join(parts)}" if parts else "No tables",
    )


CONTROLS: dict[ControlStatus, str] = {
    "caught": "caught",
    "missed": "MISSED",
    "clean": "clean, as it must be",
    "false_alarm": "BLAMED WRONGLY",
    "not_tried": "could not be tried",
    "not_applicable": "not applicable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlView:
    """The negative control: the copies that were drilled, worst first, and why the other kinds were not."""

    tried: tuple[ControlRecord, ...]
    left_out: tuple[tuple[str, str], ...]  # a reason, and the kinds it holds for
    summary: str


def view_controls(record: Record) -> ControlView | None:
    """None where no negative control was carried out."""
    if not record.controls:
        return None
    worst = ("missed", "false_alarm", "not_tried", "caught", "clean")
    tried = [control for control in record.controls if control.status != "not_applicable"]
    reasons: dict[str, list[str]] = {}
    for control in record.controls:
        if control.status == "not_applicable":
            reasons.setdefault(control.reason, []).append(control.title)
    counts = Counter(control.status for control in tried)
    unnamed = sum(control.named is False and control.status == "caught" for control in tried)
    damaged = counts["caught"] + counts["missed"]
    parts = [f"{render_quantity(damaged, 'damaged copy', 'damaged copies')}: {counts['caught']:,} caught"]
    parts += [f"{counts['missed']:,} MISSED"] if counts["missed"] else []
    parts += [f"{unnamed:,} of them not by name"] if unnamed else []
    parts += [f"{render_quantity(counts['clean'] + counts['false_alarm'], 'undamaged one')}: {counts['clean']:,} clean"]
    return ControlView(
        tried=tuple(sorted(tried, key=lambda control: worst.index(control.status))),
        left_out=tuple((reason, ", ".join(titles)) for reason, titles in reasons.items()),
        summary=", ".join(parts),
    )


def describe_catch(control: ControlRecord) -> str:
    """`by schema`, and whether the finding named what was damaged."""
    if control.check is None:
        return UNKNOWN
    return control.check if control.named is not False else f"{control.check}, not by name"


def rows_differ(table: TableRecord) -> bool:
    """Whether two of its known row counts contradict each other."""
    return len({table.rows_promised, table.rows_archived, table.rows_restored} - {None}) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBar:
    """A phase on the drill's timeline; `begin` and `length` are parts of the whole, 0 to 1."""

    phase: PhaseRecord
    begin: float
    length: float


def begins_are_guessed(record: Record) -> bool:
    return any(phase.overlaps and phase.began_s is None for phase in record.phases)


def lay_out_phases(record: Record) -> list[PhaseBar]:
    """Where each began; in a record that does not hold that, one after the other, where an overlapping one
    is drawn where it is named and moves nothing along: a guess, which the views say.
    """
    in_turn = sum(phase.seconds for phase in record.phases if not phase.overlaps)
    longest = max((phase.seconds for phase in record.phases), default=0.0)
    whole = max(wall_clock_s(record), in_turn, longest)
    bars, clock = [], 0.0
    for phase in record.phases:
        begin = max(0.0, min(clock if phase.began_s is None else phase.began_s, whole - phase.seconds))
        share = (begin / whole, phase.seconds / whole) if whole else (0.0, 0.0)
        bars.append(PhaseBar(phase=phase, begin=share[0], length=share[1]))
        if not phase.overlaps:
            clock += phase.seconds
    return bars


def wall_clock_s(record: Record) -> float:
    return max(0.0, (record.finished_at - record.started_at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveView:
    """An objective in words, for a table of objective, measured, margin and result."""

    objective: str
    measured: str
    margin: str
    result: str


def describe_objective(objective: Objective) -> ObjectiveView:
    margin = UNKNOWN
    if objective.objective_s is not None and objective.measured_s is not None:
        spare = objective.objective_s - objective.measured_s
        margin = f"{render_duration(abs(spare))} {'to spare' if spare >= 0 else 'too long'}"
    return ObjectiveView(
        objective="no objective set" if objective.objective_s is None else render_duration(objective.objective_s),
        measured="not measured" if objective.measured_s is None else render_duration(objective.measured_s),
        margin=margin,
        result={True: "met", False: "MISSED", None: UNKNOWN}[objective.met],
    )


def count_checks(checks: Sequence[CheckRecord]) -> str:
    """`12 checks: 11 passed, 1 FAILED`; a check that did not run is never left unsaid."""
    counts = Counter(check.status for check in checks)
    parts = [f"{counts[status]:,} {word}" for status, word in CHECK_STATUSES.items() if counts[status]]
    return f"{render_quantity(len(checks), 'check')}: {', '.join(parts)}" if parts else "no checks"


def count_findings(findings: Iterable[Finding]) -> tuple[str, str]:
    """The worst there is, then the rest: `2 faults` and `no gaps, 1 note`.

    Notes alone never come first: beside a verdict, `no faults` says more.
    """
    counts = Counter(finding.status for finding in findings)
    worst: Status = "gap" if counts["gap"] and not counts["fault"] else "fault"
    said: dict[Status, str] = {
        status: render_quantity(counts[status], status) if counts[status] else f"no {status}s"
        for status in _STATUS_ORDER
        if status != "suppressed"
    }
    if counts["suppressed"]:
        said["suppressed"] = f"{counts['suppressed']:,} suppressed"
    return said.pop(worst), ", ".join(said.values())


def list_archive_facts(record: Record) -> list[Fact]:
    """What was drilled, and what it is compared with."""
    archive = record.archive
    made_of = [archive.format or "unknown format", archive.compression or "not compressed"]
    made_of.append(f"encrypted ({archive.encryption})" if archive.encryption else "not encrypted")
    age_s = (record.started_at - archive.snapshot_at).total_seconds() if archive.snapshot_at else None
    age = f", {render_duration(age_s)} before this drill" if age_s is not None and age_s >= 0 else ""
    text_size = f", {render_bytes(archive.text_bytes)} of text inside" if archive.text_bytes else ""
    return [
        Fact(label="Archive", value=archive.name, exact=True),
        Fact(label="Location", value=archive.location, exact=True),
        Fact(label="Holds", value=f"{archive.kind}, according to {archive.kind_from}"),
        Fact(label="Made of", value=", ".join(made_of)),
        Fact(label="Size", value=render_bytes(archive.size_bytes) + text_size),
        Fact(label="SHA-256 as stored", value=archive.sha256 or UNKNOWN, exact=True),
        Fact(label="SHA-256 of its text", value=archive.text_sha256 or UNKNOWN, exact=True),
        Fact(label="Data is from", value=render_instant(archive.snapshot_at) + age),
        Fact(label="Source database", value=archive.database or UNKNOWN, exact=True),
        Fact(label="System identifier", value=archive.system_identifier or UNKNOWN, exact=True),
        Fact(label="Source server", value=_name_version("PostgreSQL", archive.server_version)),
        Fact(label="Dumped by", value=_name_version("pg_dump", archive.dump_version)),
        Fact(label="Manifest", value=archive.manifest or "none: verified against itself"),
        Fact(label="SHA-256 of manifest", value=archive.manifest_sha256 or UNKNOWN, exact=True),
    ]


def _name_version(program: str, version: str | None) -> str:
    return UNKNOWN if version is None else f"{program} {version}"


def list_sandbox_facts(record: Record) -> list[Fact]:
    """Where it was restored, and that nothing is left of it; empty where no sandbox was started."""
    sandbox = record.sandbox
    if sandbox is None:
        return []
    gone = {
        True: "yes, proved gone after the drill",
        False: "NO: something was left behind, and it may hold personal data",
        None: "not needed: never started",
    }
    return [
        Fact(label="Kind", value=f"{sandbox.kind}: {sandbox.chosen_because}"),
        Fact(label="Server", value=f"PostgreSQL {sandbox.server_version}"),
        *(Fact(label=label[:1].upper() + label[1:], value=value) for label, value in sandbox.facts.items()),
        Fact(
            label="Machine",
            value=f"{sandbox.host}, {render_quantity(sandbox.processors, 'processor')}, "
            f"{render_bytes(sandbox.memory_bytes)} of memory",
        ),
        Fact(label="Destroyed", value=gone[sandbox.destroyed]),
    ]


def list_drill_facts(record: Record) -> list[Fact]:
    """Who drilled, when and with what."""
    return [
        Fact(label="Drill", value=record.drill_id, exact=True),
        Fact(label="Level", value=record.level),
        Fact(label="Started", value=render_instant(record.started_at)),
        Fact(
            label="Finished",
            value=f"{render_instant(record.finished_at)}, after {render_duration(wall_clock_s(record))}",
        ),
        Fact(label="Started by", value=record.initiator),
        *(Fact(label=tool, value=version) for tool, version in record.tools.items()),
        Fact(label="Record schema", value=str(record.schema_version)),
    ]


def digest_record(record: Record) -> str:
    """SHA-256 of `record.json`: what `sha256sum` prints for it, if it is the record this is a view of."""
    return hashlib.sha256(render_record(record)).hexdigest()


def build_check_command(record: Record) -> str:
    """The shell command that checks the digest, signature and chain of the record."""
    return shlex.join(["pgdrill", "evidence", "verify", f"reports/{record.drill_id}"])
