"""`pgdrill notify test`: whether people can be told."""

from __future__ import annotations

import socket
import uuid
from dataclasses import asdict
from datetime import UTC, datetime

import typer

from backup_lib.cli.options import AsJson
from backup_lib.cli.talk import put, put_json
from backup_lib.errors import BackupError, UsageError

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="See whether people can be told how runs end.")


@app.callback()
def notify() -> None:
    """See whether people can be told how runs end."""


@app.command("test")
def send_test(*, as_json: AsJson = False) -> None:
    """Send a message over every channel that is configured, and say what became of it; exits 3 if one failed."""
    from backup_lib.cli.configured import load
    from backup_lib.notify.announcing import choose_channels
    from backup_lib.notify.announcing import notify as sender
    from backup_lib.notify.notice import Notice
    from backup_lib.notify.sending import deliver

    configuration = load()
    settings = configuration.settings.notify
    channels, unusable = choose_channels(settings, configuration.variables.merged())
    if not channels and not unusable:
        raise UsageError(
            "nobody is to be told: no channel is configured",
            hint="give [notify] of pgdrill.toml a webhook, ping_backup, mail_to or apprise; or set NOTIFY_WEBHOOK …",
        )
    now = datetime.now(UTC)
    notice = Notice(
        event="test",
        command="notify",
        subject="",
        exit_status=0,
        run_id=str(uuid.uuid4()),
        host=socket.gethostname(),
        started_at=now,
        ended_at=now,
        lines=("This is a test: whoever reads it will be told how backups and drills end.",),
    )
    deliveries = [*deliver(channels, sender(notice), settings.timeout_s), *unusable]
    if as_json:
        put_json({"on": list(settings.on), "channels": [asdict(one) for one in deliveries]})
    else:
        for one in deliveries:
            put(f"{'sent' if one.sent else 'FAILED':8}{one.channel}{f': {one.detail}' if one.detail else ''}")
            if one.hint:
                put(f"{'':8}hint: {one.hint}")
    raise typer.Exit(0 if all(one.sent for one in deliveries) else BackupError.exit_status)
