"""A group of commands whose modules are imported when they are run, not to list them: help must be quick."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from backup_lib.cli.talk import say


class Lazy(TyperCommand):
    """A command's name and its line of help; `load` gives the command itself."""

    def __init__(self, name: str, place: str, line: str) -> None:
        """:param place: `backup_lib.cli.backup:backup`, a function or a `typer.Typer` of further commands."""
        super().__init__(name=name, help=line)
        self._place = place

    def load(self) -> Any:
        module, _, attribute = self._place.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            found.rich_markup_mode = None  # plain help, like that of all commands
            return typer.main.get_group(found)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(self.name)(found)
        return typer.main.get_command(alone)


class LazyGroup(TyperGroup):
    """Give it `Lazy` commands by `add_command`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        chosen = self.commands.get(args[0]) if args else None
        if isinstance(chosen, Lazy):
            self.commands[args[0]] = chosen.load()
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # typer exits with 130, and says nothing
            say("error: interrupted before its end")
            raise
