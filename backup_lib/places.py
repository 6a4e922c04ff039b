"""From what a person writes to the place it means: a folder, or a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from backup_lib.bundle import is_bundle_name, open_bundle
from backup_lib.errors import UsageError
from backup_lib.monthly_tar import is_monthly_tar, open_monthly_tar
from backup_lib.object_store import SCHEMES, open_object_store
from backup_lib.store import LocalStore, Store


def open_place(place: str | Path | Store) -> Store:
    """The place meant by a folder, `file:///folder`, `s3://bucket/prefix`, `gs://…` or `az://…`; or a bundle in one.

    :raises UsageError: for any other URL, or one that cannot be used as it is.
    """
    if isinstance(place, Path):
        return _open_folder(place)
    if not isinstance(place, str):
        return place
    scheme, separator, rest = place.partition("://")
    if not separator:
        return _open_folder(Path(place).expanduser())
    if scheme == "file" and rest.startswith("/"):
        return _open_folder(Path(unquote(urlsplit(place).path)))
    if scheme in SCHEMES:
        outer, _, name = place.rpartition("/")
        return open_bundle(open_object_store(outer), name) if is_bundle_name(name) else open_object_store(place)
    raise UsageError(
        f"{scheme}:// names no place that archives can lie in",
        hint="write a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix",
    )


def _open_folder(path: Path) -> Store:
    if is_bundle_name(path.name) and path.is_file():
        return open_bundle(LocalStore(path.parent), path.name)
    return (open_monthly_tar(path) if is_monthly_tar(path) else None) or LocalStore(path)
