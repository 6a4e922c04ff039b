"""One command, several databases: each as it is configured, and one that fails stops none of the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from backup_lib.cli.announced import note
from backup_lib.cli.configured import load
from backup_lib.cli.talk import one_json, put_json, say, say_error
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


def targets_of_server(dsn: str, kind: Kind) -> list[Target]:
    """A backup of every database of a server."""
    from backup_lib import targets

    return targets.targets_of_server(dsn, kind=kind)


def back_up_each(targets: Sequence[Target], backup: Callable[..., None], *, as_json: bool) -> None:
    """Run the command for each; exits with the worst status when one fails. With --json, several are one list."""
    if len(targets) > 1 and as_json:
        with one_json():
            _back_up_each(targets, backup, as_json=True)
    else:
        _back_up_each(targets, backup, as_json=as_json)


def _back_up_each(targets: Sequence[Target], backup: Callable[..., None], *, as_json: bool) -> None:
    failed = []
    for target in targets:
        try:
            backup(dsn=target.dsn, kind=target.kind, **({"to": list(target.to)} if target.to else {}))
        except BackupError as exc:
            if len(targets) == 1:
                raise
            say(f"database {target.label}, {target.kind}:")
            say_error(exc)
            if as_json:
                put_json(
                    {"database": target.label, "kind": target.kind, "error": exc.message, "hint": exc.hint or None}
                )
            note(f"{target.label}, {target.kind}: {exc.message}", *([f"next: {exc.hint}"] if exc.hint else []))
            failed.append(exc.exit_status)
        except typer.Exit as exc:  # one of its places did not get it, and that is said already
            failed.append(exc.exit_code)
    if failed:
        say(f"{len(failed)} of {len(targets)} backups failed")
        raise typer.Exit(max(failed))


def name_source(parameters: Mapping[str, Any]) -> str:
    """What `pgdrill backup` is about, for people: `shop`, or `shop, schema` where that is not all of it."""
    if parameters["kind"] == "config":
        return parameters["name"] or ""
    from psycopg.conninfo import conninfo_to_dict

    from backup_lib.dsn import dsn_from_environment, normalise_dsn

    dsn, context = parameters["dsn"], parameters["context"]
    if parameters["all_databases"]:
        return "all databases"
    names = list(parameters["databases"] or ())
    if not names and dsn is None and context.obj is not None:
        names = list(context.obj.settings.databases)
    if not names:
        try:
            found = dsn_from_environment(os.environ) if dsn is None else normalise_dsn(dsn)
        except BackupError:  # said by the command itself
            found = ""
        names = [str(conninfo_to_dict(found).get("dbname") or "")]
    kind = [] if parameters["kind"] == "full" else [parameters["kind"]]
    return ", ".join(filter(None, (*names, *kind)))


def _is_said(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
