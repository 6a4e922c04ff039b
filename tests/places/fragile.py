"""A folder in which the n-th change is the last one that is made: what a signal or a power loss does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from backup_lib.store import LocalStore, Sink


class Interrupted(BaseException):
    """As a signal does, between any two changes."""


class Fragile(LocalStore):
    """Counts for all folders together."""

    left: ClassVar[list[int]] = [0]

    def _change(self) -> None:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Interrupted

    def under(self, folder: str) -> Fragile:
        return Fragile(self.path(folder))

    @contextmanager
    def create(self, name: str) -> Iterator[Sink]:
        with super().create(name) as sink:
            yield sink
            self._change()

    def replace(self, name: str, data: bytes) -> None:
        self._change()
        super().replace(name, data)

    def delete(self, name: str) -> None:
        self._change()
        super().delete(name)

    def move(self, name: str, folder: str) -> None:
        self._change()
        super().move(name, folder)

    def take(self, name: str, folder: str) -> None:
        self._change()
        super().take(name, folder)

    def keep(self, name: str, folder: str) -> None:
        self._change()
        super().keep(name, folder)
