"""Faults that somebody answers for until a day, as the configuration names them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date

from backup_lib.settings import Suppression
from verification.finding import Finding, Suppressed
from verification.findings import NOT_REACHED

SUPPRESSIONS = "suppressions"


def suppress(findings: Iterable[Finding], suppressions: Sequence[Suppression], today: date) -> list[Finding]:
    """The findings; each fault or gap that an entry in force covers is suppressed, and says by whom.

    What was not looked at is never covered: an archive that did not restore stays unproved.
    """
    return [_suppress(finding, suppressions, today) for finding in findings]


def _suppress(finding: Finding, suppressions: Sequence[Suppression], today: date) -> Finding:
    if finding.status not in ("fault", "gap") or finding.object == NOT_REACHED:
        return finding
    for entry in suppressions:
        if entry.expires >= today and entry.matches(finding.check, finding.object):
            return replace(
                finding,
                status="suppressed",
                suppressed=Suppressed(
                    was=finding.status, reason=entry.reason, owner=entry.owner, expires=entry.expires
                ),
            )
    return finding


def expired(suppressions: Sequence[Suppression], today: date) -> list[Finding]:
    """A fault for each entry whose day has passed, whether it still covers anything or not."""
    return [
        Finding(
            check=SUPPRESSIONS,
            object=_label(entry),
            status="fault",
            cause="policy",
            expected=f"mended by {entry.expires}",
            actual="the suppression has expired",
            why=f"{entry.owner} answered for it until then: {entry.reason}",
            hint="mend what it covered and take it out of pgdrill.toml, or have its owner renew it",
        )
        for entry in suppressions
        if entry.expires < today
    ]


def unused(
    suppressions: Sequence[Suppression], findings: Iterable[Finding], ran: Iterable[str], today: date
) -> list[Finding]:
    """A note for each entry in force that covers nothing, although its check ran."""
    bad = [(finding.check, finding.object) for finding in findings if finding.status == "suppressed"]
    checks = set(ran)
    return [
        Finding(
            check=SUPPRESSIONS,
            object=_label(entry),
            status="note",
            cause="policy",
            expected="a fault that it covers",
            actual="none",
            why="what is mended needs no suppression, and it would hide the next fault",
            hint="take it out of pgdrill.toml",
        )
        for entry in suppressions
        if entry.expires >= today and entry.check in checks and not any(entry.matches(*one) for one in bad)
    ]


def _label(entry: Suppression) -> str:
    return f"{entry.check}: {entry.object}"
