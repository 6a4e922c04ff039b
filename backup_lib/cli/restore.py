"""`pgdrill restore`: into a server that exists. The plan comes first, and with --dry-run it is all."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backup_lib.cli.options import DEFAULT_PLACE, AsJson, Backups, Dsn, choose_dsn
from backup_lib.cli.talk import Progress, put, put_json, render_size, say
from backup_lib.errors import UsageError

if TYPE_CHECKING:
    from backup_lib.restore.plan import Plan
    from backup_lib.restore.run import Restored
    from backup_lib.restore.selection import What

_SHOWN = 20


def restore(
    archive: Annotated[str, typer.Argument(help="A name, a path, latest or latest:DATABASE.", metavar="ARCHIVE")],
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
        typer.Option("--table", metavar="NAME", help="Only this table with all that is its own; a glob; repeatable."),
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
    from backup_lib.restore.run import Request, carry_out, prepare

    if to_database and create_database:
        raise UsageError("--to-database and --create-database name two targets", hint="leave one of them out")
    request = Request(
        archive=find_archive(archive, backups),
        dsn=choose_dsn(dsn),
        manifest=manifest,
        what=_what(schema_only=schema_only, data_only=data_only),
        tables=tuple(tables or ()),
        database=create_database or to_database,
        create=create_database is not None,
        clean=clean,
        keep_owners=not no_owner,
        with_globals=with_globals,
        superusers=superusers,
        jobs=jobs or (os.cpu_count() or 1 if create_database else 1),
    )
    interrupt_on_sigterm()
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


def find_archive(request: str, backups: str | Path) -> Path:
    """The one archive that is meant, on this machine."""
    from backup_lib.catalog import resolve

    found = resolve([request], backups)
    if len(found) > 1:
        raise UsageError(f"{request} means {len(found)} archives", hint=f"name one of them, such as {found[0].name}")
    if found[0].path is None:
        raise UsageError(f"{found[0].name} does not lie on this machine", hint="copy it here first")
    return found[0].path


def interrupt_on_sigterm() -> None:
    """So that a restore that is ended in either way undoes what it began."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _what(*, schema_only: bool, data_only: bool) -> What:
    if schema_only and data_only:
        raise UsageError("--schema-only and --data-only leave nothing", hint="leave both out to restore all")
    return "schema" if schema_only else "data" if data_only else "full"


def put_plan(plan: Plan, *, to_stderr: bool = False) -> None:
    tell = say if to_stderr else put
    where = "a new database" if plan.creates_database else "the database"
    how = "in one transaction" if plan.in_one_transaction else f"by {plan.jobs} sessions"
    tell(f"{plan.archive} → {where} {plan.database}, {how}")
    tell(f"  server      PostgreSQL {plan.server_version}; the archive is from {plan.archive_version or '?'}")
    free = "" if plan.free_bytes is None else f"; the server's disk has {render_size(plan.free_bytes)} left"
    tell(f"  rows        {plan.rows:,} in {plan.tables} tables, {render_size(plan.size_bytes)} as text{free}")
    if plan.definitions:
        tell(f"  definitions {', '.join(f'{count} {kind.lower()}' for kind, count in plan.definitions.items())}")
    others = [(plan.sequence_values, "sequence values"), (plan.large_objects, "large objects")]
    if any(count for count, _ in others):
        tell(f"  and         {', '.join(f'{count} {what}' for count, what in others if count)}")
    _tell_list(tell, "goes first", plan.overwritten)
    _tell_list(tell, "roles made, without passwords", plan.roles_made)
    _tell_list(tell, "left out", plan.left_out)
    _tell_list(tell, "leans on what is there", plan.leans_on)
    for note in plan.notes:
        tell(f"  note: {note}")
    for obstacle in plan.obstacles:
        tell(f"  REFUSED: {obstacle.what}\n           {obstacle.hint}")
    sys.stdout.flush()


def _tell_list(tell: Any, title: str, items: tuple[str, ...]) -> None:
    if items:
        tell(f"  {title}:")
        for item in items[:_SHOWN]:
            tell(f"    {item}")
        if len(items) > _SHOWN:
            tell(f"    and {len(items) - _SHOWN} more, which --dry-run --json lists")


def describe_plan(plan: Plan) -> dict[str, Any]:
    facts = asdict(plan)
    facts.pop("places")  # of use to nobody else
    return facts


def _put_restored(restored: Restored, *, as_json: bool) -> None:
    plan = restored.plan
    for warning in restored.warnings:
        say(f"warning: {warning}")
    if as_json:
        facts = asdict(restored)
        put_json(facts | {"plan": describe_plan(plan), "seconds": round(restored.seconds, 3)})
        return
    put(
        f"restored into {plan.database} in {restored.seconds:.1f} s; counted again: {restored.rows_counted:,} rows in "
        f"{restored.tables_counted} tables, {restored.sequences_checked} sequences, all as in the archive"
    )
    for label in restored.put_back:
        put(f"  put aside meanwhile, and back in force: {label}")
    for left in plan.left_out:
        put(f"  NOT restored: {left}")
    if plan.roles_made:
        put(f"  these roles have no password yet: {', '.join(plan.roles_made)}")
