"""Archives as they lie in a folder, with manifests and ledgers, made without a server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from test_manifest import a_manifest

from backup_lib.archive import build_name
from backup_lib.ledger import Entry, Ledger, write_ledger
from backup_lib.manifest import SUFFIX, Kind, render_manifest
from backup_lib.store import LocalStore


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
