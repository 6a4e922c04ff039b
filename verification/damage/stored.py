"""Damage to the bytes of a file, as disks, networks and copying do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

BLOCK_BYTES = 4096
Rewrite = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """The bytes from `start` to before `end` become what `rewrite` makes of them; without one they are left out."""

    start: int
    end: int
    rewrite: Rewrite | None = None


StrikeBytes = Callable[[int, Random], Stroke]
"""From a file's size, at least 1."""


def cut(size: int, rng: Random) -> Stroke:
    return Stroke(start=_inside(size, rng), end=size)


def last_byte_lost(size: int, _rng: Random) -> Stroke:
    return Stroke(start=size - 1, end=size)


def emptied(size: int, _rng: Random) -> Stroke:
    return Stroke(start=0, end=size)


def appended(size: int, rng: Random) -> Stroke:
    more = rng.randbytes(512)
    return Stroke(start=size, end=size, rewrite=lambda _: more)


def bit_flipped(size: int, rng: Random) -> Stroke:
    at, bit = _inside(size, rng), 1 << rng.randrange(8)
    return Stroke(start=at, end=at + 1, rewrite=lambda old: bytes([old[0] ^ bit]))


def block_lost(size: int, rng: Random) -> Stroke:
    start, end = _block(size, rng)
    return Stroke(start=start, end=end)


def block_zeroed(size: int, rng: Random) -> Stroke:
    start, end = _block(size, rng)
    return Stroke(start=start, end=end, rewrite=lambda old: bytes(len(old)) if any(old) else b"\xff" * len(old))


def block_doubled(size: int, rng: Random) -> Stroke:
    start, end = _block(size, rng)
    return Stroke(start=start, end=end, rewrite=lambda old: old + old)


def _inside(size: int, rng: Random) -> int:
    """Somewhere in its middle half, where the contents are."""
    return min(size - 1, size // 4 + rng.randrange(max(1, size // 2)))


def _block(size: int, rng: Random) -> tuple[int, int]:
    start = _inside(size, rng)
    return start, min(size, start + min(BLOCK_BYTES, max(1, size // 8)))
