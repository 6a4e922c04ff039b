"""Drills beside those who delete, pack or encrypt the archive anew: nobody waits for a drill."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from drilling import execute, told

from backup_lib.backup import make_backup
from backup_lib.catalog import resolve
from backup_lib.expiry import delete_archive
from backup_lib.ledger import read_ledger
from backup_lib.servers import Server
from backup_lib.store import LocalStore
from verification.drill import Drill, Plan
from verification.evidence.builder import build_record
from verification.evidence.record import Record
from verification.noting import note

pytestmark = pytest.mark.postgres


@pytest.fixture
def archive(server: Server, tmp_path: Path) -> Iterator[Path]:
    execute(server.conninfo(), "CREATE DATABASE junto")
    execute(server.conninfo("junto"), "CREATE TABLE a AS SELECT n FROM generate_series(1, 90) n")
    path = make_backup(server.conninfo("junto"), tmp_path / "b").path
    assert path
    yield path
    execute(server.conninfo(), "DROP DATABASE junto WITH (FORCE)")


def lose(path: Path) -> None:
    delete_archive(LocalStore(path.parent), path.name, datetime.now(UTC))


def write_another(path: Path) -> None:
    """Another archive and its manifest under that name, as `pgdrill rewrap` puts them there."""
    manifest = path.with_name(path.name + ".manifest.json")
    text = manifest.read_bytes()
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1, mtime=1))
    manifest.write_bytes(text + b"\n")


def drilled(
    path: Path, *, before: Callable[[Path], None] = str, after: Callable[[Path], None] = str
) -> tuple[Record, str]:
    """The record of its drill, and what noting it said; something happens before it is read, or after."""
    (found,) = resolve([str(path)], path.parent)
    with Drill(found, path, Plan(sandbox="embedded", jobs=1), drill_id="test") as drill:
        before(path)
        drill.restore()
        after(path)
        drill.judge_all()
    record = build_record(drill, finished_at=datetime.now(UTC))
    drill.close()
    return record, note(found, record, change=drill.change())


@pytest.mark.parametrize(("happens", "said"), [(lose, "is no longer in"), (write_another, "was replaced in")])
def test_an_archive_that_goes_before_it_is_read_is_not_blamed(
    archive: Path, happens: Callable[[Path], None], said: str
) -> None:
    record, remark = drilled(archive, before=happens)
    assert record.verdict == "could_not_verify", told(record)
    assert f"{archive.name} {said} {archive.parent}" in record.summary
    assert not [f for f in record.findings if f.status == "fault" or f.cause == "archive"]
    assert remark == ""  # it is about no file
    assert not read_ledger(LocalStore(archive.parent), archive.name).entries


@pytest.mark.parametrize(("happens", "said"), [(lose, "is no longer in"), (write_another, "was replaced in")])
def test_what_was_verified_is_not_noted_beside_another_file(
    archive: Path, happens: Callable[[Path], None], said: str
) -> None:
    record, remark = drilled(archive, after=happens)
    assert record.verdict == "verified", told(record)
    assert f"{archive.name} {said} {archive.parent}" in remark
    assert not read_ledger(LocalStore(archive.parent), archive.name).entries


def test_damage_is_blamed_on_an_archive_that_stays(archive: Path) -> None:
    def damage(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-40])

    record, remark = drilled(archive, before=damage)
    assert (record.verdict, remark) == ("failed", "")
    assert [entry.standing for entry in read_ledger(LocalStore(archive.parent), archive.name).entries] == ["failed"]
