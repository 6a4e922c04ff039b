"""How far an emergency restore has come: one small file, written before and after each step, so that it can go on."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from backup_lib.errors import LockedError, StoreError, UsageError
from backup_lib.half_written import written
from backup_lib.store import refused

SCHEMA_VERSION = 1
STEPS = ("restore", "verify", "stop", "swap", "start", "health")

Status = Literal["pending", "running", "done", "failed"]
Outcome = Literal["under_way", "done", "rolled_back"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step. A step that is `running` in the file of no running process was interrupted."""

    name: str
    status: Status = "pending"
    began_at: datetime | None = None  # UTC
    seconds: float | None = None
    note: str = ""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Never holds a connection string: it may hold a password."""

    archive: str  # path, or its name where it lies in a bucket
    sha256: str  # of the archive as stored
    system_identifier: str  # of the server
    live: str  # the database that the application uses
    new: str  # the one that is restored into
    old: str  # what the live one is called after the swap
    live_oid: int | None  # None: there was no live database
    new_oid: int | None = None
    outcome: Outcome = "under_way"
    steps: tuple[Step, ...] = tuple(Step(name=name) for name in STEPS)
    schema_version: int = SCHEMA_VERSION

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    def with_step(self, step: Step) -> State:
        steps = tuple(step if other.name == step.name else other for other in self.steps)
        return msgspec.structs.replace(self, steps=steps)


def read_state(path: Path) -> State | None:
    """What the file says; None when there is none.

    :raises StoreError: when it cannot be read as one.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise refused(path, exc) from exc
    except msgspec.MsgspecError as exc:
        raise StoreError(
            f"the state of the emergency restore cannot be read: {path}: {exc}",
            hint="see by hand which of the two databases is live: psql --list; then remove the file",
        ) from exc


def write_state(path: Path, state: State) -> None:
    """Under a hidden name, synced, renamed: there is always a whole one.

    :raises StoreError: when it cannot be written.
    """
    try:
        with written(path, wait=True) as (partial, file):
            file.write(msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
    except OSError as exc:
        raise StoreError(
            f"how far the emergency restore has come cannot be noted: {path}: {exc.strerror}",
            hint="free some space there; then begin, or where it had begun go on: --resume, or back: --rollback",
        ) from exc


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """One process at a time works on a state file.

    :raises LockedError: when another one does.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = lock.open("ab")
    except OSError as exc:
        raise StoreError(f"{lock} cannot be written: {exc.strerror}", hint="name another file: --state") from exc
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"another process works on {path}", hint="wait for it, or end it with ^C") from None
        yield


def require_new(state: State | None, path: Path) -> None:
    """:raises UsageError: when an emergency restore is half done."""
    if state is not None and state.outcome == "under_way":
        raise UsageError(
            f"an emergency restore of {state.live} is under way: {path}",
            hint="go on with it: --resume; or go back: --rollback",
        )


def require_under_way(state: State | None, path: Path, *, finished: bool) -> State:
    """:param finished: whether one that has come to its end will do, too.
    :raises UsageError: when there is nothing to go on with.
    """
    if state is None:
        raise UsageError(f"no emergency restore is under way: there is no {path}", hint="begin one: --emergency")
    if state.outcome == "rolled_back" or (state.outcome == "done" and not finished):
        how = "was rolled back" if state.outcome == "rolled_back" else "has come to its end"
        raise UsageError(f"the emergency restore in {path} {how}", hint="begin another one: --emergency")
    return state
