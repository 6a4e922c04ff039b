"""`pgdrill doctor`: what this machine has, and for everything missing the command that brings it."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from backup_lib.cli.options import DEFAULT_PLACE, AsJson, Backups, Dsn, choose_dsn
from backup_lib.cli.talk import put, put_json
from backup_lib.errors import BackupError, NoDatabaseError, ProgramError, UsageError

if TYPE_CHECKING:
    from backup_lib.checkup import Examined

_ENGINE_S = 60
_NOT_NAMED = "not-named"


def doctor(
    *, context: typer.Context, backups: Backups = DEFAULT_PLACE, dsn: Dsn = None, as_json: AsJson = False
) -> None:
    """See whether this machine has what drills need.

    And whether the next backup can be made: space, permissions, database, password, version.
    Exits 3 if no archive can be drilled, or if a database is named and cannot be backed up.
    """
    databases = list(_databases(context, dsn))
    examined = [*_servers(), *_containers(), _encryption(), *_place(backups), *databases]
    able = any(item.restores for item in examined)
    # Where no database is named, nothing is backed up: archives that may only be read can be drilled.
    named = all(item.cause != _NOT_NAMED for item in databases)
    blocked = [item.what for item in examined if item.blocks] if named else []
    if as_json:
        put_json({"able": able, "blocked": blocked, "examined": [asdict(item) for item in examined]})
    else:
        for item in examined:
            put(f"{item.status:8}{item.what}: {item.detail}")
            if item.hint:
                put(f"{'':8}hint: {item.hint}")
        put("\narchives can be drilled here" if able else "\nno archive can be drilled here")
        if blocked:
            put(f"no backup can be made: {', '.join(blocked)}")
        elif named:
            put("a backup can be made")
    raise typer.Exit(0 if able and not blocked else BackupError.exit_status)


def _servers() -> Iterator[Examined]:
    from backup_lib.checkup import Examined
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
    from backup_lib.checkup import Examined
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
    from backup_lib.checkup import Examined
    from backup_lib.encryption import is_installed

    if is_installed():
        return Examined(what="encryption", status="ok", detail="age, and openssl's files can be read")
    detail = "encrypted archives can be neither written nor read"
    return Examined(what="encryption", status="missing", detail=detail, hint="pip install 'pgdrill[age]'")


def _place(backups: str) -> Iterator[Examined]:
    from backup_lib.checkup import examine_place, examine_room
    from backup_lib.places import open_place

    yield from examine_place(open_place(backups))
    yield examine_room("room for sandboxes", Path(tempfile.gettempdir()), "TMPDIR")


def _databases(context: typer.Context, given: str | None) -> Iterator[Examined]:
    """The one that is named, else all that are configured, else the environment's."""
    from backup_lib.checkup import Examined, examine_database
    from backup_lib.targets import choose_targets

    configured = context.obj.settings.databases if context.obj and given is None else ()
    for label in configured or ("",):
        try:
            dsn = str(choose_targets(context.obj, [label], kind="full")[0].dsn) if label else choose_dsn(given)
        except NoDatabaseError as exc:
            yield Examined(what="database", status="warning", detail=exc.message, hint=exc.hint, cause=_NOT_NAMED)
        except UsageError as exc:
            what = f"database {label}".rstrip()
            yield Examined(
                what=what, status="missing", detail=exc.message, hint=exc.hint, cause="configuration", blocks=True
            )
        else:
            yield from examine_database(dsn, label)
