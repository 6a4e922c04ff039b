"""Retention carried out in a folder: what goes, what stays, and what an interruption leaves."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from archives import a_manifest
from test_cli import Pgdrill, pgdrill  # noqa: F401 - a fixture
from test_ledger import an_entry

from backup_lib.errors import BackupError, LockedError, StoreError
from backup_lib.expiry import QUARANTINE, Planned, expire, finish_interrupted, plan_expiry
from backup_lib.ledger import SUFFIX, Entry, digest_stored, note_drill, read_ledger
from backup_lib.manifest import SUFFIX as MANIFEST
from backup_lib.manifest import render_manifest
from backup_lib.retention import Policy
from backup_lib.store import LocalStore

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DUMP = b"--\n-- PostgreSQL database dump\n--\n\n"
FAILED = ("failed", ("archive",))
FINE = ("verified", ())


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    return LocalStore(folder)


def put(store: LocalStore, days: int, outcome: tuple[str, tuple[str, ...]] | None = None, *, db: str = "pos") -> str:
    """An archive that many days old, and how its drill ended."""
    name = f"{db}_backup_{NOW - timedelta(days=days):%Y%m%d_%H%M%S}.sql"
    store.path(name).write_bytes(DUMP + name.encode())
    if outcome:
        drill(store, name, outcome)
    return name


def drill(store: LocalStore, name: str, outcome: tuple[str, tuple[str, ...]]) -> None:
    size_bytes, sha256 = digest_stored(store, name)
    entry: Entry = an_entry(outcome[0], causes=outcome[1], sha256=sha256, size=size_bytes)
    note_drill(store, name, entry)


def actions(planned: list[Planned]) -> dict[str, str]:
    return {item.found.name: item.action for item in planned}


def names(store: LocalStore) -> set[str]:
    return {item.name for item in store.items()}


def test_a_full_disk_is_no_reason_to_keep_what_fills_it(store: LocalStore) -> None:
    """The mark that comes before a deletion found no room, and so nothing could be freed."""
    old, older, new = put(store, 90, FINE), put(store, 91, FINE), put(store, 1, FINE)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, former[1]))
    try:
        done = expire(store, Policy(keep_days=30), now=NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert {item.found.name for item in done if item.action == "delete" and not item.failure} == {old, older}
    assert names(store) == {new, new + SUFFIX}


def test_old_verified_archives_go_with_all_that_is_theirs(store: LocalStore) -> None:
    old, new = put(store, 90, FINE), put(store, 1, FINE)
    (store.folder / f"{old}{MANIFEST}").write_bytes(b"{}")
    planned = actions(expire(store, Policy(), now=NOW))
    assert planned == {old: "delete", new: "keep"}
    assert names(store) == {new, new + SUFFIX}


def test_one_that_its_servers_clock_made_old_is_judged_by_the_other_clock(store: LocalStore) -> None:
    """The server's clock was a year behind: by its manifest, each new archive would go at the next prune."""
    old, behind, newest = put(store, 90, FINE), put(store, 0, FINE), put(store, 1, FINE)
    manifest = a_manifest()
    assert manifest.archive
    source = replace(manifest.source, snapshot_at=NOW - timedelta(days=365))
    facts = replace(manifest.archive, started_at=NOW, clocks_differed=True)
    store.path(behind + MANIFEST).write_bytes(render_manifest(replace(manifest, source=source, archive=facts)))
    planned = plan_expiry(store, Policy(keep_max=1), now=NOW)
    assert actions(planned) == {old: "delete", behind: "keep", newest: "keep"}
    (reason,) = (one.reason for one in planned if one.found.name == behind)
    assert reason.startswith("its server's clock said 2025-11-24 12:00Z")
    later = actions(plan_expiry(store, Policy(), now=NOW + timedelta(days=40)))
    assert later == {old: "delete", behind: "keep", newest: "keep"}
    put(store, -40, FINE)
    assert actions(plan_expiry(store, Policy(), now=NOW + timedelta(days=41)))[behind] == "delete"


def test_bad_days_do_not_push_the_good_ones_out(store: LocalStore) -> None:
    """DBackup issue 154, Security-Onion PR 15896: failed backups counted, and every good copy was evicted."""
    good = [put(store, days, FINE) for days in (40, 41)]
    bad = [put(store, days, FAILED) for days in range(10)]
    untried = [put(store, days) for days in range(10, 20)]
    expire(store, Policy(keep_max=2, keep_days=7), now=NOW)
    assert {*good, *untried} <= names(store)
    assert not {*bad} & names(store)
    assert {*bad} <= names(store.under(QUARANTINE))


def test_nothing_is_deleted_while_nothing_was_verified(store: LocalStore) -> None:
    made = {put(store, days) for days in (1, 50, 400)}
    assert set(actions(expire(store, Policy(), now=NOW)).values()) == {"keep"}
    assert names(store) == made


def test_a_missed_objective_is_no_damage(store: LocalStore) -> None:
    name = put(store, 1, ("failed", ("policy",)))
    (planned,) = expire(store, Policy(), now=NOW)
    assert (planned.action, planned.standing) == ("keep", "verified")
    assert name in names(store)


def test_an_archive_that_was_verified_and_then_altered_does_not_count(store: LocalStore) -> None:
    old, rotten = put(store, 90, FINE), put(store, 1, FINE)
    store.path(rotten).write_bytes(store.path(rotten).read_bytes().replace(b"PostgreSQL", b"PostgresQL"))
    planned = {item.found.name: item for item in expire(store, Policy(), now=NOW)}
    assert planned[old].action == "keep"
    assert planned[rotten].standing == "unverified"
    assert "bytes are not those that were drilled" in planned[rotten].reason
    assert {old, rotten} <= names(store)


def test_a_replaced_file_under_an_old_name_does_not_inherit_its_drill(store: LocalStore) -> None:
    name = put(store, 1, FINE)
    store.path(name).write_bytes(DUMP)
    (planned,) = plan_expiry(store, Policy(), now=NOW)
    assert planned.standing == "unverified"


@pytest.mark.parametrize("outcome", [("could_not_verify", ("environment",)), ("failed", ("environment",))])
def test_bytes_of_which_a_drill_said_nothing_are_not_called_other_bytes(
    store: LocalStore, outcome: tuple[str, tuple[str, ...]]
) -> None:
    put(store, 1, outcome)
    (planned,) = plan_expiry(store, Policy(), now=NOW)
    assert planned.reason == "no archive of this database and kind was ever verified"


def test_file_times_decide_nothing(store: LocalStore) -> None:
    put(store, 1, FINE)
    (store.folder / "foreign.sql").write_bytes(DUMP)
    drill(store, "foreign.sql", FINE)
    planned = {item.found.name: item for item in expire(store, Policy(keep_max=1), now=NOW + timedelta(days=9999))}
    assert planned["foreign.sql"].action == "keep"
    assert "foreign" in planned["foreign.sql"].reason


def test_a_clock_that_jumps_ahead_costs_no_archive(store: LocalStore) -> None:
    made = {put(store, days, FINE) for days in range(20)}
    expire(store, Policy(), now=NOW + timedelta(days=3650))
    assert made <= names(store)


def test_archives_from_the_future_are_said_and_stay(store: LocalStore) -> None:
    ahead, old = put(store, -400, FINE), put(store, 1, FINE)
    planned = {item.found.name: item for item in expire(store, Policy(keep_max=1), now=NOW)}
    assert "from the future" in planned[ahead].reason
    assert {ahead, old} <= names(store)


def test_the_manifests_time_counts_before_the_names(store: LocalStore) -> None:
    """It was copied under another name; the manifest knows when its data is from."""
    new = put(store, 1, FINE)
    named = put(store, 2, FINE)
    (store.folder / f"{named}{MANIFEST}").write_bytes(render_manifest(a_manifest()))  # of February 2025
    assert actions(plan_expiry(store, Policy(), now=NOW)) == {new: "keep", named: "delete"}


def test_a_failed_archive_is_deleted_only_after_newer_ones_were_verified_for_as_long(store: LocalStore) -> None:
    bad = put(store, 1, FAILED)
    put(store, 2, FINE)
    expire(store, Policy(quarantine_days=30), now=NOW)
    aside = store.under(QUARANTINE)
    assert names(aside) == {bad, bad + SUFFIX}
    assert aside.folder.stat().st_mode & 0o777 == 0o700
    expire(store, Policy(quarantine_days=30), now=NOW + timedelta(days=365))
    assert bad in names(aside)  # time alone proves nothing
    put(store, -32, FINE)
    expire(store, Policy(quarantine_days=30), now=NOW + timedelta(days=40))
    assert names(aside) == set()


def test_one_that_was_set_aside_and_is_fine_after_all_stays(store: LocalStore) -> None:
    bad = put(store, 60, FAILED)
    put(store, 70, FINE)
    expire(store, Policy(), now=NOW)
    drill(store.under(QUARANTINE), bad, FINE)
    put(store, 0, FINE)
    planned = {item.found.name: item for item in expire(store, Policy(quarantine_days=1), now=NOW + timedelta(days=9))}
    assert "move it back" in planned[bad].reason
    assert bad in names(store.under(QUARANTINE))


def test_directory_archives_go_whole(store: LocalStore) -> None:
    old = f"pos_backup_{NOW - timedelta(days=90):%Y%m%d_%H%M%S}.dir"
    store.path(old).mkdir()
    (store.path(old) / "toc.dat").write_bytes(b"PGDMP")
    drill(store, old, FINE)
    new = put(store, 1, FINE)
    expire(store, Policy(), now=NOW)
    assert names(store) == {new, new + SUFFIX}


class Interrupting(LocalStore):
    """A folder whose power goes before the so many-th change."""

    changes_left = 0

    def _count(self) -> None:
        Interrupting.changes_left -= 1
        if Interrupting.changes_left < 0:
            raise KeyboardInterrupt

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)

    def move(self, name: str, folder: str) -> None:
        self._count()
        super().move(name, folder)

    def replace(self, name: str, data: bytes) -> None:
        self._count()
        super().replace(name, data)


@pytest.mark.parametrize("changes", range(9))
def test_an_interruption_anywhere_leaves_no_foreign_archive_and_is_finished_by_the_next_run(
    store: LocalStore, changes: int
) -> None:
    old, bad, new = put(store, 90, FINE), put(store, 2, FAILED), put(store, 1, FINE)
    for name in (old, bad, new):
        (store.folder / f"{name}{MANIFEST}").write_bytes(b"{}")
    Interrupting.changes_left = changes
    try:
        expire(Interrupting(store.folder), Policy(), now=NOW)
    except KeyboardInterrupt:
        for archive in plan_expiry(store, Policy(), now=NOW):
            assert archive.found.has_manifest or archive.found.store != store
    expire(store, Policy(), now=NOW)
    assert names(store) == {new, new + SUFFIX, new + MANIFEST, QUARANTINE}
    assert names(store.under(QUARANTINE)) == {bad, bad + SUFFIX, bad + MANIFEST}


class Locked(LocalStore):
    """A place that refuses to delete archives, as a bucket with Object Lock does."""

    def delete(self, name: str) -> None:
        if not name.endswith(".json"):
            raise StoreError(f"{name}: it is locked until 2027")
        super().delete(name)


def test_a_refused_deletion_leaves_the_archive_whole_and_the_others_go_on(store: LocalStore) -> None:
    old, new = put(store, 90, FINE), put(store, 1, FINE)
    before = read_ledger(store, old)
    planned = {item.found.name: item for item in expire(Locked(store.folder), Policy(), now=NOW)}
    assert "locked until 2027" in planned[old].failure
    assert read_ledger(store, old) == before
    assert finish_interrupted(store) == []
    assert {old, new} <= names(store)


def test_a_manifest_that_waits_for_its_archive_is_not_swept_away(store: LocalStore) -> None:
    (store.folder / f"mine.sql{MANIFEST}").write_bytes(b"{}")
    put(store, 1, FINE)
    expire(store, Policy(), now=NOW)
    assert f"mine.sql{MANIFEST}" in names(store)


def test_while_a_backup_runs_nothing_is_deleted(store: LocalStore) -> None:
    old = put(store, 90, FINE)
    put(store, 1, FINE)
    with store.lock("pos_backup_"), pytest.raises(LockedError):
        expire(store, Policy(), now=NOW)
    assert old in names(store)


def test_a_dry_run_prints_each_archive_with_its_reason_and_changes_nothing(
    pgdrill: Pgdrill,
    store: LocalStore,
) -> None:
    put(store, 90, FINE), put(store, 1, FINE), put(store, 3, FAILED), put(store, 5), put(store, 4, db="crm")
    before = {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    said = pgdrill("prune", "--dry-run")
    assert said.status == 0
    assert {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before
    lines = [line for line in said.out.splitlines() if "_backup_" in line]
    assert [line.split()[0] for line in lines] == ["keep", "set", "keep", "keep", "delete"]
    assert "1 would be deleted" in said.out
    assert (
        "no full archive of crm is verified, so none is deleted; verify one: pgdrill verify latest:crm:full" in said.err
    )


def test_pruning_tells_what_it_did_as_json(pgdrill: Pgdrill, store: LocalStore) -> None:
    old, new = put(store, 90, FINE), put(store, 1, FINE)
    said = pgdrill("prune", "--json", "--keep-days", "7")
    told = {item["name"]: item for item in json.loads(said.out)["archives"]}
    assert (told[old]["action"], told[new]["action"], told[old]["failure"]) == ("delete", "keep", None)
    assert names(store) == {new, new + SUFFIX}


def test_the_guides_variables_are_read(
    pgdrill: Pgdrill,
    store: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [put(store, days, FINE) for days in (1, 2, 3)]
    monkeypatch.setenv("BACKUP_MAX_FILES", "2")
    assert pgdrill("prune").status == 0
    assert names(store) & {*made} == {*made[:2]}


@pytest.mark.parametrize("words", [["--keep-days", "0"], ["--keep-max", "0"], ["--keep-daily", "-1"]])
def test_a_policy_that_keeps_nothing_is_a_usage_error(pgdrill: Pgdrill, words: list[str]) -> None:
    assert pgdrill("prune", *words).status == 2


def test_a_folder_that_is_not_there_is_said(pgdrill: Pgdrill) -> None:
    said = pgdrill("prune")
    assert (said.status, "does not exist" in said.err) == (3, True)
    assert not Path("backups").exists()


def test_the_list_tells_the_last_drill_and_its_age(pgdrill: Pgdrill, store: LocalStore) -> None:
    put(store, 1, FINE), put(store, 2)
    out = pgdrill("list").out.splitlines()
    assert "verified" in out[1]
    assert out[1].endswith("ago")
    assert out[2].endswith("never")
    listed = json.loads(pgdrill("list", "--json").out)
    assert [item["last_drill"] and item["last_drill"]["verdict"] for item in listed] == ["verified", None]


def test_the_error_of_an_archive_is_an_exit_status(pgdrill: Pgdrill, store: LocalStore) -> None:
    old = put(store, 2, FAILED)
    put(store, 1, FINE)
    (store.folder / QUARANTINE).mkdir()
    (store.folder / QUARANTINE / old).touch()
    said = pgdrill("prune")
    assert said.status == BackupError.exit_status
    assert "exists already" in said.out
