"""From what a person writes to the place it means: a folder, or a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from backup_lib.errors import UsageError
from backup_lib.object_store import SCHEMES, open_object_store
from backup_lib.store import LocalStore, Store


def open_place(place: str | Path | Store) -> Store:
    """The place meant by a folder, `file:///folder`, `s3://bucket/prefix`, `gs://…` or `az://…`.

    :raises UsageError: for any other URL, or one that cannot be used as it is.
    """
    if isinstance(place, Path):
        return LocalStore(place)
    if not isinstance(place, str):
        return place
    scheme, separator, rest = place.partition("://")
    if not separator:
        return LocalStore(Path(place).expanduser())
    if scheme == "file" and rest.startswith("/"):
        return LocalStore(Path(unquote(urlsplit(place).path)))
    if scheme in SCHEMES:
        return open_object_store(place)
    raise UsageError(
        f"{scheme}:// names no place that archives can lie in",
        hint="write a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix",
    )
