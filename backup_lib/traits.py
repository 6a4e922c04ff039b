"""What each object is like, asked of the server's own catalog: a pg_dump that alters an object is seen by it.

A restored server writes some expressions in other words; in the form `wording.canonical` gives them, equal objects
have equal traits on servers of one major.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import psycopg

from backup_lib.traits_sql import TRAITS
from backup_lib.wording import canonical

Connection = psycopg.Connection[tuple[Any, ...]]
Traits = dict[str, dict[str, str]]
"""Identity → trait (`owner`, `columns`, `definition`, …) → text."""

LONGEST = 100_000  # characters kept as text; of a longer one the digest of its canonical form


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
