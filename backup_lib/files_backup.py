"""Archives of configuration files: a tar file, the same for the same files, with a manifest of every one in it.

Permissions, owners, times and symbolic links are kept. Files with what looks like a secret go into an encrypted
archive only.
"""

from __future__ import annotations

import getpass
import glob
import hashlib
import io
import os
import platform
import stat
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal, cast

from backup_lib.archive import build_name, name_prefix
from backup_lib.backup import BackupResult, free_name, promised_first
from backup_lib.chunks import Digest
from backup_lib.codec import Compressor, Wrapping, open_packed
from backup_lib.encryption import NO_KEYS, Keys, Lock, Seal
from backup_lib.errors import ConcernsError, DamagedArchiveError, SourceError
from backup_lib.manifest import ArchiveFacts, Compression, Environment, FileFacts, Globals, Kind, Manifest, Source
from backup_lib.secret_finder import find_secrets
from backup_lib.store import LocalStore, Store

KIND: Kind = "config"
_MOST_BYTES = 256 << 20  # of one file, which is read at once; more is no configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """One file, folder or link, as it was when it was read."""

    header: tarfile.TarInfo
    data: bytes

    @property
    def facts(self) -> FileFacts:
        return facts_of(self.header, self.data)


def make_files_backup(
    paths: Sequence[str],
    destination: Path | Store,
    *,
    name: str,
    exclude: Sequence[str] = (),
    folder: Path | None = None,
    compression: Compression = "gzip",
    lock: Lock | None = None,
    keys: Keys = NO_KEYS,
    now: datetime | None = None,
) -> BackupResult:
    """Pack files into an archive with its manifest beside it; on any failure neither is there.

    :param paths: files, folders and globs (`**` goes down); relative ones are meant from `folder`, and stored so.
    :param name: what archives of these files are called, as a database's are by it.
    :param exclude: globs of paths that are left out.
    :param folder: default the working folder.
    :raises SourceError: when a path names nothing, or cannot be read.
    :raises ConcernsError: when a file holds what looks like a secret, and there is no `lock`.
    :raises StoreError, LockedError: when the destination cannot be written, or another run writes there.
    """
    store = LocalStore(destination) if isinstance(destination, Path) else destination
    begun, started_at = time.monotonic(), (now or datetime.now(UTC)).astimezone(UTC)
    collected = collect(paths, folder or Path.cwd(), exclude=exclude, apart_from=store)
    if lock is None:
        refuse_secrets(collected)
    with store.lock(name_prefix(name)):

        def name_at(at: datetime) -> str:
            plain = build_name(name, at, kind=KIND, format="tar", compression=compression)
            return plain + (".age" if lock else "")

        archive = free_name(store, name_at, started_at)
        stored = Digest()
        with promised_first(store, archive) as promise, store.create(archive) as sink:

            def keep(data: bytes) -> None:
                stored.update(data)
                sink.write(data)

            with Seal(keep, lock, keys) as seal:
                compressor = Compressor(seal.write, compression)
                _write(collected, compressor)
                compressor.finish()
                encryption = seal.finish()
            facts = ArchiveFacts(
                name=archive,
                kind=KIND,
                format="tar",
                compression=compression,
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
                started_at=started_at,
                finished_at=datetime.now(UTC),
                encryption=encryption,
            )
            manifest = _manifest(name, started_at, facts, tuple(one.facts for one in collected))
            promise(manifest)
    unproved = ("no identity is here, so it is not proved that anybody can open the archive",)
    warnings = unproved if encryption is not None and not encryption.key_proved else ()
    seconds = time.monotonic() - begun
    return BackupResult(name=archive, store=store, manifest=manifest, seconds=seconds, warnings=warnings)


def _manifest(name: str, at: datetime, facts: ArchiveFacts, files: tuple[FileFacts, ...]) -> Manifest:
    """It has no server: what a database's manifest says of one is empty."""
    try:
        role = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as containers have them
        role = f"uid {os.getuid()}"
    source = Source(
        database=name,
        system_identifier=None,
        server_version="",
        snapshot_at=at,
        lsn="",
        in_recovery=False,
        replay_lag_s=None,
        role=role,
        bootstrap_role="",
        host=platform.node(),
    )
    environment = Environment(
        encoding="",
        collate="",
        ctype="",
        locale_provider="",
        icu_locale=None,
        collation_version=None,
        extensions=(),
        settings=(),
        invalid_indexes=(),
    )
    return Manifest(
        archive=facts,
        source=source,
        environment=environment,
        globals=Globals(roles=(), statements=()),
        row_counts={},
        catalog=(),
        inventory=None,
        tools={"python": platform.python_version()},
        kind=KIND,
        files=files,
    )


# Collecting


def collect(
    paths: Sequence[str], folder: Path, *, exclude: Sequence[str] = (), apart_from: Store | None = None
) -> list[Collected]:
    """What the paths name, sorted by name; folders with all in them, but not the place where archives lie."""
    place = apart_from.folder.absolute() if isinstance(apart_from, LocalStore) else None
    found: dict[str, Collected] = {}
    for given in paths:
        roots = _roots(given, folder)
        if not roots:
            raise SourceError(f"{given} names no file", hint="--path takes files, folders and globs, such as conf/**")
        for path in (one for root in roots for one in _below(root)):
            stored = _stored_name(path, folder)
            inside = place is not None and (path == place or place in path.parents)
            left_out = inside or any(Path(stored).match(pattern) for pattern in exclude)
            if not left_out and (one := _read(path, stored)):
                found[stored] = one
    if not found:
        raise SourceError("no file is left to back up", hint="name others, or exclude less")
    return [found[name] for name in sorted(found)]


def _roots(given: str, folder: Path) -> list[Path]:
    path = folder / Path(given).expanduser()
    if os.path.lexists(path):
        return [path]
    matching = glob.glob(str(path), recursive=True, include_hidden=True)  # noqa: PTH207 - Path.glob leaves hidden ones out
    return sorted(map(Path, matching))


def _below(root: Path) -> Iterator[Path]:
    yield root
    if root.is_dir() and not root.is_symlink():
        try:
            entries = sorted(root.iterdir())
        except OSError as exc:
            raise _unreadable(root, exc) from exc
        for entry in entries:
            yield from _below(entry)


def _stored_name(path: Path, folder: Path) -> str:
    path, folder = Path(os.path.normpath(path)), Path(os.path.normpath(folder))
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix().lstrip("/")


def _read(path: Path, stored: str) -> Collected | None:
    """None for what holds nothing that could be kept: a socket, a pipe, a device."""
    try:
        info = path.lstat()
        header = tarfile.TarInfo(stored)
        header.mode, header.mtime = stat.S_IMODE(info.st_mode), int(info.st_mtime)
        header.uid, header.gid = info.st_uid, info.st_gid
        if stat.S_ISLNK(info.st_mode):
            header.type, header.linkname = tarfile.SYMTYPE, str(path.readlink())
            return Collected(header=header, data=b"")
        if stat.S_ISDIR(info.st_mode):
            header.type = tarfile.DIRTYPE
            return Collected(header=header, data=b"")
        if not stat.S_ISREG(info.st_mode):
            return None
        if info.st_size > _MOST_BYTES:
            raise SourceError(
                f"{path} has {info.st_size:,} bytes", hint="leave it out: --exclude-path; that is no configuration"
            )
        data = path.read_bytes()
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    header.size = len(data)
    return Collected(header=header, data=data)


def _unreadable(path: Path, exc: OSError) -> SourceError:
    return SourceError(
        f"{path} cannot be read: {exc.strerror}", hint="give it to the user this runs as, or leave it out"
    )


def refuse_secrets(collected: Sequence[Collected]) -> None:
    """:raises ConcernsError: when a file holds what looks like a secret; it names each place, and repeats none."""
    found = [
        f"\n  {one.header.name}: {what}"
        for one in collected
        if one.header.isreg()
        for what in find_secrets(Path(one.header.name), one.data)
    ]
    if found:
        raise ConcernsError(
            f"not backed up in plain: these look like secrets:{''.join(found)}",
            hint="encrypt the archive (--recipient, or BACKUP_ENCRYPT=true), or leave them out: --exclude-path",
        )


# Packing, and reading back


def _write(collected: Sequence[Collected], sink: Compressor) -> None:
    with tarfile.open(fileobj=cast(IO[bytes], sink), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for one in collected:
            tar.addfile(one.header, io.BytesIO(one.data) if one.header.isreg() else None)


def facts_of(header: tarfile.TarInfo, data: bytes) -> FileFacts:
    kind: Literal["file", "link", "folder", "other"] = "other"
    if header.isreg():
        kind = "file"
    elif header.issym():
        kind = "link"
    elif header.isdir():
        kind = "folder"
    return FileFacts(
        path=header.name,
        kind=kind,
        mode=f"{header.mode:04o}",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest() if kind == "file" else None,
        target=header.linkname if kind == "link" else None,
    )


def read_files(
    path: Path, keys: Keys = NO_KEYS, *, stored: Digest | None = None, wrapping: Wrapping | None = None
) -> tuple[FileFacts, ...]:
    """What an archive of files holds, each read to its end; nothing is written anywhere.

    :raises DamagedArchiveError: when it is cut short, altered, or no tar file.
    :raises WrongKeyError: when it is encrypted, and `keys` do not open it.
    """
    chunks = open_packed(path, keys=keys, stored=stored, wrapping=wrapping)
    reader = _Stream(chunks)
    found = []
    try:
        with tarfile.open(fileobj=cast(IO[bytes], reader), mode="r|") as tar:
            for header in tar:
                member = tar.extractfile(header) if header.isreg() else None
                found.append(facts_of(header, member.read() if member else b""))
    except (tarfile.TarError, EOFError) as exc:
        raise DamagedArchiveError(
            f"{path.name} is damaged after {len(found)} files: {exc}", hint="take another archive or copy of it"
        ) from exc
    for _ in chunks:  # to the end, where compression and encryption have their marks
        pass
    return tuple(found)


class _Stream:
    """Chunks as the file object that tarfile reads."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size_bytes: int) -> bytes:
        while len(self._rest) < size_bytes and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        data, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
        return data
