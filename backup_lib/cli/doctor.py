"""`pgdrill doctor`: what this machine has, and for everything missing the command that brings it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import typer

from backup_lib.cli.options import DEFAULT_PLACE, AsJson, Backups, Dsn, choose_dsn
from backup_lib.cli.talk import put, put_json, render_size
from backup_lib.errors import ProgramError, StoreError, UsageError

_LITTLE_ROOM_BYTES = 2 << 30
_CONNECT_S = 5
_ENGINE_S = 60
_COULD_NOT_STATUS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One thing a drill may need."""

    what: str
    status: Literal["ok", "missing", "warning"]
    detail: str
    hint: str = ""
    restores: bool = False  # it can restore an archive of some major


def doctor(*, backups: Backups = DEFAULT_PLACE, dsn: Dsn = None, as_json: AsJson = False) -> None:
    """See whether this machine has what drills need.

    Exits 0 if archives of some major can be drilled, else 3.
    """
    examined = [*_servers(), *_containers(), _encryption(), *_place(backups), _database(dsn)]
    able = any(item.restores for item in examined)
    if as_json:
        put_json({"able": able, "examined": [asdict(item) for item in examined]})
    else:
        for item in examined:
            put(f"{item.status:8}{item.what}: {item.detail}")
            if item.hint:
                put(f"{'':8}hint: {item.hint}")
        put("\narchives can be drilled here" if able else "\nno archive can be drilled here")
    raise typer.Exit(0 if able else _COULD_NOT_STATUS)


def _servers() -> Iterator[Examined]:
    from backup_lib.server_programs import NEWEST_MAJOR, OLDEST_MAJOR, find_programs

    found = find_programs()
    for major in range(OLDEST_MAJOR, NEWEST_MAJOR + 1):
        brings = f"pgdrill install-server {major}"
        server = next((p for p in found if p.major == major and p.has_server), None)
        client = next((p for p in found if p.major == major and p.has_client), None)
        if server:
            yield Examined(what=f"server {major}", status="ok", detail=server.label, restores=True)
        else:
            yield Examined(what=f"server {major}", status="missing", detail="no server programs", hint=brings)
        if client:
            yield Examined(what=f"pg_dump {major}", status="ok", detail=client.label)
        elif newer := next((p for p in found if p.major > major and p.has_client), None):
            detail = f"none; that of {newer.version} reads such servers too"
            yield Examined(what=f"pg_dump {major}", status="warning", detail=detail, hint=brings)
        else:
            yield Examined(what=f"pg_dump {major}", status="missing", detail="no client programs", hint=brings)


def _containers() -> Iterator[Examined]:
    """Asked of the suite, which is a program of its own."""
    from backup_lib.process import run

    try:
        told: dict[str, Any] = json.loads(
            run([sys.executable, "-P", "-m", "verification.doctor"], timeout_s=_ENGINE_S).stdout
        )
    except (ProgramError, ValueError) as exc:
        detail = exc.message.splitlines()[-1] if isinstance(exc, ProgramError) else "it cannot be asked"
        yield Examined(what="containers", status="missing", detail=detail, hint="drills can run --sandbox embedded")
        return
    if not told["answers"]:
        yield Examined(what="containers", status="missing", detail=told["reason"], hint=told["hint"])
        return
    yield Examined(what="containers", status="ok", detail=f"{told['name']} answers")
    for image, held in told["images"].items():
        if held:
            yield Examined(what=f"image {image}", status="ok", detail="here", restores=True)
        else:
            yield Examined(what=f"image {image}", status="missing", detail="not here", hint=f"docker pull {image}")


def _encryption() -> Examined:
    from backup_lib.encryption import is_installed

    if is_installed():
        return Examined(what="encryption", status="ok", detail="age, and openssl's files can be read")
    detail = "encrypted archives can be neither written nor read"
    return Examined(what="encryption", status="missing", detail=detail, hint="pip install 'pgdrill[age]'")


def _place(backups: str) -> Iterator[Examined]:
    from backup_lib.places import open_place
    from backup_lib.store import LocalStore

    place = open_place(backups)
    if isinstance(place, LocalStore):
        yield from _backup_folder(place.folder)
        yield from _room(place.folder)
        return
    what = f"place {place.location}"
    try:
        yield Examined(what=what, status="ok", detail=f"{len(place.items())} files")
    except StoreError as exc:
        yield Examined(what=what, status="warning", detail=exc.message, hint=exc.hint)
    yield from _room(None)


def _backup_folder(folder: Path) -> Iterator[Examined]:
    what = f"backup folder {folder}"
    if not folder.is_dir():
        yield Examined(what=what, status="missing", detail="no such folder", hint=f"pgdrill backup --to {folder}")
        return
    if not os.access(folder, os.R_OK | os.X_OK):
        yield Examined(what=what, status="warning", detail="cannot be read", hint=f"chown it to {os.geteuid()}")
        return
    wide = [path for path in (folder, *folder.iterdir()) if not path.is_symlink() and path.stat().st_mode & 0o077]
    if wide:
        detail = f"others may read {wide[0]}" + (f" and {len(wide) - 1} more" if len(wide) > 1 else "")
        yield Examined(what=what, status="warning", detail=detail, hint=f"chmod -R go= {folder}")
    else:
        yield Examined(what=what, status="ok", detail="private")


def _room(backups: Path | None) -> Iterator[Examined]:
    for what, path in (("room for backups", backups), ("room for sandboxes", Path(tempfile.gettempdir()))):
        if path is None:
            continue
        there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
        free = shutil.disk_usage(there).free
        little = free < _LITTLE_ROOM_BYTES
        yield Examined(
            what=what,
            status="warning" if little else "ok",
            detail=f"{render_size(free)} free at {there}",
            hint=("set TMPDIR" if path != backups else "set BACKUP_DIR") + " to where there is room" if little else "",
        )


def _database(given: str | None) -> Examined:
    import psycopg

    try:
        dsn = choose_dsn(given)
    except UsageError as exc:
        return Examined(what="database", status="warning", detail=exc.message, hint=exc.hint)
    try:
        with psycopg.connect(dsn, connect_timeout=_CONNECT_S, application_name="pgdrill doctor") as conn:
            version = conn.info.parameter_status("server_version")
            detail = f"{conn.info.dbname} on {conn.info.host}, PostgreSQL {version}"
    except psycopg.OperationalError as exc:
        reason = " ".join(str(exc).split())
        return Examined(what="database", status="missing", detail=reason, hint="see that it runs and lets you in")
    return Examined(what="database", status="ok", detail=detail)
