"""Before an emergency restore: what is there, what it will be, and what stands in its way. Nothing is touched."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import psycopg

from backup_lib import source
from backup_lib.emergency.state import State
from backup_lib.emergency.swap import oid_of
from backup_lib.errors import RestoreError
from backup_lib.load_order import Table
from backup_lib.quantity import number_of
from backup_lib.restore.outline import Progress
from backup_lib.restore.plan import Obstacle, some
from backup_lib.restore.prepare import Prepared, Request, prepare
from backup_lib.restore.target import Connection, TargetServer, filled_tables

_NAME_BYTES = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """The pre-checks: what is there, and what stands in the way."""

    prepared: Prepared
    live_oid: int | None
    live_bytes: int
    sessions: int
    system_identifier: str
    notes: tuple[str, ...]
    obstacles: tuple[Obstacle, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live:
    """The live database; all zero where there is none."""

    size_bytes: int
    sessions: int
    prepared_transactions: int
    logical: int  # replication slots and subscriptions
    may_be_renamed: bool


def check(request: Request, live: str, now: datetime, *, progress: Progress | None = None) -> Readiness:
    """Read the archive, look at the server; nothing is touched.

    :param request: its database and `create` are set here.
    """
    # Not the time alone: an interrupted one drops what has the name, which must be no other's of the same second.
    stamp = f"{now.astimezone(UTC):%Y%m%d_%H%M%S}_{secrets.token_hex(3)}"
    new = _short(live, f"_new_{stamp}")
    prepared = prepare(replace(request, database=new, create=True), progress=progress)
    with prepared.server.maintenance(avoid=[live]) as conn:
        live_oid = oid_of(conn, live)
        facts = _look_at_live(conn, live)
        identifier = system_identifier(conn)
    filled = _filled(prepared.server, live) if live_oid is not None else frozenset()
    obstacles = (*prepared.plan.obstacles, *_obstacles(prepared, live, facts, filled or frozenset()))
    return Readiness(
        prepared=prepared,
        live_oid=live_oid,
        live_bytes=facts.size_bytes,
        sessions=facts.sessions,
        system_identifier=identifier,
        notes=tuple((*_notes(prepared, live, live_oid, facts.logical), *_left_behind(prepared, live, filled))),
        obstacles=obstacles,
    )


def _obstacles(prepared: Prepared, live: str, facts: _Live, filled: Collection[Table]) -> Iterator[Obstacle]:
    free, role = prepared.facts.free_bytes, prepared.facts.role
    if filled and not any(part.type == "TABLE DATA" for part in prepared.outline.parts):
        yield Obstacle(
            what=f"the archive holds no rows, and in {live} {number_of(len(filled), 'table')} would be without theirs",
            hint="name an archive of the whole database: pgdrill list",
        )
    if free is not None and free < facts.size_bytes:
        yield Obstacle(
            what=f"the server's disk has {free:,} bytes left, and {live} takes {facts.size_bytes:,}: no room for both",
            hint="free some space there; pgdrill restore --clean needs less, and keeps no old database",
        )
    if facts.prepared_transactions:
        yield Obstacle(
            what=f"{live} has {facts.prepared_transactions} prepared transactions, which keep it from being renamed",
            hint="COMMIT PREPARED or ROLLBACK PREPARED them: see pg_prepared_xacts",
        )
    if not facts.may_be_renamed:
        yield Obstacle(
            what=f"the role {role} may not rename {live}", hint="run as its owner with CREATEDB, or as a superuser"
        )


def _short(name: str, suffix: str) -> str:
    """The name with its suffix, in as many bytes as a name may have."""
    return name.encode()[: _NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix


_LIVE = """
SELECT pg_database_size(d.oid), (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid),
       (SELECT count(*) FROM pg_prepared_xacts x WHERE x.database = d.datname),
       (SELECT count(*) FROM pg_replication_slots s WHERE s.database = d.datname)
       + (SELECT count(*) FROM pg_subscription s WHERE s.subdbid = d.oid),
       pg_has_role(d.datdba, 'MEMBER') AND (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user)
FROM pg_database d WHERE d.datname = %s
"""


def _look_at_live(conn: Connection, live: str) -> _Live:
    row = conn.execute(_LIVE, [live]).fetchone()
    size_bytes, sessions, prepared_transactions, logical, may_be_renamed = row or (0, 0, 0, 0, True)
    return _Live(
        size_bytes=size_bytes,
        sessions=sessions,
        prepared_transactions=prepared_transactions,
        logical=logical,
        may_be_renamed=may_be_renamed,
    )


def system_identifier(conn: Connection) -> str:
    """Of the server; where the role may not ask for it, what the server says of its template."""
    try:
        row = conn.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        row = conn.execute("SELECT 'template1 ' || xmin::text FROM pg_database WHERE datname = 'template1'").fetchone()
    return str(row[0]) if row else ""


def _notes(prepared: Prepared, live: str, live_oid: int | None, slots: int) -> list[str]:
    notes = list(prepared.plan.notes)
    manifest = prepared.manifest
    if live_oid is None:
        notes.append(f"there is no database {live}: the restored one gets its name, and nothing is kept")
    if manifest is not None and manifest.source.database != live:
        notes.append(f"the archive is of {manifest.source.database}, not of {live}")
    if manifest is not None and live_oid is not None:
        notes.append(f"what was written after {manifest.source.snapshot_at:%Y-%m-%d %H:%M:%S}Z is not in the archive; "
                     "it stays in the old database")  # fmt: skip
    if slots:
        notes.append(f"{live} has logical replication ({slots} slots or subscriptions): it stays with the old database")
    return notes


def _filled(server: TargetServer, live: str) -> frozenset[Table] | None:
    """The tables of the live database that hold rows; None where it does not say, for it may be broken."""
    try:
        with closing(server.connect(live)) as conn:
            source.pin(conn)
            conn.execute("SET lock_timeout = '2s'")  # nobody waits for a session that hangs
            conn.execute("SET statement_timeout = '30s'")
            return filled_tables(conn, source.list_tables(conn))
    except psycopg.Error:
        return None


def _left_behind(prepared: Prepared, live: str, filled: Collection[Table] | None) -> Iterator[str]:
    """What the application will miss: the archive is of a part, or older than that."""
    if filled is None:
        yield f"{live} does not say which tables it has, so which of them the archive lacks is not known"
        return
    held = {part.table for part in prepared.outline.parts if part.type == "TABLE"}
    if lacking := sorted(".".join(table) for table in set(filled) - held):
        yield f"not in the archive, and with their rows in the old database alone afterwards: {some(lacking)}"


def begin(readiness: Readiness, archive: str, live: str) -> State:
    """The state of a new emergency restore; not written yet.

    :param archive: what finds the archive again.
    :raises RestoreError: when the pre-checks found obstacles.
    """
    if readiness.obstacles:
        raise RestoreError(
            "not begun: " + "; ".join(obstacle.what for obstacle in readiness.obstacles), readiness.obstacles[0].hint
        )
    prepared = readiness.prepared
    stamp = prepared.plan.database.rpartition("_new_")[2]
    return State(
        archive=archive,
        sha256=prepared.outline.sha256,
        system_identifier=readiness.system_identifier,
        live=live,
        new=prepared.plan.database,
        old=_short(live, f"_old_{stamp}"),
        live_oid=readiness.live_oid,
    )
