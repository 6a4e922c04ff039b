"""A dump that ends too early, as a full disk or a killed pg_dump leaves it, in a file that is whole in itself."""

from __future__ import annotations

from random import Random

from verification.damage import Damage, Edit
from verification.damage.dump_map import DumpMap, Place

END = 1 << 62  # behind every text


def cut_in_a_row(dump: DumpMap, rng: Random) -> Damage | None:
    return _cut_in_rows(dump, rng, behind_a_line=False)


def cut_behind_a_row(dump: DumpMap, rng: Random) -> Damage | None:
    """At a line's end, where psql takes it for success."""
    return _cut_in_rows(dump, rng, behind_a_line=True)


def cut_before_post_data(dump: DumpMap, _rng: Random) -> Damage | None:
    """All rows are there; keys, indexes and triggers are not."""
    data = [n for n, place in enumerate(dump.places) if place.type in ("TABLE DATA", "SEQUENCE SET", "BLOBS")]
    if not data or data[-1] + 1 >= len(dump.places):
        return None
    last, after = dump.places[data[-1]], dump.places[data[-1] + 1]
    return _cut(last, after.start)


def closing_line_lost(dump: DumpMap, _rng: Random) -> Damage | None:
    if dump.closing is None or not dump.places:
        return None
    return _cut(dump.places[-1], dump.closing)


def _cut_in_rows(dump: DumpMap, rng: Random, *, behind_a_line: bool) -> Damage | None:
    blocks = dump.blocks()
    if not blocks:
        return None
    place, rows = rng.choice(blocks)
    row = rng.choice(rows.head.split(b"\n")[:-1])
    at = rows.start + rows.head.index(row + b"\n")
    if behind_a_line:
        return _cut(place, at + len(row) + 1)
    return _cut(place, at + len(row) // 2) if len(row) > 1 else None


def _cut(place: Place, at: int) -> Damage:
    return Damage(object=place.label, names=(place.label,), edits=(Edit(start=at, end=END),))
