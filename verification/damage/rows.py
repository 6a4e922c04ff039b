"""Damage to rows: the file stays flawless, and so does its syntax. What is seen must be seen in the data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from random import Random

from verification.damage import Damage, Edit
from verification.damage.dump_map import DumpMap, Place, Rows

Row = list[bytes]  # its fields as COPY writes them
_Change = Callable[[Row, Random], Row | None]

_NULL = b"\\N"
_NUMBER = re.compile(rb"-?[0-9]+")
_WORDS = re.compile(rb"[A-Za-z]{2}[^\\]*")
_TRIES = 200  # rows of one table that are looked at for one that fits


def row_lost(dump: DumpMap, rng: Random) -> Damage | None:
    for place, rows in _blocks(dump, rng):
        at, row = _some_row(rows, rng)
        return _struck(place, rows, Edit(start=at, end=at + len(row)))
    return None


def row_doubled(dump: DumpMap, rng: Random) -> Damage | None:
    for place, rows in _blocks(dump, rng):
        at, row = _some_row(rows, rng)
        return _struck(place, rows, Edit(start=at, end=at, put=row))
    return None


def row_shortened(dump: DumpMap, rng: Random) -> Damage | None:
    """A field less than its table has columns."""
    for place, rows in _blocks(dump, rng):
        at, row = _some_row(rows, rng)
        if b"\t" in row:
            return _struck(place, rows, Edit(start=at + row.rindex(b"\t"), end=at + len(row) - 1))
    return None


def values_swapped(dump: DumpMap, rng: Random) -> Damage | None:
    """One column's values of two rows change places; in another column the rows differ, so it is no mere reordering."""
    for place, rows in _blocks(dump, rng):
        pair = _swappable(_rows(rows)[:_TRIES], rng)
        if pair is None:
            continue
        (at, one), (other_at, other), column = pair
        one_fields, other_fields = _fields(one), _fields(other)
        one_fields[column], other_fields[column] = other_fields[column], one_fields[column]
        return _struck(
            place,
            rows,
            Edit(start=at, end=at + len(one), put=_row(one_fields)),
            Edit(start=other_at, end=other_at + len(other), put=_row(other_fields)),
        )
    return None


def digit_changed(dump: DumpMap, rng: Random) -> Damage | None:
    return _in_a_row(dump, rng, _change_digit)


def null_and_empty(dump: DumpMap, rng: Random) -> Damage | None:
    """NULL for an empty string, or the other way round."""
    return _in_a_row(dump, rng, _swap_null)


def blank_added(dump: DumpMap, rng: Random) -> Damage | None:
    """A blank inside a word: at a value's end, char(n) would not see it."""
    return _in_a_row(dump, rng, _add_blank)


def block_emptied(dump: DumpMap, rng: Random) -> Damage | None:
    for place, rows in _blocks(dump, rng):
        return _struck(place, rows, Edit(start=rows.start, end=rows.end))
    return None


def data_lost(dump: DumpMap, rng: Random) -> Damage | None:
    """The rows' whole entry, with its comment."""
    for place, rows in _blocks(dump, rng):
        return _struck(place, rows, Edit(start=place.start, end=place.end))
    return None


def large_object_altered(dump: DumpMap, rng: Random) -> Damage | None:
    """One hexadecimal digit of one large object."""
    for place, oid, start, end in _large_objects(dump, rng):
        text = place.text[start - place.body : end - place.body]
        digits = re.search(rb"lowrite\(0, '\\\\?x([0-9a-f]+)'", text)
        if digits is not None:
            at = start + digits.start(1) + rng.randrange(len(digits[1]))
            digit = place.text[at - place.body : at - place.body + 1]
            put = b"%x" % (int(digit, 16) ^ 1)
            return Damage(object=oid, names=(oid,), edits=(Edit(start=at, end=at + 1, put=put),))
    return None


def large_object_lost(dump: DumpMap, rng: Random) -> Damage | None:
    """Its bytes; the object itself stays, empty."""
    for _, oid, start, end in _large_objects(dump, rng):
        return Damage(object=oid, names=(oid,), edits=(Edit(start=start, end=end),))
    return None


def _large_objects(dump: DumpMap, rng: Random) -> Iterator[tuple[Place, str, int, int]]:
    """Those that are read whole and hold anything: their entry, name and extent."""
    found = []
    for place in dump.places:
        if place.type == "BLOBS":
            pattern = rb"^SELECT pg_catalog\.lo_open\('(\d+)', \d+\);\n(?:SELECT pg_catalog\.lowrite\(.*\n)+"
            pattern += rb"SELECT pg_catalog\.lo_close\(0\);\n"
            for seen in re.finditer(pattern, place.text, re.MULTILINE):
                oid = f"large object {seen[1].decode()}"
                found.append((place, oid, place.body + seen.start(), place.body + seen.end()))
    rng.shuffle(found)
    yield from found


def _blocks(dump: DumpMap, rng: Random) -> Iterator[tuple[Place, Rows]]:
    blocks = dump.blocks()
    rng.shuffle(blocks)
    yield from blocks


def _struck(place: Place, rows: Rows, *edits: Edit) -> Damage:
    # A partition that is loaded through its root is counted and compared there.
    names = dict.fromkeys((place.table, rows.target.replace('"', "")))
    return Damage(object=place.table, names=tuple(names), edits=edits)


def _rows(rows: Rows) -> list[tuple[int, bytes]]:
    found, at = [], rows.start
    for row in rows.head.split(b"\n")[:-1]:
        found.append((at, row + b"\n"))
        at += len(row) + 1
    return found


def _some_row(rows: Rows, rng: Random) -> tuple[int, bytes]:
    return rng.choice(_rows(rows))


def _fields(row: bytes) -> Row:
    return row[:-1].split(b"\t")


def _row(fields: Row) -> bytes:
    return b"\t".join(fields) + b"\n"


def _in_a_row(dump: DumpMap, rng: Random, change: _Change) -> Damage | None:
    for place, rows in _blocks(dump, rng):
        candidates = _rows(rows)[:_TRIES]
        rng.shuffle(candidates)
        for at, row in candidates:
            changed = change(_fields(row), rng)
            if changed is not None:
                return _struck(place, rows, Edit(start=at, end=at + len(row), put=_row(changed)))
    return None


def _with(fields: Row, fitting: list[int], rng: Random, new: Callable[[bytes], bytes]) -> Row | None:
    if not fitting:
        return None
    column = rng.choice(fitting)
    return [*fields[:column], new(fields[column]), *fields[column + 1 :]]


def _change_digit(fields: Row, rng: Random) -> Row | None:
    fitting = [column for column, value in enumerate(fields) if _NUMBER.fullmatch(value)]
    return _with(fields, fitting, rng, _next_number)


def _next_number(value: bytes) -> bytes:
    """With another last digit, so that no leading zero and no sign makes it the same number."""
    digit = int(value[-1:])
    return value[:-1] + b"%d" % (digit - 1 if digit == 9 else digit + 1)


def _swap_null(fields: Row, rng: Random) -> Row | None:
    fitting = [column for column, value in enumerate(fields) if value in (_NULL, b"")]
    return _with(fields, fitting, rng, lambda value: b"" if value == _NULL else _NULL)


def _add_blank(fields: Row, rng: Random) -> Row | None:
    fitting = [column for column, value in enumerate(fields) if _WORDS.fullmatch(value)]
    return _with(fields, fitting, rng, lambda value: value[:1] + b" " + value[1:])


def _swappable(rows: list[tuple[int, bytes]], rng: Random) -> tuple[tuple[int, bytes], tuple[int, bytes], int] | None:
    for _ in range(min(len(rows), 50)):
        one, other = rng.sample(rows, 2) if len(rows) > 1 else (rows[0], rows[0])
        pairs = zip(_fields(one[1]), _fields(other[1]), strict=False)
        different = [column for column, (mine, yours) in enumerate(pairs) if mine != yours]
        if len(different) > 1:
            return one, other, rng.choice(different)
    return None
