"""What is known of archives without reading them: where their copies lie, what manifests promise, what drills said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec import structs

from backup_lib.catalog import Found
from backup_lib.errors import StoreError
from backup_lib.ledger import Entry, Ledger, Standing, read_ledger
from backup_lib.monitor.drift import Measured

_REQUESTS = 16  # at once
Group = tuple[str, str]  # database and kind: no schema takes the place of data


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    size_bytes: int
    sha256: str
    format: str
    compression: str
    started_at: datetime
    finished_at: datetime
    encryption: dict[str, msgspec.Raw] | None = None
    becoming: _Facts | None = None

    def fits(self, size_bytes: int, sha256: str | None) -> bool:
        return self.size_bytes == size_bytes and sha256 in (None, self.sha256)


class _Rows(msgspec.Struct, frozen=True, kw_only=True):
    schema: str | None
    name: str
    rows: int


class _Inventory(msgspec.Struct, frozen=True, kw_only=True):
    tables: tuple[_Rows, ...]


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a manifest here."""

    archive: _Facts | None
    row_counts: dict[str, int]
    inventory: _Inventory | None

    @property
    def rows(self) -> dict[str, int]:
        """By table that holds rows of its own: a partitioned one counts by its partitions."""
        if self.inventory is None:
            return self.row_counts
        return {f"{one.schema}.{one.name}" if one.schema else one.name: one.rows for one in self.inventory.tables}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """An archive in one place."""

    place: str  # that it was found in, perhaps in a bundle there
    found: Found
    ledger: Ledger

    def conclusion(self, sha256: str | None = None) -> Entry | None:
        return self.ledger.conclusion(size_bytes=self.found.size_bytes, sha256=sha256)

    def standing(self, sha256: str | None = None) -> Standing:
        entry = self.conclusion(sha256)
        return (entry.standing if entry else None) or "unverified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One archive, by its name; the copies in all places that are looked at."""

    copies: tuple[Copy, ...]

    @property
    def found(self) -> Found:
        return self.copies[0].found

    @property
    def taken_at(self) -> datetime:
        return self.found.taken_at

    @property
    def last_drill(self) -> Entry | None:
        entries = [copy.ledger.last(size_bytes=copy.found.size_bytes) for copy in self.copies]
        return max((entry for entry in entries if entry), key=lambda entry: entry.finished_at, default=None)

    def measured(self, promise: Promise | None) -> Measured:
        facts = promise.archive if promise else None
        packing = (
            f"{facts.format} {facts.compression} {facts.encryption is not None}"
            if facts
            else ".".join(self.found.name.split(".")[1:])
        )
        return Measured(
            name=self.found.name,
            address=self.found.address,
            size_bytes=self.found.size_bytes,
            packing=packing,
            rows=promise.rows if promise else None,
        )


def group_archives(listed: Iterable[tuple[str, Found]]) -> tuple[dict[Group, list[Archive]], list[Found]]:
    """By database and kind, the newest first; and those of which neither is known, or only the file's time.

    :param listed: with the place each was found in.
    """
    copies: dict[Group, dict[str, list[Copy]]] = defaultdict(lambda: defaultdict(list))
    foreign = []
    known = []
    for place, one in listed:
        if one.database and one.kind and one.taken_at_from != "file time":
            known.append((place, one))
        else:
            foreign.append(one)
    for (place, one), ledger in zip(known, _ledgers([one for _, one in known]), strict=True):
        copies[str(one.database), str(one.kind)][one.name].append(Copy(place=place, found=one, ledger=ledger))
    return {
        group: sorted(
            (Archive(copies=tuple(same)) for same in names.values()),
            key=lambda archive: (archive.taken_at, archive.found.name),
            reverse=True,
        )
        for group, names in copies.items()
    }, foreign


def _ledgers(found: Sequence[Found]) -> list[Ledger]:
    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="pgdrill-ledger") as pool:
        return list(pool.map(_ledger, found))


def _ledger(found: Found) -> Ledger:
    try:
        return read_ledger(found.store, found.name) if found.has_ledger else Ledger()
    except StoreError:  # then nothing is proved
        return Ledger()


def read_promises(archives: Sequence[Archive]) -> Mapping[str, Promise]:
    """What their manifests say, by the archive's name; one that is damaged, or not there, says nothing."""
    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="pgdrill-manifest") as pool:
        told = pool.map(read_promise, [archive.found for archive in archives])
        return {
            archive.found.name: promise for archive, promise in zip(archives, told, strict=True) if promise is not None
        }


def read_promise(found: Found, sha256: str | None = None) -> Promise | None:
    """:param sha256: of the archive; where it is not known, its size tells which file `rewrap` has put there."""
    if not found.has_manifest:
        return None
    try:
        promise = msgspec.json.decode(b"".join(found.store.open_read(found.manifest_name)), type=Promise)
    except (msgspec.MsgspecError, UnicodeDecodeError, StoreError):
        return None
    facts = promise.archive
    if facts and facts.becoming and not facts.fits(found.size_bytes, sha256):
        return structs.replace(promise, archive=facts.becoming)
    return promise
