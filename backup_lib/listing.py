"""The archives that lie in a place: what their names tell, and what a look into them tells.

A name of our own kind is believed about what to open: it may be ahead of its archive's snapshot by any time, but behind
it by an hour at most, and its database and kind are the archive's. A drill fails an archive of which that is not true.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from backup_lib import ledger, manifest
from backup_lib.archive import (
    HEAD_BYTES,
    KINDS,
    ArchiveName,
    Content,
    detect,
    encryption_of,
    first_plain_bytes,
    parse_name,
    time_alone,
)
from backup_lib.bundle import FOLDER, Bundle, bundle_names, is_before, open_bundle
from backup_lib.errors import BackupError, StoreError
from backup_lib.manifest import Kind
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
WHOLE: tuple[Kind | None, ...] = ("full", None)  # all of a database, or nothing says that it is less

_One = TypeVar("_One")
_Other = TypeVar("_Other")

TimeOrigin = Literal["manifest", "name", "file time"]
"""What a time was taken from. A file's time says little: copying changes it."""


class Found(Struct, frozen=True, kw_only=True, gc=False):
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
    begun_at: datetime | None = None  # UTC, by the clock of the machine that made it, where its server's was another
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
    def bundle(self) -> str | None:
        """The bundle it lies in."""
        return self.store.name if isinstance(self.store, Bundle) else None

    @property
    def manifest_name(self) -> str:
        return self.name + manifest.SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class _ManifestHead:
    snapshot_at: datetime
    database: str
    kind: Kind | None
    begun_at: datetime | None


class Listing:
    """One listing of a place; whatever else is asked of it is asked for one archive at a time.

    :raises StoreError: when the place does not exist or cannot be read.
    """

    def __init__(self, store: Store, *, bundled: bool = True) -> None:
        """:param bundled: also what lies in bundles, unless it lies beside them, too."""
        self.store = store
        bundled = bundled and not isinstance(store, Bundle)
        # Before the bundles: what is packed meanwhile is then in one of the two at least.
        self._contents = store.contents()
        self._aside = store.under(FOLDER) if bundled else None
        self._bundles = bundle_names(self._aside) if self._aside is not None else []
        self._opened: dict[str, Listing] = {}
        self._own: dict[str, ArchiveName] = {}
        self._others: list[str] = []
        self._names = frozenset(self._contents)
        for name in self._contents:
            if not name.endswith(_SIDECARS):
                if named := parse_name(name):
                    self._own[name] = named
                else:
                    self._others.append(name)

    def archives(self) -> list[Found]:
        """All of them, the newest first, as far as their names tell; those with names of others are looked into."""
        own = [described for name in self._own if (described := self._describe(name))]
        loose = [*own, *self._foreign]
        return newest_first([*loose, *self._bundled({found.name for found in loose})])

    def named(self, name: str) -> Found | None:
        """The one of exactly that name, looked into."""
        if name.endswith(_SIDECARS):
            return None
        if name not in self._names:
            return next((found for bundle in self._bundles if (found := self._open(bundle).named(name))), None)
        found = self._describe(name) if name in self._own else self._look(name)
        return _looked_into(found) if found is not None else None

    def newest(self, database: str | None = None, kinds: Collection[Kind | None] = WHOLE) -> Found | None:
        """The one with the newest manifest, looked into; only those are opened whose names say that they can be it.

        :param database: of this one alone.
        :param kinds: of these alone; None stands for those of which nothing says the kind.
        """
        chosen = self._newest(lambda name: not database or _says(name, database), database, kinds)
        if database and not chosen:  # named for another database, and still of this one: a drill will say so
            chosen = self._newest(lambda name: not _says(name, database), database, kinds)
        known = [chosen] if chosen else []
        for bundle in self._bundles:
            if not (chosen and is_before(bundle, chosen.taken_at)):
                known += [newest] if (newest := self._open(bundle).newest(database, kinds)) else []
        return max(known, key=_age, default=None)

    def _newest(
        self, may_be: Callable[[str], bool], database: str | None, kinds: Collection[Kind | None]
    ) -> Found | None:
        def is_meant(archive: Found) -> bool:
            return archive.kind in kinds and (database is None or is_of(archive, database))

        newest = max(filter(is_meant, self._foreign), key=_age, default=None)
        for at, name, kind in self._newest_names:
            if newest and at + _NAME_LAG < newest.taken_at:
                break
            if kind not in kinds or not may_be(name) or (described := self._describe(name)) is None:
                continue
            for archive in filter(is_meant, look_into([described])):
                newest = archive if newest is None else max(newest, archive, key=_age)
        return newest

    @cached_property
    def _newest_names(self) -> list[tuple[datetime, str, Kind]]:
        return sorted(((named.started_at, name, named.kind) for name, named in self._own.items()), reverse=True)

    def _bundled(self, loose: Collection[str]) -> Iterator[Found]:
        for bundle in self._bundles:
            yield from (found for found in self._open(bundle).archives() if found.name not in loose)

    def _open(self, bundle: str) -> Listing:
        assert self._aside is not None  # noqa: S101 - else there were no bundles
        if bundle not in self._opened:
            self._opened[bundle] = Listing(open_bundle(self._aside, bundle))
        return self._opened[bundle]

    @cached_property
    def _foreign(self) -> list[Found]:
        """Those with names of others, which say nothing reliable."""
        looked = _side_by_side(self._look, self._others, self.store)
        return [found for found in looked if found is not None]

    def _look(self, name: str) -> Found | None:
        """The archive that a file or folder with such a name is, or None when it is something else, or has gone."""
        try:
            return self._look_into(name)
        except StoreError:
            if self.store.exists(name):
                raise
            return None

    def _look_into(self, name: str) -> Found | None:
        found = self._describe(name)
        if found is None:
            return None
        if found.has_manifest:
            is_archive = True
        elif found.is_folder:
            is_archive = isinstance(self.store, LocalStore) and _has_toc(self.store.path(name))
        elif is_archive := _may_be_archive(name):
            head = _head(self.store, name)
            is_archive = encryption_of(head) is not None or _is_dump(head, name)
        return _looked_into(found) if is_archive else None

    def _describe(self, name: str) -> Found | None:
        """As far as its name tells; None: it has gone since the listing."""
        item = self._contents.get(name)
        if item is None:
            return None
        has_manifest, has_ledger = name + manifest.SUFFIX in self._names, name + ledger.SUFFIX in self._names
        return _describe(self.store, item, self._own.get(name), has_manifest=has_manifest, has_ledger=has_ledger)


def newest_first(found: Iterable[Found]) -> list[Found]:
    return sorted(found, key=_age, reverse=True)


def look_into(found: Sequence[Found]) -> list[Found]:
    """The same, with what their manifests and first bytes say; without those that have gone since they were listed."""
    looked = _side_by_side(_looked_into, found, found[0].store) if found else ()
    return [one for one in looked if one is not None]


def look_at(store: Store, item: StoredItem) -> Found:
    """What is named is an archive, whatever it holds."""
    has_manifest, has_ledger = (store.exists(item.name + suffix) for suffix in (manifest.SUFFIX, ledger.SUFFIX))
    described = _describe(store, item, parse_name(item.name), has_manifest=has_manifest, has_ledger=has_ledger)
    return _read_into(described)


def is_of(archive: Found, database: str) -> bool:
    """Whether it is of that database; one that nothing says it of, by how its name begins."""
    if archive.database is not None:
        return archive.database == database
    after = archive.name.removeprefix(database)
    return after != archive.name and not after[:1].isalnum()


def _says(name: str, database: str) -> bool:
    named = parse_name(name)
    return named is not None and named.database == database


def _age(archive: Found) -> tuple[datetime, str]:
    return archive.taken_at, archive.name


def _side_by_side(work: Callable[[_One], _Other], things: Sequence[_One], store: Store) -> Iterable[_Other]:
    """To a place that is elsewhere many requests at once; on this machine threads gain nothing."""
    if isinstance(store, LocalStore) or len(things) < 2:
        return map(work, things)
    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="pgdrill-look") as pool:
        return list(pool.map(work, things))


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


def _describe(
    store: Store, item: StoredItem, named: ArchiveName | None, *, has_manifest: bool, has_ledger: bool
) -> Found:
    """As far as its name tells."""
    at = named.started_at if named else time_alone(item.name)
    return Found(
        name=item.name,
        store=store,
        size_bytes=item.size_bytes,
        taken_at=at or item.modified_at,
        taken_at_from="name" if at else "file time",
        has_manifest=has_manifest,
        database=named.database if named else None,
        kind=named.kind if named else None,
        encryption=_ENCRYPTIONS.get(item.name.rpartition(".")[2]) if named else None,
        has_ledger=has_ledger,
        is_folder=item.is_folder,
        is_looked_into=False,
    )


def _looked_into(found: Found) -> Found | None:
    """None: it has gone since the listing, to where another run took it."""
    if found.is_looked_into:
        return found
    try:
        return _read_into(found)
    except StoreError:
        if not found.store.exists(found.name):
            return None
        if not found.has_manifest or found.store.exists(found.manifest_name):
            raise
        return _read_into(replace(found, has_manifest=False))


def _read_into(found: Found) -> Found:
    head = _manifest_head(found.store, found.manifest_name) if found.has_manifest else None
    encryption = None if found.is_folder else encryption_of(_head(found.store, found.name))
    found = replace(found, is_looked_into=True, encryption=encryption)
    if head is None:
        return found
    return replace(
        found,
        taken_at=head.snapshot_at,
        taken_at_from="manifest",
        database=head.database,
        kind=head.kind,
        begun_at=head.begun_at,
    )


def _manifest_head(store: Store, name: str) -> _ManifestHead | None:
    """What a manifest says first. None when it cannot be read: whoever verifies the archive will say so."""
    text = _head(store, name).decode(errors="replace")
    try:
        source = _object_after('"source":', text)
        archive = _object_after('"archive":', text)
        kind, begun_at = archive.get("kind"), archive.get("started_at") if archive.get("clocks_differed") else None
        return _ManifestHead(
            snapshot_at=datetime.fromisoformat(source["snapshot_at"]),
            database=source["database"],
            kind=next((known for known in KINDS if known == kind), None),
            begun_at=datetime.fromisoformat(begun_at) if begun_at else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _object_after(key: str, text: str) -> dict[str, str]:
    start = text.index("{", text.index(key) + len(key))
    found: dict[str, str] = json.JSONDecoder().raw_decode(text, start)[0]
    return found
