"""The first half of a drill: the archive read once, hashed, inventoried and loaded at the same time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from backup_lib.definitions import around_rows, without_outward_keys
from backup_lib.dump_events import DumpEnd, EntryStart, Event
from backup_lib.dump_reader import read_events
from backup_lib.dump_text import Heading, Stored, digest_archive, open_dump_text
from backup_lib.encryption import NO_KEYS, Keys
from backup_lib.errors import DamagedArchiveError
from backup_lib.inventory_builder import InventoryBuilder
from backup_lib.load_report import LoadReport
from backup_lib.manifest import Environment, Manifest
from backup_lib.plain_loader import Loader
from backup_lib.statement_errors import StatementError, message_without_values
from verification.facts import Archived
from verification.mending import Mending
from verification.phases import Phases
from verification.sandbox import Sandbox
from verification.sandbox.sessions import session_options

Connection = psycopg.Connection[tuple[object, ...]]
Connect = Callable[[str], Connection]

SPARE_DATABASE = "pgdrill_restore"  # where the manifest names none, or the archive makes its own
_MAINTENANCE = "template1"  # the one database that no archive of one database drops
_BEFORE = re.compile(r"CREATE ROLE |GRANT (?!.* ON )|COMMENT ON ROLE |CREATE TABLESPACE |ALTER TABLESPACE ")
_LOCATION = re.compile(r" LOCATION (?:E)?'.*'")
# A dump in one of these can only be read by a database in UTF8: no server stores them.
_CLIENT_ONLY = frozenset({"SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"})


def connector(sandbox: Sandbox) -> Connect:
    """Sessions of the sandbox in which values mean and read the same as at the source."""
    options = session_options(sandbox.server_version)

    def connect(database: str) -> Connection:
        conninfo = psycopg.conninfo.make_conninfo(sandbox.conninfo(database), options=options)
        return psycopg.connect(conninfo, autocommit=True)

    return connect


def read_archive(path: Path, archived: Archived, phases: Phases, *, keys: Keys = NO_KEYS) -> None:
    """Read the archive without restoring it; what there is to know of it ends up in `archived`."""
    with _reading(path, archived, phases, keys) as events:
        for _ in events:
            pass


def restore_archive(
    path: Path,
    archived: Archived,
    phases: Phases,
    *,
    open_loader: Callable[..., Loader],
    mending: Mending,
    passing: Callable[[Iterator[Event]], Iterator[Event]] = iter,
    keys: Keys = NO_KEYS,
) -> LoadReport:
    """Read the archive and load it.

    :param open_loader: a Loader of the database it goes into.
    :param passing: which of its events are loaded.
    :raises psycopg.OperationalError: when the server goes away.
    """
    with open_loader(truncate=True) as loader:
        with _reading(path, archived, phases, keys) as events:
            for event in passing(events):
                if isinstance(event, EntryStart):
                    mending.saw(event)
                loader.feed(event)
        return loader.report


class RowsLoaded(NamedTuple):
    """What loading did, and entries by their labels: those it made, and keys it left out for want of rows."""

    report: LoadReport
    made: tuple[str, ...]
    outward_keys: tuple[str, ...]


def restore_rows(
    path: Path,
    archived: Archived,
    phases: Phases,
    *,
    open_loader: Callable[..., Loader],
    mending: Mending,
    manifest: Manifest,
    keys: Keys = NO_KEYS,
) -> RowsLoaded:
    """Load an archive of mere rows into tables made from the manifest's definitions; keys and indexes come last.

    :raises ValueError: when the manifest has no definitions.
    """
    if manifest.definitions is None:
        raise ValueError("rows are loaded into what the manifest's definitions make")
    before, after = around_rows(manifest.definitions)
    outward: list[str] = []
    with open_loader() as loader:
        report = loader.load(before)
    report.add(restore_archive(path, archived, phases, open_loader=open_loader, mending=mending, keys=keys))
    with open_loader() as loader:
        report.add(loader.load(without_outward_keys(after, manifest.row_counts, outward)))
    made = tuple(event.label for event in (*before, *after) if isinstance(event, EntryStart))
    return RowsLoaded(report, made, tuple(outward))


@contextmanager
def _reading(path: Path, archived: Archived, phases: Phases, keys: Keys) -> Iterator[Iterator[Event]]:
    """The archive's events; damage ends them where it is, as the end of an incomplete dump."""
    stored = Stored()
    builder = InventoryBuilder(on_definition=archived.definitions.add)

    def events() -> Iterator[Event]:
        last: EntryStart | None = None
        ended = False
        try:
            with open_dump_text(path, stored, keys=keys) as chunks:
                for event in read_events(phases.timed(chunks), with_digest=True):
                    if isinstance(event, EntryStart):
                        last = event
                    ended = ended or isinstance(event, DumpEnd)
                    builder.feed(event)
                    yield event
        except DamagedArchiveError as exc:
            archived.damage = exc.message
            if not ended:
                end = DumpEnd(complete=False, ends_in=last.label if last else None)
                builder.feed(end)
                yield end
        if archived.damage is None or last is not None:
            archived.inventory = builder.result()

    yield events()
    if stored.sha256 is None:
        stored.size_bytes, stored.sha256 = digest_archive(path)
    archived.size_bytes, archived.sha256 = stored.size_bytes, stored.sha256
    archived.encryption, archived.is_authenticated = stored.encryption, stored.authenticated
    archived.inner_sha256 = stored.inner_sha256


def prepare(connect: Connect, manifest: Manifest | None, heading: Heading) -> tuple[str, list[StatementError]]:
    """Make the cluster ready: roles and tablespaces of the manifest, and an empty database like the source's.

    :return: the database to load into, and what the server refused of the globals.
    """
    refused: list[StatementError] = []
    makes_its_own = manifest is not None and manifest.archive is not None and "--create" in manifest.archive.options
    with connect(_MAINTENANCE) as connection:
        if manifest is not None:
            connection.execute("SET allow_in_place_tablespaces = on")
            before = [s for s in manifest.globals.statements if _BEFORE.match(s)]
            refused += _run(connection, [_LOCATION.sub(" LOCATION ''", s) for s in before])
            # Money is written and read in it; where this server lacks it, the environment check says so.
            monetary = sql.SQL("ALTER ROLE ALL SET lc_monetary = {}").format(manifest.environment.lc_monetary)
            _run(connection, [monetary.as_string(connection)])
        name = SPARE_DATABASE
        if manifest is not None and not makes_its_own:
            name = manifest.source.database
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        create_like(connection, name, manifest.environment if manifest is not None else None, heading.encoding)
    return name, refused


def finish(connect: Connect, manifest: Manifest) -> list[StatementError]:
    """Apply what the manifest knows of the database's and roles' settings; after the load, which they would change."""
    with connect(_MAINTENANCE) as connection:
        return _run(connection, [s for s in manifest.globals.statements if not _BEFORE.match(s)])


def create_like(connection: Connection, name: str, there: Environment | None, encoding: str | None) -> None:
    """An empty database with that encoding and locale, or as near to it as this server can; the checks say how near."""
    for options in _locales(there, encoding):
        try:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(sql.Identifier(name), options)
            )
            return
        except psycopg.Error as exc:
            if exc.sqlstate is None:
                raise
            last = exc
    raise last


def _locales(there: Environment | None, encoding: str | None) -> Iterator[sql.Composable]:
    wanted = there.encoding if there is not None else encoding or "UTF8"
    if wanted.upper() in _CLIENT_ONLY:
        wanted = "UTF8"
    code = sql.SQL("ENCODING {}").format(sql.Literal(wanted))
    if there is not None:
        libc = sql.SQL("{} LC_COLLATE {} LC_CTYPE {}").format(
            code, sql.Literal(there.collate), sql.Literal(there.ctype)
        )
        if there.locale_provider == "icu" and there.icu_locale:
            icu = sql.SQL("{} LOCALE_PROVIDER icu ICU_LOCALE {}").format(libc, sql.Literal(there.icu_locale))
            if there.icu_rules:
                yield sql.SQL("{} ICU_RULES {}").format(icu, sql.Literal(there.icu_rules))
            yield icu
        elif there.locale_provider == "builtin" and there.icu_locale:
            yield sql.SQL("{} LOCALE_PROVIDER builtin BUILTIN_LOCALE {}").format(libc, sql.Literal(there.icu_locale))
        yield libc
    if wanted.upper() in ("UTF8", "UNICODE"):
        yield sql.SQL("{} LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'").format(code)
    yield sql.SQL("{} LC_COLLATE 'C' LC_CTYPE 'C'").format(code)
    yield sql.SQL("ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")


def _run(connection: Connection, statements: list[str]) -> list[StatementError]:
    refused = []
    for statement in statements:
        try:
            connection.execute(statement.encode())
        except psycopg.Error as exc:
            if exc.sqlstate is None:
                raise
            words = " ".join(statement.split()[:2])
            refused.append(
                StatementError(
                    entry=f"globals of the manifest: {words}",
                    sqlstate=exc.sqlstate,
                    message=message_without_values(exc),
                )
            )
    return refused
