"""An archive that lies elsewhere is brought here first; what that takes is part of every recovery."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_lib.catalog import Found
from backup_lib.errors import StoreError
from backup_lib.run_folder import run_folder

_LEASE_S = 24 * 3600
_RESERVE_BYTES = 64 << 20  # left to everybody else on that disk


@contextmanager
def place_here(found: Found) -> Iterator[Path]:
    """Where a drill reads the archive: where it lies, or in a private folder that goes with the drill, see `fetch`."""
    if found.path is not None:
        yield found.path
        return
    with run_folder(Path(tempfile.gettempdir()), lease_s=_LEASE_S) as folder:
        private = folder / "fetched"
        private.mkdir(mode=0o700)
        yield private / found.name


def fetch(found: Found, path: Path) -> None:
    """Bring the archive to `path`, unless that is where it lies.

    :raises StoreError: when its place cannot be read, the disk here has no room for it, or it grows meanwhile.
    """
    if found.path is not None:
        return
    free = shutil.disk_usage(path.parent).free
    if free < found.size_bytes + _RESERVE_BYTES:
        raise StoreError(
            f"{path.parent} has {free:,} bytes left, and {found.name} needs {found.size_bytes:,}",
            hint="set TMPDIR to a folder with more room",
        )
    left = found.size_bytes
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in found.store.open_read(found.name):
            left -= len(chunk)
            if left < 0:
                raise StoreError(
                    f"{found.name} is larger than {found.store.location} listed it: somebody writes it",
                    hint="drill again when whoever writes it has ended",
                )
            file.write(chunk)
