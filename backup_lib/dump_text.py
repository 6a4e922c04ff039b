"""The text of any archive: decrypted, unpacked, or written out by pg_restore. One way to read serves all formats."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup_lib.archive import (
    HEAD_BYTES,
    Content,
    detect,
    detect_path,
    directory_digest,
    dump_version_of,
    encryption_of,
)
from backup_lib.chunks import Digest
from backup_lib.codec import Wrapping, digest_file, open_text, read_head
from backup_lib.encryption import NO_KEYS, Keys
from backup_lib.errors import DamagedArchiveError, ProgramError, ServerError
from backup_lib.inventory import major_of
from backup_lib.manifest import Manifest
from backup_lib.process import stream
from backup_lib.server_programs import Programs, client_for, find_programs

_SERVER_VERSION = re.compile(rb"^-- Dumped from database version (\S+)", re.MULTILINE)
_ENCODING = re.compile(rb"^SET client_encoding = '([^'\n]+)';", re.MULTILINE)
OLDEST_CLIENT = 14
_IDLE_CPU_S = 5.0  # a damaged header sends pg_restore round in circles, without a word and without an end


@dataclass(slots=True)
class Stored:
    """What is found out about the bytes as they are stored; the digests once the text was read to its end."""

    size_bytes: int | None = None
    sha256: str | None = None
    encryption: str | None = None  # how, for people; None: not encrypted
    authenticated: bool = True  # False: altered bytes of what is encrypted may pass unseen
    inner_sha256: str | None = None  # of what was encrypted


@contextmanager
def open_dump_text(path: Path, stored: Stored | None = None, *, keys: Keys = NO_KEYS) -> Iterator[Iterator[bytes]]:
    """The chunks of what pg_dump writes as plain text, from an archive of any format.

    `pg_restore -f -` of a custom, directory or tar archive is the text a plain dump would have been, rows and
    order included (measured on 144 archives). What is encrypted or packed goes to it through a pipe.

    :param stored: is filled on leaving, if the chunks were read to their end.
    :raises DamagedArchiveError: while reading or on leaving; the message says where or what pg_restore said.
    :raises WrongKeyError: when it is encrypted, and `keys` do not open it.
    :raises ServerError: when there is no pg_restore that reads this archive.
    """
    stored = stored if stored is not None else Stored()
    look = _look_into(path, keys)
    if look.content.format == "plain" or look.is_wrapped:
        digest, wrapping = Digest(), Wrapping()
        inside = _ToEnd(open_text(path, keys=keys, stored=digest, wrapping=wrapping))
        stored.encryption, stored.authenticated = wrapping.encryption, wrapping.authenticated
        if look.content.format == "plain":
            yield inside
        else:
            with _pg_restore(path, look, stdin=inside) as chunks:
                text = _ToEnd(chunks)
                yield text
            if text.ended:  # pg_restore stops at the last entry; behind it are the marks by which damage shows
                deque(inside, maxlen=0)
        if inside.ended:
            stored.size_bytes, stored.sha256 = digest.size_bytes, digest.sha256
            stored.inner_sha256 = wrapping.plain.sha256 if wrapping.encryption is not None else None
        return
    with ThreadPoolExecutor(1) as beside:  # pg_restore reads the file itself
        digest_of: Future[tuple[int, str]] = beside.submit(digest_archive, path)
        with _pg_restore(path, look) as chunks:
            yield chunks
        stored.size_bytes, stored.sha256 = digest_of.result()


class _ToEnd:
    """Chunks, and whether they were read to their end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            self.ended = True
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    content: Content
    toc: bytes  # the head of what pg_dump wrote; of a folder, of its table of contents
    is_wrapped: bool  # in encryption or compression, so that no program can read the file itself


def _look_into(path: Path, keys: Keys) -> _Look:
    if path.is_dir():
        content = detect_path(path)
        return _Look(content=content, toc=read_head(path / "toc.dat"), is_wrapped=False)
    head = read_head(path, keys)
    content = detect(head, name=path.name)
    is_wrapped = content.compression != "none" or encryption_of(read_head(path, None)) is not None
    return _Look(content=content, toc=head, is_wrapped=is_wrapped)


def detect_archive(path: Path, keys: Keys = NO_KEYS) -> Content:
    """What a file or folder is, whatever it is encrypted with; raises as `open_dump_text` does."""
    return _look_into(path, keys).content


def is_as_written(path: Path, manifest: Manifest | None) -> bool:
    """Whether the archive's bytes are those its manifest has the digest of; True where none is known.

    Where a key does not fit, it tells a wrong key from an altered archive.
    """
    if manifest is None or manifest.archive is None:
        return True
    sha256 = digest_archive(path)[1]
    return sha256 == manifest.archive.of(sha256).sha256


def digest_archive(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of an archive as it is stored; of a directory see `directory_digest`."""
    if path.is_dir():
        names = sorted(p for p in path.rglob("*") if p.is_file())
        digests = [(name.relative_to(path).as_posix(), digest_file(name)) for name in names]
        return directory_digest((name, digest.size_bytes, digest.sha256) for name, digest in digests)
    digest = digest_file(path)
    return digest.size_bytes, digest.sha256


@contextmanager
def _pg_restore(path: Path, look: _Look, stdin: Iterator[bytes] | None = None) -> Iterator[Iterator[bytes]]:
    argv: list[str | Path] = [_reader(look).program("pg_restore"), "--file=-"]
    if stdin is None:
        argv.append(path)
    try:
        with stream(argv, stdin=stdin, idle_cpu_s=_IDLE_CPU_S) as chunks:
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


def _reader(look: _Look) -> Programs:
    """Programs of the major that made the archive, if there are any, else of the next newer one.

    Another major's pg_restore writes some definitions in other words, so that they differ from the manifest's.
    """
    maker = major_of(dump_version_of(look.toc, look.content))
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


def read_heading(path: Path, keys: Keys = NO_KEYS) -> Heading:
    """Of any archive, without reading it whole.

    :raises: as `open_dump_text` does, when there is nothing before the damage.
    """
    head = b""
    try:
        with open_dump_text(path, keys=keys) as chunks:
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
