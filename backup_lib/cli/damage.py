"""Damages copies of a gzipped plain archive for the demo; the original is only read."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from backup_lib.codec import Compressor, digest_file, open_text
from backup_lib.inventory import TableData
from backup_lib.manifest import SUFFIX, parse_manifest, render_manifest


def flip_byte(archive: Path, folder: Path) -> Path:
    """A copy, with its manifest, of which one byte in the middle is another."""
    copy = _copy(archive, folder)
    with copy.open("r+b") as file:
        file.seek(copy.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 0xFF]))
    return copy


def leave_out_row(archive: Path, folder: Path, table: TableData) -> Path:
    """A copy that lacks the first row of a table, packed anew; its manifest has the copy's size and digest."""
    copy = _copy(archive, folder)
    with copy.open("wb") as file:
        compressor = Compressor(file.write, "gzip")
        for line in _without_row(_lines(open_text(archive)), f"COPY {table.target} ".encode()):
            compressor.write(line)
        compressor.finish()
    path = copy.with_name(copy.name + SUFFIX)
    manifest = parse_manifest(path.read_bytes(), name=path.name)
    if manifest.archive:
        digest = digest_file(copy)
        facts = replace(manifest.archive, size_bytes=digest.size_bytes, sha256=digest.sha256)
        path.write_bytes(render_manifest(replace(manifest, archive=facts)))
    return copy


def _copy(archive: Path, folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True)
    shutil.copy2(archive.with_name(archive.name + SUFFIX), folder)
    return Path(shutil.copy2(archive, folder))


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest


def _without_row(lines: Iterable[bytes], copy: bytes) -> Iterator[bytes]:
    """Without the line behind the one that begins with `copy`: a row is one line in COPY's text format."""
    remaining = iter(lines)
    for line in remaining:
        yield line
        if line.startswith(copy):
            next(remaining)
