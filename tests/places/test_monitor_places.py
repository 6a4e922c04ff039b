"""Status and checklists of archives that lie in a bucket: the same as in a folder, and a bucket that is down is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from archives import Shelf
from object_stores import client_of

from backup_lib.configuration import load_configuration
from backup_lib.monitor.checklist import run_checklist
from backup_lib.monitor.status import Status, examine

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


def test_a_bucket_is_judged_as_a_folder_is_and_told_when_it_is_down(
    bucket: str, s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = f"{bucket}/shop"
    Path("pgdrill.toml").write_text(f'[databases.shop]\nurl = "postgresql://u@h/shop"\nto = ["backups", "{place}"]\n')
    configuration = load_configuration({}, tmp_path)

    def status() -> Status:
        return examine(configuration, now=NOW)

    shelf = Shelf(folder=tmp_path / "backups", now=NOW)
    shelf.put(age_h=31)
    copy(shelf.folder, place, s3_endpoint)
    shelf.put(age_h=7, drill=shelf.drill())
    assert [problem.code for problem in status().problems] == ["copy-missing"]
    copy(shelf.folder, place, s3_endpoint)
    for path in shelf.folder.iterdir():
        path.unlink()
    shelf.folder.rmdir()
    only_there = status()
    assert [problem.code for problem in only_there.problems] == ["copy-missing"]
    (series,) = only_there.series
    assert series.newest
    assert series.verified == series.newest
    assert series.newest.address.startswith("s3://")
    assert [one.free_bytes for one in only_there.places] == [None, None]
    done = run_checklist("daily", only_there, configuration)
    assert {item.key: item.state for item in done.items}["integrity"] == "proved"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    down = status()
    assert {problem.code for problem in down.problems} == {"unread"}
    assert down.exit_status == 3


def copy(folder: Path, place: str, endpoint: str) -> None:
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    for path in folder.iterdir():
        client_of(endpoint).put_object(Bucket=bucket, Key=f"{prefix}/{path.name}", Body=path.read_bytes())
