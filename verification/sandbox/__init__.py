"""Throwaway servers: a PostgreSQL owned by one drill, empty on entry, gone on exit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from backup_lib.errors import ServerError


class Sandbox(Protocol):
    """A running throwaway server. Matched by shape alone."""

    @property
    def kind(self) -> str:
        """`embedded` or `container`."""

    @property
    def server_version(self) -> str:
        """As `SHOW server_version` prints it."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What the record says of it: programs or image with digest, isolation, settings for speed."""

    def conninfo(self, dbname: str) -> str:
        """A libpq connection string of the superuser `postgres`. It may hold a password: never log it."""

    def failure(self, *, wait_s: float = 0) -> ServerError | None:
        """Why its server has ended by itself, or ends within `wait_s`; None: it has not."""

    def dump(self, dbname: str, options: Sequence[str]) -> AbstractContextManager[Iterator[bytes]]:
        """Run the sandbox's own pg_dump on `dbname`; the chunks of what it prints.

        :raises ProgramError: on leaving, when pg_dump did not exit with 0; it holds what pg_dump said.
        """
