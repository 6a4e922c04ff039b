"""Did the server take every statement?"""

from __future__ import annotations

import re

from backup_lib.quantity import number_of
from backup_lib.statement_errors import StatementError
from verification.facts import Facts
from verification.finding import Cause, Finding, Status, fault, match
from verification.findings import not_reached

NAME = "restore"

# What this server lacks, whatever the archive: (message, what it is, what closes the gap).
_LACKING = (
    (r'extension "(.+)" is not available', "an image or installation with that extension: --postgres-image IMAGE"),
    (r"could not open extension control file", "an image or installation with that extension: --postgres-image IMAGE"),
    (r"could not access file|could not load library|incompatible library", "--postgres-image with that library"),
    (r"ICU is not supported|unsupported XML feature|compression method \w+ not supported", "a server built with it:"
     " pgdrill install-server, or --sandbox container"),
    (r"collation .* for encoding .* does not exist|invalid .*locale name|could not create locale", "a server with that"
     " locale: --postgres-image, or install the operating system's locale"),
    (r"must be loaded via shared_preload_libraries", "--postgres-image with that library preloaded"),
)  # fmt: skip
_RESOURCES = ("53", "57", "58", "XX")  # insufficient resources, operator intervention, system and internal errors
# Refused only because something before it was: undefined schema, table, column, function, object.
_CONSEQUENCES = ("3F000", "42P01", "42703", "42883", "42704", "25P02")


def check_restore(facts: Facts) -> list[Finding]:
    load = facts.load
    if load is None:
        return [not_reached(NAME, facts)]
    found = [_refused(command) for command in dict.fromkeys(load.refused)] + _errors(facts)
    if facts.obstacle is not None:
        found.append(not_reached(NAME, facts))
    accepted = "every statement accepted" if not load.passed_over else "every statement accepted but those noted"
    return (found or [match(NAME, "archive", accepted)]) + _passed_over(load.passed_over)


def lacked(facts: Facts) -> set[str]:
    """Labels of the entries that this sandbox could not take although nothing is wrong with them."""
    return {finding.object for finding in _errors(facts) if finding.cause == "environment"}


def _errors(facts: Facts) -> list[Finding]:
    found: list[Finding] = []
    lacking = False
    refused = facts.restored.refused if facts.restored is not None else []
    for error in (*(facts.load.errors if facts.load is not None else ()), *refused):
        found.append(_judge(facts, error, lacking=lacking))
        lacking = lacking or found[-1].cause == "environment"
    return found


def _judge(facts: Facts, error: StatementError, *, lacking: bool) -> Finding:
    cause: Cause = "archive"
    status: Status = "fault"
    why = "what the server refuses does not come back"
    hint = f"pg_restore or psql will refuse it too: mend it at the source, then pgdrill backup ({error.sqlstate})"
    gap = next((cure for pattern, cure in _LACKING if re.search(pattern, error.message)), None)
    if gap is None and error.sqlstate.startswith(_RESOURCES):
        gap = "more memory or disk for the sandbox, then drill again"
    if gap is None and "type money" in error.message and not _reads_money(facts):
        gap = "a server with the source's lc_monetary, and a manifest to name it: pgdrill manifest --out FILE"
    if gap is None and lacking and error.sqlstate in _CONSEQUENCES:
        gap = "it follows from what is missing above"
    if gap is None and facts.is_cross_major and error.sqlstate[:2] in ("42", "0A", "22") and error.sqlstate != "42P01":
        gap = f"a server of the archive's own major: pgdrill install-server {facts.archive_major}"
    if gap is not None:
        cause, status = "environment", "gap"
        why, hint = "this sandbox cannot hold what the archive needs; that says nothing against the archive", gap
    actual = f"{error.message} ({error.sqlstate})"
    return Finding(
        check=NAME,
        object=error.entry,
        status=status,
        cause=cause,
        expected="accepted by the server",
        actual=f"{actual}, at {error.context}" if error.context else actual,
        why=why,
        hint=hint,
    )


def _reads_money(facts: Facts) -> bool:
    """Money is written in the source's lc_monetary, which no dump names."""
    if facts.manifest is None or facts.restored is None:
        return False
    return facts.manifest.environment.lc_monetary == facts.restored.environment.lc_monetary


def _passed_over(count: int) -> list[Finding]:
    if not count:
        return []
    return [
        Finding(
            check=NAME,
            object="what a new database has or lacks",
            status="note",
            expected="statements that pass in it",
            actual=f"{number_of(count, 'statement')} refused, to remove what is not there or to make what is",
            why="all else goes on as psql does; but with ON_ERROR_STOP psql ends there",
            hint="into a new database: pgdrill restore, or psql without ON_ERROR_STOP",
        )
    ]


def _refused(command: str) -> Finding:
    return fault(
        NAME,
        command,
        "statements and rows only",
        f"the command {command}, which psql would carry out on the machine that restores",
        why="pg_dump does not write it: somebody changed this archive, or it is not a dump",
        hint="do not restore it with psql; find out who wrote the archive",
    )
