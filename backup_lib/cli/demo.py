"""`pgdrill demo`: a good archive is verified, two damaged ones are caught; and `pgdrill sample-backup`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backup_lib.cli.options import DEFAULT_BACKUPS, AsJson
from backup_lib.cli.talk import put, put_json, say
from backup_lib.errors import ServerError, UsageError

if TYPE_CHECKING:
    from backup_lib.backup import BackupResult
    from backup_lib.cli.suite import Drilled, Outcome
    from backup_lib.server_programs import Programs

_FAULTS_SHOWN = 3
Tell = Callable[[str], None]


def sample_backup(
    *,
    to: Annotated[
        Path, typer.Option("--to", metavar="FOLDER", envvar="BACKUP_DIR", help="Where the archive goes.")
    ] = DEFAULT_BACKUPS,
    as_json: AsJson = False,
) -> None:
    """Back up a sample database, to try things on.

    It is made for that in a throwaway server.
    """
    from backup_lib.cli.backup import put_result

    put_result(back_up_sample(to), as_json=as_json)


def demo(
    *,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", file_okay=False, help="Where it happens, and is kept; default a temporary one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """See it work: a good archive, and two damaged ones.

    Takes a minute and touches nothing but its own folder. Exits 0 only if the good archive is verified, and both
    damaged copies of it are caught.
    """
    from backup_lib.cli.backup import put_result

    tell = say if as_json else put
    folder = folder or Path(tempfile.mkdtemp(prefix="pgdrill-demo-"))
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a new folder, or leave --folder out")
    tell(f"everything happens in {folder}\n\n1. a sample database is made and backed up")
    result = back_up_sample(folder / "backups")
    if not as_json:
        put_result(result)
    tell("\n2. two copies of the archive are damaged")
    flipped, shortened = damage_copies(result, folder, tell)
    tell("\n3. all three are restored and compared")
    good = result.store.location + "/" + result.name
    outcome = _drill([good, str(flipped), str(shortened)], folder)
    verdicts = [_report(title, drill, tell) for title, drill in zip(_TITLES, outcome.drills, strict=True)]
    if as_json:
        drills = zip(_TITLES, outcome.drills, strict=True)
        put_json({"folder": folder, "drills": [_describe(title, drill) for title, drill in drills]})
    if verdicts != ["verified", "failed", "failed"]:
        say(f"error: expected verified, failed, failed\nhint: {folder / _LOG} holds what the suite printed")
        raise typer.Exit(1)
    tell(f"\nthe good archive is proved, both damaged ones are caught: all of it is in {folder}")


_TITLES = ("the archive", "one byte flipped", "one row left out")
_LOG = "suite.log"


def back_up_sample(to: Path) -> BackupResult:
    """Fill a throwaway server with the sample database, and back it up."""
    from backup_lib import sample
    from backup_lib.backup import make_backup
    from backup_lib.servers import start_server

    with start_server(_newest_server()) as server:
        sample.create(server.conninfo())
        return make_backup(server.conninfo(sample.DATABASE), to)


def _newest_server() -> Programs:
    from backup_lib.server_programs import NEWEST_MAJOR, find_programs

    servers = [programs for programs in find_programs() if programs.has_server and programs.major <= NEWEST_MAJOR]
    if not servers:
        raise ServerError(
            "this machine has no PostgreSQL server programs",
            hint=f"run: pgdrill install-server {NEWEST_MAJOR}",
        )
    return next(programs for programs in servers if programs.major == servers[-1].major)


def damage_copies(result: BackupResult, folder: Path, tell: Tell = put) -> tuple[Path, Path]:
    """One copy with a flipped byte; one that lacks a row, and whose manifest has the digest of those bytes.

    The second is what a backup is that went wrong while it was made: its file is flawless.
    """
    from backup_lib.cli.damage import flip_byte, leave_out_row

    if result.path is None or result.manifest.inventory is None:
        raise ValueError("the sample's archive is plain, and on this machine")
    flipped = flip_byte(result.path, folder / "damaged/one-byte-flipped")
    tell(f"{flipped}: one byte in its middle is flipped")
    largest = max(result.manifest.inventory.tables, key=lambda table: table.rows)
    shortened = leave_out_row(result.path, folder / "damaged/one-row-left-out", largest)
    tell(f"{shortened}: one of the {largest.rows:,} rows of {largest.label} is left out")
    return flipped, shortened


def _drill(archives: list[str], folder: Path) -> Outcome:
    from backup_lib.cli.suite import run_suite

    arguments = [f"--archive={path}" for path in archives]
    own = folder / "pgdrill.toml"  # whatever is configured here is about other databases
    own.touch()
    arguments += [f"--pgdrill-config={own}", "--level=full", "--sandbox=embedded", f"--reports={folder / 'reports'}"]
    with (folder / _LOG).open("wb") as log:
        return run_suite(arguments, output=log.fileno())


def _describe(title: str, drill: Drilled) -> dict[str, Any]:
    faults = [
        {"check": fault.check, "object": fault.object, "expected": fault.expected, "actual": fault.actual}
        for fault in drill.faults
    ]
    return {
        "title": title,
        "archive": drill.archive,
        "verdict": drill.verdict,
        "faults": faults,
        "folder": drill.folder,
    }


def _report(title: str, drill: Drilled, tell: Tell) -> str:
    """Print how one drill ended; return its verdict."""
    tell(f"\n{title}: {drill.verdict.replace('_', ' ').upper()}")
    if drill.record and not drill.faults:
        tell(f"  {drill.record.summary}")
    for fault in drill.faults[:_FAULTS_SHOWN]:
        tell(f"  {fault.object}: expected {fault.expected}, found {fault.actual}")
    if len(drill.faults) > _FAULTS_SHOWN:
        tell(f"  and {len(drill.faults) - _FAULTS_SHOWN} more faults")
    if drill.folder:
        tell(f"  report: {drill.folder / 'report.html'}")
    return drill.verdict
