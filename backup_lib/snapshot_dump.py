"""One pg_dump run in a source's snapshot, with our own count beside it: neither is believed alone."""

from __future__ import annotations

import errno
import os
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psycopg

from backup_lib import row_sums
from backup_lib.chunks import Digest, beside
from backup_lib.codec import CHUNK_BYTES, Compressor
from backup_lib.definitions import pack_definitions
from backup_lib.dump_reader import read_inventory
from backup_lib.dump_text import digest_archive
from backup_lib.encryption import NO_KEYS, Keys, Lock, Seal
from backup_lib.errors import ProgramError, SourceError, UsageError
from backup_lib.inventory import Inventory
from backup_lib.manifest import Compression, Concern, Encryption, Manifest, PackedDefinitions, RowSums
from backup_lib.process import stream
from backup_lib.scope import Scope
from backup_lib.sequence_values import first_wrong, read_values
from backup_lib.server_programs import Programs, client_for
from backup_lib.source import SourceSession, sum_up
from backup_lib.sql_lexer import as_argument
from backup_lib.store import LocalStore, Sink, Store
from backup_lib.traits import Traits

Progress = Callable[[int], object]
"""Told the bytes of plain text read so far."""

# While pg_dump waits for a table, everybody else queues behind it.
_LOCK_WAIT = "--lock-wait-timeout=5min"
_DISTRUST = "do not trust the programs that made it: see where they are from with pgdrill doctor"


# What pg_dump says of its own files; of the server's it quotes an ERROR.
_NO_ROOM = re.compile(
    r"pg_dump: error: (?!.*ERROR:).*: "
    r"(?:(No space left|No queda espacio)|(Disk quota exceeded)|(File too large))"
)


class Written(NamedTuple):
    """An archive that is whole, but has no name yet."""

    inventory: Inventory
    size_bytes: int
    sha256: str  # as stored
    encryption: Encryption | None = None


class SnapshotDump:
    """One pg_dump in the source's snapshot, with our own count beside it."""

    def __init__(
        self,
        source: SourceSession,
        scope: Scope,
        programs: Programs | None,
        extra: Sequence[str],
        progress: Progress | None,
        *,
        lock: Lock | None = None,
        keys: Keys = NO_KEYS,
        independent_content: bool | None = None,
    ) -> None:
        self._source = source
        self._scope = scope
        self._programs = programs or client_for(source.server_major, "pg_dump")
        if self._programs.major < source.server_major:
            raise SourceError(
                f"pg_dump is version {self._programs.version}, the server is {source.facts.server_version}",
                hint=f"run: pgdrill install-server {source.server_major}",
            )
        self._progress = progress
        self._lock = lock
        self._keys = keys  # to prove that what was encrypted can be opened
        self._counting: Future[dict[int, int]] | None = None
        self._sums: dict[int, row_sums.Summed] | None = None  # not asked for, or not begun
        self._large_objects: str | None = None
        self._sums_rows = independent_content  # None: where it is cheap
        self._sequences = read_values(source.conn)
        self.options = (*scope.options, *extra, _LOCK_WAIT)
        self.warnings: list[str] = []

    @property
    def client_major(self) -> int:
        return self._programs.major

    @property
    def client_version(self) -> str:
        return self._programs.version

    @contextmanager
    def written_plain(self, store: Store, name: str, compression: Compression) -> Iterator[Written]:
        """pg_dump's text, read, packed, encrypted and stored in one pass."""
        with store.create(name) as sink, self._sealed(sink) as (seal, digest):
            compressor = Compressor(seal.write, compression)
            with self.dumped(compressor.write) as inventory:
                compressor.finish()
                encryption = seal.finish()
                yield Written(inventory, digest.size_bytes, digest.sha256, encryption)

    @contextmanager
    def written_encrypted(self, store: Store, name: str, _compression: Compression) -> Iterator[Written]:
        """A format only pg_dump can write, encrypted as it comes; pg_restore is given the same bytes meanwhile."""
        with store.create(name) as sink, self._sealed(sink) as (seal, digest), self._counted_beside():
            with self._pg_dump(*self.options) as chunks, self._read_beside() as (give, reading):
                for chunk in self._watched(chunks, seal.write):
                    give(chunk)
            inventory = reading.result()
            encryption = seal.finish()
            yield Written(inventory, digest.size_bytes, digest.sha256, encryption)

    @contextmanager
    def _read_beside(self) -> Iterator[tuple[Callable[[bytes], object], Future[Inventory]]]:
        """What pg_restore makes of the chunks that are given; known after the context, whose end is theirs."""
        inner, outer = os.pipe()
        with ThreadPoolExecutor(1, thread_name_prefix="pgdrill-read") as beside:
            reading = beside.submit(self._read_by_pg_restore, inner)
            pipe = os.fdopen(outer, "wb")

            def give(chunk: bytes) -> None:
                with suppress(BrokenPipeError):  # it has read the last entry, or failed
                    pipe.write(chunk)

            try:
                yield give, reading
            finally:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _read_by_pg_restore(self, source: int) -> Inventory:
        restore: list[str | Path] = [self._programs.program("pg_restore"), "--file=-"]
        with open(source, "rb", buffering=0) as pipe:
            given = iter(lambda: pipe.read(CHUNK_BYTES), b"")
            with stream(restore, env=self._programs.env, stdin=given) as text:
                return read_inventory(text)

    @contextmanager
    def _sealed(self, sink: Sink) -> Iterator[tuple[Seal, Digest]]:
        """What is written to the seal goes to the sink, counted as it is stored."""
        digest = Digest()

        def keep(data: bytes) -> None:
            digest.update(data)
            sink.write(data)

        with Seal(keep, self._lock, self._keys) as seal:
            yield seal, digest

    @contextmanager
    def written_by_pg_dump(self, store: Store, name: str, _compression: Compression) -> Iterator[Written]:
        """A format only pg_dump can write; reading it back shows what is in it, and that it can be read."""
        if not isinstance(store, LocalStore):
            raise UsageError(f"only a plain archive can be written to {store.location}", hint="take the format plain")
        with store.create_path(name) as path, self._counted_beside():
            self._start_counting()
            try:
                with self._pg_dump(*self.options, f"--file={path}") as chunks:
                    for _ in chunks:
                        pass
            except ProgramError as exc:
                if (full := _no_room(exc.message)) is not None:
                    raise full from exc  # the place's fault: another one may take the archive
                raise
            digest = self._beside.submit(digest_archive, path)
            restore: list[str | Path] = [self._programs.program("pg_restore"), "--file=-", path]
            with stream(restore, env=self._programs.env) as chunks:
                inventory = read_inventory(self._watched(chunks, lambda _: None))
            size_bytes, sha256 = digest.result()
            yield Written(inventory, size_bytes, sha256)

    @contextmanager
    def dumped(self, keep: Callable[[bytes], object]) -> Iterator[Inventory]:
        """Run pg_dump to its end, giving its text to `keep`; the rows are counted meanwhile."""
        with self._counted_beside():
            with self._pg_dump(*self.options) as chunks, beside(keep) as put:
                inventory = read_inventory(self._watched(chunks, put))
            yield inventory

    def manifest(self, inventory: Inventory, lint: tuple[Concern, ...] = ()) -> Manifest:
        """What the source holds, once counts and archive agree.

        An archive of a part promises its tables with what belongs to them; one of mere data no object at all.
        """
        counts = self._agreed_counts(inventory)
        self._agree_on_sequences(inventory)
        catalog, traits = self._describing.result()
        return Manifest(
            archive=None,
            source=self._source.facts,
            environment=self._source.environment(),
            globals=self._source.globals(),
            row_counts=counts,
            catalog=catalog,
            traits=traits,
            inventory=inventory,
            tools={
                "pgdrill": version("pgdrill"),
                "pg_dump": self._programs.full_version,
                "python": platform.python_version(),
            },
            kind=self._scope.kind,
            lint=lint,
            row_sums=self._row_sums(),
            definitions=self._definitions() if self._scope.kind == "data" or not self._scope.is_whole else None,
        )

    def _describe(self) -> tuple[tuple[str, ...], Traits]:
        promised = self._scope.kind in ("full", "tables") or (self._scope.kind == "schema" and self._scope.is_whole)
        chosen = None if self._scope.is_whole else self._scope.tables
        return self._source.described_catalog(chosen) if promised else ((), {})

    def _definitions(self) -> PackedDefinitions:
        """Of the whole database, whatever was left out by name: a table may need any type or function."""
        with self._pg_dump("--schema-only", _LOCK_WAIT) as chunks:
            return pack_definitions(chunks)

    def _agreed_counts(self, inventory: Inventory) -> dict[str, int]:
        """Our count, which must be that of the rows in the archive.

        Truncating or rewriting a table shows through in snapshots: where that happened between pg_dump's
        look and ours, the count is the archive's own, and a warning says so.
        """
        if not inventory.complete:
            raise ProgramError(
                f"pg_dump's text has no end: it stops in {inventory.ends_in or 'its beginning'}", hint=_DISTRUST
            )
        tables = self._scope.tables
        counts = self._start_counting().result()
        archived: Counter[str] = Counter()
        for data in inventory.tables:
            archived[data.label] += data.rows
        promised = [t for t in tables if t.kind == "r" and t.countable and not t.is_member]
        counted: Counter[str] = Counter()
        for table in promised:
            counted[table.label] += counts.get(table.oid, 0)
        wrong = [
            table for table in promised if table.oid not in counts or archived.get(table.label) != counted[table.label]
        ]
        changed = self._source.changed(wrong)
        for table in wrong:
            if table not in changed:
                raise ProgramError(
                    f"pg_dump wrote {archived.get(table.label, 'no')} rows of {table.label}, its snapshot holds "
                    f"{counted[table.label]}" + (f"; {len(wrong)} tables differ" if len(wrong) > 1 else ""),
                    hint=_DISTRUST,
                )
            counts[table.oid] = archived[table.label]
            self.warnings.append(
                f"{table.label} was truncated, rewritten or dropped meanwhile: its rows are counted in the archive"
            )
        return sum_up(counts, tables)

    def _count_rows(self) -> dict[int, int]:
        """Where rows are summed up, they are counted on the way."""
        conn, tables = self._source.conn, self._scope.tables
        wanted = self._sums_rows if self._sums_rows is not None else row_sums.is_cheap(conn, tables)
        if not wanted or self._scope.kind == "schema":
            return self._source.count_rows(tables)
        self._sums = row_sums.sum_rows(conn, tables)
        if self._scope.is_whole:
            self._large_objects = row_sums.sum_large_objects(conn)
        left = [table for table in tables if table.oid not in self._sums]
        return {oid: summed.rows for oid, summed in self._sums.items()} | self._source.count_rows(left)

    def _row_sums(self) -> RowSums | None:
        """Without tables that were truncated or rewritten meanwhile: snapshots do not hide that."""
        if self._sums is None:
            return None
        changed = {table.oid for table in self._source.changed(self._scope.tables)}
        kept = {oid: summed for oid, summed in self._sums.items() if oid not in changed}
        by_label = row_sums.by_label(self._source.conn, kept, self._scope.tables)
        return replace(by_label, large_objects=self._large_objects)

    def _agree_on_sequences(self, inventory: Inventory) -> None:
        wrong = first_wrong(inventory.sequences, self._sequences, read_values(self._source.conn))
        if wrong is not None:
            stands = self._sequences[wrong.schema or "", wrong.name]
            raise ProgramError(
                f"pg_dump wrote that the sequence {wrong.label} stands at {wrong.last_value}, and it "
                + (f"stands at {stands}" if stands is not None else "was not used yet"),
                hint=_DISTRUST,
            )

    def _start_counting(self) -> Future[dict[int, int]]:
        if self._counting is None:
            self._describing = self._beside.submit(self._describe)
            self._counting = self._beside.submit(self._count_rows)
        return self._counting

    @contextmanager
    def _counted_beside(self) -> Iterator[None]:
        with ThreadPoolExecutor(1, thread_name_prefix="pgdrill-count") as self._beside:
            try:
                yield
            except BaseException:
                self._beside.shutdown(wait=False, cancel_futures=True)
                with suppress(psycopg.Error):  # the source may be what failed
                    self._source.conn.cancel_safe()  # else we would wait for a count nobody needs
                raise

    @contextmanager
    def _pg_dump(self, *options: str) -> Iterator[Iterator[bytes]]:
        target = self._source.target
        encoding = self._source.conn.info.parameter_status("server_encoding") or "UTF8"
        with stream(
            [
                self._programs.program("pg_dump"),
                *(as_argument(option, encoding) for option in options),
                f"--snapshot={self._source.snapshot}",
                f"--dbname={target.conninfo}",
            ],
            env={**self._programs.env, **target.env},
            on_stderr=lambda text: self.warnings.extend(text.splitlines()),
        ) as chunks:
            yield chunks

    def _watched(self, chunks: Iterable[bytes], keep: Callable[[bytes], object]) -> Iterator[bytes]:
        done = 0
        for chunk in chunks:
            # pg_dump has all its locks when it begins to write: no table changes before we count it.
            self._start_counting()
            keep(chunk)
            done += len(chunk)
            if self._progress:
                self._progress(done)
            yield chunk


def _no_room(said: str) -> OSError | None:
    """What stopped pg_dump, where that is the disk it wrote to."""
    if (found := _NO_ROOM.search(said)) is None:
        return None
    number = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)[(found.lastindex or 1) - 1]
    return OSError(number, os.strerror(number))
