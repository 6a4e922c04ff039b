"""The same archives in several places: copied, hashed again at the far end, and mended from one another.

The manifest goes last, so that what has one is whole. A copy is read back whole: a checksum that the sender computed,
or that a store keeps of what it once received, says nothing of what it would hand out today.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import Literal

from backup_lib import ledger, manifest
from backup_lib.archive import name_prefix, parse_name
from backup_lib.backup import BackupResult
from backup_lib.catalog import Found, list_archives
from backup_lib.codec import Digest
from backup_lib.errors import BackupError, LockedError, StoreError
from backup_lib.expiry import QUARANTINE
from backup_lib.ledger import alone, digest_stored, read_ledger, write_ledger
from backup_lib.manifest import parse_manifest
from backup_lib.store import Store

Status = Literal["equal", "copied", "replaced", "missing", "damaged", "conflict", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """How one archive stands in one place; `missing` and `damaged` are what a dry run would mend."""

    name: str
    place: str
    status: Status
    detail: str = ""
    is_locked: bool = False  # it failed as another run was at it, and for nothing else

    @property
    def is_good(self) -> bool:
        return self.status in ("equal", "copied", "replaced")


def copy_archive(name: str, source: Store, target: Store) -> str:
    """Copy an archive with its manifest and ledger; its SHA-256, which is that of the bytes read back there.

    :raises StoreError: when it cannot be written, exists there, or reads back otherwise; nothing of it is left then.
    """
    _refuse_folder(name, source)
    with _locked(name, target):
        return _copy_whole(name, source, target)


def _locked(name: str, target: Store) -> AbstractContextManager[None]:
    """Which clears away what a dead copy left."""
    return target.lock(_lock_of(name))


def _lock_of(name: str) -> str:
    named = parse_name(name)
    return name_prefix(named.database) if named else name


def _copy_whole(name: str, source: Store, target: Store, expected: str | None = None) -> str:
    """:param expected: its SHA-256, if that is known."""
    if target.exists(name):
        raise StoreError(f"{target.location}/{name} exists already", hint="compare the two: pgdrill sync")
    lacking = [file for file in (name + ledger.SUFFIX, name + manifest.SUFFIX) if not target.exists(file)]
    written = _copy_file(name, source, target)
    try:
        _, read_back = digest_stored(target, name)
        if read_back != written:
            raise StoreError(
                f"{target.location} gives back other bytes of {name} than it was given",
                hint="do not trust that place: check its disk or its provider, then run pgdrill sync",
            )
        _merge_ledger(name, source, target)
        if source.exists(name + manifest.SUFFIX) and not target.exists(name + manifest.SUFFIX):
            _copy_file(name + manifest.SUFFIX, source, target)
        if expected not in (None, written):
            raise StoreError(f"{source.location}/{name} was changed meanwhile", hint="run it again: pgdrill sync")
        if not source.exists(name):  # an archive goes before what lies beside it: that may be gone, too
            raise StoreError(f"{source.location}/{name} went while it was copied", hint="run it again: pgdrill sync")
    except BaseException:
        target.delete(name)  # without its manifest it would pass for somebody else's archive
        for file in lacking:
            if target.exists(file):
                target.delete(file)
        raise
    return written


def back_up_to(places: Sequence[Store], make: Callable[[Store], BackupResult]) -> tuple[BackupResult, list[Replica]]:
    """Make an archive in the first of these places that takes it, and copy it to those after that.

    :return: the archive, and how it stands in each place; one that failed takes nothing from the others.
    :raises StoreError: when no place took it.
    """
    failed: list[StoreError] = []
    for count, place in enumerate(places):
        try:
            result = make(place)
        except StoreError as exc:
            failed.append(exc)
            continue
        refused = zip(places, failed, strict=False)
        replicas = [_failed(result.name, before, exc) for before, exc in refused]
        replicas.append(Replica(name=result.name, place=place.location, status="copied"))
        replicas += [_copied(result.name, place, other) for other in places[count + 1 :]]
        return result, replicas
    raise failed[0]


def _copied(name: str, source: Store, target: Store) -> Replica:
    try:
        copy_archive(name, source, target)
    except BackupError as exc:
        return _failed(name, target, exc)
    return Replica(name=name, place=target.location, status="copied")


def _failed(name: str, place: Store, exc: BackupError) -> Replica:
    return Replica(name=name, place=place.location, status="failed", detail=exc.message)


def sync_places(places: Sequence[Store], *, dry_run: bool = False, quick: bool = False) -> list[Replica]:
    """Give every place every archive, and mend what differs; what cannot be told from one another is left as it is.

    An archive is good where it has the SHA-256 that its manifest promises. A copy that has another is set aside in that
    place, never overwritten, and copied anew from a good one. A failure at one place does not stop the others.

    :param quick: believe copies of the right size, and read none of them.
    """
    replicas: list[Replica] = []
    reachable: list[Store] = []
    listed: dict[str, dict[str, Found]] = {}
    for place in places:
        try:
            listed[place.location] = {found.name: found for found in list_archives(place, by_name=True)}
            reachable.append(place)
        except BackupError as exc:
            replicas.append(Replica(name="*", place=place.location, status="failed", detail=exc.message))
    names = sorted({name for found in listed.values() for name in found})
    if not dry_run:
        _clear(reachable, names)
    for name in names:
        job = _Sync(name, reachable, listed, dry_run=dry_run, quick=quick)
        replicas += job.run()
    return replicas


def _clear(places: Sequence[Store], names: Sequence[str]) -> None:
    """What dead copies left beside whole archives, which are not touched again."""
    one_of_each = {_lock_of(name): name for name in names}.values()
    for place in places:
        for name in one_of_each:
            with suppress(BackupError), _locked(name, place):  # that may be written, and where nobody is at it
                pass


class _Sync:
    """One archive in all places."""

    def __init__(
        self,
        name: str,
        places: Sequence[Store],
        listed: dict[str, dict[str, Found]],
        *,
        dry_run: bool,
        quick: bool,
    ) -> None:
        self._name = name
        self._places = places
        self._there = [place for place in places if name in listed[place.location]]
        self._listed = listed
        self._dry_run = dry_run
        self._quick = quick

    def run(self) -> list[Replica]:
        replicas = []
        digests: dict[str, str] = {}
        for place in self._there:
            try:
                digests[place.location] = self._digest(place)
            except BackupError as exc:  # it may be well another time: nothing is done about it
                replicas.append(self._replica(place, "failed", exc.message))
        unread = {replica.place for replica in replicas}
        readable = [place for place in self._places if place.location not in unread]
        there = [place for place in self._there if place.location in digests]
        promised = self._promised(there, digests)
        known = promised or set(digests.values())
        if len(known) > 1:
            what = "its manifests differ" if promised else "its copies differ, and there is no manifest to tell"
            return [*replicas, *(self._replica(place, "conflict", f"{what}: nothing is changed") for place in there)]
        sound = [place for place in there if digests[place.location] in known]
        # A copy that was interrupted may lack its manifest, and is given it by one that has it.
        source = next((place for place in sound if self._has_manifest(place)), sound[0] if sound else None)
        if source is None:
            what = "no place has the bytes that its manifest promises"
            return [*replicas, *(self._replica(place, "damaged", what) for place in there)]
        good = digests[source.location]
        return [*replicas, *(self._mend(place, source, digests.get(place.location), good) for place in readable)]

    def _promised(self, there: Sequence[Store], digests: Mapping[str, str]) -> set[str]:
        """What the manifests promise; of one that cannot be read, nothing."""
        found = set()
        for place in there:
            if self._has_manifest(place):
                name = self._name + manifest.SUFFIX
                try:
                    facts = parse_manifest(b"".join(self._store(place).open_read(name)), name=name).archive
                except BackupError:
                    continue
                either = [one for one in (facts, facts.becoming if facts else None) if one]
                told = [f"{one.size_bytes} bytes" if self._quick else one.sha256 for one in either]
                found.update([digests[place.location]] if digests[place.location] in told else told[:1])
        return found

    def _has_manifest(self, place: Store) -> bool:
        return self._listed[place.location][self._name].has_manifest

    def _digest(self, place: Store) -> str:
        if self._quick:
            return f"{self._listed[place.location][self._name].size_bytes} bytes"
        return digest_stored(self._store(place), self._name)[1]

    def _digest_now(self, place: Store) -> str | None:
        """Under the lock, so that it stays so; None: it is not there."""
        store = self._store(place)
        if not store.exists(self._name):
            return None
        if self._quick:
            return f"{store.item(self._name).size_bytes} bytes"
        return digest_stored(store, self._name)[1]

    def _store(self, place: Store) -> Store:
        """Where in that place it lies: in a bundle, perhaps."""
        found = self._listed[place.location].get(self._name)
        return found.store if found else place

    def _mend(self, place: Store, source: Store, digest: str | None, good: str) -> Replica:
        wrong: Status = "missing" if digest is None else "damaged"
        try:
            if digest == good:
                if not self._dry_run and place is not source:
                    self._complete(self._store(place), self._store(source))
                return self._replica(place, "equal")
            if self._dry_run:
                return self._replica(place, wrong, f"would be copied from {source.location}")
            _refuse_folder(self._name, self._store(source))
            with _locked(self._name, place):
                now = self._digest_now(place)
                if now == good:  # by another run
                    return self._replica(place, "equal")
                if now != digest:
                    raise StoreError(f"{place.location}/{self._name} was changed meanwhile", hint="run it again")
                if digest is not None:
                    with suppress(BackupError):  # else it stays here alone
                        self._complete_manifest(self._store(source), self._store(place))
                    self._store(place).move(self._name, QUARANTINE)
                _copy_whole(self._name, self._store(source), place, None if self._quick else good)
        except BackupError as exc:
            return replace(self._replica(place, "failed", exc.message), is_locked=isinstance(exc, LockedError))
        detail = f"from {source.location}" + ("; the damaged one is in quarantine" if digest else "")
        return self._replica(place, "replaced" if digest else "copied", detail)

    def _complete(self, place: Store, source: Store) -> None:
        """What lies beside a good copy."""
        _merge_ledger(self._name, source, place)
        self._complete_manifest(place, source)

    def _complete_manifest(self, place: Store, source: Store) -> None:
        name = self._name + manifest.SUFFIX
        if source.exists(name) and not place.exists(name):
            _copy_file(name, source, place)

    def _replica(self, place: Store, status: Status, detail: str = "") -> Replica:
        return Replica(name=self._name, place=place.location, status=status, detail=detail)


def _copy_file(name: str, source: Store, target: Store) -> str:
    digest = Digest()
    with target.create(name) as sink:
        for chunk in digest.passing(source.open_read(name)):
            sink.write(chunk)
    return digest.sha256


def _merge_ledger(name: str, source: Store, target: Store) -> None:
    """What was proved of one copy holds for another with the same bytes, and an entry names the bytes."""
    theirs = read_ledger(source, name)
    if not theirs.entries:
        return
    with alone(target):
        ours = read_ledger(target, name)
        known = {entry.drill_id for entry in ours.entries}
        new = tuple(entry for entry in theirs.entries if entry.drill_id not in known)
        if new:
            merged = sorted((*ours.entries, *new), key=lambda entry: entry.finished_at)
            write_ledger(target, name, replace(ours, entries=tuple(merged)))


def _refuse_folder(name: str, source: Store) -> None:
    if any(item.is_folder for item in source.items() if item.name == name):
        raise StoreError(f"{name} is a folder, which is not copied", hint="take the format custom, which is one file")
