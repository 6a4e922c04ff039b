"""Which backups are meant when no database is named: those that the configuration has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from psycopg.conninfo import make_conninfo

from backup_lib.configuration import Configuration
from backup_lib.dsn import dsn_from_environment, normalise_dsn
from backup_lib.errors import UsageError
from backup_lib.settings import Kind
from backup_lib.source import connect

_DATABASES = (
    'SELECT datname::text FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname COLLATE "C"'
)


class KnownDsn(str):
    """A connection string that stood in nobody's argv."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One backup to make."""

    label: str
    dsn: KnownDsn = field(repr=False)
    kind: Kind
    to: tuple[str, ...]  # empty: where archives go by default


def choose_targets(configuration: Configuration, names: Sequence[str], *, kind: Kind | None) -> list[Target]:
    """The backups of the databases named, by default of all that are configured; none where none is.

    A database's `url` goes before the environment, except where it is the only one: then `DATABASE_URL` counts.
    `BACKUP_DIR` of the environment goes before a database's own places.
    :param kind: said on the command line; goes before a database's own.
    :raises UsageError: when a name is not configured, or it is not said how to reach a database.
    """
    databases = configuration.settings.databases
    if unknown := [name for name in names if name not in databases]:
        near = get_close_matches(unknown[0], databases, n=1)
        there = (
            f"configured: {', '.join(databases)}" if databases else "[databases.NAME] in pgdrill.toml configures one"
        )
        raise UsageError(f"no database {unknown[0]} is configured", hint=f"did you mean {near[0]}?" if near else there)
    moved = configuration.origins.get(("backup", "dir"), "").startswith(("environment", ".env"))
    return [
        Target(label=label, dsn=_dsn(configuration, label), kind=one, to=() if moved else databases[label].to)
        for label in names or databases
        for one in ((kind,) if kind is not None else databases[label].kinds)
    ]


def targets_of_server(dsn: str, *, kind: Kind) -> list[Target]:
    """Every database of a server but its templates and those that take no connections, in the order of their names.

    :raises SourceError: when the server cannot be reached.
    """
    with connect(dsn) as conn:
        names = [name for (name,) in conn.execute(_DATABASES)]
    return [
        Target(label=name, dsn=KnownDsn(make_conninfo(normalise_dsn(dsn), dbname=name)), kind=kind, to=())
        for name in names
    ]


def _dsn(configuration: Configuration, label: str) -> KnownDsn:
    databases, env = configuration.settings.databases, configuration.variables.merged()
    url = databases[label].url
    only = len(databases) == 1
    if url is not None and not (only and configuration.variables.read("DATABASE_URL")):
        return KnownDsn(normalise_dsn(url.read(env)))
    if only:
        return KnownDsn(dsn_from_environment(env))
    raise UsageError(
        f"databases.{label} does not say how it is reached, and it is not the only one",
        hint=f"give it a url, url_env or url_file in {configuration.path}",
    )
