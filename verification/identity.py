"""Is an archive the one its name says: of that database, from that time? Pure.

An archive may be renamed together with its manifest, and its bytes and digests then agree. But whoever recovers goes by
the name: one that says another database, or a later day, brings back another tenant's data or last month's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from backup_lib.archive import parse_name
from backup_lib.manifest import Manifest

SLACK = timedelta(hours=1)  # names are moved on by seconds while one is taken, and clocks are set


class Mismatch(NamedTuple):
    """What a name says, and what the manifest knows."""

    object: str
    said: str
    known: str


def mismatches(name: str, manifest: Manifest) -> Iterator[Mismatch]:
    """Nothing for a name that is not one of our own, which says nothing reliable."""
    said = parse_name(name)
    if said is None or manifest.archive is None:
        return
    if said.database != manifest.source.database:
        yield Mismatch("database", said.database, manifest.source.database)
    started_at = manifest.archive.started_at
    if abs(said.started_at - started_at) > SLACK:
        yield Mismatch("time", f"{said.started_at:%Y-%m-%d %H:%M} UTC", f"{started_at:%Y-%m-%d %H:%M} UTC")
    if said.kind != manifest.archive.kind:
        yield Mismatch("kind", said.kind, manifest.archive.kind)
