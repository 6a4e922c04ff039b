"""`pgdrill backup` and `pgdrill manifest`."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from backup_lib.cli.announced import announced, note
from backup_lib.cli.metrics import refresh_configured
from backup_lib.cli.options import (
    DEFAULT_PLACE,
    AsJson,
    Dsn,
    Identities,
    Recipients,
    RecipientsFiles,
    choose_dsn,
    choose_keys,
    choose_recipients,
    read_compression,
)
from backup_lib.cli.several import back_up_each, configured_targets, name_source, targets_of_server
from backup_lib.cli.talk import Progress, put, put_json, render_size, say
from backup_lib.errors import BackupError, UsageError
from backup_lib.quantity import number_of, quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backup_lib.backup import BackupOptions, BackupResult
    from backup_lib.manifest import Concern, Manifest
    from backup_lib.replicas import Replica
    from backup_lib.store import Store

_Names = list[str] | None
IndependentContent = Annotated[
    bool | None,
    typer.Option(
        "--independent-content/--no-independent-content",
        help="Let the server sum up all rows beside pg_dump, so that an altered value is found; default up to 2 GiB.",
        show_default=False,
    ),
]


# A check that is pinged by backups of databases must not be satisfied by one of files.
@announced(lambda given: "config" if given["kind"] == "config" else "backup", name_source)
def backup(
    *,
    context: typer.Context,
    databases: Annotated[
        _Names,
        typer.Option("--database", metavar="NAME", help="One that is configured; repeatable. Default all of them."),
    ] = None,
    all_databases: Annotated[
        bool, typer.Option("--all-databases", help="Every database of the server, an archive each; not the templates.")
    ] = False,
    kind: Annotated[
        Literal["full", "schema", "data", "config"],
        typer.Option(help="All, definitions only, rows only, or configuration files (--path)."),
    ] = "full",
    paths: Annotated[
        _Names,
        typer.Option(
            "--path", metavar="PATH", help="With --kind config: a file, folder or glob; repeatable. Default [files]."
        ),
    ] = None,
    exclude_paths: Annotated[
        _Names, typer.Option("--exclude-path", metavar="GLOB", help="Without these paths; repeatable.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="With --kind config: what its archives are called; default files."),
    ] = None,
    tables: Annotated[
        _Names, typer.Option("--table", "-t", metavar="NAME", help="Only this table, a name or glob; repeatable.")
    ] = None,
    schemas: Annotated[
        _Names, typer.Option("--schema", metavar="NAME", help="Only this schema, a name or glob; repeatable.")
    ] = None,
    exclude_tables: Annotated[
        _Names,
        typer.Option("--exclude-table", metavar="NAME", help="Without this table, a name or glob; repeatable."),
    ] = None,
    format_: Annotated[
        Literal["plain", "custom", "directory", "tar"], typer.Option("--format", help="pg_dump's format.")
    ] = "plain",
    compress: Annotated[
        Any,
        typer.Option(
            envvar="BACKUP_COMPRESS",
            parser=read_compression,
            metavar="gzip|zstd|none",
            help="Default gzip, and none for tar.",
            show_default=False,
        ),
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="The archive makes its database itself.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse, before dumping, a source with something that will not survive.")
    ] = False,
    independent_content: IndependentContent = None,
    encrypt: Annotated[
        bool | None,
        typer.Option(
            "--encrypt/--no-encrypt",
            envvar="BACKUP_ENCRYPT",
            help="With BACKUP_ENCRYPT_PASSWORD, or for the recipients; default if there are any.",
            show_default=False,
        ),
    ] = None,
    recipients: Recipients = None,
    recipients_files: RecipientsFiles = None,
    identities: Identities = None,
    to: Annotated[
        _Names,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="A folder or s3://bucket/prefix; repeatable, each gets a copy. Default BACKUP_DIR, or ./backups.",
            show_default=False,
        ),
    ] = None,
    dsn: Dsn = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask the source, and say what would be dumped; write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Back up a database, or all that are configured, and record what must be in each."""
    from backup_lib.backup import BackupOptions, make_archive
    from backup_lib.encryption import choose_lock
    from backup_lib.replicas import back_up_to
    from backup_lib.store import LocalStore

    if kind == "config":
        from backup_lib.cli.files import back_up_files

        back_up_files(
            context.obj,
            paths=paths or (),
            exclude=exclude_paths or (),
            name=name,
            places=_open_places(to),
            compression=compress,
            lock=choose_lock(os.environ, encrypt=encrypt, recipients=choose_recipients(recipients, recipients_files)),
            keys=choose_keys(identities),
            dry_run=dry_run,
            as_json=as_json,
        )
        return
    if paths or exclude_paths or name:
        raise UsageError("--path, --exclude-path and --name are for configuration files", hint="add --kind config")
    if all_databases and databases:
        raise UsageError("--all-databases and --database exclude one another", hint="leave one of them out")
    if all_databases:
        targets = targets_of_server(choose_dsn(dsn), kind)
    else:
        targets = configured_targets(context, databases or (), kind) if dsn is None else []
    if targets:
        one = partial(backup, **{**context.params, "context": context, "databases": None, "all_databases": False})
        back_up_each(targets, one, as_json=as_json)
        return
    places = _open_places(to)
    source = choose_dsn(dsn)
    keys = choose_keys(identities)
    lock = choose_lock(os.environ, encrypt=encrypt, recipients=choose_recipients(recipients, recipients_files))
    if lock is None and encrypt is None and keys.passphrase is not None:
        say("note: BACKUP_ENCRYPT_PASSWORD is set, and BACKUP_ENCRYPT is not: the archive is not encrypted")
    if format_ != "plain" and lock is None:  # pg_dump writes those itself, to a folder only; they are copied from there
        places.sort(key=lambda place: not isinstance(place, LocalStore))
    options = BackupOptions(
        kind=kind,
        tables=tables or (),
        schemas=schemas or (),
        exclude_tables=exclude_tables or (),
        format=format_,
        compression=compress,
        create=create,
        strict=strict,
        independent_content=independent_content,
        lock=lock,
        keys=keys,
    )
    if dry_run:
        _plan(source, places, options, as_json=as_json)
        return
    progress = Progress("read")
    try:
        result, replicas = back_up_to(places, partial(make_archive, source, options=options, progress=progress))
    finally:
        progress.done()
    put_result(result, replicas, as_json=as_json)
    if context.obj is not None:  # without a configuration there is no such file
        refresh_configured()
    if not all(replica.is_good for replica in replicas):
        raise typer.Exit(BackupError.exit_status)


def _open_places(to: Sequence[str] | None) -> list[Store]:
    from backup_lib.places import open_place

    # Not an `envvar` of typer's, which would split a folder's name at its blanks.
    return [open_place(place) for place in to or [os.environ.get("BACKUP_DIR") or DEFAULT_PLACE]]


def _plan(source: str, places: Sequence[Store], options: BackupOptions, *, as_json: bool) -> None:
    from backup_lib.backup import refuse
    from backup_lib.backup_plan import plan_backup
    from backup_lib.cli.backup_plan import put_plan

    plans = [plan_backup(source, place, options) for place in places]
    put_concerns(plans[0].concerns)
    put_plan(plans, as_json=as_json)
    if options.strict:
        refuse(plans[0].concerns)


def put_result(result: BackupResult, replicas: Sequence[Replica] = (), *, as_json: bool = False) -> None:
    """One line about a published archive, one for each other place; pg_dump's own warnings go to stderr."""
    for warning in result.warnings:
        say(f"warning: {warning}")
    put_concerns(result.manifest.lint)
    _say_failures(replicas)
    facts = describe(result)
    note(f"{result.name}: {render_size(facts['size_bytes'])}, {_what(facts)} of {facts['database']}")
    note(
        *(
            f"{concern.severity}: {concern.object}: {concern.what}; next: {concern.hint}"
            for concern in result.manifest.lint
        )
    )
    if as_json:
        put_json(facts | {"places": [asdict(replica) for replica in replicas]})
        return
    where = result.path or f"{result.store.location}/{result.name}"
    put(
        f"{where}  {render_size(facts['size_bytes'])}  {result.seconds:.1f} s  "
        f"{_what(facts)}  sha256 {facts['sha256']}" + ("  encrypted" if facts["encryption"] else "")
    )
    for replica in replicas:
        if replica.is_good and replica.place != result.store.location:
            put(f"{replica.place}/{replica.name}  copied, and read back with the same sha256")


def _what(facts: Mapping[str, Any]) -> str:
    if facts["kind"] == "config":
        return f"{facts['files']:,} files, folders and links"
    return f"{quantity(facts['rows'], 'row')} in {number_of(facts['tables'], 'table')}"


def _say_failures(replicas: Sequence[Replica]) -> None:
    failed = [replica for replica in replicas if not replica.is_good]
    for replica in failed:
        say(f"error: not stored in {replica.place}: {replica.detail}")
        note(f"not stored in {replica.place}: {replica.detail}")
    if failed:
        note("next: pgdrill sync PLACE PLACE")
        say("hint: when that place is back, give it what it lacks: pgdrill sync PLACE PLACE")


def put_concerns(concerns: Sequence[Concern]) -> None:
    """What the source was found to hold that will not survive, or that a restore should know of; to stderr."""
    for concern in concerns:
        say(f"{concern.severity}: {concern.object}: {concern.what}; {concern.why}\n  mend: {concern.hint}")


def describe(result: BackupResult) -> dict[str, Any]:
    archive = result.manifest.archive
    tables, rows = count_rows(result.manifest)
    return {
        "name": result.name,
        "folder": result.store.location,
        "path": result.path,
        "size_bytes": archive.size_bytes if archive else 0,
        "sha256": archive.sha256 if archive else "",
        "encryption": asdict(archive.encryption) if archive and archive.encryption else None,
        "seconds": round(result.seconds, 3),
        "kind": archive.kind if archive else "",
        "database": result.manifest.source.database,
        "snapshot_at": result.manifest.source.snapshot_at,
        "tables": tables,
        "rows": rows,
        "warnings": list(result.warnings),
        "lint": [asdict(concern) for concern in result.manifest.lint],
        "files": len(result.manifest.files),
    }


def count_rows(manifest: Manifest) -> tuple[int, int]:
    """Tables that hold rows of their own, and their rows: a partitioned table counts by its partitions."""
    from backup_lib.inventory import total_rows

    tables = manifest.inventory.tables if manifest.inventory else ()
    return len(tables), total_rows(tables)


def manifest(
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write; it must not exist yet.")],
    snapshot: Annotated[
        str | None,
        typer.Option(metavar="ID", help="An exported snapshot that your own pg_dump is given as well."),
    ] = None,
    kind: Annotated[
        Literal["full", "schema", "data"],
        typer.Option(help="What that archive holds; of mere rows, the definitions they need are recorded too."),
    ] = "full",
    independent_content: IndependentContent = None,
    dsn: Dsn = None,
    as_json: AsJson = False,
) -> None:
    """Record what somebody else's archive must contain.

    For one that another program makes, such as your own pg_dump; then: pgdrill verify ARCHIVE --manifest FILE.
    """
    from backup_lib.backup import record_manifest
    from backup_lib.manifest import render_manifest
    from backup_lib.store import LocalStore

    target = choose_dsn(dsn)
    progress = Progress("read")
    try:
        with LocalStore(out.parent).create(out.name) as sink:
            recorded = record_manifest(
                target, snapshot=snapshot, kind=kind, independent_content=independent_content, progress=progress
            )
            sink.write(render_manifest(recorded))
    finally:
        progress.done()
    put_concerns(recorded.lint)
    tables, rows = count_rows(recorded)
    if as_json:
        put_json(
            {
                "path": out,
                "database": recorded.source.database,
                "kind": recorded.kind,
                "snapshot_at": recorded.source.snapshot_at,
                "tables": tables,
                "rows": rows,
                "lint": [asdict(concern) for concern in recorded.lint],
            }
        )
    else:
        put(f"{out}: {quantity(rows, 'row')} in {number_of(tables, 'table')} of {recorded.source.database}")
    if snapshot is None:
        say("note: without --snapshot it holds for an archive only if nobody writes between the two")
