"""Streams of bytes in chunks: a look at their head, their size and digest, and work on them in another thread."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue
from threading import Event

_WAITING = 32  # chunks between two threads: enough that neither waits for the other's every turn


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


@contextmanager
def beside(keep: Callable[[bytes], object]) -> Iterator[Callable[[bytes], None]]:
    """Call `keep` with each chunk that is given, in their order, in a thread of its own; the context's end waits.

    What it raises is raised here: when the next chunk is given, or at the end. It is not called again then.
    """
    waiting: Queue[bytes | None] = Queue(_WAITING)
    failed = Event()

    def work() -> None:
        try:
            while (chunk := waiting.get()) is not None:
                keep(chunk)
        except BaseException:
            failed.set()
            while waiting.get() is not None:
                pass
            raise

    def put(chunk: bytes) -> None:
        if failed.is_set():
            raise _KeepFailed
        waiting.put(chunk)

    with ThreadPoolExecutor(1, thread_name_prefix="pgdrill-keep") as pool:
        working = pool.submit(work)
        try:
            yield put
        except _KeepFailed:
            pass
        finally:
            waiting.put(None)
        working.result()


class _KeepFailed(Exception):  # noqa: N818 - it only leads to what did
    pass
