"""What an archive is called, and what its first bytes say it is."""

from __future__ import annotations

import hashlib
import re
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from urllib.parse import quote, unquote

from msgspec import Struct

from backup_lib.errors import DamagedArchiveError, UsageError, WrongKeyError
from backup_lib.manifest import Compression, Format, Kind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KINDS: tuple[Kind, ...] = get_args(Kind)
HEAD_BYTES = 64 * 1024  # enough of a file for `detect`

_COMPRESSION_SUFFIX: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_FORMAT_SUFFIX: dict[Format, str] = {"custom": ".dump", "directory": ".dir", "tar": ".tar"}
_NAME = re.compile(
    r"(?P<database>.+)_backup_(?P<at>[0-9]{8}_[0-9]{6})(?:_(?P<kind>[a-z]+))?"
    r"(?P<suffix>(?:\.sql(?:\.gz|\.zst)?|\.dump|\.dir|\.tar(?:\.gz|\.zst)?)(?P<encrypted>\.age|\.enc)?)"
)

# As the guide's direct command calls it: nothing but the time can be told from it.
_TIME_ALONE = re.compile(r"backup_(?P<at>[0-9]{8}_[0-9]{6})\.sql(?:\.gz|\.zst)?(?:\.age|\.enc)?")

_KIND_IN_NAME: dict[str | None, Kind] = {None if kind == "full" else kind: kind for kind in KINDS} | {"full": "full"}


class ArchiveName(Struct, frozen=True, gc=False):
    """What the name of one of our own archives says. Others' names say nothing reliable."""

    database: str
    started_at: datetime  # UTC, whole seconds
    kind: Kind
    suffix: str  # with that of the encryption


def build_name(
    database: str,
    started_at: datetime,
    *,
    kind: Kind,
    format: Format,
    compression: Compression,
    encrypted: bool = False,
) -> str:
    """`<db>_backup_YYYYMMDD_HHMMSS[_<kind>].sql.gz[.age]` and kin; a full archive has no kind in its name.

    What a file name or a shell could trip over in the database's name is percent-encoded.
    """
    at = started_at.astimezone(UTC).strftime("%Y%m%d_%H%M%S")
    suffix = _FORMAT_SUFFIX.get(format) or ".sql" + _COMPRESSION_SUFFIX[compression]
    if kind == "config":  # not pg_dump's tar, which is never compressed
        suffix += _COMPRESSION_SUFFIX[compression]
    return f"{name_prefix(database)}{at}{'' if kind == 'full' else '_' + kind}{suffix}{'.age' if encrypted else ''}"


def encrypted_name(name: str, *, was_encrypted: bool) -> str:
    """What an archive is called with another key: `x.sql.gz.enc` and `x.sql.gz` become `x.sql.gz.age`."""
    ends = (".age", *_OPENSSL_SUFFIXES) if was_encrypted else ()
    return next((name.removesuffix(end) for end in ends if name.lower().endswith(end)), name) + ".age"


def name_prefix(database: str) -> str:
    """What the names of all archives of a database begin with."""
    encoded = quote(database, safe="")
    if encoded[0] in ".-~":  # a hidden file, an option, a home folder
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    return encoded + "_backup_"


def parse_name(name: str) -> ArchiveName | None:
    """Read a name that `build_name` made; None for any other."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    database, at, word, suffix, _ = found.groups()
    kind, started_at = _KIND_IN_NAME.get(word), _time_of(at)
    return ArchiveName(unquote(database), started_at, kind, suffix) if kind and started_at else None


def time_alone(name: str) -> datetime | None:
    """Of `backup_20250923_020000.sql.gz`, which says no database, when it was begun; UTC, as in any other name."""
    found = _TIME_ALONE.fullmatch(name)
    return _time_of(found["at"]) if found else None


def _time_of(written: str) -> datetime | None:
    try:
        return datetime.fromisoformat(written + "Z")  # any one character may stand between day and time
    except ValueError:  # no such day
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the bytes are, whatever the name says."""

    format: Format
    compression: Compression  # around the format; custom and directory archives also compress inside


_ENCRYPTED = {
    b"age-encryption.org/": ("age", "age --decrypt -o PLAIN ARCHIVE"),
    b"-----BEGIN AGE ": ("age", "age --decrypt -o PLAIN ARCHIVE"),
    b"Salted__": ("openssl enc", "openssl enc -d -aes-256-cbc -pbkdf2 -in ARCHIVE -out PLAIN"),
    b"U2FsdGVkX1": ("openssl enc", "openssl enc -d -a -aes-256-cbc -pbkdf2 -in ARCHIVE -out PLAIN"),  # that in base64
    b"-----BEGIN PGP ": ("PGP", "gpg --decrypt -o PLAIN ARCHIVE"),
    b"\x8c\x0d\x04": ("PGP", "gpg --decrypt -o PLAIN ARCHIVE"),  # by a pass phrase
    b"\x85\x01": ("PGP", "gpg --decrypt -o PLAIN ARCHIVE"),  # for a key; the length of what follows
    b"\x85\x02": ("PGP", "gpg --decrypt -o PLAIN ARCHIVE"),
}
_PACKED = {
    b"PK\x03\x04": ("a zip file", "unzip"),
    b"BZh": ("compressed by bzip2", "bunzip2"),
    b"\xfd7zXZ\x00": ("compressed by xz", "unxz"),
    b"\x04\x22\x4d\x18": ("compressed by lz4", "unlz4"),
}
_OPENSSL_SUFFIXES = (".enc", ".aes", ".openssl")
_INNER_BYTES = 16 * 1024
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


def encryption_of(head: bytes) -> str | None:
    """The program that encrypted a file which begins with `head`; None when it is not encrypted."""
    return next((program for magic, (program, _) in _ENCRYPTED.items() if head.startswith(magic)), None)


def compression_of(head: bytes) -> Compression:
    """How a file that begins with `head` is compressed."""
    if head.startswith(_GZIP):
        return "gzip"
    # A zstd file may begin with a skippable frame, as pzstd's do.
    skippable = head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50
    return "zstd" if head.startswith(_ZSTD) or skippable else "none"


def detect(head: bytes, *, name: str = "archive") -> Content:
    """What a file that begins with `head` is, by its magic bytes.

    :param head: the first `HEAD_BYTES`, or the whole file when it is smaller.
    :raises DamagedArchiveError: when it is nothing that pg_dump writes.
    :raises WrongKeyError: when it is encrypted; no key can be given yet.
    :raises UsageError: when it is packed in a way that is not read.
    """
    _refuse_wrapped(head, name)
    compression = compression_of(head)
    inner = first_plain_bytes(head, compression)
    if inner.startswith(b"PGDMP"):
        return Content(format="custom", compression=compression)
    if inner.startswith(b"toc.dat\0"):
        return Content(format="tar", compression=compression)
    if inner[257:262] == b"ustar":
        raise DamagedArchiveError(
            f"{name} is a tar file, but not one of pg_dump's, which begin with toc.dat",
            hint="if it packs archives, unpack it: tar -xf ARCHIVE",
        )
    if inner.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DamagedArchiveError(
            f"{name} is UTF-16 text: the shell it was written through changed its bytes",
            hint="PowerShell's > does that; let pg_dump write the file itself: pg_dump --file=NAME",
        )
    if b"\0" in inner and name.endswith(_OPENSSL_SUFFIXES):
        raise DamagedArchiveError(
            f"{name} does not begin as openssl enc writes: its first bytes are altered, or it was told -nosalt",
            hint="take another archive, or try: openssl enc -d -nosalt -aes-256-cbc -in ARCHIVE -out PLAIN",
        )
    if b"\0" in inner:
        raise DamagedArchiveError(
            f"{name} holds binary data, but nothing that pg_dump writes",
            hint="see what it is with: file ARCHIVE",
        )
    return Content(format="plain", compression=compression)


def detect_path(path: Path) -> Content:
    """What the file or folder at `path` is; raises as `detect` does."""
    if path.is_dir():
        if (path / "toc.dat").is_file():
            return Content(format="directory", compression="none")
        raise DamagedArchiveError(
            f"{path.name} is a folder without toc.dat, so no directory archive",
            hint="name the folder that pg_dump --format=directory made",
        )
    with path.open("rb") as file:
        return detect(file.read(HEAD_BYTES), name=path.name)


def _refuse_wrapped(head: bytes, name: str) -> None:
    if not head:
        raise DamagedArchiveError(
            f"{name} is empty (0 bytes)",
            hint="the backup failed or the disk was full when it was made: take another archive",
        )
    for magic, (program, command) in _ENCRYPTED.items():
        if head.startswith(magic):
            raise WrongKeyError(
                f"{name} is encrypted by {program}, and no key was given", hint=f"decrypt it first: {command}"
            )
    for magic, (what, command) in _PACKED.items():
        if head.startswith(magic):
            raise UsageError(f"{name} is {what}, which is not read", hint=f"unpack it first: {command} ARCHIVE")


def first_plain_bytes(head: bytes, compression: Compression) -> bytes:
    """As much text as a head gives away; b"" when it is damaged, which reading it whole will tell better."""
    try:
        match compression:
            case "gzip":
                return zlib.decompressobj(wbits=31).decompress(head, _INNER_BYTES)
            case "zstd":
                return zstd.ZstdDecompressor().decompress(head, _INNER_BYTES)
            case "none":
                return head[:_INNER_BYTES]
    except (zlib.error, zstd.ZstdError):
        return b""


def dump_version_of(head: bytes, content: Content) -> str | None:
    """The version of the pg_dump that wrote an archive with a table of contents, such as `15.18`.

    :param head: of the archive, of toc.dat when it is a directory. None when it does not say.

    Source: `WriteHead`, `WriteInt` and `WriteStr` of PostgreSQL's `pg_backup_archiver.c`.
    """
    toc = first_plain_bytes(head, content.compression)
    if content.format == "tar":
        toc = toc[512:]  # behind the tar header of toc.dat, its first member
    if not toc.startswith(b"PGDMP") or len(toc) < 11:
        return None
    version, int_bytes = (toc[5], toc[6]), toc[8]
    at = 11  # magic, version, sizes of int and offset, format

    def read_int() -> int:  # a sign, then the bytes from the lowest
        nonlocal at
        at += 1 + int_bytes
        return int.from_bytes(toc[at - int_bytes : at], "little")

    if version >= (1, 15):
        at += 1  # compression's algorithm
    else:
        read_int()  # its level
    for _ in range(7):  # when it was made
        read_int()
    text = b""
    for _ in ("database", "server version", "pg_dump version"):
        length = read_int()
        text = toc[at : at + length]
        at += length
    return text.decode("ascii", "replace") if text and at <= len(toc) else None


def directory_digest(files: Iterable[tuple[str, int, str]]) -> tuple[int, str]:
    """Size and digest of a directory archive, from (relative name, size, SHA-256) of each of its files.

    The digest is the SHA-256 of one `<sha256>  <size>  <name>` line a file, sorted by name, so that
    `sha256sum` and `sort` can recompute it.
    """
    ordered = sorted(files)
    lines = "".join(f"{sha256}  {size}  {name}\n" for name, size, sha256 in ordered)
    return sum(size for _, size, _ in ordered), hashlib.sha256(lines.encode()).hexdigest()
