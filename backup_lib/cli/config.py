"""`pgdrill init` and `pgdrill config …`: write a configuration, check it, show what counts and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from backup_lib.cli.options import AsJson
from backup_lib.cli.talk import put, put_json, render_columns, say
from backup_lib.errors import UsageError

if TYPE_CHECKING:
    from backup_lib.configuration import Configuration

MASK = "***"

app = typer.Typer(no_args_is_help=True, help="Check the configuration, and show what counts.")


@app.callback()
def config() -> None:
    """Check the configuration, and show what counts."""


@app.command("check")
def check(*, as_json: AsJson = False) -> None:
    """Name all that is wrong with the configuration: file, line, key, what may stand there. Exits 2 on a mistake."""
    from backup_lib.settings_reader import SettingsError

    try:
        configuration = _load()
    except SettingsError as exc:
        if not as_json:
            raise
        put_json({"file": None, "problems": [_describe(problem) for problem in exc.problems]})
        raise typer.Exit(exc.exit_status) from exc
    remarks = list(_remarks(configuration))
    if as_json:
        put_json({"file": configuration.path, "problems": [], "remarks": remarks})
        return
    for remark in remarks:
        say(f"warning: {remark}")
    put(_summary(configuration))


def _load() -> Configuration:
    """With all that only a drill would see otherwise."""
    from backup_lib.cli.configured import load
    from verification.planning import check_configuration

    configuration = load()
    check_configuration(configuration)
    return configuration


def _describe(problem: Any) -> dict[str, Any]:
    return {
        "where": problem.where,
        "key": problem.key,
        "message": str(problem).removeprefix(f"{problem.where}: "),
        "allowed": list(problem.allowed),
        "nearest": problem.nearest,
    }


def _summary(configuration: Configuration) -> str:
    settings = configuration.settings
    if configuration.path is None:
        return "there is no pgdrill.toml here: every setting is at its default, or from the environment"
    sizes = {
        "database": len(settings.databases),
        "check": len(settings.checks),
        "suppression": len(settings.suppressions),
    }
    counted = ", ".join(f"{size} {what}{'' if size == 1 else 's'}" for what, size in sizes.items())
    return f"{configuration.path}: no mistake; {counted}"


def _remarks(configuration: Configuration) -> Iterator[str]:
    """What is no mistake, and will still surprise somebody."""
    from dataclasses import fields

    from backup_lib.dsn import normalise_dsn
    from backup_lib.setting_types import Secret

    open_to_others = configuration.path and configuration.path.stat().st_mode & 0o077
    for name in (field.name for field in fields(configuration.settings.notify)) if open_to_others else ():
        value = getattr(configuration.settings.notify, name)
        in_file = not configuration.origins.get(("notify", name), "").startswith(("environment", ".env"))
        if isinstance(value, Secret) and value.kind == "value" and in_file:
            where = configuration.where(("notify", name))
            yield f"{where}: notify.{name} can be read by others: chmod 600, or {name}_env or {name}_file instead"
    for label, database in configuration.settings.databases.items():
        if database.url is None:
            continue
        where = configuration.where(("databases", label, "url"))
        try:
            normalise_dsn(database.url.read(configuration.variables.merged()))
        except UsageError as exc:
            yield f"{where}: databases.{label}: {exc.message}"
        if database.url.kind == "value" and open_to_others:
            yield f"{where}: databases.{label}.url can be read by others: chmod 600, or url_env or url_file instead"


@app.command("show")
def show(*, as_json: AsJson = False) -> None:
    """Show every setting, its value and where it is from; secrets are masked."""
    configuration = _load()
    rows = list(list_settings(configuration))
    if as_json:
        put_json({row.key: {"value": row.value, "from": row.origin} for row in rows})
        return
    put(render_columns(("setting", "value", "from"), [(row.key, _plain(row.value), row.origin) for row in rows]))


def _plain(value: object) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):  # the only ones are durations
        return f"{value:g} s"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    value: Any  # as JSON has it; None: not set
    origin: str


def list_settings(configuration: Configuration) -> Iterator[Row]:
    """Every setting in the order of the file's sections; a section given once for each is listed for each."""
    from backup_lib.settings_reader import dotted

    yield from _connection(configuration)
    for key, value in _walk(configuration.settings, ()):
        origin = configuration.origins.get(key, "default")
        yield Row(dotted(key), _shown(value), origin)


def _walk(part: Any, key: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    from dataclasses import fields, is_dataclass

    for field in fields(part):
        value, inner = getattr(part, field.name), (*key, field.metadata.get("key") or field.name)
        if is_dataclass(value) and not field.metadata:
            yield from _walk(value, inner)
        elif field.metadata:
            yield inner, value
        else:
            items = value.items() if hasattr(value, "items") else enumerate(value)
            for name, item in items:
                yield from _walk(item, (*inner, name))


def _shown(value: Any) -> Any:
    from datetime import date
    from decimal import Decimal

    from backup_lib.setting_types import Secret

    if isinstance(value, Secret):
        if value.kind == "value":
            return mask_dsn(value.text)
        return f"the {value.kind} {value.text}"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, date):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def mask_dsn(dsn: str) -> str:
    """The connection string without what nobody else may see; all of it where it cannot be read."""
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    from backup_lib.dsn import normalise_dsn

    try:
        parts = conninfo_to_dict(normalise_dsn(dsn))
    except UsageError:
        return MASK
    hidden = {name: MASK for name in parts if "password" in name or "secret" in name}
    return make_conninfo("", **{**parts, **hidden})


def _connection(configuration: Configuration) -> Iterator[Row]:
    """The guide's variables for the one database, which no section has."""
    variables = configuration.variables
    for name in ("DATABASE_URL", "POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB",
                 "PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSERVICE"):  # fmt: skip
        if (told := variables.read(name)) is not None:
            secret = MASK if name.endswith("PASSWORD") else told[0]
            yield Row(name, mask_dsn(told[0]) if name == "DATABASE_URL" else secret, told[1])
