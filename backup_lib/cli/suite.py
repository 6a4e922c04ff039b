"""Runs the verification suite, which is a program of its own, and reads what it wrote: verdicts and records."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from backup_lib.errors import BackupError, ProgramError, StoreError
from backup_lib.process import passthrough
from backup_lib.run_folder import private_run_folder

VERDICTS_VARIABLE = "PGDRILL_VERDICTS"
_INTERRUPTED = 2  # pytest's exit status
# -P: a folder called `verification` where this runs is not ours. Nor are the settings there, of another suite.
_PYTEST = (
    *(sys.executable, "-P", "-m", "pytest", "--pyargs", "verification"),
    *("-c", os.devnull, f"--rootdir={Path(__file__).parents[2]}", "-p", "no:cacheprovider"),
    *("-q", "-rN", "--benchmark-quiet"),  # the record's view says it all
)
FAILED_STATUS, COULD_NOT_STATUS, OBJECTIVE_STATUS = 1, BackupError.exit_status, 4


class FindingView(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a finding here."""

    check: str
    object: str
    status: str
    expected: str = ""
    actual: str = ""
    cause: str | None = None
    hint: str = ""


class RecordView(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a `record.json` here; the rest is left to those it concerns."""

    drill_id: str
    verdict: str
    summary: str
    findings: tuple[FindingView, ...]


class Drilled(msgspec.Struct, frozen=True, kw_only=True):
    """How the drill of one archive ended."""

    archive: str  # as it was asked for
    folder: Path | None  # of its evidence; None when it did not run to its end
    record: RecordView | None

    @property
    def verdict(self) -> str:
        return self.record.verdict if self.record else "could_not_verify"

    @property
    def faults(self) -> tuple[FindingView, ...]:
        return tuple(f for f in self.record.findings if f.status == "fault") if self.record else ()

    @property
    def missed_objectives_only(self) -> bool:
        return self.verdict == "failed" and bool(self.faults) and all(f.check == "objectives" for f in self.faults)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    drills: tuple[Drilled, ...]
    suite_status: int  # pytest's own

    @property
    def exit_status(self) -> int:
        """The worst of them; 0 only if every archive was verified and the suite itself ended well."""
        if any(drill.verdict == "failed" and not drill.missed_objectives_only for drill in self.drills):
            return FAILED_STATUS
        if not self.drills or any(drill.verdict == "could_not_verify" for drill in self.drills):
            return COULD_NOT_STATUS
        if any(drill.missed_objectives_only for drill in self.drills):
            return OBJECTIVE_STATUS
        return FAILED_STATUS if self.suite_status else 0


def run_suite(arguments: Sequence[str], *, output: int | None = None) -> Outcome:
    """Run the suite with these options of its own.

    :param output: file descriptor that its output goes to; default this process's own outputs.
    :raises ProgramError: when it ended without telling the verdicts.
    :raises KeyboardInterrupt: when it was interrupted, and has cleared up.
    """
    with private_run_folder() as folder:
        told = folder / "verdicts.json"
        status = passthrough([*_PYTEST, *arguments], env={VERDICTS_VARIABLE: str(told)}, output=output)
        if status == _INTERRUPTED:
            raise KeyboardInterrupt
        if not told.is_file():
            raise ProgramError(
                f"the suite ended with status {status} before it gave a verdict",
                hint="what it printed says why",
            )
        outcome = json.loads(told.read_text(encoding="utf-8"))
    drills = outcome["drills"]
    names = dict.fromkeys([*outcome["expected"], *drills])
    return Outcome(drills=tuple(_drilled(name, drills.get(name)) for name in names), suite_status=status)


def _drilled(name: str, told: dict[str, str] | None) -> Drilled:
    if told is None:
        return Drilled(archive=name, folder=None, record=None)
    folder = Path(told["folder"])
    return Drilled(archive=name, folder=folder, record=read_record(folder / "record.json"))


def read_record(path: Path) -> RecordView:
    """The record of a drill.

    :raises StoreError: when it cannot be read, or is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=RecordView)
    except (OSError, msgspec.MsgspecError) as exc:
        raise StoreError(
            f"the record {path} cannot be read: {exc}",
            hint="see that there is room on its disk, and run again",
        ) from exc
