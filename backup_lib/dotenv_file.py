"""The environment, with the `.env` of the working folder under it, as Docker Compose reads one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from backup_lib.errors import UsageError
from backup_lib.variables import own_variables, read_variable

NAME = ".env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """What the process was given, and what `.env` adds where that says nothing."""

    process: Mapping[str, str]
    dotenv: Mapping[str, str]
    lines: Mapping[str, int]  # of the names in `.env`

    def merged(self) -> dict[str, str]:
        """One environment. A name here and its `_FILE` there are one variable, and the process's counts."""
        own = {name.removesuffix("_FILE") for name, value in self.process.items() if value}
        return {name: value for name, value in self.dotenv.items() if name.removesuffix("_FILE") not in own} | dict(
            self.process
        )

    def read(self, name: str) -> tuple[str, str] | None:
        """The value of `name` or of the file that `<name>_FILE` names, and where it comes from; empty is unset.

        :raises UsageError: when that file cannot be read.
        """
        merged = self.merged()
        if not (value := read_variable(merged, name)):
            return None
        told_by = name if merged.get(name) else f"{name}_FILE"
        if self.process.get(told_by):
            return value, f"environment {told_by}"
        return value, f"{NAME}:{self.lines[told_by]} {told_by}"

    def from_dotenv(self) -> dict[str, str]:
        """Those that the process does not have: libpq, which reads its own, does not see them."""
        return {name: value for name, value in self.merged().items() if not self.process.get(name)}


def read_variables(process: Mapping[str, str], folder: Path) -> Variables:
    """:raises UsageError: when there is a `.env` that cannot be read, or a line of it is no variable."""
    process, path = own_variables(process), folder / NAME
    if not path.is_file():
        return Variables(process=process, dotenv={}, lines={})
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(
            f"{path} cannot be read: {type(exc).__name__}", hint="give it to the user this runs as, or take it away"
        ) from exc
    lines: dict[str, int] = {}
    for binding in parse_stream(StringIO(text)):
        # A binding begins with the blank lines before it.
        begun = binding.original.string
        line = binding.original.line + begun[: len(begun) - len(begun.lstrip())].count("\n")
        if binding.error:  # not its text: it may be a password
            raise UsageError(f"{path}:{line} is no variable", hint="write NAME=value, and a comment after #")
        if binding.key:
            lines[binding.key] = line
    values = dotenv_values(stream=StringIO(text), interpolate=True)
    return Variables(process=process, dotenv={name: value for name, value in values.items() if value}, lines=lines)
