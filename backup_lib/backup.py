"""Makes archives: pg_dump and our own counts read one snapshot, and what is published is what both saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from backup_lib.archive import build_name, name_prefix, parse_name
from backup_lib.clocks import compare_clocks
from backup_lib.encryption import NO_KEYS, Keys, Lock
from backup_lib.errors import BackupError, ConcernsError, StoreError, UsageError
from backup_lib.ledger import digest_stored
from backup_lib.lint import lint
from backup_lib.manifest import SUFFIX, ArchiveFacts, Compression, Concern, Format, Kind, Manifest, render_manifest
from backup_lib.scope import Scope, choose_scope
from backup_lib.server_programs import Programs
from backup_lib.snapshot_dump import Progress, SnapshotDump
from backup_lib.source import SourceSession, open_source
from backup_lib.store import LocalStore, Store

# Inside custom and directory archives. Level 1 for the same reason as in `codec`.
_COMPRESS: Mapping[Compression, tuple[str, ...]] = {
    "none": ("--compress=0",),
    "gzip": ("--compress=1",),
    "zstd": ("--compress=zstd:1",),  # from 16 on, where built in; else pg_dump says so
}


_UNPROVED = (
    "no identity is here, so it is not proved that anybody can open the archive: drill it where a recipient's "
    "secret key is"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupOptions:
    """What is to be in an archive, and how it is written: parameters of `make_backup`, which explains them."""

    kind: Kind = "full"
    tables: Sequence[str] = ()
    schemas: Sequence[str] = ()
    exclude_tables: Sequence[str] = ()
    format: Format = "plain"
    compression: Compression | None = None
    create: bool = False
    jobs: int = 1
    strict: bool = False
    independent_content: bool | None = None
    lock: Lock | None = None
    keys: Keys = NO_KEYS

    @property
    def packing(self) -> Compression:
        return self.compression or ("none" if self.format == "tar" else "gzip")

    def of_pg_dump(self) -> tuple[str, ...]:
        """pg_dump's options, without those of the scope.

        :raises UsageError: when these contradict one another.
        """
        format = self.format
        if self.lock is not None and format in ("directory", "tar"):  # in plain on a disk for a while
            why = "is many files" if format == "directory" else "is written by way of temporary files in plain"
            raise UsageError(
                f"an archive of the format {format} is not encrypted: it {why}", hint="take the format custom or plain"
            )
        if self.kind == "tables":
            raise UsageError("tables is no kind by itself", hint="name the tables")
        if self.create and (format != "plain" or self.kind == "data"):
            raise UsageError(
                "only a plain archive with definitions can create its database",
                hint="with another format that is decided at the restore: pg_restore --clean --create",
            )
        if self.jobs != 1 and format != "directory":
            raise UsageError("several jobs need the format directory", hint="leave jobs out, or take directory")
        if format == "plain":
            return self._removing()
        if format == "tar" and self.packing != "none":
            raise UsageError("a tar archive cannot be compressed", hint="take the format custom or directory")
        compress = () if format == "tar" else _COMPRESS[self.packing]
        return (f"--format={format}", *compress, *([f"--jobs={self.jobs}"] if self.jobs != 1 else []))

    def _removing(self) -> tuple[str, ...]:
        """What the text drops first, so that psql brings back what was backed up where it still stands.

        Nothing where other objects of that database may lean on what is in the archive, or its rows are elsewhere.
        """
        if self.create:
            return ("--clean", "--create", "--if-exists")
        is_whole = self.kind == "full" and not (self.tables or self.schemas or self.exclude_tables)
        return ("--clean", "--if-exists") if is_whole else ()

    def scope_in(self, source: SourceSession) -> Scope:
        return choose_scope(
            source.tables,
            kind=self.kind,
            tables=self.tables,
            schemas=self.schemas,
            exclude_tables=self.exclude_tables,
            in_recovery=source.facts.in_recovery,
        )

    def name_at(self, database: str, kind: Kind, at: datetime) -> str:
        """What an archive begun at a time is called."""
        return build_name(
            database, at, kind=kind, format=self.format, compression=self.packing, encrypted=self.lock is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupResult:
    """A published archive."""

    name: str
    store: Store
    manifest: Manifest
    seconds: float
    warnings: tuple[str, ...]  # pg_dump's words, and tables changed meanwhile

    @property
    def path(self) -> Path | None:
        """Where it is on this machine; None when it is not."""
        return self.store.path(self.name) if isinstance(self.store, LocalStore) else None


def make_backup(
    dsn: str,
    destination: Path | Store,
    *,
    kind: Kind = "full",
    tables: Sequence[str] = (),
    schemas: Sequence[str] = (),
    exclude_tables: Sequence[str] = (),
    format: Format = "plain",
    compression: Compression | None = None,
    create: bool = False,
    jobs: int = 1,
    strict: bool = False,
    independent_content: bool | None = None,
    lock: Lock | None = None,
    keys: Keys = NO_KEYS,
    now: datetime | None = None,
    programs: Programs | None = None,
    progress: Progress | None = None,
) -> BackupResult:
    """Back up one database into an archive with its manifest beside it; on any failure neither is there.

    :param tables, schemas, exclude_tables: names or globs, see `choose_scope`; default all.
    :param compression: default gzip, and none for tar, which cannot be compressed.
    :param create: the archive drops and makes its database itself (`--clean --create --if-exists`); it then
        cannot be read into a database of another name. Else a plain one of a whole database drops what it makes
        (`--clean --if-exists`), so that psql restores it over that database, and into an empty one.
    :param jobs: pg_dump's, for the format directory.
    :param strict: refuse, before anything is dumped, what `lint` warns of.
    :param independent_content: let the server read all rows a second time and sum them up, so that a pg_dump that
        alters a value is found out by the drill; default where all tables together have no more than 2 GiB.
    :param lock: what to encrypt with; default not at all. The formats are then plain and custom.
    :param keys: its identities, if any, prove that what was encrypted for recipients can be opened.
    :param now: what the name says; moved on by seconds while that name is taken, and by as much as the server's
        clock is ahead of this machine's: behind its manifest's time, `latest` would not find it.
    :param programs: the client programs; default those of the server's own major.
    :raises UsageError: when the options contradict one another.
    :raises WrongKeyError: when `keys` has identities, and none opens what was encrypted.
    :raises SourceError: when the source cannot be reached or read whole; ConcernsError, when `strict` refuses it.
    :raises StoreError, LockedError: when the destination cannot be written, or another run writes there.
    :raises ProgramError: when pg_dump fails, or wrote other rows than there are in the snapshot.
    """
    options = BackupOptions(
        kind=kind,
        tables=tables,
        schemas=schemas,
        exclude_tables=exclude_tables,
        format=format,
        compression=compression,
        create=create,
        jobs=jobs,
        strict=strict,
        independent_content=independent_content,
        lock=lock,
        keys=keys,
    )
    store = LocalStore(destination) if isinstance(destination, Path) else destination
    return make_archive(dsn, store, options, now=now, programs=programs, progress=progress)


def make_archive(
    dsn: str,
    store: Store,
    options: BackupOptions,
    *,
    now: datetime | None = None,
    programs: Programs | None = None,
    progress: Progress | None = None,
) -> BackupResult:
    """What `make_backup` does, with its parameters as one value."""
    extra = options.of_pg_dump()
    begun, before = time.monotonic(), datetime.now(UTC)
    with open_source(dsn) as source, store.lock(name_prefix(source.facts.database)):
        clocks = compare_clocks(before, source.facts.snapshot_at, datetime.now(UTC))
        ahead = max(clocks.ahead, timedelta(0))
        started_at = (now or before).astimezone(UTC) + ahead
        scope = options.scope_in(source)
        job = SnapshotDump(
            source,
            scope,
            programs,
            extra,
            progress,
            lock=options.lock,
            keys=options.keys,
            independent_content=options.independent_content,
        )
        concerns = lint(source, scope, client_major=job.client_major)
        if options.strict:
            refuse(concerns)
        if clocks.remark:
            job.warnings.append(clocks.remark)

        name = free_name(store, partial(options.name_at, source.facts.database, scope.kind), started_at)
        _require_room(store, name)
        by_pg_dump = job.written_encrypted if options.lock is not None else job.written_by_pg_dump
        writing = job.written_plain if options.format == "plain" else by_pg_dump
        # All that can fail comes before the archive gets its name, at the end of this block.
        with promised_first(store, name) as promise, writing(store, name, options.packing) as written:
            manifest = job.manifest(written.inventory, concerns)
            facts = ArchiveFacts(
                name=name,
                kind=scope.kind,
                format=options.format,
                compression=options.packing,
                size_bytes=written.size_bytes,
                sha256=written.sha256,
                started_at=started_at,
                finished_at=datetime.now(UTC) + ahead,
                options=job.options,
                encryption=written.encryption,
                clocks_differed=bool(clocks.remark),
            )
            manifest = replace(manifest, archive=facts)
            promise(manifest)
    if facts.encryption is not None and not facts.encryption.key_proved:
        job.warnings.append(_UNPROVED)
    return BackupResult(
        name=name,
        store=store,
        manifest=manifest,
        seconds=time.monotonic() - begun,
        warnings=tuple(job.warnings),
    )


def record_manifest(
    dsn: str,
    *,
    snapshot: str | None = None,
    kind: Kind = "full",
    independent_content: bool | None = None,
    programs: Programs | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """What an archive of the database must contain, for one that somebody else makes; its `archive` is None.

    :param snapshot: of a transaction that stays open and that the other pg_dump is given as well
        (`pg_dump --snapshot`). Without it, both see the same only if nobody writes meanwhile.
    :param independent_content: as of `make_backup`.
    """
    with open_source(dsn, snapshot=snapshot) as source:
        scope = choose_scope(source.tables, kind=kind, in_recovery=source.facts.in_recovery)
        job = SnapshotDump(source, scope, programs, (), progress, independent_content=independent_content)
        concerns = lint(source, scope, client_major=job.client_major)
        with job.dumped(lambda _: None) as inventory:
            return job.manifest(inventory, concerns)


def refuse(concerns: Sequence[Concern]) -> None:
    """:raises ConcernsError: when there are warnings; it names each."""
    warnings = [concern for concern in concerns if concern.severity == "warning"]
    if warnings:
        listed = "".join(f"\n  {c.object}: {c.what}; {c.why}\n    mend: {c.hint}" for c in warnings)
        raise ConcernsError(
            f"not backed up: these of the source will not survive:{listed}",
            hint="mend them, or back up without --strict: the manifest then says so",
        )


def free_name(store: Store, name_at: Callable[[datetime], str], at: datetime) -> str:
    """The first of these names from that time on that nothing has."""
    taken = {item.name.removesuffix(SUFFIX) for item in store.items()}
    while (name := name_at(at)) in taken:
        at += timedelta(seconds=1)
    return name


def _kind_of(name: str) -> tuple[str, ...] | None:
    """What the names of archives like it share; None: no name of ours."""
    named = parse_name(name)
    return (named.database, named.kind, named.suffix) if named else None


def _require_room(store: Store, name: str) -> None:
    """An archive needs about as much room as the newest of its kind."""
    like, contents = _kind_of(name), store.contents()
    earlier = [there for there in contents if like == _kind_of(there)] if like else []
    free = store.free_bytes()
    if earlier and free is not None:
        newest = contents.get(max(earlier))
        if newest is not None and free < newest.size_bytes:
            raise StoreError(
                f"{store.location} has {free:,} bytes left, and {newest.name} needed {newest.size_bytes:,}",
                hint="free some space there (pgdrill prune --dry-run), or give another folder",
            )


@contextmanager
def promised_first(store: Store, name: str) -> Iterator[Callable[[Manifest], None]]:
    """What writes the manifest, to be called before its archive gets that name: without one it would pass for foreign.

    A manifest without its archive is nothing to anybody; it goes when the archive does not come.
    """
    promised: list[Manifest] = []

    def promise(manifest: Manifest) -> None:
        with store.create(name + SUFFIX) as sink:
            sink.write(render_manifest(manifest))
        promised.append(manifest)

    try:
        yield promise
    except BaseException:
        with suppress(BackupError):  # what went wrong before is what is told
            if promised and not _is_there(store, name, promised[0]):
                store.delete(name + SUFFIX)
        raise


def _is_there(store: Store, name: str, manifest: Manifest) -> bool:
    """Of a place far away the answer may be lost, and the archive stored all the same."""
    facts = manifest.archive
    return facts is not None and store.exists(name) and digest_stored(store, name)[1] == facts.sha256
