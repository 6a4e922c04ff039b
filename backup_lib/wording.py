"""One form for what a server may write in other words, when it reads its own definitions again.

Parentheses decide what a definition means, so they are kept: the text is read as a tree, and only what was seen to
change without a change of meaning is brought to one form. These are AND under AND, OR under OR, a cast of an array
that moves into its elements, parentheses around one thing, and the name that a constant's column gets from its type.
`skeleton` is blind to parentheses and casts altogether: equal skeletons say that two texts may mean the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[\w$]+|\s+|::|[()\[\]]|[^\w\s()\[\]'":]+|.""", re.DOTALL)
_OPEN, _CLOSING = {"(": ")", "[": "]"}, (")", "]")
_DEPTH = 200  # deeper nesting is not brought to one form

_NAME = r'(?:"(?:[^"]|"")+"|[a-z_][\w$]*)'
_CAST = re.compile(
    rf"::{_NAME}(?:\.{_NAME})?(?: varying| precision)?(?:\(\d+(?:, ?-?\d+)?\))?(?: with(?:out)? time zone)?(?:\[\])*"
    rf"(?: AS {_NAME})?"
)
_NAMED_BOOLEAN = re.compile(r"\b(true|false) AS bool\b")
_BLANKS = re.compile(r"[\s()]+")
_AROUND = re.compile(r" ?([^\w\s]) ?")  # a blank beside a sign means nothing, and stands where a parenthesis was
# In an arm of a UNION a constant gets its type as a cast, and that, read again, its type's name as the column's.
_NAMED_CAST = re.compile(_CAST.pattern.removesuffix(rf"(?: AS {_NAME})?") + rf"(?P<name> AS {_NAME})")
_TYPE_WORDS = ("varying", "precision", "with", "without", "time", "zone")


@dataclass(frozen=True, slots=True)
class _Group:
    """What stands between two parentheses or brackets."""

    sign: str
    items: tuple[_Item, ...]
    is_called: bool  # directly behind a name: arguments, a type's modifier, a subscript


_Item = str | _Group


def canonical(text: str) -> str:
    """The text in that form; one that cannot be read as a tree only without its line breaks."""
    named = _NAMED_BOOLEAN.sub(r"\1", _NAMED_CAST.sub(lambda cast: cast[0].removesuffix(cast["name"]), text))
    items = _read(named)
    return " ".join(text.split()) if items is None else _written(_settled(items))


def skeleton(text: str) -> str:
    """The text without casts, parentheses and line breaks."""
    bare = _NAMED_BOOLEAN.sub(r"\1", _CAST.sub("", text))
    return _AROUND.sub(r"\1", _BLANKS.sub(" ", bare)).strip()


def _read(text: str) -> tuple[_Item, ...] | None:
    """None where parentheses do not match."""
    stack: list[tuple[str, list[_Item], bool]] = [("", [], False)]
    before = " "  # the one just before, blanks too
    for part in _PART.findall(text):
        if part in _OPEN:
            is_called = part == "[" or before[-1].isalnum() or before[-1] in '_$"'
            stack.append((part, [], is_called))
        elif part in _CLOSING:
            sign, items, is_called = stack.pop()
            if not stack or _OPEN[sign] != part or len(stack) > _DEPTH:
                return None
            stack[-1][1].append(_Group(sign, tuple(items), is_called))
        elif not part.isspace():
            stack[-1][1].append(part)
        before = part
    return tuple(stack[0][1]) if len(stack) == 1 else None


def _settled(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
    inner = tuple(
        _Group(item.sign, _settled(item.items), item.is_called) if isinstance(item, _Group) else item for item in items
    )
    return _flat(_cast_inside(tuple(map(_bare, inner))))


def _bare(item: _Item) -> _Item:
    """Without parentheses around one thing."""
    while isinstance(item, _Group) and item.sign == "(" and not item.is_called and len(item.items) == 1:
        item = item.items[0]
    return item


def _flat(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
    """AND under AND, and OR under OR, as one."""
    word = next((word for word in ("AND", "OR") if word in items), None)
    if word is None or not _is_chain(items, word):
        return items
    flat: list[_Item] = []
    for item in items:
        is_inner = isinstance(item, _Group) and not item.is_called and _is_chain(item.items, word)
        flat += item.items if is_inner and isinstance(item, _Group) else (item,)
    return tuple(flat)


def _is_chain(items: tuple[_Item, ...], word: str) -> bool:
    """Arms of one thing each, with the word between them."""
    return len(items) >= 3 and len(items) % 2 == 1 and all((x == word) == bool(n % 2) for n, x in enumerate(items))


def _cast_inside(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
    """`(ARRAY[a, b])::text[]` as `ARRAY[(a)::text, (b)::text]`."""
    for n in range(len(items) - 1):
        array = items[n]
        if items[n + 1] != "::" or not isinstance(array, _Group) or array.is_called or array.items[:1] != ("ARRAY",):
            continue
        end = _end_of_type(items, n + 2)
        elements = array.items[1] if len(array.items) == 2 else None
        if items[end - 1] != _Group("[", (), is_called=True) or not isinstance(elements, _Group):
            continue
        wanted = items[n + 2 : end - 1]
        cast: list[_Item] = []
        for element in _listed(elements.items):
            whole = element[0] if len(element) == 1 else _Group("(", element, is_called=False)
            cast += [*(cast and [","]), whole, "::", *wanted]
        return (*items[:n], "ARRAY", _Group("[", tuple(cast), is_called=True), *_cast_inside(items[end:]))
    return items


def _end_of_type(items: tuple[_Item, ...], start: int) -> int:
    end = start + 1
    while end < len(items) and (
        items[end] == "."
        or items[end - 1] == "."
        or items[end] in _TYPE_WORDS
        or (isinstance(item := items[end], _Group) and item.is_called)
    ):
        end += 1
    return end


def _listed(items: tuple[_Item, ...]) -> list[tuple[_Item, ...]]:
    """What the commas part."""
    parts: list[list[_Item]] = [[]]
    for item in items:
        if item == ",":
            parts.append([])
        else:
            parts[-1].append(item)
    return [tuple(part) for part in parts]


def _written(items: tuple[_Item, ...]) -> str:
    return " ".join(
        f"{item.sign}{_written(item.items)}{_OPEN[item.sign]}" if isinstance(item, _Group) else item for item in items
    )
