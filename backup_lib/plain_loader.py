"""Loads the events of a plain dump into a server that exists, without psql.

What psql would act on (`\\!`, `\\copy`) is refused. Definitions run in the order of the dump. Rows of different
tables, and keys and indexes of tables that have their rows, run side by side on `jobs` connections: each piece
of work waits for the earlier work on the tables it locks, and anything that is not known to be safe waits for
everything. What comes out is what psql makes, entry by entry.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from math import inf
from threading import Lock
from types import TracebackType
from typing import Self

import psycopg
from psycopg import errors as pg_errors
from psycopg.pq import TransactionStatus

from backup_lib.dump_reader import (
    Connect,
    CopyData,
    CopyEnd,
    CopyStart,
    DumpEnd,
    EntryStart,
    Event,
    MetaCommand,
    Sql,
    Trailer,
)
from backup_lib.errors import ServerError
from backup_lib.event_triggers import event_triggers_off
from backup_lib.fresh_tables import are_ordinary, emptying
from backup_lib.load_order import (
    NAME,
    Block,
    Budget,
    ForeignKey,
    LoadOrder,
    Table,
    cost_of,
    locked_tables,
    parse_table,
    section_of,
    split_foreign_key,
    table_of,
)
from backup_lib.load_pool import LoadPool
from backup_lib.load_report import LoadReport, SectionClock, StepTime
from backup_lib.load_sessions import LoadSessions
from backup_lib.sql_lexer import split_statements
from backup_lib.statement_errors import StatementError, context_without_values, message_without_values

__all__ = ["LoadReport", "Loader", "Mend", "StatementError", "context_without_values", "message_without_values"]

Connection = psycopg.Connection[tuple[object, ...]]

BUFFERED_BYTES = 64 << 20  # of rows that wait for a connection; more, and reading waits
ATTEMPTS = 8  # at one statement: after a deadlock, or after something missing was made

# pg_dump writes these before the header of the entry they are for, so behind the statements of another one.
_STATE = re.compile(rb"^SET (default_tablespace|default_table_access_method) = ([^\n]*);[ \t]*$", re.MULTILINE)
_STATES_BEHIND = re.compile(rb"(?:^SET default_table[a-z_]+ = [^\n]*;\s*(?:^--[^\n]*\s*)*)+\Z", re.MULTILINE)
# What pg_dump --clean writes ahead of all entries; the view is an empty one in the place of one that goes round in a
# circle with others.
_REMOVING = re.compile(
    rb"\s*(?:DROP |ALTER [^;]* (?:DROP|DETACH PARTITION) |SELECT pg_catalog\.lo_unlink\(|"
    rb"CREATE OR REPLACE VIEW [^;]*\sAS\s+SELECT\s+NULL::)"
)
# No such database, schema, table, function or other object.
_NOT_THERE = frozenset({"3D000", "3F000", "42P01", "42883", "42704"})
_ABOUT_ROLE = re.compile(
    rb"\s*(?:CREATE ROLE|DROP ROLE(?: IF EXISTS)?|ALTER ROLE) (" + NAME + rb")(?: WITH [^;]*)?;\s*"
)


Mend = Callable[[psycopg.Error, str], str | None]
"""Makes what the server said is missing in that database; a sentence on what it made, or None: nothing."""


def _makes_public(entry: EntryStart | None) -> bool:
    """Whether it makes the schema that each new database has, as `pg_dump -n public` writes it."""
    return entry is not None and (entry.type, entry.name) == ("SCHEMA", "public")


class Loader:
    """Feeds one dump into a server. A context manager: leaving it drops what has not begun and closes connections.

    :param connect: opens a connection in autocommit mode to a database of that name; called from several threads.
    :param database: what the dump is loaded into until it says `\\connect`.
    :param jobs: connections that load rows and build indexes, beside the one that runs definitions.
    :param mend: called with a refused statement's error; when it returns a sentence, the statement runs again.
    :param truncate: empty each table in the transaction that loads it, so that rows keep the order of the dump
        and need no write-ahead log. Only for a server whose every table this dump has created.
    :raises psycopg.OperationalError: when the server goes away; what it refuses is in the report instead.
    """

    def __init__(
        self,
        connect: Callable[[str], Connection],
        database: str,
        *,
        jobs: int = 1,
        mend: Mend | None = None,
        truncate: bool = False,
    ) -> None:
        self.report = LoadReport(jobs=jobs)
        self._connect = connect
        self._mend = mend
        self._truncate = truncate
        self._lock = Lock()
        self._jobs = jobs
        self._pool = LoadPool(jobs)
        self._order = LoadOrder()
        self._budget = Budget(BUFFERED_BYTES)
        self._block: Block | None = None
        self._entry: EntryStart | None = None
        self._failed: EntryStart | None = None  # the entry whose rest is passed over
        self._clock = SectionClock()
        self._open(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._block is not None:
            self._block.end()
        self._pool.close()
        self._sessions.close()

    def load(self, events: Iterable[Event]) -> LoadReport:
        """Feed all events, and wait for the work they started."""
        for event in events:
            self.feed(event)
        return self.report

    def feed(self, event: Event) -> None:
        match event:
            case CopyData(data):
                if self._block is not None:
                    with self._waiting():
                        self._block.put(data)
            case Sql(text):
                self._take(text)
            case EntryStart():
                self._run_pending()
                self._entry, self._failed = event, None
                self._clock.enter(section_of(event))
            case CopyStart():
                self._run_pending()
                self._begin_block(event)
            case CopyEnd():
                self._end_block()
            case Connect(database):
                self._run_pending()
                self._barrier()
                self._sessions.close()
                self._go_on_in(database)
            case MetaCommand(line):
                self.report.refused.append(line.split(maxsplit=1)[0].decode("ascii", "replace"))
            case Trailer():
                self._run_pending()
                self._entry = None
            case DumpEnd(complete=complete):
                self._finish(complete=complete)

    # One database's sessions

    def _go_on_in(self, database: str) -> None:
        refused = next((one for one in self.report.errors if one.entry == f"DATABASE {database}"), None)
        try:
            self._open(database)
        except psycopg.OperationalError as exc:
            if refused is None:
                raise
            raise ServerError(
                f"the archive makes its database {database} itself, and this server refuses: {refused.message}",
                hint="restore into a server like the source's, with its locales: --postgres-image IMAGE, or --sandbox "
                "container; or install them in this operating system",
            ) from exc

    def _open(self, database: str) -> None:
        if database not in self.report.databases:
            self.report.databases.append(database)
        self._sessions = LoadSessions(self._connect, database)
        self._state: dict[bytes, bytes] = {}  # default_tablespace and the like, as they stand now
        self._entry = self._failed = None
        self._text: list[bytes] = []  # the entry's statements so far; run together at its end
        self._loaded: dict[Table, int] = {}  # bytes of rows, of each table that was loaded into
        self._unchecked: list[tuple[EntryStart, ForeignKey, Future[bool]]] = []  # made, their rows not yet looked at

    # Statements

    def _take(self, text: bytes) -> None:
        if self._entry is None:
            self._preamble(text)
        elif self._failed is self._entry:
            return
        elif self._entry.type == "TABLE DATA":
            self._insert(self._entry, text)
        elif self._entry.type == "BLOBS":  # as long as the data is; one transaction over many texts
            self._barrier()
            self._execute(self._sessions.main, text, self._entry)
        else:
            self._text.append(text)

    def _preamble(self, text: bytes) -> None:
        """Session settings, and what --clean, --create and pg_dumpall write outside of any entry."""
        self._sessions.learn(text)
        for statement in split_statements(text):
            role = _ABOUT_ROLE.fullmatch(statement)
            if role is not None and parse_table(role[1]) == (self._sessions.main.info.user,):
                continue  # this session's own: a dump of a cluster holds its superuser, and another password for it
            if _REMOVING.match(statement):
                self._remove(statement)
            elif self._sessions.takes(statement):
                self._execute(self._sessions.main, statement, None)

    def _remove(self, statement: bytes) -> None:
        """Run a statement of --clean. That there is nothing to remove is no error: the entries make all there is."""
        try:
            self._sessions.main.execute(statement)
        except psycopg.Error as exc:
            if self._sessions.main.info.transaction_status == TransactionStatus.INERROR:
                self._sessions.main.rollback()
            if exc.sqlstate in _NOT_THERE:
                self.report.passed_over += 1
            else:
                self._fault(exc, None)

    def _run_pending(self) -> None:
        """Run the statements of the entry that ends here: in its place, or beside others where that is safe."""
        text, self._text = b"".join(self._text), []
        entry = self._entry
        if entry is None or not text.strip():
            return
        state = dict(self._state)
        behind = _STATES_BEHIND.search(text)
        if behind is not None:
            self._state.update(_STATE.findall(behind[0]))
        tables = locked_tables(entry, text) if behind is None else None
        if tables is not None:
            self._submit_definition(entry, text, state, *tables)
            return
        if entry.type == "COMMENT" and self._order.last and behind is None:  # on what was made just before
            comment = self._run(lambda c: self._execute(c, text, entry), after=self._order.last)
            self._order.add(comment)
            return
        if entry.type != "SEQUENCE SET":  # which meets no lock of the work on tables
            self._barrier()
        self._execute(self._sessions.main, text, entry)

    def _submit_definition(
        self, entry: EntryStart, text: bytes, state: dict[bytes, bytes], exclusive: set[Table], shared: set[Table]
    ) -> None:
        key = split_foreign_key(entry, text) if self._jobs > 1 else None
        if key is not None:
            made: Future[bool] = Future()
            self._unchecked.append((entry, key, made))
            self._submit(lambda c: self._make_key(c, entry, text, key, made), entry.label, exclusive, of=key.table)
            return
        cost = cost_of(entry, text, sum(self._loaded.get(table, 0) for table in (*exclusive, *shared)))
        of = next(iter((*exclusive, *shared)), None)
        self._submit(lambda c: self._define(c, entry, text, state), entry.label, exclusive, shared, weight=cost, of=of)

    def _make_key(
        self, connection: Connection, entry: EntryStart, text: bytes, key: ForeignKey, made: Future[bool]
    ) -> None:
        """Make a foreign key whose rows are checked later; where one of the tables is partitioned, as it stands."""
        try:
            later = are_ordinary(connection, key.names)
            made.set_result(self._execute(connection, key.add if later else text, entry) and later)
        finally:
            if not made.done():
                made.set_result(False)

    def _check_keys(self) -> None:
        """Look at the rows of the foreign keys made so far, all tables side by side."""
        unchecked, self._unchecked = self._unchecked, []
        # Each waits for its making, since that is earlier work on its table. Of the referenced one it reads the rows
        # under a lock that lets others check that table's own keys.
        for entry, key, made in unchecked:
            check = partial(self._check_key, entry=entry, key=key, made=made)
            weight = self._loaded.get(key.table, 0)
            self._submit(check, entry.label, {key.table}, weight=weight, of=key.table)

    def _check_key(self, connection: Connection, *, entry: EntryStart, key: ForeignKey, made: Future[bool]) -> None:
        if made.result() and not self._execute(connection, key.validate, entry):
            self._execute(connection, key.drop, entry)  # wants both tables alone, so it may meet another check

    def _define(self, connection: Connection, entry: EntryStart, text: bytes, state: dict[bytes, bytes]) -> None:
        if entry.type in ("INDEX", "CONSTRAINT") and self._jobs > 1:
            # While others are at work a server's own helpers only get into their way: an index takes a tenth longer.
            state = {**state, b"max_parallel_maintenance_workers": b"%d" % self._pool.helpers()}
        for name, value in state.items():
            self._execute(connection, b"SET " + name + b" = " + value, entry)
        self._execute(connection, text, entry)

    def _execute(self, connection: Connection, text: bytes, entry: EntryStart | None) -> bool:
        """Run statements as one implicit transaction, so that a refused entry leaves nothing behind.

        :return: whether the server took them.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if entry is not None and entry.type == "MATERIALIZED VIEW DATA":
                    with event_triggers_off(connection):
                        connection.execute(text)
                else:
                    connection.execute(text)
                return True
            except psycopg.Error as exc:
                if connection.info.transaction_status == TransactionStatus.INERROR:
                    connection.rollback()
                statements = list(split_statements(text))
                if isinstance(exc, pg_errors.DuplicateSchema) and _makes_public(entry):
                    self.report.passed_over += 1
                    rest = b"".join(statements[1:])
                    return not rest.strip() or self._execute(connection, rest, entry)
                if isinstance(exc, pg_errors.ActiveSqlTransaction) and len(statements) > 1:
                    # CREATE DATABASE and the like want to be alone
                    return all([self._execute(connection, statement, entry) for statement in statements])
                again = isinstance(exc, pg_errors.DeadlockDetected) or self._mended(exc)
                if not again or attempt == ATTEMPTS:
                    self._fault(exc, entry)
                    return False
        return False

    # Rows

    def _insert(self, entry: EntryStart, text: bytes) -> None:
        with self._waiting():
            self._budget.take(len(text))
        self._submit(
            lambda c: self._execute(c, text, entry),
            entry.label,
            {table_of(entry)},
            of=table_of(entry),
            size_bytes=len(text),
            finally_=lambda: self._budget.give(len(text)),
            weight=inf,
        )

    def _begin_block(self, start: CopyStart) -> None:
        target = parse_table(start.target)
        entry = self._entry
        tables = {target} if entry is None else {target, table_of(entry)}
        fresh = self._truncate and target not in self._loaded
        self._loaded.setdefault(target, 0)
        block = self._block = Block(self._budget)
        copy = partial(self._copy, entry=entry, start=start, block=block, fresh=fresh)
        label = entry.label if entry else f"TABLE DATA {'.'.join(target)}"
        self._submit(copy, label, tables, finally_=block.drain, weight=inf, of=target, sent=block)

    def _end_block(self) -> None:
        if self._block is not None:
            self._block.end()
            self._block = None

    def _copy(
        self, connection: Connection, *, entry: EntryStart | None, start: CopyStart, block: Block, fresh: bool
    ) -> None:
        sent = 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with connection.transaction():
                    statement = emptying(connection, start.statement) if fresh else start.statement
                    with connection.cursor().copy(statement) as copy:
                        for chunk in block:
                            sent += len(chunk)
                            copy.write(chunk)
                break
            except psycopg.Error as exc:
                # Rows that were sent are gone; only a COPY that never began can be tried again.
                if sent or attempt == ATTEMPTS or not self._mended(exc):
                    self._fault(exc, entry)
                    break
        block.drain()
        with self._lock:
            self._loaded[parse_table(start.target)] += sent
            self._clock.rows_done()

    # Work

    def _submit(
        self,
        work: Callable[[Connection], object],
        label: str,
        exclusive: set[Table],
        shared: Iterable[Table] = (),
        *,
        finally_: Callable[[], None] = lambda: None,
        weight: float = 0,
        of: Table | None = None,
        size_bytes: int | None = None,
        sent: Block | None = None,
    ) -> None:
        earlier = self._order.before(exclusive, shared)

        def noted(connection: Connection) -> None:
            begun = time.monotonic()
            try:
                work(connection)
            finally:
                size = sent.size_bytes if sent is not None else size_bytes
                self._note(label, of, begun, size)

        self._order.add(self._run(noted, after=earlier, finally_=finally_, weight=weight), exclusive, shared)

    def _note(self, label: str, table: Table | None, begun: float, size_bytes: int | None) -> None:
        took = time.monotonic() - begun
        step = StepTime(label=label, table=table, began=begun, seconds=took, size_bytes=size_bytes)
        with self._lock:
            self.report.steps.append(step)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.report.reader_waited_s += time.monotonic() - begun

    def _run(
        self,
        work: Callable[[Connection], object],
        *,
        after: Iterable[Future[None]],
        finally_: Callable[[], None] = lambda: None,
        weight: float = 0,
    ) -> Future[None]:
        def run() -> None:
            try:
                with self._sessions.worker() as connection:
                    work(connection)
            finally:
                finally_()

        return self._pool.submit(run, after=after, weight=weight)

    def _barrier(self) -> None:
        self._check_keys()
        for work in self._order.take_all():
            work.result()

    def _mended(self, exc: psycopg.Error) -> bool:
        if self._mend is None:
            return False
        with self._lock:
            sentence = self._mend(exc, self._sessions.database)
            if sentence:
                self.report.mended.append(sentence)
        return sentence is not None

    def _fault(self, exc: psycopg.Error, entry: EntryStart | None) -> None:
        if exc.sqlstate is None:
            raise exc  # the server or the connection is gone: nothing further can be said
        self._failed = entry
        with self._lock:
            self.report.errors.append(
                StatementError(
                    entry=entry.label if entry is not None else "session settings",
                    sqlstate=exc.sqlstate,
                    message=message_without_values(exc, of_rows=entry is not None and entry.type == "TABLE DATA"),
                    context=context_without_values(exc),
                    database=self._sessions.database,
                )
            )

    def _finish(self, *, complete: bool) -> None:
        self._end_block()  # a text that ends inside its rows has no more of them
        if complete:
            self._run_pending()
        self._barrier()
        self.report.section_s = self._clock.seconds()
        self.report.section_began = self._clock.began
