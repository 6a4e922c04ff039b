"""Metrics: Prometheus reads them, its rules fire on what is wrong and on nothing else, the dashboard shows what there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from archives import Shelf, put_record
from prometheus_client.parser import text_string_to_metric_families

from backup_lib.configuration import load_configuration
from backup_lib.errors import StoreError, UsageError
from backup_lib.monitor.metrics import render_metrics, write_metrics
from backup_lib.monitor.status import Status, examine

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
SHOP = '[databases.shop]\nurl = "postgresql://u@h/shop"\n'
ALERTS = files("backup_lib.monitor").joinpath("alerts.yml").read_text(encoding="utf-8")
DASHBOARD = json.loads(files("backup_lib.monitor").joinpath("dashboard.json").read_text(encoding="utf-8"))
NAME = re.compile(r"\b(?:pgdrill|restore_drill)_\w+")

Promtool = Callable[..., str]


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.chdir(tmp_path)
    return Shelf(folder=tmp_path / "backups", now=NOW)


def status_of(toml: str = SHOP) -> Status:
    Path("pgdrill.toml").write_text(toml)
    return examine(load_configuration({}, Path.cwd()), now=NOW)


def note_run(status: int) -> None:
    ago = (NOW - timedelta(hours=7)).isoformat()
    Path("reports").mkdir(exist_ok=True)
    state = {"backup": {"due_at": ago, "ended_at": ago, "status": status}}
    Path("reports/schedule.json").write_text(json.dumps(state))


def put_all_that_can_be_told(shelf: Shelf) -> None:
    """Well, but for a note here and there."""
    shelf.put(age_h=7, drill=shelf.drill())
    shelf.put(age_h=31)
    put_record(Path("reports"), "d1", at=NOW - timedelta(hours=1))
    note_run(0)


def samples(text: bytes) -> Iterator[Any]:
    for family in text_string_to_metric_families(text.decode()):
        yield from family.samples


def expressions() -> Iterator[str]:
    for group in yaml.safe_load(ALERTS)["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_what_is_known_is_told(shelf: Shelf) -> None:
    put_all_that_can_be_told(shelf)
    told = {(one.name, *sorted(one.labels.values())): one.value for one in samples(render_metrics(status_of()))}
    assert (
        told["restore_drill_last_success_timestamp_seconds", "full", "shop"] == (NOW - timedelta(hours=1)).timestamp()
    )
    assert told["restore_drill_duration_seconds", "data", "full", "shop"] == 30.5
    assert told["restore_drill_checks", "full", "passed", "shop"] == 2
    assert told["restore_drill_rto_objective_seconds", "full", "shop"] == 60
    assert told["restore_drill_archive_age_seconds", "full", "shop"] == 6 * 3600
    assert told["pgdrill_backup_interval_seconds", "full", "shop"] == 24 * 3600
    assert told["pgdrill_backup_last_rows", "full", "shop"] == 1005
    assert told["pgdrill_place_stored_bytes", "backups"] == 2000
    assert told["pgdrill_task_last_result", "backup"] == 0
    assert told["pgdrill_status_result",] == 0


def test_each_metric_that_rules_and_dashboard_use_is_told(shelf: Shelf) -> None:
    put_all_that_can_be_told(shelf)
    shelf.put(age_h=1, promised=7)  # else nothing is a problem
    told = {one.name for one in samples(render_metrics(status_of()))}
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    assert used - told == set()
    assert len(used) > 15


def test_no_label_names_an_archive(shelf: Shelf) -> None:
    put_all_that_can_be_told(shelf)
    labels = {label for one in samples(render_metrics(status_of())) for label in one.labels}
    assert labels == {"database", "archive_kind", "phase", "result", "place", "task"}


def test_a_name_cannot_forge_a_metric(shelf: Shelf) -> None:
    odd = 'a"} 1\nrestore_drill_last_result{database="shop'
    shelf.put(age_h=7, database=odd)
    told = list(samples(render_metrics(status_of(""))))
    assert {one.labels["database"] for one in told if "database" in one.labels} == {odd}


def test_prometheus_finds_no_fault_with_metrics_rules_and_dashboard(
    shelf: Shelf, promtool: Promtool, tmp_path: Path
) -> None:
    put_all_that_can_be_told(shelf)
    promtool("check", "metrics", given=render_metrics(status_of()))
    rules = [
        {"record": f"panel{place}", "expr": expression.replace("$database", ".*")}
        for place, expression in enumerate(expressions())
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))
    path.write_text(ALERTS)
    promtool("check", "rules", str(path))


def spoil_nothing(shelf: Shelf) -> str:
    put_all_that_can_be_told(shelf)
    return SHOP


def add_a_database(shelf: Shelf) -> str:
    put_all_that_can_be_told(shelf)
    return SHOP + '[databases.audit]\nurl = "postgresql://u@h/audit"\n'


def stop_backups(shelf: Shelf) -> str:
    shelf.put(age_h=40, drill=shelf.drill())
    return SHOP


def leave_unproved(shelf: Shelf) -> str:
    shelf.put(age_h=7)
    return SHOP


def leave_long_unproved(shelf: Shelf) -> str:
    shelf.put(age_h=7)
    shelf.put(age_h=24 * 30, drill=shelf.drill(age_h=24 * 29))
    return SHOP


def fail_the_drill(shelf: Shelf) -> str:
    shelf.put(age_h=31, drill=shelf.drill(age_h=25))
    shelf.put(age_h=7, drill=shelf.drill(verdict="failed", causes=("archive",)))
    return SHOP


def lack_a_server(shelf: Shelf) -> str:
    shelf.put(age_h=31, drill=shelf.drill(age_h=25))
    shelf.put(age_h=7, drill=shelf.drill(verdict="could_not_verify", causes=("environment",)))
    return SHOP


def cut_short(shelf: Shelf) -> str:
    shelf.put(age_h=31, drill=shelf.drill(age_h=25))
    shelf.put(age_h=7, size=10, promised=1000)
    return SHOP


def fail_the_run(shelf: Shelf) -> str:
    put_all_that_can_be_told(shelf)
    note_run(3)
    return SHOP


def fill_the_disk(shelf: Shelf) -> str:
    put_all_that_can_be_told(shelf)
    return SHOP + "[status]\nroom = 1000000000000\n"


def restore_slowly(shelf: Shelf) -> str:
    shelf.put(age_h=7, drill=shelf.drill())
    put_record(Path("reports"), "d1", at=NOW, rto_s=55)
    return SHOP


@pytest.mark.parametrize(
    ("scene", "alerts"),
    [
        pytest.param(spoil_nothing, [], id="well"),
        pytest.param(add_a_database, ["BackupMissing"], id="no-archive"),
        pytest.param(stop_backups, ["BackupTooOld"], id="stopped"),
        pytest.param(leave_unproved, ["BackupNotProved"], id="never-proved"),
        pytest.param(leave_long_unproved, ["BackupNotProved"], id="long-unproved"),
        pytest.param(fail_the_drill, ["RestoreDrillFailed"], id="drill-failed"),
        pytest.param(lack_a_server, ["RestoreDrillInconclusive"], id="drill-open"),
        pytest.param(cut_short, ["BackupCorruptOrShrunk"], id="cut-short"),
        pytest.param(fail_the_run, ["BackupRunFailed"], id="run-failed"),
        pytest.param(fill_the_disk, ["BackupDiskLow"], id="disk"),
        pytest.param(restore_slowly, ["RestoreTooSlowSoon"], id="slow"),
        pytest.param(None, ["PgdrillTellsNothing"], id="no-metrics"),
    ],
)
def test_the_rules_fire_on_what_is_wrong_and_on_nothing_else(
    shelf: Shelf, promtool: Promtool, tmp_path: Path, scene: Callable[[Shelf], str] | None, alerts: list[str]
) -> None:
    """Prometheus evaluates them itself; its clock begins at 0, and is `NOW` after an hour."""
    told = list(samples(render_metrics(status_of(scene(shelf))))) if scene else []
    (tmp_path / "alerts.yml").write_text(ALERTS)
    test = {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": "5m",
        "tests": [
            {"interval": "5m", "input_series": [series(one) for one in told], "promql_expr_test": [fired(alerts)]}
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", str(tmp_path / "test.yml"))


def series(sample: Any) -> dict[str, str]:
    value = sample.value - NOW.timestamp() + 3600 if sample.name.endswith("_timestamp_seconds") else sample.value
    labels = ",".join(f'{name}="{text}"' for name, text in sample.labels.items())
    return {"series": f"{sample.name}{{{labels}}}", "values": f"{value:f}+0x24"}


def fired(alerts: list[str]) -> dict[str, Any]:
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "expr": firing,
        "eval_time": "80m",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in alerts],
    }


def test_the_file_is_whole_and_others_may_read_it(shelf: Shelf, tmp_path: Path) -> None:
    status = status_of()
    before = os.umask(0o077)
    try:
        write_metrics(status, tmp_path / "pgdrill.prom")
    finally:
        os.umask(before)
    assert (tmp_path / "pgdrill.prom").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "pgdrill.prom").read_bytes() == render_metrics(status)
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "nowhere" / "x.prom", tmp_path / "taken"):
        with pytest.raises(StoreError, match="cannot be written"):
            write_metrics(status, path)
    assert not list(tmp_path.glob(".*"))


def test_without_room_the_old_metrics_stay_and_room_is_what_is_asked_for(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from backup_lib.monitor import metrics\n"
        "metrics.render_metrics = lambda status: b'x' * 100\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))\n"
        "metrics.write_metrics(None, Path(sys.argv[1]))\n"
    )
    path = tmp_path / "pgdrill.prom"
    path.write_text("old")
    failed = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert "cannot be written: File too large\nhint: raise the limit of a file's size" in failed.stderr
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


def test_without_the_library_the_extra_is_named(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    status = status_of()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match=r"pgdrill\[metrics\]"):
        render_metrics(status)


def test_a_scheduled_run_that_fails_is_in_the_metrics_at_once(tmp_path: Path) -> None:
    """The real program, with no database to back up, and then with no folder for the metrics."""
    (tmp_path / "pgdrill.toml").write_text('[status]\nmetrics = "x.prom"\n')
    env = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    argv = [sys.executable, "-c", "from backup_lib.cli import main; main()", "schedule", "once", "backup"]
    run = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert run.returncode == 3
    told = {one.name: one.value for one in samples((tmp_path / "x.prom").read_bytes())}
    assert (told["pgdrill_task_last_result"], told["pgdrill_backup_archives"]) == (3, 0)
    (tmp_path / "pgdrill.toml").write_text('[status]\nmetrics = "nowhere/x.prom"\n')
    run = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert (run.returncode, "warning: the metrics were not written" in run.stderr) == (3, True)
