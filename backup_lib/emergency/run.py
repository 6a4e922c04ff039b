"""The emergency restore, step by step: each told, timed, and able to go on where it was interrupted.

    restore beside the live database → verify → stop → swap names → start → health, else back

Until the swap the live database is not touched, and the swap is one transaction. Which of the two databases is live
is never taken from the state file but asked of the server, by oid.
"""

from __future__ import annotations

import shlex
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg

from backup_lib import source
from backup_lib.cluster import read_globals
from backup_lib.emergency.proof import prove
from backup_lib.emergency.readiness import system_identifier
from backup_lib.emergency.state import STEPS, State, Step, write_state
from backup_lib.emergency.swap import name_of, oid_of, rename
from backup_lib.errors import BackupError, HealthError, InterruptedRestoreError, RestoredOtherwiseError, RestoreError
from backup_lib.process import passthrough
from backup_lib.quantity import number_of, quantity
from backup_lib.restore import database as new_database
from backup_lib.restore.outline import Progress
from backup_lib.restore.plan import some
from backup_lib.restore.prepare import Prepared, Request, prepare
from backup_lib.restore.run import carry_out
from backup_lib.restore.target import Connection, TargetServer

_HEALTH_PAUSE_S = 1.0
_ANSWER_S = 10
_SHOWN_FAULTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """What is run around the swap; each a command line, without a shell."""

    stop: str | None = None
    start: str | None = None
    health: str | None = None  # exits 0 when the application is well
    health_url: str | None = None  # answers 200 to 399 when it is
    health_s: float = 60  # how long it may take until it is


Tell = Callable[[str], object]


class Emergency:
    """One emergency restore; its state is written before and after each step.

    :param tell: is given each line for the person.
    """

    def __init__(
        self,
        state: State,
        path: Path,
        server: TargetServer,
        commands: Commands,
        tell: Tell,
        *,
        progress: Progress | None = None,
        output: int | None = None,
    ) -> None:
        self.state = state
        self._path = path
        self._server = server
        self._commands = commands
        self._tell = tell
        self._progress = progress
        self._output = output  # file descriptor that the commands' outputs go to

    def run(self, request: Request, prepared: Prepared | None = None) -> None:
        """Go through the steps that are not done.

        :param prepared: from the pre-checks; without it the archive is read again.
        :raises HealthError: when the application was not well, and the live database is what it was.
        :raises InterruptedRestoreError: on ^C; says what is live, and how to go on.
        """
        self._require_same_server()
        steps: dict[str, Callable[[], str]] = {
            "restore": lambda: self._restore(request, prepared),
            "verify": lambda: self._verify(request, prepared),
            "stop": lambda: self._command(self._commands.stop),
            "swap": self._swap,
            "start": lambda: self._command(self._commands.start),
            "health": self._health,
        }
        self._require_restored()
        for place, name in enumerate(STEPS, 1):
            title = f"[{place}/{len(STEPS)}] {name}"
            if self.state.step(name).status == "done" and (name != "swap" or self._is_swapped()):
                self._tell(f"{title}: done before")
                continue
            self._tell(f"{title} …")
            self._take(name, title, steps[name])
        self._keep(msgspec.structs.replace(self.state, outcome="done"))

    def roll_back(self) -> None:
        """Give the names back, where they were swapped, and drop what was restored, where they never were.

        :raises InterruptedRestoreError: on ^C; says what is live, and how to go on.
        """
        steps = self.state.steps
        try:
            self._require_same_server()
            if self._is_swapped():
                # Noted first: what the application has written since is in it, so it is kept whatever happens next.
                noted = self.state.with_step(Step(name="swap", status="done", note="the names were swapped"))
                for name in ("stop", "start", "health"):  # if somebody wants it after all: --resume
                    noted = noted.with_step(Step(name=name))
                self._keep(msgspec.structs.replace(noted, outcome="under_way"))
                self._try_command(self._commands.stop)
                self._swap_back()
                self._try_command(self._commands.start)
            elif self.state.step("swap").status == "done":  # an interrupted roll-back gave the names back
                self._try_command(self._commands.start)
                self._tell(f"{self.what_is_live()}; what was restored is kept as {self.state.new}")
            else:
                if self.state.step("stop").status in ("running", "done"):
                    self._try_command(self._commands.start)
                self._drop_restored()
            self._keep(msgspec.structs.replace(self.state, steps=steps, outcome="rolled_back"))
        except KeyboardInterrupt as exc:
            raise InterruptedRestoreError(
                f"interrupted while it was rolled back; {self.what_is_live()}", hint="go on with --rollback"
            ) from exc

    def _drop_restored(self) -> None:
        """The application never had it. Until the restore is done, its name is all that is known of it."""
        state = self.state
        with self._server.maintenance(avoid=[state.live]) as conn:
            name = name_of(conn, state.new_oid) if state.new_oid is not None else state.new
            if name is not None and oid_of(conn, name) is not None:
                new_database.drop_database(conn, name)
                self._tell(f"{name} was dropped; {state.live} was not touched")

    def what_is_live(self) -> str:
        """A sentence on what the application finds, asked of the server."""
        state = self.state
        try:
            if self._is_swapped():
                kept = f", and the old one is kept as {state.old}" if state.live_oid is not None else ""
                return f"{state.live} is the restored database{kept}"
        except (BackupError, psycopg.Error):
            return f"the server does not say which database is {state.live} now"
        return f"{state.live} is the database it was"

    # Steps

    def _take(self, name: str, title: str, work: Callable[[], str]) -> None:
        begun, began_at = time.monotonic(), datetime.now(UTC)

        def took(status: str, note: str) -> Step:
            seconds = round(time.monotonic() - begun, 3)
            return msgspec.convert(
                {"name": name, "status": status, "began_at": began_at, "seconds": seconds, "note": note}, Step
            )

        self._keep(self.state.with_step(Step(name=name, status="running", began_at=began_at)))
        try:
            note = work()
        except (KeyboardInterrupt, InterruptedRestoreError) as exc:
            raise InterruptedRestoreError(
                f"interrupted in {name}; {self.what_is_live()}", hint="go on with --resume, or go back with --rollback"
            ) from exc
        except (BackupError, psycopg.Error) as exc:
            message = exc.message if isinstance(exc, BackupError) else "the server went away"
            self._keep(self.state.with_step(took("failed", message)))
            self._tell(f"{title}: FAILED: {message}")
            self._after_failure(name, exc)
            raise
        self._keep(self.state.with_step(took("done", note)))
        self._tell(f"{title}: {note} ({self.state.step(name).seconds:.1f} s)")

    def _after_failure(self, name: str, exc: Exception) -> None:
        """Whatever failed, the application is started again, with the database that is known to have worked."""
        if name in ("start", "health"):
            self._tell("going back …")
            self.roll_back()
            message = exc.message if isinstance(exc, BackupError) else str(exc)
            raise HealthError(
                f"rolled back after {name} failed: {message}; {self.what_is_live()}",
                hint=f'see the application\'s log; what was restored is kept until DROP DATABASE "{self.state.new}"',
            ) from exc
        if name in ("stop", "swap"):
            self._try_command(self._commands.start)

    def _restore(self, request: Request, prepared: Prepared | None) -> str:
        state = self.state
        with self._server.maintenance(avoid=[state.live]) as conn:
            if oid_of(conn, state.new) is not None:  # what an interrupted restore left
                new_database.drop_database(conn, state.new)
        prepared = prepared or self._read_again(request, create=True)
        restored = carry_out(prepared, progress=self._progress)
        with self._server.maintenance(avoid=[state.live]) as conn:
            self._keep(msgspec.structs.replace(self.state, new_oid=oid_of(conn, state.new)))
            self._take_over(conn, prepared)
        for warning in restored.warnings:
            self._tell(f"  warning: {warning}")
        tables = number_of(restored.tables_counted, "table")
        return f"{quantity(restored.rows_counted, 'row')} in {tables}, counted, in {state.new}"

    def _read_again(self, request: Request, *, create: bool) -> Prepared:
        prepared = prepare(replace(request, database=self.state.new, create=create), progress=self._progress)
        if prepared.outline.sha256 != self.state.sha256:
            raise RestoreError(
                f"{request.archive} is not the archive this emergency restore was begun with",
                hint="put that one back, or begin anew: --rollback, then --emergency",
            )
        return prepared

    def _take_over(self, conn: Connection, prepared: Prepared) -> None:
        """Owner, privileges and settings of the live database, where the archive does not know them."""
        if prepared.manifest is not None or prepared.outline.makes_database or self.state.live_oid is None:
            return
        with closing(self._server.connect(self.state.live)) as live:
            source.pin(live)
            statements = read_globals(live).statements
        for statement in new_database.database_statements(statements, self.state.new, prepared.facts.roles):
            conn.execute(statement.encode())

    def _verify(self, request: Request, prepared: Prepared | None) -> str:
        if prepared is None:
            prepared = self._read_again(request, create=False)
        proof = prove(
            request.archive,
            prepared.outline.inventory,
            prepared.manifest,
            self._server,
            self.state.new,
            keys=request.keys,
            progress=self._progress,
        )
        if proof.faults:
            more = f"; and {len(proof.faults) - _SHOWN_FAULTS} more" if len(proof.faults) > _SHOWN_FAULTS else ""
            raise RestoredOtherwiseError(
                f"{self.state.new} is not what the archive holds: {'; '.join(proof.faults[:_SHOWN_FAULTS])}{more}",
                hint=f"{self.state.live} was not touched; --rollback drops {self.state.new}; try another archive",
            )
        if proof.uncompared:
            self._tell(f"  warning: counted, but not compared, for want of a manifest: {some(proof.uncompared)}")
        rephrased = f", {proof.rephrased} in other words" if proof.rephrased else ""
        return (
            f"{quantity(proof.rows, 'row')} in {number_of(proof.tables, 'table')}, "
            f"{number_of(proof.definitions, 'definition')}{rephrased}"
            + (f", {number_of(proof.objects, 'object')} of the source's catalog" if proof.objects else "")
            + " are the archive's"
        )

    def _swap(self) -> str:
        state = self.state
        if self._is_swapped():
            return "the names were swapped before"
        renames = [(state.live, state.old)] if state.live_oid is not None else []
        seconds = rename(self._server, [*renames, (state.new, state.live)])
        kept = f"; the old one is kept as {state.old}" if state.live_oid is not None else ""
        return f"{state.new} is now {state.live}{kept}; nobody could connect for {seconds:.2f} s"

    def _swap_back(self) -> None:
        state = self.state
        back = [(state.old, state.live)] if state.live_oid is not None else []
        rename(self._server, [(state.live, state.new), *back])
        self._tell(f"{self.what_is_live()}; what was restored is kept as {state.new}")

    def _is_swapped(self) -> bool:
        with self._server.maintenance(avoid=[self.state.live]) as conn:
            return self.state.new_oid is not None and name_of(conn, self.state.new_oid) == self.state.live

    def _command(self, command: str | None) -> str:
        if not command:
            return "no command is set for it"
        status = passthrough(shlex.split(command), output=self._output)
        if status:
            raise RestoreError(f"{command} exited {status}", hint="run it by hand to see why; then --resume")
        return command

    def _try_command(self, command: str | None) -> None:
        """On the way back nothing may keep the live database from getting its name."""
        try:
            self._command(command)
        except BackupError as exc:
            self._tell(f"  warning: {exc.message}")

    def _health(self) -> str:
        """Ask until the application is well, or its time is over."""
        commands = self._commands
        if not (commands.health or commands.health_url):
            return "no command or address is set to ask it by: see for yourself; --rollback goes back"
        until = time.monotonic() + commands.health_s
        while True:
            fault = self._is_ill()
            if fault is None:
                return f"{commands.health or commands.health_url} says it is well"
            if time.monotonic() >= until:
                raise HealthError(f"{fault}, for {commands.health_s:g} s", hint="see the application's log")
            time.sleep(_HEALTH_PAUSE_S)

    def _is_ill(self) -> str | None:
        if self._commands.health:
            status = passthrough(shlex.split(self._commands.health), output=self._output)
            if status:
                return f"{self._commands.health} exited {status}"
        url = self._commands.health_url
        if url:
            try:
                with urllib.request.urlopen(url, timeout=_ANSWER_S):  # noqa: S310 - http(s) only, see the command
                    return None
            except (urllib.error.URLError, OSError) as exc:
                return f"{url} does not answer well: {exc}"
        return None

    def _require_same_server(self) -> None:
        with self._server.maintenance(avoid=[self.state.live]) as conn:
            if system_identifier(conn) != self.state.system_identifier:
                raise RestoreError(
                    f"{self._path} is of another server", hint="name the one it was begun on: --dsn or DATABASE_URL"
                )

    def _require_restored(self) -> None:
        """What an interrupted roll-back has dropped cannot be gone on with."""
        state = self.state
        with self._server.maintenance(avoid=[state.live]) as conn:
            if state.new_oid is not None and name_of(conn, state.new_oid) is None:
                raise RestoreError(
                    f"what was restored is no longer there; {state.live} is the database it was",
                    hint="end it: --rollback; then begin another one: --emergency",
                )

    def _keep(self, state: State) -> None:
        self.state = state
        write_state(self._path, state)
