"""Which archives there are, which one is the latest, and which ones a person means."""

from __future__ import annotations

import fnmatch
import json
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from backup_lib import ledger, manifest
from backup_lib.archive import (
    HEAD_BYTES,
    KINDS,
    Content,
    detect,
    encryption_of,
    first_plain_bytes,
    parse_name,
)
from backup_lib.errors import BackupError, NoSuchArchiveError, StoreError, UsageError
from backup_lib.manifest import Kind
from backup_lib.object_store import SCHEMES
from backup_lib.places import open_place
from backup_lib.store import LocalStore, Store, StoredItem

# A file is looked into when its name holds one of these; foreign archives have all kinds of names.
_LIKELY = (".sql", ".dump", ".pgdump", ".pg_dump", ".backup", ".bak", ".custom", ".tar", ".gz", ".zst", ".dmp")
# Only these speak of a dump even when nothing in it can be read.
_TELLING = (".sql", ".dump", ".pgdump", ".pg_dump", ".backup", ".dmp")
_NEVER = (manifest.SUFFIX, ".json", ".md", ".html", ".log", ".sha256", ".yaml", ".yml", ".toml", ".svg", ".png")
_SIDECARS = (manifest.SUFFIX, ledger.SUFFIX)
_HEADERS = (b"PostgreSQL database dump", b"PostgreSQL database cluster dump")
# By how much a name's time may be behind its manifest's: from the start of pg_dump to its snapshot.
_NAME_LAG = timedelta(hours=1)
_ENCRYPTIONS = {"age": "age", "enc": "openssl enc"}  # what the names that we read end in
_REQUESTS = 16  # at once, to a place that is elsewhere


TimeOrigin = Literal["manifest", "name", "file time"]
"""What a time was taken from. A file's time says little: copying changes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One archive as it lies in a store."""

    name: str
    store: Store
    size_bytes: int
    taken_at: datetime  # UTC
    taken_at_from: TimeOrigin
    has_manifest: bool
    database: str | None  # from the manifest or our own kind of name
    kind: Kind | None
    encryption: str | None = None
    has_ledger: bool = False
    is_folder: bool = False
    is_looked_into: bool = True  # False: time, database, kind and encryption are as its name says: nothing was read

    @property
    def path(self) -> Path | None:
        """Where it is on this machine; None when it is not."""
        return self.store.path(self.name) if isinstance(self.store, LocalStore) else None

    @property
    def address(self) -> str:
        """Its path or URL: what names it from anywhere on this machine."""
        return str(self.path) if self.path else f"{self.store.location}/{self.name}"

    @property
    def manifest_name(self) -> str:
        return self.name + manifest.SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class _ManifestHead:
    snapshot_at: datetime
    database: str
    kind: Kind | None


def list_archives(place: Store | Path | str, *, by_name: bool = False) -> list[Found]:
    """All archives there, the newest first. Damaged and empty ones are among them: they are to be found out.

    :param by_name: believe our own kind of name, and open none of these files; `look_into` does so later. Then a
        listing is all that is asked of the place, unless there are files with other names.
    :raises StoreError: when the place does not exist or cannot be read.
    """
    store = open_place(place)
    items = store.items()
    names = {item.name for item in items}
    found = [archive for item in items if (archive := _look(store, item, names)) is not None]
    return newest_first(found if by_name else look_into(found))


def newest_first(found: Iterable[Found]) -> list[Found]:
    return sorted(found, key=lambda archive: (archive.taken_at, archive.name), reverse=True)


def look_into(found: Sequence[Found]) -> list[Found]:
    """The same, with what their manifests and first bytes say."""
    if all(isinstance(archive.store, LocalStore) for archive in found):
        return [_looked_into(archive) for archive in found]
    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="pgdrill-look") as pool:
        return list(pool.map(_looked_into, found))


def resolve(requests: Sequence[str], place: Store | Path | str, *, seed: int | None = None) -> list[Found]:
    """The archives that are meant, each once, in the order asked for.

    :param requests: each `latest`, `latest:DATABASE`, `all`, `random:N`, a name, a glob, a path or a URL.
    :param seed: makes `random` repeatable.
    :raises NoSuchArchiveError: when one of them means nothing; says what there is.
    :raises UsageError: when one of them cannot mean anything.
    """
    listed: list[Found] | None = None
    meant: dict[tuple[str, str], Found] = {}
    for request in requests:
        chosen = _by_path(request)
        if chosen is None:
            store = open_place(place)
            if listed is None:
                listed = _list_or_none(store)
            chosen = _choose(request, listed, store, random.Random(seed))  # noqa: S311 - a sample, no secret
        for archive in chosen:
            meant.setdefault((archive.store.location, archive.name), archive)
    return list(meant.values())


def _list_or_none(store: Store) -> list[Found]:
    try:
        return list_archives(store, by_name=True)
    except StoreError as exc:
        raise NoSuchArchiveError(exc.message, hint=exc.hint) from exc


def _choose(request: str, listed: list[Found], store: Store, chance: random.Random) -> list[Found]:
    word, _, argument = request.partition(":")
    if request == "latest":
        chosen = _newest(listed)
    elif word == "latest" and argument:
        chosen = _newest(listed, lambda archive: _is_of(archive, argument))
    elif request == "all":
        chosen = newest_first(look_into(listed))
    elif word == "random":
        if not argument.isdigit() or int(argument) < 1:
            raise UsageError(f"{request!r} names no number of archives", hint="write random:3")
        chosen = chance.sample(listed, min(int(argument), len(listed)))
    else:
        chosen = [archive for archive in listed if archive.name == request]
        chosen = chosen or [archive for archive in listed if fnmatch.fnmatchcase(archive.name, request)]
    if not chosen:
        raise _nothing_means(request, listed, store)
    return look_into(chosen)


def _newest(listed: Sequence[Found], wanted: Callable[[Found], bool] = lambda _: True) -> list[Found]:
    """The one whose manifest is the newest, opening only those whose names say that they can be it."""
    newest: Found | None = None
    for archive in listed:
        if newest and archive.taken_at + _NAME_LAG < newest.taken_at:
            break
        (looked,) = look_into([archive])
        if wanted(looked) and (newest is None or looked.taken_at > newest.taken_at):
            newest = looked
    return [newest] if newest else []


def _is_of(archive: Found, database: str) -> bool:
    if archive.database is not None:
        return archive.database == database
    after = archive.name.removeprefix(database)
    return after != archive.name and not after[:1].isalnum()


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
        return chosen
    if path.is_dir() and not (path / "toc.dat").exists():
        raise NoSuchArchiveError(
            f"{request} is a folder, and no directory archive",
            hint=f"to look for archives in it: --backups {request}",
        )
    store = LocalStore(path.absolute().parent)
    return [_look_at(store, store.item(path.name))]


def _by_url(request: str) -> list[Found]:
    """What `s3://bucket/prefix/NAME` names; NAME may be a glob."""
    place, _, name = request.rpartition("/")
    if request.partition("://")[0] not in (*SCHEMES, "file") or not name:
        raise UsageError(
            f"{request} names no archive",
            hint="write s3://bucket/prefix/NAME, or --backups s3://bucket/prefix; else copy it here",
        )
    store = open_place(place)
    listed = _list_or_none(store)
    chosen = [archive for archive in listed if fnmatch.fnmatchcase(archive.name, name)]
    if not chosen and (other := next((item for item in store.items() if item.name == name), None)):
        return [_look_at(store, other)]
    if not chosen:
        names = [archive.name for archive in listed]
        raise NoSuchArchiveError(f"{request} does not exist", hint=_offer(name, names, store.location))
    return look_into(chosen)


def _look_at(store: Store, item: StoredItem) -> Found:
    """What is named is an archive, whatever it holds."""
    has_manifest, has_ledger = (store.exists(item.name + suffix) for suffix in (manifest.SUFFIX, ledger.SUFFIX))
    return _looked_into(_describe(store, item, has_manifest=has_manifest, has_ledger=has_ledger))


def _listed_in(folder: Path) -> list[Found]:
    try:
        return list_archives(folder)
    except StoreError:
        return []


def _nothing_means(request: str, listed: Sequence[Found], store: Store) -> NoSuchArchiveError:
    if not listed:
        others = len(store.items())
        return NoSuchArchiveError(
            f"{store.location} holds no archive"
            + (f", only {others} other file{'s' if others > 1 else ''}" if others else ""),
            hint="make one with: pgdrill backup, or name another folder: --backups",
        )
    names = [archive.name for archive in listed]
    if request.startswith("latest:"):
        names = sorted({archive.database for archive in listed if archive.database}) or names
        return NoSuchArchiveError(
            f"{store.location} holds no archive of the database {request.partition(':')[2]}",
            hint=_offer(request.partition(":")[2], names, store.location),
        )
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


def _look(store: Store, item: StoredItem, names: set[str]) -> Found | None:
    """The archive that an item is, or None when it is something else."""
    name = item.name
    if name.endswith(_SIDECARS):
        return None
    has_manifest = name + manifest.SUFFIX in names
    found = _describe(store, item, has_manifest=has_manifest, has_ledger=name + ledger.SUFFIX in names)
    if found.taken_at_from == "name":
        return found
    if item.is_folder:
        is_archive = has_manifest or (isinstance(store, LocalStore) and _has_toc(store.path(name)))
    elif has_manifest:
        is_archive = True
    elif is_archive := _may_be_archive(name):
        head = _head(store, name)
        is_archive = encryption_of(head) is not None or _is_dump(head, name)
    return _looked_into(found) if is_archive else None


def _has_toc(folder: Path) -> bool:
    try:
        return (folder / "toc.dat").is_file()
    except PermissionError:  # of somebody else: what it holds cannot be told, and is not ours
        return False


def _may_be_archive(name: str) -> bool:
    lowered = name.lower()
    return any(part in lowered for part in _LIKELY) and not lowered.endswith(_NEVER)


def _head(store: Store, name: str) -> bytes:
    head = b""
    for chunk in store.open_read(name):
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    return head[:HEAD_BYTES]


def _is_dump(head: bytes, name: str) -> bool:
    telling = any(part in name.lower() for part in _TELLING)
    try:
        content: Content = detect(head, name=name)
    except BackupError:
        return telling  # empty, re-encoded, binary: an archive by its name only, and a bad one
    if content.format != "plain":
        return True
    text = first_plain_bytes(head, content.compression)
    return any(header in text for header in _HEADERS) or (not text and telling)


def _describe(store: Store, item: StoredItem, *, has_manifest: bool, has_ledger: bool) -> Found:
    """As far as its name tells."""
    named = parse_name(item.name)
    return Found(
        name=item.name,
        store=store,
        size_bytes=item.size_bytes,
        taken_at=named.started_at if named else item.modified_at,
        taken_at_from="name" if named else "file time",
        has_manifest=has_manifest,
        database=named.database if named else None,
        kind=named.kind if named else None,
        encryption=_ENCRYPTIONS.get(item.name.rpartition(".")[2]) if named else None,
        has_ledger=has_ledger,
        is_folder=item.is_folder,
        is_looked_into=False,
    )


def _looked_into(found: Found) -> Found:
    if found.is_looked_into:
        return found
    head = _manifest_head(found.store, found.manifest_name) if found.has_manifest else None
    encryption = None if found.is_folder else encryption_of(_head(found.store, found.name))
    found = replace(found, is_looked_into=True, encryption=encryption)
    if head is None:
        return found
    return replace(found, taken_at=head.snapshot_at, taken_at_from="manifest", database=head.database, kind=head.kind)


def _manifest_head(store: Store, name: str) -> _ManifestHead | None:
    """What a manifest says first. None when it cannot be read: whoever verifies the archive will say so."""
    text = _head(store, name).decode(errors="replace")
    try:
        source = _object_after('"source":', text)
        kind = _object_after('"archive":', text).get("kind")
        return _ManifestHead(
            snapshot_at=datetime.fromisoformat(source["snapshot_at"]),
            database=source["database"],
            kind=next((known for known in KINDS if known == kind), None),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _object_after(key: str, text: str) -> dict[str, str]:
    start = text.index("{", text.index(key) + len(key))
    found: dict[str, str] = json.JSONDecoder().raw_decode(text, start)[0]
    return found
