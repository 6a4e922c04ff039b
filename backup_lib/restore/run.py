"""Carries a prepared restore out: loads, checks, and undoes what did not come to its end.

An existing database is restored into in one transaction, and is as it was before if anything goes wrong. A new
one is loaded by many sessions side by side, and is dropped if anything goes wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from backup_lib.dump_events import Event
from backup_lib.dump_reader import read_events
from backup_lib.dump_text import open_dump_text
from backup_lib.errors import (
    BackupError,
    InterruptedRestoreError,
    RestoredOtherwiseError,
    RestoreError,
)
from backup_lib.plain_loader import Loader
from backup_lib.restore import database as new_database
from backup_lib.restore.check import check_counts, check_sequences, expected_rows
from backup_lib.restore.outline import Progress, watched
from backup_lib.restore.plan import Plan, missing_roles, rows_of
from backup_lib.restore.prepare import Prepared
from backup_lib.restore.standing import (
    PutAside,
    drop_large_objects,
    drop_tables,
    empty_database,
    empty_tables,
    put_aside,
)
from backup_lib.restore.stream import Changes, chosen_events, tablespaces_of
from backup_lib.restore.target import Connection, TargetServer
from backup_lib.restore.transaction import load_in_transaction, refused
from backup_lib.statement_errors import message_without_values

_SHOWN_FAULTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restore that was carried out, and checked."""

    plan: Plan
    seconds: float
    tables_counted: int
    rows_counted: int
    sequences_checked: int
    put_back: tuple[str, ...]  # foreign keys and triggers that were put aside meanwhile
    warnings: tuple[str, ...]


def carry_out(prepared: Prepared, *, progress: Progress | None = None) -> Restored:
    """Restore, and check before it counts.

    :raises RestoreError: when the plan has obstacles, or the server refuses something; says how the target is now.
    :raises RestoredOtherwiseError: when rows or sequences came back otherwise; the target is as it was before.
    :raises InterruptedRestoreError: on ^C; says how the target is now.
    """
    plan = prepared.plan
    if plan.obstacles:
        raise RestoreError(
            "not restored: " + "; ".join(obstacle.what for obstacle in plan.obstacles), hint=plan.obstacles[0].hint
        )
    begun = time.monotonic()
    if plan.in_one_transaction:
        with _telling(f"{plan.database} is as it was before: the transaction was rolled back"):
            restored = _in_one_transaction(prepared, progress)
    elif plan.creates_database:
        restored = _into_new_database(prepared, progress)
    else:
        with _telling(f"{plan.database}, which was empty, is incomplete now: restore again with --clean"):
            restored = _checked(prepared, _load_side_by_side(prepared, progress), ())
    with _telling(f"{plan.database} is restored and checked; only planner statistics are lacking: run ANALYZE"):
        warnings = (*restored.warnings, *_analyze(prepared))
    return replace(restored, seconds=time.monotonic() - begun, warnings=warnings)


# The three ways


def _in_one_transaction(prepared: Prepared, progress: Progress | None) -> Restored:
    with closing(prepared.server.connect(prepared.plan.database)) as conn:
        try:
            with conn.transaction():
                conn.execute("SELECT pg_catalog.set_config('search_path', '', false)")
                _make_roles(conn, prepared)
                aside = _make_room(conn, prepared)
                with _events(prepared, progress) as events:
                    load_in_transaction(conn, events)
                conn.execute("SET client_encoding = 'UTF8'")
                aside.put_back(conn)
                return _checked(prepared, conn, aside.labels)
        except psycopg.Error as exc:
            raise refused(exc, "before or after the archive's own statements") from exc


def _make_room(conn: Connection, prepared: Prepared) -> PutAside:
    """Drop what goes first, and put aside what would be in the way."""
    selection, clean = prepared.selection, prepared.request.clean
    tables = [part.table for part in selection.chosen_tables]
    if selection.what == "data":
        aside = put_aside(conn, tables, drops=False)
        if clean:
            empty_tables(conn, tables)
            if selection.is_whole:
                drop_large_objects(conn)
        return aside
    if selection.is_whole:
        if clean and prepared.existing is not None:
            empty_database(conn, prepared.existing.catalog)
        return PutAside(labels=(), statements=())
    aside = put_aside(conn, tables, drops=True)
    if clean:
        drop_tables(conn, tables)
    return aside


def _into_new_database(prepared: Prepared, progress: Progress | None) -> Restored:
    plan, made = prepared.plan, prepared.plan.roles_made
    environment = prepared.manifest.environment if prepared.manifest is not None else None
    statement = new_database.build_create(plan.database, prepared.outline, environment, prepared.facts)
    with prepared.server.maintenance() as maintenance:
        # Of what the server refuses nothing is there: whatever has its name is somebody else's.
        with _telling("nothing was changed"):
            _make_roles(maintenance, prepared)
        try:
            new_database.create_database(maintenance, statement)
        except RestoreError as exc:
            _raise_with_state(exc, _undo_roles(maintenance, made))
            raise
        except BaseException as exc:
            _raise_with_state(exc, _undo(prepared, made))
            raise
        try:
            new_database.mark_unfinished(maintenance, plan.database)
            conn = _load_side_by_side(prepared, progress)
            restored = _checked(prepared, conn, ())
            warnings = _finish_database(maintenance, prepared)
            return replace(restored, warnings=(*restored.warnings, *warnings))
        except BaseException as exc:
            state = _undo(prepared, made)
            _raise_with_state(exc, state)
            raise


def _load_side_by_side(prepared: Prepared, progress: Progress | None) -> Connection:
    """:return: a new session in the loaded database, for the checks."""
    plan, server = prepared.plan, prepared.server
    # A database that this restore has made has nobody else in it: there TRUNCATE and FREEZE are safe, and keep
    # the order of rows. Nothing here touches the server's durability.
    with Loader(server.connect, plan.database, jobs=plan.jobs, truncate=plan.creates_database) as loader:
        try:
            with _events(prepared, progress) as events:
                for event in events:
                    loader.feed(event)
                    _require_no_error(loader)
        except BaseException:
            _end_sessions(server, plan.database)  # else leaving waits for indexes that nobody needs
            raise
    return server.connect(plan.database)


def _require_no_error(loader: Loader) -> None:
    for error in loader.report.errors[:1]:
        place = f" ({error.context})" if error.context else ""
        raise RestoreError(
            f"{error.entry}: {error.message}{place}", hint="mend what the server names, and restore again"
        )


# Pieces


@contextmanager
def _events(prepared: Prepared, progress: Progress | None) -> Iterator[Iterator[Event]]:
    facts, parts = prepared.facts, prepared.selection.parts
    schemas = prepared.existing.names if prepared.existing is not None else frozenset({("public",)})
    emptied = prepared.request.clean and prepared.selection.is_whole
    changes = Changes(
        places=prepared.plan.places,
        keep_owners=prepared.request.keep_owners,
        missing_roles=frozenset(missing_roles(parts, facts)) - set(prepared.plan.roles_made),
        missing_tablespaces=frozenset(tablespaces_of(prepared.outline.parts)) - facts.tablespaces,
        in_one_transaction=prepared.plan.in_one_transaction,
        schemas_there=frozenset({"public"} if emptied else {name[0] for name in schemas if len(name) == 1}),
    )
    with open_dump_text(prepared.request.archive, keys=prepared.request.keys) as chunks:
        yield chosen_events(read_events(watched(chunks, progress)), changes)


def _checked(prepared: Prepared, conn: Connection, put_back: tuple[str, ...]) -> Restored:
    """Count what came back; the session is closed unless a transaction is open in it."""
    kept = [part for part in prepared.selection.parts if part.place in prepared.plan.places]
    tables = rows_of(prepared.outline, kept)
    set_ = {part.table for part in kept if part.type == "SEQUENCE SET"}
    values = [v for v in prepared.outline.inventory.sequences if tuple(filter(None, (v.schema, v.name))) in set_]
    own_session = conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    try:
        wrong = check_counts(conn, tables) + check_sequences(conn, values)
    finally:
        if own_session:
            conn.close()
    if wrong:
        more = f"; and {len(wrong) - _SHOWN_FAULTS} more" if len(wrong) > _SHOWN_FAULTS else ""
        raise RestoredOtherwiseError(
            "what came back is not what the archive holds: " + "; ".join(wrong[:_SHOWN_FAULTS]) + more,
            hint="a trigger, a rule or the application changed it: stop the application, and restore again",
        )
    return Restored(
        plan=prepared.plan,
        seconds=0.0,
        tables_counted=len(expected_rows(tables)),
        rows_counted=sum(table.rows for table in tables),
        sequences_checked=len(values),
        put_back=put_back,
        warnings=(),
    )


def _make_roles(conn: Connection, prepared: Prepared) -> None:
    made = prepared.plan.roles_made
    if prepared.manifest is None or not made:
        return
    known, superusers = prepared.manifest.globals, prepared.request.superusers
    with conn.transaction():
        for statement in new_database.role_statements(known, made, prepared.facts, superusers=superusers):
            try:
                conn.execute(statement.encode())
            except psycopg.Error as exc:
                raise refused(exc, f"roles of the manifest, {' '.join(statement.split()[:5])} …") from exc


def _finish_database(conn: Connection, prepared: Prepared) -> list[str]:
    """Owner, privileges and settings of the database; what the server refuses of them is said, and stops nothing."""
    name = prepared.plan.database
    new_database.mark_finished(conn, name)
    known = prepared.manifest.globals.statements if prepared.manifest is not None else ()
    archived = [
        statement.decode("utf-8", "replace").strip().rstrip(";")
        for part in prepared.outline.parts
        if part.is_of_database and part.type != "DATABASE"
        for statement in new_database.bare_statements(part)
    ]
    roles = (prepared.facts.roles | set(prepared.plan.roles_made)) if prepared.request.keep_owners else frozenset()
    warnings = []
    for statement in new_database.database_statements(known or archived, name, roles):
        try:
            conn.execute(statement.encode())
        except psycopg.Error as exc:
            if exc.sqlstate is None:
                raise
            words = " ".join(statement.split()[:5])
            warnings.append(f"not set: {words} …: {message_without_values(exc)}")
    return warnings


def _undo(prepared: Prepared, made: Sequence[str]) -> str:
    """Drop the new database and the roles made for it; a sentence on what is left."""
    name = prepared.plan.database
    try:
        with prepared.server.maintenance() as conn:
            new_database.drop_database(conn, name)
            _drop_roles(conn, made)
    except (psycopg.Error, BackupError):
        return f"the database {name} is incomplete and could not be dropped: drop it before you go on"
    return f"the new database {name} was dropped again; nothing else was changed"


def _undo_roles(conn: Connection, made: Sequence[str]) -> str:
    try:
        _drop_roles(conn, made)
    except psycopg.Error:
        return f"roles that were made for it could not be dropped: {', '.join(made)}"
    return "nothing was changed"


def _drop_roles(conn: Connection, made: Sequence[str]) -> None:
    for role in reversed(made):
        conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def _end_sessions(server: TargetServer, database: str) -> None:
    with suppress(psycopg.Error, BackupError), server.maintenance() as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND application_name = 'pgdrill restore' AND pid <> pg_backend_pid()",
            [database],
        )


def _analyze(prepared: Prepared) -> list[str]:
    """Planner statistics, which no dump holds: without them the first hours are slow."""
    try:
        with closing(prepared.server.connect(prepared.plan.database)) as conn:
            tables = [part.table for part in prepared.selection.chosen_tables]
            if prepared.selection.is_whole:
                conn.execute("ANALYZE")
            else:
                names = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
                conn.execute(sql.SQL("ANALYZE {}").format(names))
    except psycopg.Error as exc:
        return [f"planner statistics were not taken ({exc.sqlstate or 'no answer'}): run ANALYZE"]
    return []


@contextmanager
def _telling(state: str) -> Iterator[None]:
    """Whatever goes wrong in the block is told together with the state of the target."""
    try:
        yield
    except BaseException as exc:
        _raise_with_state(exc, state)
        raise


def _raise_with_state(exc: BaseException, state: str) -> None:
    if isinstance(exc, KeyboardInterrupt):
        raise InterruptedRestoreError(f"interrupted; {state}") from exc
    if isinstance(exc, psycopg.Error):
        raise RestoreError(f"{message_without_values(exc)}; {state}", hint="see the server's log") from exc
    if isinstance(exc, BackupError):
        raise type(exc)(f"{exc.message}; {state}", exc.hint) from exc
