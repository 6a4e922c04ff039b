"""`pgdrill backup --kind config`: configuration files, to all places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from backup_lib.cli.talk import put, put_json, render_size
from backup_lib.errors import BackupError, UsageError

if TYPE_CHECKING:
    from backup_lib.backup import BackupResult
    from backup_lib.configuration import Configuration
    from backup_lib.encryption import Keys, Lock
    from backup_lib.files_backup import Collected
    from backup_lib.manifest import Compression
    from backup_lib.store import Store


def back_up_files(
    configuration: Configuration | None,
    *,
    paths: Sequence[str],
    exclude: Sequence[str],
    name: str | None,
    places: Sequence[Store],
    compression: Compression | None,
    lock: Lock | None,
    keys: Keys,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Pack the files that are named, by default those of the section [files]; exits 3 if a place did not get it."""
    from backup_lib.cli.backup import put_result
    from backup_lib.files_backup import collect, make_files_backup, refuse_secrets
    from backup_lib.replicas import back_up_to

    configured = configuration.settings.files if configuration else None
    chosen = paths or (configured.paths if configured else ())
    left_out = exclude or (configured.exclude if configured else ())
    if not chosen:
        raise UsageError(
            "no file is named", hint="--path docker-compose.yml --path conf/, or paths in the section [files]"
        )
    if dry_run:
        collected = collect(chosen, Path.cwd(), exclude=left_out, apart_from=places[0])
        _put_plan(collected, as_json=as_json)
        if lock is None:
            refuse_secrets(collected)
        return

    def make(place: Store) -> BackupResult:
        return make_files_backup(
            chosen,
            place,
            name=name or (configured.name if configured else "files"),
            exclude=left_out,
            compression=compression or "gzip",
            lock=lock,
            keys=keys,
        )

    result, replicas = back_up_to(places, make)
    put_result(result, replicas, as_json=as_json)
    if not all(replica.is_good for replica in replicas):
        raise typer.Exit(BackupError.exit_status)


def _put_plan(collected: Sequence[Collected], *, as_json: bool) -> None:
    facts = [one.facts for one in collected]
    size_bytes = sum(one.size_bytes for one in facts)
    if as_json:
        listed = [{"path": one.path, "kind": one.kind, "mode": one.mode, "size_bytes": one.size_bytes} for one in facts]
        put_json({"dry_run": True, "size_bytes": size_bytes, "files": listed})
        return
    for one in facts:
        put(f"{one.mode}  {one.kind:6}  {one.path}" + (f" -> {one.target}" if one.target else ""))
    put(f"{len(facts)} files, folders and links would be packed, {render_size(size_bytes)}; nothing was written")
