"""How one archive is drilled: what the command line says, else its database's settings, else the project's."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from backup_lib.catalog import Found
from backup_lib.configuration import Configuration, demand_known_checks
from backup_lib.encryption import NO_KEYS, Keys
from backup_lib.errors import BackupError
from backup_lib.manifest import parse_manifest
from backup_lib.settings import DatabaseSettings, SqlCheck, Suppression
from verification.checks import CHECKS
from verification.checks.definition import Level

OBJECTIVES = "objectives"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How an archive is drilled."""

    level: Level = "full"
    expect: tuple[str, ...] = ()
    sandbox: str = "auto"
    image: str | None = None
    jobs: int = 1
    manifest: Path | None = None  # for an archive whose manifest does not lie beside it
    rto_s: float | None = None
    rpo_s: float | None = None
    keys: Keys = NO_KEYS
    sql_checks: tuple[SqlCheck, ...] = ()  # their `database` is the name on the server
    check_timeout_s: float = 60.0
    suppressions: tuple[Suppression, ...] = ()
    not_proved: tuple[str, ...] = ()  # of what the configuration has, what this archive is not drilled for


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line says; None: nothing."""

    level: Level | None = None
    expect: tuple[str, ...] = ()
    sandbox: str | None = None
    image: str | None = None
    jobs: int | None = None
    manifest: Path | None = None
    rto_s: float | None = None
    rpo_s: float | None = None
    keys: Keys = NO_KEYS


def check_configuration(configuration: Configuration) -> None:
    """:raises SettingsError: when a suppression names a check that there is not."""
    demand_known_checks(configuration, [*(check.name for check in CHECKS), OBJECTIVES])


def plan_drill(configuration: Configuration, asked: Asked, found: Found) -> Plan:
    """The plan of one archive's drill; which database it is of, its manifest or its name says."""
    settings = configuration.settings
    database = database_of(found, asked.manifest)
    label = configuration.label_of(database)
    own = settings.databases[label] if label is not None else DatabaseSettings()
    general = settings.verify
    named = {one: configuration.name_on_server(one) for one in settings.databases}
    return Plan(
        level=asked.level or general.level,
        expect=asked.expect,
        sandbox=asked.sandbox or general.sandbox,
        image=asked.image or own.image or general.image,
        jobs=asked.jobs or general.jobs or os.cpu_count() or 1,
        manifest=asked.manifest,
        rto_s=_first(asked.rto_s, own.rto_s, general.rto_s),
        # Configuration files are backed up at their own times: the objective is of data.
        rpo_s=asked.rpo_s if found.kind == "config" else _first(asked.rpo_s, own.rpo_s, general.rpo_s),
        keys=asked.keys,
        sql_checks=tuple(
            replace(check, database=named.get(check.database or ""))
            for check in settings.checks
            # Of an archive that does not say its database, that it was not asked is on record.
            if database is None or check.database in (None, label)
        ),
        check_timeout_s=general.check_timeout_s,
        suppressions=tuple(one for one in settings.suppressions if one.database in (None, label)),
        not_proved=_not_proved(settings.databases, database, label),
    )


def database_of(found: Found, manifest: Path | None) -> str | None:
    """The database that the archive is of; None where nothing says it."""
    if manifest is None:
        return found.database
    try:
        return parse_manifest(manifest.read_bytes(), name=manifest.name).source.database
    except (OSError, BackupError):
        return found.database  # the drill says what is wrong with it


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _not_proved(labels: object, database: str | None, label: str | None) -> tuple[str, ...]:
    if not labels or label is not None:
        return ()
    unnamed = "the database of this archive, which it does not name"
    which = unnamed if database is None else f"the database {database}"
    return (
        f"Objectives, image and checks of its own: the configuration has no section for {which}; "
        "those of [verify] were used.",
    )
