"""The text of any archive: unpacked, or written out by pg_restore. One way to read serves all formats."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup_lib.archive import HEAD_BYTES, Content, detect_path, directory_digest, dump_version_of
from backup_lib.codec import Digest, digest_file, open_text
from backup_lib.errors import DamagedArchiveError, ProgramError, ServerError
from backup_lib.inventory import major_of
from backup_lib.process import stream
from backup_lib.server_programs import Programs, client_for, find_programs

_SERVER_VERSION = re.compile(rb"^-- Dumped from database version (\S+)", re.MULTILINE)
_ENCODING = re.compile(rb"^SET client_encoding = '([^'\n]+)';", re.MULTILINE)
OLDEST_CLIENT = 14
_IDLE_CPU_S = 5.0  # a damaged header sends pg_restore round in circles, without a word and without an end


@dataclass(slots=True)
class Stored:
    """Size and digest of the bytes as they are stored; known once the text was read to its end."""

    size_bytes: int | None = None
    sha256: str | None = None


@contextmanager
def open_dump_text(path: Path, stored: Stored | None = None) -> Iterator[Iterator[bytes]]:
    """The chunks of what pg_dump writes as plain text, from an archive of any format.

    `pg_restore -f -` of a custom, directory or tar archive is the text a plain dump would have been, rows and
    order included (measured on 144 archives).

    :param stored: is filled on leaving, if the chunks were read to their end.
    :raises DamagedArchiveError: while reading or on leaving; the message says where or what pg_restore said.
    :raises ServerError: when there is no pg_restore that reads this archive.
    """
    stored = stored if stored is not None else Stored()
    content = detect_path(path)
    if content.format == "plain":
        digest = Digest()
        yield open_text(path, stored=digest)
        stored.size_bytes, stored.sha256 = digest.size_bytes, digest.sha256
        return
    with ThreadPoolExecutor(1) as beside:  # pg_restore reads the file itself
        digest_of: Future[tuple[int, str]] = beside.submit(digest_archive, path)
        with _pg_restore(path, content) as chunks:
            yield chunks
        stored.size_bytes, stored.sha256 = digest_of.result()


def digest_archive(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of an archive as it is stored; of a directory see `directory_digest`."""
    if path.is_dir():
        names = sorted(p for p in path.rglob("*") if p.is_file())
        digests = [(name.relative_to(path).as_posix(), digest_file(name)) for name in names]
        return directory_digest((name, digest.size_bytes, digest.sha256) for name, digest in digests)
    digest = digest_file(path)
    return digest.size_bytes, digest.sha256


@contextmanager
def _pg_restore(path: Path, content: Content) -> Iterator[Iterator[bytes]]:
    argv: list[str | Path] = [_reader(path, content).program("pg_restore"), "--file=-"]
    packed = content.compression != "none"
    if not packed:
        argv.append(path)
    try:
        with stream(argv, stdin=open_text(path) if packed else None, idle_cpu_s=_IDLE_CPU_S) as chunks:
            yield chunks
    except ProgramError as exc:
        if "does not support compression" in exc.message:
            raise ServerError(
                f"{path.name}: {exc.message}",
                hint="pgdrill install-server 18 brings a pg_restore that unpacks lz4 and zstd",
            ) from exc
        raise DamagedArchiveError(
            f"{path.name}: {exc.message}",
            hint=f"take another archive; pg_restore --list {path.name} shows what its table of contents still names",
        ) from exc


def _reader(path: Path, content: Content) -> Programs:
    """Programs of the major that made the archive, if there are any, else of the next newer one.

    Another major's pg_restore writes some definitions in other words, so that they differ from the manifest's.
    """
    toc = path / "toc.dat" if content.format == "directory" else path
    with toc.open("rb") as file:
        maker = major_of(dump_version_of(file.read(HEAD_BYTES), content))
    needed = max(maker or OLDEST_CLIENT, OLDEST_CLIENT)
    able = [p for p in find_programs() if p.major >= needed and (p.bin_dir / "pg_restore").is_file()]
    unpacks_all = {"lz4 archives", "zstd archives"}
    return min(able, key=lambda p: (p.major, not unpacks_all <= p.features), default=None) or client_for(
        needed, "pg_restore"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the first lines of a dump say."""

    server_major: int | None
    encoding: str | None


def read_heading(path: Path) -> Heading:
    """Of any archive, without reading it whole.

    :raises: as `open_dump_text` does, when there is nothing before the damage.
    """
    head = b""
    try:
        with open_dump_text(path) as chunks:
            for chunk in chunks:
                head += chunk
                if len(head) >= HEAD_BYTES:
                    break
    except DamagedArchiveError:
        if not head:
            raise
    version, encoding = _SERVER_VERSION.search(head), _ENCODING.search(head)
    return Heading(
        server_major=major_of(version[1].decode("ascii", "replace")) if version else None,
        encoding=encoding[1].decode("ascii", "replace") if encoding else None,
    )
