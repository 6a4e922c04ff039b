"""`pgdrill restore --emergency`, `--resume` and `--rollback`: plan, confirmation, steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import typer

from backup_lib.cli.restore_plan import put_plan
from backup_lib.cli.talk import Progress, put, put_json, render_size, say
from backup_lib.errors import UsageError

if TYPE_CHECKING:
    from backup_lib.emergency.readiness import Readiness
    from backup_lib.emergency.run import Commands, Emergency
    from backup_lib.emergency.state import State
    from backup_lib.restore.prepare import Request

Mode = Literal["begin", "resume", "rollback"]
_STDERR = 2  # its file descriptor
MODES: tuple[Mode, ...] = get_args(Mode)


def run_emergency(
    mode: Mode,
    build_request: Callable[[str | None], Request],
    commands: Commands,
    *,
    live: str,
    state_file: Path | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Carry the procedure out, or go on with it, or go back.

    :param build_request: makes the restore's request of an archive's path, or of None: the one asked for.
    """
    from backup_lib.emergency.readiness import begin, check
    from backup_lib.emergency.run import Emergency
    from backup_lib.emergency.state import only_one, read_state, require_under_way, write_state
    from backup_lib.restore.target import TargetServer

    path = state_file or Path(f"pgdrill-emergency-{live}.json".replace("/", "_"))
    tell = say if as_json else put
    with only_one(path):
        previous = read_state(path)
        prepared = None
        if mode == "begin":
            request = build_request(None)
            readiness = check(request, live, datetime.now(UTC), progress=Progress("read"))
            _put_readiness(readiness, live, commands, to_stderr=as_json)
            if dry_run:
                raise typer.Exit(3 if readiness.obstacles else 0)
            state = begin(readiness, live, previous, path)
            _confirm(f"restore {live} now", yes=yes)
            write_state(path, state)
            prepared = readiness.prepared
        else:
            state = require_under_way(previous, path, finished=mode == "rollback")
            request = build_request(state.archive)
            _confirm(f"{'go on with' if mode == 'resume' else 'roll back'} the emergency restore of {live}", yes=yes)
        progress = Progress("read and written")
        output = _STDERR if as_json else None  # what commands print is no data
        work = Emergency(state, path, TargetServer(request.dsn), commands, tell, progress=progress, output=output)
        try:
            if mode == "rollback":
                work.roll_back()
            else:
                work.run(request, prepared)
        finally:
            progress.done()
            if as_json:
                put_json(describe(work.state, path))
    _put_end(work, mode, tell)


def _put_end(work: Emergency, mode: Mode, tell: Callable[[str], object]) -> None:
    tell(work.what_is_live())
    if mode != "rollback" and work.state.live_oid is not None:
        tell(f'go back: pgdrill restore --rollback; when all is well: DROP DATABASE "{work.state.old}"')


def _put_readiness(readiness: Readiness, live: str, commands: Commands, *, to_stderr: bool) -> None:
    from dataclasses import replace

    plan = replace(readiness.prepared.plan, notes=readiness.notes, obstacles=readiness.obstacles)
    put_plan(plan, to_stderr=to_stderr)
    tell = say if to_stderr else put
    size = render_size(readiness.live_bytes)
    tell(f"  then        {live} ({size}, {readiness.sessions} sessions, which are ended) changes names with it")
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
