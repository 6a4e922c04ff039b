"""How many of a thing, in words: one has another form than two."""

from __future__ import annotations


def quantity(count: int, noun: str, nouns: str = "") -> str:
    """`1 fault`, `2,000 faults`."""
    return f"{count:,} {_form(count, noun, nouns)}"


def number_of(count: int, noun: str, nouns: str = "") -> str:
    """`1 row`, `2000 rows`: for findings, in which a number may be looked for as it is."""
    return f"{count} {_form(count, noun, nouns)}"


def _form(count: int, noun: str, nouns: str) -> str:
    return noun if count == 1 else nouns or noun + "s"
