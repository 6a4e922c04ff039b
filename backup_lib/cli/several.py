"""One command, several databases: each as it is configured, and one that fails stops none of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from backup_lib.cli.configured import load
from backup_lib.cli.talk import say, say_error
from backup_lib.errors import BackupError

if TYPE_CHECKING:
    from backup_lib.settings import Kind
    from backup_lib.targets import Target

_SELECTIONS = ("tables", "schemas", "exclude_tables")


def configured_targets(context: typer.Context, names: Sequence[str], kind: Kind) -> list[Target]:
    """The backups that the configuration means; none where there is no configuration.

    :param kind: counts only if it was said, or if a selection makes the configured kinds meaningless.
    """
    if context.obj is None and not names:
        return []
    from backup_lib.targets import choose_targets

    said = _is_said(context, "kind") or any(context.params.get(name) for name in _SELECTIONS)
    targets = choose_targets(context.obj or load(), names, kind=kind if said else None)
    return [replace(target, to=()) for target in targets] if _is_said(context, "to") else targets


def back_up_each(targets: Sequence[Target], backup: Callable[..., None]) -> None:
    """Run the command for each; exits with the worst status when one fails."""
    failed = []
    for target in targets:
        try:
            backup(dsn=target.dsn, kind=target.kind, **({"to": list(target.to)} if target.to else {}))
        except BackupError as exc:
            if len(targets) == 1:
                raise
            say(f"database {target.label}, {target.kind}:")
            say_error(exc)
            failed.append(exc.exit_status)
        except typer.Exit as exc:  # one of its places did not get it, and that is said already
            failed.append(exc.exit_code)
    if failed:
        say(f"{len(failed)} of {len(targets)} backups failed")
        raise typer.Exit(max(failed))


def _is_said(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
