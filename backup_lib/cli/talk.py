"""What commands print: data on stdout, talk on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TextIO

import typer

from backup_lib.errors import BackupError

_TERMINAL_S, _LOG_S = 0.2, 30.0
_BAR = 30  # characters
_log = logging.getLogger("backup_lib")


def be_verbose() -> None:
    logging.basicConfig(stream=sys.stderr, format="%(name)s: %(message)s")
    _log.setLevel(logging.DEBUG)


def is_verbose() -> bool:
    return _log.isEnabledFor(logging.DEBUG)


def say(text: str) -> None:
    try:
        typer.echo(_visible(text), err=True)
    except OSError:  # a log without room stops no backup: the exit status tells
        _give_up(sys.stderr)


def say_error(exc: BackupError) -> None:
    say(f"error: {exc}")


def put(text: str) -> None:
    _print(_visible(text))


def _print(text: str) -> None:
    try:
        typer.echo(text)
    except BrokenPipeError:  # `| head` has read enough
        raise
    except OSError as exc:
        _give_up(sys.stdout)
        raise BackupError(
            f"what is to be printed cannot be written: {exc.strerror}",
            hint="see that there is room where the output goes; what was to be done may be done: pgdrill status",
        ) from exc


def _give_up(stream: TextIO) -> None:
    """Else what it holds is tried again when the process ends, and makes another exit status of it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _visible(text: str) -> str:
    """Escape what a terminal would obey: names in somebody else's dump are somebody else's choice."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


_gathered: list[list[object]] = []


@contextmanager
def one_json() -> Iterator[None]:
    """What is put as JSON meanwhile becomes one list, in place of documents in a row that nothing can parse."""
    _gathered.append([])
    try:
        yield
    finally:
        put_json(_gathered.pop())


def put_json(value: object) -> None:
    if _gathered:
        _gathered[-1].append(value)
        return
    _print(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def render_columns(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Aligned text, never cut: it is read by people and by `grep` alike.

    :param right: which columns are flush right.
    """
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    fields = (f"{{:{'>' if column in right else '<'}{width}}}" for column, width in enumerate(widths))
    render = "  ".join(fields).format
    return "\n".join(render(*line).rstrip() for line in lines)


def render_size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def render_age(age: timedelta) -> str:
    """Such as `3 days ago`."""
    seconds = age.total_seconds()
    if seconds < 0:
        return "in the future"
    for unit, unit_s in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (count := int(seconds // unit_s)) > 0:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


class Progress:
    """Told how many bytes were read: one changing line on a terminal, elsewhere one line every 30 s.

    :param total_bytes: of all there is to read, where that is known; a bar shows how far it is.
    """

    def __init__(self, what: str, *, total_bytes: int | None = None) -> None:
        self._what = what
        self._total_bytes = total_bytes
        self._terminal = sys.stderr.isatty()
        self._interval_s = _TERMINAL_S if self._terminal else _LOG_S
        self._next_at = time.monotonic() + self._interval_s
        self._shown = False

    def __call__(self, size_bytes: int) -> None:
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + self._interval_s
        line = f"{self._what}: {render_size(size_bytes)}{self._share(size_bytes)}"
        if self._terminal:
            typer.echo(f"\r{line}\033[K", err=True, nl=False)
            self._shown = True
        else:
            say(line)

    def _share(self, size_bytes: int) -> str:
        if not self._total_bytes:
            return ""
        share = min(1.0, size_bytes / self._total_bytes)
        bar = f" [{'#' * int(share * _BAR):{_BAR}}]" if self._terminal else ""
        return f" of {render_size(self._total_bytes)}{bar} {share:.0%}"

    def done(self) -> None:
        """Take the changing line away."""
        if self._shown:
            typer.echo("\r\033[K", err=True, nl=False)
            self._shown = False
