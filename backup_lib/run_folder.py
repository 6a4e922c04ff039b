"""Folders of this program: one per running server, gone with it or cleared by the next run; and kept ones."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from backup_lib.errors import ServerError
from backup_lib.process import owner_id, owner_is_alive, owner_is_in_sight

PREFIX = "pgdrill-run-"
_MARK = "owner"
_NEW = "new-"  # what a folder that has no mark yet is called, before its owner
_REMOVAL_S = 10
_WEEK_S = 7 * 24 * 3600.0


@contextmanager
def run_folder(parent: Path, *, lease_s: float) -> Iterator[Path]:
    """A folder which goes away on leaving, or else when the next one is made and this process is no more.

    Others may pass through it but not list it, so that a server of another account finds its part of it.
    """
    reap([parent])
    # Its first name tells whose it is, so that it is never without a mark, whenever its maker is killed.
    new = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{_NEW}{owner_id()}-", dir=parent))
    folder = parent / f"{PREFIX}{new.name.rpartition('-')[2]}"
    try:
        (new / _MARK).write_text(f"{owner_id()} {time.time() + lease_s:.0f}\n")
        new.chmod(0o711)
        new.rename(folder)
        yield folder
    finally:
        remove(new)
        remove(folder)


@contextmanager
def private_run_folder() -> Iterator[Path]:
    """One in the usual place, for files that this process and its children hand one another."""
    with run_folder(Path(tempfile.gettempdir()), lease_s=_WEEK_S) as folder:
        folder.chmod(0o700)
        yield folder


def reap(parents: list[Path]) -> list[Path]:
    """Remove this account's run folders whose owner is dead, or out of sight and its lease over; those removed."""
    left_behind = [
        folder
        for parent in parents
        for folder in parent.glob(f"{PREFIX}*")
        if _is_own_folder(folder) and _is_left_behind(folder, time.time())
    ]
    for folder in left_behind:
        remove(folder)
    return left_behind


def remove(folder: Path) -> None:
    """Remove a folder in which processes that were just killed may still be writing.

    :raises ServerError: when it is still there after 10 s.
    """
    until = time.monotonic() + _REMOVAL_S
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:  # somebody else removes it too
            continue
        except OSError as exc:
            if time.monotonic() > until:
                raise ServerError(
                    f"{folder} cannot be removed: {exc.strerror}", hint="see what still uses it, then remove it"
                ) from exc
            time.sleep(0.02)


def kept_folder(path: Path, *, mode: int = 0o700) -> Path:
    """A folder that stays between runs, made if it is not there; nobody else may have had a hand in it.

    :raises ServerError: when it cannot be made, belongs to somebody else, or others may write into it.
    """
    hint = f"remove {path}, or set XDG_CACHE_HOME to a folder of your own"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir()
            path.chmod(mode)
    except OSError as exc:
        raise ServerError(f"{path} cannot be made: {exc.strerror}", hint=hint) from exc
    if not _is_own_folder(path) or path.lstat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ServerError(f"{path} is not a folder that only this account can change", hint=hint)
    return path


def others_may_pass(folder: Path) -> bool:
    """Whether any account can get at what is in a folder by its path."""
    folder = folder.resolve()
    return all(step.stat().st_mode & stat.S_IXOTH for step in (folder, *folder.parents))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One at a time among all processes; the kernel unlocks when the holder dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_own_folder(path: Path) -> bool:
    with suppress(FileNotFoundError):
        found = path.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return False


def _is_left_behind(folder: Path, now: float) -> bool:
    try:
        owner, _, expires = (folder / _MARK).read_text().strip().partition(" ")
        # Clocks jump: by this one's, the lease of a drill that runs may be over.
        return not owner_is_alive(owner) if owner_is_in_sight(owner) else now > float(expires)
    except (OSError, ValueError):
        name = folder.name.removeprefix(PREFIX)
        if not name.startswith(_NEW):
            return True  # it had a mark when it got its name: its removal was interrupted
        return not owner_is_alive(name.removeprefix(_NEW).rpartition("-")[0])
