"""The sample database: the points of sale of a small chain of shops in Mexico, in Spanish.

Its SQL lies beside this module, one file a subject, loaded in the order of their names. The data is the same
on every run and every major of PostgreSQL, so two copies can be compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from backup_lib.dsn import normalise_dsn
from backup_lib.errors import SourceError, UsageError
from backup_lib.server_programs import OLDEST_MAJOR

DATABASE = "pos_tienda"

_LOCALES = ("C.UTF-8", "C")  # the first that the server's system has
_SETTINGS = (
    # The files name every schema; without a search path, one that was forgotten is seen at once.
    "SET search_path = ''",
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET client_encoding = 'UTF8'",
    "SET client_min_messages = 'error'",  # that wal_level is too low to publish does not matter here
    "SET default_table_access_method = 'heap'",
    "SET default_tablespace = ''",
    "SET default_toast_compression = 'pglz'",
    "SET standard_conforming_strings = on",
    "SET check_function_bodies = on",
    "SET lock_timeout = 0",
    "SET statement_timeout = 0",
    "SET synchronous_commit = off",
    "SET maintenance_work_mem = '64MB'",
    "SET work_mem = '32MB'",
)
_TABLES = """
    SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ORDER BY 1, 2"""

_Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFacts:
    """What `create` made."""

    rows: int  # exact, in all tables
    tables: int  # that hold rows of their own: a partitioned table counts by its partitions
    seconds: float


def create(conninfo: str, database: str = DATABASE, *, scale: float = 1.0) -> SampleFacts:
    """Create the sample database on a server, with the roles `pos_…` that it needs, and fill it.

    :param conninfo: of a superuser, in any database of that server.
    :param scale: multiplies the number of rows; tables stay large enough to hold every special row.
    :return: its exact number of rows.
    :raises UsageError: when the database exists already, or `scale` is not a positive number.
    :raises SourceError: when the server cannot be reached or is too old, the role is no superuser, or an
        extension is missing. Nothing is left behind but the roles.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"the scale of the sample must be a positive number: {scale}", hint="1 is 280,000 rows")
    started = time.monotonic()
    dsn = normalise_dsn(conninfo)
    with _connect(dsn) as server:
        _check_server(server)
        with _new_database(server, database), _connect(make_conninfo(dsn, dbname=database)) as conn:
            _fill(conn, scale)
            tables, rows = _count(conn)
    return SampleFacts(rows=rows, tables=tables, seconds=time.monotonic() - started)


@contextmanager
def _connect(dsn: str) -> Iterator[_Connection]:
    try:
        conn = psycopg.connect(dsn, autocommit=True, application_name="pgdrill sample")
    except psycopg.OperationalError as exc:
        raise SourceError(
            f"the server for the sample database cannot be reached: {exc}",
            hint="name a running server of which you are the superuser",
        ) from exc
    with conn:
        yield conn


def _check_server(server: _Connection) -> None:
    if server.info.server_version < OLDEST_MAJOR * 10_000:
        raise SourceError(
            f"the server is version {server.info.server_version // 10_000}, the sample needs {OLDEST_MAJOR}",
            hint=f"use a server of PostgreSQL {OLDEST_MAJOR} or newer",
        )
    if server.info.parameter_status("is_superuser") != "on":
        raise SourceError(
            f"the role {server.info.user} is no superuser, and the sample makes roles and an event trigger",
            hint="connect as postgres, or to a server of your own",
        )


@contextmanager
def _new_database(server: _Connection, database: str) -> Iterator[None]:
    """Create it, and drop it again if what follows fails: half a sample is worse than none."""
    try:
        _create_database(server, database)
    except psycopg.errors.DuplicateDatabase as exc:
        raise UsageError(
            f"the database {database} exists already",
            hint=f"choose another name, or drop it first: DROP DATABASE {sql.Identifier(database).as_string(server)}",
        ) from exc
    except psycopg.Error as exc:
        raise _failed("CREATE DATABASE", exc) from exc
    try:
        yield
    except BaseException:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
        raise


def _create_database(server: _Connection, database: str) -> None:
    # Since 15 the provider is the cluster's if none is given, and only libc's C is there whatever it was built with.
    provider = sql.SQL("LOCALE_PROVIDER libc" if server.info.server_version >= 150_000 else "")
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE {} {}")
    for locale in _LOCALES:
        try:
            server.execute(statement.format(sql.Identifier(database), sql.Literal(locale), provider))
        except psycopg.errors.WrongObjectType:  # no such locale
            if locale == _LOCALES[-1]:
                raise
        else:
            return


def _fill(conn: _Connection, scale: float) -> None:
    files = [file for file in resources.files(__name__).iterdir() if file.name.endswith(".sql")]
    roles, *database = sorted(files, key=lambda file: file.name)
    _execute(conn, "settings", ";".join((*_SETTINGS, f"SET pos.escala = '{scale}'")).encode())
    for transaction in ([roles], database):  # roles belong to the cluster: locked for as short as can be
        with conn.transaction():
            for file in transaction:
                _execute(conn, file.name, file.read_bytes())


def _execute(conn: _Connection, name: str, statements: bytes) -> None:
    try:
        conn.execute(statements)
    except psycopg.Error as exc:
        raise _failed(name, exc) from exc


def _failed(what: str, exc: psycopg.Error) -> SourceError:
    missing = isinstance(exc, psycopg.errors.UndefinedFile | psycopg.errors.FeatureNotSupported)
    return SourceError(
        f"the sample database could not be made, {what}: {exc.diag.message_primary or exc}",
        hint="install the contrib extensions of this PostgreSQL (Debian ships them with the server, "
        "Fedora as postgresql-contrib)"
        if missing
        else "see the server's log, then try again: nothing was left behind but the roles pos_…",
    )


def _count(conn: _Connection) -> tuple[int, int]:
    """How many tables hold rows of their own, and the exact number of rows in them all."""
    tables = conn.execute(_TABLES).fetchall()
    counts = (sql.SQL("(SELECT count(*) FROM ONLY {})").format(sql.Identifier(schema, name)) for schema, name in tables)
    row = conn.execute(sql.SQL("SELECT {}").format(sql.SQL(" + ").join(counts))).fetchone()
    return len(tables), int(row[0]) if row else 0
