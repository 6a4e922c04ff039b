"""Functions that a restore evaluates: do they resolve with an empty search_path, and do they read other tables?

No function is run. The server's own validators parse and resolve a body, and its text says what they do not look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg

from backup_lib import lint_sql
from backup_lib.concern import some, warn
from backup_lib.function_text import names_in
from backup_lib.manifest import Concern
from backup_lib.source import Connection

Concerns = Callable[[int], bool]
"""Whether an archive is to hold the relation of that oid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function as the server keeps it."""

    oid: int
    schema: str
    name: str
    label: str
    language: str
    text: str  # "" where the server has parsed it
    pins_path: bool
    shadowed: bool  # pg_catalog has one of this name, which is found first


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What there is in the database for a text to name."""

    functions: tuple[Function, ...]
    relations: frozenset[tuple[str, str]]
    types: frozenset[tuple[str, str]]

    def called(self, function: Function) -> Iterator[Function]:
        """Users' functions it calls, as far as its text says."""
        for named in names_in(function.text):
            if named.use == "call":
                yield from (
                    other
                    for other in self.functions
                    if other.name == named.name and named.schema in (None, other.schema)
                )

    def read(self, function: Function) -> list[str]:
        """Users' relations it reads."""
        found = {
            f"{schema}.{name}"
            for named in names_in(function.text)
            if named.use == "relation"
            for schema, name in self.relations
            if name == named.name and named.schema in (None, schema)
        }
        return sorted(found)

    def unresolved(self, function: Function) -> list[str]:
        """Names that an empty search_path does not find: users', and unqualified."""
        by_use = {
            "relation": {name for _, name in self.relations},
            "type": {name for _, name in self.types},
            "call": {other.name for other in self.functions if not other.shadowed},
        }
        found = {n.name for n in names_in(function.text) if n.schema is None and n.name in by_use[n.use]}
        return sorted(found)


def functions(conn: Connection, concerns: Concerns) -> Iterator[Concern]:
    """What is wrong with them, for the tables that the archive is to hold."""
    evaluated = conn.execute(lint_sql.EVALUATED).fetchall()
    if not evaluated:
        return
    names = _names(conn)
    known = {function.oid: function for function in names.functions}
    bodies: dict[int, list[str]] = {}
    for oid, relation in conn.execute(lint_sql.READ_BY_BODIES, [list(known)]):
        bodies.setdefault(oid, []).append(relation)
    judged: dict[int, str | None] = {}
    for kind, label, relation, oid in evaluated:
        if relation and not concerns(relation):
            continue
        for function in _reached(known.get(oid), names):
            if function.oid not in judged:
                judged[function.oid] = _needs_path(conn, function, names)
            if (reason := judged[function.oid]) is not None:
                yield _needs_search_path(kind, label, function, reason)
            tables = bodies.get(function.oid) or names.read(function)
            if tables and kind in ("check", "generated column"):
                yield _reads_tables(label, function, tables)


def _names(conn: Connection) -> Names:
    functions = tuple(
        Function(oid=oid, schema=schema, name=name, label=label, language=language, text=text, pins_path=pins,
                 shadowed=shadowed)
        for oid, schema, name, label, language, text, pins, shadowed in conn.execute(lint_sql.FUNCTIONS)
    )  # fmt: skip
    rows = conn.execute(lint_sql.NAMES).fetchall()
    relations, types = (frozenset((s, n) for kind, s, n in rows if kind == wanted) for wanted in ("relation", "type"))
    return Names(functions=functions, relations=relations, types=types)


def _reached(start: Function | None, names: Names) -> Iterator[Function]:
    """The function and all it calls; not beyond one that sets its own search_path, which holds for what it calls."""
    waiting, seen = [start] if start else [], set[int]()
    while waiting:
        function = waiting.pop()
        if function.oid in seen:
            continue
        seen.add(function.oid)
        yield function
        if not function.pins_path:
            waiting += names.called(function)


def _needs_path(conn: Connection, function: Function, names: Names) -> str | None:
    """Why it fails with an empty search_path; None: it does not, as far as can be told without running it."""
    if function.pins_path or not function.text:
        return None
    validator = lint_sql.VALIDATORS.get(function.language)
    if validator is None:
        return None
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("SET LOCAL check_function_bodies = on")
            conn.execute(validator.encode(), [function.oid])
    except psycopg.errors.InsufficientPrivilege:
        return None
    except psycopg.Error as exc:
        # Class 42: a name, or what it stands for. Others may quote a literal of the text.
        if exc.sqlstate is None or not exc.sqlstate.startswith("42"):
            return None
        return exc.diag.message_primary or "it does not resolve"
    unresolved = names.unresolved(function)
    return f"it names {some(unresolved)} without a schema" if unresolved else None


def _needs_search_path(kind: str, label: str, function: Function, reason: str) -> Concern:
    lost = {
        "index": "the index cannot be made",
        "generated column": "the rows of its table cannot be loaded",
        "check": "the rows of its table cannot be loaded",
        "materialized view": "it stays empty",
    }[kind]
    return warn(
        "search-path",
        label,
        f"calls {function.label}, which needs a search_path: {reason}",
        f"a restore sets an empty one, so {lost}",
        f"ALTER FUNCTION {function.label} SET search_path = {function.schema}, pg_temp; or qualify its names",
    )


def _reads_tables(label: str, function: Function, tables: Sequence[str]) -> Concern:
    return warn(
        "reads-tables",
        label,
        f"reads {some(tables)} through {function.label}",
        "what it reads may be loaded later than its own table: rows are refused, or come out otherwise",
        "make it a foreign key or a trigger: those come when all rows are in",
    )
