"""`pgdrill status`: each thing that can be wrong is named with a next command, and nothing else is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from archives import Shelf
from receivers import http_receiver
from test_cli import Pgdrill, pgdrill  # noqa: F401 - a fixture

from backup_lib.archive import KINDS
from backup_lib.cli.talk import put_json
from backup_lib.configuration import load_configuration
from backup_lib.monitor.drift import Measured, check_drift
from backup_lib.monitor.status import Status, describe, examine
from backup_lib.packing import rotate
from backup_lib.settings import StatusSettings
from backup_lib.store import LocalStore

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
SHOP = '[databases.shop]\nurl = "postgresql://u@h/shop"\n'


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.chdir(tmp_path)
    return Shelf(folder=tmp_path / "backups", now=NOW)


def status_of(toml: str = SHOP, env: dict[str, str] | None = None, place: str | None = None) -> Status:
    Path("pgdrill.toml").write_text(toml)
    return examine(load_configuration(env or {}, Path.cwd()), now=NOW, place=place)


def codes(status: Status) -> list[str]:
    return [problem.code for problem in status.problems]


def test_a_new_verified_archive_is_well(shelf: Shelf) -> None:
    shelf.put(age_h=7, drill=shelf.drill())
    status = status_of()
    assert (status.exit_status, status.verdict, status.problems) == (0, "ok", ())
    (series,) = status.series
    assert series.newest
    assert series.verified == series.newest
    assert (series.newest.age_s, series.newest.rows, series.newest.seconds) == (7 * 3600, 1005, 30)
    assert series.last_success_at == NOW - timedelta(hours=1)


def test_a_configured_database_without_any_archive_is_a_problem_with_its_command(shelf: Shelf) -> None:
    shelf.put(age_h=7, drill=shelf.drill())
    status = status_of(SHOP + '[databases.audit]\nurl = "postgresql://u@h/audit"\nkinds = ["full", "schema"]\n')
    assert status.exit_status == 1
    assert [(p.code, p.message) for p in status.problems] == [
        ("missing", "there is no full archive of audit in backups"),
        ("missing", "there is no schema archive of audit in backups"),
    ]
    assert status.problems[0].hint == "make one: pgdrill backup --database audit --kind full"


def test_a_folder_that_nobody_made_holds_nothing(shelf: Shelf) -> None:
    assert codes(status_of()) == ["missing"]


def test_an_archive_of_another_kind_does_not_stand_for_a_full_one(shelf: Shelf) -> None:
    shelf.put(age_h=1, kind="schema", drill=shelf.drill())
    assert codes(status_of()) == ["missing"]


@pytest.mark.parametrize(
    ("env", "code"),
    [
        pytest.param({"DATABASE_URL": "postgresql://u@h/other"}, "missing", id="another-one-is-backed-up"),
        pytest.param({"DATABASE_URL": "postgresql://u@h/shop"}, "stale", id="this-one-is"),
        pytest.param({}, "stale", id="nobody-says-so-all-that-are-there-are"),
    ],
)
def test_without_a_configuration_the_environment_says_what_is_expected(
    shelf: Shelf, env: dict[str, str], code: str
) -> None:
    shelf.put(age_h=60, drill=shelf.drill())
    assert codes(status_of("", env)) == [code]


@pytest.mark.parametrize("toml", ["", SHOP])
def test_parts_and_files_do_not_make_up_for_a_full_archive(shelf: Shelf, toml: str) -> None:
    for kind in KINDS:
        shelf.put(age_h=60 if kind == "full" else 1, kind=kind, drill=shelf.drill())
    assert codes(status_of(toml)) == ["stale"]
    for full in [*shelf.folder.glob("*[0-9].sql.gz*")]:
        full.unlink()
    assert codes(status_of(toml)) == ["missing"]


def test_nothing_to_judge_is_not_well(shelf: Shelf) -> None:
    status = status_of("")
    assert (codes(status), status.exit_status) == (["nothing"], 3)


@pytest.mark.parametrize(
    ("settings", "age_h", "found"),
    [
        pytest.param("", 30, [], id="within-a-day-and-grace"),
        pytest.param("", 30.1, ["stale"], id="older"),
        pytest.param('[status]\nmax_age = "24h"', 25, ["stale"], id="as-configured"),
        pytest.param('[verify]\nrpo = "4h"', 5, ["stale"], id="rpo"),
        pytest.param('[schedule]\nbackup = "0 2 * * 1-5"', 70, [], id="weekdays-only"),
        pytest.param('[schedule]\nbackup = "0 2 * * 1"', 170, [], id="weekly"),
        pytest.param('[schedule]\nbackup = "0 2 * * 1"', 175, ["stale"], id="weekly-and-missed"),
    ],
)
def test_the_schedule_says_how_old_the_newest_may_be(
    shelf: Shelf, settings: str, age_h: float, found: list[str]
) -> None:
    shelf.put(age_h=age_h, drill=shelf.drill())
    assert codes(status_of(SHOP + settings)) == found


def test_the_time_is_that_of_the_manifest_whatever_the_file_s_is(shelf: Shelf) -> None:
    name = shelf.put(age_h=40, drill=shelf.drill())
    os.utime(shelf.folder / name, (NOW.timestamp(), NOW.timestamp()))
    assert codes(status_of()) == ["stale"]


@pytest.mark.parametrize(
    ("settings", "age_h", "found"),
    [
        pytest.param("", 7 * 24 + 29, [], id="a-week-between-drills"),
        pytest.param("", 7 * 24 + 31, ["verified-stale"], id="longer"),
        pytest.param('[status]\nmax_verified_age = "2d"', 50, ["verified-stale"], id="as-configured"),
        pytest.param('[schedule]\ndrill = "never"', 9000, [], id="drills-have-no-times"),
    ],
)
def test_the_newest_verified_one_may_not_be_too_old(
    shelf: Shelf, settings: str, age_h: float, found: list[str]
) -> None:
    shelf.put(age_h=1)
    shelf.put(age_h=age_h, drill=shelf.drill())
    assert codes(status_of(SHOP + settings)) == found


@pytest.mark.parametrize(
    ("verdict", "causes", "found", "exit_status"),
    [
        pytest.param("failed", ("archive",), ["never-verified", "drill-failed"], 1, id="failed"),
        pytest.param("failed", ("environment",), ["never-verified", "drill-failed"], 1, id="not-all-compared"),
        pytest.param("failed", ("policy",), ["objective-missed"], 1, id="data-fine-and-late"),
        pytest.param("could_not_verify", ("environment",), ["never-verified", "drill-open"], 1, id="no-conclusion"),
    ],
)
def test_the_last_drill_counts_by_what_it_made_of_the_archive(
    shelf: Shelf, verdict: str, causes: tuple[str, ...], found: list[str], exit_status: int
) -> None:
    shelf.put(age_h=1, drill=shelf.drill(verdict=verdict, causes=causes))
    status = status_of()
    assert (codes(status), status.exit_status) == (found, exit_status)


def test_a_drill_that_could_not_be_carried_out_leaves_an_older_proof_and_is_said(shelf: Shelf) -> None:
    shelf.put(age_h=30, drill=shelf.drill(age_h=29))
    shelf.put(age_h=6, drill=shelf.drill(verdict="could_not_verify", causes=("environment",)))
    status = status_of()
    assert (codes(status), status.exit_status) == (["drill-open"], 3)
    assert status.problems[0].hint.endswith("pgdrill doctor")


def test_a_newest_archive_that_failed_is_told_though_an_older_one_was_drilled_later(shelf: Shelf) -> None:
    shelf.put(age_h=30, drill=shelf.drill(age_h=1))
    shelf.put(age_h=6, drill=shelf.drill(age_h=5, verdict="failed", causes=("archive",), drill_id="bad"))
    assert codes(status_of()) == ["newest-failed"]


def test_a_drill_of_other_bytes_proves_nothing(shelf: Shelf) -> None:
    shelf.put(age_h=1, drill=shelf.drill(sha256="b" * 64))
    shelf.put(age_h=9, drill=shelf.drill(size=999))
    assert codes(status_of()) == ["never-verified"]


@pytest.mark.parametrize(
    ("size", "promised", "found"),
    [
        pytest.param(1000, 1001, ["size-differs", "never-verified"], id="cut-short"),
        pytest.param(0, 1000, ["size-differs", "never-verified"], id="empty"),
    ],
)
def test_a_newest_archive_that_is_not_as_long_as_promised_is_told(
    shelf: Shelf, size: int, promised: int, found: list[str]
) -> None:
    shelf.put(age_h=1, size=size, promised=promised)
    assert codes(status_of()) == found


@pytest.mark.parametrize(
    "data",
    [b"{", b'{"source": {"database": "shop", "snapshot_at": "2026-11-24T08:00:00Z"}, "archive": {"kind": "full"}'],
)
def test_a_damaged_manifest_is_told(shelf: Shelf, data: bytes) -> None:
    shelf.put(age_h=1, manifest=data, drill=shelf.drill())
    status = status_of()
    assert codes(status) == ["manifest-damaged"]
    assert "its rows are not judged: no manifest tells them" in " ".join(status.series[0].notes)


def test_an_archive_from_the_future_is_named_and_counts_for_nothing(shelf: Shelf) -> None:
    shelf.put(age_h=-48, drill=shelf.drill())
    status = status_of()
    assert codes(status) == ["future"]
    assert status.series[0].newest is None
    shelf.put(age_h=40, drill=shelf.drill())
    assert codes(status_of()) == ["future", "stale"]


def test_a_source_whose_clock_is_a_little_ahead_is_no_problem(shelf: Shelf) -> None:
    shelf.put(age_h=-0.05, drill=shelf.drill(age_h=-0.05))
    status = status_of()
    assert codes(status) == []
    assert status.series[0].newest
    assert status.series[0].newest.age_s == 0


def test_clocks_that_ran_wild_are_named_in_drills_and_in_the_schedule_too(shelf: Shelf) -> None:
    shelf.put(age_h=1, drill=shelf.drill(age_h=-500))
    ahead = (NOW + timedelta(days=900)).isoformat()
    Path("reports").mkdir()
    Path("reports/schedule.json").write_text(json.dumps({"backup": {"due_at": ahead, "ended_at": ahead, "status": 0}}))
    assert codes(status_of()) == ["future", "future"]


def test_each_place_of_a_database_must_hold_the_newest(shelf: Shelf, tmp_path: Path) -> None:
    other = Shelf(folder=tmp_path / "usb", now=NOW)
    toml = SHOP + 'to = ["backups", "usb"]\n'
    for place in (shelf, other):
        place.put(age_h=25)
    shelf.put(age_h=1, drill=shelf.drill())
    status = status_of(toml)
    assert codes(status) == ["copy-missing"]
    assert status.problems[0].hint == "copy it: pgdrill sync backups usb"
    other.put(age_h=1)
    status = status_of(toml)
    assert codes(status) == []
    assert [place.archives for place in status.places] == [2, 2]
    assert (status.series[0].count, status.series[0].size_bytes) == (2, 4000)


def test_an_archive_in_a_bundle_is_one_of_its_place(shelf: Shelf, tmp_path: Path) -> None:
    other = Shelf(folder=tmp_path / "usb", now=NOW)
    for place in (shelf, other):
        place.put(age_h=24 * 70, drill=place.drill())
        newest = place.put(age_h=1, drill=place.drill())  # the newest verified one stays as it is
        rotate(LocalStore(place.folder), older_than_days=30, now=NOW)
        for suffix in ("", ".manifest.json", ".verified.json"):
            (place.folder / f"{newest}{suffix}").unlink()
        assert not list(place.folder.glob("*.sql.gz"))
    status = status_of(SHOP + 'to = ["backups", "usb"]\n')
    assert codes(status) == ["stale", "verified-stale"]
    assert status.series[0].count == 1


def test_a_place_that_cannot_be_read_is_not_taken_for_an_empty_one(shelf: Shelf) -> None:
    shelf.folder.write_text("a file")
    status = status_of()
    assert set(codes(status)) == {"unread"}
    assert status.exit_status == 3


def test_an_archive_that_is_not_configured_is_shown_and_no_age_of_it_judged(shelf: Shelf) -> None:
    shelf.put(age_h=1, drill=shelf.drill())
    shelf.put(age_h=9000, database="old")
    status = status_of()
    assert status.exit_status == 0
    assert {one.database: one.expected for one in status.series} == {"old": False, "shop": True}


def test_commands_are_as_a_shell_reads_them(shelf: Shelf, tmp_path: Path) -> None:
    place = Shelf(folder=tmp_path / "a b; c", now=NOW)
    name = place.put(age_h=1, drill=shelf.drill(verdict="failed", causes=("archive",)))
    hints = [problem.hint for problem in status_of(place="a b; c").problems]
    assert f"prove one: pgdrill verify 'a b; c/{name}'" in hints
    assert any(hint.endswith(f"after that: pgdrill verify 'a b; c/{name}'") for hint in hints)


def test_the_schedule_s_last_run_counts_only_where_it_ran(shelf: Shelf) -> None:
    shelf.put(age_h=1, drill=shelf.drill())
    assert [(task.name, task.last_status) for task in status_of().tasks] == [("backup", None), ("drill", None)]
    ago = (NOW - timedelta(hours=7)).isoformat()
    Path("reports").mkdir()
    Path("reports/schedule.json").write_text(json.dumps({"backup": {"due_at": ago, "ended_at": ago, "status": 3}}))
    status = status_of()
    assert [(p.code, p.hint) for p in status.problems] == [("schedule", "run it now: pgdrill schedule once backup")]
    Path("reports/schedule.json").write_text("{")
    assert status_of().exit_status == 3


# room


def test_how_long_there_is_room_is_said_only_where_the_archives_tell(shelf: Shelf) -> None:
    shelf.put(age_h=1, drill=shelf.drill())
    shelf.put(age_h=25)
    assert status_of().places[0].days_left is None
    for days in (2, 3, 4):
        shelf.put(age_h=1 + 24 * days)
    (place,) = status_of().places
    assert place.daily_bytes == 1000
    assert place.free_bytes
    assert place.days_left == place.free_bytes / 1000


def test_less_room_than_the_next_backups_take_is_a_problem(shelf: Shelf) -> None:
    shelf.put(age_h=1, drill=shelf.drill())
    (place,) = status_of().places
    assert place.wanted_bytes == 2000
    assert codes(status_of(SHOP + "[status]\nroom = 1000000000000\n")) == ["little-room"]


# drift


def measured(size: int = 1000, rows: dict[str, int] | None = None, *, packing: str = "sql.gz") -> Measured:
    return Measured(
        name="newest",
        address="backups/newest",
        size_bytes=size,
        packing=packing,
        rows={"a": 100, "b": 5} if rows is None else rows,
    )


FIVE = [measured()] * 5


@pytest.mark.parametrize(
    ("newest", "history", "found"),
    [
        pytest.param(measured(), FIVE, [], id="as-ever"),
        pytest.param(measured(499), FIVE, ["size-fell"], id="half-the-size"),
        pytest.param(measured(501), FIVE, [], id="a-little-more-than-half"),
        pytest.param(measured(9000), FIVE, [], id="growth-is-no-fault"),
        pytest.param(measured(100, packing="sql.zst"), FIVE, [], id="packed-otherwise"),
        pytest.param(measured(rows={"a": 60, "b": 5}), FIVE, ["rows-fell"], id="rows-fell"),
        pytest.param(measured(rows={"a": 80, "b": 5}), FIVE, [], id="rows-fell-a-little"),
        pytest.param(measured(rows={"a": 100, "b": 0}), FIVE, ["emptied"], id="a-small-table-became-empty"),
        pytest.param(measured(rows={"a": 100}), FIVE, [], id="a-table-was-dropped"),
        pytest.param(measured(rows={"a": 100, "b": 0}), [measured(rows={"a": 100, "b": 0}), *FIVE], ["emptied"], id="still-empty-a-day-later"),
        pytest.param(measured(rows={"a": 100, "b": 0}), [*FIVE, measured(rows={"a": 100, "b": 0})], [], id="a-queue-was-empty-before"),
        pytest.param(measured(rows={"a": 100, "b": 0}), [measured(rows={"a": 100, "b": 0})] * 5 + FIVE[:4], [], id="empty-for-long"),
        pytest.param(measured(1, {"a": 0}), FIVE[:4], [], id="too-little-history"),
        pytest.param(measured(1, {"a": 0}), [], [], id="no-history"),
    ],
)  # fmt: skip
def test_an_archive_is_held_against_its_own_history(
    newest: Measured, history: list[Measured], found: list[str]
) -> None:
    drift = check_drift(newest, history, StatusSettings())
    assert [problem.code for problem in drift.problems] == found
    assert bool([note for note in drift.notes if "not judged" in note]) == (
        len(history) < 5 or newest.packing != "sql.gz"
    )


def test_a_table_that_may_be_empty_is_no_fault_and_a_dropped_one_is_said() -> None:
    settings = StatusSettings(may_empty=("queue.*",))
    history = [measured(rows={"a": 100, "queue.jobs": 1, "c": 1})] * 5
    drift = check_drift(measured(rows={"a": 100, "queue.jobs": 0}), history, settings)
    assert drift.problems == ()
    assert drift.notes == ("tables that the archive before it had and it has not: c",)


def test_drift_is_judged_from_manifests_within_one_kind(shelf: Shelf) -> None:
    for day in range(1, 7):
        shelf.put(age_h=24 * day, size=900)
        shelf.put(age_h=24 * day, size=3, kind="schema", rows={})
    shelf.put(age_h=1, size=100, rows={"public.sales": 1000, "public.items": 0}, drill=shelf.drill(size=100))
    status = status_of()
    assert codes(status) == ["size-fell", "emptied"]
    assert f"pgdrill show {shelf.folder.name}/shop_backup_20261124_080000.sql.gz" in status.problems[0].hint
    assert "public.items" in status.problems[1].message


def test_the_whole_of_it_is_json(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.put(age_h=1)
    put_json(describe(status_of()))
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["exit_status"], told["series"][0]["verdict"]) == ("problem", 1, "problem")
    assert told["series"][0]["problems"][0]["code"] == "never-verified"
    assert (told["places"][0]["verdict"], told["tasks"][0]["name"]) == ("ok", "backup")


def test_nagios_gets_one_line_its_own_exit_statuses_and_the_ages(pgdrill: Pgdrill, tmp_path: Path) -> None:
    empty = pgdrill("status", "--nagios")
    assert (empty.status, empty.out[:18]) == (3, "PGDRILL UNKNOWN - ")
    shelf = Shelf(folder=tmp_path / "backups", now=datetime.now(UTC))
    shelf.put(age_h=1, drill=shelf.drill(), database="it's|a=shop\n")
    well = pgdrill("status", "--nagios")
    assert (well.status, well.out) == (0, "PGDRILL OK - all is well | 'it_s_a_shop_ full'=3600s;;108000\n")
    shelf.put(age_h=0.5, promised=7, database="it's|a=shop\n")
    wrong = pgdrill("status", "--nagios")
    assert (wrong.status, wrong.out.count("\n"), wrong.out.count("|")) == (2, 1, 1)
    assert "has 1,000 bytes; its manifest promises 7 | " in wrong.out


def test_people_are_told_at_its_time_of_what_is_wrong(tmp_path: Path) -> None:
    """The real program; its own failure is no second problem the next time."""
    (tmp_path / "pgdrill.toml").write_text(SHOP + '[schedule]\nstatus = "0 9 * * *"\n')
    argv = [sys.executable, "-c", "from backup_lib.cli import main; main()"]
    with http_receiver() as receiver:
        env = {"PATH": os.environ["PATH"], "NOTIFY_WEBHOOK": receiver.url}
        once = subprocess.run([*argv, "schedule", "once", "status"], cwd=tmp_path, env=env, timeout=60, check=False)
        again = subprocess.run(
            [*argv, "status", "--json"], cwd=tmp_path, env=env, timeout=60, capture_output=True, check=False
        )
    assert (once.returncode, again.returncode) == (1, 1)
    (got,) = receiver.got
    assert (got.json["event"], got.json["command"], got.json["exit_status"]) == ("failure", "status", 1)
    assert got.json["lines"] == [
        "there is no full archive of shop in backups",
        "next: make one: pgdrill backup --database shop --kind full",
    ]
    told = json.loads(again.stdout)
    assert [task["name"] for task in told["tasks"]] == ["backup", "drill"]
    assert [problem["code"] for one in told["series"] for problem in one["problems"]] == ["missing"]
