"""`pgdrill restore --emergency`, `--resume` and `--rollback`: plan, confirmation, steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import typer

from backup_lib.cli.restore_plan import put_plan
from backup_lib.cli.talk import Progress, put, put_json, render_size, say
from backup_lib.errors import BackupError, UsageError
from backup_lib.quantity import number_of

if TYPE_CHECKING:
    from backup_lib.emergency.readiness import Readiness
    from backup_lib.emergency.run import Commands, Emergency
    from backup_lib.emergency.state import State
    from backup_lib.restore.prepare import Prepared, Request

Mode = Literal["begin", "resume", "rollback"]
_STDERR = 2  # its file descriptor
MODES: tuple[Mode, ...] = get_args(Mode)


def run_emergency(
    mode: Mode,
    locate: Callable[[str | None], AbstractContextManager[tuple[str, Path]]],
    build_request: Callable[[Path], Request],
    commands: Commands,
    *,
    dsn: str,
    live: str,
    state_file: Path | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Carry the procedure out, or go on with it, or go back.

    :param locate: what finds an archive again, and its path here; of None the one that was asked for.
    """
    from backup_lib.emergency.run import Emergency
    from backup_lib.emergency.state import only_one, read_state, require_under_way
    from backup_lib.restore.target import TargetServer

    path = state_file or _default_state(live)
    if dry_run and mode != "begin":
        raise UsageError(
            f"--{mode} cannot be tried with --dry-run: nothing was done",
            hint=f"what was done, and what is live, is in {path} and in psql --list",
        )
    tell = say if as_json else _tell
    with nullcontext() if dry_run else only_one(path), ExitStack() as cleanup:
        previous = read_state(path)
        prepared, request = None, None
        if mode == "begin":
            name, archive = cleanup.enter_context(locate(None))
            request = build_request(archive)
            state, prepared = _begin(request, name, live, previous, path, commands, yes=yes, dry_run=dry_run, tell=tell)
        else:
            state = require_under_way(previous, path, finished=mode == "rollback")
            _confirm(f"{'go on with' if mode == 'resume' else 'roll back'} the emergency restore of {live}", yes=yes)
        if mode == "resume":
            request = build_request(cleanup.enter_context(locate(state.archive))[1])
        progress = Progress("read and written")
        output = _STDERR if as_json else None  # what commands print is no data
        work = Emergency(state, path, TargetServer(dsn), commands, tell, progress=progress, output=output)
        try:
            if request is None:
                work.roll_back()
            else:
                work.run(request, prepared)
        finally:
            progress.done()
            if as_json:
                put_json(describe(work.state, path))
    _put_end(work, mode, tell)


def _tell(text: str) -> None:
    """A log without room stops no emergency restore half-way: with the application down."""
    with suppress(BackupError):
        put(text)


def _default_state(live: str) -> Path:
    """Among the reports: the folder that outlives a container, and is the same wherever this is run."""
    from backup_lib.cli.configured import load

    return Path(load().settings.verify.reports) / f"pgdrill-emergency-{live}.json".replace("/", "_")


def _begin(
    request: Request,
    name: str,
    live: str,
    previous: State | None,
    path: Path,
    commands: Commands,
    *,
    yes: bool,
    dry_run: bool,
    tell: Callable[[str], object],
) -> tuple[State, Prepared]:
    from backup_lib.emergency.readiness import begin, check
    from backup_lib.emergency.state import require_new, write_state

    if not dry_run:
        require_new(previous, path)
    progress = Progress("read")
    try:
        readiness = check(request, live, datetime.now(UTC), progress=progress)
    finally:
        progress.done()
    _put_readiness(readiness, live, commands, tell)
    if dry_run:
        raise typer.Exit(3 if readiness.obstacles else 0)
    state = begin(readiness, name, live)
    _confirm(f"restore {live} now", yes=yes)
    write_state(path, state)
    return state, readiness.prepared


def _put_end(work: Emergency, mode: Mode, tell: Callable[[str], object]) -> None:
    tell(work.what_is_live())
    if mode != "rollback" and work.state.live_oid is not None:
        tell(f'go back: pgdrill restore --rollback; when all is well: DROP DATABASE "{work.state.old}"')


def _put_readiness(readiness: Readiness, live: str, commands: Commands, tell: Callable[[str], object]) -> None:
    from dataclasses import replace

    plan = replace(readiness.prepared.plan, notes=readiness.notes, obstacles=readiness.obstacles)
    put_plan(plan, to_stderr=tell is say)
    size = render_size(readiness.live_bytes)
    sessions = number_of(readiness.sessions, "session")
    tell(f"  then        {live} ({size}, {sessions}, all of them ended) changes names with it")
    for word, command in (("stop", commands.stop), ("start", commands.start),
                          ("health", commands.health or commands.health_url)):  # fmt: skip
        tell(f"  {word:<11} {command or 'nothing is set'}")


def _confirm(what: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"to {what} without a terminal needs --yes", hint="look at it first: --dry-run")
    if not typer.confirm(f"{what}?", err=True):
        raise UsageError("nothing was done")


def describe(state: State, path: Path) -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(state)
    return facts | {"state_file": str(path)}
