"""Does the restored database answer as the configuration's own queries expect?

A wrong answer is held against the archive, since it is what would be restored; that the source answered alike at
that instant, the other checks tell. A query that cannot be evaluated is held against the configuration (policy).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import psycopg
from psycopg import RawCursor

from backup_lib.quantity import quantity
from backup_lib.settings import SqlCheck
from backup_lib.statement_errors import message_without_values
from verification.checks.definition import Check
from verification.checks.restore import lacked
from verification.facts import Answer, Facts
from verification.finding import Finding, fault, match
from verification.findings import excused, not_compared, not_reached
from verification.restoring import Connect

_NUMBERS = frozenset({20, 21, 23, 26, 700, 701, 1700})  # int8, int2, int4, oid, float4, float8, numeric
_BOOL = 16
_TIMED_OUT = "57014"
_SHOWN = 40  # characters of a number


def sql_check(check: SqlCheck) -> Check:
    """A check of the suite, from one of the configuration."""
    return Check(
        name=f"sql:{check.name}",
        title=f"SQL: {check.name}",
        method=f"A query of the configuration, asked of the restored database: {_expected(check)}.",
        level="restore",
        run=partial(check_answer, check),
    )


def ask(
    checks: Iterable[SqlCheck], connect: Connect, databases: Sequence[str], *, is_of: str | None, timeout_s: float
) -> dict[str, Answer]:
    """Ask each query that this archive is the place for, in a read-only transaction that is rolled back.

    :param databases: those restored. A query of no certain database is asked of the last.
    :param is_of: the name of the one database the archive is of; None where it does not say, or holds several.
    :raises psycopg.OperationalError: when the server is gone.
    """
    answers = {}
    for check in checks:
        if check.database is None or check.database == is_of:
            database: str | None = databases[-1]
        else:
            database = check.database if check.database in databases else None
        if database is not None:
            answers[check.name] = _ask(check, connect, database, timeout_s)
    return answers


def _ask(check: SqlCheck, connect: Connect, database: str, timeout_s: float) -> Answer:
    # In parentheses it can only be one query, and no more rows come than are needed to see that they are too many.
    what = "count(*)" if check.rows is not None else "*"
    query = f"SELECT {what} FROM (\n{check.sql.strip().rstrip(';')}\n) AS answer LIMIT $1"
    with closing(connect(database)) as connection:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("SET TRANSACTION READ ONLY")
                connection.execute(f"SET LOCAL statement_timeout = {max(1, round(timeout_s * 1000))}".encode())
                cursor = RawCursor(connection)
                cursor.execute(query.encode(), [2])
                return _answer(cursor)
        except psycopg.Error as exc:
            if exc.sqlstate is None:
                raise
            return Answer(error=message_without_values(exc), sqlstate=exc.sqlstate)


def _answer(cursor: RawCursor[tuple[object, ...]]) -> Answer:
    """As the server wrote it: what a value means is not left to this side's types."""
    result = cursor.pgresult
    if result is None:
        raise ValueError("a query in parentheses gives a result")
    oid = result.ftype(0) if result.nfields else 0
    known = cursor.connection.adapters.types.get(oid)
    return Answer(
        rows=result.ntuples,
        columns=result.nfields,
        value=result.get_value(0, 0) if result.ntuples and result.nfields else None,
        type_oid=oid,
        type_name=known.name if known else "another type",
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """An answer as it is compared, and as it may be shown."""

    shown: str
    number: Decimal | None = None
    truth: bool | None = None
    text: str | None = None


def check_answer(check: SqlCheck, facts: Facts) -> list[Finding]:
    """One finding: a query that was not asked is a note, and never a match."""
    name = f"sql:{check.name}"
    if facts.restored is None:
        return [not_reached(name, facts)]
    if facts.answers is None:
        return [not_compared(name, "the archive holds a part of a database, and the query may need the rest")]
    answer = facts.answers.get(check.name)
    if answer is None:
        return [not_compared(name, f"the archive does not say that it is of the database {check.database}")]
    if answer.error is not None:
        return [_not_evaluated(name, check, answer, facts)]
    read = _read(answer, check)
    if read is not None and _holds(check, read):
        return [match(name, _subject(check), _expected(check))]
    actual = read.shown if read is not None else _no_value(answer)
    return [_wrong(name, check, actual)]


def _read(answer: Answer, check: SqlCheck) -> _Read | None:
    """The one value, or the number of rows; None where there is not exactly one value."""
    if answer.rows != 1 or answer.columns != 1:
        return None
    if answer.value is None:
        return _Read("NULL")
    text = answer.value.decode(errors="surrogateescape")
    if check.rows is not None:
        return _Read(quantity(int(text), "row"), number=Decimal(text))
    if answer.type_oid == _BOOL:
        return _Read("true" if text == "t" else "false", truth=text == "t", text="true" if text == "t" else "false")
    if answer.type_oid in _NUMBERS and not isinstance(check.equals, str):
        number = Decimal(text)
        return _Read(text[:_SHOWN], number=number if number.is_finite() else None)
    return _Read(_digest(text) if isinstance(check.equals, str) else f"a value of type {answer.type_name}", text=text)


def _holds(check: SqlCheck, read: _Read) -> bool:
    if isinstance(check.equals, bool):
        return read.truth is check.equals
    if isinstance(check.equals, str):
        return read.text == check.equals
    if read.number is None:
        return False
    if check.equals is not None:
        return read.number == check.equals
    if check.rows is not None:
        return read.number == check.rows
    low = check.at_least is None or read.number >= check.at_least
    high = check.at_most is None or read.number <= check.at_most
    return low and high


def _no_value(answer: Answer) -> str:
    if answer.columns != 1:
        return f"{answer.columns} columns"
    return "no row" if answer.rows == 0 else "more than one row"


def _expected(check: SqlCheck) -> str:
    """What is wanted, without a text that may be somebody's data."""
    if check.rows is not None:
        return quantity(check.rows, "row")
    if isinstance(check.equals, bool):
        return "true" if check.equals else "false"
    if isinstance(check.equals, str):
        return _digest(check.equals)
    if check.equals is not None:
        return f"{check.equals:f}"
    bounds = (("at least", check.at_least), ("at most", check.at_most))
    return ", ".join(f"{word} {bound:f}" for word, bound in bounds if bound is not None)


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    return f"a text of {len(text):,} characters, SHA-256 {digest[:16]}…"


def _subject(check: SqlCheck) -> str:
    return f"database {check.database}" if check.database else "database"


def _wrong(name: str, check: SqlCheck, actual: str) -> Finding:
    return fault(
        name,
        _subject(check),
        _expected(check),
        actual,
        why="what would be restored is not as your configuration says that it must be",
        hint="ask the source the same: if it answers alike, mend the data or the check; if not, `pgdrill backup` again",
    )


def _not_evaluated(name: str, check: SqlCheck, answer: Answer, facts: Facts) -> Finding:
    timed_out = answer.sqlstate == _TIMED_OUT
    finding = Finding(
        check=name,
        object=_subject(check),
        status="gap" if timed_out else "fault",
        cause="policy",
        expected=_expected(check),
        actual="no answer in time" if timed_out else f"{answer.error} ({answer.sqlstate})",
        why="a query that was not answered proves nothing",
        hint="raise check_timeout in [verify], or ask for less"
        if timed_out
        else "run the query in psql at the source, and mend it in pgdrill.toml; it must be one SELECT",
    )
    return excused(finding) if lacked(facts) else finding
