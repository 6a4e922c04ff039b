"""Files while they are written: under a hidden name, held by their writer, so that what a dead one left can be told."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from backup_lib.errors import LockedError
from backup_lib.manifest import SUFFIX

_SUFFIX = ".partial"


def partial_of(path: Path) -> Path:
    """Under what name a file or folder is made that is to be called `path`."""
    return path.with_name(f".{path.name}{_SUFFIX}")


@contextmanager
def written(path: Path, *, wait: bool = False) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new file to write what is to be called `path` into, and where it lies; it goes if it is not renamed.

    :param wait: for another one who writes it now.
    :raises LockedError: when there is another one, and `wait` is not set.
    """
    partial = partial_of(path)
    while (descriptor := _hold_new(partial)) is None:
        if not _remove_unheld(partial, wait=wait):
            raise LockedError(f"another run writes {path}", hint="wait until it ends")
    with os.fdopen(descriptor, "wb") as file:
        try:
            yield partial, file
        finally:
            if _is_named(descriptor, partial):  # not renamed, nor somebody else's by now
                partial.unlink()


def clear(folder: Path, prefix: str) -> None:
    """Remove what dead writers left of files whose names begin with `prefix`, for which the caller has the lock.

    And the manifest of an archive that so was never whole. Not what belongs to the lock of a longer prefix:
    `shop_backup_` is also what `shop_backup_old_backup_` begins with.
    """
    begins = f".{_literal(prefix)}"
    others = tuple(path.name.removesuffix("lock") for path in folder.glob(f"{begins}?*lock"))
    for leftover in folder.glob(f"{begins}*{_SUFFIX}"):
        if leftover.name.startswith(others):
            continue
        if leftover.is_dir():
            remove(leftover)
        elif not _remove_unheld(leftover):  # ledgers and manifests are also written without that lock
            continue
        archive = leftover.with_name(leftover.name.removeprefix(".").removesuffix(_SUFFIX))
        if not archive.exists():  # its manifest came first
            remove(archive.with_name(archive.name + SUFFIX))


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there; of a link, the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            path.unlink()


def _hold_new(path: Path) -> int | None:
    """A new file, locked as long as its descriptor is open; None where there is one."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_named(descriptor, path):
            return descriptor
    except BaseException:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    os.close(descriptor)  # before it was locked, somebody took it for a dead one's
    return None


def _remove_unheld(path: Path, *, wait: bool = False) -> bool:
    """Remove what a dead writer left; False where it lives. Never written into: it may be an archive's second name."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if _is_named(descriptor, path):
            path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_named(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _literal(text: str) -> str:
    """For a glob: `[` and its kin stand for themselves."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in text)
