"""Whatever the sizes of the pieces, what is encrypted comes back, and both implementations agree."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_lib import age_passphrase, age_recipients

pyrage = pytest.importorskip("pyrage")

CHUNK = 64 * 1024
KEY = pyrage.x25519.Identity.generate()
# Near the borders of age's chunks, where mistakes are.
lengths = st.one_of(
    st.integers(0, 300),
    st.builds(lambda n, near: max(0, n * CHUNK + near), st.integers(0, 3), st.integers(-20, 20)),
)
steps = st.integers(1, 150_000)


def pieces(data: bytes, step: int) -> list[bytes]:
    """Of that size, but no more than some hundred."""
    step = max(step, len(data) // 200 + 1)
    return [data[start : start + step] for start in range(0, len(data), step)]


@settings(max_examples=60, deadline=None)
@given(length=lengths, written=steps, read=steps)
def test_a_passphrase_gives_back_what_it_took_in_any_pieces(length: int, written: int, read: int) -> None:
    data = (b"\0\xff-- text\n" * (length // 10 + 1))[:length]
    stored = bytearray()
    with age_passphrase.encrypting(stored.extend, "clave", work_factor=1) as write:
        for piece in pieces(data, written):
            write(piece)
    assert pyrage.passphrase.decrypt(bytes(stored), "clave") == data
    assert b"".join(age_passphrase.decrypted(pieces(bytes(stored), read), "clave", name="x")) == data


@settings(max_examples=40, deadline=None)
@given(length=lengths, written=steps, read=steps)
def test_recipients_get_back_what_was_given_in_any_pieces(length: int, written: int, read: int) -> None:
    data = (b"\0\xff-- text\n" * (length // 10 + 1))[:length]
    stored = bytearray()
    with age_recipients.encrypting(stored.extend, [KEY.to_public()]) as write:
        for piece in pieces(data, written):
            write(piece)
    assert pyrage.decrypt(bytes(stored), [KEY]) == data
    assert b"".join(age_recipients.decrypted(pieces(bytes(stored), read), [KEY], name="x")) == data
