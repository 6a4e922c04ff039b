"""The plan: what a restore will make, of what size, and what stands in its way. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backup_lib.inventory import TableData, major_of, total_rows
from backup_lib.manifest import Manifest
from backup_lib.quantity import number_of
from backup_lib.restore.outline import Outline, Part, roles_of
from backup_lib.restore.selection import Dependency, Selection
from backup_lib.restore.standing import WITH_ITS_TABLE
from backup_lib.restore.stream import tablespaces_of
from backup_lib.restore.target import DatabaseFacts, ServerFacts

# Without them the rest of a table is still what it was; anything else that cannot be made refuses the restore.
_MAY_BE_LEFT_OUT = frozenset({"FK CONSTRAINT", "TRIGGER"})
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the person asked for, besides the selection."""

    create: bool = False  # a new database
    clean: bool = False  # what is there goes first
    of_part: bool = False  # the archive is known to hold a part of a database
    keep_owners: bool = True
    with_globals: bool = False  # make the roles that are missing
    jobs: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why the restore is refused, and what to do about it."""

    what: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that is known before the target is touched."""

    archive: str
    database: str
    creates_database: bool
    in_one_transaction: bool
    jobs: int
    archive_version: str | None
    server_version: str
    tables: int
    rows: int
    size_bytes: int  # of the rows' text; in the database, with indexes, they take about twice that
    free_bytes: int | None
    definitions: dict[str, int]  # type → how many
    sequence_values: int
    large_objects: int
    overwritten: tuple[str, ...]  # what is there and goes first
    roles_made: tuple[str, ...]
    left_out: tuple[str, ...]  # entries, with the reason
    leans_on: tuple[str, ...]  # what is needed, not restored, and there
    notes: tuple[str, ...]
    obstacles: tuple[Obstacle, ...]
    places: frozenset[int]  # of the entries that are restored


def make_plan(
    outline: Outline,
    manifest: Manifest | None,
    selection: Selection,
    server: ServerFacts,
    database: DatabaseFacts | None,
    wish: Wish,
    *,
    name: str,
) -> Plan:
    """Weigh the archive against the target.

    :param database: what is in the target; None where it is to be made.
    :param name: of the database that is restored into.
    """
    lost, unmet = _left_out(selection, database)
    kept = tuple(part for part in selection.parts if part.place not in lost)
    tables = rows_of(outline, kept)
    missing = missing_roles(kept, server)
    made = _roles_made(manifest, missing) if wish.with_globals else ()
    overwritten, in_the_way = _overwritten(selection, database, wish)
    obstacles = [
        *_about_server(server, name, wish, size_bytes=sum(t.size_bytes for t in tables)),
        *in_the_way,
        *unmet,
        *_about_roles(kept, [role for role in missing if role not in made], wish),
        *_about_extensions(kept, server),
        *_about_data(selection, database),
    ]
    alone = not wish.create and (wish.jobs == 1 or bool(database and database.catalog))
    if alone and wish.jobs > 1:
        obstacles.append(
            Obstacle(
                what=f"{name} is not empty, so it is restored into in one transaction, which is one job",
                hint="leave --jobs out, or restore into a new database: --create-database NAME",
            )
        )
    return Plan(
        archive=outline.name,
        database=name,
        creates_database=wish.create,
        in_one_transaction=alone,
        jobs=1 if alone else wish.jobs,
        archive_version=outline.inventory.server_version,
        server_version=server.version,
        tables=len({(t.schema, t.name) for t in tables}),
        rows=total_rows(tables),
        size_bytes=sum(t.size_bytes for t in tables),
        free_bytes=server.free_bytes,
        definitions=dict(sorted(Counter(part.type for part in kept if not _is_rows(part)).items())),
        sequence_values=sum(part.type == "SEQUENCE SET" for part in kept),
        large_objects=len(outline.inventory.large_objects) if any(part.type == "BLOBS" for part in kept) else 0,
        overwritten=overwritten,
        roles_made=made,
        left_out=tuple(lost.values()),
        leans_on=tuple(sorted(d.label for d in selection.dependencies if _is_there(d, database))),
        notes=(*_notes(outline, manifest, kept, server, wish), *_gone(selection, database, wish)),
        obstacles=tuple(obstacles),
        places=frozenset(part.place for part in kept),
    )


def rows_of(outline: Outline, parts: Iterable[Part]) -> list[TableData]:
    """The archive's tables whose rows are among the parts."""
    wanted = {(part.start.schema, part.start.name) for part in parts if part.type == "TABLE DATA"}
    return [table for table in outline.inventory.tables if (table.schema, table.name) in wanted]


def missing_roles(parts: Iterable[Part], server: ServerFacts) -> tuple[str, ...]:
    named: set[str] = set().union(*(roles_of(part) for part in parts))
    return tuple(sorted(role for role in named - server.roles if not role.startswith("pg_")))


def _is_rows(part: Part) -> bool:
    return part.type in ("TABLE DATA", "SEQUENCE SET", "BLOBS")


def _is_there(dependency: Dependency, database: DatabaseFacts | None) -> bool:
    return database is not None and dependency.table in database.names


def _left_out(selection: Selection, database: DatabaseFacts | None) -> tuple[dict[int, str], list[Obstacle]]:
    """Entries that cannot be made without something that is not there, and what refuses the restore for that."""
    lost: dict[int, str] = {}
    obstacles = []
    for dependency in selection.dependencies:
        if _is_there(dependency, database):
            continue
        for part in dependency.needed_by:
            if part.type in _MAY_BE_LEFT_OUT:
                lost[part.place] = f"{part.label}: needs {dependency.label}, which is not there"
        needing = [part.label for part in dependency.needed_by if part.type not in _MAY_BE_LEFT_OUT]
        if needing:
            obstacles.append(
                Obstacle(
                    what=f"{some(needing)} needs {dependency.label}, which is not there",
                    hint="restore the definitions first (--schema-only), then the rows: --data-only --table NAME",
                )
            )
    names = {(part.start.schema, part.start.name) for part in selection.parts if part.place in lost}
    for part in selection.parts:
        if part.type == "COMMENT" and (part.start.schema, _commented(part)) in names:
            lost[part.place] = f"{part.label}: what it is about is left out"
    return lost, obstacles


def _commented(part: Part) -> str:
    """`partidas venta_fk` of `CONSTRAINT venta_fk ON partidas`: the name of the entry that a comment is about."""
    name, _, table = part.start.name.partition(" ")[2].rpartition(" ON ")
    return f"{table} {name}"


def _overwritten(
    selection: Selection, database: DatabaseFacts | None, wish: Wish
) -> tuple[tuple[str, ...], list[Obstacle]]:
    if database is None:
        return (), []
    if selection.what == "data":
        found = tuple(sorted({".".join(p.table) for p in selection.chosen_tables if p.table in database.filled}))
        what = f"the rows of {some(found)} are in the way"
        found = tuple(f"rows of {table}" for table in found)
    elif selection.is_whole:
        found = tuple(name for name in database.catalog if not name.startswith(WITH_ITS_TABLE))
        what = f"{database.name} is not empty: it holds {number_of(len(found), 'object')}, such as {some(found)}"
    else:
        found = tuple(sorted({p.label for p in selection.chosen_tables if p.table in database.names}))
        what = f"already there: {some(found)}"
    if selection.is_whole and selection.what != "data" and wish.of_part and found:
        hint = (
            "restore its tables: --table NAME, with --clean in the place of those; or all of it: --create-database NAME"
        )
        return found, [Obstacle(what=f"the archive is a part of a database, and {what}", hint=hint)]
    if lost := _rows_lost(selection, database):
        hint = "restore beside it: --create-database NAME; or say that definitions are all you want: --schema-only"
        return found, [Obstacle(what=f"the archive holds no rows, and those of {some(lost)} would be gone", hint=hint)]
    if wish.clean or not found:
        return found, []
    hint = "--clean removes what is named here, in the same transaction; or restore beside it: --create-database NAME"
    return found, [Obstacle(what=what, hint=hint)]


def _rows_lost(selection: Selection, database: DatabaseFacts) -> tuple[str, ...]:
    """Tables at the target that go with their rows, where an archive of definitions alone takes their place."""
    if selection.what != "full" or any(part.type == "TABLE DATA" for part in selection.parts):
        return ()
    chosen = {part.table for part in selection.chosen_tables}
    return tuple(sorted(".".join(t) for t in database.filled if selection.is_whole or t in chosen))


def _gone(selection: Selection, database: DatabaseFacts | None, wish: Wish) -> Iterable[str]:
    """What nobody gets back from this archive: it is older than that, or of a part."""
    if database is None or not wish.clean or not selection.is_whole or selection.what == "data":
        return
    held = {part.table for part in selection.parts if part.type == "TABLE"}
    if gone := sorted(".".join(table) for table in database.filled - held):
        yield f"not in the archive, and gone with their rows afterwards: {some(gone)}"


def _about_server(server: ServerFacts, name: str, wish: Wish, *, size_bytes: int) -> Iterable[Obstacle]:
    if server.in_recovery:
        yield Obstacle(what="the server is a standby, which takes no changes", hint="name the primary: --dsn")
    if wish.create and name in server.databases:
        left = name in server.unfinished
        yield Obstacle(
            what=f"the database {name} exists already"
            + (", left incomplete by a restore that was killed" if left else ""),
            hint=f'DROP DATABASE "{name}"' if left else f"name another one, or restore into it: --to-database {name}",
        )
    if wish.create and not server.may_create_databases:
        yield Obstacle(
            what=f"the role {server.role} may not create databases",
            hint=f'run as a superuser: ALTER ROLE "{server.role}" CREATEDB',
        )
    if server.free_bytes is not None and server.free_bytes < size_bytes:
        yield Obstacle(
            what=f"the server's disk has {server.free_bytes:,} bytes left, and the rows alone take {size_bytes:,}",
            hint="free some space there first",
        )


def _about_roles(parts: Sequence[Part], missing: Sequence[str], wish: Wish) -> Iterable[Obstacle]:
    if missing and wish.keep_owners:
        yield Obstacle(
            what=f"the server has no role {some(missing)}, which the archive's objects belong to or are granted to",
            hint="--globals makes the roles its manifest names; --no-owner leaves owners and their grants out",
        )
    if not wish.keep_owners:
        policies = [part.label for part in parts if part.type == "POLICY" and roles_of(part) & set(missing)]
        if policies:
            yield Obstacle(what=f"{some(policies)} is for a role that the server does not have",
                           hint=f"make it first: CREATE ROLE {missing[0]}")  # fmt: skip


def _about_extensions(parts: Iterable[Part], server: ServerFacts) -> Iterable[Obstacle]:
    missing = sorted({p.start.name for p in parts if p.type == "EXTENSION"} - server.extensions)
    if missing:
        yield Obstacle(
            what=f"the server cannot create the extension {some(missing)}",
            hint="install its package on the server's machine, or take an image that has it",
        )


def _about_data(selection: Selection, database: DatabaseFacts | None) -> Iterable[Obstacle]:
    """Rows alone need their tables."""
    if selection.what != "data":
        return
    there = database.names if database is not None else frozenset()
    missing = [
        p.label.removeprefix("TABLE DATA ") for p in selection.parts if p.type == "TABLE DATA" and p.table not in there
    ]
    if missing:
        yield Obstacle(
            what=f"the target has no table {some(sorted(set(missing)))} to take the rows",
            hint="restore the definitions first: --schema-only",
        )


def _roles_made(manifest: Manifest | None, missing: Sequence[str]) -> tuple[str, ...]:
    known = manifest.globals.roles if manifest is not None else ()
    return tuple(role for role in missing if role in known)


def _notes(
    outline: Outline, manifest: Manifest | None, parts: Sequence[Part], server: ServerFacts, wish: Wish
) -> Iterable[str]:
    major = major_of(outline.inventory.server_version)
    if major and major > server.major:
        yield f"the archive is from PostgreSQL {major}, the server is older ({server.major}): it may refuse some of it"
    elif major and major < server.major:
        yield f"the archive is from PostgreSQL {major}, the server is newer ({server.major})"
    if manifest is None:
        yield "the archive has no manifest: that it is what its source held is not promised"
    if missing := sorted(tablespaces_of(parts) - server.tablespaces):
        yield f"the server has no tablespace {some(missing)}: what lay in it goes to the default one"
    if not wish.keep_owners:
        yield f"all objects will belong to {server.role}"
    if wish.with_globals and manifest is None:
        yield "without a manifest there are no globals to take roles from"
    if outline.makes_database and not wish.create:
        yield "the archive would drop and make its own database; that part of it is not run"


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
