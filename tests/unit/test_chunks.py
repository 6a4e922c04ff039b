"""Work on chunks in another thread: all of them, in order, and its error where they are given."""

from __future__ import annotations

import threading

import pytest

from backup_lib.chunks import beside


def test_every_chunk_is_kept_in_its_order_in_one_other_thread() -> None:
    kept: list[tuple[bytes, str]] = []
    with beside(lambda chunk: kept.append((chunk, threading.current_thread().name))) as put:
        for number in range(1000):
            put(b"%d" % number)
    assert [chunk for chunk, _ in kept] == [b"%d" % number for number in range(1000)]
    assert {name for _, name in kept}.isdisjoint({threading.current_thread().name})


def test_what_keeping_raises_ends_the_giving() -> None:
    kept: list[bytes] = []

    def keep(chunk: bytes) -> None:
        if chunk == b"3":
            raise OSError("no space left")
        kept.append(chunk)

    given = 0

    def give() -> None:
        nonlocal given
        with beside(keep) as put:
            for number in range(1_000_000):
                put(b"%d" % number)
                given += 1

    with pytest.raises(OSError, match="no space left"):
        give()
    assert kept == [b"0", b"1", b"2"]
    assert given < 1_000_000


def test_an_error_at_the_last_chunk_is_not_lost() -> None:
    def keep(chunk: bytes) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"), beside(keep) as put:
        put(b"0")


def test_an_error_of_the_giver_is_the_one_that_is_raised() -> None:
    kept: list[bytes] = []
    with pytest.raises(KeyError), beside(kept.append) as put:  # noqa: PT012 - two steps are what it is about
        put(b"0")
        raise KeyError
    assert kept == [b"0"]
