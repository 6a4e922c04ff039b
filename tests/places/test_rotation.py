"""Months in bundles: nothing goes before its bundle is proved, and what is in one is an archive as before."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fragile import Fragile, Interrupted
from object_stores import Bucket
from test_replicas import DUMP, drill, put
from typer.testing import CliRunner

from backup_lib.bundle import FOLDER, INDEX
from backup_lib.catalog import list_archives, resolve
from backup_lib.cli.app import app
from backup_lib.errors import NoSuchArchiveError, StoreError
from backup_lib.expiry import expire, finish_interrupted, plan_expiry
from backup_lib.ledger import SUFFIX as LEDGER
from backup_lib.ledger import Entry, digest_stored, note_drill, read_ledger
from backup_lib.manifest import SUFFIX, parse_manifest
from backup_lib.packing import rotate
from backup_lib.places import open_place
from backup_lib.replicas import sync_places
from backup_lib.retention import Policy
from backup_lib.rotation import plan_rotation
from backup_lib.store import LocalStore, Store

NOW = datetime(2025, 11, 24, 12, tzinfo=UTC)
SEPTEMBER = [f"pos_backup_202509{day:02}_020000.sql" for day in (1, 15, 30)]
OCTOBER, NEWEST = "pos_backup_20251020_020000.sql", "pos_backup_20251123_020000.sql"
ALL = [*SEPTEMBER, OCTOBER, NEWEST]
BUNDLE = "pos_archive_202509.tar"


def content(name: str) -> bytes:
    return DUMP + name.encode() * 400


def fill(store: Store, names: list[str] = ALL, *, drilled: bool = True) -> None:
    for name in names:
        put(store, name, content(name))
        if drilled:
            drill(store, name)


def read(store: Store, name: str) -> bytes:
    return b"".join(store.open_read(name))


def loose(store: Store) -> list[str]:
    return [item.name for item in store.items() if item.name.endswith(".sql")]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "backups").mkdir(mode=0o700)
    return LocalStore(tmp_path / "backups")


def test_a_month_is_packed_when_it_is_over_and_old_enough_and_each_file_has_its_reason(store: LocalStore) -> None:
    fill(store)
    put(store, "foreign.sql", DUMP, with_manifest=False)
    planned = {one.found.name: one for one in plan_rotation(store, older_than_days=40, now=NOW)}
    assert [name for name, one in planned.items() if one.action == "pack"] == SEPTEMBER[::-1]
    assert planned[SEPTEMBER[0]].bundle == BUNDLE
    assert "the youngest of its month, 2025-10, is 35 days old" in planned[OCTOBER].reason
    assert "the newest one of its database and kind" in planned[NEWEST].reason
    assert "foreign" in planned["foreign.sql"].reason
    assert sorted(loose(store)) == sorted([*ALL, "foreign.sql"])
    assert not (store.folder / FOLDER).exists()


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_what_is_in_a_bundle_is_found_read_and_drilled_where_it_lies(
    place: str, store: LocalStore, request: pytest.FixtureRequest
) -> None:
    there: Store = store if place == "folder" else open_place(f"{bucket_of(request)()}/rotated")
    fill(there)
    done = rotate(there, older_than_days=40, now=NOW)
    assert [one.failure for one in done] == [None] * 5
    assert loose(there) == [OCTOBER, NEWEST]
    assert [item.name for item in there.under(FOLDER).items()] == [BUNDLE, BUNDLE + INDEX]
    assert [found.name for found in list_archives(there)] == ALL[::-1]
    assert [found.name for found in resolve(["all"], there)] == ALL[::-1]
    assert resolve(["latest"], there)[0].name == NEWEST
    (found,) = resolve([SEPTEMBER[1]], there)
    assert (found.bundle, found.taken_at_from, found.has_manifest, found.path) == (BUNDLE, "manifest", True, None)
    assert read(found.store, found.name) == content(found.name)
    assert parse_manifest(read(found.store, found.manifest_name)).archive
    assert resolve([found.address], "elsewhere")[0].bundle == BUNDLE
    assert [one.name for one in resolve([found.store.location], "elsewhere")] == SEPTEMBER[::-1]
    assert resolve(["latest"], found.store.location)[0].name == SEPTEMBER[2]
    with pytest.raises(NoSuchArchiveError, match="is called nothing"):
        resolve(["nothing"], there)

    size_bytes, sha256 = digest_stored(found.store, found.name)
    entry = read_ledger(found.store, found.name).entries[0]
    note_drill(found.store, found.name, replace(entry, drill_id="d2", sha256=sha256, size_bytes=size_bytes))
    (again,) = resolve([found.name], there)
    assert [one.drill_id for one in read_ledger(again.store, found.name).entries] == ["d1", "d2"]
    assert again.has_ledger
    assert read(again.store, found.name) == content(found.name), "the tar file is what it was"


def bucket_of(request: pytest.FixtureRequest) -> Bucket:
    use_s3: Callable[[str], Bucket] = request.getfixturevalue("use_s3")
    return use_s3(request.getfixturevalue("moto_endpoint"))


def test_tar_takes_a_bundle_apart_and_its_files_are_whole(store: LocalStore, tmp_path: Path) -> None:
    fill(store)
    rotate(store, older_than_days=40, now=NOW)
    subprocess.run(["tar", "-xf", store.folder / FOLDER / BUNDLE, "-C", tmp_path], check=True)
    for name in SEPTEMBER:
        assert (tmp_path / name).read_bytes() == content(name)
        assert (tmp_path / (name + SUFFIX)).exists()
        assert (tmp_path / (name + LEDGER)).exists()
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_late_archive_of_a_month_that_is_packed_gets_a_bundle_of_its_own(store: LocalStore) -> None:
    fill(store)
    rotate(store, older_than_days=40, now=NOW)
    late = "pos_backup_20250917_020000.sql"
    fill(store, [late])
    rotate(store, older_than_days=40, now=NOW)
    assert resolve([late], store)[0].bundle == "pos_archive_202509_2.tar"


def test_a_damaged_archive_is_not_packed_and_stops_no_other(store: LocalStore) -> None:
    fill(store)
    store.path(SEPTEMBER[1]).write_bytes(content("another")[: len(content(SEPTEMBER[1]))])
    done = {one.found.name: one for one in rotate(store, older_than_days=40, now=NOW)}
    assert "not those that its manifest promises" in str(done[SEPTEMBER[1]].failure)
    assert loose(store) == [SEPTEMBER[1], OCTOBER, NEWEST]
    assert {found.name for found in list_archives(store)} == set(ALL)


class Rotten(LocalStore):
    """A disk that gives back other bytes than it was given, in the folder of bundles."""

    def under(self, folder: str) -> Rotten:
        return Rotten(self.path(folder))

    def read_range(self, name: str, start: int, size_bytes: int) -> Iterator[bytes]:
        for chunk in super().read_range(name, start, size_bytes):
            yield chunk[:-1] + b"?" if size_bytes > 4000 else chunk


def test_nothing_goes_when_the_bundle_reads_back_otherwise(store: LocalStore) -> None:
    fill(store)
    done = rotate(Rotten(store.folder), older_than_days=40, now=NOW)
    assert sum("gives back other bytes" in str(one.failure) for one in done) == 3
    assert loose(store) == ALL
    assert not store.under(FOLDER).items()


def test_interrupted_anywhere_no_archive_is_lost_or_there_twice_and_the_next_run_ends_it(tmp_path: Path) -> None:
    for changes in range(60):
        store = Fragile(tmp_path / str(changes))
        Fragile.left[0] = 1000
        fill(store)
        Fragile.left[0] = changes
        try:
            rotate(store, older_than_days=40, now=NOW)
        except Interrupted:
            ended = False
        else:
            ended = True
        Fragile.left[0] = 1000
        for _ in range(2):
            assert sorted(found.name for found in list_archives(store)) == ALL, changes
            for found in list_archives(store):
                assert read(found.store, found.name) == content(found.name)
                assert read_ledger(found.store, found.name).entries, changes
            done = rotate(store, older_than_days=40, now=NOW)
            assert not any(one.failure for one in done), (changes, done)
        finish_interrupted(store)
        assert loose(store) == [OCTOBER, NEWEST]
        assert all(not item.name.startswith("pos_backup_202509") for item in store.items()), changes
        if ended:
            break
    else:
        pytest.fail("it never came to its end")


# Damaged bundles


def test_a_bundle_without_its_index_is_read_by_its_headers_and_gets_one_again(store: LocalStore) -> None:
    fill(store)
    rotate(store, older_than_days=40, now=NOW)
    index = store.folder / FOLDER / (BUNDLE + INDEX)
    for damage in (index.unlink, lambda: index.write_bytes(b"{")):
        damage()
        assert [found.name for found in list_archives(store)] == ALL[::-1]
        (found,) = resolve([SEPTEMBER[0]], store)
        assert read(found.store, found.name) == content(found.name)
        assert read_ledger(found.store, found.name).entries
        rotate(store, older_than_days=40, now=NOW)
        assert json.loads(index.read_bytes())["members"][0]["sha256"]


def test_a_damaged_bundle_hides_nothing_and_its_archives_are_not_what_was_promised(store: LocalStore) -> None:
    fill(store)
    rotate(store, older_than_days=40, now=NOW)
    tar = store.folder / FOLDER / BUNDLE
    whole = tar.read_bytes()
    for data in (whole[: len(whole) // 2], whole.replace(SEPTEMBER[2].encode() * 2, b"?" * 58), b"no tar file", b""):
        tar.write_bytes(data)
        assert {found.name for found in list_archives(store)} == set(ALL)
        damaged = 0
        for name in SEPTEMBER:
            (found,) = resolve([name], store)
            try:
                manifest = parse_manifest(read(found.store, found.manifest_name))
            except Exception:  # noqa: BLE001 - of whatever kind: it is seen
                damaged += 1
                continue
            assert manifest.archive
            damaged += digest_stored(found.store, found.name)[1] != manifest.archive.sha256
        assert damaged, data[:20]


# Retention


def test_a_bundle_goes_when_all_in_it_may_and_not_before(store: LocalStore) -> None:
    fill(store)
    rotate(store, older_than_days=40, now=NOW)
    policy = Policy(keep_days=30, monthly=3)  # the last of September stays
    planned = {one.found.name: one for one in plan_expiry(store, policy, now=NOW)}
    assert {one.action for one in planned.values()} == {"keep"}
    assert f"its bundle stays as long as {SEPTEMBER[2]} does" in planned[SEPTEMBER[0]].reason
    expire(store, policy, now=NOW)
    assert {found.name for found in list_archives(store)} == set(ALL)

    gone = {one.found.name for one in expire(store, Policy(keep_days=40), now=NOW) if one.action == "delete"}
    assert gone == set(SEPTEMBER)
    assert not store.under(FOLDER).items()
    assert [found.name for found in list_archives(store)] == [NEWEST, OCTOBER]


def test_the_newest_verified_archive_is_not_deleted_in_its_bundle(store: LocalStore) -> None:
    fill(store, SEPTEMBER)
    fill(store, [OCTOBER, NEWEST], drilled=False)
    rotate(store, older_than_days=20, now=NOW)
    assert loose(store) == [SEPTEMBER[2], NEWEST]  # verified, and the newest of all: both at hand
    store.path(NEWEST).unlink()
    assert SEPTEMBER[2] in {one.found.name for one in expire(store, Policy(keep_days=1), now=NOW)}
    assert SEPTEMBER[2] in {found.name for found in list_archives(store)}


def test_what_fails_its_drill_in_a_bundle_waits_there(store: LocalStore) -> None:
    fill(store)
    rotate(store, older_than_days=40, now=NOW)
    (found,) = resolve([SEPTEMBER[0]], store)
    size_bytes, sha256 = digest_stored(found.store, found.name)
    entry = Entry(
        drill_id="d3", verdict="failed", level="full", causes=("archive",), finished_at=NOW, sha256=sha256,
        size_bytes=size_bytes, pgdrill="0.1.0",
    )  # fmt: skip
    note_drill(found.store, found.name, entry)
    planned = {one.found.name: one for one in expire(store, Policy(), now=NOW)}
    assert (planned[found.name].action, planned[found.name].standing) == ("keep", "failed")
    assert found.name in {one.name for one in list_archives(store)}


def test_an_interrupted_deletion_of_a_bundle_is_ended_by_the_next_run(tmp_path: Path) -> None:
    for changes in range(3):
        store = Fragile(tmp_path / str(changes))
        Fragile.left[0] = 1000
        fill(store)
        rotate(store, older_than_days=40, now=NOW)
        Fragile.left[0] = changes
        with suppress(Interrupted):
            expire(store, Policy(keep_days=40), now=NOW)
        Fragile.left[0] = 1000
        expire(store, Policy(keep_days=40), now=NOW)
        assert not store.under(FOLDER).items()


# Other commands


def test_sync_takes_what_is_bundled_for_what_is_there(store: LocalStore, tmp_path: Path) -> None:
    fill(store)
    (tmp_path / "usb").mkdir(mode=0o700)
    beside = LocalStore(tmp_path / "usb")
    sync_places([store, beside])
    rotate(store, older_than_days=40, now=NOW)
    assert {replica.status for replica in sync_places([store, beside])} == {"equal"}
    assert loose(store) == [OCTOBER, NEWEST]
    beside.delete(SEPTEMBER[0])
    beside.path(SEPTEMBER[1]).write_bytes(b"rotten")
    found = {(one.name, one.place): one.status for one in sync_places([store, beside])}
    assert (found[SEPTEMBER[0], beside.location], found[SEPTEMBER[1], beside.location]) == ("copied", "replaced")
    assert read(beside, SEPTEMBER[1]) == content(SEPTEMBER[1])


def test_a_bundle_is_never_changed(store: LocalStore) -> None:
    fill(store)
    rotate(store, older_than_days=40, now=NOW)
    bundle = resolve([SEPTEMBER[0]], store)[0].store
    for change in (
        lambda: bundle.delete(SEPTEMBER[0]),
        lambda: bundle.replace(SEPTEMBER[0], b""),
        lambda: bundle.move(SEPTEMBER[0], "quarantine"),
        lambda: bundle.create("x"),
        lambda: bundle.under("x"),
    ):
        with pytest.raises(StoreError, match=r"a bundle stays as it was packed\nhint: take out .* tar -xf"):
            change()


def test_the_command_packs_and_says_so_and_with_dry_run_only_says_so(store: LocalStore) -> None:
    fill(store)
    words = ["rotate", "--backups", str(store.folder), "--older-than", "1", "--json"]
    planned = json.loads(CliRunner().invoke(app, [*words, "--dry-run"]).stdout)
    assert loose(store) == ALL
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    done = json.loads(said.stdout)
    assert (planned["dry_run"], done["dry_run"]) == (True, False)
    assert planned["archives"] == done["archives"]
    listed = json.loads(CliRunner().invoke(app, ["list", "--backups", str(store.folder), "--json"]).stdout)
    assert {one["name"]: one["bundle"] for one in listed}[OCTOBER] == "pos_archive_202510.tar"
    assert loose(store) == [NEWEST]


def test_an_archive_of_somebody_else_is_shown_out_of_its_bundle(store: LocalStore) -> None:
    old = "pos_backup_20250901_020000.sql"
    put(store, old, b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.t (a int);\n", with_manifest=False)
    fill(store, [NEWEST])
    assert not any(one.failure for one in rotate(store, older_than_days=40, now=NOW))
    said = CliRunner().invoke(app, ["show", old, "--backups", str(store.folder), "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["said_by"] == "the archive itself"
    assert json.loads(said.stdout)["bundle"] == BUNDLE


def test_another_key_for_all_leaves_bundles_as_they_are_and_says_so(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyrage")
    fill(store, [SEPTEMBER[0], NEWEST])
    rotate(store, older_than_days=40, now=NOW)
    monkeypatch.setenv("BACKUP_ENCRYPT_PASSWORD", "una frase larga de prueba")
    said = CliRunner().invoke(app, ["rewrap", "all", "--backups", str(store.folder), "--json"])
    told = {one["name"]: one for one in json.loads(said.stdout)["archives"]}
    assert said.exit_code == 3
    assert told[NEWEST]["failure"] is None
    assert "lies in the bundle" in told[SEPTEMBER[0]]["failure"]
    assert resolve([SEPTEMBER[0]], store)[0].bundle == BUNDLE
    assert loose(store) == []
