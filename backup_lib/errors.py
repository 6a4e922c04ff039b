"""Errors raised on purpose: each says what failed, what to do next, and with which status the command exits."""

from __future__ import annotations

from typing import Literal

TAKE_ANOTHER = "it was altered after it was made, or copied badly: take another copy of it"


class BackupError(Exception):
    """Base of every error raised on purpose: what failed, and in `hint` what to do next.

    `exit_status` is what the command `pgdrill` exits with: 3, it could not be carried out.
    """

    exit_status = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)  # both in args, so the error survives pickling
        self.hint = hint

    @property
    def message(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return "\nhint: ".join(filter(None, self.args))


class UsageError(BackupError):
    """What was asked for cannot be meant: an unknown option value, a bad setting, a wrong combination."""

    exit_status = 2


class NoDatabaseError(UsageError):
    """No database is named, by any option, variable or file."""


class ProgramError(BackupError):
    """A program could not be started, exited with a failure, or ran out of time."""


class ServerError(BackupError):
    """No server programs of the wanted major, or a server that does not start or answer."""


class SourceError(BackupError):
    """The database to back up cannot be reached, or may not be read whole."""


Unreachable = Literal[
    "wrong-password", "no-role", "no-database", "may-not-connect", "not-let-in", "unknown-host", "unreachable",
    "starting", "busy", "pooler", "other",
]  # fmt: skip


class UnreachableError(SourceError):
    """No session with the database could be had; `cause` tells which of the usual reasons it is."""

    def __init__(self, message: str, hint: str = "", cause: Unreachable = "other") -> None:
        super().__init__(message, hint)
        self.cause: Unreachable = cause


class ConcernsError(SourceError):
    """The source holds what no archive would bring back, and `--strict` refuses it; nothing was dumped."""


class RestoreError(BackupError):
    """A restore was refused or did not come to its end; the message says in which state the target is."""


class InterruptedRestoreError(RestoreError):
    """Somebody ended a restore; the message says in which state the target is."""

    exit_status = 130


class HealthError(RestoreError):
    """After an emergency restore the application was not well, and the live database is what it was before."""

    exit_status = 1


class RestoredOtherwiseError(BackupError):
    """What is in the target after a restore is not what the archive holds."""

    exit_status = 1


class StoreError(BackupError):
    """A place where archives lie cannot be read or written."""


class MissingPlaceError(StoreError):
    """A folder that is not there: what looks for an archive in it looks for none."""


class DamagedArchiveError(BackupError):
    """The bytes of an archive are not what its format promises: cut short, altered, or not an archive at all.

    Verification turns it into a finding that blames the archive.
    """

    exit_status = 1


class DamagedManifestError(BackupError):
    """A manifest that is not JSON, not of a known schema version, or misses something."""

    exit_status = 1


class NoSuchArchiveError(BackupError):
    exit_status = 10


class LockedError(BackupError):
    exit_status = 11


class WrongKeyError(BackupError):
    exit_status = 12
