"""What the drill tests share: statements at a source, damage to an archive, and words for a failed assertion."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import psycopg

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


def told(record: Record) -> str:
    """Verdict and faults, for the message of a failed assertion."""
    bad = [f for f in record.findings if f.status != "note"]
    return "\n".join(
        [
            f"{record.verdict}: {record.summary}",
            *(f"{f.check} {f.status} ({f.cause}) {f.object}: {f.expected} | {f.actual}" for f in bad),
        ]
    )
