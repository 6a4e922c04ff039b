"""Archives as streams: what is around their text is taken off, and the digests of the bytes that pass are taken."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from isal import igzip_lib, isal_zlib

from backup_lib.archive import HEAD_BYTES, compression_of, detect, encryption_of
from backup_lib.chunks import Digest as Digest
from backup_lib.chunks import peek
from backup_lib.encryption import NO_KEYS, Keys, decrypt
from backup_lib.errors import DamagedArchiveError
from backup_lib.manifest import Compression

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK_BYTES = 1 << 20
# Small pieces go into a decompressor, so that an error's place is known to 64 KiB.
_PIECE_BYTES = 1 << 16
_MAGIC_BYTES = 4  # enough to tell a gzip member or zstd frame from rubbish

# Level 1 of isal packs ten times as fast as gzip's default and a tenth larger, level 1 of zstd twice as fast as its
# default, and rows often smaller: a backup should not wait for its compression.
GZIP_LEVEL = 1
ZSTD_LEVEL = 1
# isal takes any repetition it finds, and one far back costs more bits than the few letters of a number it saves. Rows
# are up to 15 % smaller, and packed up to 30 % faster, when it looks 1 KiB back; documents want all the 32.
_WINDOWS = (15, 10)  # powers of two
_SAMPLE_BYTES = 32 << 10  # shows which suits …
_SAMPLED_EVERY_BYTES = 4 << 20  # … so much
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"  # deflate, no name, no time, packed fast, on any system


def read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def digest_file(path: Path) -> Digest:
    digest = Digest()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return digest


@dataclass(slots=True)
class Wrapping:
    """What was found around an archive when it was opened: its encryption."""

    encryption: str | None = None  # how, for people; None: not encrypted
    authenticated: bool = True  # False: altered bytes may come out altered, and nothing tells
    plain: Digest = field(default_factory=Digest)  # of what was encrypted; counted while it is read


def open_text(
    source: Path | Iterable[bytes],
    *,
    name: str | None = None,
    keys: Keys = NO_KEYS,
    stored: Digest | None = None,
    plain: Digest | None = None,
    wrapping: Wrapping | None = None,
) -> Iterator[bytes]:
    """The bytes of an archive without the encryption and compression around them, whatever its name says.

    :param source: a file, or its bytes in chunks of any size.
    :param stored: counts and hashes the bytes as they are stored.
    :param plain: counts and hashes the bytes handed out.
    :param wrapping: is told of the encryption.
    :raises DamagedArchiveError: when it is empty, cut short, altered, or something follows its end; the
        message says where. Everything before that place has been handed out by then.
    :raises WrongKeyError: when it is encrypted, and `keys` do not open it.
    :raises UsageError: as `archive.detect` and `encryption.decrypt` do.
    """
    if name is None:
        name = source.name if isinstance(source, Path) else "archive"
    chunks = read_chunks(source) if isinstance(source, Path) else iter(source)
    head, chunks = _unwrap(stored.passing(chunks) if stored else chunks, keys, name, wrapping)
    text = _decompress(chunks, detect(head, name=name).compression, name)
    return plain.passing(text) if plain else text


def open_packed(
    source: Path | Iterable[bytes],
    *,
    name: str | None = None,
    keys: Keys = NO_KEYS,
    stored: Digest | None = None,
    wrapping: Wrapping | None = None,
) -> Iterator[bytes]:
    """As `open_text`, whatever is inside: a dump, or something else."""
    if name is None:
        name = source.name if isinstance(source, Path) else "archive"
    chunks = read_chunks(source) if isinstance(source, Path) else iter(source)
    head, chunks = _unwrap(stored.passing(chunks) if stored else chunks, keys, name, wrapping)
    return _decompress(chunks, compression_of(head), name)


def read_head(path: Path, keys: Keys | None = None) -> bytes:
    """The first `HEAD_BYTES` of a file.

    :param keys: if given, the head is decrypted where it is encrypted; raises as `open_text` does.
    """
    head, _ = peek(read_chunks(path), HEAD_BYTES) if keys is None else _unwrap(read_chunks(path), keys, path.name, None)
    return head[:HEAD_BYTES]


def _unwrap(chunks: Iterator[bytes], keys: Keys, name: str, wrapping: Wrapping | None) -> tuple[bytes, Iterator[bytes]]:
    """The head of what is inside the encryption, if there is one, and all of it."""
    head, chunks = peek(chunks, HEAD_BYTES)
    if encryption_of(head) is None:
        return head, chunks
    opened = decrypt(head, chunks, keys, name=name)
    chunks = opened.chunks
    if wrapping:
        wrapping.encryption, wrapping.authenticated = opened.how, opened.authenticated
        chunks = wrapping.plain.passing(chunks)
    return peek(chunks, HEAD_BYTES)


class _Decompressor(Protocol):
    """One gzip member or zstd frame; both libraries follow `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _gzip_member() -> _Decompressor:
    member: _Decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return member


_DECOMPRESSORS: dict[Compression, Callable[[], _Decompressor]] = {
    "gzip": _gzip_member,
    "zstd": zstd.ZstdDecompressor,
}

# isal's type stubs take its exceptions for instances.
_PART_ERRORS = cast(tuple[type[Exception], ...], (igzip_lib.error, zstd.ZstdError))


def _decompress(chunks: Iterator[bytes], compression: Compression, name: str) -> Iterator[bytes]:
    if compression == "none":
        yield from chunks
        return
    unpacker = _Unpacker(compression, name)
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE_BYTES):
            yield from unpacker.feed(chunk[start : start + _PIECE_BYTES])
    unpacker.finish()


class _Unpacker:
    """Decompresses parts that follow one another, and knows where it is in both streams."""

    def __init__(self, compression: Compression, name: str) -> None:
        self._compression = compression
        self._name = name
        self._part: _Decompressor | None = _DECOMPRESSORS[compression]()
        self._rest = b""  # too little behind the end of a part to say what it is
        self._piece_at = 0  # where the piece in work begins
        self._stored_bytes = 0  # where it ends
        self._plain_bytes = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        self._piece_at = self._stored_bytes
        self._stored_bytes += len(piece)
        data = self._rest + piece
        self._rest = b""
        while data or (self._part and not self._part.needs_input):
            if self._part is None:
                if len(data) < _MAGIC_BYTES:
                    self._rest = data
                    return
                self._require_part(data)
                self._part = _DECOMPRESSORS[self._compression]()
            if text := self._unpack(self._part, data):
                yield text
            data = b""
            if self._part.eof:
                data = self._part.unused_data
                self._part = None

    def _unpack(self, part: _Decompressor, data: bytes) -> bytes:
        try:
            text = part.decompress(data, CHUNK_BYTES)
        except _PART_ERRORS as exc:
            raise DamagedArchiveError(
                f"{self._name} is damaged: {self._compression} says {str(exc).lower()!r} at stored bytes "
                f"{self._piece_at} to {self._stored_bytes}, after {self._plain_bytes} bytes of plain text",
                hint="the file was altered after it was made, or copied badly: take another copy of it",
            ) from exc
        self._plain_bytes += len(text)
        return text

    def finish(self) -> None:
        if self._rest:
            self._require_part(self._rest)
        if self._part or self._rest:
            raise DamagedArchiveError(
                f"{self._name} is cut short: its {self._compression} data has no end after "
                f"{self._stored_bytes} stored bytes, {self._plain_bytes} bytes of plain text",
                hint="the disk was full, or the copy was interrupted: compare its size with the original's",
            )

    def _require_part(self, data: bytes) -> None:
        if compression_of(data) != self._compression:
            end = self._stored_bytes - len(data)
            raise DamagedArchiveError(
                f"{self._name} has something after its end: the {self._compression} data ends at stored byte "
                f"{end}, after {self._plain_bytes} bytes of plain text",
                hint="the file was appended to, or overwritten by a shorter one: take another copy of it",
            )


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Compressor:
    """Compresses what is written to it and hands the bytes on to `sink`; `finish` writes the end."""

    def __init__(self, sink: Callable[[bytes], object], compression: Compression) -> None:
        self._sink = sink
        self._packer = _new_packer(compression)

    def write(self, data: bytes) -> None:
        packed = self._packer.compress(data) if self._packer else data
        if packed:
            self._sink(packed)

    def finish(self) -> None:
        if self._packer:
            self._sink(self._packer.flush())


def _new_packer(compression: Compression) -> _Packer | None:
    packer: _Packer | None = None
    match compression:
        case "gzip":
            packer = _GzipPacker()
        case "zstd":
            parameter = zstd.CompressionParameter
            packer = zstd.ZstdCompressor(
                options={
                    parameter.compression_level: ZSTD_LEVEL,
                    parameter.checksum_flag: 1,  # else an altered byte can pass unseen
                }
            )
        case "none":
            pass
    return packer


class _GzipPacker:
    """One gzip member, with the window that packs samples of the data best."""

    def __init__(self) -> None:
        self._packed = _GZIP_HEAD  # not handed on yet
        self._window = _WINDOWS[0]
        self._deflate = isal_zlib.compressobj(level=GZIP_LEVEL, wbits=-self._window)  # negative: without gzip's frame
        self._sample = b""  # not packed before it is whole
        self._until_sample_bytes = 0
        self._crc = self._size_bytes = 0

    def compress(self, data: bytes, /) -> bytes:
        self._crc = isal_zlib.crc32(data, self._crc)
        self._size_bytes += len(data)
        if self._until_sample_bytes <= 0:
            data = self._sample + data
            if len(data) < _SAMPLE_BYTES:
                self._sample = data
                return b""
            self._take_window_for(data[:_SAMPLE_BYTES])
            self._sample, self._until_sample_bytes = b"", _SAMPLED_EVERY_BYTES
        self._until_sample_bytes -= len(data)
        packed, self._packed = self._packed + self._deflate.compress(data), b""
        return packed

    def _take_window_for(self, sample: bytes) -> None:
        best = min(_WINDOWS, key=lambda window: len(isal_zlib.compress(sample, GZIP_LEVEL, -window)))
        if best != self._window:
            self._packed += self._deflate.flush(isal_zlib.Z_SYNC_FLUSH)  # the data goes on behind a whole byte
            self._window, self._deflate = best, isal_zlib.compressobj(level=GZIP_LEVEL, wbits=-best)

    def flush(self) -> bytes:
        packed = self._packed + self._deflate.compress(self._sample) + self._deflate.flush()
        return packed + struct.pack("<II", self._crc, self._size_bytes & 0xFFFFFFFF)
