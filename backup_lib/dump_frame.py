"""What frames a dump: the header that says it is one, the trailer that says it is whole."""

from __future__ import annotations

import re
from typing import Literal

from backup_lib.errors import DamagedArchiveError

HEAD_BYTES = 64 << 10  # in which the header must stand

_HEADER = re.compile(rb"^-- PostgreSQL database (?:cluster )?dump[ \t]*$", re.MULTILINE)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def has_header(start: bytes) -> bool:
    """Does a header stand in it, or none where one must?"""
    return len(start) >= HEAD_BYTES or _HEADER.search(start) is not None


def skip_to_text(start: bytes) -> int:
    """Where the text begins in the start of a file: behind a byte order mark, which psql passes over too.

    :raises DamagedArchiveError: when the text is not pg_dump's at all; the message holds nothing of it.
    """
    head = start[:HEAD_BYTES]
    if not _HEADER.search(head):
        raise DamagedArchiveError(
            f"not a dump by pg_dump: {_kind_of(head)}",
            hint="name a file written by pg_dump or pg_dumpall; if this is one, it is damaged: use another archive",
        )
    return len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0


class Sections:
    """Which headers were closed by their trailer, and whether anything stands where nothing may."""

    def __init__(self) -> None:
        self.scope: Literal["database", "cluster"] = "database"
        self._open: list[bool] = []  # is it a cluster's; at most a database in a cluster
        self._ended = False
        self._sound = True

    @property
    def complete(self) -> bool:
        return self._ended and self._sound

    def content(self) -> None:
        """Something that is no comment stands here."""
        if self._ended:
            self._sound = False

    def mark(self, *, cluster: bool, end: bool) -> None:
        """A header or trailer stands here."""
        if end:
            self._sound &= bool(self._open) and self._open.pop() is cluster
            self._ended = self._ended or not self._open
            return
        # A database inside a database: two dumps in one file, the first of them cut short.
        self._sound &= not self._ended and self._open == ([] if cluster or self.scope == "database" else [True])
        if cluster:
            self.scope = "cluster"
        self._open.append(cluster)


def _kind_of(head: bytes) -> str:
    """What text is that is no dump; in general terms, since it may be anybody's."""
    start = head[:512].lstrip().lower()
    if not start:
        return "empty"
    if head.startswith(b"PGDMP"):
        return "an archive in pg_dump's custom format"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "HTML"
    if b"-- postgresql database dump\r\n" in start:
        return "one whose line ends were changed to CR LF, in its rows too"
    if b"\0" in head or sum(byte < 9 or 13 < byte < 32 for byte in head[:512]) > 8:
        return "binary"
    return "text"
