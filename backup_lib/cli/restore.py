"""`pgdrill restore`: into a server that exists. The plan comes first, and with --dry-run it is all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backup_lib.cli.emergency import MODES, Mode, run_emergency
from backup_lib.cli.options import DEFAULT_PLACE, AsJson, Backups, Dsn, Identities, choose_dsn, choose_keys
from backup_lib.cli.restore_plan import describe_plan, put_plan
from backup_lib.cli.talk import Progress, put, put_json, say
from backup_lib.errors import NoSuchArchiveError, UsageError
from backup_lib.quantity import number_of, quantity

if TYPE_CHECKING:
    from backup_lib.catalog import Found
    from backup_lib.restore.prepare import Request
    from backup_lib.restore.run import Restored
    from backup_lib.restore.selection import What


def restore(
    archive: Annotated[
        str | None,
        typer.Argument(metavar="ARCHIVE", help="A name, a path, latest or latest:DATABASE:KIND.", show_default=False),
    ] = None,
    *,
    to_database: Annotated[
        str | None, typer.Option("--to-database", metavar="NAME", help="Into this one; default the DSN's.")
    ] = None,
    create_database: Annotated[
        str | None,
        typer.Option("--create-database", metavar="NAME", help="Into a new one, which is dropped if anything fails."),
    ] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", "-t", metavar="NAME", help="Only this table, all that is its own; a glob; repeatable."),
    ] = None,
    schema_only: Annotated[bool, typer.Option("--schema-only", help="Definitions, no rows.")] = False,
    data_only: Annotated[bool, typer.Option("--data-only", help="Rows and sequence values, no definitions.")] = False,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="What is there goes first: everything, those tables, or their rows."),
    ] = False,
    no_owner: Annotated[
        bool, typer.Option("--no-owner", help="All belongs to you; grants to roles that are not here are left out.")
    ] = False,
    with_globals: Annotated[
        bool, typer.Option("--globals", help="Make the roles that are missing, from the manifest; without passwords.")
    ] = False,
    superusers: Annotated[
        bool, typer.Option("--superusers", help="With --globals: what was a superuser becomes one.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Sessions that load; default one, for a new database one a processor."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Of an archive that has none beside it."),
    ] = None,
    emergency: Annotated[
        bool,
        typer.Option(
            "--emergency", help="Beside the live database; verify, swap names, start; back if it is not well."
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the emergency restore.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Give the old database its name back.")] = False,
    stop_command: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", envvar="PGDRILL_STOP_COMMAND", help="Stops the application, before the swap."),
    ] = None,
    start_command: Annotated[
        str | None, typer.Option(metavar="COMMAND", envvar="PGDRILL_START_COMMAND", help="Starts it again.")
    ] = None,
    health_command: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", envvar="PGDRILL_HEALTH_COMMAND", help="Exits 0 when the application is well."),
    ] = None,
    health_url: Annotated[
        str | None,
        typer.Option(metavar="URL", envvar="PGDRILL_HEALTH_URL", help="Answers 200 when the application is well."),
    ] = None,
    health_timeout: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long it may take until it is.")
    ] = 60,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="How far it has come; default reports/pgdrill-emergency-DATABASE.json.",
            show_default=False,
        ),
    ] = None,
    identities: Identities = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and touch nothing.")] = False,
    dsn: Dsn = None,
    backups: Backups = DEFAULT_PLACE,
    as_json: AsJson = False,
) -> None:
    """Restore an archive into a server that exists.

    An existing database is restored into in one transaction: all of it, or nothing. It must be empty of what is
    restored, or --clean given. Exits 3 if the restore was refused or did not come to its end; the last line says how
    the target is then.
    """
    from backup_lib.emergency.run import Commands
    from backup_lib.restore.prepare import Request

    if to_database and create_database:
        raise UsageError("--to-database and --create-database name two targets", hint="leave one of them out")
    target = choose_dsn(dsn)
    keys = choose_keys(identities)

    def build_request(path: Path) -> Request:
        return Request(
            archive=path,
            dsn=target,
            manifest=manifest,
            what=_what(schema_only=schema_only, data_only=data_only),
            tables=tuple(tables or ()),
            database=create_database or to_database,
            create=create_database is not None,
            clean=clean,
            keep_owners=not no_owner,
            with_globals=with_globals,
            superusers=superusers,
            keys=keys,
            jobs=jobs or (os.cpu_count() or 1 if create_database or emergency or resume else 1),
        )

    modes: list[Mode] = [mode for mode, asked in zip(MODES, (emergency, resume, rollback), strict=True) if asked]
    if not modes:
        with located(archive or _missing(), backups, of=(create_database, to_database, _named(target))) as (_, path):
            _restore(build_request(path), dry_run=dry_run, as_json=as_json)
        return
    if no_owner:
        raise UsageError(
            "an emergency restore keeps owners and grants", hint="roles that are missing: --globals makes them"
        )
    if len(modes) > 1 or create_database or tables or clean or schema_only or data_only:
        raise UsageError(
            "an emergency restore is of a whole archive, into a database of its own",
            hint="leave selection, --clean and --create-database out; one of --emergency, --resume, --rollback",
        )
    commands = Commands(
        stop=stop_command,
        start=start_command,
        health=health_command,
        health_url=_web(health_url),
        health_s=health_timeout,
    )
    run_emergency(
        modes[0],
        lambda again: located(again or archive or _missing(), backups, of=(to_database, _named(target)), whole=True),
        build_request,
        commands,
        dsn=target,
        live=to_database or database_of(target),
        state_file=state,
        yes=yes,
        dry_run=dry_run,
        as_json=as_json,
    )


def _restore(request: Request, *, dry_run: bool, as_json: bool) -> None:
    from backup_lib.restore.prepare import prepare
    from backup_lib.restore.run import carry_out

    progress = Progress("read")
    try:
        prepared = prepare(request, progress=progress)
    finally:
        progress.done()
    put_plan(prepared.plan, to_stderr=as_json)
    if dry_run:
        if as_json:
            put_json({"plan": describe_plan(prepared.plan)})
        raise typer.Exit(3 if prepared.plan.obstacles else 0)
    progress = Progress("restored", total_bytes=prepared.outline.inventory.size_bytes)
    try:
        restored = carry_out(prepared, progress=progress)
    finally:
        progress.done()
    _put_restored(restored, as_json=as_json)


def _missing() -> str:
    raise UsageError("no archive is named", hint="pgdrill list shows what there is; latest is the newest")


def _web(url: str | None) -> str | None:
    if url and not url.startswith(("http://", "https://")):
        raise UsageError("--health-url is no http:// or https:// address", hint="a program: --health-command")
    return url


def database_of(dsn: str) -> str:
    """The live database.

    :raises UsageError: when the connection string names none.
    """
    name = _named(dsn)
    if not name:
        raise UsageError("the connection string names no database", hint="--to-database NAME is the live one")
    return name


def _named(dsn: str) -> str | None:
    from psycopg.conninfo import conninfo_to_dict

    name = conninfo_to_dict(dsn).get("dbname")
    return str(name) if name else None


@contextmanager
def located(
    request: str, backups: str | Path, *, of: Sequence[str | None], whole: bool = False
) -> Iterator[tuple[str, Path]]:
    """What finds the one archive again that is meant, and its path here: one in a bucket is brought first.

    :param of: what it is restored into. `latest` is of the first of these databases that has archives.
    :param whole: it takes a database's place, so that `latest` means none of a part.
    """
    from backup_lib.catalog import WHOLE, remark_on
    from verification.fetching import fetch, place_here

    (found, *others) = _meant(request, backups, of)
    if remark := remark_on(request, found):
        if whole and found.kind not in WHOLE:
            raise NoSuchArchiveError(
                remark, hint=f"if that is to take the whole database's place, name it: {found.name}"
            )
        say(f"note: {remark}")
    if others:
        raise UsageError(f"{request} means {len(others) + 1} archives", hint=f"name one of them, such as {found.name}")
    if found.kind == "config":
        raise UsageError(
            f"{found.name} holds configuration files, which go into no server",
            hint=f"unpack them: tar -xpf {found.address} -C FOLDER (an encrypted one through age --decrypt)",
        )
    with place_here(found) as path:
        fetch(found, path)
        if found.path is None and found.has_manifest:
            path.with_name(found.manifest_name).write_bytes(b"".join(found.store.open_read(found.manifest_name)))
        yield (str(path.absolute()) if found.path else found.name), path


def _meant(request: str, backups: str | Path, of: Sequence[str | None]) -> list[Found]:
    from backup_lib.catalog import resolve

    for database in filter(None, of if request == "latest" else ()):
        with suppress(NoSuchArchiveError):
            found = resolve([f"latest:{database}"], backups)
            if found[0].kind != "config":  # files that are called as the database is
                return found
    return resolve([request], backups)


def _what(*, schema_only: bool, data_only: bool) -> What:
    if schema_only and data_only:
        raise UsageError("--schema-only and --data-only leave nothing", hint="leave both out to restore all")
    return "schema" if schema_only else "data" if data_only else "full"


def _put_restored(restored: Restored, *, as_json: bool) -> None:
    from backup_lib.restore.plan import some

    plan = restored.plan
    for warning in restored.warnings:
        say(f"warning: {warning}")
    if as_json:
        facts = asdict(restored)
        put_json(facts | {"plan": describe_plan(plan), "seconds": round(restored.seconds, 3)})
        return
    put(
        f"restored into {plan.database} in {restored.seconds:.1f} s; counted again: "
        f"{quantity(restored.rows_counted, 'row')} in {number_of(restored.tables_counted, 'table')}, "
        f"{number_of(restored.sequences_checked, 'sequence')}, all as in the archive"
    )
    if restored.put_back:
        put(f"  put aside meanwhile, and back in force: {some(restored.put_back)}")
    for left in plan.left_out:
        put(f"  NOT restored: {left}")
    if plan.roles_made:
        put(f"  these roles have no password yet: {', '.join(plan.roles_made)}")
