"""Runs what is due, one thing at a time, and remembers how it ended: what was missed is said, and made up for once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from backup_lib.cron import Cron
from backup_lib.errors import BackupError, StoreError
from backup_lib.settings import ScheduleSettings
from backup_lib.store import LocalStore, refused

ONE_RUN, ONE_LOOP = "schedule-", "scheduler-"  # locks
_GRACE_S = 60.0  # later than this is said
_TOLD_LATE = timedelta(hours=1)  # later than this, people are told
_LOOK_S = 15.0  # how often the clock is read: it may be set, and a machine may sleep
_COUNTED = 1000  # missed times are counted so far
_STOPPED = 130

Command = tuple[str, ...]  # of pgdrill, without its name
Runner = Callable[[Command], int]
"""Run one command to its end and give its exit status.

:raises KeyboardInterrupt: when it was stopped.
"""


class Listener(Protocol):
    """Told of tasks, by whoever tells people."""

    def begin(self, task: str, late: str | None) -> None:
        """:param late: which times went by without a run, if any did."""

    def end(self, status: int, why: str | None = None) -> None:
        """:param status: of the task that was begun last.

        :param why: what the schedule itself could not do, if that is what went wrong.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What runs at its times: commands one after another, as long as they end well."""

    name: str
    cron: Cron
    commands: tuple[Command, ...]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How a task went the last time. `status` None: never run; the loop waits for it since `due_at`."""

    due_at: datetime  # UTC
    ended_at: datetime | None = None
    status: int | None = None  # exit status of the command that ended it, 0 when all went well


State = Mapping[str, Run]


def crons_of(settings: ScheduleSettings) -> dict[str, Cron]:
    """When what runs, by the configuration: `backup`, and what else is not never."""
    zone = ZoneInfo(settings.tz)
    times = {
        "backup": settings.backup,
        "config": settings.config,
        "rotate": settings.rotate,
        "drill": settings.drill,
        "status": settings.status,
    }
    return {name: Cron(expression=time, zone=zone) for name, time in times.items() if time}


def due_at(task: Task, last: Run | None, now: datetime) -> datetime:
    """When the task runs next: in the past, when it is due.

    A last time far in the future was noted by a clock that ran wild: it counts for nothing.
    """
    if last is None or _is_wild(last, now):
        return task.cron.after(now)
    return task.cron.after(last.due_at)


def _is_wild(last: Run, now: datetime) -> bool:
    return last.due_at > now + timedelta(days=1)


def describe_lateness(task: Task, due: datetime, now: datetime) -> str | None:
    """What to say of a run that begins later than a minute after its time; None when it is in time."""
    if now - due < timedelta(seconds=_GRACE_S):
        return None
    missed = sum(1 for _ in islice(task.cron.between(due, now), _COUNTED)) + 1
    times = f"{missed} times since" if missed > 1 else "at"
    return f"{task.name} did not run {times} {due:%Y-%m-%d %H:%M} UTC: it is run now, once"


def check_health(tasks: Sequence[Task], state: State, now: datetime, *, grace_s: float) -> list[str]:
    """What is wrong: a last run that failed, a time that passed `grace_s` ago without a run that ended. Else empty.

    And a last run in the future, since no time would pass without one until then.
    """
    return [wrong for task in tasks if (wrong := _what_is_wrong(task, state.get(task.name), now, grace_s))]


def _what_is_wrong(task: Task, last: Run | None, now: datetime, grace_s: float) -> str | None:
    if last is None:
        return f"{task.name} was never scheduled here"
    if last.status:
        return f"{task.name} failed with exit status {last.status} at {last.ended_at:%Y-%m-%d %H:%M} UTC"
    if _is_wild(last, now):
        return f"{task.name} is noted as run at {last.due_at:%Y-%m-%d %H:%M} UTC, which is in the future"
    due = due_at(task, last, now)
    if now - due > timedelta(seconds=grace_s):
        return f"{task.name} should have run at {due:%Y-%m-%d %H:%M} UTC"
    return None


def read_state(path: Path) -> dict[str, Run]:
    """:raises StoreError: when there is something that is no such state."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Run])
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise refused(path, exc) from exc
    except msgspec.DecodeError as exc:
        raise StoreError(
            f"{path} does not tell how the last runs ended", hint="delete it; runs go on from now"
        ) from exc


class _Memory:
    """How the last runs ended: in a file, and here what the file did not take, so that nothing is run twice for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unsaved: dict[str, Run] = {}

    def read(self) -> State:
        return {**read_state(self._path), **self._unsaved}

    def note(self, runs: State) -> None:
        """:raises StoreError: when the file does not take it."""
        self._unsaved |= runs
        LocalStore(self._path.parent).replace(self._path.name, msgspec.json.format(msgspec.json.encode(self.read())))
        self._unsaved.clear()


def run_task(
    task: Task,
    due: datetime,
    path: Path,
    run: Runner,
    say: Callable[[str], object],
    *,
    noted: Callable[[], object] = lambda: None,
    listener: Listener | None = None,
    late: str | None = None,
) -> int:
    """Run a task now, and note how it ended; never beside another one.

    :param noted: called when that is done, however it ended.
    :param late: what to tell of times that were missed.
    :return: the exit status of the first command that failed, else 0.
    :raises LockedError: when another task runs; noted as a failure.
    :raises StoreError: when it cannot be noted how it ended; people are told that too.
    :raises KeyboardInterrupt: when it was stopped; noted too.
    """
    return _run_task(task, due, path, _Memory(path), run, say, noted, listener, late)


def _run_task(
    task: Task,
    due: datetime,
    path: Path,
    memory: _Memory,
    run: Runner,
    say: Callable[[str], object],
    noted: Callable[[], object],
    listener: Listener | None,
    late: str | None,
) -> int:
    begun, status, why = time.monotonic(), BackupError.exit_status, None
    if listener:
        listener.begin(task.name, late)
    try:
        former = memory.read().get(task.name)
        try:
            with LocalStore(path.parent).lock(ONE_RUN):
                status = next((failed for command in task.commands if (failed := run(command))), 0)
        except BackupError as exc:
            status = exc.exit_status
            raise
        except KeyboardInterrupt:
            status = _STOPPED
            raise
        finally:
            # What was stopped is still to be done: the next loop finds it missed.
            done = former.due_at if former and status == _STOPPED else due
            with suppress(StoreError) if status == _STOPPED else nullcontext():
                memory.note({task.name: Run(due_at=done, ended_at=datetime.now(UTC), status=status)})
    except (BackupError, OSError) as exc:
        status, why = status or BackupError.exit_status, str(exc)
        raise
    finally:
        outcome = "ok" if status == 0 else f"FAILED, exit status {status}"
        say(f"{task.name}: {outcome}, {time.monotonic() - begun:.1f} s")
        noted()
        if listener:
            listener.end(status, why)
    return status


def run_loop(
    tasks: Sequence[Task],
    path: Path,
    run: Runner,
    say: Callable[[str], object],
    *,
    noted: Callable[[], object] = lambda: None,
    listener: Listener | None = None,
) -> int:
    """Run tasks at their times until SIGTERM or SIGINT; a failure does not end it.

    :return: the first exit status other than 0 that a task's last run has, else 0.
    :raises LockedError: when another loop runs on the same state.
    """
    with LocalStore(path.parent).lock(ONE_LOOP), _stop_signal() as stop:
        now, memory = datetime.now(UTC), _Memory(path)
        known = memory.read()
        if new := {task.name: Run(due_at=now) for task in tasks if task.name not in known}:
            memory.note(new)
        for task in tasks:
            say(f"{task.name}: next at {max(now, due_at(task, known.get(task.name), now)):%Y-%m-%d %H:%M} UTC")
        while not stop.is_set():
            _forget_wild(tasks, memory, say)
            _run_due(tasks, path, memory, run, say, stop, noted, listener)
            stop.wait(_seconds_to_next(tasks, memory.read()))
        last = memory.read()
    say("stopped")
    return next((status for task in tasks if (status := _failure(last.get(task.name)))), 0)


def _failure(last: Run | None) -> int:
    return (last.status or 0) if last and last.status != _STOPPED else 0


def _forget_wild(tasks: Sequence[Task], memory: _Memory, say: Callable[[str], object]) -> None:
    """Wait for the next time from now on: by a last one in the future, the next would always be still to come."""
    now, known = datetime.now(UTC), memory.read()
    wild = {task.name: last for task in tasks if (last := known.get(task.name)) and _is_wild(last, now)}
    for name, last in wild.items():
        say(f"warning: {name} is noted as run at {last.due_at:%Y-%m-%d %H:%M} UTC, in the future: it counts from now")
    if wild:
        memory.note({name: msgspec.structs.replace(last, due_at=now) for name, last in wild.items()})


def _run_due(
    tasks: Sequence[Task],
    path: Path,
    memory: _Memory,
    run: Runner,
    say: Callable[[str], object],
    stop: threading.Event,
    noted: Callable[[], object],
    listener: Listener | None,
) -> None:
    for task in tasks:
        now = datetime.now(UTC)
        due = due_at(task, memory.read().get(task.name), now)
        if stop.is_set() or due > now:
            continue
        if late := describe_lateness(task, due, now):
            say(f"warning: {late}")
        try:
            told = late if now - due > _TOLD_LATE else None
            _run_task(task, now, path, memory, run, say, noted, listener, told)
        except (BackupError, OSError) as exc:
            say(f"error: {exc}")
        except KeyboardInterrupt:
            stop.set()
        else:
            say(f"{task.name}: next at {task.cron.after(now):%Y-%m-%d %H:%M} UTC")


def _seconds_to_next(tasks: Sequence[Task], state: State) -> float:
    now = datetime.now(UTC)
    waits = [(due_at(task, state.get(task.name), now) - now).total_seconds() for task in tasks]
    return min(_LOOK_S, max(0.0, min(waits)))


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """Set by SIGTERM or SIGINT; while a command runs, it is told, and tells by KeyboardInterrupt."""
    stop = threading.Event()
    former = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
