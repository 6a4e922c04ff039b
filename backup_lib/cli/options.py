"""Options that several commands have, spelled once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backup_lib.cli.talk import say

if TYPE_CHECKING:
    from backup_lib.encryption import Keys

DEFAULT_BACKUPS = Path("backups")
DEFAULT_PLACE = str(DEFAULT_BACKUPS)

AsJson = Annotated[bool, typer.Option("--json", help="Data on stdout as JSON.")]
Backups = Annotated[
    str,
    typer.Option(
        "--backups", metavar="PLACE", envvar="BACKUP_DIR", help="Where archives lie: a folder or s3://bucket/prefix."
    ),
]
Dsn = Annotated[
    str | None,
    typer.Option(
        "--dsn",
        metavar="DSN",
        help="The database; default DATABASE_URL, else POSTGRES_* or PG*. Leave the password to PGPASSWORD.",
        show_default=False,
    ),
]
Identities = Annotated[
    list[Path] | None,
    typer.Option(
        "--identity",
        metavar="FILE",
        help="Secret key of encrypted archives, as age-keygen writes it; repeatable. Default BACKUP_IDENTITY_FILE.",
        show_default=False,
    ),
]
Recipients = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        metavar="KEY",
        help="Encrypt for this public key, age1… or ssh-…; repeatable. Default BACKUP_RECIPIENTS, …_FILE.",
        show_default=False,
    ),
]
RecipientsFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--recipients-file",
        metavar="FILE",
        help="Encrypt for the public keys in it, one a line; repeatable.",
        show_default=False,
    ),
]


def choose_recipients(recipients: Sequence[str] | None, files: Sequence[Path] | None) -> list[str]:
    """Those that a command names; none: what the environment says counts.

    :raises UsageError: when a file cannot be read, or names none.
    """
    from backup_lib.encryption import recipients_of_file

    return [*(recipients or ()), *(named for file in files or () for named in recipients_of_file(file))]


def choose_keys(identities: Sequence[Path] | None) -> Keys:
    """What encrypted archives are opened with: these files, and what the environment names.

    :raises UsageError: when the environment's variables cannot be what they say.
    """
    from backup_lib.encryption import keys_from_environment

    return keys_from_environment(os.environ, identity_files=identities or ())


def read_compression(text: str) -> str:
    """`true` and `false` too, which the guide's BACKUP_COMPRESS may be."""
    from backup_lib.setting_types import parse_compression

    try:
        return parse_compression(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc


def choose_dsn(given: str | None) -> str:
    """The database that is meant.

    :raises UsageError: when none is named, or it cannot be read.
    """
    from psycopg.conninfo import conninfo_to_dict

    from backup_lib.dsn import dsn_from_environment, normalise_dsn
    from backup_lib.targets import KnownDsn

    if given is None:
        return dsn_from_environment(os.environ)
    dsn = normalise_dsn(given)
    if not isinstance(given, KnownDsn) and conninfo_to_dict(dsn).get("password"):
        say("warning: the password in --dsn can be read by everybody on this machine: set PGPASSWORD instead")
    return dsn
