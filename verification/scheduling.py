"""For pytest-xdist, where it is installed: all tests of an archive run in one worker, which restores it once."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class ByArchive(LoadScopeScheduling):
    """Whatever --dist says: the marker xdist_group works with --dist=loadgroup alone."""

    def __init__(self, config: pytest.Config, log: Producer | None, archives: Collection[str]) -> None:
        super().__init__(config, log)
        self._archives = sorted(archives, key=len, reverse=True)  # one's name may be a part of another's

    def _split_scope(self, nodeid: str) -> str:
        parameters = nodeid.partition("[")[2]
        return next((name for name in self._archives if name in parameters), nodeid)
