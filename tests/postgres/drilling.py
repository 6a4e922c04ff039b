"""What the drill tests share: statements at a source, damage to an archive, and words for a failed assertion."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psycopg

from backup_lib.dump_reader import read_inventory
from backup_lib.dump_text import digest_archive, open_dump_text
from backup_lib.manifest import SUFFIX, parse_manifest, render_manifest
from verification.evidence.record import Record

DrillOf = Callable[..., Record]
PgDump = Callable[..., Path]
Alter = Callable[[bytes], bytes]


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def rewrite(path: Path, alter: Alter) -> None:
    """Alter the text of a gzipped plain archive, which is a sound gzip file afterwards."""
    text = gzip.decompress(path.read_bytes())
    altered = alter(text)
    assert altered != text, "the damage did nothing"
    path.write_bytes(gzip.compress(altered, mtime=0))


def cut(marker: bytes, *, behind: bool = False) -> Alter:
    """End the text at a marker, which is gone as well unless `behind`."""

    def alter(text: bytes) -> bytes:
        at = text.index(marker)
        return text[: at + len(marker) if behind else at]

    return alter


def put(pattern: bytes, instead: bytes) -> Alter:
    """Replace the first match of a pattern."""
    return lambda text: re.sub(pattern, instead, text, count=1, flags=re.MULTILINE | re.DOTALL)


def swap(old: str, new: str) -> Alter:
    """Replace the first of a text, word for word."""
    return lambda text: text.replace(old.encode(), new.encode(), 1)


def without_entry(header: str) -> Alter:
    """Leave out an entry with its comment, as a text editor would; the header up to where it is unique."""
    return put(rb"^--\n-- " + re.escape(header.encode()) + rb"[^\n]*\n--\n.*?(?=^--\n-- )", b"")


def together(alters: dict[str, Alter]) -> Alter:
    """All of several alterations, each of which must find what it alters."""

    def alter(text: bytes) -> bytes:
        for name, one in alters.items():
            altered = one(text)
            assert altered != text, f"{name} altered nothing"
            text = altered
        return text

    return alter


def reseal(path: Path, *, lying: bool = False) -> None:
    """Make the manifest's digest that of the altered archive; lying: its inventory, too, as that producer would."""
    at = path.with_name(path.name + SUFFIX)
    manifest = parse_manifest(at.read_bytes())
    assert manifest.archive
    size_bytes, sha256 = digest_archive(path)
    inventory = manifest.inventory
    if lying:
        with open_dump_text(path) as chunks:
            inventory = read_inventory(chunks)
    facts = replace(manifest.archive, size_bytes=size_bytes, sha256=sha256)
    at.write_bytes(render_manifest(replace(manifest, archive=facts, inventory=inventory)))


def told(record: Record) -> str:
    """Verdict and faults, for the message of a failed assertion."""
    bad = [f for f in record.findings if f.status != "note"]
    return "\n".join(
        [
            f"{record.verdict}: {record.summary}",
            *(f"{f.check} {f.status} ({f.cause}) {f.object}: {f.expected} | {f.actual}" for f in bad),
        ]
    )
