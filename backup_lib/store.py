"""Where archives lie. A name is published whole or not at all, and never overwritten."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO, Protocol

from msgspec import Struct

from backup_lib.codec import CHUNK_BYTES, read_chunks
from backup_lib.errors import LockedError, MissingPlaceError, StoreError
from backup_lib.half_written import clear, partial_of, remove, written

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REASONS = {
    errno.ENOSPC: "free some space there, or give another folder",
    errno.EDQUOT: "raise the quota, or give another folder",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or give another folder",
    errno.EACCES: "give the folder to the user this runs as, or give another one",
    errno.EPERM: "give the folder to the user this runs as, or give another one",
    errno.EROFS: "mount it writable, or give another folder",
    errno.ENOENT: "make the folder, or give another one",
}


class StoredItem(Struct, frozen=True, gc=False):
    """A file, or a folder taken as one thing; its size is then that of the files in it."""

    name: str
    size_bytes: int
    modified_s: float  # since 1970; of a hundred thousand few are asked when that was
    is_folder: bool = False

    @property
    def modified_at(self) -> datetime:
        """UTC."""
        return datetime.fromtimestamp(self.modified_s, UTC)


class Sink(Protocol):
    """What is written to becomes a stored file."""

    def write(self, data: bytes, /) -> object: ...


class Store(Protocol):
    """A flat place of named files. Matched by shape alone; all of it raises StoreError."""

    @property
    def location(self) -> str:
        """How a person names it: a folder, a URL without secrets."""

    def contents(self) -> Mapping[str, StoredItem]:
        """What lies there by its name, nothing half written; one listing. KeyError: it has gone since."""

    def items(self) -> list[StoredItem]:
        """All of it, by name."""

    def exists(self, name: str) -> bool: ...

    def open_read(self, name: str) -> Iterator[bytes]:
        """The bytes of a file in chunks; stop early to read its head."""

    def item(self, name: str) -> StoredItem:
        """One of the items; StoreError where it is not there."""

    def read_range(self, name: str, start: int, size_bytes: int) -> Iterator[bytes]:
        """Bytes out of the middle of a file, in chunks; fewer where it ends before."""

    def create(self, name: str) -> AbstractContextManager[Sink]:
        """Write a file that appears, durable, when the context ends well, and not at all otherwise."""

    def replace(self, name: str, data: bytes) -> None:
        """Write a small file of our own anew, whole or not at all; the one way to overwrite. Never for an archive."""

    def delete(self, name: str) -> None: ...

    def under(self, folder: str) -> Store:
        """A place inside this one, whose files are not among the items here."""

    def move(self, name: str, folder: str) -> None:
        """Into the place `under(folder)`, never over something there."""

    def take(self, name: str, folder: str) -> None:
        """Out of the place `under(folder)`, in the place of what has that name here: at any moment one of the two."""

    def keep(self, name: str, folder: str) -> None:
        """The same file in the place `under(folder)` too, never over something there."""

    def lock(self, prefix: str) -> AbstractContextManager[None]:
        """Be the only one to write names that begin with `prefix`, and clear away what dead ones left.

        :raises LockedError: when another one is at it.
        """

    def free_bytes(self) -> int | None:
        """Room that is left; None where that has no meaning."""


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder; made private (0700) when it is not there yet, files are 0600."""

    folder: Path

    @property
    def location(self) -> str:
        return str(self.folder)

    def path(self, name: str) -> Path:
        return self.folder / name

    def contents(self) -> Mapping[str, StoredItem]:
        if not self.folder.is_dir():
            raise MissingPlaceError(
                f"the folder {self.folder} does not exist"
                if not self.folder.exists()
                else f"{self.folder} is a file, not a folder",
                hint="name the folder of the archives: --backups or BACKUP_DIR",
            )
        # A look at each, or a Path for each, would take longer than all the rest.
        with self._explained(self.folder), os.scandir(self.folder) as entries:
            return _Entries(
                {
                    entry.name: entry
                    for entry in entries
                    if entry.name[0] != "." and not (entry.is_symlink() and not Path(entry).exists())
                }
            )

    def items(self) -> list[StoredItem]:
        contents = self.contents()
        with self._explained(self.folder):
            return [item for name in sorted(contents) if (item := contents.get(name)) is not None]

    def item(self, name: str) -> StoredItem:
        """One of the items, whatever its name begins with."""
        with self._explained(self.path(name)):
            item = _item(self.path(name))
        if item is None:
            raise StoreError(f"{self.path(name)} does not exist", hint=_REASONS[errno.ENOENT])
        return item

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def open_read(self, name: str) -> Iterator[bytes]:
        with self._explained(self.path(name)):
            yield from read_chunks(self.path(name))

    def read_range(self, name: str, start: int, size_bytes: int) -> Iterator[bytes]:
        with self._explained(self.path(name)), self.path(name).open("rb", buffering=0) as file:
            file.seek(start)
            left = size_bytes
            while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk

    @contextmanager
    def create(self, name: str) -> Iterator[Sink]:
        with self._explained(self.path(name)), self._written(name) as (partial, file):
            yield file
            file.flush()
            os.fsync(file.fileno())
            self._publish(partial, name)

    @contextmanager
    def create_path(self, name: str) -> Iterator[Path]:
        """A path at which a program makes a file or a folder; it gets its name when the context ends well."""
        with self._explained(self.path(name)):
            self._make()
            partial = partial_of(self.path(name))
            try:
                yield partial
                for file in [*(partial.iterdir() if partial.is_dir() else ()), partial]:
                    file.chmod(0o700 if file.is_dir() else 0o600)
                    _sync(file)
                self._publish(partial, name)
            finally:
                remove(partial)

    def replace(self, name: str, data: bytes) -> None:
        with self._explained(self.path(name)), self._written(name, wait=True) as (partial, file):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            partial.replace(self.path(name))
            _sync(self.folder)

    def delete(self, name: str) -> None:
        with self._explained(self.path(name)):
            path = self.path(name)
            if path.is_dir():
                # It goes at once: half a folder would pass for a damaged archive.
                path = path.rename(partial_of(path))
                shutil.rmtree(path)
            else:
                path.unlink()
            _sync(self.folder)

    def under(self, folder: str) -> LocalStore:
        return LocalStore(self.path(folder))

    def move(self, name: str, folder: str) -> None:
        there = self.under(folder)
        with self._explained(there.path(name)):
            there.folder.mkdir(mode=0o700, exist_ok=True)
            if there.exists(name):  # a rename would put it in its place
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            self.path(name).rename(there.path(name))
            _sync(there.folder)
            _sync(self.folder)

    def take(self, name: str, folder: str) -> None:
        with self._explained(self.path(name)):
            self.under(folder).path(name).rename(self.path(name))
            _sync(self.folder)

    def keep(self, name: str, folder: str) -> None:
        there = self.under(folder)
        with self._explained(there.path(name)):
            there.folder.mkdir(mode=0o700, exist_ok=True)
            try:
                os.link(self.path(name), there.path(name))
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links
                with there.create(name) as sink:
                    for chunk in self.open_read(name):
                        sink.write(chunk)
            _sync(there.folder)

    @contextmanager
    def lock(self, prefix: str) -> Iterator[None]:
        with self._explained(self.folder):
            self._make()
        path = self.path(f".{prefix}lock")
        with self._explained(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            # The kernel lets go of it when its process ends, however that ends.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LockedError(
                f"another run writes {prefix}* in {self.folder}",
                hint="wait until it ends; the lock goes with its process, there is nothing to delete",
            ) from None
        try:
            with self._explained(self.folder):
                clear(self.folder, prefix)
            yield
        finally:
            os.close(descriptor)

    def free_bytes(self) -> int | None:
        with self._explained(self.folder):
            return shutil.disk_usage(self.folder).free

    def _make(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _written(self, name: str, *, wait: bool = False) -> AbstractContextManager[tuple[Path, IO[bytes]]]:
        self._make()
        return written(self.path(name), wait=wait)

    def _publish(self, partial: Path, name: str) -> None:
        """Give what is whole its name, which must be free: of two writers, one fails."""
        path = self.path(name)
        try:
            if partial.is_dir():
                if path.exists():  # a rename would only refuse when there is something in it
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                partial.rename(path)
            else:
                _link(partial, path)
            _sync(self.folder)
        except FileExistsError:
            raise
        except BaseException:  # a signal: the caller is told that nothing was made
            if not partial.exists() or (path.exists() and path.samefile(partial)):
                remove(path)
            raise

    @contextmanager
    def _explained(self, path: Path) -> Iterator[None]:
        try:
            yield
        except FileExistsError as exc:
            if path == self.folder or not self.folder.is_dir():
                raise StoreError(f"{self.folder} is a file, not a folder", hint="give another folder") from exc
            raise StoreError(
                f"{path} exists already", hint="an archive is never overwritten: wait a second, or move it away"
            ) from exc
        except OSError as exc:
            raise refused(path, exc) from exc


def refused(path: Path, exc: OSError) -> StoreError:
    """What the system did not do with a file in a place, and what to do next."""
    hint = _REASONS.get(exc.errno or 0, "see that the folder is on a working disk")
    if exc.errno == errno.ENOENT and path.parent.is_dir():
        hint = "another run has moved or deleted it: see what is there, pgdrill list"
    if exc.errno in (errno.EACCES, errno.EPERM) and _is_of_another_account(path):
        hint = f"another account made it: chown -R {os.geteuid()}:{os.getegid()} {path.parent}"
    return StoreError(f"{path}: {exc.strerror}", hint=hint)


def lacks_room(exc: StoreError) -> bool:
    return isinstance(exc.__cause__, OSError) and exc.__cause__.errno in _NO_ROOM


def _is_of_another_account(path: Path) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    return S_ISREG(stat.st_mode) and stat.st_uid != os.geteuid()


class _Entries(Mapping[str, StoredItem]):
    """A folder's names, each looked at when it is asked for: of a long listing only few are."""

    def __init__(self, entries: dict[str, os.DirEntry[str]]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> StoredItem:
        item = _item(self._entries[name])
        if item is None:
            raise KeyError(name)
        return item

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _item(entry: os.DirEntry[str] | Path) -> StoredItem | None:
    try:
        stat = entry.stat()
        is_folder = S_ISDIR(stat.st_mode)
        size_bytes = _folder_bytes(Path(entry)) if is_folder else stat.st_size
    except FileNotFoundError:  # expired between the listing and the look; or a link to nothing
        return None
    return StoredItem(entry.name, size_bytes, stat.st_mtime, is_folder)


def _folder_bytes(folder: Path) -> int:
    """Of the files in it; 0 where they may not be looked at: somebody else's folder must not hide what lies beside."""
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except PermissionError:
        return 0


def _link(partial: Path, path: Path) -> None:
    """A second name for the file, which must be free."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        partial.rename(path)


def _sync(path: Path) -> None:
    """Make the file, or the names in the folder, last through a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
