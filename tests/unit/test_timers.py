"""What is written for cron, systemd, CI services and Kubernetes."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from backup_lib.cron import Cron
from backup_lib.errors import UsageError
from backup_lib.scheduler import crons_of
from backup_lib.settings import ScheduleSettings
from backup_lib.timers import (
    Plan,
    render_cron,
    render_github,
    render_gitlab,
    render_kubernetes,
    render_systemd,
    replace_block,
)


def a_plan(zone: str = "UTC", folder: str = "/srv/shop", crons: dict[str, Cron] | None = None) -> Plan:
    return Plan(
        crons=crons
        or {
            "backup": Cron(expression="0 2 * * *", zone=ZoneInfo(zone)),
            "drill": Cron(expression="0 5 * * 1", zone=ZoneInfo(zone)),
        },
        folder=folder,
        program="/usr/bin/env",
        image="registry/pgdrill:1",
        writable=(folder,),
    )


def test_a_crontab_enters_the_folder_and_escapes_what_cron_would_take_for_a_new_line() -> None:
    text = render_cron(a_plan(folder="/srv/50% off"), machine_zone="Etc/UTC")
    assert text.splitlines()[1] == r"0 2 * * * cd '/srv/50\% off' && /usr/bin/env schedule once backup"


def test_cron_is_not_given_times_of_another_zone() -> None:
    with pytest.raises(UsageError, match="America/Bogota"):
        render_cron(a_plan("America/Bogota"), machine_zone="Etc/UTC")


@pytest.mark.parametrize("crontab", ["", "MAILTO=ana\n5 4 * * * other\n", "5 4 * * * other"])
def test_a_crontab_keeps_its_other_lines_however_often_ours_are_installed(crontab: str) -> None:
    former = replace_block(crontab, "# pgdrill: begin\nformer\n# pgdrill: end\n") + "last\n"
    block = render_cron(a_plan(), machine_zone="UTC")
    now = replace_block(former, block)
    assert now == replace_block(now, block)
    assert [line for line in now.splitlines() if "pgdrill" not in line and "once" not in line] == [
        *crontab.splitlines(),
        "last",
    ]
    assert now.count("schedule once backup") == 1


def test_a_crontab_whose_block_has_no_end_is_left_alone() -> None:
    with pytest.raises(UsageError, match="pgdrill: end"):
        replace_block("# pgdrill: begin\n5 4 * * * precious\n", "block")


def test_timers_make_up_for_missed_runs_and_services_are_confined() -> None:
    units = render_systemd(a_plan("America/Bogota"))
    assert sorted(units) == [
        "pgdrill-backup.service",
        "pgdrill-backup.timer",
        "pgdrill-drill.service",
        "pgdrill-drill.timer",
    ]
    assert "OnCalendar=*-*-* 02:00:00 America/Bogota\n" in units["pgdrill-backup.timer"]
    assert "Persistent=true\n" in units["pgdrill-backup.timer"]
    service = units["pgdrill-backup.service"]
    assert {"ProtectSystem=strict", "NoNewPrivileges=yes", "UMask=0077", "ReadWritePaths=/srv/shop"} <= set(
        service.splitlines()
    )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_itself_accepts_the_units(tmp_path: Path) -> None:
    crons = crons_of(replace(ScheduleSettings(), config="30 2 * * 0", rotate="0 4 1 * *", status="0 9 * * *"))
    for name, text in render_systemd(a_plan(folder=str(tmp_path), crons=crons)).items():
        (tmp_path / name).write_text(text)
    said = subprocess.run(
        ["systemd-analyze", "verify", *sorted(map(str, tmp_path.glob("pgdrill-*")))], capture_output=True, text=True
    )
    assert len(list(tmp_path.glob("*.timer"))) == 5
    assert (said.returncode, [line for line in said.stderr.splitlines() if "pgdrill" in line]) == (0, [])


def test_workflows_run_the_drill_in_time_and_keep_its_evidence() -> None:
    github, gitlab = render_github(a_plan()), render_gitlab(a_plan("America/Bogota"))
    assert '- cron: "0 5 * * 1"' in github
    assert "${{ secrets.AWS_SECRET_ACCESS_KEY }}" in github
    assert "if: always()\n        with:\n          name: restore-drill\n          path: reports/" in github
    assert '"0 5 * * 1", time zone America/Bogota' in gitlab
    assert "when: always\n    paths:\n      - reports/" in gitlab
    with pytest.raises(UsageError, match="GitHub schedules in UTC"):
        render_github(a_plan("America/Bogota"))


def test_workflows_are_yaml() -> None:
    yaml = pytest.importorskip("yaml")  # comes with moto
    assert yaml.safe_load(render_github(a_plan()))["jobs"]["drill"]["steps"][2]["run"] == "pgdrill verify --each"
    assert yaml.safe_load(render_gitlab(a_plan()))["restore-drill"]["artifacts"]["when"] == "always"
    jobs = list(yaml.safe_load_all(render_kubernetes(a_plan("America/Bogota"))))
    assert [job["spec"]["schedule"] for job in jobs] == ["0 2 * * *", "0 5 * * 1"]
    assert {job["spec"]["timeZone"] for job in jobs} == {"America/Bogota"}
    assert {job["spec"]["concurrencyPolicy"] for job in jobs} == {"Forbid"}
    pod = jobs[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["args"] == ["schedule", "once", "backup"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
