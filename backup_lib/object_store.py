"""A bucket, or a part of one, as a place of archives: S3 and what speaks like it, Google Cloud Storage, Azure Blob.

Keys come from the environment, as the store's own programs take them (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …), so
that none stands in a command line or a log. There is no lock that would end with its process: what keeps two writers
apart is that a name is only ever created where it is free.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from backup_lib.errors import LockedError, StoreError, UsageError
from backup_lib.manifest import SUFFIX
from backup_lib.process import owner_id, owner_is_alive
from backup_lib.store import Sink, StoredItem

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Client

SCHEMES = ("s3", "s3a", "gs", "az", "azure")
_PUT_BYTES = 8 << 20  # up to here one conditional request; beyond, parts of that size
_FIRST_BYTES = 256 << 10  # enough for the head of an archive, and for most manifests whole
_RANGE_BYTES = 16 << 20
_CLAIM, _CLAIM_LIFE = ".claim", timedelta(hours=24)
_CODE = re.compile(r"<Code>([^<]+)</Code>.*?<Message>([^<]*)</Message>", re.DOTALL)
_HINTS = {
    "NoSuchBucket": "make the bucket first; pgdrill makes none",
    "AccessDenied": "give these keys the right to list, read, write and delete there",
    "InvalidAccessKeyId": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys of that store",
    "SignatureDoesNotMatch": "set AWS_SECRET_ACCESS_KEY to the one that belongs to AWS_ACCESS_KEY_ID",
}
_METADATA = "/latest/api/token"  # of the cloud's own machine, which is asked for keys where none are set
_NO_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
_HINT = "see that the network, the endpoint (AWS_ENDPOINT_URL), the region (AWS_REGION) and the keys are right"


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """Objects under one prefix. Each is there whole or not at all; a place inside it is a longer prefix."""

    location: str  # s3://bucket/prefix, without a slash at its end
    client: Client

    def contents(self) -> dict[str, StoredItem]:
        from obstore import list_with_delimiter

        with self._explained(""):
            objects = list_with_delimiter(self.client)["objects"]
        found = [
            StoredItem(name=item["path"], size_bytes=item["size"], modified_s=item["last_modified"].timestamp())
            for item in objects
            if item["path"] and not item["path"].startswith(".")  # some consoles store an empty object as a folder
        ]
        return {item.name: item for item in found}

    def items(self) -> list[StoredItem]:
        return [item for _, item in sorted(self.contents().items())]

    def exists(self, name: str) -> bool:
        return self._head(name) is not None

    def item(self, name: str) -> StoredItem:
        meta = self._there(name)
        return StoredItem(name=name, size_bytes=meta["size"], modified_s=meta["last_modified"].timestamp())

    def open_read(self, name: str) -> Iterator[bytes]:
        """By ranges, so that a slow reader meets no time limit; all of one version of the object."""
        return self._ranges(name, 0, None)

    def read_range(self, name: str, start: int, size_bytes: int) -> Iterator[bytes]:
        return self._ranges(name, start, start + size_bytes)

    def _ranges(self, name: str, start: int, stop: int | None) -> Iterator[bytes]:
        from obstore import get

        meta = self._there(name)
        stop, length = min(meta["size"], meta["size"] if stop is None else stop), _FIRST_BYTES
        while start < stop:
            end = min(start + length, stop)
            with self._explained(name):
                options = {"range": (start, end), "if_match": meta["e_tag"]}
                data = bytes(get(self.client, name, options=options).bytes())  # type: ignore[arg-type]
            yield data
            start, length = end, _RANGE_BYTES

    def _there(self, name: str) -> dict[str, Any]:
        if meta := self._head(name):
            return meta
        raise StoreError(f"{self.location}/{name} is not there", hint=f"pgdrill list --backups {self.location}")

    @contextmanager
    def create(self, name: str) -> Iterator[Sink]:
        sink = _Upload(self, name)
        try:
            yield sink
        except BaseException:
            sink.abort()
            raise
        sink.finish()

    def replace(self, name: str, data: bytes) -> None:
        from obstore import put

        with self._explained(name):
            put(self.client, name, data, use_multipart=False)

    def delete(self, name: str) -> None:
        from obstore import delete

        with self._explained(name):
            delete(self.client, name)

    def under(self, folder: str) -> ObjectStore:
        return open_object_store(f"{self.location}/{folder}")

    def move(self, name: str, folder: str) -> None:
        """A copy made by the store, then the deletion; not atomic, as no store has that."""
        self.keep(name, folder)
        self.delete(name)

    def take(self, name: str, folder: str) -> None:
        from obstore import copy

        with self._explained(name):
            copy(self.client, f"{folder}/{name}", name)
        self.delete(f"{folder}/{name}")

    def keep(self, name: str, folder: str) -> None:
        from obstore import copy

        if self.exists(f"{folder}/{name}"):
            raise _taken(f"{self.location}/{folder}/{name}")
        with self._explained(name):
            copy(self.client, name, f"{folder}/{name}")

    @contextmanager
    def lock(self, prefix: str) -> Iterator[None]:
        """Nobody is kept out: see the module."""
        yield

    def free_bytes(self) -> int | None:
        return None

    def clear_claims(self) -> None:
        """Those of writers that died long ago: of most names nobody ever claims one again."""
        from obstore import list_with_delimiter

        with self._explained(""):
            objects = list_with_delimiter(self.client)["objects"]
        for item in objects:
            is_claim = item["path"].startswith(".") and item["path"].endswith(_CLAIM)
            if is_claim and datetime.now(UTC) - item["last_modified"] > _CLAIM_LIFE:
                archive = item["path"].removeprefix(".").removesuffix(_CLAIM)
                if not self.exists(archive) and self.exists(archive + SUFFIX):  # its manifest came first
                    self.delete(archive + SUFFIX)
                self.delete(item["path"])

    def _head(self, name: str) -> dict[str, Any] | None:
        from obstore import head

        with self._explained(name):
            try:
                return dict(head(self.client, name))
            except FileNotFoundError:
                return None

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        from obstore.exceptions import AlreadyExistsError, BaseError

        what = f"{self.location}/{name}" if name else self.location
        try:
            yield
        except AlreadyExistsError as exc:
            raise _taken(what) from exc
        except (BaseError, OSError, ValueError) as exc:
            told = _CODE.search(str(exc))
            reason = f"{told[1]}: {told[2]}" if told else " ".join(str(exc).partition("\n")[0].split())
            if _METADATA in reason:
                raise StoreError(f"{what}: no keys are set, and this machine has no role", hint=_NO_KEYS) from exc
            raise StoreError(f"{what}: {reason}", hint=_HINTS.get(told[1] if told else "", _HINT)) from exc


class _Upload:
    """One object on its way. A small one is a single request that fails where the name is taken.

    No store takes that condition for an upload in parts. Before the first part the name is claimed, by an object that
    only one writer can create, and then looked up.
    """

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self._name = name
        self._claim = f".{name}{_CLAIM}"
        self._held = bytearray()
        self._parts: Any = None  # obstore's WritableFile

    def write(self, data: bytes, /) -> None:
        self._held += data
        if len(self._held) > _PUT_BYTES:
            if self._parts is None:
                self._begin_parts()
            self._flush()

    def finish(self) -> None:
        from obstore import put

        if self._parts is None:
            with self._store._explained(self._name):
                put(self._store.client, self._name, bytes(self._held), mode="create", use_multipart=False)
            return
        try:
            self._flush()
            with self._store._explained(self._name):
                self._parts.close()
        except BaseException:
            self.abort()
            raise
        self._store.delete(self._claim)

    def abort(self) -> None:
        """Leave nothing behind, not even parts that nobody sees and somebody pays for."""
        if self._parts is None:
            return
        with suppress(Exception):  # what went wrong before is what is told
            self._parts.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        with suppress(StoreError):
            self._store.delete(self._claim)

    def _begin_parts(self) -> None:
        from obstore import open_writer

        self._take_claim()
        self._store.clear_claims()
        try:
            if self._store.exists(self._name):
                raise _taken(f"{self._store.location}/{self._name}")
            with self._store._explained(self._name):
                self._parts = open_writer(self._store.client, self._name, buffer_size=_PUT_BYTES, max_concurrency=4)
        except BaseException:
            self._store.delete(self._claim)
            raise

    def _take_claim(self) -> None:
        from obstore import put
        from obstore.exceptions import AlreadyExistsError

        text = owner_id().encode()
        with self._store._explained(self._name):
            try:
                put(self._store.client, self._claim, text, mode="create", use_multipart=False)
            except AlreadyExistsError:
                if since := self._claimed_at():
                    raise _claimed(self._store.location, self._name, self._claim, since) from None
                put(self._store.client, self._claim, text, use_multipart=False)

    def _claimed_at(self) -> datetime | None:
        """Since when another one writes it; None when that one is no more, as far as it can be seen from here."""
        claim = self._store._head(self._claim)
        if claim is None or claim["last_modified"] < datetime.now(UTC) - _CLAIM_LIFE:
            return None
        owner = b"".join(self._store.open_read(self._claim)).decode(errors="replace")
        return claim["last_modified"] if owner_is_alive(owner) else None

    def _flush(self) -> None:
        with self._store._explained(self._name):
            self._parts.write(bytes(self._held))
        self._held.clear()


def open_object_store(url: str) -> ObjectStore:
    """The place a URL names, such as `s3://bucket/prefix`; nothing is asked of it yet.

    :raises UsageError: when obstore is not installed, or the URL or the environment cannot be meant.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as exc:
        raise UsageError(
            f"{url.partition('://')[0]}:// needs the package obstore", hint="pip install 'pgdrill[s3]'"
        ) from exc
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if not bucket or "@" in bucket:
        raise UsageError(
            f"{scheme}:// needs a bucket, and no keys in it",
            hint=f"write {scheme}://bucket/prefix, and set the keys in the environment, such as AWS_ACCESS_KEY_ID",
        )
    location = f"{scheme}://{bucket}/{prefix.strip('/')}".rstrip("/")
    make: Callable[..., Client] = from_url
    try:
        client = make(location, client_options=_client_options(), retry_config=_RETRY)
    except (BaseError, ValueError) as exc:
        reason = " ".join(str(exc).partition("\n")[0].split())
        raise UsageError(f"{location} cannot be used: {reason}", hint=_HINT) from exc
    return ObjectStore(location, client)


# A place that is down must not keep the others waiting for long.
_RETRY = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}


def _client_options() -> dict[str, Any]:
    endpoints = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
    plain_http = any(endpoint.startswith("http://") for endpoint in endpoints)
    return {"connect_timeout": "10s", "timeout": "120s", **({"allow_http": True} if plain_http else {})}


def _claimed(location: str, name: str, claim: str, since: datetime) -> LockedError:
    """The object itself is not there: nobody can tell from here whether its writer lives."""
    return LockedError(
        f"another run writes {location}/{name} since {since:%Y-%m-%d %H:%M} UTC, or was killed and left {claim}",
        hint=f"wait until it ends; if none runs, delete {claim} there: it counts for nothing from "
        f"{since + _CLAIM_LIFE:%Y-%m-%d %H:%M} UTC on",
    )


def _taken(what: str) -> StoreError:
    return StoreError(f"{what} exists already", hint="an archive is never overwritten: wait a second, or move it away")
