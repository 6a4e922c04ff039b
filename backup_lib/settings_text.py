"""TOML with the line of every key, which `tomllib` does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

Key = tuple[str | int, ...]  # ("checks", 0, "sql")


class NotTomlError(ValueError):
    """What is wrong, and the line of it: where something is left unfinished, the one that it begins on."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message, line)
        self.message = message
        self.line = line


def parse_toml(text: str) -> tuple[dict[str, Any], Mapping[Key, int]]:
    """The document, floats as decimals, and the line of each key and table, from 1.

    :raises NotTomlError: when it is none.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as exc:
        words, _, place = str(exc).partition(" (at ")
        line = re.match(r"line (\d+)", place)
        raise NotTomlError(words.lower(), int(line[1]) if line else _unfinished(text)) from None
    return document, dict(reversed(list(_key_lines(text))))


def line_of(lines: Mapping[Key, int], key: Key) -> int | None:
    """The key's line, else that of the nearest thing around it; inside an array or inline table no line is known."""
    return next((lines[key[:size]] for size in range(len(key), 0, -1) if key[:size] in lines), None)


def _key_lines(text: str) -> Iterator[tuple[Key, int]]:
    table: Key = ()
    counts: dict[Key, int] = {}
    for number, statement, is_header in _statements(text):
        keys = list(_keys(tomllib.loads(statement)))
        if not is_header:
            yield from ((table + key, number) for key in keys)
        elif keys:
            table = _place(keys[-1], counts)
            yield table, number


def _statements(text: str) -> Iterator[tuple[int, str, bool]]:
    """Line, text and whether it is a table's header: the shortest run of lines that is TOML by itself.

    An unfinished array, string or inline table is none, so no second parser is needed to find where one ends.
    """
    lines = text.split("\n")
    begun = 0
    for at in range(len(lines)):
        statement = "\n".join(lines[begun : at + 1])
        try:
            tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield begun + 1, statement, re.match(r"\s*\[", statement) is not None
        begun = at + 1


def _unfinished(text: str) -> int:
    ended = 0
    for number, statement, _ in _statements(text):
        ended = number + statement.count("\n")
    return ended + 1


def _keys(value: Any, key: Key = ()) -> Iterator[Key]:
    """Each key of a statement, the outer ones first; `[[checks]]` is the first of its kind, `("checks", 0)`."""
    if key:
        yield key
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _keys(inner, (*key, name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for place, inner in enumerate(value):
            yield from _keys(inner, (*key, place))


def _place(header: Key, counts: dict[Key, int]) -> Key:
    """The table that a header opens: `[[a]]` the next of its kind, `[a.b]` inside the last one opened."""
    place: Key = ()
    for part in header:
        if isinstance(part, int):
            counts[place] = counts.get(place, -1) + 1
            place = (*place, counts[place])
        else:
            if place in counts:
                place = (*place, counts[place])
            place = (*place, part)
    return place
