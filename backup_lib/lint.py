"""Looks at a source, before it is dumped, for what will not survive: while it still exists, it can be mended.

Everything is read from the catalogs. Functions are not run: the server's own validators say whether their names
resolve with an empty search_path, which is what a restore gives them, and their text says what they read.
What SQL cannot see: duplicates under a unique index that is corrupt, and rows that break a valid key (pg_amcheck, and
a drill of the archive, do).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import psycopg
from psycopg import sql

from backup_lib import lint_sql
from backup_lib.concern import note, some, warn
from backup_lib.lint_functions import Concerns, functions
from backup_lib.manifest import Concern
from backup_lib.scope import Scope
from backup_lib.source import Connection, SourceSession

ORPHANS_TIMEOUT_MS = 2000  # for one key; what takes longer is not looked through


def lint(source: SourceSession, scope: Scope, *, client_major: int) -> tuple[Concern, ...]:
    """What to mend before an archive of `scope` is taken; warnings first.

    :param client_major: pg_dump's.
    :raises psycopg.Error: when the source does not answer.
    """
    conn = source.conn
    chosen = frozenset(table.oid for table in scope.tables)

    def concerns(relation: int) -> bool:
        return scope.is_whole or relation in chosen or scope.kind == "schema"

    found = [
        *_client(source.server_major, client_major),
        *_indexes(conn, concerns),
        *functions(conn, concerns),
        *_hidden_from_matviews(conn, concerns),
        *_keys(conn, scope, concerns),
        *_extensions(conn),
        *_collations(conn, source.server_major),
        *_unlogged(source, scope),
        *_left_out(conn, scope),
        *_not_covered(conn, scope),
    ]
    return tuple(sorted(found, key=lambda concern: concern.severity != "warning"))


def _client(server: int, client: int) -> Iterator[Concern]:
    """An older pg_dump is refused elsewhere: it does not know what the server has."""
    if client > server:
        yield warn(
            "newer-client",
            f"pg_dump {client}",
            f"newer than the server, {server}",
            f"what it writes may be refused by PostgreSQL {server}, which you would restore into",
            f"pgdrill install-server {server}",
        )


def _indexes(conn: Connection, concerns: Concerns) -> Iterator[Concern]:
    for name in (name for table, name in conn.execute(lint_sql.INVALID_INDEXES) if concerns(table)):
        yield warn(
            "invalid-index",
            f"index {name}",
            "invalid, as a failed CREATE INDEX CONCURRENTLY leaves it",
            "pg_dump leaves it out without a word",
            f"REINDEX INDEX CONCURRENTLY {name}, or DROP INDEX {name}",
        )


# Keys


def _keys(conn: Connection, scope: Scope, concerns: Concerns) -> Iterator[Concern]:
    keys = conn.execute(lint_sql.FOREIGN_KEYS).fetchall()
    if scope.kind == "data":
        names = {table.oid: table.label for table in scope.tables}
        edges = {(own, other) for own, other, *_ in keys if own in names and other in names}
        for circle in circles(edges):
            yield note(
                "circular-keys",
                some(sorted(names[oid] for oid in circle)),
                "foreign keys go in a circle",
                "psql and pg_restore cannot load these rows into tables that have their keys",
                "nothing, for pgdrill makes the keys last; by hand: pg_restore --disable-triggers",
            )
    for oid, _, table, other, name, validated, columns, referenced in keys:
        if not validated and concerns(oid):
            yield from _orphans(conn, (table, other, name), columns, referenced)


def circles(edges: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """The groups in which each can be reached from each other, itself included; sorted."""
    after: dict[int, set[int]] = {}
    for one, other in edges:
        after.setdefault(one, set()).add(other)
    reached = {start: _reachable(start, after) for start in after}
    groups = {
        tuple(sorted(other for other in found if start in reached.get(other, ())))
        for start, found in reached.items()
        if start in found
    }
    return sorted(groups)


def _reachable(start: int, after: Mapping[int, set[int]]) -> set[int]:
    found: set[int] = set()
    waiting = [start]
    while waiting:
        for other in after.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def _orphans(
    conn: Connection, key: tuple[str, str, str], columns: list[str], referenced: list[str]
) -> Iterator[Concern]:
    table, other, name = key
    pairs = list(zip(columns, referenced, strict=True))
    query = sql.SQL(
        "SELECT EXISTS (SELECT FROM {table} a WHERE {filled} AND NOT EXISTS (SELECT FROM {other} b WHERE {equal}))"
    ).format(
        table=sql.SQL(table),
        other=sql.SQL(other),
        filled=sql.SQL(" AND ".join(f"a.{mine} IS NOT NULL" for mine, _ in pairs)),
        equal=sql.SQL(" AND ".join(f"b.{theirs} = a.{mine}" for mine, theirs in pairs)),
    )
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(f"SET LOCAL statement_timeout = {ORPHANS_TIMEOUT_MS}".encode())
            (orphaned,) = conn.execute(query).fetchone() or (False,)
    except psycopg.DatabaseError as exc:
        if exc.sqlstate is None:
            raise
        orphaned = None
    if orphaned is False:
        return
    yield note(
        "orphans",
        f"key {name} on {table}",
        f"NOT VALID, and {'has rows' if orphaned else 'may have rows'} without their match in {other}",
        "it comes back as it is: NOT VALID, with these rows",
        f"mend the rows, then ALTER TABLE {table} VALIDATE CONSTRAINT {name}",
    )


# The rest, a query each


def _hidden_from_matviews(conn: Connection, concerns: Concerns) -> Iterator[Concern]:
    for oid, matview, table, owner in conn.execute(lint_sql.HIDDEN_FROM_MATVIEWS):
        if not concerns(oid):
            continue
        yield warn(
            "hidden-rows",
            f"materialized view {matview}",
            f"its owner {owner} sees {table} through row-level security only",
            "a restore fills it with row_security off, which the server refuses: it stays empty",
            f'ALTER ROLE "{owner}" BYPASSRLS, or give the view to another owner',
        )


def _extensions(conn: Connection) -> Iterator[Concern]:
    for name, installed, default in conn.execute(lint_sql.EXTENSIONS):
        yield warn(
            "extension",
            f"extension {name}",
            f"version {installed}, and CREATE EXTENSION makes {default}"
            if default
            else "its files are gone from this server",
            "an archive holds its name only, so another version comes back"
            if default
            else "it cannot be restored here",
            f"ALTER EXTENSION {name} UPDATE" if default else f"install the package of {name} again",
        )


def _collations(conn: Connection, major: int) -> Iterator[Concern]:
    for name, recorded, actual in conn.execute(lint_sql.COLLATIONS) if major >= 15 else ():
        yield warn(
            "collation-version",
            name,
            f"its indexes were sorted by version {recorded}, the system's is {actual}",
            "indexes may miss rows and let duplicates in, which a restore then refuses",
            f"REINDEX what uses it, then ALTER {name.upper() if ' ' not in name else name} REFRESH COLLATION VERSION",
        )


def _unlogged(source: SourceSession, scope: Scope) -> Iterator[Concern]:
    labels = (
        [t.label for t in scope.tables if t.persistence == "u" and t.kind == "r"] if source.facts.in_recovery else []
    )
    if labels:
        yield warn(
            "unlogged",
            some(labels),
            "unlogged tables, and this is a standby",
            "their rows exist on the primary only: the archive holds none",
            "back up from the primary",
        )


def _left_out(conn: Connection, scope: Scope) -> Iterator[Concern]:
    """What the chosen tables need and names left out."""
    if scope.kind == "schema" or not any(option.startswith(("--table=", "--schema=")) for option in scope.options):
        return
    oids = [table.oid for table in scope.tables]
    (objects,) = conn.execute(lint_sql.LARGE_OBJECTS).fetchone() or (0,)
    pointing = [name for (name,) in conn.execute(lint_sql.POINTING_AT_LARGE_OBJECTS, [oids])] if objects else []
    if pointing:
        yield warn(
            "large-objects",
            some(pointing),
            f"may point to some of the {objects} large objects",
            "with chosen tables or schemas pg_dump writes no large object",
            "back up the whole database as well",
        )
    schemas = {option.partition("=")[2] for option in scope.options if option.startswith("--schema=")}
    needed = [
        label
        for label, schema in conn.execute(lint_sql.NEEDED, {"tables": oids})
        if f'"{schema}"' not in schemas and schema not in schemas
    ]
    if needed:
        yield note(
            "needs",
            "the chosen tables",
            f"use {some(needed)}",
            "the archive does not hold them: a restore needs them beforehand",
            "choose them too, or keep a schema archive beside this one: pgdrill backup --kind schema",
        )


def _not_covered(conn: Connection, scope: Scope) -> Iterator[Concern]:
    if not scope.is_whole:
        return
    for code, query, noun, what, why in (
        ("event-trigger", lint_sql.EVENT_TRIGGERS, "event trigger", "acts on DDL", "only a superuser can restore it"),
        ("foreign-table", lint_sql.FOREIGN_TABLES, "foreign table", "its rows live elsewhere", "no archive holds them"),
        ("subscription", lint_sql.SUBSCRIPTIONS, "subscription", "follows a publisher", "it comes back disabled"),
    ):
        names = [name for (name,) in conn.execute(query)]
        if names:
            yield note(code, f"{noun} {some(names)}", what, why, "see that the recovery plan knows it")
