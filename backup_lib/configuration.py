"""The configuration of a project: option before environment before `.env` before `pgdrill.toml` before default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from backup_lib.dotenv_file import Variables, read_variables
from backup_lib.errors import UsageError
from backup_lib.settings import Settings
from backup_lib.settings_reader import Problem, Reader, SettingsError, Told, dotted
from backup_lib.settings_text import Key, NotTomlError, line_of, parse_toml

FILE_NAME = "pgdrill.toml"
FILE_VARIABLE = "PGDRILL_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Settings, and where each came from."""

    settings: Settings
    variables: Variables
    path: Path | None = None  # None: there is no file
    lines: Mapping[Key, int] = field(default_factory=dict)
    origins: Mapping[Key, str] = field(default_factory=dict)

    def where(self, key: Key) -> str:
        """`pgdrill.toml:12`, of a key or what is nearest around it."""
        line = line_of(self.lines, key)
        return f"{self.path}:{line}" if line else str(self.path)

    def name_on_server(self, label: str) -> str:
        """What archives call the database: its `dbname`, the name in its URL, or that of its section."""
        one = self.settings.databases[label]
        if one.dbname or one.url is None:
            return one.dbname or label
        from psycopg.conninfo import conninfo_to_dict

        from backup_lib.dsn import normalise_dsn

        try:
            dsn = normalise_dsn(one.url.read(self.variables.merged()))
        except UsageError:  # whoever drills need not be able to back up
            return label
        return str(conninfo_to_dict(dsn).get("dbname") or label)

    def label_of(self, name: str | None) -> str | None:
        """The section of the database that archives call so; None where no section is of it."""
        labels = self.settings.databases
        return next((label for label in labels if name is not None and name == self.name_on_server(label)), None)


def load_configuration(env: Mapping[str, str], folder: Path, *, file: Path | None = None) -> Configuration:
    """Read all there is.

    :param folder: where `.env` and `pgdrill.toml` are looked for, and no further.
    :param file: what `--config` names; goes before `PGDRILL_CONFIG`.
    :raises UsageError: when a file that is named does not exist or cannot be read.
    :raises SettingsError: when something in it is wrong; it holds all that is.
    """
    variables = read_variables(env, folder)
    path = _find(variables, folder, file)
    raw, lines = _read(path) if path else ({}, {})
    reader = Reader(
        file=str(path or FILE_NAME),
        folder=path.parent if path and path.parent.absolute() != folder.absolute() else Path(),
        lines=lines,
        variable=lambda name: Told(*told) if (told := variables.read(name)) else None,
        problems=[],
        origins={},
    )
    settings = reader.section(Settings, raw)
    if settings is None:
        raise SettingsError(reader.problems)
    configuration = Configuration(
        settings=settings, variables=variables, path=path, lines=lines, origins=reader.origins
    )
    if problems := list(_contradictions(configuration)):
        raise SettingsError(problems)
    return configuration


def demand_known_checks(configuration: Configuration, known: Iterable[str]) -> None:
    """That each suppression names a check that there is: one that is misspelt would suppress nothing, unseen.

    :raises SettingsError: otherwise.
    """
    names = [*known, *(f"sql:{check.name}" for check in configuration.settings.checks)]
    problems = [
        _unknown(configuration, ("suppressions", place, "check"), one.check, names)
        for place, one in enumerate(configuration.settings.suppressions)
        if one.check not in names
    ]
    if problems:
        raise SettingsError(problems)


def _find(variables: Variables, folder: Path, file: Path | None) -> Path | None:
    named, by = file, "--config"
    if named is None and (told := variables.read(FILE_VARIABLE)):
        named, by = Path(told[0]), told[1]
    if named is None:
        path = folder / FILE_NAME
        return _short(path) if path.is_file() else None
    if not named.is_file():
        raise UsageError(f"{by} names {named}, which is no file", hint="pgdrill init writes a configuration")
    return named


def _short(path: Path) -> Path:
    """As a person in that folder names it."""
    return Path(path.name) if path.parent.absolute() == Path.cwd() else path


def _read(path: Path) -> tuple[dict[str, Any], Mapping[Key, int]]:
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except NotTomlError as exc:
        problem = Problem(where=f"{path}:{exc.line}", key="", message=f"this is not TOML: {exc.message}")
        raise SettingsError([problem]) from None
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path} is not UTF-8", hint="save it as UTF-8") from exc
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}", hint="give it to the user this runs as") from exc


def _contradictions(configuration: Configuration) -> Iterator[Problem]:
    """What no section sees by itself."""
    settings = configuration.settings
    labels: dict[str, str] = {}
    for label in settings.databases:
        name = configuration.name_on_server(label)
        if name in labels:
            yield Problem(
                where=configuration.where(("databases", label)),
                key=f"databases.{label}",
                message=f" and databases.{labels[name]} are both called {name} on their servers: "
                "their archives could not be told apart; keep a configuration for each",
            )
        labels[name] = label
    named = {("checks", place): one.database for place, one in enumerate(settings.checks)}
    named |= {("suppressions", place): one.database for place, one in enumerate(settings.suppressions)}
    for key, database in named.items():
        if database is not None and database not in settings.databases:
            yield _unknown(configuration, (*key, "database"), database, settings.databases)


def _unknown(configuration: Configuration, key: Key, value: str, allowed: Iterable[str]) -> Problem:
    names = tuple(allowed)
    return Problem(
        where=configuration.where(key),
        key=dotted(key),
        message=f' is "{value}"',
        allowed=names,
        nearest=next(iter(get_close_matches(value, names, n=1)), None),
    )
