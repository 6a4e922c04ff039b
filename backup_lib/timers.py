"""What makes others run pgdrill at its times: cron, systemd, CI services, Kubernetes. Pure: text from a plan."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from backup_lib.cron import Cron, render_calendar
from backup_lib.errors import UsageError

_UTC = ("UTC", "Etc/UTC", "GMT", "Etc/GMT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to run where."""

    crons: Mapping[str, Cron]  # by task: backup, drill, …
    folder: str  # absolute: where .env and pgdrill.toml are
    program: str  # absolute path of pgdrill
    image: str  # of a container
    writable: tuple[str, ...] = ()  # absolute folders that archives and reports go to


def render_cron(plan: Plan, *, machine_zone: str) -> str:
    """Lines of a crontab.

    :raises UsageError: when the plan's zone is not the machine's, which cron goes by.
    """
    zone = _zone(plan)
    if zone != machine_zone and not (zone in _UTC and machine_zone in _UTC):
        raise UsageError(
            f"cron goes by this machine's clock ({machine_zone}), and the schedule by {zone}",
            hint=f"give --tz {machine_zone}, or use `pgdrill schedule systemd` or `pgdrill schedule run`",
        )
    lines = [
        f"{cron.expression} cd {shlex.quote(plan.folder)} && {shlex.quote(plan.program)} schedule once {task}".replace(
            "%", r"\%"
        )  # cron would end the line there
        for task, cron in plan.crons.items()
    ]
    return "\n".join(["# pgdrill: begin", *lines, "# pgdrill: end", ""])


def render_systemd(plan: Plan) -> dict[str, str]:
    """Unit files by name: a service and a timer for each task."""
    units: dict[str, str] = {}
    for task, cron in plan.crons.items():
        units[f"pgdrill-{task}.service"] = _SERVICE.format(
            task=task,
            folder=plan.folder.replace("%", "%%"),
            program=_systemd_word(plan.program),
            writable=" ".join(_systemd_word(folder) for folder in plan.writable),
        )
        calendar = "\n".join(f"OnCalendar={line}" for line in render_calendar(cron))
        units[f"pgdrill-{task}.timer"] = _TIMER.format(task=task, calendar=calendar)
    return units


def render_github(plan: Plan) -> str:
    """A workflow: the weekly drill, its evidence kept whatever comes out."""
    _demand_utc(plan, "GitHub")
    return _GITHUB.format(cron=_drill(plan).expression)


def render_gitlab(plan: Plan) -> str:
    """A job of `.gitlab-ci.yml`; its times are set in the project, which the first lines say."""
    cron = _drill(plan)
    return _GITLAB.format(cron=cron.expression, zone=cron.zone.key)


def render_kubernetes(plan: Plan) -> str:
    """A CronJob for each task, separated by `---`."""
    return "---\n".join(
        _KUBERNETES.format(task=task, cron=cron.expression, zone=cron.zone.key, image=plan.image)
        for task, cron in plan.crons.items()
    )


def replace_block(crontab: str, block: str) -> str:
    """A crontab with the lines of ours in the place of former ones, all else as it was."""
    begin, end = "# pgdrill: begin\n", "# pgdrill: end\n"
    before, found, rest = crontab.partition(begin)
    if not found:
        return crontab + ("" if not crontab or crontab.endswith("\n") else "\n") + block
    _, closed, after = rest.partition(end)
    if not closed:
        raise UsageError("the crontab has '# pgdrill: begin' and no '# pgdrill: end'", hint="mend it: crontab -e")
    return before + block + after


def _zone(plan: Plan) -> str:
    return next(iter(plan.crons.values())).zone.key


def _drill(plan: Plan) -> Cron:
    if "drill" not in plan.crons:
        raise UsageError("no drill is scheduled", hint='give --drill "0 5 * * 1"')
    return plan.crons["drill"]


def _demand_utc(plan: Plan, who: str) -> None:
    if (zone := _zone(plan)) not in _UTC:
        raise UsageError(f"{who} schedules in UTC, not in {zone}", hint="give --tz UTC, and the times in UTC")


def _systemd_word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != text or " " in text else text


_SERVICE = """\
[Unit]
Description=pgdrill {task}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={folder}
ExecStart={program} schedule once {task}
UMask=0077
CacheDirectory=pgdrill
CacheDirectoryMode=0755
Environment=XDG_CACHE_HOME=/var/cache
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
LockPersonality=yes
RestrictSUIDSGID=yes
ReadWritePaths={writable}
"""

_TIMER = """\
[Unit]
Description=pgdrill {task}, in time

[Timer]
{calendar}
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
"""

_GITHUB = """\
name: restore drill
on:
  schedule:
    - cron: "{cron}"
  workflow_dispatch:
permissions:
  contents: read
jobs:
  drill:
    runs-on: ubuntu-24.04
    timeout-minutes: 60
    env:
      BACKUP_DIR: ${{{{ vars.BACKUP_DIR }}}}
      AWS_ACCESS_KEY_ID: ${{{{ secrets.AWS_ACCESS_KEY_ID }}}}
      AWS_SECRET_ACCESS_KEY: ${{{{ secrets.AWS_SECRET_ACCESS_KEY }}}}
    steps:
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install "pgdrill[s3,age]"
      - run: pgdrill verify --each
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: restore-drill
          path: reports/
          if-no-files-found: error
"""

_GITLAB = """\
# Build > Pipeline schedules > New schedule: "{cron}", time zone {zone}; variables: BACKUP_DIR and its keys.
restore-drill:
  image: python:3.12-slim-bookworm
  rules:
    - if: $CI_PIPELINE_SOURCE == "schedule"
  timeout: 1h
  script:
    - pip install "pgdrill[s3,age]"
    - useradd --create-home drill && chown -R drill .
    - su drill -c "pgdrill verify --each"
  artifacts:
    when: always
    paths:
      - reports/
"""

_KUBERNETES = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: pgdrill-{task}
spec:
  schedule: "{cron}"
  timeZone: "{zone}"
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  jobTemplate:
    spec:
      backoffLimit: 1
      template:
        spec:
          restartPolicy: Never
          automountServiceAccountToken: false
          securityContext:
            runAsNonRoot: true
            runAsUser: 10001
            fsGroup: 10001
            seccompProfile:
              type: RuntimeDefault
          containers:
            - name: pgdrill
              image: "{image}"
              args: ["schedule", "once", "{task}"]
              envFrom:
                - secretRef:
                    name: pgdrill
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities:
                  drop: ["ALL"]
              volumeMounts:
                - {{ name: data, mountPath: /data }}
                - {{ name: tmp, mountPath: /tmp }}
          volumes:
            - name: data
              persistentVolumeClaim:
                claimName: pgdrill
            - name: tmp
              emptyDir: {{}}
"""
