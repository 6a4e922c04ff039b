"""Which archives a person means: `latest`, a name, a path, a URL, …; and what there is instead when they mean none.

`latest` is the newest archive of all of a database. Only where there is none it is the newest of a part, which whoever
asked is to be told (`remark_on`).
"""

from __future__ import annotations

import fnmatch
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path

from backup_lib.archive import KINDS
from backup_lib.bundle import Bundle
from backup_lib.errors import MissingPlaceError, NoSuchArchiveError, StoreError, UsageError
from backup_lib.listing import WHOLE, Found, Listing, TimeOrigin, look_at, look_into, newest_first
from backup_lib.manifest import Kind
from backup_lib.object_store import SCHEMES
from backup_lib.places import open_place
from backup_lib.store import LocalStore, Store

__all__ = ["WHOLE", "Found", "TimeOrigin", "list_archives", "look_into", "newest_first", "remark_on", "resolve"]

_CLOCK_SKEW = timedelta(minutes=5)
_PARTS: tuple[Kind, ...] = ("tables", "data", "schema")


def list_archives(place: Store | Path | str, *, by_name: bool = False, bundled: bool = True) -> list[Found]:
    """All archives there, the newest first. Damaged and empty ones are among them: they are to be found out.

    :param by_name: believe our own kind of name, and open none of these files; `look_into` does so later. Then a
        listing is all that is asked of the place, unless there are files with other names.
    :param bundled: also those in the place's bundles.
    :raises StoreError: when the place does not exist or cannot be read.
    """
    found = Listing(open_place(place), bundled=bundled).archives()
    return found if by_name else newest_first(look_into(found))


def resolve(requests: Sequence[str], place: Store | Path | str, *, seed: int | None = None) -> list[Found]:
    """The archives that are meant, each once, in the order asked for.

    :param requests: each `latest`, `latest:DATABASE`, `latest:DATABASE:KIND`, `latest::KIND`, `all`, `random:N`, a
        name, a glob, a path or a URL.
    :param seed: makes `random` repeatable.
    :raises NoSuchArchiveError: when one of them means nothing; says what there is.
    :raises StoreError: when the place cannot be read, so that nobody knows.
    :raises UsageError: when one of them cannot mean anything.
    """
    listing: Listing | None = None
    meant: dict[tuple[str, str], Found] = {}
    for request in requests:
        chosen = _by_path(request)
        if chosen is None:
            listing = listing or _listing_or_none(open_place(place))
            chosen = _choose(request, listing, random.Random(seed))  # noqa: S311 - a sample, no secret
        for archive in chosen:
            meant.setdefault((archive.store.location, archive.name), archive)
    return list(meant.values())


def remark_on(request: str, found: Found, *, now: datetime | None = None) -> str:
    """What to say of the archive that a request came to mean; nothing when it is what one expects."""
    word, _, argument = request.partition(":")
    if word != "latest":
        return ""
    database, kind = _parse_latest(argument)
    remarks = []
    if kind is None and found.kind not in WHOLE:
        of = f" of {database}" if database else ""
        remarks.append(
            f"There is no full archive{of}, so {request} means the newest of another kind, {found.kind}: {found.name}"
        )
    if found.taken_at > (now or datetime.now(UTC)) + _CLOCK_SKEW:
        remarks.append(
            f"{request} means {found.name}, which is dated {found.taken_at:%Y-%m-%d %H:%M} UTC, in the future: a clock "
            "is wrong, and later archives may be dated before it: see pgdrill list, and name the one that is meant"
        )
    return ". ".join(remarks)


def _parse_latest(argument: str) -> tuple[str | None, Kind | None]:
    """Database and kind of `latest:DATABASE:KIND`, either of which may be left out."""
    database, colon, word = argument.rpartition(":")
    kind = next((known for known in KINDS if colon and known == word), None)
    return (database if kind else argument) or None, kind


def _newest(listing: Listing, argument: str) -> Found | None:
    database, kind = _parse_latest(argument)
    choices: tuple[tuple[Kind | None, ...], ...] = ((kind,),) if kind else (WHOLE, _PARTS, ("config",))
    return next((found for kinds in choices if (found := listing.newest(database, kinds))), None)


def _listing_or_none(store: Store) -> Listing:
    try:
        return Listing(store)
    except MissingPlaceError as exc:
        raise NoSuchArchiveError(exc.message, hint=exc.hint) from exc


def _choose(request: str, listing: Listing, chance: random.Random) -> list[Found]:
    word, _, argument = request.partition(":")
    if request == "latest" or (word == "latest" and argument):
        newest = _newest(listing, argument)
        chosen = [newest] if newest else []
    elif request == "all":
        chosen = newest_first(look_into(listing.archives()))
    elif word == "random":
        if not argument.isdigit() or int(argument) < 1:
            raise UsageError(f"{request!r} names no number of archives", hint="write random:3")
        listed = listing.archives()
        chosen = look_into(chance.sample(listed, min(int(argument), len(listed))))
    else:
        named = listing.named(request)
        matching = (a for a in listing.archives() if fnmatch.fnmatchcase(a.name, request))
        chosen = [named] if named else look_into(list(matching))
    if not chosen:
        raise _nothing_means(request, listing)
    return chosen


def _by_path(request: str) -> list[Found] | None:
    """What a path or URL names; None when the request is no path, but to be looked for in the store."""
    if "://" in request:
        return _by_url(request)
    path = Path(request).expanduser()
    if not path.exists():
        if "/" not in request:
            return None
        listed = _listed_in(path.parent)
        chosen = [archive for archive in listed if fnmatch.fnmatchcase(archive.name, path.name)]
        if not chosen:
            names = [archive.name for archive in listed]
            raise NoSuchArchiveError(f"{request} does not exist", hint=_offer(path.name, names, str(path.parent)))
        return look_into(chosen)
    if path.is_dir() and not (path / "toc.dat").exists():
        raise NoSuchArchiveError(
            f"{request} is a folder, and no directory archive",
            hint=f"to look for archives in it: --backups {request}",
        )
    store = LocalStore(path.absolute().parent)
    if inside := _all_in(open_place(path)):
        return inside
    return [look_at(store, store.item(path.name))]


def _by_url(request: str) -> list[Found]:
    """What `s3://bucket/prefix/NAME` names; NAME may be a glob."""
    place, _, name = request.rpartition("/")
    if request.partition("://")[0] not in (*SCHEMES, "file") or not name:
        raise UsageError(
            f"{request} names no archive",
            hint="write s3://bucket/prefix/NAME, or --backups s3://bucket/prefix; else copy it here",
        )
    if inside := _all_in(open_place(request)):
        return inside
    store = open_place(place)
    listed = _listing_or_none(store).archives()
    chosen = [archive for archive in listed if fnmatch.fnmatchcase(archive.name, name)]
    if not chosen and (other := next((item for item in store.items() if item.name == name), None)):
        return [look_at(store, other)]
    if not chosen:
        names = [archive.name for archive in listed]
        raise NoSuchArchiveError(f"{request} does not exist", hint=_offer(name, names, store.location))
    return look_into(chosen)


def _all_in(place: Store) -> list[Found]:
    """What lies in a bundle; nothing of any other place."""
    return list_archives(place) if isinstance(place, Bundle) else []


def _listed_in(folder: Path) -> list[Found]:
    try:
        return list_archives(folder)
    except StoreError:
        return []


def _nothing_means(request: str, listing: Listing) -> NoSuchArchiveError:
    store, listed = listing.store, listing.archives()
    if not listed:
        others = len(store.items())
        return NoSuchArchiveError(
            f"{store.location} holds no archive"
            + (f", only {others} other file{'s' if others > 1 else ''}" if others else ""),
            hint="make one with: pgdrill backup, or name another folder: --backups",
        )
    names = [archive.name for archive in listed]
    if request.startswith("latest:"):
        database, kind = _parse_latest(request.partition(":")[2])
        names = sorted({archive.database for archive in listed if archive.database}) or names
        of = f" of the database {database}" if database else ""
        hint = _offer(database or "", names, store.location)
        if database in KINDS:
            hint = f"a kind is named after the database, which may be left out: latest::{database}"
        elif kind:
            hint = "see what there is: pgdrill list"
        return NoSuchArchiveError(f"{store.location} holds no {kind + ' ' if kind else ''}archive{of}", hint=hint)
    return NoSuchArchiveError(
        f"no archive in {store.location} is called {request}", hint=_offer(request, names, store.location)
    )


def _offer(wanted: str, names: Sequence[str], location: str) -> str:
    if near := get_close_matches(wanted, names, n=1):
        return f"did you mean {near[0]}?"
    if not names:
        return f"{location} holds no archive"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"there is {', '.join(names[:5])}{more}"
