"""From a finished drill to its record."""

from __future__ import annotations

import getpass
import os
import platform
from datetime import datetime
from importlib import metadata

from backup_lib.dump_text import detect_archive
from backup_lib.errors import BackupError
from backup_lib.inventory import Inventory
from backup_lib.load_order import parse_table
from backup_lib.manifest import Source
from backup_lib.quantity import number_of, quantity
from verification.checks.content import difference_key
from verification.contract import CONTRACTS
from verification.drill import Drill, Judged
from verification.evidence.record import (
    ArchiveRecord,
    CheckRecord,
    CheckStatus,
    Objective,
    Record,
    SandboxRecord,
    TableRecord,
    Verdict,
)
from verification.evidence.timing import load_record, table_times
from verification.finding import Finding, Status
from verification.planning import OBJECTIVES
from verification.prove import NAME as CONTROL
from verification.prove import Proof, check_controls, too_few
from verification.scope import scope_of, table_label
from verification.suppressing import expired, unused

_CLEAR = ("passed", "not_run", "suppressed")


def build_record(drill: Drill, *, finished_at: datetime, proof: Proof | None = None) -> Record:
    """Judge what was not judged yet, and put it all down. To be called when the sandbox is gone.

    :param proof: of the negative control, where it was asked for.
    """
    judged = drill.judge_all()
    rto, rpo = _objectives(drill)
    findings = [f for j in judged for f in j.findings if f.status != "match"]
    findings += missed_policies(drill) + _left_behind(drill)
    findings += unused(drill.plan.suppressions, findings, [*(c.name for c in drill.checks), OBJECTIVES], drill.today)
    checks = [_check_record(j) for j in judged]
    if proof is not None:
        controlled = check_controls(proof)
        findings += [finding for finding in controlled if finding.status != "match"]
        checks.append(_control_check(proof, controlled))
    verdict = decide(findings, checks)
    return Record(
        drill_id=drill.drill_id,
        started_at=drill.started_at,
        finished_at=finished_at,
        verdict=verdict,
        summary=_summary(drill, verdict, findings) + _suppressed(findings),
        level=drill.plan.level,
        archive=_archive(drill),
        sandbox=_sandbox(drill),
        phases=drill.phases.records(),
        checks=tuple(checks),
        findings=tuple(findings),
        tables=_tables(drill),
        rto=rto,
        rpo=rpo,
        not_proved=(*_not_proved(drill), *too_few(proof)),
        initiator=_initiator(),
        tools={
            "pgdrill": metadata.version("pgdrill"),
            "python": platform.python_version(),
            "psycopg": metadata.version("psycopg"),
            "pytest": metadata.version("pytest"),
        },
        controls=proof.controls if proof is not None else (),
        load=load_record(drill),
    )


def missed_policies(drill: Drill) -> list[Finding]:
    """Objectives that were not met, or not measured, and suppressions that have expired."""
    rto, rpo = _objectives(drill)
    missed = [*_missed(rto, "RTO", "restored and answering"), *_missed(rpo, "RPO", "the data's age at the drill")]
    return drill.suppress(missed) + expired(drill.plan.suppressions, drill.today)


def decide(findings: list[Finding], checks: list[CheckRecord]) -> Verdict:
    """A fault fails; a gap leaves it open; nothing at all compared is never verified.

    A check with nothing to compare with (`not_run`) proves nothing, which the record says, but takes nothing back.
    """
    if any(finding.status == "fault" for finding in findings):
        return "failed"
    if not any(check.compared for check in checks):
        return "failed"
    if any(f.status == "gap" for f in findings) or any(c.status not in _CLEAR for c in checks):
        return "could_not_verify"
    return "verified"


def _check_record(judged: Judged) -> CheckRecord:
    statuses = [finding.status for finding in judged.findings]
    gaps = sum(f.suppressed is not None and f.suppressed.was == "gap" for f in judged.findings)
    return CheckRecord(
        name=judged.check.name,
        title=judged.check.title,
        status=_status(statuses),
        compared=len(statuses) - statuses.count("note") - gaps,
        faults=statuses.count("fault"),
        seconds=judged.seconds,
        method=judged.check.method,
        suppressed=statuses.count("suppressed"),
    )


def _control_check(proof: Proof, findings: list[Finding]) -> CheckRecord:
    statuses = [finding.status for finding in findings]
    return CheckRecord(
        name=CONTROL,
        title="Damage would be seen",
        status=_status(statuses),
        compared=sum(control.seconds is not None for control in proof.controls),
        faults=statuses.count("fault"),
        seconds=proof.seconds,
        method="Copies of this very archive are damaged, one kind each, and the same drill must catch every one of "
        f"them and blame no undamaged copy; where it strikes is drawn from the seed {proof.seed or 'none'}.",
    )


def _status(statuses: list[Status]) -> CheckStatus:
    status: CheckStatus = "passed"
    if "fault" in statuses:
        status = "failed"
    elif "gap" in statuses or not statuses:
        status = "could_not_verify"
    elif "suppressed" in statuses:
        status = "suppressed"
    elif "match" not in statuses:
        status = "not_run"  # nothing to compare with; the notes say why
    return status


def data_age_s(source: Source, now: datetime) -> float:
    """Seconds of work that would be lost; a standby's data is older than the snapshot that shows it."""
    return (now - source.snapshot_at).total_seconds() + (source.replay_lag_s or 0.0)


def _objectives(drill: Drill) -> tuple[Objective, Objective]:
    manifest = drill.facts.manifest
    age = data_age_s(manifest.source, drill.started_at) if manifest is not None else None
    return _objective(drill.plan.rto_s, drill.rto_s), _objective(drill.plan.rpo_s, age)


def _objective(objective_s: float | None, measured_s: float | None) -> Objective:
    known = objective_s is not None and measured_s is not None
    return Objective(
        objective_s=objective_s,
        measured_s=measured_s,
        met=measured_s <= objective_s if known and measured_s is not None and objective_s is not None else None,
    )


def _missed(objective: Objective, name: str, what: str) -> list[Finding]:
    if objective.objective_s is None or objective.met:
        return []
    if objective.measured_s is None:
        return [
            Finding(
                check=OBJECTIVES,
                object=name,
                status="gap",
                cause="policy",
                expected=f"{what}: at most {objective.objective_s:g} s",
                actual="not measured",
                why="an objective that was not measured is not met",
                hint="RTO needs a restore that ends; RPO needs a manifest, which says when the data is from",
            )
        ]
    return [
        Finding(
            check=OBJECTIVES,
            object=name,
            status="fault",
            cause="policy",
            expected=f"{what}: at most {objective.objective_s:g} s",
            actual=f"{objective.measured_s:.1f} s",
            why="a recovery would break what was promised to the business",
            hint="back up more often for the RPO; for the RTO see the phases: the longest one bounds it",
        )
    ]


def _left_behind(drill: Drill) -> list[Finding]:
    if drill.destroyed is not False:
        return []
    return [
        Finding(
            check="sandbox",
            object="clean-up",
            status="gap",
            cause="environment",
            expected="the restored copy destroyed",
            actual=drill.facts.obstacle or "not proved",
            why="a restored copy holds the source's personal data",
            hint="`pgdrill doctor` shows and removes what drills left behind",
        )
    ]


def _summary(drill: Drill, verdict: Verdict, findings: list[Finding]) -> str:
    name = drill.found.name
    dump = drill.facts.archived.inventory
    if verdict == "verified" and dump is not None:
        rows = sum(table.rows for table in dump.tables)
        definitions = quantity(len(dump.entries), "definition")
        what = f"{number_of(len(dump.tables), 'table')} with {quantity(rows, 'row')} and {definitions}"
        if drill.plan.level == "integrity":
            return f"{name} is whole: {what}. It was not restored."
        if drill.plan.level == "restore":
            return f"{name} restores: {what} were accepted and the rows counted. Schema and content were not compared."
        with_what = "the source's manifest" if drill.facts.manifest is not None else "the archive itself"
        return f"{name} restores: {what} came back equal to {with_what}."
    if verdict == "verified" and drill.facts.archived.files is not None:
        count = len(drill.facts.archived.files)
        return f"{name} is whole: {count:,} files, folders and links read back, each equal to the manifest's."
    bad = next((f for f in findings if f.status == "fault"), next((f for f in findings if f.status == "gap"), None))
    if bad is None:
        return f"{name}: nothing was compared."
    lead = "failed" if verdict == "failed" else "could not be verified"
    found = bad.actual.splitlines()[0] if bad.actual else "nothing"
    return f"{name} {lead}: {bad.object}: expected {bad.expected}, found {found}."


def _suppressed(findings: list[Finding]) -> str:
    """A verdict that stands on somebody's word says so."""
    until = [finding.suppressed.expires for finding in findings if finding.suppressed is not None]
    if not until:
        return ""
    what = "1 finding is" if len(until) == 1 else f"{len(until):,} findings are"
    return f" {what} suppressed by the configuration, the first until {min(until)}."


def _archive(drill: Drill) -> ArchiveRecord:
    facts, found = drill.facts, drill.found
    dump, manifest = facts.archived.inventory, facts.manifest
    try:
        content = detect_archive(drill.path, drill.plan.keys)
    except (BackupError, OSError):
        content = None
    scope = scope_of(facts.expect, manifest, dump)
    return ArchiveRecord(
        name=found.name,
        location=found.store.location,
        format=content.format if content else None,
        compression=content.compression if content else None,
        encryption=facts.archived.encryption or found.encryption,
        kind=scope.kind,
        kind_from=scope.said_by,
        size_bytes=facts.archived.size_bytes,
        sha256=facts.archived.sha256,
        text_sha256=dump.sha256 or None if dump else None,
        text_bytes=dump.size_bytes or None if dump else None,
        snapshot_at=manifest.source.snapshot_at if manifest else None,
        database=manifest.source.database if manifest else found.database,
        system_identifier=manifest.source.system_identifier if manifest else None,
        server_version=_first(dump, manifest.source.server_version if manifest else None),
        dump_version=dump.dump_version if dump else None,
        manifest=drill.manifest_name,
        manifest_sha256=drill.manifest_sha256,
    )


def _first(dump: Inventory | None, promised: str | None) -> str | None:
    return (dump.server_version if dump is not None else None) or promised


def _sandbox(drill: Drill) -> SandboxRecord | None:
    if drill.chosen is None:
        return None
    sandbox = drill.chosen.sandbox
    return SandboxRecord(
        kind=sandbox.kind,
        chosen_because=drill.chosen.because,
        server_version=sandbox.server_version,
        facts=dict(sandbox.facts),
        destroyed=drill.destroyed,
        host=platform.node(),
        processors=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def _tables(drill: Drill) -> tuple[TableRecord, ...]:
    facts = drill.facts
    dump, restored, manifest = facts.archived.inventory, facts.restored, facts.manifest
    if dump is None:
        return ()
    loaded, built = table_times(facts.load) if facts.load is not None else ({}, {})
    records = []
    for table in dump.tables:
        label = table_label(table)
        counted = f"{table.database}.{label}" if dump.scope == "cluster" else label
        difference = restored.differences.get((table.database, difference_key(table))) if restored else None
        records.append(
            TableRecord(
                table=counted,
                rows_promised=manifest.row_counts.get(label) if manifest else None,
                rows_archived=table.rows,
                rows_restored=restored.row_counts.get(counted) if restored else None,
                size_bytes=table.size_bytes,
                sha256=table.sha256,
                content=difference.content if difference else "not_compared",
                by_sums=difference is not None and difference.by_sums,
                seconds=loaded.get(parse_table(table.target)),
                built_s=built.get(parse_table(table.target)),
            )
        )
    return tuple(records)


def _not_proved(drill: Drill) -> tuple[str, ...]:
    facts = drill.facts
    said = list(drill.not_proved)
    if facts.manifest is None:
        said.append(
            "Equality with the source: the archive has no manifest, so it was compared with itself only. "
            "`pgdrill manifest` records the source's side."
        )
    if not facts.archived.is_authenticated and not facts.is_as_promised:
        said.append(
            "That nobody altered it: openssl enc does not authenticate what it encrypts, so altered bytes decrypt to "
            "other bytes. age does: `pgdrill backup --encrypt`."
        )
    if drill.is_of_files:
        return (*said, *CONTRACTS["config"].not_promised)
    if drill.plan.level == "integrity":
        said.append("That it restores: at this level the archive is read, and nothing is restored.")
    elif drill.plan.level == "restore":
        said.append("That schema and content are equal: at this level the rows are restored and counted only.")
    if facts.is_cross_major:
        said.append(
            f"A restore into PostgreSQL {facts.archive_major}: this drill restored into {facts.server_major}, "
            "which is cross-major. `pgdrill install-server` brings the archive's own major."
        )
    dump = facts.archived.inventory
    if dump is not None:
        said += CONTRACTS[scope_of(facts.expect, facts.manifest, dump).kind].not_promised
    if drill.plan.level != "integrity":
        said.append("Passwords of roles, and the server's configuration files: no archive of a database holds them.")
        said.append("The time a restore takes on other hardware or with durability on: the sandbox runs without it.")
    return tuple(said)


def _initiator() -> str:
    """The CI run, where its variables name one; else the account on this host."""
    if url := os.environ.get("GITHUB_SERVER_URL"):
        return f"{url}/{os.environ.get('GITHUB_REPOSITORY')}/actions/runs/{os.environ.get('GITHUB_RUN_ID')}"
    if url := os.environ.get("CI_JOB_URL"):
        return url
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as containers have them
        account = f"uid {os.getuid()}"
    return f"{account}@{platform.node()}"
