"""Tells people how a run of the suite ended, where no command does that for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from backup_lib.configuration import Configuration
from backup_lib.notify.announcing import Announcement
from backup_lib.notify.notice import sum_up_findings
from verification.evidence.folder import RECORD
from verification.evidence.record import read_record

_FAILED, _COULD_NOT, _INTERRUPTED = 1, 3, 130  # as of pgdrill


def begin(configuration: Configuration, requests: Sequence[str], say: Callable[[str], object]) -> Announcement | None:
    """None where `pgdrill verify` runs the suite, which tells people itself."""
    if os.environ.get("PGDRILL_VERDICTS"):
        return None
    try:
        announcement = Announcement(configuration, "drill", ", ".join(requests), say=say)
        announcement.start()
    except Exception as exc:  # noqa: BLE001 - to tell of a drill is never worth the drill
        say(f"people will NOT be told how this ends ({type(exc).__name__}): pgdrill notify test")
        return None
    return announcement


def end(
    announcement: Announcement,
    say: Callable[[str], object],
    *,
    expected: Sequence[str],
    verdicts: Mapping[str, str],
    folders: Mapping[str, str],
    ended_well: bool,
    interrupted: bool,
) -> None:
    """:param ended_well: the suite's own exit status is 0, which it is only if everything was verified."""
    try:
        announcement.lines += _sum_up(expected, folders)
        if not ended_well and not announcement.lines:
            announcement.lines.append("no archive was drilled: see what the suite printed")
        failed = _FAILED if "failed" in verdicts.values() else _COULD_NOT
        announcement.end(_INTERRUPTED if interrupted else 0 if ended_well else failed)
    except Exception as exc:  # noqa: BLE001 - the exit status is the drill's
        say(f"people were NOT told how this ended ({type(exc).__name__}): pgdrill notify test")


def _sum_up(expected: Sequence[str], folders: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*expected, *folders]):
        if name not in folders:
            yield f"COULD NOT VERIFY {name}: none of its checks ran to the end"
            continue
        record = read_record(Path(folders[name]) / RECORD)
        yield f"{record.verdict.replace('_', ' ').upper()} {name}: {record.summary}"
        yield from sum_up_findings(record.findings)
        if record.verdict != "verified":
            yield f"report: {folders[name]}/report.html"
