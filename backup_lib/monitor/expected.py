"""Which databases and kinds ought to have archives, where, and how old the newest may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from backup_lib.configuration import Configuration
from backup_lib.errors import UsageError
from backup_lib.monitor.archives import Group
from backup_lib.monitor.problem import command
from backup_lib.scheduler import crons_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One database and kind that is backed up."""

    places: tuple[str, ...]
    backup: str  # the command that makes one
    rpo_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How old the newest archive may be, and the newest verified one; None: not judged."""

    age_s: float
    verified_age_s: float | None


def expected_groups(configuration: Configuration, place: str | None) -> dict[Group, Expected]:
    """Those of the configuration; where it names no database, full archives of the one that the environment names.

    And configuration files, when they are scheduled.

    :param place: goes before the places that are configured.
    """
    settings = configuration.settings
    moved = configuration.origins.get(("backup", "dir"), "").startswith(("environment", ".env"))
    found: dict[Group, Expected] = {}
    for label, one in settings.databases.items():
        called = _name(configuration, label)
        for kind in one.kinds:
            places = one.to if one.to and not moved and place is None else (place or settings.backup.dir,)
            backup = command("backup", "--database", label, "--kind", kind)
            rpo_s = settings.verify.rpo_s if one.rpo_s is None else one.rpo_s
            found[called, kind] = Expected(places=places, backup=backup, rpo_s=rpo_s)
    if not settings.databases and (name := _named_by_environment(configuration)):
        found[name, "full"] = _by_default(configuration, place)
    if settings.schedule.config:
        where = (place or settings.backup.dir,)
        found[settings.files.name, "config"] = Expected(places=where, backup="pgdrill backup --kind config")
    return found


def expected_by_what_is_there(
    configuration: Configuration, groups: Iterable[Group], place: str | None
) -> dict[Group, Expected]:
    """Where neither configuration nor environment names a database: a full archive of each of which there is any."""
    databases = {database for database, kind in groups if kind != "config"}
    return {(database, "full"): _by_default(configuration, place) for database in databases}


def _by_default(configuration: Configuration, place: str | None) -> Expected:
    settings = configuration.settings
    return Expected(places=(place or settings.backup.dir,), backup="pgdrill backup", rpo_s=settings.verify.rpo_s)


def places_of(configuration: Configuration, expected: Mapping[Group, Expected], place: str | None) -> list[str]:
    """All that are looked at, each once."""
    named = [] if place is not None or expected else [configuration.settings.backup.dir]
    named += [place] if place is not None else [where for one in expected.values() for where in one.places]
    return list(dict.fromkeys(named))


def limits(configuration: Configuration, kind: str, rpo_s: float | None, now: datetime) -> Limits:
    """From the settings, else the longest time between two runs of the schedule; an RPO bounds the first.

    Configuration files have a time of their own, and no settings: these are of databases.
    """
    settings = configuration.settings.status
    gaps = {
        name: cron.longest_gap(now).total_seconds() for name, cron in crons_of(configuration.settings.schedule).items()
    }
    if kind == "config":
        scheduled_s = gaps.get("config", gaps["backup"]) + settings.grace_s
        return Limits(age_s=scheduled_s, verified_age_s=gaps["drill"] + scheduled_s if "drill" in gaps else None)
    scheduled_s = settings.max_age_s or gaps["backup"] + settings.grace_s
    verified_s = settings.max_verified_age_s or (gaps["drill"] + scheduled_s if "drill" in gaps else None)
    return Limits(age_s=min(scheduled_s, rpo_s or scheduled_s), verified_age_s=verified_s)


def _name(configuration: Configuration, label: str) -> str:
    only = len(configuration.settings.databases) == 1
    if only and configuration.variables.read("DATABASE_URL"):  # it goes before what is configured
        return _named_by_environment(configuration) or label
    return configuration.name_on_server(label)


def _named_by_environment(configuration: Configuration) -> str | None:
    from psycopg.conninfo import conninfo_to_dict

    from backup_lib.dsn import dsn_from_environment

    try:
        return str(conninfo_to_dict(dsn_from_environment(configuration.variables.merged())).get("dbname") or "") or None
    except UsageError:
        return None
