"""Packs the archives of months past into bundles, and lets them go only when the bundle is proved.

The tar file is written whole, and every file in it is read back from where it lies and hashed; archives must have the
digest that their manifests promise. Then the index is written, and with it the bundle counts as proved. What lies both
in a bundle and beside it is compared again before it goes. So an interruption loses nothing, and the next run goes on.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import IO, cast

from backup_lib import ledger, manifest
from backup_lib.archive import name_prefix
from backup_lib.bundle import (
    FOLDER,
    Bundle,
    Index,
    Member,
    bundle_names,
    has_bundles,
    open_bundle,
    read_index,
    read_members,
    write_index,
)
from backup_lib.catalog import Found, list_archives
from backup_lib.chunks import Digest
from backup_lib.errors import BackupError, DamagedArchiveError, StoreError
from backup_lib.expiry import delete_archive, finish_interrupted
from backup_lib.ledger import Ledger, alone, digest_stored, read_ledger, write_ledger
from backup_lib.manifest import parse_manifest
from backup_lib.rotation import Packed, plan_rotation
from backup_lib.store import LocalStore, Sink, Store

_BUFFER = 1 << 20
_RESERVE_BYTES = 16 << 20


def rotate(place: Store, *, older_than_days: int, now: datetime) -> list[Packed]:
    """Plan, and carry it out; a failure at one bundle is told, leaves its archives as they were, and stops no other.

    :raises LockedError: when a backup of one of the databases, or another such run, is at it; nothing is done then.
    :raises StoreError: when the place cannot be read.
    """
    aside = place.under(FOLDER)
    with ExitStack() as locks:
        for database in sorted({found.database for found in list_archives(place) if found.database}):
            locks.enter_context(place.lock(name_prefix(database)))
        if settles := has_bundles(aside):
            locks.enter_context(aside.lock(""))  # clears away what a dead run has half written
        finish_interrupted(place)
        outcomes = [one for name in bundle_names(aside) for one in _settle(place, aside, name, now)]
        settled = {one.found.name for one in outcomes}
        bundles: dict[str, list[Packed]] = defaultdict(list)
        for item in plan_rotation(place, older_than_days=older_than_days, now=now):
            if item.found.name in settled:
                continue
            if item.bundle:
                bundles[item.bundle].append(item)
            else:
                outcomes.append(item)
        if bundles and not settles:
            locks.enter_context(aside.lock(""))
        outcomes += [one for name, items in bundles.items() for one in _pack(place, aside, name, items, now)]
    return sorted(outcomes, key=lambda one: (one.found.taken_at, one.found.name), reverse=True)


def _pack(place: Store, aside: Store, name: str, items: Sequence[Packed], now: datetime) -> list[Packed]:
    """Write a bundle, prove it, and let its archives go."""
    outcomes, fit, digests = [], [], dict[str, str]()
    for item in items:
        try:
            digests[item.found.name] = _digest_as_promised(item.found)
            fit.append(item)
        except BackupError as exc:
            outcomes.append(_failed(item, exc))
    if not fit:
        return outcomes
    try:
        _require_room(aside, sum(item.found.size_bytes for item in fit))
        with aside.create(name) as sink:
            _write(place, [item.found for item in fit], sink, digests)
        try:
            index = _prove(aside, name, digests, now)
        except BaseException:
            aside.delete(name)  # nothing has gone yet, and what is not proved is worth nothing
            raise
    except BackupError as exc:
        return outcomes + [_failed(item, exc) for item in fit]
    bundle = Bundle(aside, name, {member.name: member for member in index.members})
    return outcomes + [_let_go(place, bundle, item, digests[item.found.name], now) for item in fit]


def _failed(item: Packed, exc: BackupError) -> Packed:
    return replace(item, action="keep", failure=exc)


def _digest_as_promised(found: Found) -> str:
    """:raises DamagedArchiveError: when its bytes are not those that its manifest has the digest of."""
    _, sha256 = digest_stored(found.store, found.name)
    if found.has_manifest:
        data = b"".join(found.store.open_read(found.manifest_name))
        _require_promised(found.name, sha256, data)
    return sha256


def _require_promised(name: str, sha256: str, manifest_bytes: bytes) -> None:
    facts = parse_manifest(manifest_bytes, name=name + manifest.SUFFIX).archive
    if facts is not None and facts.of(sha256).sha256 != sha256:
        raise DamagedArchiveError(
            f"{name} is damaged: its bytes are not those that its manifest promises",
            hint="it is not packed; drill it, pgdrill verify, or take another copy of it, pgdrill sync",
        )


def _require_room(aside: Store, size_bytes: int) -> None:
    free = aside.free_bytes() if not isinstance(aside, LocalStore) else LocalStore(aside.folder.parent).free_bytes()
    if free is not None and free < size_bytes + _RESERVE_BYTES:
        raise StoreError(
            f"{aside.location} has {free:,} bytes left, and the bundle needs {size_bytes:,}",
            hint="free some space there (pgdrill prune --dry-run)",
        )


def _write(place: Store, archives: Sequence[Found], sink: Sink, digests: dict[str, str]) -> None:
    """The tar file, the same for the same archives; the digests of what lies beside them are added."""
    out = cast(IO[bytes], sink)
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_BUFFER) as tar:
        for archive in archives:
            at = place.item(archive.name).modified_at
            tar.addfile(
                _header(archive.name, archive.size_bytes, at), cast(IO[bytes], _Reader(place.open_read(archive.name)))
            )
            for suffix in (manifest.SUFFIX, ledger.SUFFIX):
                if place.exists(archive.name + suffix):
                    data = b"".join(place.open_read(archive.name + suffix))
                    digests[archive.name + suffix] = hashlib.sha256(data).hexdigest()
                    tar.addfile(_header(archive.name + suffix, len(data), at), io.BytesIO(data))


def _header(name: str, size_bytes: int, modified_at: datetime) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mtime, header.mode = size_bytes, int(modified_at.timestamp()), 0o600
    return header


class _Reader:
    """Chunks as the file object that tarfile reads."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = bytearray()

    def read(self, size_bytes: int) -> bytes:
        while len(self._rest) < size_bytes and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        data = bytes(self._rest[:size_bytes])
        del self._rest[:size_bytes]
        return data


# Proving


def _prove(aside: Store, name: str, digests: Mapping[str, str] | None, now: datetime) -> Index:
    """Read each file in it back, and write the index, with which it counts as proved.

    :param digests: of what was packed; None: known from the manifests in it alone.
    :raises StoreError, DamagedArchiveError: when one is not what it must be.
    """
    members = tuple(_hashed(aside, name, member) for member in read_members(aside, name))
    bundle = Bundle(aside, name, {member.name: member for member in members})
    if digests is not None and {member.name: member.sha256 for member in members} != digests:
        raise StoreError(
            f"{aside.location} gives back other bytes of {name} than it was given",
            hint="do not trust that place: check its disk or its provider",
        )
    for member in members:
        if (beside := member.name + manifest.SUFFIX) in bundle.members:
            _require_promised(member.name, member.sha256 or "", b"".join(bundle.open_read(beside)))
    index = Index(packed_at=now, members=members)
    write_index(aside, name, index)
    return index


def _hashed(aside: Store, name: str, member: Member) -> Member:
    digest = Digest()
    for chunk in aside.read_range(name, member.start, member.size_bytes):
        digest.update(chunk)
    if digest.size_bytes != member.size_bytes:
        raise StoreError(f"{aside.location}/{name} is cut short at {member.name}", hint="take another copy of it")
    return replace(member, sha256=digest.sha256)


# Letting go


def _let_go(place: Store, bundle: Bundle, item: Packed, sha256: str, now: datetime) -> Packed:
    """Delete an archive that lies in a proved bundle too, once its drills are noted there."""
    name = item.found.name
    try:
        if bundle.members[name].sha256 != sha256:
            raise StoreError(
                f"{bundle.location} has another archive of the name {name}", hint="see which is the right one"
            )
        with alone(bundle):
            known, noted = read_ledger(place, name), read_ledger(bundle, name)
            if (known.entries, known.origin) != (noted.entries, noted.origin):
                write_ledger(bundle, name, Ledger(entries=known.entries, origin=known.origin))
        delete_archive(place, name, now)
    except BackupError as exc:
        return _failed(item, exc)
    return item


def _settle(place: Store, aside: Store, name: str, now: datetime) -> list[Packed]:
    """What an interrupted run has left: a bundle without its index, archives that lie in one and beside it, too."""
    index = read_index(aside, name)
    bundle = open_bundle(aside, name)
    twins = [one for one in list_archives(place, by_name=True, bundled=False) if one.name in bundle.members]
    reason = "an interrupted run has packed it"
    items = [Packed(found=twin, action="pack", reason=reason, bundle=name) for twin in twins]
    try:
        index = index or _prove(aside, name, None, now)
    except BackupError as exc:
        return [_failed(item, exc) for item in items or _inside(bundle)]
    proved = Bundle(aside, name, {member.name: member for member in index.members})
    outcomes = []
    for item in items:
        try:
            outcomes.append(_let_go(place, proved, item, _digest_as_promised(item.found), now))
        except BackupError as exc:
            outcomes.append(_failed(item, exc))
    return outcomes


def _inside(bundle: Bundle) -> list[Packed]:
    return [
        Packed(found=one, action="keep", reason="its bundle has no index", bundle=bundle.name)
        for one in list_archives(bundle, by_name=True)
    ]
