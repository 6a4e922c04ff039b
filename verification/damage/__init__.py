"""Damage for the negative control: what goes wrong with archives, done on purpose to copies of one. Pure.

Nothing here reads or writes a file: text and bytes come in, edits go out. Every choice is made by the `Random` that is
given, so the same archive is always damaged in the same way. Each kind changes what the archive *means*: damage
that a restore would rightly shrug off proves nothing when it passes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Edit:
    """Replace the bytes from `start` to before `end` by `put`; an insertion has both alike."""

    start: int
    end: int
    put: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One stroke: where it fell, and what a finding about it must mention."""

    object: str  # as a person calls it: `public.ventas`, `INDEX public.por_total`; never a row's value
    names: tuple[str, ...]  # one of them must stand in a finding
    edits: tuple[Edit, ...] = ()


def spliced(chunks: Iterable[bytes], edits: Iterable[Edit]) -> Iterator[bytes]:
    """The chunks with the edits made, whatever way the bytes are parted.

    :param edits: in offsets of the whole; they must not overlap.
    """
    waiting = deque(sorted(edits))
    at = kept_from = 0  # what lies before `kept_from` was replaced already
    for chunk in chunks:
        end = at + len(chunk)
        while waiting and waiting[0].start < end:
            edit = waiting.popleft()
            yield chunk[max(kept_from - at, 0) : edit.start - at]
            yield edit.put
            kept_from = edit.end
        yield chunk[max(kept_from - at, 0) :]
        at = end
    for edit in waiting:
        yield edit.put


def apply(data: bytes, edits: Iterable[Edit]) -> bytes:
    return b"".join(spliced([data], edits))
