"""What `tar -czf archive_202501.tar.gz backups/archive/` packed: a month's archives, read where they lie.

Such a file is a bundle that somebody else made, packed as a whole: to read one member, all before it is unpacked. Its
members are known by their last names. It may be written anew under the same name, so that no index is believed about
where a member is.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, cast

from backup_lib.bundle import Bundle, Member
from backup_lib.codec import CHUNK_BYTES
from backup_lib.errors import DamagedArchiveError
from backup_lib.store import LocalStore

_NAME = re.compile(r"(?:.+_)?archive_[0-9]{6}\.(?:tar\.gz|tgz)")
_TOC = "toc.dat"  # in a tar archive of pg_dump's
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)


class Unpacked(LocalStore):
    """The folder of such a file; ranges are those of the tar file inside."""

    def read_range(self, name: str, start: int, size_bytes: int) -> Iterator[bytes]:
        """:raises DamagedArchiveError: when it cannot be unpacked, or its checksum at the end is another."""
        try:
            with gzip.open(self.path(name)) as file:
                file.seek(start)
                while size_bytes > 0 and (chunk := file.read(min(CHUNK_BYTES, size_bytes))):
                    size_bytes -= len(chunk)
                    yield chunk
                while file.read(CHUNK_BYTES):  # an altered row in it shows in nothing but the checksum at its end
                    pass
        except _BROKEN as exc:
            raise DamagedArchiveError(
                f"{self.path(name)} is damaged, so that nothing in it is sure: {exc}",
                hint="take the archive from another place, or from another month's file",
            ) from exc


def is_monthly_tar(path: Path) -> bool:
    """By its name; `open_monthly_tar` looks into it."""
    return _NAME.fullmatch(path.name) is not None and path.is_file()


def monthly_tars(folder: Path) -> list[Path]:
    """Those in a folder that hold anything. Only the beginning of each is unpacked, where pg_dump has its `toc.dat`."""
    named = [path for path in sorted(folder.glob("*archive_*")) if is_monthly_tar(path)]
    return [path for path in named if (first := next(_members(path), None)) and first.name != _TOC]


def open_monthly_tar(path: Path) -> Bundle | None:
    """None when it is no tar file of files, or one of pg_dump's: then it is an archive itself."""
    members = {member.name: member for member in _members(path)}
    return Bundle(Unpacked(path.parent), path.name, members) if members and _TOC not in members else None


def _members(path: Path) -> Iterator[Member]:
    """Up to where it can be read."""
    with (
        suppress(tarfile.TarError, OSError, *_BROKEN),
        gzip.open(path) as file,
        tarfile.open(fileobj=cast(IO[bytes], file), mode="r:") as tar,
    ):
        for info in tar:
            name = PurePosixPath(info.name).name
            if info.isreg() and not name.startswith("."):
                at = datetime.fromtimestamp(info.mtime, UTC)
                yield Member(name=name, start=info.offset_data, size_bytes=info.size, modified_at=at)
