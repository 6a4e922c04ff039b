"""Finding archives among other files, and the one that is meant."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from archives import a_manifest

from backup_lib.catalog import list_archives, remark_on, resolve
from backup_lib.errors import NoSuchArchiveError, StoreError, UsageError
from backup_lib.manifest import SUFFIX, render_manifest
from backup_lib.store import LocalStore, StoredItem

DUMP = b"--\n-- PostgreSQL database dump\n--\n\n"


def put(folder: Path, name: str, data: bytes = DUMP, *, at: str = "2025-01-01") -> Path:
    path = folder / name
    path.write_bytes(data)
    seconds = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
    os.utime(path, (seconds, seconds))
    return path


def names(folder: Path) -> list[str]:
    return [archive.name for archive in list_archives(folder)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.sql.gz", gzip.compress(DUMP, mtime=0)),
        ("latest_backup.sql", DUMP),
        ("backup_20250101.sql", DUMP),
        ("cluster.sql", b"--\n-- PostgreSQL database cluster dump\n--\n"),
        ("backup.dump", b"PGDMP\x01\x0e\0"),
        ("x.backup", b"PGDMP\x01\x0e\0"),
        ("dump.pgdump", DUMP),
        ("x.dump.gz", gzip.compress(b"PGDMP\x01\x0e\0", mtime=0)),
        ("x.tar", b"toc.dat\0" + bytes(600)),
        pytest.param("empty.sql.gz", b"", id="empty"),
        pytest.param("cut.sql.gz", b"\x1f\x8b\x08", id="cut-short"),
        pytest.param("utf16.sql", "-- PostgreSQL".encode("utf-16"), id="re-encoded"),
        pytest.param("d_backup_20250101_000000.sql.gz", b"<html>", id="own-name-whatever-it-holds"),
        pytest.param("x.sql.gz.age", b"age-encryption.org/v1\n", id="encrypted"),
    ],
)
def test_an_archive_is_recognised(tmp_path: Path, name: str, data: bytes) -> None:
    put(tmp_path, name, data)
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("README.md", b"text"),
        ("backup.log", DUMP),
        ("report.html", b"<html>"),
        ("schema-picture.png", b"\x89PNG\0"),
        ("init.sql", b"CREATE ROLE app;\n"),
        ("access.gz", gzip.compress(b"GET /\n", mtime=0)),
        ("random.gz", b"\x1f\x8b\x08rubbish"),
        ("x.sql.gz" + SUFFIX, b"{}"),
        ("x.sql.sha256", b"ab  x.sql"),
        (".d_backup_20250101_000000.sql.partial", DUMP),
        ("archive_202501.tar", b"backups/a.sql".ljust(257, b"\0") + b"ustar\x0000" + bytes(300)),
        ("archive_202501.tar.gz", gzip.compress(b"backups/".ljust(257, b"\0") + b"ustar\x0000" + bytes(300), mtime=0)),
    ],
)
def test_other_files_are_left_alone(tmp_path: Path, name: str, data: bytes) -> None:
    put(tmp_path, name, data)
    assert names(tmp_path) == []


def test_a_folder_with_a_table_of_contents_is_an_archive(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "nightly").mkdir()
    (tmp_path / "nightly" / "toc.dat").write_bytes(b"PGDMP")
    assert names(tmp_path) == ["nightly"]


@pytest.fixture
def as_another() -> Iterator[Path]:
    """A folder of a user whom modes hold back, as they do not hold root."""
    folder = Path(tempfile.mkdtemp(prefix="pgdrill-test-", dir="/tmp"))  # tmp_path is below a folder of root
    os.chown(folder, 65534, 65534) if os.geteuid() == 0 else None
    before = os.geteuid()
    os.seteuid(65534) if before == 0 else None
    try:
        yield folder
    finally:
        os.seteuid(before)
        shutil.rmtree(folder)


@pytest.mark.parametrize(("name", "is_archive"), [("lost+found", False), ("pos_backup_20250101_000000.dir", True)])
def test_a_folder_that_may_not_be_read_hides_nothing_beside_it(
    *, as_another: Path, name: str, is_archive: bool
) -> None:
    put(as_another, "x.sql")
    (as_another / name).mkdir()
    (as_another / name).chmod(0)
    with pytest.raises(PermissionError):
        list((as_another / name).iterdir())
    assert sorted(names(as_another)) == ([name] if is_archive else []) + ["x.sql"]


def test_what_a_name_says_is_believed_until_a_manifest_is_read(tmp_path: Path) -> None:
    put(tmp_path, "d_backup_20250101_020000.sql.gz.age", b"age-encryption.org/v1\n")
    put(tmp_path, "d_backup_20250101_020000.sql.gz.age" + SUFFIX, b"{}")
    (found,) = list_archives(tmp_path, by_name=True)
    assert (found.is_looked_into, found.encryption, found.has_manifest, found.kind) == (False, "age", True, "full")


def test_the_time_is_the_manifests_else_the_names_else_the_files(tmp_path: Path) -> None:
    put(tmp_path, "a.sql")
    put(tmp_path, "d_backup_20250301_000000_schema.sql.gz")
    put(tmp_path, "m.sql", at="2020-01-01")
    (tmp_path / f"m.sql{SUFFIX}").write_bytes(render_manifest(a_manifest(database="ventas")))
    found = {archive.name: archive for archive in list_archives(tmp_path)}
    assert found["a.sql"].taken_at_from == "file time"
    named = found["d_backup_20250301_000000_schema.sql.gz"]
    assert (named.taken_at, named.taken_at_from) == (datetime(2025, 3, 1, tzinfo=UTC), "name")
    assert (named.database, named.kind, named.has_manifest) == ("d", "schema", False)
    told = found["m.sql"]
    assert (told.taken_at, told.taken_at_from) == (a_manifest().source.snapshot_at, "manifest")
    assert (told.database, told.kind, told.has_manifest) == ("ventas", "full", True)


def test_the_guides_direct_command_says_the_time_in_the_name_and_nothing_else(tmp_path: Path) -> None:
    """Copied, all of them have the time of the copy."""
    put(tmp_path, "backup_20250301_020000.sql.gz", at="2025-03-20")
    put(tmp_path, "backup_20250302_020000.sql", at="2025-03-10")
    put(tmp_path, "backup_20250230_020000.sql", at="2025-01-01")  # no such day
    assert [(one.name, one.taken_at_from) for one in list_archives(tmp_path)] == [
        ("backup_20250302_020000.sql", "name"),
        ("backup_20250301_020000.sql.gz", "name"),
        ("backup_20250230_020000.sql", "file time"),
    ]
    (latest,) = resolve(["latest"], tmp_path)
    assert (latest.taken_at, latest.database, latest.kind) == (datetime(2025, 3, 2, 2, tzinfo=UTC), None, None)


def test_an_unreadable_manifest_does_not_hide_its_archive(tmp_path: Path) -> None:
    put(tmp_path, "a.sql")
    put(tmp_path, f"a.sql{SUFFIX}", b"{")
    (found,) = list_archives(tmp_path)
    assert (found.has_manifest, found.taken_at_from) == (True, "file time")


def test_a_link_to_the_latest_is_an_archive_and_a_dangling_one_is_not(tmp_path: Path) -> None:
    put(tmp_path, "a.sql")
    (tmp_path / "latest_backup.sql").symlink_to("a.sql")
    (tmp_path / "lost.sql").symlink_to("nowhere")
    assert sorted(names(tmp_path)) == ["a.sql", "latest_backup.sql"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, "pos_backup_20250101_000000.sql")
    put(tmp_path, "pos_backup_20250103_000000.sql")
    put(tmp_path, "crm_backup_20250104_000000.sql")
    put(tmp_path, "foreign-1.sql", at="2025-01-02")
    return tmp_path


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (["latest"], ["crm_backup_20250104_000000.sql"]),
        (["latest:pos"], ["pos_backup_20250103_000000.sql"]),
        (["latest:foreign"], ["foreign-1.sql"]),
        (["foreign-1.sql"], ["foreign-1.sql"]),
        (["pos_*"], ["pos_backup_20250103_000000.sql", "pos_backup_20250101_000000.sql"]),
        (["latest:pos", "pos_*"], ["pos_backup_20250103_000000.sql", "pos_backup_20250101_000000.sql"]),
    ],
)
def test_a_request_means(folder: Path, requests: list[str], expected: list[str]) -> None:
    assert [archive.name for archive in resolve(requests, folder)] == expected


PARTS = [f"pos_backup_2025010{day}_000000_{kind}.sql" for day, kind in ((5, "tables"), (6, "schema"), (7, "config"))]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("latest", "crm_backup_20250104_000000.sql"),
        ("latest:pos", "pos_backup_20250103_000000.sql"),
        ("latest:pos:tables", PARTS[0]),
        ("latest:pos:schema", PARTS[1]),
        ("latest::config", PARTS[2]),
        ("latest::full", "crm_backup_20250104_000000.sql"),
    ],
)
def test_the_latest_is_no_part_of_a_database_unless_it_is_asked_for(folder: Path, request_: str, expected: str) -> None:
    for name in PARTS:
        put(folder, name)
    (found,) = resolve([request_], folder)
    assert (found.name, remark_on(request_, found)) == (expected, "")


def test_where_nothing_is_whole_the_latest_is_a_part_and_that_is_said(tmp_path: Path) -> None:
    put(tmp_path, PARTS[2])
    (files,) = resolve(["latest"], tmp_path)
    assert (files.kind, "no full archive, so latest" in remark_on("latest", files)) == ("config", True)
    put(tmp_path, PARTS[0])
    (part,) = resolve(["latest:pos"], tmp_path)
    assert part.name == PARTS[0]
    assert remark_on("latest:pos", part) == (
        f"There is no full archive of pos, so latest:pos means the newest of another kind, tables: {PARTS[0]}"
    )
    assert remark_on(PARTS[0], part) == ""
    put(tmp_path, "theirs.sql")  # nothing says that it is less than all
    assert resolve(["latest"], tmp_path)[0].name == "theirs.sql"


def test_that_the_latest_is_of_the_future_is_said(tmp_path: Path) -> None:
    """A server's clock ran ahead for one night: for a year, later archives are dated before that one."""
    put(tmp_path, "pos_backup_20271129_020000.sql")
    put(tmp_path, "pos_backup_20261124_020000.sql")
    (found,) = resolve(["latest"], tmp_path)
    remark = remark_on("latest", found, now=datetime(2026, 11, 24, 3, 0, tzinfo=UTC))
    assert "pos_backup_20271129_020000.sql, which is dated 2027-11-29 02:00 UTC, in the future" in remark
    assert remark_on("latest", found, now=datetime(2027, 11, 29, 3, 0, tzinfo=UTC)) == ""
    assert remark_on(found.name, found, now=datetime(2026, 11, 24, 3, 0, tzinfo=UTC)) == ""


def test_all_are_all_the_newest_first(folder: Path) -> None:
    times = [archive.taken_at for archive in resolve(["all"], folder)]
    assert len(times) == 4
    assert times == sorted(times, reverse=True)


def test_a_random_choice_can_be_repeated(folder: Path) -> None:
    first = resolve(["random:2"], folder, seed=5)
    assert len(first) == 2
    assert first == resolve(["random:2"], folder, seed=5)
    assert len(resolve(["random:99"], folder, seed=5)) == 4


def test_a_path_is_taken_from_where_it_is_whatever_it_holds(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = put(tmp_path_factory.mktemp("else"), "notes.txt", b"no dump")
    (found,) = resolve([str(elsewhere)], folder)
    assert found.path == elsewhere
    assert [a.name for a in resolve([f"{folder}/pos_*"], elsewhere)] == [a.name for a in resolve(["pos_*"], folder)]


def test_a_name_with_glob_characters_is_found_by_name(tmp_path: Path) -> None:
    put(tmp_path, "a[1].sql")
    assert resolve(["a[1].sql"], tmp_path)[0].name == "a[1].sql"


@pytest.mark.parametrize(
    ("request_", "message", "hint"),
    [
        ("pos_backup_20250101_000001.sql", "is called pos_backup_20250101_000001.sql", "did you mean pos_backup"),
        ("zzz", "no archive in", "there is crm_backup_20250104_000000.sql, pos"),
        ("latest:pso", "no archive of the database pso", "did you mean pos?"),
        ("latest:schema", "no archive of the database schema", "latest::schema"),
        ("latest:pos:data", "no data archive of the database pos", "pgdrill list"),
        ("latest::config", "holds no config archive", "pgdrill list"),
        ("./nowhere.sql", "does not exist", ""),
    ],
)
def test_what_means_nothing_is_answered_by_what_there_is(folder: Path, request_: str, message: str, hint: str) -> None:
    with pytest.raises(NoSuchArchiveError, match=message) as caught:
        resolve([request_], folder)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "request_", ["random:0", "random:many", "ftp://host/a.sql", "https://host/a.sql", "s3://bucket/"]
)
def test_what_cannot_mean_anything_is_a_usage_error(folder: Path, request_: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve([request_], folder)
    assert caught.value.hint


@pytest.mark.parametrize("request_", ["latest", "latest::data", "all", "random:1", "latest:pos", "*"])
def test_a_folder_without_archives_is_never_an_empty_answer(tmp_path: Path, request_: str) -> None:
    put(tmp_path, "README.md")
    with pytest.raises(NoSuchArchiveError, match="holds no archive, only 1 other file"):
        resolve([request_], tmp_path)


def test_a_folder_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoSuchArchiveError, match="does not exist"):
        resolve(["latest"], tmp_path / "nowhere")
    with pytest.raises(StoreError, match="does not exist"):
        list_archives(tmp_path / "nowhere")


def test_one_named_for_another_database_is_not_hidden_when_no_name_fits(tmp_path: Path) -> None:
    put(tmp_path, "pos_backup_20250101_000000.sql")
    put(tmp_path, "crm_backup_20250104_000000.sql")
    (tmp_path / f"crm_backup_20250104_000000.sql{SUFFIX}").write_bytes(render_manifest(a_manifest(database="ventas")))
    assert [archive.name for archive in resolve(["latest:ventas"], tmp_path)] == ["crm_backup_20250104_000000.sql"]
    with pytest.raises(NoSuchArchiveError, match="no archive of the database crm"):
        resolve(["latest:crm"], tmp_path)


def test_of_a_long_listing_few_files_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 29):
        put(tmp_path, f"pos_backup_202501{day:02}_000000.sql")
        (tmp_path / f"pos_backup_202501{day:02}_000000.sql{SUFFIX}").write_bytes(b"{}")
    opened: list[Path] = []
    whole = Path.open

    def noting(path: Path, *arguments, **options):  # type: ignore[no-untyped-def]
        opened.append(path)
        return whole(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", noting)
    assert [archive.name for archive in resolve(["latest"], tmp_path)] == ["pos_backup_20250128_000000.sql"]
    assert 1 <= len(opened) <= 2, opened


def test_a_day_that_does_not_exist_is_no_time(tmp_path: Path) -> None:
    put(tmp_path, "pos_backup_20250230_000000.sql", at="2025-01-01")
    put(tmp_path, "pos_backup_20250102_000000.sql")
    (latest,) = resolve(["latest"], tmp_path)
    assert latest.name == "pos_backup_20250102_000000.sql"
    assert [archive.taken_at_from for archive in list_archives(tmp_path)] == ["name", "file time"]


class Leaving(LocalStore):
    """Another run moves one file away between the listing and the look into it."""

    leaves: ClassVar[list[str]] = []

    def contents(self) -> Mapping[str, StoredItem]:
        contents = super().contents()
        for name in self.leaves:
            self.path(name).unlink()
        return contents


@pytest.mark.parametrize(
    ("leaves", "left"),
    [
        (["x.sql.gz"], []),
        (["d_backup_20250101_000000.sql.gz"], []),
        (["d_backup_20250101_000000.sql.gz", "d_backup_20250101_000000.sql.gz.manifest.json"], []),
        (["d_backup_20250101_000000.sql.gz.manifest.json"], ["name"]),
    ],
    ids=["foreign", "archive", "archive-and-manifest", "manifest"],
)
def test_what_goes_while_it_is_listed_is_not_there_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: list[str], left: list[str]
) -> None:
    name = leaves[0].removesuffix(SUFFIX)
    put(tmp_path, name, gzip.compress(DUMP, mtime=0))
    if name != "x.sql.gz":
        put(tmp_path, name + SUFFIX, render_manifest(a_manifest()))
    monkeypatch.setattr(Leaving, "leaves", leaves)
    assert [found.taken_at_from for found in list_archives(Leaving(tmp_path))] == left
