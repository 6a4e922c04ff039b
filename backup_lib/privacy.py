"""Who else may read what a backup wrote."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from stat import S_IRWXG, S_IRWXO, S_IXGRP, S_IXOTH


def readable_by_others(paths: Iterable[Path]) -> list[Path]:
    """Those of the files and folders that their modes, and those of the folder they lie in, open to others.

    What lies in a folder that others cannot enter is closed to them, whatever its own mode. One that has gone is not
    told of.
    """
    return [path for path in paths if _is_open(path)]


def _is_open(path: Path) -> bool:
    try:
        mode, around = path.stat().st_mode, path.parent.stat().st_mode
    except OSError:
        return False
    return bool((mode & S_IRWXG and around & S_IXGRP) or (mode & S_IRWXO and around & S_IXOTH))
