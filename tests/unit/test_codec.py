"""Compression: what comes out, and what is said of bytes that are not whole."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from isal import isal_zlib

from backup_lib.chunks import Digest
from backup_lib.codec import CHUNK_BYTES, GZIP_LEVEL, Compressor, open_text
from backup_lib.errors import DamagedArchiveError, WrongKeyError
from backup_lib.manifest import Compression

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"".join(hashlib.sha256(b"%d" % i).hexdigest().encode() for i in range(5000))


def packed(data: bytes, compression: Compression) -> bytes:
    out: list[bytes] = []
    compressor = Compressor(out.append, compression)
    for start in range(0, len(data), 10_000):
        compressor.write(data[start : start + 10_000])
    compressor.finish()
    return b"".join(out)


def read(data: bytes) -> bytes:
    return b"".join(open_text([data], name="x"))


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_text_comes_back_with_the_digests_of_both_streams(tmp_path: Path, compression: Compression) -> None:
    path = tmp_path / "misnamed.bin"
    path.write_bytes(packed(TEXT, compression))
    stored, plain = Digest(), Digest()
    assert b"".join(open_text(path, stored=stored, plain=plain)) == TEXT
    assert (stored.size_bytes, plain.size_bytes) == (path.stat().st_size, len(TEXT))
    assert stored.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert plain.sha256 == hashlib.sha256(TEXT).hexdigest()


def test_the_gzip_programs_and_ours_read_one_another() -> None:
    assert gzip.decompress(packed(TEXT, "gzip")) == TEXT
    assert read(gzip.compress(TEXT)) == TEXT


def test_rows_and_documents_are_packed_each_in_its_window() -> None:
    rows = b"".join(b"%d\t%d\t%d.99\n" % (i, i * 104_729 % 50_000, i % 900) for i in range(400_000))
    document = b"".join(b"%x" % (i * i) for i in range(3000))  # which comes again 20 KiB on
    text = rows + document * (len(rows) // len(document)) + rows
    both = packed(text, "gzip")
    assert gzip.decompress(both) == text == read(both)
    assert subprocess.run(["gzip", "-dc"], input=both, capture_output=True, check=True).stdout == text
    for window in (15, 10):
        assert len(both) < 0.95 * len(isal_zlib.compress(text, GZIP_LEVEL, window))


def test_the_same_text_is_packed_into_the_same_bytes() -> None:
    assert packed(TEXT, "gzip") == packed(TEXT, "gzip")


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstd.compress, lambda b: b"\x50\x2a\x4d\x18\x02\0\0\0--" + zstd.compress(b)]
)
def test_parts_that_follow_one_another_are_one_text(pack: Callable[[bytes], bytes]) -> None:
    data = pack(b"one") + pack(b"") + pack(b"two")
    assert read(data) == b"onetwo"
    assert b"".join(open_text(data[i : i + 1] for i in range(len(data)))) == b"onetwo"


def test_a_small_file_that_holds_much_comes_in_small_pieces() -> None:
    sizes = [len(chunk) for chunk in open_text([gzip.compress(bytes([65]) * (8 << 20))])]
    assert sum(sizes) == 8 << 20
    assert max(sizes) <= CHUNK_BYTES


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("kept", [0.3, 0.999, 1.0])
def test_a_text_cut_short_is_said_with_its_place(compression: Compression, kept: float) -> None:
    whole = packed(TEXT, compression)
    size = min(int(len(whole) * kept), len(whole) - 1)
    with pytest.raises(DamagedArchiveError, match=rf"x is cut short: .* after {size} stored bytes"):
        read(whole[:size])


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_any_flipped_byte_is_noticed(compression: Compression) -> None:
    whole = packed(TEXT, compression)
    skipped = range(4, 10) if compression == "gzip" else range(0)  # time and system, which gzip does not protect
    places = [*range(0, len(whole), len(whole) // 60), *range(len(whole) - 8, len(whole))]
    for place in set(places) - set(skipped):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        try:
            text = read(bytes(damaged))
        except DamagedArchiveError:
            continue
        assert text != TEXT, place
        assert place < 4, place  # no magic any more: it passes for plain text, which the reader refuses


def test_damage_is_said_with_its_place_in_both_streams() -> None:
    whole = bytearray(packed(TEXT, "gzip"))
    whole[-6] ^= 1
    with pytest.raises(DamagedArchiveError, match=r"x is damaged: gzip says .*checksum.* at stored bytes \d+ to \d+"):
        read(bytes(whole))


@pytest.mark.parametrize("rubbish", [b"x", b"\0" * 512, b"more text", gzip.compress(b"x")[:1]])
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_something_after_the_end_is_said_with_its_place(compression: Compression, rubbish: bytes) -> None:
    whole = packed(TEXT, compression)
    with pytest.raises(DamagedArchiveError, match=rf"something after its end: .* at stored byte {len(whole)}"):
        read(whole + rubbish)


def test_an_empty_file_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.sql.gz").touch()
    with pytest.raises(DamagedArchiveError, match=r"a\.sql\.gz is empty"):
        list(open_text(tmp_path / "a.sql.gz"))


def test_an_empty_text_in_a_whole_gzip_is_not_the_codecs_matter() -> None:
    assert read(gzip.compress(b"")) == b""


def test_an_encrypted_file_is_refused_before_anything_is_read() -> None:
    with pytest.raises(WrongKeyError, match="openssl"):
        open_text([b"Salted__" + os.urandom(100)])


def test_what_was_read_before_the_damage_has_been_handed_out() -> None:
    whole = packed(TEXT, "gzip")
    got = Digest()
    with pytest.raises(DamagedArchiveError):
        list(open_text([whole[: len(whole) // 2]], plain=got))
    assert got.size_bytes > len(TEXT) // 3
    assert got.sha256 == hashlib.sha256(TEXT[: got.size_bytes]).hexdigest()
