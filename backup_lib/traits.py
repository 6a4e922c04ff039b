"""What each object is like, asked of the server's own catalog: a pg_dump that alters an object is seen by it.

A restored server writes some expressions in other words (casts moved into an ARRAY, parentheses of AND dropped, a
constant given its type as a name). `canonical` is blind to just these, so that equal objects have equal traits on
servers of one major. What it is blind to is not lost: archive and restored database are compared by the full text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import psycopg

from backup_lib.traits_sql import TRAITS

Connection = psycopg.Connection[tuple[Any, ...]]
Traits = dict[str, dict[str, str]]
"""Identity → trait (`owner`, `columns`, `definition`, …) → text."""

LONGEST = 4000  # characters kept as text; of a longer one the digest of its canonical form
_DIGEST = re.compile(r"SHA-256 [0-9a-f]{64}")
_NAME = r'(?:"(?:[^"]|"")+"|[a-z_][\w$]*)'
# In an arm of a UNION a constant gets its type as a cast, and that, read again, its type's name as the column's.
_CAST = re.compile(
    rf"::{_NAME}(?:\.{_NAME})?(?: varying| precision)?(?:\(\d+(?:, ?-?\d+)?\))?(?: with(?:out)? time zone)?(?:\[\])*"
    rf"(?: AS {_NAME})?"
)
_NAMED_BOOLEAN = re.compile(r"\b(true|false) AS bool\b")
_BLANKS = re.compile(r"[\s()]+")
_AROUND = re.compile(r" ?([^\w\s]) ?")  # a blank beside a sign means nothing, and stands where a parenthesis was


def canonical(text: str) -> str:
    """The text without casts, parentheses and line breaks, which a restore may write otherwise."""
    if _DIGEST.fullmatch(text):
        return text
    bare = _NAMED_BOOLEAN.sub(r"\1", _CAST.sub("", text))
    return _AROUND.sub(r"\1", _BLANKS.sub(" ", bare)).strip()


def read_traits(conn: Connection, objects: Mapping[tuple[int, int], str]) -> Traits:
    """The traits of all objects; those that are empty are left out.

    :param conn: with a pinned session.
    :param objects: (class, object) → identity, as `source.objects` gives them.
    """
    traits: Traits = {}
    for statement in TRAITS:
        for catalog, oid, trait, text in conn.execute(statement.encode()):
            identity = objects.get((catalog, oid))
            if identity is not None and text:
                traits.setdefault(identity, {})[trait] = _kept(text)
    return {identity: traits[identity] for identity in sorted(traits)}


def _kept(text: str) -> str:
    return text if len(text) <= LONGEST else f"SHA-256 {sha256(canonical(text).encode()).hexdigest()}"
