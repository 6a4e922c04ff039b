"""Tells people of scheduled tasks: one message for all commands of one, also when a command died without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backup_lib.cli.announced import HANDED_ON, INTERRUPTED_STATUS

if TYPE_CHECKING:
    from backup_lib.configuration import Configuration
    from backup_lib.notify.announcing import Announcement


class Teller:
    """The scheduler's listener. Commands hand on to it what they have to say."""

    def __init__(self, configuration: Configuration, say: Callable[[str], object]) -> None:
        self._configuration, self._say = configuration, say
        self._announcement: Announcement | None = None
        self._notice: Path | None = None

    def begin(self, task: str, late: str | None) -> None:
        try:
            from backup_lib.notify.announcing import Announcement

            self._announcement = Announcement(self._configuration, task, "", say=self._say)
            if late:
                self._announcement.is_late = True
                self._announcement.lines.append(late)
            self._announcement.start()
        except Exception as exc:  # noqa: BLE001 - to tell of a run is never worth the run
            self._fail(exc)

    def end(self, status: int, why: str | None = None) -> None:
        announcement, self._announcement = self._announcement, None
        if announcement is None or status == INTERRUPTED_STATUS:  # it was told to stop; the next loop makes up for it
            return
        if why:
            announcement.lines.append(f"error of the schedule: {why}")
        try:
            announcement.end(status)
        except Exception as exc:  # noqa: BLE001 - the loop goes on
            self._fail(exc)

    @contextmanager
    def listening(self) -> Iterator[dict[str, str]]:
        """The variables for a command that hands on."""
        from backup_lib.run_folder import private_run_folder

        with private_run_folder() as folder:
            self._notice = folder / "notice.json"
            yield {HANDED_ON: str(self._notice)}

    def ended(self, command: tuple[str, ...], status: int) -> None:
        """A command ended: take what it handed on."""
        from backup_lib.notify.announcing import read_handed_on

        if self._announcement is None or self._notice is None:
            return
        told = read_handed_on(self._notice)
        if told is not None:
            self._announcement.lines += told.lines
        elif status < 0:
            self._announcement.lines.append(f"pgdrill {command[0]} was killed by signal {-status}")
        else:
            self._announcement.lines.append(f"pgdrill {command[0]} ended with exit status {status} and without a word")

    def _fail(self, exc: Exception) -> None:
        self._say(f"error: people were NOT told of a run ({type(exc).__name__}): pgdrill notify test")
