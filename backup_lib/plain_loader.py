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
from dataclasses import dataclass, field
from functools import partial
from math import inf
from queue import Empty, Queue
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
from backup_lib.event_triggers import event_triggers_off
from backup_lib.load_order import (
    NAME,
    QUALIFIED,
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
from backup_lib.sql_lexer import split_statements

Connection = psycopg.Connection[tuple[object, ...]]

BUFFERED_BYTES = 64 << 20  # of rows that wait for a connection; more, and reading waits
ATTEMPTS = 8  # at one statement: after a deadlock, or after something missing was made

_SESSION = re.compile(
    rb"^(?:SET ([a-z_.]+) = [^\n]*;|SELECT pg_catalog\.set_config\('search_path', '[^'\n]*', false\);)[ \t]*$",
    re.MULTILINE,
)
# pg_dump writes these before the header of the entry they are for, so behind the statements of another one.
_STATE = re.compile(rb"^SET (default_tablespace|default_table_access_method) = ([^\n]*);[ \t]*$", re.MULTILINE)
_STATES_BEHIND = re.compile(rb"(?:^SET default_table[a-z_]+ = [^\n]*;\s*(?:^--[^\n]*\s*)*)+\Z", re.MULTILINE)
_COPY = re.compile(rb"COPY " + QUALIFIED)
_ABOUT_ROLE = re.compile(
    rb"\s*(?:CREATE ROLE|DROP ROLE(?: IF EXISTS)?|ALTER ROLE) (" + NAME + rb")(?: WITH [^;]*)?;\s*"
)
_QUOTING = ("22", "42601")  # data exceptions, and syntax errors: these may be in an INSERT
_QUOTED = re.compile(r'(?<!column )(?<!encoding )(?<!constraint )".*"', re.DOTALL)
_ANY_QUOTED = re.compile(r'".*"', re.DOTALL)
_COPY_TAIL = re.compile(rb" FROM stdin;\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementError:
    """A statement the server refused, without what may hold a row's values."""

    entry: str  # the entry's label; "session settings" before the first one
    sqlstate: str
    message: str
    context: str = ""  # "COPY ventas, line 3, column total"
    database: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTime:
    """How long one table's rows took to load."""

    table: str
    seconds: float
    size_bytes: int


@dataclass(slots=True)
class LoadReport:
    """What loading did; `section_s` holds wall seconds of the sections there are: pre-data, data, post-data."""

    errors: list[StatementError] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # backslash commands, by their first word
    blocks: list[BlockTime] = field(default_factory=list)
    section_s: dict[str, float] = field(default_factory=dict)
    section_began: dict[str, float] = field(default_factory=dict)  # by the monotonic clock
    databases: list[str] = field(default_factory=list)  # in the order they were loaded

    def add(self, later: LoadReport) -> None:
        """What was loaded after this, into the same server."""
        self.errors += later.errors
        self.mended += later.mended
        self.refused += later.refused
        self.blocks += later.blocks
        self.databases += [name for name in later.databases if name not in self.databases]
        for section, seconds in later.section_s.items():
            self.section_s[section] = self.section_s.get(section, 0.0) + seconds
        self.section_began = later.section_began | self.section_began


Mend = Callable[[psycopg.Error, str], str | None]
"""Makes what the server said is missing in that database; a sentence on what it made, or None: nothing."""


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
        self.report = LoadReport()
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
        self._clock = _SectionClock()
        self._open(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._block is not None:
            self._block.end()
        self._pool.close()
        self._close()

    def load(self, events: Iterable[Event]) -> LoadReport:
        """Feed all events, and wait for the work they started."""
        for event in events:
            self.feed(event)
        return self.report

    def feed(self, event: Event) -> None:
        match event:
            case CopyData(data):
                if self._block is not None:
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
                self._close()
                self._open(database)
            case MetaCommand(line):
                self.report.refused.append(line.split(maxsplit=1)[0].decode("ascii", "replace"))
            case Trailer():
                self._run_pending()
                self._entry = None
            case DumpEnd(complete=complete):
                self._finish(complete=complete)

    # One database's sessions

    def _open(self, database: str) -> None:
        self._database = database
        if database not in self.report.databases:
            self.report.databases.append(database)
        self._main = self._connect(database)
        self._opened = [self._main]
        self._idle: Queue[Connection] = Queue()
        self._settings: list[bytes] = []  # SET lines of the preamble, for each further connection
        self._state: dict[bytes, bytes] = {}  # default_tablespace and the like, as they stand now
        self._entry = self._failed = None
        self._text: list[bytes] = []  # the entry's statements so far; run together at its end
        self._loaded: dict[Table, int] = {}  # bytes of rows, of each table that was loaded into
        self._unchecked: list[tuple[EntryStart, ForeignKey, Future[bool]]] = []  # made, their rows not yet looked at

    def _close(self) -> None:
        for connection in self._opened:
            connection.close()
        self._opened = []

    @contextmanager
    def _worker(self) -> Iterator[Connection]:
        """A connection with the dump's session settings that nobody else uses meanwhile."""
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect(self._database)
            with self._lock:
                self._opened.append(connection)
            for line in self._settings:
                connection.execute(line)
        try:
            yield connection
        finally:
            self._idle.put(connection)

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
            self._execute(self._main, text, self._entry)
        else:
            self._text.append(text)

    def _preamble(self, text: bytes) -> None:
        """Session settings, and what --clean, --create and pg_dumpall write outside of any entry."""
        self._settings += session_settings(text, self._main.info.server_version)
        for statement in split_statements(text):
            line = _SESSION.search(statement)
            role = _ABOUT_ROLE.fullmatch(statement)
            if role is not None and parse_table(role[1]) == (self._main.info.user,):
                continue  # this session's own: a dump of a cluster holds its superuser, and another password for it
            if line is None or not _is_unknown(line[1], self._main.info.server_version):
                self._execute(self._main, statement, None)

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
            self._order.add(self._run(lambda c: self._execute(c, text, entry), after=self._order.last))
            return
        if entry.type != "SEQUENCE SET":  # which meets no lock of the work on tables
            self._barrier()
        self._execute(self._main, text, entry)

    def _submit_definition(
        self, entry: EntryStart, text: bytes, state: dict[bytes, bytes], exclusive: set[Table], shared: set[Table]
    ) -> None:
        key = split_foreign_key(entry, text) if self._jobs > 1 else None
        if key is not None:
            made: Future[bool] = Future()
            self._unchecked.append((entry, key, made))
            self._submit(lambda c: self._make_key(c, entry, text, key, made), exclusive)
            return
        cost = cost_of(entry, text, sum(self._loaded.get(table, 0) for table in (*exclusive, *shared)))
        self._submit(lambda c: self._define(c, entry, text, state), exclusive, shared, weight=cost)

    def _make_key(
        self, connection: Connection, entry: EntryStart, text: bytes, key: ForeignKey, made: Future[bool]
    ) -> None:
        """Make a foreign key whose rows are checked later; where one of the tables is partitioned, as it stands."""
        try:
            later = _are_ordinary(connection, key.names)
            made.set_result(self._execute(connection, key.add if later else text, entry) and later)
        finally:
            if not made.done():
                made.set_result(False)

    def _check_keys(self) -> None:
        """Look at the rows of the foreign keys made so far, all tables side by side."""
        unchecked, self._unchecked = self._unchecked, []
        for entry, key, made in unchecked:  # each waits for its making, since that is earlier work on its table
            check = partial(self._check_key, entry=entry, key=key, made=made)
            self._submit(check, {key.table}, {key.referenced}, weight=self._loaded.get(key.table, 0))

    def _check_key(self, connection: Connection, *, entry: EntryStart, key: ForeignKey, made: Future[bool]) -> None:
        if made.result() and not self._execute(connection, key.validate, entry):
            connection.execute(key.drop)

    def _define(self, connection: Connection, entry: EntryStart, text: bytes, state: dict[bytes, bytes]) -> None:
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
        self._budget.take(len(text))
        self._submit(
            lambda c: self._execute(c, text, entry),
            {table_of(entry)},
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
        self._submit(copy, tables, finally_=block.drain, weight=inf)

    def _end_block(self) -> None:
        if self._block is not None:
            self._block.end()
            self._block = None

    def _copy(
        self, connection: Connection, *, entry: EntryStart | None, start: CopyStart, block: Block, fresh: bool
    ) -> None:
        begun = time.monotonic()
        sent = 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with connection.transaction():
                    statement = _emptying(connection, start.statement) if fresh else start.statement
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
            self.report.blocks.append(BlockTime(table=start.target, seconds=time.monotonic() - begun, size_bytes=sent))
            self._loaded[parse_table(start.target)] += sent
            self._clock.rows_done()

    # Work

    def _submit(
        self,
        work: Callable[[Connection], object],
        exclusive: set[Table],
        shared: Iterable[Table] = (),
        *,
        finally_: Callable[[], None] = lambda: None,
        weight: float = 0,
    ) -> None:
        earlier = self._order.before(exclusive, shared)
        self._order.add(self._run(work, after=earlier, finally_=finally_, weight=weight), exclusive, shared)

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
                with self._worker() as connection:
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
            sentence = self._mend(exc, self._database)
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
                    database=self._database,
                )
            )

    def _finish(self, *, complete: bool) -> None:
        self._end_block()  # a text that ends inside its rows has no more of them
        if complete:
            self._run_pending()
        self._barrier()
        self.report.section_s = self._clock.seconds()
        self.report.section_began = self._clock.began


class _SectionClock:
    """Wall seconds of each section; the last two overlap where indexes begin before all rows are in."""

    def __init__(self) -> None:
        self.began = {"pre-data": time.monotonic()}
        self._rows_done: float | None = None

    def enter(self, section: str | None) -> None:
        if section is not None:
            self.began.setdefault(section, time.monotonic())

    def rows_done(self) -> None:
        self._rows_done = time.monotonic()

    def seconds(self) -> dict[str, float]:
        end = time.monotonic()
        post = self.began.get("post-data", end)
        data = self.began.get("data", post)
        return {
            "pre-data": min(data, post) - self.began["pre-data"],
            "data": max(post, self._rows_done or post) - data if "data" in self.began else 0.0,
            "post-data": end - post,
        }


def _are_ordinary(connection: Connection, tables: tuple[bytes, bytes]) -> bool:
    # One that is missing is no error here: the server's answer to the key itself is the one to report.
    oids = b", ".join(b"to_regclass('" + table.replace(b"'", b"''") + b"')" for table in tables)
    row = connection.execute(b"SELECT bool_and(relkind = 'r') FROM pg_class WHERE oid IN (" + oids + b")").fetchone()
    return bool(row and row[0])


def session_settings(text: bytes, server_version: int) -> list[bytes]:
    """The statements of a dump's preamble that set up the session, as far as this server knows them.

    :param server_version: as libpq counts, 150018.
    """
    return [line[0] for line in _SESSION.finditer(text) if not _is_unknown(line[1], server_version)]


def _is_unknown(setting: bytes | None, server_version: int) -> bool:
    """A newer client's own setting; it says nothing about the data."""
    return setting == b"transaction_timeout" and server_version < 170000


def _emptying(connection: Connection, statement: bytes) -> bytes:
    """Empty the table that a COPY statement fills, where that loses nothing; the COPY statement to use then."""
    target = _COPY.match(statement)
    if target is None or not _may_be_emptied(connection, target[1]):
        return statement
    connection.execute(b"TRUNCATE ONLY " + target[1])
    return _COPY_TAIL.sub(b" FROM stdin WITH (FREEZE)", statement)


def _may_be_emptied(connection: Connection, target: bytes) -> bool:
    """Whether a table is an ordinary one without rows, which no key refers to and no extension filled."""
    row = connection.execute(
        b"""SELECT c.relkind = 'r' AND pg_relation_size(c.oid) = 0
                AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.confrelid = c.oid)
            FROM pg_class c WHERE c.oid = '"""
        + target.replace(b"'", b"''")
        + b"'::regclass"
    ).fetchone()
    return bool(row and row[0])


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
