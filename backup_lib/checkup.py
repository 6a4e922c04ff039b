"""Whether the next backup can be made: each of the usual causes of a failure, told apart, with what mends it.

The guide's list: space, permissions, database, password, version.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from backup_lib.catalog import list_archives
from backup_lib.errors import BackupError, ServerError, SourceError, StoreError, Unreachable, UnreachableError
from backup_lib.listing import Found
from backup_lib.quantity import number_of
from backup_lib.server_programs import client_for
from backup_lib.source import connect, list_tables, require_all_rows
from backup_lib.store import LocalStore, Store

LITTLE_ROOM_BYTES = 2 << 30
_CONNECT_S = 5
_PROBE = b"pgdrill doctor\n" * 512  # a quota or a full disk may let an empty file be made


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One thing that backups or drills need."""

    what: str
    status: Literal["ok", "missing", "warning"]
    detail: str
    hint: str = ""
    cause: str = ""  # why it is missing, one of a few words: wrong-password, no-database, read-only, …
    restores: bool = False  # it can restore an archive of some major
    blocks: bool = False  # no backup can be made for it


def examine_database(dsn: str, label: str = "") -> Iterator[Examined]:
    """Whether it can be reached, read whole, and dumped by programs that are here.

    :param label: what the configuration calls it; for where there are several.
    """
    what = f"database {label}".rstrip()
    parameters = conninfo_to_dict(dsn)
    try:
        with connect(make_conninfo(dsn, connect_timeout=parameters.get("connect_timeout") or _CONNECT_S)) as conn:
            version = conn.info.parameter_status("server_version") or "?"
            role, database, major = conn.info.user, conn.info.dbname, conn.info.server_version // 10000
            yield Examined(what=what, status="ok", detail=f"{database} on {conn.info.host}, PostgreSQL {version}")
            tables = list_tables(conn)
            try:
                require_all_rows(tables, role)
            except SourceError as exc:
                yield _missing(f"{what}: privileges", exc, "no-privilege")
            else:
                detail = f"{role} may read {'the 1 table' if len(tables) == 1 else f'all {len(tables):,} tables'}"
                yield Examined(what=f"{what}: privileges", status="ok", detail=detail)
    except UnreachableError as exc:
        hint = "; ".join(filter(None, (exc.hint, _try_with(exc.cause, parameters))))
        yield _missing(what, UnreachableError(exc.message, hint), exc.cause)
        return
    except SourceError as exc:
        yield _missing(what, exc, "other")
        return
    yield examine_version(f"{what}: version", major, version)


def examine_version(what: str, major: int, version: str) -> Examined:
    """Whether a pg_dump here is as new as a server of that major: it refuses newer ones."""
    try:
        client = client_for(major)
    except ServerError as exc:
        return _missing(what, exc, "client-too-old")
    return Examined(what=what, status="ok", detail=f"server {version}, pg_dump {client.version}")


def _try_with(cause: Unreachable, parameters: Mapping[str, Any]) -> str:
    """The command that shows whether it is mended."""
    plain = {name: value for name, value in parameters.items() if name in ("host", "port", "user", "dbname")}

    def psql(**other: str) -> str:
        return f"psql {shlex.quote(make_conninfo('', **{**plain, **other}))}"

    if cause in ("wrong-password", "may-not-connect", "not-let-in"):
        return f'then: {psql()} -c "SELECT 1"'
    if cause in ("no-database", "no-role"):
        return f"see: {psql(dbname='postgres')} --list"
    if cause in ("unreachable", "unknown-host", "starting"):
        options = [f"--{name} {shlex.quote(str(plain[name]))}" for name in ("host", "port") if name in plain]
        return " ".join(("see: pg_isready", *options))
    return ""


def _missing(what: str, exc: BackupError, cause: str) -> Examined:
    return Examined(what=what, status="missing", detail=exc.message, hint=exc.hint, cause=cause, blocks=True)


def examine_place(place: Store) -> Iterator[Examined]:
    """Whether archives can be written there, whether others may read them, and whether there is room for more."""
    what = f"backup folder {place.location}" if isinstance(place, LocalStore) else f"place {place.location}"
    if isinstance(place, LocalStore):
        if (refused := _probe(place.folder)) is not None:
            yield _missing(what, refused, "not-writable")
            return
        if not place.folder.is_dir():
            yield Examined(what=what, status="ok", detail="not there yet; the first backup makes it")
            yield examine_room("room for backups", place.folder, "BACKUP_DIR")
            return
    try:
        found = list_archives(place, by_name=True)
    except StoreError as exc:
        yield _missing(what, exc, "not-readable")
        return
    if not isinstance(place, LocalStore):
        yield Examined(what=what, status="ok", detail=number_of(len(found), "archive"))
        return
    if (closed := _closed(place.folder)) is not None:
        yield _missing(what, closed, "not-readable")
        return
    yield _privacy(what, place.folder)
    yield examine_room("room for backups", place.folder, "BACKUP_DIR", wanted_bytes=expected_bytes(found))


def expected_bytes(found: Sequence[Found]) -> int | None:
    """What one more backup of each database and kind takes, by the newest of each; None where there is none."""
    newest = {(one.database, one.kind): one for one in sorted(found, key=lambda one: one.taken_at)}
    return sum(one.size_bytes for one in newest.values()) if newest else None


def _probe(folder: Path) -> StoreError | None:
    """Write a file there, flush it to the disk, and take it away: what permissions say is not the whole truth.

    A folder that is not there yet is tried by making one beside where it will be.
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(parent))
    made: Path | None = None
    try:
        if there == folder.absolute():
            descriptor, name = tempfile.mkstemp(prefix=".pgdrill-probe-", dir=there)
            made = Path(name)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_PROBE)
                file.flush()
                os.fsync(descriptor)
        else:
            made = Path(tempfile.mkdtemp(prefix=".pgdrill-probe-", dir=there))
    except OSError as exc:
        account = f"{os.geteuid()}:{os.getegid()}"
        hints = {"ENOSPC": "free some space: pgdrill prune --dry-run", "EROFS": "mount it writable"}
        hint = hints.get(errno.errorcode.get(exc.errno or 0, ""), f"chown {account} {there} && chmod 700 {there}")
        return StoreError(f"cannot be written by account {account}: {exc.strerror}", hint=hint)
    finally:
        if made is not None:
            with suppress(OSError):
                made.rmdir() if made.is_dir() else made.unlink()
    return None


def _closed(folder: Path) -> StoreError | None:
    """What another account has made there, as root does once, locks too: each backup and each drill stops at it."""
    account = f"{os.geteuid()}:{os.getegid()}"
    for path in sorted(folder.iterdir()):
        wanted = os.R_OK | (os.W_OK if path.name.endswith("lock") else 0)
        if not path.is_symlink() and not os.access(path, wanted, effective_ids=True):
            hint = f"chown -R {account} {folder}"
            return StoreError(f"{path.name} in it is closed to account {account}: another one made it", hint=hint)
    return None


def _privacy(what: str, folder: Path) -> Examined:
    wide = [path for path in (folder, *folder.iterdir()) if not path.is_symlink() and path.stat().st_mode & 0o077]
    if not wide:
        return Examined(what=what, status="ok", detail="can be written, and is private")
    detail = f"others may read {wide[0]}" + (f" and {len(wide) - 1} more" if len(wide) > 1 else "")
    return Examined(what=what, status="warning", detail=detail, hint=f"chmod -R go= {folder}", cause="wide")


def examine_room(what: str, path: Path, variable: str, *, wanted_bytes: int | None = None) -> Examined:
    """:param wanted_bytes: what is sure to be needed; less than twice that, or than 2 GiB, is little."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    wanted = "" if wanted_bytes is None else f"; the next backups take about {_render(wanted_bytes)}"
    full = wanted_bytes is not None and free < wanted_bytes
    little = full or free < max(LITTLE_ROOM_BYTES, 2 * (wanted_bytes or 0))
    hint = f"free some: pgdrill prune --dry-run; or set {variable} to where there is room"
    return Examined(
        what=what,
        status="missing" if full else "warning" if little else "ok",
        detail=f"{_render(free)} free at {there}{wanted}",
        hint=hint if little else "",
        cause="no-room" if full else "",
        blocks=full,
    )


def _render(size_bytes: int) -> str:
    unit, shift = next((one for one in (("GiB", 30), ("MiB", 20)) if size_bytes >= 1 << one[1]), ("KiB", 10))
    return f"{size_bytes / (1 << shift):.1f} {unit}"
