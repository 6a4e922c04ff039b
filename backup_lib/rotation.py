"""Which archives are packed into the bundle of their month, and why the others are not yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from backup_lib.bundle import (
    FOLDER,
    bundle_name,
    bundle_names,
)
from backup_lib.catalog import Found, list_archives
from backup_lib.errors import BackupError
from backup_lib.ledger import Ledger, read_ledger
from backup_lib.quantity import number_of
from backup_lib.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One archive and what is to happen, or has happened, to it."""

    found: Found
    action: Literal["pack", "keep"]
    reason: str
    bundle: str = ""  # the name of the tar file
    failure: BackupError | None = None


def plan_rotation(place: Store, *, older_than_days: int, now: datetime) -> list[Packed]:
    """What would be packed, and why not: a month of a database when all that is in it is old enough.

    :raises StoreError: when the place cannot be read.
    """
    listed = list_archives(place, bundled=False)
    standings = {archive.name: _standing(archive) for archive in listed}
    newest = _newest(listed, standings)
    months: dict[tuple[str, str], datetime] = {}
    for archive in listed:
        key = (archive.database or "", f"{archive.taken_at:%Y-%m}")
        months[key] = max(archive.taken_at, months.get(key, archive.taken_at))
    aside = place.under(FOLDER)
    taken = set(bundle_names(aside))
    planned = []
    for archive in listed:
        month = f"{archive.taken_at:%Y-%m}"
        youngest = months[archive.database or "", month]
        reason = _why_loose(archive, now, standings, newest)
        if not reason and now - youngest < timedelta(days=older_than_days):
            reason = f"the youngest of its month, {month}, is {number_of((now - youngest).days, 'day')} old"
        if not reason and month == f"{now:%Y-%m}":
            reason = f"its month, {month}, is not over"
        if reason:
            planned.append(Packed(found=archive, action="keep", reason=reason))
            continue
        name = next(n for n in _names(archive) if n not in taken)
        why = f"{number_of((now - archive.taken_at).days, 'day')} old, and its month, {month}, is over"
        planned.append(Packed(found=archive, action="pack", reason=why, bundle=name))
    return planned


def _standing(archive: Found) -> str:
    known = read_ledger(archive.store, archive.name) if archive.has_ledger else Ledger()
    entry = known.conclusion(size_bytes=archive.size_bytes)
    return (entry.standing if entry else None) or "unverified"


def _newest(listed: Sequence[Found], standings: Mapping[str, str]) -> dict[str, str]:
    """Names of the newest and the newest verified one of each database and kind, and how to call them."""
    found: dict[str, str] = {}
    seen: set[object] = set()
    for archive in listed:  # the newest first
        for word in ("", "verified "):
            key = (archive.database, archive.kind, word)
            if key not in seen and (not word or standings[archive.name] == "verified"):
                seen.add(key)
                found.setdefault(archive.name, f"the newest {word}one")
    return found


def _why_loose(archive: Found, now: datetime, standings: Mapping[str, str], newest: Mapping[str, str]) -> str:
    if archive.is_folder:
        return "a directory archive is many files: the format custom is one"
    if archive.database is None:
        return "foreign: neither a manifest nor its name says which database it is of"
    if archive.taken_at_from == "file time":
        return "foreign: only its file's time is known, and copying changes that"
    if archive.taken_at > now:
        return f"from the future ({archive.taken_at:%Y-%m-%d %H:%M}Z): see which clock is wrong"
    if standings[archive.name] == "failed":
        return "its last drill failed: pgdrill prune sets it aside"
    if archive.name in newest:
        return f"{newest[archive.name]} of its database and kind stays at hand"
    return ""


def _names(archive: Found) -> Iterator[str]:
    number = 1
    while True:
        yield bundle_name(archive.database or "", archive.taken_at, number)
        number += 1
