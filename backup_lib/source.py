"""One look at a database: a pinned session, one snapshot, and what is in it by SQL, independently of pg_dump.

`pin`, `environment`, `catalog`, `list_tables` and `row_counts` look at a restored database just as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql

from backup_lib import catalog_sql, cluster, manifest
from backup_lib.dsn import PINS, ClientTarget, client_target, normalise_dsn
from backup_lib.errors import SourceError, Unreachable, UnreachableError
from backup_lib.manifest import Environment, Extension, Globals
from backup_lib.server_programs import OLDEST_MAJOR
from backup_lib.traits import Traits, read_traits

Connection = psycopg.Connection[tuple[Any, ...]]

_CONNECT_TIMEOUT_S = 10
_TABLES_PER_QUERY = 200
_SESSION: Mapping[str, str] = {
    "statement_timeout": "0",  # first: the database's own counts until it is set
    **PINS,
    "client_encoding": "UTF8",
    "search_path": "",
    "standard_conforming_strings": "on",  # our own statements hold backslashes
    "quote_all_identifiers": "off",
    "row_security": "off",  # an error instead of a part of the rows
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",  # the snapshot's session waits as long as pg_dump runs
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, partitioned table (kind `p`) or materialized view (`m`) of the users'."""

    oid: int
    schema: str
    name: str
    kind: str
    persistence: str
    is_member: bool  # of an extension, which alone decides what pg_dump writes of it
    countable: bool  # not: a matview never populated, an unlogged table on a standby
    readable: bool
    filtered: bool  # row-level security would hide rows from this role
    parents: tuple[int, ...]  # the partitioned table it is a partition of

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def has_rows(self) -> bool:
        return self.kind != "p"


def pin(conn: Connection) -> None:
    """Set what the meaning and the text of values depends on, for the session."""
    names = list(_SESSION)
    if conn.info.server_version >= 170000:
        names.append("transaction_timeout")
    for name in names:
        conn.execute("SELECT set_config(%s, %s, false)", [name, _SESSION.get(name, "0")])


def environment(conn: Connection) -> Environment:
    """What pg_dump does not write of the current database. Needs a pinned session, as all that follow."""
    encoding, collate, ctype, provider, icu_locale, icu_rules, version, monetary = _row(conn, catalog_sql.DATABASE)
    return Environment(
        encoding=encoding,
        collate=collate,
        ctype=ctype,
        locale_provider=provider,
        icu_locale=icu_locale,
        icu_rules=icu_rules,
        collation_version=version,
        extensions=tuple(
            Extension(name=name, version=installed, schema=schema)
            for name, installed, schema in conn.execute(catalog_sql.EXTENSIONS)
        ),
        settings=tuple(
            sorted(
                f"role={setting.role}; {setting.name}={setting.value}"
                for setting in cluster.settings(conn)
                if setting.database
            )
        ),
        invalid_indexes=tuple(name for (name,) in conn.execute(catalog_sql.INVALID_INDEXES)),
        lc_monetary=monetary,
    )


def catalog(conn: Connection) -> tuple[str, ...]:
    """The identities of all user objects as the server names them, such as `index public.ix`; sorted.

    The same before a dump and after a restore on the same major. Columns are not in it, nor what an
    extension brings.
    """
    return tuple(sorted(identity for _, _, identity in conn.execute(catalog_sql.CATALOG)))


def described_catalog(conn: Connection, tables: Sequence[Table] | None = None) -> tuple[tuple[str, ...], Traits]:
    """As `catalog`, with what each object is like.

    :param tables: only what belongs to these, and keys between them; default everything.
    """
    query, chosen = catalog_sql.CATALOG, None
    if tables is not None:
        query, chosen = catalog_sql.CATALOG_OF_TABLES, {"tables": [table.oid for table in tables]}
    objects = {(kind, oid): identity for kind, oid, identity in conn.execute(query, chosen)}
    identities = tuple(sorted(objects.values()))
    if tables is None:
        objects |= {(kind, oid): identity for kind, oid, identity in conn.execute(catalog_sql.PUBLIC_SCHEMA)}
    return identities, read_traits(conn, objects)


def list_tables(conn: Connection) -> list[Table]:
    """All tables, partitions and materialized views that are the users' or their extensions'."""
    return [
        Table(
            oid=oid,
            schema=schema,
            name=name,
            kind=kind,
            persistence=persistence,
            is_member=member,
            countable=countable,
            readable=readable,
            filtered=filtered,
            parents=tuple(parents),
        )
        for oid, schema, name, kind, persistence, member, countable, readable, filtered, parents in conn.execute(
            catalog_sql.TABLES
        )
    ]


def row_counts(conn: Connection, tables: Sequence[Table] | None = None) -> dict[str, int]:
    """Exact `count(*)` of every table, partition and materialized view, by label.

    A table counts its own rows only, not its children's; a partitioned table is the sum of its partitions.
    Left out is what nobody can read, and members of extensions that this role may not read.

    :param tables: those to count, from `list_tables`; default all.
    """
    if tables is None:
        tables = list_tables(conn)
    return sum_up(count_rows(conn, tables), tables)


def count_rows(conn: Connection, tables: Sequence[Table]) -> dict[int, int]:
    """As `row_counts`, by oid, and of what has rows itself only.

    Locks are held no longer than a few hundred tables take, so that no DDL waits behind the whole count.
    """
    stored = [table for table in tables if table.has_rows and table.countable and _may_read(table)]
    counts: dict[int, int] = {}
    for start in range(0, len(stored), _TABLES_PER_QUERY):
        chunk = stored[start : start + _TABLES_PER_QUERY]
        query = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}::oid::bigint, count(*) FROM ONLY {}").format(table.oid, _named(table)) for table in chunk
        )
        try:
            with conn.transaction(force_rollback=True):  # a savepoint's rollback gives the locks back
                counts.update(cast(Iterator[tuple[int, int]], conn.execute(query)))
        except psycopg.ProgrammingError:
            counts.update((table.oid, _count_copied(conn, table)) for table in chunk)
    return counts


def _count_copied(conn: Connection, table: Table) -> int:
    """Count one table's rows as pg_dump reads them.

    Planning a query runs the functions of its indexes, and one that needs a search_path fails; COPY plans nothing.
    """
    with conn.transaction(force_rollback=True):
        if table.kind != "r":
            row = conn.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(_named(table))).fetchone()
            return int(row[0]) if row else 0
        with conn.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(_named(table))) as rows:
            return sum(bytes(chunk).count(b"\n") for chunk in rows)


def _named(table: Table) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def sum_up(counts: Mapping[int, int], tables: Sequence[Table]) -> dict[str, int]:
    """Counts by label; a partitioned table gets the sum of its partitions', of any depth."""
    parents = {table.oid: table.parents for table in tables}
    totals = {table.oid: 0 for table in tables if not table.has_rows} | dict(counts)
    for oid, count in counts.items():
        above = list(parents[oid])
        while above:
            root = above.pop()
            if root in totals:
                totals[root] += count
            above += parents.get(root, ())
    by_label: dict[str, int] = {}
    for table in tables:
        if table.oid in totals:  # `a.b`.`c` and `a`.`b.c` have one label: they are one sum, on both sides
            by_label[table.label] = by_label.get(table.label, 0) + totals[table.oid]
    return by_label


def _may_read(table: Table) -> bool:
    return table.readable or not table.is_member


def _row(conn: Connection, query: LiteralString) -> tuple[Any, ...]:
    row = conn.execute(query).fetchone()
    if row is None:
        raise SourceError("the server does not describe its own database", hint="see its log")
    return row


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSession:
    """A session in one snapshot of the source, open as long as others read from that snapshot."""

    conn: Connection = field(repr=False)
    snapshot: str  # for pg_dump --snapshot
    facts: manifest.Source
    tables: tuple[Table, ...]
    target: ClientTarget = field(repr=False)

    @property
    def server_major(self) -> int:
        return self.conn.info.server_version // 10000

    def count_rows(self, tables: Sequence[Table]) -> dict[int, int]:
        """As the module's; without those that were dropped meanwhile.

        :raises SourceError: when a table cannot be read.
        """
        try:
            try:
                return count_rows(self.conn, tables)
            except psycopg.errors.UndefinedTable:
                gone = {table.oid for table in self.changed(tables)}
                return count_rows(self.conn, [table for table in tables if table.oid not in gone])
        except psycopg.DatabaseError as exc:
            raise SourceError(
                f"the rows cannot be counted: {exc.diag.message_primary or type(exc).__name__}",
                hint="see the server's log, and run it again",
            ) from exc

    def changed(self, tables: Sequence[Table]) -> list[Table]:
        """Those that were truncated, rewritten or dropped after the snapshot was taken: it does not hide that."""
        oids = [table.oid for table in tables]
        found = {oid for (oid,) in self.conn.execute(catalog_sql.CHANGED_SINCE_SNAPSHOT, [oids])}
        return [table for table in tables if table.oid in found]

    def environment(self) -> Environment:
        return environment(self.conn)

    def catalog(self) -> tuple[str, ...]:
        return catalog(self.conn)

    def described_catalog(self, tables: Sequence[Table] | None = None) -> tuple[tuple[str, ...], Traits]:
        return described_catalog(self.conn, tables)

    def globals(self) -> Globals:
        return cluster.read_globals(self.conn)


@contextmanager
def open_source(dsn: str, *, snapshot: str | None = None) -> Iterator[SourceSession]:
    """Connect, and open or join a snapshot; it ends with the context.

    :param snapshot: the name that another session's `pg_export_snapshot()` gave, which must still be open.
    :raises SourceError: when the server cannot be reached, the role may not read everything or would be shown
        a part of the rows only, the snapshot is gone, or the server stops answering.
    """
    try:
        with connect(dsn) as conn:
            conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if snapshot:
                _join(conn, snapshot)
            yield _session(conn, dsn)
    except psycopg.Error as exc:
        message = exc.diag.message_primary or " ".join(str(exc).split())
        raise SourceError(f"the source stopped answering: {message}", hint="see the server's log") from exc


def _session(conn: Connection, dsn: str) -> SourceSession:
    # The first query takes the snapshot; the clock is read just after it.
    at, exported = _row(conn, "SELECT clock_timestamp(), pg_export_snapshot()")
    tables = tuple(list_tables(conn))
    require_all_rows(tables, conn.info.user)
    (system_identifier,) = _row(conn, catalog_sql.SYSTEM_IDENTIFIER)
    database, version, role, bootstrap, recovery, lsn, lag = _row(conn, catalog_sql.SOURCE)
    facts = manifest.Source(
        database=database,
        system_identifier=system_identifier,
        server_version=version,
        snapshot_at=at,
        lsn=lsn,
        in_recovery=recovery,
        replay_lag_s=lag,
        role=role,
        bootstrap_role=bootstrap,
        host=conn.info.host or None,
    )
    target = client_target(conn, normalise_dsn(dsn))
    return SourceSession(conn=conn, snapshot=exported, facts=facts, tables=tables, target=target)


@contextmanager
def connect(dsn: str) -> Iterator[Connection]:
    """A pinned session in autocommit mode.

    :raises SourceError: in libpq's words, without a password, and with what to do next.
    """
    dsn = normalise_dsn(dsn)
    parameters = psycopg.conninfo.conninfo_to_dict(dsn)
    try:
        conn: Connection = psycopg.connect(
            dsn,
            autocommit=True,
            connect_timeout=parameters.get("connect_timeout") or _CONNECT_TIMEOUT_S,
            application_name=parameters.get("application_name") or "pgdrill",
        )
    except psycopg.OperationalError as exc:
        raise _unreachable(exc, str(parameters.get("password") or "")) from None
    with conn:
        require_major(
            conn, "backs up", hint="upgrade it; until then pg_dump it, and prove what that wrote: pgdrill verify FILE"
        )
        pin(conn)
        yield conn


def require_major(conn: Connection, does: str, *, hint: str) -> None:
    """Of an older server the catalog is another, and sessions have other settings.

    :param does: such as "backs up".
    :raises SourceError: when the server is older than any that pgdrill knows.
    """
    if conn.info.server_version < OLDEST_MAJOR * 10_000:
        version = conn.info.parameter_status("server_version")
        raise SourceError(f"the server is PostgreSQL {version}, and pgdrill {does} {OLDEST_MAJOR} and newer", hint=hint)


# By the server's words, since nothing else of a refused session comes through; of Spanish servers too.
_REASONS: tuple[tuple[str, Unreachable, str], ...] = (
    (
        r"password authentication failed|no password supplied|autentificación password falló",
        "wrong-password",
        "set PGPASSWORD or POSTGRES_PASSWORD, or mend the password in DATABASE_URL",
    ),
    (
        r"permission denied for database|permiso denegado a la base de datos",
        "may-not-connect",
        "run as the database's owner: GRANT CONNECT ON DATABASE name TO role",
    ),
    (
        r"database .* does not exist|no existe la base de datos",
        "no-database",
        "name one of those that `psql --list` shows: DATABASE_URL or POSTGRES_DB",
    ),
    (
        r"role .* does not exist|no existe el rol",
        "no-role",
        "name a role of that server: DATABASE_URL or POSTGRES_USER",
    ),
    (
        r"translate host name|resolve host|Name or service",
        "unknown-host",
        "mend the host's name in DATABASE_URL or POSTGRES_HOST",
    ),
    (
        r"refused|No such file|timeout|timed out|unreachable",
        "unreachable",
        "start the server, or mend host and port",
    ),
    (
        r"pg_hba\.conf",
        "not-let-in",
        "let this host and role in by a line in the server's pg_hba.conf, and reload it",
    ),
    (r"starting up|shutting down", "starting", "try again in a minute"),
    (r"too many|connection slots", "busy", "try again later, or raise max_connections"),
    (r"unsupported startup parameter", "pooler", "connect to the server itself, not through a pooler"),
)


def _unreachable(exc: psycopg.OperationalError, password: str) -> UnreachableError:
    message = " ".join(str(exc).split())
    if password:
        message = message.replace(password, "***")
    reasons = ((cause, hint) for pattern, cause, hint in _REASONS if re.search(pattern, message))
    cause, hint = next(reasons, ("other", "see the server's log"))
    return UnreachableError(f"the database cannot be reached: {message}", hint, cause)


def _join(conn: Connection, snapshot: str) -> None:
    try:
        conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.UndefinedObject) as exc:
        raise SourceError(
            f"the snapshot {snapshot} cannot be joined: {exc.diag.message_primary}",
            hint="keep the transaction open that pg_export_snapshot() was called in, on this database",
        ) from exc


def require_all_rows(tables: Sequence[Table], role: str) -> None:
    """pg_dump would fail as well, but late, and naming one table only.

    :raises SourceError: when it may not read all of them, or not all of their rows.
    """
    unreadable = [table.label for table in tables if not (table.readable or table.is_member)]
    if unreadable:
        raise SourceError(
            f"the role {role} may not read {_some(unreadable)}",
            hint=f'run as a superuser: GRANT pg_read_all_data TO "{role}"',
        )
    filtered = [table.label for table in tables if table.filtered and _may_read(table)]
    if filtered:
        raise SourceError(
            f"row-level security would hide rows from the role {role} in {_some(filtered)}",
            hint=f'run as a superuser: ALTER ROLE "{role}" BYPASSRLS',
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
