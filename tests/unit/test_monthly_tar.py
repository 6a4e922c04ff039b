"""The guide's own monthly `archive_202501.tar.gz`, made by tar: listed, looked into and read where it lies."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest
from test_cli import Pgdrill, pgdrill  # noqa: F401 - a fixture
from test_ledger import an_entry

from backup_lib.catalog import list_archives, resolve
from backup_lib.errors import DamagedArchiveError, StoreError
from backup_lib.ledger import digest_stored, note_drill

DUMP = b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE t (a int);\n"
PACKED, PLAIN = "pos_backup_20250102_020000.sql.gz", "pos_backup_20250103_020000.sql"
TAR = "backups/archive_202501.tar.gz"


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """By the guide's commands, from the folder of the shop."""
    monkeypatch.chdir(tmp_path)
    aside = tmp_path / "backups" / "archive"
    aside.mkdir(parents=True)
    (aside / PACKED).write_bytes(gzip.compress(DUMP))
    (aside / PLAIN).write_bytes(DUMP + b"-- %d\n" % 7 * 9000)
    subprocess.run(["tar", "-czf", TAR, "backups/archive/"], check=True, cwd=tmp_path)
    return tmp_path / TAR


def test_each_member_is_an_archive_with_its_own_bytes(packed: Path) -> None:
    assert {found.name for found in list_archives(packed)} == {PACKED, PLAIN}
    for name in (PACKED, PLAIN):
        (found,) = resolve([f"{TAR}/{name}"], "nowhere")
        assert b"".join(found.store.open_read(name)) == (packed.parent / "archive" / name).read_bytes()
        assert (found.bundle, found.database, found.path) == (packed.name, "pos", None)
    assert len(resolve([TAR], "nowhere")) == 2
    assert [found.name for found in resolve([f"{TAR}/*.gz"], "nowhere")] == [PACKED]


def test_a_drill_is_noted_and_holds_while_the_bytes_do(packed: Path) -> None:
    """tar writes the same name anew each time it is run in that month; where a member was says nothing then."""
    (found,) = resolve([f"{TAR}/{PLAIN}"], "nowhere")
    size_bytes, sha256 = digest_stored(found.store, PLAIN)
    note_drill(found.store, PLAIN, an_entry(sha256=sha256, size=size_bytes))
    (packed.parent / "archive" / PACKED).unlink()
    subprocess.run(["tar", "-czf", TAR, "backups/archive/"], check=True)
    (again,) = list_archives(packed)
    assert (again.name, again.has_ledger) == (PLAIN, True)
    assert digest_stored(again.store, PLAIN) == (size_bytes, sha256)


def test_a_flipped_byte_is_found_though_the_member_itself_has_no_checksum(packed: Path) -> None:
    """Stored without compression, so that nothing but the checksum at the very end of the file can tell."""
    tar = gzip.decompress(packed.read_bytes())
    stored = bytearray(gzip.compress(tar, compresslevel=0))
    place = bytes(stored).index(b"-- 7\n")
    packed.write_bytes(stored)
    (found,) = resolve([f"{TAR}/{PLAIN}"], "nowhere")
    assert b"-- 7\n" in b"".join(found.store.open_read(PLAIN))
    stored[place + 3] ^= 1
    packed.write_bytes(stored)
    with pytest.raises(DamagedArchiveError, match=r"archive_202501\.tar\.gz is damaged"):
        digest_stored(found.store, PLAIN)


def test_one_cut_short_is_damaged_where_it_ends(packed: Path) -> None:
    (found,) = resolve([f"{TAR}/{PLAIN}"], "nowhere")
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(DamagedArchiveError, match="damaged"):
        digest_stored(found.store, PLAIN)


def test_nothing_in_it_is_changed(packed: Path) -> None:
    (found,) = resolve([f"{TAR}/{PLAIN}"], "nowhere")
    before = packed.read_bytes()
    for change in (lambda: found.store.delete(PLAIN), lambda: found.store.move(PLAIN, "x")):
        with pytest.raises(StoreError, match="stays as it was packed"):
            change()
    assert packed.read_bytes() == before


def test_the_list_names_it_with_the_command_that_looks_into_it(pgdrill: Pgdrill, packed: Path) -> None:
    said = pgdrill("list")
    assert said.status == 0
    assert f"pgdrill list --backups {TAR}" in said.err
    assert "holds 2 archives outside bundles, not listed here: pgdrill list --backups backups/archive" in said.err
    for path in (packed, *packed.parent.glob("archive/*")):
        path.unlink()
    assert pgdrill("list").err == ""


def test_what_is_in_it_is_listed_and_shown(pgdrill: Pgdrill, packed: Path) -> None:
    inside = pgdrill("list", "--backups", TAR).out
    assert PACKED in inside
    assert f"in {packed.name}" in inside
    shown = pgdrill("show", f"{TAR}/{PACKED}")
    assert (shown.status, "as the archive itself says" in shown.out) == (0, True)


@pytest.mark.parametrize("member", ["toc.dat", None])
def test_what_only_has_such_a_name_is_none(tmp_path: Path, pgdrill: Pgdrill, member: str | None) -> None:
    """A tar archive of pg_dump, and a text."""
    folder = tmp_path / "backups"
    folder.mkdir()
    path = folder / "archive_202501.tar.gz"
    if member:
        (tmp_path / member).write_bytes(b"PGDMP")
        subprocess.run(["tar", "-czf", str(path), "-C", str(tmp_path), member], check=True)
    else:
        path.write_bytes(gzip.compress(DUMP))
    assert "packs archives" not in pgdrill("list").err
    (found,) = resolve([str(path)], "nowhere")
    assert (found.name, found.bundle) == (path.name, None)
