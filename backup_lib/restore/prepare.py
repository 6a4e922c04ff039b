"""Before a restore: the archive is read to its end, the target looked at, and the plan made. Nothing is touched."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from backup_lib.encryption import NO_KEYS, Keys
from backup_lib.errors import DamagedArchiveError, RestoreError, UsageError
from backup_lib.inventory import Inventory
from backup_lib.manifest import SUFFIX, Manifest, parse_manifest
from backup_lib.restore.outline import Outline, Progress, read_outline
from backup_lib.restore.plan import Plan, Wish, make_plan, some
from backup_lib.restore.selection import Selection, What, of_its_tables, select
from backup_lib.restore.target import DatabaseFacts, ServerFacts, TargetServer, look_at_database, look_at_server


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be restored, and where to."""

    archive: Path
    dsn: str
    manifest: Path | None = None  # for an archive whose manifest does not lie beside it
    what: What = "full"
    tables: tuple[str, ...] = ()
    database: str | None = None  # default the connection string's
    create: bool = False  # that database is to be made
    clean: bool = False
    keep_owners: bool = True
    with_globals: bool = False
    superusers: bool = False  # roles that are made may be superusers
    jobs: int = 1
    keys: Keys = NO_KEYS  # of an encrypted archive


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An archive that was read, a target that was looked at, and the plan. Nothing has been touched."""

    request: Request
    outline: Outline
    manifest: Manifest | None
    selection: Selection
    server: TargetServer
    facts: ServerFacts
    existing: DatabaseFacts | None
    plan: Plan


def prepare(request: Request, *, progress: Progress | None = None) -> Prepared:
    """Read the archive to its end, look at the target, and plan.

    :raises WrongKeyError: when it is encrypted, and the request's keys do not open it.
    :raises DamagedArchiveError: when the archive is damaged, or is not what its manifest promises.
    :raises NoSuchArchiveError: when the archive has no table of a name that was asked for.
    :raises SourceError: when the server cannot be reached.
    :raises UsageError: when no database is named.
    """
    server = TargetServer(request.dsn)
    name = request.database or server.database
    if not name:
        raise UsageError("no database is named to restore into", hint="--to-database NAME, or --create-database NAME")
    with server.maintenance() as conn:
        facts = look_at_server(conn)
    existing = None
    if not request.create:
        if name not in facts.databases:
            raise RestoreError(
                f"the server has no database {name}", hint=f"make it meanwhile: --create-database {name}"
            )
        with closing(server.connect(name)) as conn:
            existing = look_at_database(conn)
    outline = read_outline(request.archive, keys=request.keys, progress=progress)
    manifest = read_manifest(request.archive, request.manifest)
    if manifest is not None:
        _require_promised(outline, manifest)
    there = existing.names if existing is not None else frozenset({("public",)})
    selection = select(outline, what=request.what, tables=request.tables, there=there)
    kind = manifest.archive.kind if manifest is not None and manifest.archive is not None else None
    if kind in (None, "tables") and existing is not None and existing.catalog:
        selection = of_its_tables(outline, selection, request.what, there)
    wish = Wish(
        of_part=kind == "tables",
        create=request.create,
        clean=request.clean,
        keep_owners=request.keep_owners,
        with_globals=request.with_globals,
        jobs=request.jobs,
    )
    plan = make_plan(outline, manifest, selection, facts, existing, wish, name=name)
    return Prepared(
        request=request,
        outline=outline,
        manifest=manifest,
        selection=selection,
        server=server,
        facts=facts,
        existing=existing,
        plan=plan,
    )


def read_manifest(archive: Path, given: Path | None = None) -> Manifest | None:
    """The archive's manifest: the one named, else the one beside it, else None."""
    path = given or archive.with_name(archive.name + SUFFIX)
    if not path.is_file():
        if given is not None:
            raise UsageError(f"there is no manifest {path}", hint="name the file that pgdrill manifest --out wrote")
        return None
    return parse_manifest(path.read_bytes(), name=path.name)


def _require_promised(outline: Outline, manifest: Manifest) -> None:
    facts, promised = manifest.archive, manifest.inventory

    def told(inventory: Inventory) -> list[tuple[str, int, str]]:
        """Of a manifest for somebody else's pg_dump, which writes the same rows in other words, the counts alone."""
        return sorted((table.label, table.rows, table.sha256 if facts else "") for table in inventory.tables)

    same = facts is None or facts.of(outline.sha256).sha256 == outline.sha256
    same = same and (promised is None or told(promised) == told(outline.inventory))
    if same:
        return
    differing = {t.label for t in promised.tables} ^ {t.label for t in outline.inventory.tables} if promised else set()
    raise DamagedArchiveError(
        f"{outline.name} is not what its manifest promises" + (f": {some(sorted(differing))}" if differing else ""),
        hint=f"nothing was restored; see what differs: pgdrill verify {outline.name}",
    )
