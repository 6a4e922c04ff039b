"""The configuration for commands: read once, and lent to the variables that options and programs look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backup_lib.errors import UsageError
from backup_lib.variables import LENT

if TYPE_CHECKING:
    from backup_lib.configuration import Configuration

FILE_VARIABLE = "PGDRILL_CONFIG"
FILES = ("pgdrill.toml", ".env")
in_effect: Configuration | None = None  # what `configure` read last: that of the command that runs


def hoist_config(words: list[str]) -> list[str]:
    """`--config FILE` may stand after the command as well as before it."""
    before, after, rest = [], [], iter(words)
    for word in rest:
        if word == "--":
            after += [word, *rest]
        elif word == "--config":
            before += [word, *[value for value in [next(rest, None)] if value is not None]]
        elif word.startswith("--config="):
            before.append(word)
        else:
            after.append(word)
    return before + after


def configure(file: Path | None, *, apply: bool) -> Configuration | None:
    """Read the configuration, if there is any, and lend what it says to this process's environment.

    Options, libpq, pg_dump and the suite look there, so all of them find the same, in the same order: option,
    environment, `.env`, file, default.
    :param apply: False only notes which file is meant.
    :return: what was read, before it was lent.
    :raises UsageError: when the configuration has a mistake.
    """
    global in_effect  # the context that typer keeps its own in is its own affair
    in_effect = None
    if file is not None:
        if not file.is_file():
            raise UsageError(f"--config names {file}, which is no file", hint="pgdrill init writes a configuration")
        os.environ[FILE_VARIABLE] = str(file)
    named = os.environ.get(FILE_VARIABLE) or os.environ.get(f"{FILE_VARIABLE}_FILE")
    if apply and (named or any(Path(name).is_file() for name in FILES)):  # else nothing is imported for it
        configuration = load()
        os.environ.update(lent(configuration))
        in_effect = configuration
    return in_effect


def lent(configuration: Configuration) -> dict[str, str]:
    """The variables of `.env`, and those that the file's settings stand for, where the environment is silent."""
    told = {name: _as_text(value) for name, value in _variables(configuration) if _is_silent(configuration, name)}
    return configuration.variables.from_dotenv() | told | ({LENT: " ".join(told)} if told else {})


def _is_silent(configuration: Configuration, name: str) -> bool:
    """NAME and NAME_FILE are one variable."""
    variables = configuration.variables.merged()
    return not any(variables.get(one) for one in (name, f"{name}_FILE", name.removesuffix("_FILE")))


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _variables(configuration: Configuration) -> Iterator[tuple[str, object]]:
    """The settings that a variable sets too, where they are not at their defaults; secrets stay where they are."""
    from backup_lib.setting_types import Secret

    for part in fields(configuration.settings):
        section = getattr(configuration.settings, part.name)
        for field in fields(section) if is_dataclass(section) else ():
            value = getattr(section, field.name)
            if field.metadata["lends"] and value != field.default and not isinstance(value, Secret):
                yield field.metadata["lends"], value


def load() -> Configuration:
    """:raises UsageError: when it has a mistake."""
    from backup_lib.configuration import load_configuration

    return load_configuration(os.environ, Path.cwd())
