"""What a drill leaves beside its archive, and what retention makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_cli_postgres import Pgdrill, back_up, dsn, pgdrill  # noqa: F401 - fixtures

from backup_lib.cli.damage import flip_byte
from backup_lib.ledger import SUFFIX, read_ledger
from backup_lib.manifest import SUFFIX as MANIFEST
from backup_lib.manifest import parse_manifest, render_manifest
from backup_lib.store import LocalStore

pytestmark = pytest.mark.postgres


def test_drills_are_noted_beside_their_archives_and_retention_counts_them(
    pgdrill: Pgdrill,
    dsn: str,
    tmp_path: Path,
) -> None:
    good = tmp_path / back_up(pgdrill, dsn)["path"]
    store = LocalStore(good.parent)
    flipped = flip_byte(good, tmp_path / "damaged")
    bad = flipped.rename(good.with_name("pos_backup_20251231_000000.sql.gz"))
    blocked = good.with_name("blocked_backup_20250101_000000.sql.gz")
    blocked.write_bytes(good.read_bytes())
    blocked.with_name(blocked.name + SUFFIX).mkdir()  # as root, no mode makes a folder read-only

    said = pgdrill("verify", good, bad, blocked, "--sandbox", "embedded", "--level", "restore")
    assert "blocked_backup_20250101_000000.sql.gz was not noted beside it" in said.stdout
    (entry,) = read_ledger(store, good.name).entries
    record = json.loads(next((tmp_path / "reports").glob(f"{entry.drill_id}/record.json")).read_text())
    assert (entry.verdict, entry.standing, entry.sha256) == ("verified", "verified", record["archive"]["sha256"])
    (entry,) = read_ledger(store, bad.name).entries
    assert (entry.verdict, entry.standing) == ("failed", "failed")
    blocked.with_name(blocked.name + SUFFIX).rmdir()

    assert pgdrill("verify", "--level", "integrity").returncode == 0
    assert [e.level for e in read_ledger(store, good.name).entries] == ["restore", "integrity"]
    told = json.loads(pgdrill("prune", "--json").stdout)["archives"]
    assert {item["name"]: item["action"] for item in told} == {
        good.name: "keep",
        bad.name: "quarantine",
        blocked.name: "keep",
    }
    assert {item["name"]: item["standing"] for item in told}[good.name] == "verified"


def test_an_archive_in_a_bundle_is_drilled_and_noted_where_it_lies(pgdrill: Pgdrill, dsn: str, tmp_path: Path) -> None:
    new = tmp_path / back_up(pgdrill, dsn)["path"]
    store = LocalStore(new.parent)
    manifest = parse_manifest(new.with_name(new.name + MANIFEST).read_bytes())
    assert manifest.archive
    at = datetime(2025, 1, 10, 2, tzinfo=UTC)
    database = manifest.source.database
    name = f"{database}_backup_20250110_020000.sql.gz"
    old = replace(
        manifest,
        archive=replace(manifest.archive, name=name, started_at=at),
        source=replace(manifest.source, snapshot_at=at),
    )
    for day in (10, 11):  # the newest stays at hand
        copy = store.path(name.replace("0110", f"01{day}"))
        copy.write_bytes(new.read_bytes())
        copy.with_name(copy.name + MANIFEST).write_bytes(render_manifest(old))
    said = pgdrill("rotate", "--json")
    assert said.returncode == 0, said.stderr
    assert not store.exists(name)

    said = pgdrill("verify", name, "--json", "--sandbox", "embedded", "--level", "restore")
    assert said.returncode == 0, said.stdout + said.stderr
    (listed,) = [one for one in json.loads(pgdrill("list", "--json").stdout) if one["name"] == name]
    assert (listed["bundle"], listed["last_drill"]["verdict"]) == (f"{database}_archive_202501.tar", "verified")
