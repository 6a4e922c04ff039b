"""Carries retention out in a place: what a policy lets go is deleted, what failed its drill is set aside.

An archive, its manifest and its ledger go together. The ledger is marked first and goes last, so that an interruption
leaves nothing that passes for somebody else's archive, and the next run finishes what this one began.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime

from backup_lib import manifest
from backup_lib.archive import name_prefix
from backup_lib.bundle import FOLDER, INDEX, is_bundle_name
from backup_lib.catalog import Found, list_archives
from backup_lib.errors import BackupError, StoreError
from backup_lib.ledger import SUFFIX, Ledger, Standing, alone, digest_stored, read_ledger, write_ledger
from backup_lib.retention import Action, Candidate, Decision, Policy, StandIn, decide
from backup_lib.store import LocalStore, Store, lacks_room
from backup_lib.successors import claim, prove_rewrapped, prove_sound, rewrapped_from

QUARANTINE = "quarantine"
REPLACED = "replaced"  # what has got another key since
_SIDECARS = (manifest.SUFFIX, SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One archive and what is to happen to it; `failure` says why that did not."""

    found: Found
    action: Action
    reason: str
    standing: Standing
    failure: str = ""
    folder: str = ""  # inside the place: quarantine, replaced
    is_uncounted: bool = False  # nobody noted since when it lies there

    @property
    def label(self) -> str:
        """Its name, with the folder: the same name may be in several."""
        return f"{self.folder}/{self.found.name}" if self.folder else self.found.name


@dataclass(slots=True, kw_only=True)
class _Judged:
    found: Found
    ledger: Ledger
    folder: str  # quarantine, replaced, or nothing
    standing: Standing
    remark: str = ""
    successor: Found | None = None
    stand_in: StandIn | None = None

    @property
    def candidate(self) -> Candidate:
        found = self.found
        return Candidate(
            name=found.name,
            taken_at=None if found.taken_at_from == "file time" else found.taken_at,
            database=found.database,
            kind=found.kind,
            standing=self.standing,
            begun_at=found.begun_at,
            quarantined_at=self._aside_since if self.folder else self._failed_at,
            stand_in=self.stand_in,
        )

    @property
    def is_copy(self) -> bool:
        """Set aside by `sync`: what was known of it stayed with the sound copy."""
        return self.folder == QUARANTINE and not self.ledger.entries

    @property
    def _aside_since(self) -> datetime | None:
        return self.ledger.quarantined_at or (None if self.stand_in else self.found.taken_at)

    @property
    def _failed_at(self) -> datetime | None:
        """In a bundle nothing is set aside: what failed its drill there waits as if it were."""
        entry = self.ledger.conclusion(size_bytes=self.found.size_bytes)
        return entry.finished_at if entry and self.found.bundle and self.standing == "failed" else None


def plan_expiry(place: Store, policy: Policy, *, now: datetime) -> list[Planned]:
    """What to do with each archive there, without doing it.

    Verified archives that a deletion relies on are read and hashed first: all of them on this machine, elsewhere the
    newest of each database and kind, the others being believed by their size.

    :raises StoreError: when the place cannot be read.
    """
    judged = [_judge(found, "") for found in list_archives(place)]
    for folder in (QUARANTINE, REPLACED):
        aside = place.under(folder)
        judged += [_judge(found, folder) for found in (list_archives(aside, bundled=False) if _names(aside) else ())]
    _find_successors(judged)
    hashed: set[int] = set()
    while True:
        decisions = decide([item.candidate for item in judged], policy, now=now)
        decisions = _gone_together(judged, _bundled_together(judged, decisions))
        doubted = [item for item in _relied_on(judged, decisions) if id(item) not in hashed]
        if not doubted:
            break
        for item in doubted:
            hashed.add(id(item))
            _prove(item)
    return [_planned(item, decision) for item, decision in zip(judged, decisions, strict=True)]


def expire(place: Store, policy: Policy, *, now: datetime) -> list[Planned]:
    """Plan, and carry it out. A failure at one archive is told by it, and does not stop the others.

    :raises LockedError: when a backup of one of the databases, or another such run, is at it; nothing is done then.
    :raises StoreError: when the place cannot be read.
    """
    with ExitStack() as locks:
        for database in sorted({found.database for found in list_archives(place) if found.database}):
            locks.enter_context(place.lock(name_prefix(database)))
        finish_interrupted(place)
        planned = plan_expiry(place, policy, now=now)
        failures = {name: _delete_bundle(place.under(FOLDER), name) for name in sorted(_bundles_to_go(planned))}
        done = [
            replace(one, failure=failures[one.found.bundle])
            if one.action == "delete" and one.found.bundle
            else _carry_out(place, one, now)
            for one in reversed(planned)  # what was set aside goes before that which stands in for it
        ]
        return done[::-1]


def finish_interrupted(place: Store) -> list[str]:
    """Let what an interrupted run left of archives follow them: away, or into quarantine; their names."""
    finished = []
    aside = place.under(FOLDER)
    for index in sorted(name for name in _names(aside) if name.endswith(INDEX)):
        if is_bundle_name(bundle := index.removesuffix(INDEX)) and not aside.exists(bundle):
            aside.delete(index)
            finished.append(bundle)
    for store in (place, place.under(QUARANTINE), place.under(REPLACED)):
        names = _names(store)
        for name in sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)):
            if name in names:
                continue
            ledger = read_ledger(store, name)
            if ledger.expiring_at:
                _delete_sidecars(store, name)
                finished.append(name)
            elif store is place and ledger.quarantined_at and place.under(QUARANTINE).exists(name):
                _move_sidecars(place, name)
                finished.append(name)
    return finished


def _names(store: Store) -> set[str]:
    if isinstance(store, LocalStore) and not store.folder.exists():
        return set()  # nothing was ever set aside
    return {item.name for item in store.items()}


def _judge(found: Found, folder: str) -> _Judged:
    ledger = read_ledger(found.store, found.name) if found.has_ledger else Ledger()
    entry = ledger.conclusion(size_bytes=found.size_bytes)
    standing = (entry.standing if entry else None) or "unverified"
    is_known = not ledger.entries or ledger.last(size_bytes=found.size_bytes) is not None
    remark = "" if is_known else "its bytes are not those that were drilled"
    return _Judged(found=found, ledger=ledger, folder=folder, standing=standing, remark=remark)


def _find_successors(judged: Sequence[_Judged]) -> None:
    """As names and ledgers tell it, for all that was set aside for another."""
    there = [(item.found, item.ledger) for item in judged if not item.folder]
    for item in judged:
        if item.folder == REPLACED:
            item.successor = rewrapped_from(item.found, item.ledger, there)
            item.stand_in = claim(item.successor, "no archive here says that it was made from it")
        elif item.is_copy:
            item.successor = next((found for found, _ in there if found.name == item.found.name), None)
            item.stand_in = claim(item.successor, "no other copy of it is here: pgdrill sync")


def _bundled_together(judged: Sequence[_Judged], decisions: Sequence[Decision]) -> list[Decision]:
    """A bundle goes when all that is in it may go, and not before."""
    keepers: dict[str, str] = {}
    for item, decision in zip(judged, decisions, strict=True):
        if item.found.bundle and decision.action != "delete":
            keepers.setdefault(item.found.bundle, item.found.name)
    together = []
    for item, decision in zip(judged, decisions, strict=True):
        keeper = keepers.get(item.found.bundle or "")
        if keeper and decision.action == "delete":
            reason = f"{decision.reason}; but its bundle stays as long as {keeper} does"
            decision = replace(decision, action="keep", reason=reason)
        together.append(decision)
    return together


def _gone_together(judged: Sequence[_Judged], decisions: Sequence[Decision]) -> list[Decision]:
    """What was set aside goes at the latest with that which stands in for it: later nothing could prove it."""
    going = {item.found.name for item, one in zip(judged, decisions, strict=True) if not item.folder and _goes(one)}
    return [
        replace(decision, action="delete", reason=f"set aside, and {item.stand_in.why}, which goes too")
        if item.stand_in and item.stand_in.is_proved and item.stand_in.name in going
        else decision
        for item, decision in zip(judged, decisions, strict=True)
    ]


def _goes(decision: Decision) -> bool:
    return decision.action == "delete"


def _bundles_to_go(planned: Sequence[Planned]) -> set[str]:
    return {one.found.bundle for one in planned if one.action == "delete" and one.found.bundle}


def _delete_bundle(aside: Store, name: str) -> str:
    """Why that failed, or nothing. The tar file goes first: without it an index is nothing."""
    try:
        aside.delete(name)
        if aside.exists(name + INDEX):
            aside.delete(name + INDEX)
    except BackupError as exc:
        return exc.message
    return ""


def _relied_on(judged: Sequence[_Judged], decisions: Sequence[Decision]) -> Iterator[_Judged]:
    """The verified archives that stay where others of their database and kind are to be deleted.

    And those to be deleted since another stands in for them.
    """
    pairs = list(zip(judged, decisions, strict=True))
    yield from (item for item, decision in pairs if item.stand_in and _goes(decision))
    thinned = {item.candidate.group for item, decision in pairs if _goes(decision)}
    seen: set[object] = set()
    for item, decision in pairs:  # the newest first, as the catalog lists them
        group = item.candidate.group
        if item.standing != "verified" or item.folder or decision.action != "keep" or group not in thinned:
            continue
        if isinstance(item.found.store, LocalStore) or group not in seen:
            yield item
        seen.add(group)


def _prove(item: _Judged) -> None:
    """Believe the ledger no longer, but the bytes."""
    if item.successor:
        proof = prove_sound(item.successor) if item.is_copy else prove_rewrapped(item.found, item.successor)
        item.stand_in = proof
        return
    try:
        size_bytes, sha256 = digest_stored(item.found.store, item.found.name)
    except BackupError as exc:
        item.standing, item.remark = "unverified", f"it cannot be read: {exc.message}"
        return
    entry = item.ledger.conclusion(size_bytes=size_bytes, sha256=sha256)
    if entry is None:
        item.remark = "its bytes are not those that were drilled"
    item.standing = (entry.standing if entry else None) or "unverified"


def _planned(item: _Judged, decision: Decision) -> Planned:
    reason = f"{decision.reason}; {item.remark}" if item.remark else decision.reason
    return Planned(
        found=item.found,
        action=decision.action,
        reason=reason,
        standing=item.standing,
        folder=item.folder,
        is_uncounted=item.stand_in is not None and item.ledger.quarantined_at is None,
    )


def _carry_out(place: Store, planned: Planned, now: datetime) -> Planned:
    try:
        if planned.action == "delete":
            delete_archive(planned.found.store, planned.found.name, now)
        elif planned.action == "quarantine":
            _set_aside(place, planned.found.name, now)
        elif planned.is_uncounted:
            store, name = planned.found.store, planned.found.name
            with alone(store):
                write_ledger(store, name, replace(read_ledger(store, name), quarantined_at=now))
    except BackupError as exc:
        return replace(planned, failure=exc.message)
    return planned


def delete_archive(store: Store, name: str, now: datetime) -> None:
    """Delete an archive with what lies beside it.

    :raises StoreError: when the place refuses to; the archive is then what it was.
    """
    with alone(store):  # a drill that ends now is noted before, or finds it gone
        ledger = read_ledger(store, name)
        marked = replace(ledger, expiring_at=now)
        try:
            write_ledger(store, name, marked)
        except StoreError as exc:
            if not lacks_room(exc):
                raise
            # A full disk is what archives are deleted for: it goes first, and gives the mark its room.
            store.delete(name)
            with suppress(StoreError):
                write_ledger(store, name, marked)
            _delete_sidecars(store, name)
            return
        try:
            store.delete(name)
        except BackupError:
            if store.exists(name):  # an object lock, a file of somebody else: it stays, as it was
                write_ledger(store, name, ledger) if ledger != Ledger() else store.delete(name + SUFFIX)
            raise
        _delete_sidecars(store, name)


def _delete_sidecars(store: Store, name: str) -> None:
    for suffix in _SIDECARS:  # the ledger last: its mark says that the rest may go
        if store.exists(name + suffix):
            store.delete(name + suffix)


def _set_aside(place: Store, name: str, now: datetime) -> None:
    """The archive first: it is no longer offered as the latest, whatever happens next."""
    with alone(place):
        write_ledger(place, name, replace(read_ledger(place, name), quarantined_at=now))
        place.move(name, QUARANTINE)
        _move_sidecars(place, name)


def _move_sidecars(place: Store, name: str) -> None:
    for suffix in _SIDECARS:
        if place.exists(name + suffix):
            place.move(name + suffix, QUARANTINE)
