"""Archives as they lie in a folder, with manifests and ledgers, made without a server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup_lib.archive import build_name
from backup_lib.inventory import Entry as InventoryEntry
from backup_lib.inventory import Inventory, SequenceValue, TableData
from backup_lib.ledger import Entry, Ledger, write_ledger
from backup_lib.manifest import (
    SUFFIX,
    ArchiveFacts,
    Environment,
    Extension,
    Globals,
    Kind,
    Manifest,
    Source,
    render_manifest,
)
from backup_lib.store import LocalStore

AT = datetime(2025, 2, 1, 2, 0, 3, 250000, tzinfo=UTC)


def a_manifest(*, database: str = "pos") -> Manifest:
    return Manifest(
        archive=ArchiveFacts(
            name="pos_backup_20250201_020003.sql.gz",
            kind="full",
            format="plain",
            compression="gzip",
            size_bytes=10,
            sha256="ab" * 32,
            started_at=AT,
            finished_at=AT,
        ),
        source=Source(
            database=database,
            system_identifier="7",
            server_version="15.18",
            snapshot_at=AT,
            lsn="0/1",
            in_recovery=False,
            replay_lag_s=None,
            role="postgres",
            bootstrap_role="postgres",
        ),
        environment=Environment(
            encoding="UTF8",
            collate="C",
            ctype="C",
            locale_provider="libc",
            icu_locale=None,
            collation_version=None,
            extensions=(Extension(name="hstore", version="1.8", schema="public"),),
            settings=("role=; search_path=a",),
            invalid_indexes=(),
        ),
        globals=Globals(roles=("ñ",), statements=('CREATE ROLE "ñ"',)),
        row_counts={"public.ventas": 2},
        catalog=("table public.ventas",),
        inventory=Inventory(
            entries=(InventoryEntry(type="TABLE", schema="public", name="ventas", owner="ñ", sha256="cd" * 32),),
            tables=(
                TableData(
                    schema="public",
                    name="ventas",
                    target="public.ventas",
                    columns=("id",),
                    form="copy",
                    rows=2,
                    size_bytes=4,
                    sha256="ef" * 32,
                ),
            ),
            sequences=(SequenceValue(schema="public", name="s", last_value=5, is_called=True),),
            large_objects=(),
            complete=True,
        ),
        tools={"pg_dump": "15.18"},
    )


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """`shelf.put(age_h=3)`: an archive taken three hours before `now`, and its manifest; gives its name."""

    folder: Path
    now: datetime
    rows: Mapping[str, int] = field(default_factory=lambda: {"public.sales": 1000, "public.items": 5})

    def put(
        self,
        *,
        age_h: float,
        database: str = "shop",
        kind: Kind = "full",
        size: int = 1000,
        rows: Mapping[str, int] | None = None,
        promised: int | None = None,
        manifest: bytes | None = None,
        begins: bytes = b"",
        drill: Entry | None = None,
    ) -> str:
        """:param promised: the size its manifest tells; `manifest`: what lies there instead, b"" for none.
        :param begins: what its bytes begin with; all others are 0.
        """
        at = self.now - timedelta(hours=age_h)
        name = build_name(database, at, kind=kind, format="plain", compression="gzip")
        self.folder.mkdir(exist_ok=True)
        data = begins + bytes(size - len(begins))
        (self.folder / name).write_bytes(data)
        whole = a_manifest(database=database)
        assert whole.archive
        told = replace(
            whole,
            archive=replace(
                whole.archive,
                name=name,
                kind=kind,
                size_bytes=size if promised is None else promised,
                sha256=hashlib.sha256(data).hexdigest(),
                started_at=at,
                finished_at=at + timedelta(seconds=30),
            ),
            source=replace(whole.source, snapshot_at=at),
            row_counts=dict(self.rows if rows is None else rows),
            inventory=None,
        )
        if manifest != b"":
            (self.folder / f"{name}{SUFFIX}").write_bytes(render_manifest(told) if manifest is None else manifest)
        if drill:
            write_ledger(LocalStore(self.folder), name, Ledger(entries=(drill,)))
        return name

    def drill(
        self,
        *,
        age_h: float = 1,
        verdict: str = "verified",
        causes: tuple[str, ...] = (),
        size: int = 1000,
        sha256: str = "",
        level: str = "full",
        drill_id: str = "d1",
    ) -> Entry:
        return Entry(
            drill_id=drill_id,
            verdict=verdict,  # type: ignore[arg-type]
            level=level,
            causes=causes,
            finished_at=self.now - timedelta(hours=age_h),
            sha256=sha256 or hashlib.sha256(bytes(size)).hexdigest(),
            size_bytes=size,
            pgdrill="0.1.0",
        )


def put_record(
    reports: Path, drill_id: str, *, at: datetime, rto_s: float = 40, objective_s: float | None = 60
) -> None:
    """What is read of the record of a drill, of the schema that drills write."""
    objective = {"objective_s": objective_s, "measured_s": rto_s, "met": True}
    record = {
        "drill_id": drill_id,
        "started_at": at.isoformat(),
        "finished_at": at.isoformat(),
        "verdict": "verified",
        "summary": "it restores",
        "level": "full",
        "phases": [{"name": "data", "seconds": 30.5, "overlaps": False, "bytes": None, "began_s": 0.0}],
        "checks": [{"name": "schema", "status": "passed"}, {"name": "content", "status": "passed"}],
        "rto": objective,
        "rpo": objective,
    }
    (reports / drill_id).mkdir(parents=True)
    (reports / drill_id / "record.json").write_text(json.dumps(record))
