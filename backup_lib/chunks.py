"""Streams of bytes in chunks: a look at their head, their size and digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator


class Digest:
    """Size and SHA-256 of the bytes that passed."""

    __slots__ = ("_hash", "size_bytes")

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def update(self, data: bytes) -> None:
        self._hash.update(data)
        self.size_bytes += len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def passing(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks, unchanged, each counted before it is handed on."""
        for chunk in chunks:
            self.update(chunk)
            yield chunk


def peek(chunks: Iterator[bytes], size_bytes: int) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, at least so many if there are, and all of them."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= size_bytes:
            break
    return head, _joined(head, chunks)


def _joined(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from chunks
