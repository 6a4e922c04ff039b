"""The same archives in several places: copied, compared by their bytes, mended, and never overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from object_stores import Bucket
from typer.testing import CliRunner

from backup_lib.archive import build_name, name_prefix
from backup_lib.catalog import list_archives, resolve
from backup_lib.cli.app import app
from backup_lib.codec import Digest
from backup_lib.errors import StoreError
from backup_lib.expiry import QUARANTINE, expire
from backup_lib.ledger import SUFFIX as LEDGER
from backup_lib.ledger import Entry, digest_stored, note_drill, read_ledger
from backup_lib.manifest import SUFFIX, Manifest, parse_manifest, render_manifest
from backup_lib.places import open_place
from backup_lib.replicas import copy_archive, sync_places
from backup_lib.retention import Policy
from backup_lib.store import LocalStore, Store

DUMP = b"--\n-- PostgreSQL database dump\n--\n\n"
OLD, NEW = "pos_backup_20250101_020000.sql", "pos_backup_20250301_020000.sql"
TEMPLATE = Path(__file__).parent / "manifest.json"


def a_manifest(name: str, data: bytes) -> Manifest:
    digest = Digest()
    digest.update(data)
    taken_at = datetime.strptime(name[11:26], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    manifest = parse_manifest(TEMPLATE.read_bytes())
    assert manifest.archive
    facts = replace(manifest.archive, name=name, size_bytes=digest.size_bytes, sha256=digest.sha256)
    return replace(manifest, archive=facts, source=replace(manifest.source, snapshot_at=taken_at))


def put(store: Store, name: str, data: bytes = DUMP, *, with_manifest: bool = True) -> None:
    files = {name: data} | ({name + SUFFIX: render_manifest(a_manifest(name, data))} if with_manifest else {})
    for file, content in files.items():
        with store.create(file) as sink:
            sink.write(content)


def drill(store: Store, name: str) -> None:
    size_bytes, sha256 = digest_stored(store, name)
    note_drill(
        store,
        name,
        Entry(
            drill_id="d1", verdict="verified", level="full", causes=(), finished_at=datetime.now(UTC),
            sha256=sha256, size_bytes=size_bytes, pgdrill="0.1.0",
        ),
    )  # fmt: skip


def names(store: Store) -> set[str]:
    return {item.name for item in store.items()}


def statuses(places: list[Store], **options: bool) -> dict[str, str]:
    return {replica.place: replica.status for replica in sync_places(places, **options)}


@pytest.fixture
def here(tmp_path: Path) -> LocalStore:
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    return LocalStore(folder)


@pytest.fixture
def there(bucket: str) -> Store:
    return open_place(f"{bucket}/backups")


@pytest.fixture
def beside(tmp_path: Path) -> LocalStore:
    (tmp_path / "usb").mkdir(mode=0o700)
    return LocalStore(tmp_path / "usb")


def test_a_bucket_is_listed_resolved_and_pruned_like_a_folder(there: Store) -> None:
    put(there, OLD), put(there, NEW), put(there, "foreign.sql", with_manifest=False)
    for name in (OLD, NEW):
        drill(there, name)
    (latest,) = resolve(["latest:pos"], there)
    assert (latest.name, latest.taken_at_from, latest.path) == (NEW, "manifest", None)
    assert resolve([f"{there.location}/{OLD}"], "nowhere")[0].name == OLD
    assert {found.name for found in list_archives(there)} == {OLD, NEW, "foreign.sql"}
    now = datetime(2025, 3, 2, tzinfo=UTC)
    assert {item.found.name: item.action for item in expire(there, Policy(), now=now)}[OLD] == "delete"
    assert names(there) == {NEW, NEW + SUFFIX, NEW + LEDGER, "foreign.sql"}


def test_sync_gives_each_place_what_it_lacks_with_what_was_proved_of_it(here: LocalStore, there: Store) -> None:
    put(here, OLD), put(there, NEW)
    drill(here, OLD)
    assert set(statuses([here, there], dry_run=True).values()) <= {"equal", "missing"}
    assert names(there) == {NEW, NEW + SUFFIX}
    sync_places([here, there])
    assert names(here) == names(there) | {NEW}
    assert b"".join(there.open_read(OLD)) == DUMP
    assert read_ledger(there, OLD) == read_ledger(here, OLD)
    assert set(statuses([here, there]).values()) == {"equal"}


def test_the_only_manifest_is_given_to_the_sound_copy_before_the_damaged_one_goes_aside(
    here: LocalStore, there: Store
) -> None:
    """A killed copy takes the manifest along that lies beside what it did not end."""
    put(here, OLD, with_manifest=False), put(there, OLD)
    there.replace(OLD, b"rotten")
    assert statuses([here, there])[there.location] == "replaced"
    assert names(here) == names(there) == {OLD, OLD + SUFFIX}


def test_a_copy_that_has_rotted_is_found_by_its_bytes_and_mended(here: LocalStore, there: Store) -> None:
    """Size and name are right, so that rsync would never repair it."""
    put(here, OLD)
    sync_places([here, there])
    there.replace(OLD, DUMP.replace(b"PostgreSQL", b"PostgreSQl"))
    assert statuses([here, there], quick=True)[there.location] == "equal"  # what --quick cannot see
    assert statuses([here, there], dry_run=True)[there.location] == "damaged"
    assert statuses([here, there])[there.location] == "replaced"
    assert b"".join(there.open_read(OLD)) == DUMP
    aside = there.under(QUARANTINE)
    assert names(aside) == {OLD}

    put(there, NEW), drill(there, NEW)
    policy, later = Policy(keep_days=9999), datetime(2025, 3, 2, tzinfo=UTC)
    expire(there, policy, now=datetime(2025, 1, 2, tzinfo=UTC))  # the first prune that sees it
    there.replace(OLD, DUMP.replace(b"PostgreSQL", b"PostGreSQL"))
    expire(there, policy, now=later)
    assert OLD in names(aside)  # two damaged copies: neither is known to be worse
    there.replace(OLD, DUMP)
    expire(there, policy, now=later)
    assert names(aside) == set()


def test_the_first_place_is_no_better_than_the_others(here: LocalStore, beside: LocalStore) -> None:
    put(beside, OLD)
    sync_places([here, beside])
    here.path(OLD).write_bytes(b"")
    assert statuses([here, beside]) == {here.location: "replaced", beside.location: "equal"}
    assert here.path(OLD).read_bytes() == DUMP
    assert here.path(OLD).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("with_manifest", [True, False])
def test_two_archives_under_one_name_are_a_conflict_and_both_stay(
    here: LocalStore,
    beside: LocalStore,
    with_manifest: bool,  # noqa: FBT001
) -> None:
    put(here, OLD, DUMP, with_manifest=with_manifest)
    put(beside, OLD, DUMP + b"other", with_manifest=with_manifest)
    assert set(statuses([here, beside]).values()) == {"conflict"}
    assert (here.path(OLD).read_bytes(), beside.path(OLD).read_bytes()) == (DUMP, DUMP + b"other")


def test_when_no_copy_is_good_nothing_is_copied(here: LocalStore, beside: LocalStore) -> None:
    put(here, OLD)
    here.path(OLD).write_bytes(b"")
    assert statuses([here, beside]) == {here.location: "damaged"}
    assert names(beside) == set()


def test_a_place_that_is_down_does_not_keep_the_others_apart(
    here: LocalStore, beside: LocalStore, tmp_path: Path
) -> None:
    put(here, OLD)
    lost = LocalStore(tmp_path / "lost")
    assert statuses([lost, here, beside]) == {
        lost.location: "failed",
        here.location: "equal",
        beside.location: "copied",
    }


class Corrupting(LocalStore):
    def create(self, name: str):  # type: ignore[no-untyped-def]
        manager = super().create(name)

        class Flipping:
            def __enter__(self):  # type: ignore[no-untyped-def]
                self.sink = manager.__enter__()
                return self

            def write(self, data: bytes) -> None:
                self.sink.write(data[:-1] + bytes([data[-1] ^ 1]))

            def __exit__(self, *exc):  # type: ignore[no-untyped-def]
                return manager.__exit__(*exc)

        return Flipping()


def test_a_place_that_gives_other_bytes_back_keeps_nothing(here: LocalStore, tmp_path: Path) -> None:
    put(here, OLD)
    bad = Corrupting(tmp_path / "bad")
    with pytest.raises(StoreError, match="gives back other bytes"):
        copy_archive(OLD, here, bad)
    assert names(bad) == set()


def test_sync_tells_by_its_exit_status(here: LocalStore, beside: LocalStore, tmp_path: Path) -> None:
    put(here, OLD)
    run = CliRunner().invoke
    said = run(app, ["sync", here.location, beside.location, "--json"])
    assert said.exit_code == 0
    assert [r["status"] for r in json.loads(said.stdout)["replicas"]] == ["equal", "copied"]
    assert run(app, ["sync", here.location, beside.location, str(tmp_path / "no")]).exit_code == 3
    lacking = LocalStore(tmp_path / "lacking")
    with lacking.lock(name_prefix("pos")):  # a backup is at it
        said = run(app, ["sync", here.location, str(lacking.folder)])
        assert (said.exit_code, "another run writes pos_backup_*" in said.stdout) == (11, True)
        assert run(app, ["sync", here.location, str(lacking.folder), str(tmp_path / "no")]).exit_code == 3
    assert run(app, ["sync", here.location, str(lacking.folder)]).exit_code == 0
    put(beside, NEW), put(here, NEW, DUMP + b"x")
    said = run(app, ["sync", here.location, beside.location])
    assert said.exit_code == 1
    assert "its manifests differ" in said.stdout
    with pytest.raises(Exception, match="nothing to be compared"):
        run(app, ["sync", here.location], standalone_mode=False, catch_exceptions=False)


def test_a_listing_of_a_bucket_takes_few_requests(
    use_s3: Callable[[str], Bucket], moto_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = open_place(use_s3(moto_endpoint)())
    for day in range(1, 29):
        at = datetime(2025, 2, day, 2, tzinfo=UTC)
        name = build_name("pos", at, kind="full", format="plain", compression="none")
        put(there, name)
    asked: list[str] = []
    counting = Counting(there, asked)
    assert resolve(["latest"], counting)[0].name == name
    assert asked.count("contents") == 1
    assert len(asked) <= 4, asked  # the list; of one archive its manifest and its head


class Counting:
    """A place that keeps a list of what is asked of it."""

    def __init__(self, store: Store, asked: list[str]) -> None:
        self._store = store
        self._asked = asked

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        if name != "location":
            self._asked.append(name)
        return getattr(self._store, name)
