"""`pgdrill schedule`: what makes others run pgdrill, a loop of its own, and how the last runs ended."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backup_lib.cli.configured import load
from backup_lib.cli.metrics import refresh_configured
from backup_lib.cli.options import AsJson
from backup_lib.cli.talk import put, put_json, say
from backup_lib.cli.telling import Teller
from backup_lib.errors import BackupError, UsageError

if TYPE_CHECKING:
    from backup_lib.configuration import Configuration
    from backup_lib.cron import Cron
    from backup_lib.scheduler import Command, Runner, Task
    from backup_lib.timers import Plan

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Run backups and drills at their times, or have them run.",
)

_BackupAt = Annotated[
    str | None, typer.Option("--backup", metavar="CRON", help="Default BACKUP_SCHEDULE, or 0 2 * * *.")
]
_DrillAt = Annotated[
    str | None, typer.Option("--drill", metavar="CRON", help="Or never. Default DRILL_SCHEDULE, or 0 5 * * 1.")
]
_Zone = Annotated[str | None, typer.Option("--tz", metavar="ZONE", help="Such as America/Bogota; default TZ, or UTC.")]
_Install = Annotated[bool, typer.Option("--install", help="Put it in its place.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="With --install: only say what would be written.")]
_PROGRAM = (sys.executable, "-c", "from backup_lib.cli import main; main()")


@app.command("cron")
def cron(
    *,
    backup: _BackupAt = None,
    drill: _DrillAt = None,
    tz: _Zone = None,
    install: _Install = False,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Lines for a crontab; --install puts them into that of this user."""
    from backup_lib.process import run
    from backup_lib.timers import render_cron, replace_block

    block = render_cron(_plan(backup, drill, tz), machine_zone=_machine_zone())
    if not install:
        _put_text("crontab", block, as_json=as_json)
        return
    listed = run(["crontab", "-l"], check=False)  # 1: there is none yet
    if listed.status not in (0, 1) or (listed.status == 1 and "no crontab" not in listed.stderr):
        raise BackupError(f"crontab -l: {listed.stderr.strip()}", hint="see that this user may use cron")
    crontab = replace_block(listed.text, block)
    if dry_run:
        _put_text("crontab", crontab, as_json=as_json)
        return
    run(["crontab", "-"], stdin=crontab.encode())
    if as_json:
        put_json({"files": [_file("crontab", crontab, written=True)]})
    say("written to the crontab of this user: crontab -l shows it")


@app.command("systemd")
def systemd(
    *,
    backup: _BackupAt = None,
    drill: _DrillAt = None,
    tz: _Zone = None,
    install: _Install = False,
    dry_run: _DryRun = False,
    units: Annotated[Path, typer.Option("--units", metavar="FOLDER", help="Where units go.")] = Path(
        "/etc/systemd/system"
    ),
    as_json: AsJson = False,
) -> None:
    """Services and timers; --install writes them, and says how to start them."""
    from backup_lib.timers import render_systemd

    files = render_systemd(_plan(backup, drill, tz))
    if as_json and (not install or dry_run):
        put_json({"files": [_file(str(units / name), text) for name, text in files.items()]})
        return
    if not install or dry_run:
        put("\n".join(f"# {units / name}\n{text}" for name, text in files.items()).rstrip())
        return
    for name, text in files.items():
        partial = units / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(units / name)
        None if as_json else put(str(units / name))
    if as_json:
        put_json({"files": [_file(str(units / name), text, written=True) for name, text in files.items()]})
    timers = " ".join(name for name in files if name.endswith(".timer"))
    say(f"start them: systemctl daemon-reload && systemctl enable --now {timers}")


@app.command("github")
def github(*, drill: _DrillAt = None, tz: _Zone = None, as_json: AsJson = False) -> None:
    """A workflow for GitHub: the weekly drill, its evidence kept."""
    from backup_lib.timers import render_github

    _put_text(".github/workflows/restore-drill.yml", render_github(_plan(None, drill, tz)), as_json=as_json)


@app.command("gitlab")
def gitlab(*, drill: _DrillAt = None, tz: _Zone = None, as_json: AsJson = False) -> None:
    """A job for GitLab: the weekly drill, its evidence kept."""
    from backup_lib.timers import render_gitlab

    _put_text(".gitlab-ci.yml", render_gitlab(_plan(None, drill, tz)), as_json=as_json)


@app.command("kubernetes")
def kubernetes(
    *,
    backup: _BackupAt = None,
    drill: _DrillAt = None,
    tz: _Zone = None,
    image: Annotated[str, typer.Option(metavar="IMAGE", help="That of pgdrill's Dockerfile.")] = "pgdrill:0.1.0",
    as_json: AsJson = False,
) -> None:
    """CronJobs for Kubernetes."""
    from backup_lib.timers import render_kubernetes

    _put_text("cronjobs.yaml", render_kubernetes(_plan(backup, drill, tz, image=image)), as_json=as_json)


@app.command("run")
def run_(
    *,
    backup: _BackupAt = None,
    drill: _DrillAt = None,
    tz: _Zone = None,
) -> None:
    """Stay, and run backups and drills at their times; for containers."""
    from backup_lib.scheduler import run_loop

    found = load()
    tasks = _tasks(found, backup, drill, tz)
    teller = Teller(found, _say_in_time)
    state, run = Path(found.settings.schedule.state), _runner(found, teller)
    status = run_loop(tasks, state, run, _say_in_time, listener=teller, noted=refresh_configured)
    raise typer.Exit(status)


@app.command("once")
def once(
    task: Annotated[str, typer.Argument(metavar="backup|config|rotate|drill|status", help="What to run now.")],
) -> None:
    """Run one of them now, never beside another, and note how it ended; what cron and timers call."""
    from datetime import UTC, datetime

    from backup_lib.scheduler import run_task

    found = load()
    tasks = {one.name: one for one in _tasks(found, None, None, None)}
    if task not in tasks:
        raise UsageError(f"{task} is not scheduled", hint=f"one of {', '.join(tasks)}")
    state = Path(found.settings.schedule.state)
    teller = Teller(found, _say_in_time)
    run, now = _runner(found, teller), datetime.now(UTC)
    status = run_task(tasks[task], now, state, run, _say_in_time, listener=teller, noted=refresh_configured)
    raise typer.Exit(status)


@app.command("health")
def health(
    *,
    grace: Annotated[
        str, typer.Option(metavar="DURATION", help="How long after its time a run must have ended.")
    ] = "6h",
    as_json: AsJson = False,
) -> None:
    """Whether the last runs ended well and none was missed; exit status 3 otherwise. A container's health check."""
    from datetime import UTC, datetime

    from backup_lib.scheduler import check_health, read_state
    from backup_lib.setting_types import parse_duration_s

    found = load()
    try:
        grace_s = parse_duration_s(grace)
    except ValueError as exc:
        raise UsageError(f"--grace {grace}: {exc}") from exc
    tasks, state = _tasks(found, None, None, None), read_state(Path(found.settings.schedule.state))
    wrong = check_health(tasks, state, datetime.now(UTC), grace_s=grace_s)
    if as_json:
        put_json({"healthy": not wrong, "wrong": wrong})
    else:
        put("\n".join(wrong) or "healthy")
    raise typer.Exit(BackupError.exit_status if wrong else 0)


def _put_text(path: str, text: str, *, as_json: bool) -> None:
    if as_json:
        put_json({"files": [_file(path, text)]})
    else:
        put(text.rstrip())


def _file(path: str, text: str, *, written: bool = False) -> dict[str, object]:
    """:param path: where it belongs."""
    return {"path": path, "text": text, "written": written}


def _crons(found: Configuration, backup: str | None, drill: str | None, tz: str | None) -> dict[str, Cron]:
    from dataclasses import replace

    from backup_lib.cron import parse_cron, parse_zone
    from backup_lib.scheduler import crons_of
    from backup_lib.setting_types import parse_cron_or_never

    settings = found.settings.schedule
    try:
        meant = replace(
            settings,
            backup=parse_cron(backup or settings.backup),
            drill=parse_cron_or_never(drill or settings.drill or "never"),
            tz=parse_zone(tz or settings.tz),
        )
    except ValueError as exc:
        raise UsageError(f"--backup, --drill or --tz: {exc}") from exc
    return crons_of(meant)


def _tasks(found: Configuration, backup: str | None, drill: str | None, tz: str | None) -> list[Task]:
    from backup_lib.monitor.expected import expected_groups, places_of
    from backup_lib.scheduler import Task

    settings = found.settings
    # Each database goes to its own places, is drilled, and is cleaned up there.
    places = places_of(found, expected_groups(found, None), None)
    pruned = places if settings.schedule.prune else ()
    commands: dict[str, tuple[Command, ...]] = {
        "backup": (("backup",), *(("prune", "--backups", place) for place in pruned)),
        "config": (("backup", "--kind", "config"),),
        "rotate": tuple(("rotate", "--backups", place) for place in places),
        "drill": (("verify", "--each", "--reports", settings.verify.reports),),
        "status": (("status", "--tell"),),
    }
    crons = _crons(found, backup, drill, tz)
    return [Task(name=name, cron=cron, commands=commands[name]) for name, cron in crons.items()]


def _runner(found: Configuration, teller: Teller) -> Runner:
    """Runs pgdrill with the variables of `.env` too; the configuration it reads itself."""
    from backup_lib.process import passthrough

    environment = found.variables.from_dotenv()

    def run(command: Command) -> int:
        with teller.listening() as variables:
            status = passthrough([*_PROGRAM, *command], env=environment | variables)
            teller.ended(command, status)
        return status

    return run


def _plan(backup: str | None, drill: str | None, tz: str | None, *, image: str = "") -> Plan:
    from shutil import which

    from backup_lib.timers import Plan

    found = load()
    settings = found.settings
    folder = Path.cwd()
    places = [settings.backup.dir, settings.verify.reports, str(Path(settings.schedule.state).parent)]
    outside = [path for place in places if "://" not in place and not (path := folder / place).is_relative_to(folder)]
    return Plan(
        crons=_crons(found, backup, drill, tz),
        folder=str(folder),
        program=which("pgdrill") or str(Path(sys.executable).with_name("pgdrill")),
        image=image,
        writable=tuple(dict.fromkeys(map(str, [folder, *outside]))),
    )


def _machine_zone() -> str:
    """The name of the zone that /etc/localtime is of."""
    path = Path("/etc/localtime").resolve().as_posix()
    return path.partition("/zoneinfo/")[2] or "UTC"


def _say_in_time(text: str) -> None:
    from datetime import UTC, datetime

    say(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}")
