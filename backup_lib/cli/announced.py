"""Commands that people are told of: a decorator, and the lines that go into the message."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from backup_lib.cli import configured
from backup_lib.cli.talk import say
from backup_lib.errors import BackupError

if TYPE_CHECKING:
    from backup_lib.configuration import Configuration
    from backup_lib.notify.announcing import Announcement

BUG_STATUS, INTERRUPTED_STATUS = 70, 130
HANDED_ON = "PGDRILL_NOTICE"  # names a file for what is to be told: whoever started this run tells people himself
_VARIABLES = "NOTIFY_"
_running: list[Announcement] = []  # one at most: what runs within another is a part of it


def note(*lines: str) -> None:
    """Put these into the message, if there will be one: verdicts, findings, what to do next. No values of rows."""
    for announcement in _running:
        announcement.lines += lines


_Parameters = Mapping[str, Any]


def announced(command: str | Callable[[_Parameters], str], subject: Callable[[_Parameters], str]) -> Callable[..., Any]:
    """Tell people how the command ended, if anybody is to be told. A dry run is nobody's business.

    :param command: what it is called; or that from its parameters.
    :param subject: from the command's parameters to what it is about.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **parameters: Any) -> None:
            if _running or parameters.get("dry_run"):
                function(*args, **parameters)
                return
            name = command if isinstance(command, str) else command(parameters)
            announcement = _begin(name, subject, parameters)
            if announcement is None:
                function(*args, **parameters)
                return
            _running.append(announcement)
            status = BUG_STATUS
            try:
                function(*args, **parameters)
                status = 0
            except typer.Exit as exc:
                status = exc.exit_code
                raise
            except BackupError as exc:
                status = exc.exit_status
                announcement.lines += [f"error: {exc.message}", *([f"next: {exc.hint}"] if exc.hint else [])]
                raise
            except (KeyboardInterrupt, typer.Abort):
                status = INTERRUPTED_STATUS
                announcement.lines.append("it was stopped before its end")
                raise
            except OSError as exc:
                status = BackupError.exit_status
                announcement.lines.append(f"error: {exc.strerror or type(exc).__name__}")
                raise
            except Exception as exc:
                announcement.lines.append(f"this is a bug in pgdrill ({type(exc).__name__})")
                raise
            finally:
                _running.clear()
                _end(announcement, status)

        return run

    return decorate


def _begin(command: str, subject: Callable[[_Parameters], str], parameters: _Parameters) -> Announcement | None:
    configuration = find_configuration()
    handed_on = os.environ.get(HANDED_ON)
    if configuration is None and not handed_on:
        return None
    try:
        from backup_lib.notify.announcing import Announcement

        announcement = Announcement(configuration, command, subject(parameters), say=say)
        if not handed_on:
            announcement.start()
    except Exception as exc:  # noqa: BLE001 - to tell of a run is never worth the run
        say(f"error: people will NOT be told how this ends ({type(exc).__name__}): pgdrill notify test")
        return None
    return announcement


def _end(announcement: Announcement, status: int) -> None:
    try:
        if path := os.environ.get(HANDED_ON):
            announcement.hand_on(Path(path))
        else:
            announcement.end(status)
    except KeyboardInterrupt:
        say("error: stopped while people were told: perhaps they were NOT")
    except Exception as exc:  # noqa: BLE001 - the exit status is the run's
        say(f"error: people were NOT told how this ended ({type(exc).__name__}): pgdrill notify test")


def find_configuration() -> Configuration | None:
    """The configuration, unless nothing of it can say whom to tell."""
    if configured.in_effect is None and any(name.startswith(_VARIABLES) for name in os.environ):
        return configured.load()
    return configured.in_effect
