"""Whatever is packed comes back, however the bytes are cut into chunks."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from backup_lib.chunks import Digest
from backup_lib.codec import Compressor, open_text
from backup_lib.errors import BackupError
from backup_lib.manifest import Compression

compressions = st.sampled_from(("none", "gzip", "zstd"))
TEXT_START = b"-- "  # else bytes that happen to be another format's magic


@given(chunks=st.lists(st.binary(max_size=2000)), compression=compressions, cut=st.integers(1, 500))
def test_round_trip(chunks: list[bytes], compression: Compression, cut: int) -> None:
    text = TEXT_START + b"".join(chunks).replace(b"\0", b"0")
    out: list[bytes] = []
    compressor = Compressor(out.append, compression)
    compressor.write(TEXT_START)
    for chunk in chunks:
        compressor.write(chunk.replace(b"\0", b"0"))
    compressor.finish()
    stored_bytes = b"".join(out)
    stored, plain = Digest(), Digest()
    pieces = (stored_bytes[start : start + cut] for start in range(0, len(stored_bytes), cut))
    assert b"".join(open_text(pieces, stored=stored, plain=plain)) == text
    assert (stored.size_bytes, plain.size_bytes) == (len(stored_bytes), len(text))


@given(data=st.binary(max_size=300), magic=st.sampled_from((b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd")))
def test_rubbish_is_text_or_an_error_raised_on_purpose(data: bytes, magic: bytes) -> None:
    with suppress(BackupError):
        list(open_text([magic + data]))
