"""What a backup would do: the source is asked, and looked over by lint; nothing is dumped, and nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from backup_lib.backup import BackupOptions, free_name
from backup_lib.catalog import list_archives
from backup_lib.clocks import compare_clocks
from backup_lib.encryption import Lock
from backup_lib.errors import StoreError
from backup_lib.lint import lint
from backup_lib.listing import Found
from backup_lib.manifest import Compression, Concern, Format, Kind
from backup_lib.snapshot_dump import SnapshotDump
from backup_lib.source import open_source
from backup_lib.store import LocalStore, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupPlan:
    """One archive that is not made."""

    name: str  # what it would be called now
    place: str
    database: str
    server_version: str
    pg_dump: str  # its version
    kind: Kind
    format: Format
    compression: Compression
    encrypted: str | None  # a passphrase or recipients
    tables: tuple[str, ...]  # whose rows it would hold
    left_out: tuple[str, ...]  # whose rows it would not hold
    options: tuple[str, ...]  # pg_dump's
    expected_bytes: int | None  # as large as the last archive of this database and kind; None: there is none
    like: str | None  # that one's name
    free_bytes: int | None  # None where that has no meaning, or the place is not there yet
    concerns: tuple[Concern, ...]
    clocks: str  # what to tell of them; nothing when this machine's and the server's agree

    @property
    def lacks_room(self) -> bool:
        return None not in (self.free_bytes, self.expected_bytes) and (self.free_bytes or 0) < (
            self.expected_bytes or 0
        )


def plan_backup(dsn: str, store: Store, options: BackupOptions) -> BackupPlan:
    """What `make_archive` would make of the same parameters; raises as it does, before anything is dumped."""
    extra, before = options.of_pg_dump(), datetime.now(UTC)
    with open_source(dsn) as source:
        clocks = compare_clocks(before, source.facts.snapshot_at, datetime.now(UTC))
        started_at = before + max(clocks.ahead, timedelta(0))
        scope = options.scope_in(source)
        job = SnapshotDump(source, scope, None, extra, None, lock=options.lock)
        concerns = lint(source, scope, client_major=job.client_major)
        name_at = partial(options.name_at, source.facts.database, scope.kind)
        like = _newest_like(store, source.facts.database, scope.kind)
        chosen = {table.label for table in scope.tables}
        is_there = not isinstance(store, LocalStore) or store.folder.is_dir()
        return BackupPlan(
            name=free_name(store, name_at, started_at) if is_there else name_at(started_at),
            place=store.location,
            database=source.facts.database,
            server_version=source.facts.server_version,
            pg_dump=job.client_version,
            kind=scope.kind,
            format=options.format,
            compression=options.packing,
            encrypted=_encryption(options.lock),
            tables=tuple(sorted(chosen)),
            left_out=tuple(sorted(table.label for table in source.tables if table.label not in chosen)),
            options=job.options,
            expected_bytes=like.size_bytes if like else None,
            like=like.name if like else None,
            free_bytes=store.free_bytes() if is_there else None,
            concerns=tuple(concerns),
            clocks=clocks.remark,
        )


def _encryption(lock: Lock | None) -> str | None:
    return None if lock is None else "recipients" if lock.recipients else "passphrase"


def _newest_like(store: Store, database: str, kind: Kind) -> Found | None:
    """The archive that this one will most likely be as large as."""
    if isinstance(store, LocalStore) and not store.folder.is_dir():
        if store.folder.exists():
            raise StoreError(f"{store.folder} is a file, not a folder", hint="give another folder")
        return None
    return next(
        (one for one in list_archives(store, by_name=True) if (one.database, one.kind) == (database, kind)), None
    )
