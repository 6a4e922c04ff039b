"""Damaged copies of an archive, one at a time, in a folder that goes with this process however that ends."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from backup_lib.archive import Content
from backup_lib.codec import Compressor, digest_file, read_chunks
from backup_lib.dump_reader import read_inventory
from backup_lib.dump_text import open_dump_text
from backup_lib.encryption import Keys
from backup_lib.inventory import Inventory
from backup_lib.manifest import SUFFIX, Compression, Manifest, render_manifest
from verification.damage import Edit, spliced
from verification.damage.dump_map import DumpMap, definitions_only, map_dump
from verification.damage.kinds import StoredKind
from verification.scope import table_label

OpenText = Callable[[], AbstractContextManager[Iterator[bytes]]]
_NAME = {"none": "copy.sql", "gzip": "copy.sql.gz", "zstd": "copy.sql.zst"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy on disk, its manifest beside it if the archive has one."""

    path: Path
    manifest: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What copies of the text are made of, and where everything stands in it."""

    open: OpenText
    map: DumpMap
    manifest: Manifest | None
    compression: Compression  # of its copies


def whole_text(archive: Path, content: Content, manifest: Manifest | None, keys: Keys) -> Text:
    """The archive's own text; what pg_restore writes of an archive that is not plain."""

    def open_whole() -> AbstractContextManager[Iterator[bytes]]:
        return open_dump_text(archive, keys=keys)

    with open_whole() as chunks:
        dump = map_dump(chunks)
    compression = content.compression if content.format == "plain" else "gzip"
    return Text(open=open_whole, map=dump, manifest=manifest, compression=compression)


def text_of_definitions(whole: Text, folder: Path, dump: Inventory) -> Text:
    """The archive without rows and large objects' bytes, and a manifest that promises just that.

    It restores in a fraction of the time, and its definitions are checked as the archive's are.

    :param dump: what the whole archive holds.
    """
    path = folder / "definitions.sql"
    with whole.open() as chunks, path.open("wb") as file:
        file.writelines(definitions_only(chunks))

    @contextmanager
    def open_file() -> Iterator[Iterator[bytes]]:
        yield read_chunks(path)

    inventory, dump_map = read_inventory(read_chunks(path)), map_dump(read_chunks(path))
    manifest = whole.manifest
    if manifest is not None:
        counts = _counts_without_rows(manifest, dump, dump_map)
        promised = manifest.inventory and replace(
            manifest.inventory, tables=inventory.tables, large_objects=inventory.large_objects
        )
        manifest = replace(manifest, row_counts=counts, inventory=promised, row_sums=None)
    return Text(open=open_file, map=dump_map, manifest=manifest, compression="none")


def _counts_without_rows(manifest: Manifest, dump: Inventory, definitions: DumpMap) -> dict[str, int]:
    """What is left to count when no row is restored: what an extension brings, and nothing else."""
    archived = {table_label(table): table.rows for table in dump.tables}
    counts = {table: rows - archived.get(table, 0) for table, rows in manifest.row_counts.items()}
    return counts | {p.table: 0 for p in definitions.of("TABLE") if b"\nPARTITION BY " in p.text}


@contextmanager
def copy_of_text(text: Text, folder: Path, edits: Iterable[Edit], *, is_lie: bool = False) -> Iterator[Copy]:
    """The text with these edits, packed; its manifest holds the digest of that file.

    :param is_lie: the manifest's inventory is that of the damaged text, as if pg_dump had written it so.
    """
    with _emptied(folder) as home:
        path = home / _NAME[text.compression]
        with text.open() as chunks, path.open("wb") as file:
            compressor = Compressor(file.write, text.compression)
            for chunk in spliced(chunks, edits):
                compressor.write(chunk)
            compressor.finish()
        manifest = text.manifest
        if manifest is not None and is_lie:
            with open_dump_text(path) as chunks:
                manifest = replace(manifest, inventory=read_inventory(chunks))
        yield Copy(path=path, manifest=_write_manifest(path, manifest))


@contextmanager
def copy_of_bytes(
    archive: Path, folder: Path, kind: StoredKind, rng: Random, manifest: bytes | None
) -> Iterator[tuple[Copy, str]]:
    """The stored file with its bytes damaged; of a directory, one of its files. Also what was struck.

    :param manifest: the archive's own, as it is.
    """
    with _emptied(folder) as home:
        path, victim = home / archive.name, archive
        if archive.is_dir():
            path.mkdir()
            files = sorted(file for file in archive.iterdir() if file.stat().st_size)
            victim = rng.choice([file for file in files if file.name != "toc.dat"] or files)
            for file in archive.iterdir():
                if file != victim:
                    (path / file.name).symlink_to(file.absolute())
        size = victim.stat().st_size
        stroke = kind.strike(size, rng)
        put = stroke.rewrite(_part(victim, stroke.start, stroke.end)) if stroke.rewrite is not None else b""
        damaged = path / victim.name if archive.is_dir() else path
        with damaged.open("wb") as output:
            output.writelines(spliced(read_chunks(victim), [Edit(start=stroke.start, end=stroke.end, put=put)]))
        beside = _write(path, manifest) if manifest is not None else None
        where = f"bytes {stroke.start:,} to {stroke.end:,} of {size:,}"
        yield Copy(path=path, manifest=beside), f"{victim.name}, {where}" if archive.is_dir() else where


@contextmanager
def another_archive(archive: Path, folder: Path, manifest: bytes) -> Iterator[Copy]:
    """Another archive in this one's place: a link, since it stays as it is."""
    with _emptied(folder) as home:
        path = home / archive.name
        path.symlink_to(archive.absolute())
        yield Copy(path=path, manifest=_write(path, manifest))


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder for one copy, which is gone before the next one is made."""
    home = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield home
    finally:
        shutil.rmtree(home)


def _part(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


def _write_manifest(path: Path, manifest: Manifest | None) -> Path | None:
    if manifest is None:
        return None
    if manifest.archive is not None:
        digest = digest_file(path)
        facts = replace(manifest.archive, size_bytes=digest.size_bytes, sha256=digest.sha256, encryption=None)
        manifest = replace(manifest, archive=facts)
    return _write(path, render_manifest(manifest))


def _write(path: Path, manifest: bytes) -> Path:
    beside = path.with_name(path.name + SUFFIX)
    beside.write_bytes(manifest)
    return beside
