"""What a server refused, told without what may be the value of a row."""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg

_QUOTING = ("22", "42601")  # data exceptions, and syntax errors: these may be in an INSERT
_QUOTED = re.compile(r'(?<!column )(?<!encoding )(?<!constraint )".*"', re.DOTALL)
_ANY_QUOTED = re.compile(r'".*"', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementError:
    """A statement the server refused, without what may hold a row's values."""

    entry: str  # the entry's label; "session settings" before the first one
    sqlstate: str
    message: str
    context: str = ""  # "COPY ventas, line 3, column total"
    database: str | None = None


def message_without_values(exc: psycopg.Error, *, of_rows: bool = False) -> str:
    """The server's message, without what it quotes where that may be data.

    :param of_rows: the statement holds rows, and a damaged INSERT may have any of their words as a name.
    """
    message = exc.diag.message_primary or type(exc).__name__
    if (exc.sqlstate or "").startswith("P0"):
        return "a function of the archive raised an error"
    if of_rows and (exc.sqlstate or "").startswith("42"):
        return _ANY_QUOTED.sub('"…"', message.partition(": ")[0])
    if (exc.sqlstate or "").startswith(_QUOTING):
        return _QUOTED.sub('"…"', message.partition(": ")[0])
    return message


def context_without_values(exc: psycopg.Error) -> str:
    """`COPY ventas, line 3, column total`, without the column's value."""
    found = re.match(r"COPY (?:.*?), line \d+(?:, column [^:]+)?", exc.diag.context or "")
    return found[0] if found else ""
