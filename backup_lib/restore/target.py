"""What there is at the target before anything is restored into it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from backup_lib import source
from backup_lib.dsn import PINS, normalise_dsn
from backup_lib.errors import RestoreError, SourceError
from backup_lib.load_order import Table

Connection = psycopg.Connection[tuple[Any, ...]]

UNFINISHED = "pgdrill: a restore into this database has not come to its end"  # its comment, until it has
_MAINTENANCE = ("postgres", "template1")
_SESSION = {
    **PINS,
    "search_path": "",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "60000",  # a session that holds a table for longer must be seen, not waited for
}


class TargetServer:
    """How sessions of the target server are opened.

    :param dsn: its database need not exist.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = normalise_dsn(dsn)
        self.database = str(psycopg.conninfo.conninfo_to_dict(self.dsn).get("dbname") or "") or None

    def conninfo(self, database: str) -> str:
        given = str(psycopg.conninfo.conninfo_to_dict(self.dsn).get("options") or "")
        pins = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
        options = f"{given} {pins}".strip()
        return psycopg.conninfo.make_conninfo(self.dsn, dbname=database, options=options, client_encoding="UTF8")

    def connect(self, database: str) -> Connection:
        """A session in autocommit mode; raises as psycopg does."""
        return psycopg.connect(self.conninfo(database), autocommit=True, application_name="pgdrill restore")

    @contextmanager
    def maintenance(self, *, avoid: Sequence[str] = ()) -> Iterator[Connection]:
        """A session in a database that is not restored into.

        :param avoid: databases that it must not be in.
        :raises SourceError: in libpq's words, when no session can be had.
        """
        names = [*_MAINTENANCE, *([self.database] if self.database else [])]
        conn = self._open_first([name for name in names if name not in avoid])
        with conn:
            yield conn

    def _open_first(self, names: Sequence[str]) -> Connection:
        for name in names[:-1]:
            try:
                return self.connect(name)
            except psycopg.OperationalError:
                continue
        with source.connect(psycopg.conninfo.make_conninfo(self.dsn, dbname=names[-1])):
            pass  # says in one sentence what is wrong, if it is
        return self.connect(names[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """The server, as far as a restore depends on it."""

    version: str  # 15.18
    version_number: int  # 150018, as libpq counts
    role: str
    may_create_databases: bool
    in_recovery: bool
    databases: frozenset[str]
    unfinished: frozenset[str]  # databases that a restore of ours left incomplete
    roles: frozenset[str]
    superusers: frozenset[str]
    tablespaces: frozenset[str]
    extensions: frozenset[str]  # that could be created
    free_bytes: int | None  # on the disk of its data; None where that cannot be seen from here

    @property
    def major(self) -> int:
        return self.version_number // 10000


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """The database that is restored into, when it exists."""

    name: str
    encoding: str
    size_bytes: int
    catalog: tuple[str, ...]  # identities of all user objects
    names: frozenset[Table]  # of schemas, relations, types, functions
    filled: frozenset[Table]  # tables that hold rows


_SERVER = """
SELECT current_setting('server_version'), r.rolname, r.rolcreatedb OR r.rolsuper, pg_is_in_recovery(),
       ARRAY(SELECT datname::text FROM pg_database),
       ARRAY(SELECT datname::text FROM pg_database WHERE shobj_description(oid, 'pg_database') = %s),
       ARRAY(SELECT rolname::text FROM pg_roles),
       ARRAY(SELECT rolname::text FROM pg_roles WHERE rolsuper), ARRAY(SELECT spcname::text FROM pg_tablespace),
       ARRAY(SELECT name::text FROM pg_available_extensions)
FROM pg_roles r WHERE r.rolname = current_user
"""
_NAMES = """
SELECT nspname, NULL FROM pg_namespace
UNION SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
UNION SELECT n.nspname, t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
UNION SELECT n.nspname, p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
UNION SELECT n.nspname, l.collname FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
UNION SELECT n.nspname, f.cfgname FROM pg_ts_config f JOIN pg_namespace n ON n.oid = f.cfgnamespace
UNION SELECT n.nspname, d.dictname FROM pg_ts_dict d JOIN pg_namespace n ON n.oid = d.dictnamespace
"""


def look_at_server(conn: Connection) -> ServerFacts:
    """:raises SourceError: when the server is older than any that pgdrill knows."""
    source.require_major(conn, "restores into", hint="into this one psql may: gunzip -c FILE | psql -d NEW")
    row = conn.execute(_SERVER, [UNFINISHED]).fetchone()
    if row is None:
        raise RestoreError("the server does not know who is connected", hint="see its log")
    version, role, creates, in_recovery, databases, unfinished, roles, superusers, tablespaces, extensions = row
    return ServerFacts(
        version=version.partition(" ")[0],
        version_number=conn.info.server_version,
        role=role,
        may_create_databases=creates,
        in_recovery=in_recovery,
        databases=frozenset(databases),
        unfinished=frozenset(unfinished),
        roles=frozenset(roles),
        superusers=frozenset(superusers),
        tablespaces=frozenset(tablespaces),
        extensions=frozenset(extensions),
        free_bytes=_free_bytes(conn),
    )


def look_at_database(conn: Connection) -> DatabaseFacts:
    """Of the session's own database."""
    source.pin(conn)
    tables = source.list_tables(conn)
    row = conn.execute("SELECT pg_encoding_to_char(encoding), pg_database_size(oid) FROM pg_database "
                       "WHERE datname = current_database()").fetchone()  # fmt: skip
    if row is None:
        raise SourceError("the server does not describe its own database", hint="see its log")
    return DatabaseFacts(
        name=conn.info.dbname,
        encoding=row[0],
        size_bytes=row[1],
        catalog=source.catalog(conn),
        names=frozenset((schema, name) if name else (schema,) for schema, name in conn.execute(_NAMES)),
        filled=filled_tables(conn, tables),
    )


def filled_tables(conn: Connection, tables: Sequence[source.Table]) -> frozenset[Table]:
    """Those that hold a row; a partitioned one with its partitions. Needs a pinned session."""
    return frozenset((t.schema, t.name) for t in tables if t.kind in "rp" and t.readable and _has_rows(conn, t))


def _has_rows(conn: Connection, table: source.Table) -> bool:
    only = sql.SQL("ONLY " if table.kind == "r" else "")  # a partitioned table's rows are its partitions'
    query = sql.SQL("SELECT EXISTS (SELECT FROM {}{})").format(only, sql.Identifier(table.schema, table.name))
    row = conn.execute(query).fetchone()
    return bool(row and row[0])


def _free_bytes(conn: Connection) -> int | None:
    """Of the disk the server's data lies on, if that is this machine's and the server tells where."""
    if not (conn.info.host.startswith(("/", "@")) or conn.info.hostaddr in ("127.0.0.1", "::1")):
        return None
    try:
        row = conn.execute("SELECT current_setting('data_directory')").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    folder = Path(str(row[0])) if row else None
    try:
        if folder is None or not (folder / "PG_VERSION").exists():  # a container's path is not ours
            return None
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize
