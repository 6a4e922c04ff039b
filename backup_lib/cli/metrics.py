"""`pgdrill metrics`: the status for Prometheus, rules that alert on it, and a dashboard that shows it."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from backup_lib.cli.configured import load
from backup_lib.cli.status import Place
from backup_lib.cli.talk import put, say
from backup_lib.errors import UsageError


def metrics(
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write this file, whole or not at all; default print them."),
    ] = None,
    alerts: Annotated[bool, typer.Option("--alerts", help="Print alert rules for Prometheus instead.")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Print a dashboard for Grafana instead.")] = False,
    backups: Place = None,
) -> None:
    """Print or write the status as metrics for Prometheus, or what alerts on them and shows them."""
    from backup_lib.monitor.metrics import render_metrics, write_metrics
    from backup_lib.monitor.status import examine

    if sum((alerts, dashboard, out is not None)) > 1:
        raise UsageError("--out, --alerts and --dashboard are three things", hint="ask for one of them")
    if alerts or dashboard:
        name = "alerts.yml" if alerts else "dashboard.json"
        put(files("backup_lib.monitor").joinpath(name).read_text(encoding="utf-8").rstrip())
        return
    status = examine(load(), now=datetime.now(UTC), place=backups)
    if out is None:
        put(render_metrics(status).decode().rstrip())
    else:
        write_metrics(status, out)


def refresh_configured() -> None:
    """Write the file that the configuration names, if it does; say why that could not be done."""
    from backup_lib.monitor.metrics import refresh_metrics

    if trouble := refresh_metrics(load()):
        say(f"warning: {trouble}")
