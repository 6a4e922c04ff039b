"""Whose a throwaway server is, so that the next drill clears away what a killed one left behind.

An embedded server dies with its owner (see `backup_lib.isolation`); what may stay is its folder.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from backup_lib.process import owner_id, owner_is_alive
from backup_lib.run_folder import reap

__all__ = ["owner_id", "owner_is_alive", "reap_folders"]


def reap_folders() -> list[Path]:
    """Remove what dead owners left among the temporary files; those removed. Every new sandbox does so too."""
    return reap([Path(tempfile.gettempdir()), Path("/tmp")])  # noqa: S108 - for sockets whose TMPDIR is long
