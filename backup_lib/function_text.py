"""What a function's text names: for bodies that are mere text to the server, which records no dependency of theirs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Use = Literal["relation", "call", "type"]

_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_TOKEN = re.compile(
    rf"""--[^\n]*                                    # comments and literals name nothing
      | /\*.*?\*/
      | [eE]?'(?:[^'\\]|''|\\.)*'
      | (?P<dollar>\$\w*\$).*?(?P=dollar)
      | (?P<chain>{_NAME}(?:\s*\.\s*{_NAME})*)
      | (?P<mark>::|[(),;])""",
    re.VERBOSE | re.DOTALL,
)
_PARTS = re.compile(_NAME)
_BEFORE_RELATION = frozenset({"from", "join", "update", "into", "only", "table"})
_CLAUSES = frozenset(
    {"select", "from", "where", "set", "values", "group", "order", "having", "returning", "on", "using"}
)
_NOT_ABOUT_RELATIONS = frozenset({"extract", "substring", "trim", "overlay", "position"})  # their own FROM


@dataclass(frozen=True, slots=True)
class Named:
    """A name as the text uses it; `schema` is None where it depends on the search_path."""

    use: Use
    schema: str | None
    name: str


def names_in(text: str) -> Iterator[Named]:
    """Relations, functions and types that a text of SQL or PL/pgSQL may name; rather more than it does.

    A chain of names is a relation's behind FROM and its like, a function's before a parenthesis, a type's behind `::`.
    What a text puts together for EXECUTE cannot be seen.
    """
    opened, clauses = [""], [""]  # by depth: what stands before the parenthesis, and the clause that runs in it
    before = before_that = ""
    for token in _TOKEN.finditer(text):
        word = token["mark"] or (token["chain"] or "").lower()
        if token["chain"] is not None:
            parts = [_unquoted(part) for part in _PARTS.findall(token["chain"])]
            called = text[token.end() :].lstrip().startswith("(")
            use = _use_of(before, before_that, clauses[-1], called=called, inside=opened[-1])
            if use is not None and len(parts) <= 2:
                yield Named(use, parts[0] if len(parts) == 2 else None, parts[-1])
            if word in _CLAUSES:
                clauses[-1] = word
        elif word == "(":
            opened.append(before)
            clauses.append("")
        elif word == ")" and len(opened) > 1:
            opened.pop()
            clauses.pop()
        elif word == ";":
            clauses[-1] = ""
        if word:
            before_that, before = before, word


def _use_of(before: str, before_that: str, clause: str, *, called: bool, inside: str) -> Use | None:
    if before == "::":
        return "type"
    is_source = before in _BEFORE_RELATION or (before == "," and clause == "from")
    if inside in _NOT_ABOUT_RELATIONS or (before == "from" and before_that == "distinct"):
        is_source = False
    if before == "into":
        return "relation" if before_that == "insert" else None
    if is_source and not called:
        return "relation"
    return "call" if called else None


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
