"""`pgdrill list` and `pgdrill show`: which archives there are, and what one holds. Never a row's values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backup_lib.cli.options import DEFAULT_PLACE, AsJson, Backups, Identities, choose_keys
from backup_lib.cli.talk import put, put_json, render_age, render_columns, render_size, say
from backup_lib.errors import MissingPlaceError, NoSuchArchiveError, UsageError

if TYPE_CHECKING:
    from backup_lib.catalog import Found
    from backup_lib.inventory import Inventory
    from backup_lib.ledger import Entry
    from backup_lib.manifest import Manifest


def list_archives(*, backups: Backups = DEFAULT_PLACE, as_json: AsJson = False) -> None:
    """List the archives, the newest first."""
    from backup_lib import catalog

    try:
        found = catalog.list_archives(backups, by_name=True)  # of our own names none is opened: a place can be far away
    except MissingPlaceError as exc:
        raise NoSuchArchiveError(exc.message, hint=exc.hint) from exc
    if as_json:
        put_json([_facts(archive) for archive in found])
        return
    now = datetime.now(UTC)
    rows = [
        (
            archive.name,
            render_size(archive.size_bytes),
            f"{archive.taken_at:%Y-%m-%d %H:%M:%S}Z",
            archive.database or "?",
            archive.kind or "?",
            ", ".join(
                filter(
                    None,
                    (
                        "manifest" if archive.has_manifest else "no manifest",
                        archive.encryption,
                        archive.bundle and f"in {archive.bundle}",
                    ),
                )
            ),
            _last_drill(archive, now),
        )
        for archive in found
    ]
    put(render_columns(("archive", "size", "taken at", "database", "kind", "", "last drill"), rows, right=[1]))
    if "://" not in backups:
        _say_unlisted(Path(backups))


def _say_unlisted(folder: Path) -> None:
    """What the guide's rotation by hand made: the loose archives of months past, and what tar packed of them."""
    from backup_lib import catalog
    from backup_lib.bundle import FOLDER
    from backup_lib.monthly_tar import monthly_tars

    for path in monthly_tars(folder):
        say(f"note: {path} packs archives that are not listed here: pgdrill list --backups {path}")
    aside = folder / FOLDER
    if aside.is_dir() and (loose := catalog.list_archives(aside, by_name=True, bundled=False)):
        count = f"{len(loose)} archive{'s' if len(loose) > 1 else ''}"
        say(f"note: {aside} holds {count} outside bundles, not listed here: pgdrill list --backups {aside}")


def show(
    archive: Annotated[str, typer.Argument(help="A name, a path, latest or latest:DATABASE:KIND.", metavar="ARCHIVE")],
    *,
    backups: Backups = DEFAULT_PLACE,
    identities: Identities = None,
    as_json: AsJson = False,
) -> None:
    """Show what an archive holds, table by table.

    As its manifest says; where there is none, read from the archive itself.
    """
    from backup_lib.catalog import remark_on, resolve

    found = resolve([archive], backups)
    if remark := remark_on(archive, found[0]):
        say(f"note: {remark}")
    if len(found) > 1:
        raise UsageError(f"{archive} means {len(found)} archives", hint=f"name one of them, such as {found[0].name}")
    facts = _facts(found[0]) | _contents(found[0], identities)
    if as_json:
        put_json(facts)
    else:
        _put(facts)


def _facts(archive: Found) -> dict[str, Any]:
    entry = _newest_entry(archive)
    return {
        "name": archive.name,
        "folder": archive.store.location,
        "size_bytes": archive.size_bytes,
        "taken_at": archive.taken_at,
        "taken_at_from": archive.taken_at_from,
        "database": archive.database,
        "kind": archive.kind,
        "encryption": archive.encryption,
        "has_manifest": archive.has_manifest,
        "bundle": archive.bundle,
        "last_drill": None
        if entry is None
        else {
            "drill_id": entry.drill_id,
            "verdict": entry.verdict,
            "level": entry.level,
            "finished_at": entry.finished_at,
            "sha256": entry.sha256,
        },
    }


def _last_drill(archive: Found, now: datetime) -> str:
    """Such as `verified 3 days ago`."""
    entry = _newest_entry(archive)
    if entry is None:
        return "never"
    verdict = entry.verdict.replace("_", " ") + ("" if entry.level == "full" else f" ({entry.level})")
    return f"{verdict} {render_age(now - entry.finished_at)}"


def _newest_entry(archive: Found) -> Entry | None:
    from backup_lib.ledger import read_ledger

    if not archive.has_ledger:
        return None
    return read_ledger(archive.store, archive.name).last(size_bytes=archive.size_bytes)


def _contents(archive: Found, identities: Sequence[Path] | None) -> dict[str, Any]:
    from backup_lib.dump_reader import read_inventory
    from backup_lib.dump_text import open_dump_text
    from backup_lib.manifest import parse_manifest
    from verification.fetching import fetch, place_here

    if archive.has_manifest:
        data = b"".join(archive.store.open_read(archive.manifest_name))
        manifest = parse_manifest(data, name=archive.manifest_name)
        return _promised(manifest) | (_counted(manifest.inventory) if manifest.inventory else {})
    with place_here(archive) as path:
        fetch(archive, path)
        with open_dump_text(path, keys=choose_keys(identities)) as text:
            inventory = read_inventory(text)
    tables = [
        {"table": _qualified(data.database, data.label), "rows": data.rows, "size_bytes": data.size_bytes}
        for data in inventory.tables
    ]
    return {
        "said_by": "the archive itself",
        "server_version": inventory.server_version,
        "complete": inventory.complete,
        "tables": tables,
    } | _counted(inventory)


def _promised(manifest: Manifest) -> dict[str, Any]:
    encryption = manifest.archive.encryption if manifest.archive else None
    sizes = {data.label: data.size_bytes for data in manifest.inventory.tables} if manifest.inventory else {}
    return {
        "said_by": "its manifest",
        "server_version": manifest.source.server_version,
        "sha256": manifest.archive.sha256 if manifest.archive else None,
        "recipients": encryption.recipients if encryption else (),
        "files": [asdict(one) for one in manifest.files],
        "tables": [
            {"table": table, "rows": rows, "size_bytes": sizes.get(table)}
            for table, rows in sorted(manifest.row_counts.items())
        ],
    }


def _counted(inventory: Inventory) -> dict[str, Any]:
    return {
        "definitions": dict(sorted(Counter(entry.type for entry in inventory.entries).items())),
        "sequence_values": len(inventory.sequences),
        "large_objects": len(inventory.large_objects),
    }


def _qualified(database: str | None, label: str) -> str:
    return f"{database}: {label}" if database else label


def _put(facts: dict[str, Any]) -> None:
    tables = facts["tables"]
    put(f"{facts['name']}  {render_size(facts['size_bytes'])}  in {facts['folder']}")
    put(f"taken at {facts['taken_at']:%Y-%m-%d %H:%M:%S}Z (from its {facts['taken_at_from']})")
    if facts["kind"] == "config":
        put(f"configuration files, called {facts['database']}")
    else:
        version, kind = facts["server_version"] or "?", facts["kind"] or "?"
        put(f"database {facts['database'] or '?'}, PostgreSQL {version}, kind {kind}")
    if facts["last_drill"]:
        put(f"last drill {facts['last_drill']['finished_at']:%Y-%m-%d %H:%M:%S}Z: {facts['last_drill']['verdict']}")
    else:
        put("never drilled: pgdrill verify proves that it restores")
    if facts.get("sha256"):
        put(f"sha256 {facts['sha256']}")
    if facts["encryption"]:
        whom = ", ".join(facts.get("recipients") or ())
        put(f"encrypted by {facts['encryption']}" + (f" for {whom}" if whom else ""))
    if not facts.get("complete", True):
        put("NOT COMPLETE: it does not end as pg_dump ends a dump")
    put(f"what it holds, as {facts['said_by']} says:\n")
    if facts["kind"] == "config":
        files = [
            (f["mode"], f["kind"], render_size(f["size_bytes"]), f["path"], f["target"] or "") for f in facts["files"]
        ]
        put(render_columns(("mode", "kind", "size", "path", "to"), files, right=[2]))
        return
    rows = [
        (
            table["table"],
            f"{table['rows']:,}",
            "" if table["size_bytes"] is None else render_size(table["size_bytes"]),
        )
        for table in tables
    ]
    # A partitioned table counts by its partitions, and a materialized view by none: neither has a size.
    own = [table for table in tables if table["size_bytes"] is not None]
    total_bytes = sum(table["size_bytes"] for table in own)
    rows.append((f"{len(own)} with rows of their own", f"{sum(t['rows'] for t in own):,}", render_size(total_bytes)))
    put(render_columns(("table", "rows", "size"), rows, right=[1, 2]))
    definitions = [(kind.lower(), str(count)) for kind, count in facts.get("definitions", {}).items()]
    definitions += [
        (name.replace("_", " "), str(facts[name])) for name in ("sequence_values", "large_objects") if facts.get(name)
    ]
    if definitions:
        put("\n" + render_columns(("definitions", "count"), definitions, right=[1]))
