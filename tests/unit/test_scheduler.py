"""The loop that runs what is due: what it remembers, what it says, and how it stops."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from receivers import http_receiver

from backup_lib.cli.schedule import _tasks
from backup_lib.configuration import load_configuration
from backup_lib.cron import Cron
from backup_lib.errors import LockedError, StoreError
from backup_lib.scheduler import (
    ONE_LOOP,
    ONE_RUN,
    Command,
    Run,
    Task,
    check_health,
    describe_lateness,
    due_at,
    read_state,
    run_loop,
    run_task,
)
from backup_lib.store import LocalStore

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
NIGHTLY = Cron(expression="0 2 * * *", zone=ZoneInfo("UTC"))
BACKUP = Task(name="backup", cron=NIGHTLY, commands=(("backup",), ("prune",)))


def days(count: float) -> timedelta:
    return timedelta(days=count)


@pytest.mark.parametrize(
    ("last", "due"),
    [
        pytest.param(None, "2026-11-25T02", id="never-run"),
        pytest.param(NOW - days(0.2), "2026-11-25T02", id="run-last-night"),
        pytest.param(NOW - days(3), "2026-11-22T02", id="missed"),
        pytest.param(NOW + timedelta(hours=20), "2026-11-26T02", id="clock-set-back-a-little-runs-no-time-twice"),
        pytest.param(NOW + days(900), "2026-11-25T02", id="clock-was-years-ahead"),
    ],
)
def test_when_a_task_is_due(last: datetime | None, due: str) -> None:
    run = Run(due_at=last, status=0) if last else None
    assert f"{due_at(BACKUP, run, NOW):%Y-%m-%dT%H}" == due


def test_missed_times_are_counted_and_said() -> None:
    due = datetime(2026, 11, 22, 2, tzinfo=UTC)
    assert (
        describe_lateness(BACKUP, due, NOW)
        == "backup did not run 3 times since 2026-11-22 02:00 UTC: it is run now, once"
    )
    assert describe_lateness(BACKUP, due, due + timedelta(seconds=20)) is None


@pytest.mark.parametrize(
    ("run", "wrong"),
    [
        pytest.param(None, "never scheduled", id="never"),
        pytest.param(Run(due_at=NOW - days(0.25), ended_at=NOW, status=3), "exit status 3", id="failed"),
        pytest.param(
            Run(due_at=NOW - days(3), ended_at=NOW - days(3), status=0),
            "should have run at 2026-11-22 02:00",
            id="missed",
        ),
        pytest.param(Run(due_at=NOW - days(0.25), ended_at=NOW, status=0), "", id="well"),
        pytest.param(Run(due_at=NOW + days(365), ended_at=NOW, status=0), "in the future", id="clock-was-ahead"),
    ],
)
def test_health_tells_failures_and_missed_runs(run: Run | None, wrong: str) -> None:
    found = check_health([BACKUP], {"backup": run} if run else {}, NOW, grace_s=3600)
    assert len(found) == bool(wrong)
    assert wrong in "".join(found)


def test_what_follows_a_failed_command_is_not_run_and_the_failure_is_noted(tmp_path: Path) -> None:
    ran: list[Command] = []
    said: list[str] = []

    def fail(command: Command) -> int:
        ran.append(command)
        return 3

    assert run_task(BACKUP, NOW, tmp_path / "state.json", fail, said.append) == 3
    assert ran == [("backup",)]
    assert read_state(tmp_path / "state.json")["backup"].status == 3
    assert said[0].startswith("backup: FAILED, exit status 3")
    assert run_task(BACKUP, NOW, tmp_path / "state.json", lambda command: ran.append(command) or 0, said.append) == 0
    assert ran[1:] == [("backup",), ("prune",)]
    assert read_state(tmp_path / "state.json")["backup"].status == 0


def test_a_run_beside_another_is_refused_and_noted(tmp_path: Path) -> None:
    with LocalStore(tmp_path).lock(ONE_RUN), pytest.raises(LockedError):
        run_task(BACKUP, NOW, tmp_path / "state.json", lambda _: pytest.fail("it ran"), lambda _: None)
    assert read_state(tmp_path / "state.json")["backup"].status == 11


def test_each_configured_database_is_drilled_and_cleaned_up_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def commands(toml: str) -> list[tuple[Command, ...]]:
        (tmp_path / "pgdrill.toml").write_text(toml)
        return [task.commands for task in _tasks(load_configuration({}, tmp_path), None, None, None)]

    monkeypatch.chdir(tmp_path)
    assert commands("") == [(("backup",),), (("verify", "--each", "--reports", "reports"),)]
    prune = "[schedule]\nprune = true\n"
    assert commands(prune)[0] == (("backup",), ("prune", "--backups", "backups"))
    assert commands(f'{prune}[databases.shop]\nurl = "postgresql://u@h/shop"\nto = ["a", "b"]\n') == [
        (("backup",), ("prune", "--backups", "a"), ("prune", "--backups", "b")),
        (("verify", "--each", "--reports", "reports"),),
    ]


def test_files_are_backed_up_and_months_packed_at_their_times_where_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pgdrill.toml").write_text(
        '[schedule]\nconfig = "30 2 * * 0"\nrotate = "0 4 1 * *"\nprune = true\n[files]\npaths = ["compose.yaml"]\n'
        '[databases.shop]\nurl = "postgresql://u@h/shop"\nto = ["a", "b"]\n'
    )
    monkeypatch.chdir(tmp_path)
    tasks = {task.name: task for task in _tasks(load_configuration({}, tmp_path), None, None, None)}
    assert list(tasks) == ["backup", "config", "rotate", "drill"]
    assert tasks["config"].commands == (("backup", "--kind", "config"),)
    assert tasks["config"].cron.expression == "30 2 * * 0"
    places = ["a", "b", "backups"]  # the files' archives lie in the last one
    assert tasks["rotate"].commands == tuple(("rotate", "--backups", place) for place in places)
    assert tasks["backup"].commands[1:] == tuple(("prune", "--backups", place) for place in places)


def test_a_scheduled_backup_of_files_is_made_proved_old_and_told_of_when_it_fails(tmp_path: Path) -> None:
    """The real program, in a folder of its own; the receiver is a real one."""
    with http_receiver() as receiver:
        (tmp_path / "compose.yaml").write_text("services: {}\n")
        (tmp_path / "pgdrill.toml").write_text(
            '[schedule]\nconfig = "30 2 * * *"\nrotate = "0 4 1 * *"\ndrill = "never"\n'
            '[files]\npaths = ["compose.yaml"]\nname = "shop-files"\n'
            f'[notify]\nwebhook = "{receiver.url}/hook"\nping_config = "{receiver.url}/config"\n'
            f'ping_backup = "{receiver.url}/backup"\n'
        )

        def pgdrill(*words: str) -> subprocess.CompletedProcess[str]:
            program = (sys.executable, "-c", "from backup_lib.cli import main; main()", *words)
            env = {"PATH": os.environ["PATH"]}
            return subprocess.run(program, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)

        assert pgdrill("schedule", "once", "config").returncode == 0
        assert pgdrill("schedule", "once", "rotate").returncode == 0
        (archive,) = (tmp_path / "backups").glob("shop-files_backup_*_config.tar.gz")
        assert {hit.path.partition("?")[0] for hit in receiver.got} == {"/config/start", "/config"}
        told = json.loads(pgdrill("status", "--json").stdout)
        (series,) = told["series"]
        assert (series["kind"], series["expected"], series["newest"]["name"]) == ("config", True, archive.name)
        assert series["limits"]["age_s"] == (24 + 6) * 3600
        assert [task["name"] for task in told["tasks"]] == ["backup", "config", "rotate"]
        assert not [problem for task in told["tasks"] for problem in task["problems"]]

        (tmp_path / "compose.yaml").unlink()
        (tmp_path / "backups" / "shop-files_backup_20200105_020000_config.tar.gz").write_bytes(archive.read_bytes())
        (tmp_path / "backups" / "archive").touch()  # no folder, so nothing can be packed there
        receiver.got.clear()
        assert pgdrill("schedule", "once", "config").returncode == 3
        assert pgdrill("schedule", "once", "rotate").returncode == 3
        assert pgdrill("backup", "--kind", "config").returncode == 3  # by hand it is no backup of the database either
        assert pgdrill("rewrap", "none.sql.gz").returncode in (2, 10)
        hooks = [hit.json for hit in receiver.got if hit.path == "/hook"]
        assert [(hook["command"], hook["event"]) for hook in hooks] == [
            (name, "failure") for name in ("config", "rotate", "config", "rewrap")
        ]
        assert "compose.yaml" in hooks[0]["text"]
        assert "archive" in hooks[1]["text"]
        assert not [hit for hit in receiver.got if "/backup" in hit.path]


def test_a_run_that_was_stopped_is_still_due(tmp_path: Path) -> None:
    path, former = tmp_path / "state.json", Run(due_at=NOW - days(1), ended_at=NOW - days(1), status=0)
    run_task(BACKUP, former.due_at, path, lambda _: 0, lambda _: None)

    def interrupt(_: Command) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_task(BACKUP, NOW, path, interrupt, lambda _: None)
    state = read_state(path)
    assert due_at(BACKUP, state["backup"], NOW) < NOW
    assert check_health([BACKUP], state, NOW, grace_s=3600)


def test_a_state_that_is_none_is_not_taken_for_a_first_start(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"backup":')
    with pytest.raises(StoreError, match="does not tell"):
        read_state(tmp_path / "state.json")


def test_one_loop_at_a_time(tmp_path: Path) -> None:
    with LocalStore(tmp_path).lock(ONE_LOOP), pytest.raises(LockedError):
        run_loop([BACKUP], tmp_path / "state.json", lambda _: 0, lambda _: None)


def test_the_loop_makes_up_for_a_missed_backup_remembers_its_failure_and_stops_at_once(tmp_path: Path) -> None:
    """The real program, with no database to back up."""
    state = tmp_path / "reports" / "schedule.json"
    state.parent.mkdir()
    ago = datetime.now(UTC) - days(2.5)
    state.write_text(json.dumps({"backup": {"due_at": ago.isoformat(), "ended_at": ago.isoformat(), "status": 0}}))
    env = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "BACKUP_SCHEDULE": "0 2 * * *",
    }
    pgdrill = (sys.executable, "-c", "from backup_lib.cli import main; main()", "schedule")
    loop = subprocess.Popen(
        [*pgdrill, "run", "--drill", "never"], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + 30
        while json.loads(state.read_text())["backup"]["status"] == 0 and time.monotonic() < end:
            time.sleep(0.1)
        second = subprocess.run([*pgdrill, "run"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30)
        loop.send_signal(signal.SIGTERM)
        _, said = loop.communicate(timeout=5)
    finally:
        loop.kill()
        loop.wait()
    assert second.returncode == 11
    assert "backup did not run" in said
    assert "backup: FAILED, exit status 3" in said
    assert said.rstrip().endswith("stopped")
    assert loop.returncode == 3
    health = subprocess.run(
        [*pgdrill, "health"], cwd=tmp_path, env={**env, "DRILL_SCHEDULE": "never"}, capture_output=True, text=True
    )
    assert (health.returncode, "failed with exit status 3" in health.stdout) == (3, True)


def test_the_loop_waits_for_no_time_of_a_clock_that_ran_ahead(tmp_path: Path) -> None:
    """The real program; by what it then remembers, tomorrow's backup is due tomorrow."""
    state = tmp_path / "reports" / "schedule.json"
    state.parent.mkdir()
    ahead = (datetime.now(UTC) + days(365)).isoformat()
    state.write_text(json.dumps({"backup": {"due_at": ahead, "ended_at": ahead, "status": 0}}))
    loop = subprocess.Popen(
        [sys.executable, "-c", "from backup_lib.cli import main; main()", "schedule", "run", "--drill", "never"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "BACKUP_SCHEDULE": "0 0 1 1 *"},  # not today
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 30
        while read_state(state)["backup"].due_at > datetime.now(UTC) and time.monotonic() < end:
            time.sleep(0.1)
        loop.send_signal(signal.SIGTERM)
        _, said = loop.communicate(timeout=30)
    finally:
        loop.kill()
        loop.wait()
    assert "warning: backup is noted as run at" in said
    tomorrow = datetime.now(UTC) + days(1)
    assert due_at(BACKUP, read_state(state)["backup"], tomorrow) <= tomorrow


class Told:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, str | None]] = []

    def begin(self, task: str, late: str | None) -> None: ...

    def end(self, status: int, why: str | None = None) -> None:
        self.ends.append((status, why))


@contextmanager
def room_again() -> Iterator[None]:
    """Afterwards; what runs within takes it by `no_room`."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def no_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_state_without_room_is_told_and_keeps_the_loop_from_nothing_and_runs_nothing_twice(tmp_path: Path) -> None:
    """Else every restart, or every look, would make one more backup."""
    path, told, said, ran = tmp_path / "state.json", Told(), list[str](), list[Command]()
    path.write_text(json.dumps({"backup": {"due_at": (NOW - days(400)).isoformat(), "status": 0}}))

    def run(command: Command) -> int:
        ran.append(command)
        no_room()
        threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return 0

    task = Task(name="backup", cron=NIGHTLY, commands=(("backup",),))
    with room_again():
        assert run_loop([task], path, run, said.append, listener=told) == 0
    assert ran == [("backup",)]
    ((status, why),) = told.ends
    assert status == 3
    assert why is not None
    assert "state.json" in why
    assert any(line.startswith("error: ") and "state.json" in line for line in said)


def test_a_stop_is_one_where_it_cannot_be_noted_too(tmp_path: Path) -> None:
    path, told = tmp_path / "state.json", Told()
    run_task(BACKUP, NOW, path, lambda _: 0, lambda _: None)

    def stop(_: Command) -> int:
        no_room()
        raise KeyboardInterrupt

    with room_again(), pytest.raises(KeyboardInterrupt):
        run_task(BACKUP, NOW + days(1), path, stop, lambda _: None, listener=told)
    assert told.ends == [(130, None)]
    assert read_state(path)["backup"].due_at == NOW


def test_people_are_told_of_a_run_that_could_not_begin(tmp_path: Path) -> None:
    """A state that somebody else's run has left unreadable, and a folder in which nothing can be locked."""
    (tmp_path / "state.json").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "state.json", tmp_path / "file" / "state.json"):
        told = Told()
        with pytest.raises(StoreError) as raised:
            run_task(BACKUP, NOW, path, lambda _: pytest.fail("it ran"), lambda _: None, listener=told)
        assert told.ends == [(3, str(raised.value))]
        assert "delete it" not in str(raised.value)
