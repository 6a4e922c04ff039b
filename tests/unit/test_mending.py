"""Reading in the server's words what it lacks."""

from __future__ import annotations

import pytest

from verification.mending import _ROLE, _SCHEMA, _TABLESPACE


@pytest.mark.parametrize(
    ("pattern", "message", "name"),
    [
        (_ROLE, 'role "due\nño" does not exist', "due\nño"),
        (_SCHEMA, 'schema "a "b" does not exist', 'a "b'),
        (_TABLESPACE, 'tablespace "rápido" does not exist', "rápido"),
        (_TABLESPACE, 'invalid value for parameter "default_tablespace": "rápido"', "rápido"),
    ],
)
def test_the_name_of_what_is_missing_is_read_whole(pattern: object, message: str, name: str) -> None:
    found = pattern.fullmatch(message)  # type: ignore[attr-defined]
    assert found is not None
    assert found[1] == name
