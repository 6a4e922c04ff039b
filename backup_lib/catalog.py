"""Which archives there are, which one is the latest, and which ones a person means."""

from __future__ import annotations

import fnmatch
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from backup_lib import manifest
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
from backup_lib.store import LocalStore, Store, StoredItem

# A file is looked into when its name holds one of these; foreign archives have all kinds of names.
_LIKELY = (".sql", ".dump", ".pgdump", ".pg_dump", ".backup", ".bak", ".custom", ".tar", ".gz", ".zst", ".dmp")
# Only these speak of a dump even when nothing in it can be read.
_TELLING = (".sql", ".dump", ".pgdump", ".pg_dump", ".backup", ".dmp")
_NEVER = (manifest.SUFFIX, ".json", ".md", ".html", ".log", ".sha256", ".yaml", ".yml", ".toml", ".svg", ".png")
_HEADERS = (b"PostgreSQL database dump", b"PostgreSQL database cluster dump")


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

    @property
    def path(self) -> Path | None:
        """Where it is on this machine; None when it is not."""
        return self.store.path(self.name) if isinstance(self.store, LocalStore) else None

    @property
    def manifest_name(self) -> str:
        return self.name + manifest.SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class _ManifestHead:
    snapshot_at: datetime
    database: str
    kind: Kind | None


def list_archives(place: Store | Path) -> list[Found]:
    """All archives there, the newest first. Damaged and empty ones are among them: they are to be found out.

    :raises StoreError: when the place does not exist or cannot be read.
    """
    store = LocalStore(place) if isinstance(place, Path) else place
    items = store.items()
    names = {item.name for item in items}
    found = filter(None, (_look(store, item, names) for item in items))
    return sorted(found, key=lambda archive: (archive.taken_at, archive.name), reverse=True)


def resolve(requests: Sequence[str], place: Store | Path, *, seed: int | None = None) -> list[Found]:
    """The archives that are meant, each once, in the order asked for.

    :param requests: each `latest`, `latest:DATABASE`, `all`, `random:N`, a name, a glob, or a path.
    :param seed: makes `random` repeatable.
    :raises NoSuchArchiveError: when one of them means nothing; says what there is.
    :raises UsageError: when one of them cannot mean anything.
    """
    store = LocalStore(place) if isinstance(place, Path) else place
    listed: list[Found] | None = None
    meant: dict[tuple[str, str], Found] = {}
    for request in requests:
        chosen = _by_path(request)
        if chosen is None:
            if listed is None:
                listed = _list_or_none(store)
            chosen = _choose(request, listed, store, random.Random(seed))  # noqa: S311 - a sample, no secret
        for archive in chosen:
            meant.setdefault((archive.store.location, archive.name), archive)
    return list(meant.values())


def _list_or_none(store: Store) -> list[Found]:
    try:
        return list_archives(store)
    except StoreError as exc:
        raise NoSuchArchiveError(exc.message, hint=exc.hint) from exc


def _choose(request: str, listed: list[Found], store: Store, chance: random.Random) -> list[Found]:
    word, _, argument = request.partition(":")
    if request == "latest":
        chosen = listed[:1]
    elif word == "latest" and argument:
        chosen = [archive for archive in listed if _is_of(archive, argument)][:1]
    elif request == "all":
        chosen = listed
    elif word == "random":
        if not argument.isdigit() or int(argument) < 1:
            raise UsageError(f"{request!r} names no number of archives", hint="write random:3")
        chosen = chance.sample(listed, min(int(argument), len(listed)))
    else:
        chosen = [archive for archive in listed if archive.name == request]
        chosen = chosen or [archive for archive in listed if fnmatch.fnmatchcase(archive.name, request)]
    if not chosen:
        raise _nothing_means(request, listed, store)
    return chosen


def _is_of(archive: Found, database: str) -> bool:
    if archive.database is not None:
        return archive.database == database
    after = archive.name.removeprefix(database)
    return after != archive.name and not after[:1].isalnum()


def _by_path(request: str) -> list[Found] | None:
    """What a path or URL names; None when the request is no path, but to be looked for in the store."""
    if "://" in request:
        raise UsageError(
            f"{request.partition('://')[0]}:// is not read yet", hint="copy the archive here and name its path"
        )
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
    item = next(item for item in store.items() if item.name == path.name)
    encryption = None if item.is_folder else encryption_of(_head(store, item.name))
    has_manifest = store.exists(item.name + manifest.SUFFIX)
    return [_describe(store, item, has_manifest=has_manifest, encryption=encryption)]


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
    if item.name.endswith(manifest.SUFFIX):
        return None
    has_manifest = item.name + manifest.SUFFIX in names
    ours = has_manifest or parse_name(item.name) is not None
    encryption = None
    if item.is_folder:
        if not (ours or (isinstance(store, LocalStore) and (store.path(item.name) / "toc.dat").is_file())):
            return None
    elif ours or _may_be_archive(item.name):
        head = _head(store, item.name)
        encryption = encryption_of(head)
        if not (ours or encryption or _is_dump(head, item.name)):
            return None
    else:
        return None
    return _describe(store, item, has_manifest=has_manifest, encryption=encryption)


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


def _describe(store: Store, item: StoredItem, *, has_manifest: bool, encryption: str | None) -> Found:
    head = _manifest_head(store, item.name + manifest.SUFFIX) if has_manifest else None
    named = parse_name(item.name)
    taken_at = item.modified_at
    origin: TimeOrigin = "file time"
    if head:
        taken_at, origin = head.snapshot_at, "manifest"
    elif named:
        taken_at, origin = named.started_at, "name"
    told = head or named
    return Found(
        name=item.name,
        store=store,
        size_bytes=item.size_bytes,
        taken_at=taken_at,
        taken_at_from=origin,
        has_manifest=has_manifest,
        database=told.database if told else None,
        kind=told.kind if told else None,
        encryption=encryption,
    )


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
