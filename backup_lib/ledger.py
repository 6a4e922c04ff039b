"""The ledger beside an archive, `NAME.verified.json`: which drills that very file went through, and how they ended.

It is how whoever expires, lists or watches archives learns of verification without knowing how that is done. An entry
speaks of one file only, by its SHA-256: it says nothing of another file under the same name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import msgspec

from backup_lib.codec import Digest
from backup_lib.dump_text import digest_archive
from backup_lib.errors import LockedError, StoreError
from backup_lib.store import LocalStore, Store, refused

SCHEMA_VERSION = 1
SUFFIX = ".verified.json"
Standing = Literal["verified", "failed", "unverified"]
_KEPT_ENTRIES = 50
_WAIT_S = 5
_PROVING_LEVELS = ("restore", "full")  # reading alone proves that the bytes are those, not that they restore


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One drill of one file."""

    drill_id: str
    verdict: Literal["verified", "failed", "could_not_verify"]
    level: str  # integrity, restore, full
    causes: tuple[str, ...]  # of its faults and gaps: archive, source, environment, policy
    finished_at: datetime  # UTC
    sha256: str  # of the archive as it was drilled; of a directory see `archive.directory_digest`
    size_bytes: int
    pgdrill: str  # its version
    rewrapped_from: str | None = None  # SHA-256 of the file that was drilled, before its encryption was changed

    @property
    def standing(self) -> Standing | None:
        """What it makes of the file; None when the drill came to no conclusion, which takes nothing back.

        A missed objective says nothing against the data. A fault that is not the archive's own leaves it unproved.
        """
        if self.verdict == "failed" and "archive" in self.causes:
            return "failed"
        fine = self.verdict == "verified" or (self.verdict == "failed" and set(self.causes) == {"policy"})
        if fine:
            return "verified" if self.level in _PROVING_LEVELS else None
        return "unverified" if self.verdict == "failed" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What `rewrap` made a file from, whether or not any drill has seen that."""

    sha256: str  # of the file itself: it says nothing of another one under that name
    made_from: tuple[str, ...]  # SHA-256 of what it was made from, one after the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What is known of the archive with that name."""

    entries: tuple[Entry, ...] = ()  # the newest last
    quarantined_at: datetime | None = None  # UTC; since when it lies among those set aside
    expiring_at: datetime | None = None  # UTC; its deletion was begun: what is left of it may go
    origin: Origin | None = None
    schema_version: int = SCHEMA_VERSION

    def origins(self, sha256: str) -> tuple[str, ...]:
        """What the file with that digest was made from."""
        return self.origin.made_from if self.origin and self.origin.sha256 == sha256 else ()

    def last(self, *, size_bytes: int) -> Entry | None:
        """The newest entry of a file of that size, whatever it says."""
        return next((entry for entry in reversed(self.entries) if entry.size_bytes == size_bytes), None)

    def conclusion(self, *, size_bytes: int, sha256: str | None = None) -> Entry | None:
        """The newest entry that says how the file stands.

        :param sha256: of the file; None believes the size, until somebody has hashed it.
        """
        fitting = (e for e in reversed(self.entries) if e.size_bytes == size_bytes and sha256 in (None, e.sha256))
        return next((entry for entry in fitting if entry.standing is not None), None)


def read_ledger(store: Store, name: str) -> Ledger:
    """The ledger of an archive; an empty one where there is none, or none that can be read: then nothing is proved.

    :raises StoreError: when the place itself cannot be read.
    """
    if not store.exists(name + SUFFIX):
        return Ledger()
    try:
        ledger = msgspec.json.decode(b"".join(store.open_read(name + SUFFIX)), type=Ledger)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Ledger()
    return ledger if ledger.schema_version == SCHEMA_VERSION else Ledger()


def write_ledger(store: Store, name: str, ledger: Ledger) -> None:
    store.replace(name + SUFFIX, msgspec.json.format(msgspec.json.encode(ledger), indent=1) + b"\n")


def note_drill(store: Store, name: str, entry: Entry) -> None:
    """Add a drill to the ledger of the archive that was drilled.

    :raises StoreError: when the place cannot be written; the archive is none the worse for it.
    """
    with alone(store):
        if not store.exists(name):
            raise StoreError(f"{name} is no longer in {store.location}", hint="it was moved or deleted meanwhile")
        ledger = read_ledger(store, name)
        write_ledger(store, name, replace(ledger, entries=(*ledger.entries, entry)[-_KEPT_ENTRIES:]))


def digest_stored(store: Store, name: str) -> tuple[int, str]:
    """Size and SHA-256 of an archive as it lies there now, read to its end.

    :raises StoreError: when it cannot be read.
    """
    if isinstance(store, LocalStore):
        try:
            return digest_archive(store.path(name))
        except OSError as exc:
            raise refused(store.path(name), exc) from exc
    digest = Digest()
    for chunk in store.open_read(name):
        digest.update(chunk)
    return digest.size_bytes, digest.sha256


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Who reads a ledger to write it anew: two drills of one archive that end together must both be noted.

    :raises LockedError: when others are at it for 5 s.
    """
    until = time.monotonic() + _WAIT_S
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(store.lock("ledger."))
                break
            except LockedError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        yield
