"""Whatever lies in a place: choosing by names and opening few gives what opening every archive gives."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_lib.archive import KINDS, build_name
from backup_lib.catalog import Found, list_archives, remark_on, resolve
from backup_lib.errors import NoSuchArchiveError
from backup_lib.listing import WHOLE, is_of
from backup_lib.manifest import SUFFIX, parse_manifest, render_manifest

QUICK = settings(max_examples=60, deadline=None)
BASE = datetime(2026, 1, 1, tzinfo=UTC)
MANIFEST = parse_manifest((Path(__file__).parents[1] / "places" / "manifest.json").read_bytes())
DATABASES = ("pos", "pos_backup", "crm-ñ")


@dataclass(frozen=True)
class Lying:
    """One archive: what its name, its manifest and its file say of when it was taken."""

    name: str
    file_at: datetime
    manifest: bytes | None


@st.composite
def lying(draw: st.DrawFn) -> Lying:
    taken_at = BASE + timedelta(minutes=draw(st.integers(0, 600)))
    database = draw(st.sampled_from(DATABASES))
    source = replace(MANIFEST.source, snapshot_at=taken_at, database=database)
    kind = draw(st.sampled_from(KINDS))
    assert MANIFEST.archive
    ours = replace(MANIFEST, source=source, archive=replace(MANIFEST.archive, kind=kind))
    manifest = draw(st.sampled_from([render_manifest(ours)] * 4 + [None, b"{"]))
    if draw(st.booleans()):  # one of ours: behind by an hour at most, or ahead by anything
        says = taken_at + timedelta(minutes=draw(st.sampled_from([0, 0, -1, -59, 1, 300, 500_000])))
        name = build_name(database, says, kind=kind, format="plain", compression="none")
    else:
        name = draw(st.sampled_from(["a.sql", "z.dump", "pos_backup_20260230_000000.sql", "pos_backup_latest.sql"]))
    return Lying(name, BASE + timedelta(minutes=draw(st.integers(0, 600))), manifest)


def lay(folder: Path, archives: Iterable[Lying]) -> None:
    for path in folder.iterdir():
        path.unlink()
    for archive in archives:
        path = folder / archive.name
        path.write_bytes(b"--\n-- PostgreSQL database dump\n--\n\n")
        os.utime(path, (archive.file_at.timestamp(), archive.file_at.timestamp()))
        if archive.manifest is not None:
            path.with_name(archive.name + SUFFIX).write_bytes(archive.manifest)


def chosen(request: str, folder: Path) -> list[Found]:
    try:
        return resolve([request], folder)
    except NoSuchArchiveError:
        return []


@given(archives=st.lists(lying(), max_size=12, unique_by=lambda one: one.name))
@QUICK
def test_the_latest_by_names_is_the_latest_of_all_that_were_opened(
    tmp_path_factory: pytest.TempPathFactory, archives: list[Lying]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "lying"
    folder.mkdir(exist_ok=True)
    lay(folder, archives)
    opened = list_archives(folder)
    assert sorted(found.name for found in opened) == sorted(archive.name for archive in archives)
    for database in ("", *DATABASES, "z"):
        ours = [one for one in opened if not database or is_of(one, database)]
        choices = [[one for one in ours if one.kind in kinds] for kinds in (WHOLE, ("tables", "data", "schema"), KINDS)]
        request = f"latest:{database}" if database else "latest"
        (expected,) = next((some[:1] for some in choices if some), [None])
        found = next(iter(chosen(request, folder)), None)
        assert found == expected
        assert bool(found and remark_on(request, found, now=found.taken_at)) == bool(ours and not choices[0])
        for kind in KINDS:
            assert chosen(f"latest:{database}:{kind}", folder) == [one for one in ours if one.kind == kind][:1]
