"""One archive's drill: restore it once, examine what came back, judge, record.

`restore` is what a recovery would take, and its time is the measured RTO; `examine` proves what came back. Each
runs once, whoever asks first. What is wrong with the archive is for the checks to find in the facts; what keeps
the drill itself from going on becomes the facts' `obstacle`, and then nothing is verified.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from backup_lib.catalog import Found
from backup_lib.chunks import Digest
from backup_lib.codec import Wrapping
from backup_lib.definitions import unpack_definitions, without_outward_keys
from backup_lib.dump_text import Heading, digest_archive, is_as_written, read_heading
from backup_lib.errors import (
    BackupError,
    DamagedArchiveError,
    DamagedManifestError,
    StoreError,
    UsageError,
    WrongKeyError,
)
from backup_lib.files_backup import read_files
from backup_lib.inventory import major_of
from backup_lib.load_report import LoadReport
from backup_lib.manifest import Manifest, parse_manifest
from backup_lib.plain_loader import Loader
from backup_lib.privacy import readable_by_others
from backup_lib.statement_errors import message_without_values
from verification.analyzing import analyze
from verification.checks import OF_FILES, Check, checks_of
from verification.checks.sql import ask, sql_check
from verification.contract import without_keys
from verification.examining import examine
from verification.facts import Answer, Archived, Facts
from verification.fetching import fetch
from verification.finding import Finding
from verification.findings import capped
from verification.machine_load import MachineClock, MachineLoad
from verification.mending import Mending
from verification.phases import (
    ANALYZE,
    CHECKS,
    DATA,
    FETCH,
    FIRST_QUERY,
    POST_DATA,
    PRE_DATA,
    READ,
    RESTORE,
    START,
    Phases,
)
from verification.planning import Plan
from verification.restoring import (
    SPARE_DATABASE,
    Connect,
    connector,
    finish,
    prepare,
    read_archive,
    restore_archive,
    restore_rows,
)
from verification.sandbox.choice import Chosen, open_sandbox
from verification.scaffold import scaffold_of, tables_of
from verification.scope import Scope, makes_tables, scope_of
from verification.suppressing import suppress

__all__ = ["Drill", "Judged", "Plan"]

NEWEST_MAJOR = 18
_DYING_S = 1.0  # a server that dies loses its connections first
_BUILDS = b"""SELECT greatest(blocks_done::float8 / nullif(blocks_total, 0),
                     tuples_done::float8 / nullif(tuples_total, 0), 0)
              FROM pg_stat_progress_create_index ORDER BY pid"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One check's findings, and how long it took."""

    check: Check
    findings: tuple[Finding, ...]
    seconds: float


class Drill:
    """A context manager: leaving it destroys the sandbox, and `destroyed` tells whether that is proved.

    :param sandbox: an empty one to restore into, which is left to whoever gave it; default one of its own.
    """

    def __init__(self, found: Found, path: Path, plan: Plan, *, drill_id: str, sandbox: Chosen | None = None) -> None:
        self.found = found
        self.path = path
        self.plan = plan
        self.drill_id = drill_id
        self.started_at = datetime.now(UTC)
        self.phases = Phases()
        self.chosen: Chosen | None = None
        self._given = sandbox
        self.destroyed: bool | None = None
        self.manifest_name: str | None = None
        self.manifest_bytes: bytes | None = None
        self.not_proved: list[str] = list(plan.not_proved)
        own = [sql_check(check) for check in plan.sql_checks] if plan.level != "integrity" else []
        self.checks: tuple[Check, ...] = (*checks_of(plan.level), *own)
        self.load_s = 0.0
        self.machine: MachineLoad | None = None  # while it was loaded
        self._databases: list[str] = []
        self._connect: Connect | None = None
        self._judged: dict[str, Judged] = {}
        self._restored_at: float | None = None
        self._begun: float | None = None
        self._examined = False
        self._cleanup = ExitStack()
        self.facts = Facts(
            level=plan.level,
            name=found.name,
            expect=plan.expect,
            manifest=None,
            manifest_damage=None,
            archived=Archived(),
            wide=_open_to_others(found, plan),
        )
        try:
            self.facts.manifest, self.facts.manifest_damage = self._read_manifest()
        except StoreError as exc:  # its place went away meanwhile
            self._stop(exc)
        if self.is_of_files:
            self.checks = OF_FILES

    @property
    def is_of_files(self) -> bool:
        """Of configuration files: all of them are read back, and there is nothing to restore into a server."""
        manifest = self.facts.manifest
        if manifest is None:  # its backup was killed before it was written: the name tells
            return self.found.kind == "config"
        return manifest.archive is not None and manifest.archive.kind == "config"

    def __enter__(self) -> Drill:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._cleanup.close()
        except (BackupError, psycopg.Error) as exc:
            self.destroyed = False
            self._stop(exc)
        else:
            self.destroyed = True if self.chosen is not None else None

    # The two halves

    def restore(self) -> None:
        """From the stored archive to a server that answers; the phases' clock runs."""
        if self._begun is not None:
            return
        self._begun = time.monotonic()
        if self.facts.obstacle is not None:
            return
        with self._obstacles():
            try:
                self._fetch_and_restore()
            except DamagedArchiveError as exc:
                archived = self.facts.archived
                archived.damage = archived.damage or exc.message
                archived.size_bytes, archived.sha256 = digest_archive(self.path)
            except WrongKeyError as exc:
                self._blame_key_or_bytes(exc)
        self._restored_at = time.monotonic()

    def examine(self) -> None:
        """Take all that the checks compare."""
        self.restore()
        if self._examined:
            return
        self._examined = True
        self._examine()
        self._excuse_change()

    def _examine(self) -> None:
        ready = self._connect is not None and self.facts.load is not None and self.facts.obstacle is None
        if not ready or self.chosen is None or self._connect is None or self.facts.archived.inventory is None:
            return
        with self._obstacles(), self.phases.clock(CHECKS):
            self.facts.restored = examine(
                self.facts,
                self.chosen.sandbox,
                self._connect,
                self.path,
                self._databases,
                jobs=self.plan.jobs,
                keys=self.plan.keys,
            )
            self.facts.answers = self._ask(self._connect)

    def _ask(self, connect: Connect) -> dict[str, Answer] | None:
        """The answers to the configuration's queries, which are about a whole database; None of a part of one."""
        manifest, dump = self.facts.manifest, self.facts.archived.inventory
        if dump is None or scope_of(self.facts.expect, manifest, dump).kind != "full":
            return None
        is_of = manifest.source.database if manifest is not None else self.found.database
        return ask(
            self.plan.sql_checks,
            connect,
            self._databases,
            is_of=is_of if dump.scope != "cluster" else None,
            timeout_s=self.plan.check_timeout_s,
        )

    def change(self) -> str:
        """What happened to the archive since the drill began, if it is no longer what lies there; else nothing.

        Whoever expires, packs or encrypts archives anew does not wait for drills.
        """
        found = self.found
        try:
            if not found.store.exists(found.name):
                return f"{found.name} is no longer in {found.store.location}: it was moved or deleted meanwhile"
            is_beside = self.manifest_bytes is not None and self.plan.manifest is None
            if is_beside and b"".join(found.store.open_read(found.manifest_name)) != self.manifest_bytes:
                return f"{found.name} was replaced in {found.store.location} meanwhile"
        except BackupError:
            return ""  # nobody knows
        return ""

    def judge(self, check: Check) -> Judged:
        """One check's findings; judged once."""
        self.examine()
        if check.name not in self._judged:
            begun = time.monotonic()
            found = capped(self.suppress(check.run(self.facts)))
            self._judged[check.name] = Judged(check=check, findings=tuple(found), seconds=time.monotonic() - begun)
        return self._judged[check.name]

    @property
    def today(self) -> date:
        """UTC; what suppressions expire by."""
        return self.started_at.date()

    def suppress(self, findings: list[Finding]) -> list[Finding]:
        return suppress(findings, self.plan.suppressions, self.today)

    def close(self) -> None:
        """Drop the spooled definitions; the drill answers no more."""
        self.facts.archived.definitions.close()
        if self.facts.restored is not None:
            self.facts.restored.definitions.close()
            if self.facts.restored.referee_definitions is not None:
                self.facts.restored.referee_definitions.close()

    def judge_all(self) -> list[Judged]:
        return [self.judge(check) for check in self.checks]

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A new connection to the restored database, after it was examined: nothing done there changes a verdict.

        :raises UsageError: when nothing was restored.
        """
        self.examine()
        if self._connect is None or self.facts.restored is None:
            raise UsageError(
                f"{self.found.name} was not restored: {self.facts.obstacle or 'see its findings'}",
                hint="mend what the findings name; `--level restore` or `full` restores",
            )
        return self._connect(self._databases[-1])

    def builds(self) -> list[float]:
        """How far the server is with each index it builds, as shares of 1: its own progress view.

        Asked only once the archive was read whole: a session would stand in the way of its DROP DATABASE.
        """
        if not self.phases.all_read or self._connect is None or self.phases.now is None:
            return []
        try:
            with closing(self._connect("template1")) as connection:
                rows = connection.execute(_BUILDS).fetchall()
        except psycopg.Error:
            return []  # it is busy, or gone: whoever waits for it is told so
        return [float(str(share)) for (share,) in rows]

    @property
    def manifest_sha256(self) -> str | None:
        return hashlib.sha256(self.manifest_bytes).hexdigest() if self.manifest_bytes is not None else None

    @property
    def rto_s(self) -> float | None:
        """Seconds from the stored archive to a server that answers, or to the last file; None where it never was."""
        if self._begun is None or self._restored_at is None or self.facts.obstacle:
            return None
        if self.facts.load is None and self.facts.archived.files is None:
            return None
        return self._restored_at - self._begun

    # Restoring

    def _fetch_and_restore(self) -> None:
        with self.phases.clock(FETCH):
            fetch(self.found, self.path)
            heading = None if self.is_of_files else read_heading(self.path, self.plan.keys)
        if heading is None:
            with self.phases.clock(READ):
                self._read_files()
        elif self.plan.level == "integrity":
            read_archive(self.path, self.facts.archived, self.phases, keys=self.plan.keys)
        else:
            self._restore(heading)

    def _restore(self, heading: Heading) -> None:
        facts = self.facts
        manifest = facts.manifest
        with self.phases.clock(START):
            self.chosen = self._given or self._cleanup.enter_context(self._sandbox(heading))
        sandbox = self.chosen.sandbox
        facts.server_major = major_of(sandbox.server_version)
        self._connect = connect = connector(sandbox)
        database, refused = prepare(connect, manifest, heading)
        scope = scope_of(facts.expect, manifest, None)
        mending = Mending(
            connect,
            has_globals=manifest is not None,
            only_tables=scope.kind == "tables",
            scaffold=scaffold_of(connect, manifest, scope),
        )
        clock = MachineClock()
        with self.phases.watched(RESTORE) as begun:
            facts.load = self._load(connect, database, mending, scope)
        self.load_s, self.machine = time.monotonic() - begun, clock.read()
        facts.load.errors[:0] = mending.lacking()
        for section in (PRE_DATA, DATA, POST_DATA):
            begun = facts.load.section_began.get(section, time.monotonic())
            self.phases.add(section, begun, facts.load.section_s.get(section, 0.0), overlaps=section == DATA)
        self._databases = _loaded(facts.load.databases, database)
        if manifest is not None and not _makes_its_database(facts.archived):
            refused += finish(connect, manifest)
        facts.load.errors.extend(refused)
        facts.made_by_drill += mending.made_labels()
        self.not_proved += mending.sentences() + without_keys(facts.outward_keys)
        if self._given is None:  # a control is examined, not used: it needs no statistics
            with self.phases.clock(ANALYZE):
                for name in self._databases:
                    self.not_proved += analyze(connect, name, jobs=self.plan.jobs)
        with self.phases.clock(FIRST_QUERY), closing(connect(self._databases[-1])) as connection:
            connection.execute("SELECT count(*) FROM pg_catalog.pg_class").fetchone()

    def _sandbox(self, heading: Heading) -> AbstractContextManager[Chosen]:
        source = self.facts.manifest.source if self.facts.manifest is not None else None
        return open_sandbox(
            self.plan.sandbox,
            major=heading.server_major or (major_of(source.server_version) if source else None) or NEWEST_MAJOR,
            image=self.plan.image,
            bootstrap_role=source.bootstrap_role if source else "postgres",
            jobs=self.plan.jobs,
        )

    def _read_files(self) -> None:
        archived, digest, wrapping = self.facts.archived, Digest(), Wrapping()
        archived.files = read_files(self.path, self.plan.keys, stored=digest, wrapping=wrapping)
        archived.size_bytes, archived.sha256 = digest.size_bytes, digest.sha256
        archived.encryption, archived.is_authenticated = wrapping.encryption, wrapping.authenticated
        archived.inner_sha256 = wrapping.plain.sha256 if wrapping.encryption is not None else None

    def _load(self, connect: Connect, database: str, mending: Mending, scope: Scope) -> LoadReport:
        """The archive, with what its kind needs around it; keys to tables that it leaves out are not made."""
        facts, manifest = self.facts, self.facts.manifest
        loader = partial(Loader, connect, database, jobs=self.plan.jobs, mend=mending)
        common: dict[str, Any] = {"open_loader": loader, "mending": mending, "keys": self.plan.keys}
        if manifest is not None and manifest.definitions is not None and scope.kind == "data":
            loaded = restore_rows(self.path, facts.archived, self.phases, **common, manifest=manifest)
            facts.made_by_drill, facts.outward_keys = loaded.made, loaded.outward_keys
            return loaded.report
        outward: list[str] = []
        if manifest is not None and scope.is_part:
            common["passing"] = lambda events: without_outward_keys(events, tables_of(manifest), outward)
        report = restore_archive(self.path, facts.archived, self.phases, **common)
        facts.outward_keys = tuple(outward)
        dump = facts.archived.inventory
        if scope_of(facts.expect, manifest, dump).kind == "data" and not makes_tables(dump):
            raise UsageError(
                f"{self.found.name} holds rows only, and nothing says what tables they belong to",
                hint="record their definitions where the rows are from: pgdrill manifest --kind data --out FILE, then "
                "pgdrill verify ARCHIVE --manifest FILE",
            )
        return report

    def _read_manifest(self) -> tuple[Manifest | None, str | None]:
        self._find_manifest()
        if self.manifest_bytes is None:
            return None, None
        try:
            manifest = parse_manifest(self.manifest_bytes, name=self.manifest_name or "manifest")
            if manifest.definitions is not None:
                unpack_definitions(manifest.definitions)
            return manifest, None
        except DamagedManifestError as exc:
            return None, exc.message

    def _find_manifest(self) -> None:
        if (path := self.plan.manifest) is not None:
            if not path.is_file():
                raise UsageError(f"there is no manifest {path}", hint="name the file that pgdrill manifest --out wrote")
            self.manifest_name, self.manifest_bytes = path.name, path.read_bytes()
        elif self.found.store.exists(self.found.manifest_name):
            self.manifest_name = self.found.manifest_name
            self.manifest_bytes = b"".join(self.found.store.open_read(self.manifest_name))

    def _excuse_change(self) -> None:
        """The manifest of one file and the bytes of the next, or of none, say nothing against either."""
        facts, archived = self.facts, self.facts.archived
        if facts.manifest is not None and facts.manifest.archive is not None:
            facts.manifest = replace(facts.manifest, archive=facts.manifest.archive.of(archived.sha256))
        promised = facts.manifest.archive if facts.manifest is not None else None
        is_other = promised is not None and archived.sha256 not in (None, promised.sha256)
        if facts.obstacle is None and archived.damage is None and not is_other:
            return
        if change := self.change():
            archived.damage = archived.sha256 = archived.size_bytes = None
            facts.obstacle, facts.obstacle_hint = change, "see where it is with pgdrill list, and drill that"

    def _blame_key_or_bytes(self, exc: WrongKeyError) -> None:
        """A key that was right opens nothing either when the header was altered; the manifest knows which it is."""
        if is_as_written(self.path, self.facts.manifest):
            self._stop(exc)
            return
        archived = self.facts.archived
        archived.size_bytes, archived.sha256 = digest_archive(self.path)
        archived.damage = f"{self.found.name} is damaged: no key opens it, and its bytes are not those written"

    @contextmanager
    def _obstacles(self) -> Iterator[None]:
        """What keeps the drill from going on is its obstacle, and says nothing against the archive."""
        try:
            yield
        except (BackupError, psycopg.Error, OSError) as exc:
            # A lost connection is the least of what there is to say of a dead server.
            death = self.chosen.sandbox.failure(wait_s=_DYING_S) if self.chosen is not None else None
            self._stop(death or exc)
        except BaseException:  # somebody ended the drill
            self.facts.obstacle = self.facts.obstacle or "the drill was interrupted"
            self.facts.obstacle_hint = self.facts.obstacle_hint or "drill again, and let it end"
            raise

    def _stop(self, exc: Exception) -> None:
        if self.facts.obstacle is None:
            self.facts.obstacle = exc.message if isinstance(exc, BackupError) else f"{type(exc).__name__}: {_what(exc)}"
            self.facts.obstacle_hint = (
                exc.hint if isinstance(exc, BackupError) else "look at the sandbox's host, and drill again"
            )


def _what(exc: Exception) -> str:
    """The server's words without its DETAIL, which quotes rows; a lost connection's are libpq's own."""
    if isinstance(exc, psycopg.Error) and exc.sqlstate is not None:
        return message_without_values(exc)
    return str(exc).strip()


def _loaded(databases: list[str], first: str) -> list[str]:
    """The databases that got something; the one that was made ready stays empty if the archive makes its own."""
    own = [name for name in databases if name != SPARE_DATABASE]
    return own or [first]


def _makes_its_database(archived: Archived) -> bool:
    dump = archived.inventory
    return dump is not None and any(entry.type == "DATABASE" for entry in dump.entries)


def _open_to_others(found: Found, plan: Plan) -> tuple[str, ...]:
    """Paths of the archive and its manifest that others may read; of what lies elsewhere its place has to see to it."""
    beside = plan.manifest or (found.path.with_name(found.manifest_name) if found.path else None)
    return tuple(map(str, readable_by_others(path for path in (found.path, beside) if path is not None)))
