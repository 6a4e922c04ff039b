"""A bundle: the archives of one month in one tar file, each of them still an archive among others.

It is an uncompressed tar file, so a member is a range of its bytes, and nothing is unpacked to read one; `tar` takes
it apart anywhere. Beside it lies an index: where each member is, its SHA-256, and what drills have found out since.
The tar file itself never changes; without its index the headers are read.
"""

from __future__ import annotations

import re
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import IO, NoReturn, cast

import msgspec

from backup_lib import ledger
from backup_lib.archive import name_prefix
from backup_lib.errors import StoreError
from backup_lib.store import LocalStore, Sink, Store, StoredItem

FOLDER = "archive"
INDEX = ".index.json"
_NAME = re.compile(r".+_archive_(?P<month>[0-9]{6})(?:_[0-9]+)?\.tar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file in a bundle."""

    name: str
    start: int  # where its bytes begin in the tar file
    size_bytes: int
    modified_at: datetime  # UTC; of the file that was packed
    sha256: str | None = None  # None: only the headers were read


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What is in a bundle, and the ledgers of its archives where they have changed since it was packed."""

    packed_at: datetime  # UTC
    members: tuple[Member, ...]
    ledgers: dict[str, msgspec.Raw] = field(default_factory=dict)
    schema_version: int = 1


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as a place of archives that can be read, and noted of how their drills ended; nothing else."""

    outer: Store
    name: str
    members: Mapping[str, Member]

    @property
    def location(self) -> str:
        return f"{self.outer.location}/{self.name}"

    def contents(self) -> Mapping[str, StoredItem]:
        return {item.name: item for item in self.items()}

    def items(self) -> list[StoredItem]:
        found = {
            member.name: StoredItem(
                name=member.name, size_bytes=member.size_bytes, modified_s=member.modified_at.timestamp()
            )
            for member in self.members.values()
        }
        for name, data in self._index().ledgers.items():
            if name not in found:
                found[name] = StoredItem(name=name, size_bytes=len(bytes(data)), modified_s=time.time())
        return [found[name] for name in sorted(found)]

    def item(self, name: str) -> StoredItem:
        for item in self.items():
            if item.name == name:
                return item
        raise StoreError(f"{name} is not in {self.location}", hint=f"pgdrill list --backups {self.location}")

    def exists(self, name: str) -> bool:
        return name in self.members or (name.endswith(ledger.SUFFIX) and name in self._index().ledgers)

    def open_read(self, name: str) -> Iterator[bytes]:
        if name.endswith(ledger.SUFFIX) and (noted := self._index().ledgers.get(name)):
            yield bytes(noted)
            return
        if name not in self.members:
            raise StoreError(f"{name} is not in {self.location}", hint=f"pgdrill list --backups {self.location}")
        yield from self.read_range(name, 0, self.members[name].size_bytes)

    def read_range(self, name: str, start: int, size_bytes: int) -> Iterator[bytes]:
        return self.outer.read_range(self.name, self.members[name].start + start, size_bytes)

    def replace(self, name: str, data: bytes) -> None:
        """The ledger of one of its archives: it is kept in the index."""
        if not name.endswith(ledger.SUFFIX):
            self._refuse(name)
        index = self._index()
        write_index(self.outer, self.name, replace(index, ledgers={**index.ledgers, name: msgspec.Raw(data)}))

    def lock(self, prefix: str) -> AbstractContextManager[None]:
        return self.outer.lock(prefix)

    def free_bytes(self) -> int | None:
        return self.outer.free_bytes()

    def create(self, name: str) -> AbstractContextManager[Sink]:
        self._refuse(name)

    def delete(self, name: str) -> None:
        self._refuse(name)

    def under(self, folder: str) -> Store:
        self._refuse(folder)

    def move(self, name: str, folder: str) -> None:
        self._refuse(name)

    def take(self, name: str, folder: str) -> None:
        self._refuse(name)

    def keep(self, name: str, folder: str) -> None:
        self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        member = next(iter(self.members), name)
        raise StoreError(
            f"nothing in {self.location} can be changed or added: a bundle stays as it was packed",
            hint=f"take out what you want to work with: tar -xf {self.location} -C FOLDER {member}",
        )

    def _index(self) -> Index:
        """As it is now: a drill that ended meanwhile has written it anew."""
        return read_index(self.outer, self.name) or Index(
            packed_at=datetime.now(UTC), members=tuple(self.members.values())
        )


def bundle_name(database: str, month: datetime, number: int = 1) -> str:
    """`pos_archive_202610.tar`; a second one of that month `pos_archive_202610_2.tar`."""
    stem = name_prefix(database).removesuffix("_backup_")
    return f"{stem}_archive_{month:%Y%m}{'' if number == 1 else f'_{number}'}.tar"


def is_bundle_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def open_bundle(outer: Store, name: str) -> Bundle:
    """:raises StoreError: when it is not there. What cannot be read in it has no members."""
    index = read_index(outer, name)
    members = index.members if index else read_members(outer, name)
    return Bundle(outer, name, {member.name: member for member in members})


def bundle_names(aside: Store) -> list[str]:
    """The bundles in a folder of bundles, which need not be there."""
    return sorted(filter(is_bundle_name, aside.contents())) if has_bundles(aside) else []


def has_bundles(aside: Store) -> bool:
    """Whether it can be looked for any there; a folder may be missing."""
    return not isinstance(aside, LocalStore) or aside.folder.is_dir()


def is_before(name: str, at: datetime) -> bool:
    """Whether a bundle's month lies before the one of that time, so that nothing in it is newer."""
    found = _NAME.fullmatch(name)
    return found is not None and found["month"] < f"{at:%Y%m}"


# The index


def read_index(outer: Store, name: str) -> Index | None:
    """None where there is none, or it is damaged: the headers tell as much."""
    if not outer.exists(name + INDEX):
        return None
    try:
        index = msgspec.json.decode(b"".join(outer.open_read(name + INDEX)), type=Index)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return index if index.schema_version == 1 else None


def write_index(outer: Store, name: str, index: Index) -> None:
    outer.replace(name + INDEX, msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n")


def read_members(outer: Store, name: str) -> tuple[Member, ...]:
    """From the headers of the tar file, up to where it can be read; files with a plain name alone are ours."""
    file = cast(IO[bytes], _Seekable(outer, name, outer.item(name).size_bytes))
    found = []
    with suppress(tarfile.TarError, EOFError), tarfile.open(fileobj=file, mode="r:") as tar:
        for info in tar:
            if info.isreg() and "/" not in info.name and not info.name.startswith("."):
                modified_at = datetime.fromtimestamp(info.mtime, UTC)
                found.append(
                    Member(name=info.name, start=info.offset_data, size_bytes=info.size, modified_at=modified_at)
                )
    return tuple(found)


class _Seekable:
    """A stored file as the file object that tarfile wants; only headers are read of it."""

    def __init__(self, store: Store, name: str, size_bytes: int) -> None:
        self._store = store
        self._name = name
        self._size_bytes = size_bytes
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, place: int, _whence: int = 0) -> int:
        self._at = place
        return place

    def read(self, size_bytes: int) -> bytes:
        wanted = max(0, min(size_bytes, self._size_bytes - self._at))
        data = b"".join(self._store.read_range(self._name, self._at, wanted)) if wanted else b""
        self._at += len(data)
        return data
