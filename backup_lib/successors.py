"""What stands in for an archive that was set aside for another, and the proof of it.

`rewrap` keeps the file of the old key, and the ledger of the new one names what it was made from; what drills proved of
the old one is carried over. `sync` sets a damaged copy aside and puts a sound one in its place, under the same name.
"""

from __future__ import annotations

from collections.abc import Sequence

from backup_lib.archive import encrypted_name
from backup_lib.catalog import Found
from backup_lib.errors import BackupError
from backup_lib.ledger import Ledger, digest_stored, read_ledger
from backup_lib.manifest import parse_manifest
from backup_lib.retention import StandIn


def rewrapped_from(old: Found, known: Ledger, others: Sequence[tuple[Found, Ledger]]) -> Found | None:
    """The archive that says it was made from this one; nothing is read.

    Of one that was never drilled nothing tells the digest: it is the one with the name that `rewrap` gave it.
    """
    drilled = {entry.sha256 for entry in known.entries}
    names = {encrypted_name(old.name, was_encrypted=was) for was in (True, False)}
    by_drill = (found for found, ledger in others if drilled & _origins(ledger))
    by_name = (found for found, ledger in others if found.name in names and ledger.origin)
    return next(by_drill, None) or next(by_name, None)


def _origins(ledger: Ledger) -> set[str]:
    made_from = ledger.origin.made_from if ledger.origin else ()
    return {*made_from, *(entry.rewrapped_from for entry in ledger.entries if entry.rewrapped_from)}


def claim(successor: Found | None, lacking: str) -> StandIn:
    """As the names and ledgers have it, until it is proved."""
    if successor is None:
        return StandIn(name="", is_proved=False, why=lacking)
    return StandIn(name=successor.name, is_proved=True, why=f"{successor.name} stands in for it")


def prove_rewrapped(old: Found, new: Found) -> StandIn:
    """Both are read: a verified drill must speak of the bytes of the new one, which was made from those of the old one.

    Carried over from the old one it says both; else the origin does, since what is inside was proved to be the same.
    """
    try:
        _, old_sha256 = digest_stored(old.store, old.name)
        size_bytes, new_sha256 = digest_stored(new.store, new.name)
        ledger = read_ledger(new.store, new.name)
    except BackupError as exc:
        return _unproved(new, f"that {new.name} stands in for it could not be proved: {exc.message}")
    entry = ledger.conclusion(size_bytes=size_bytes, sha256=new_sha256)
    links = [one for one in ledger.entries if one.sha256 == new_sha256 and one.rewrapped_from == old_sha256]
    if old_sha256 not in ledger.origins(new_sha256) and not any(one.standing == "verified" for one in links):
        return _unproved(new, f"nothing tells that {new.name}, as it is now, was made from it")
    if entry is None or entry.standing != "verified":
        return _unproved(new, f"{new.name}, made from it, is not verified")
    return StandIn(name=new.name, is_proved=True, why=f"{new.name}, made from it, is verified")


def prove_sound(copy: Found) -> StandIn:
    """It is read: its bytes must be those that its manifest promises."""
    try:
        promised = parse_manifest(b"".join(copy.store.open_read(copy.manifest_name)), name=copy.manifest_name).archive
        _, sha256 = digest_stored(copy.store, copy.name)
    except BackupError as exc:
        return _unproved(copy, f"the copy in its place could not be proved sound: {exc.message}")
    if promised is None or promised.of(sha256).sha256 != sha256:
        return _unproved(copy, "the copy in its place is not what its manifest promises")
    return StandIn(name=copy.name, is_proved=True, why="the copy in its place is what its manifest promises")


def _unproved(found: Found, why: str) -> StandIn:
    return StandIn(name=found.name, is_proved=False, why=why)
