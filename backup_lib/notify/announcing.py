"""One run and what is told of it. Whatever goes wrong here is said, and changes nothing of how the run ended."""

from __future__ import annotations

import hashlib
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from backup_lib.configuration import Configuration
from backup_lib.errors import BackupError, UsageError
from backup_lib.notify.channels import Apprise, Channel, Ping, Webhook, check_url
from backup_lib.notify.mail import PORTS, Mail
from backup_lib.notify.notice import Notice, choose_event, is_wanted, shorten
from backup_lib.notify.sending import Delivery, deliver
from backup_lib.setting_types import Secret
from backup_lib.settings import NotifySettings
from backup_lib.store import LocalStore
from backup_lib.variables import read_variable

PASSWORD_VARIABLE = "NOTIFY_SMTP_PASSWORD"  # noqa: S105 - its name
COMMANDS = ("backup", "drill", "config", "prune", "rotate", "sync")
TRY_AGAIN = "see what each channel says: pgdrill notify test"
_START_S = 5.0

Say = Callable[[str], object]


class Announcement:
    """A run from its start to what people are told of its end.

    :param say: told of every channel that did not take a message.
    """

    def __init__(self, configuration: Configuration | None, command: str, subject: str, *, say: Say) -> None:
        env = configuration.variables.merged() if configuration else {}
        self._settings = configuration.settings.notify if configuration else NotifySettings()
        self._channels, self._unusable = choose_channels(self._settings, env)
        self._command, self._subject, self._say = command, subject, say
        self._run_id, self._started_at = str(uuid.uuid4()), datetime.now(UTC)
        self._starting: threading.Thread | None = None
        self._start_failed: list[Delivery] = []
        self.lines: list[str] = []
        self.is_late = False

    def start(self) -> None:
        """Tell pings that it runs, which holds nothing up."""
        if pings := self._pings():
            self._starting = threading.Thread(target=self._start, args=(pings,), daemon=True)
            self._starting.start()

    def _start(self, pings: list[Ping]) -> None:
        def send(channel: Channel, timeout_s: float) -> None:
            if isinstance(channel, Ping):
                channel.start(self._run_id, timeout_s)

        self._start_failed = [one for one in deliver(pings, send, _START_S) if not one.sent]

    def end(self, exit_status: int) -> None:
        """Tell people, if they want to know; and remember the end, for the next run to be a recovery."""
        if self._starting is not None:
            self._starting.join(_START_S + 1)  # a start that comes after the end would look like a run that hangs
        former = self._remembered()
        notice = Notice(
            event=choose_event(exit_status, former=former, is_late=self.is_late),
            command=self._command,
            subject=self._subject,
            exit_status=exit_status,
            run_id=self._run_id,
            host=socket.gethostname(),
            started_at=self._started_at,
            ended_at=datetime.now(UTC),
            lines=shorten(self.lines),
        )
        if self._channels or self._unusable:
            self._remember(exit_status)
        wanted = is_wanted(notice.event, self._settings.on)
        channels = [*self._pings(), *(one for one in self._channels if wanted and not one.is_ping)]
        failed = [one for one in deliver(channels, notify(notice), self._settings.timeout_s) if not one.sent]
        for delivery in (*self._unusable, *self._start_failed, *failed):
            self._say(render_failure(delivery))
        if failed or self._unusable:
            self._say(f"hint: the run itself ended with exit status {exit_status}; {TRY_AGAIN}")

    def hand_on(self, path: Path) -> None:
        """Leave it to whoever started this run."""
        path.write_bytes(msgspec.json.encode(HandedOn(subject=self._subject, lines=tuple(self.lines))))

    def _pings(self) -> list[Ping]:
        return [one for one in self._channels if isinstance(one, Ping) and one.command == self._command]

    def _memory(self) -> tuple[LocalStore, str]:
        key = f"{self._command} {self._subject}"
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        return LocalStore(Path(self._settings.state)), f"{self._command}-{digest[:16]}.json"

    def _remembered(self) -> int | None:
        store, name = self._memory()
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(store.path(name).read_bytes(), type=_Ended).exit_status
        return None

    def _remember(self, exit_status: int) -> None:
        store, name = self._memory()
        ended = _Ended(command=self._command, subject=self._subject, exit_status=exit_status, at=datetime.now(UTC))
        try:
            store.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            store.replace(name, msgspec.json.format(msgspec.json.encode(ended)))
        except (BackupError, OSError) as exc:
            self._say(f"warning: how this run ended was not noted, so that a recovery will not be told: {exc}")


class _Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How the last run of a command on a subject ended."""

    command: str
    subject: str
    exit_status: int
    at: datetime


class HandedOn(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has to say, for the one that started it."""

    subject: str
    lines: tuple[str, ...]


def read_handed_on(path: Path) -> HandedOn | None:
    """None when the run died before it could say anything."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(path.read_bytes(), type=HandedOn)
    return None


def notify(notice: Notice) -> Callable[[Channel, float], None]:
    return lambda channel, timeout_s: channel.send(notice, timeout_s)


def render_failure(delivery: Delivery) -> str:
    tries = f", after {delivery.tries} tries" if delivery.tries > 1 else ""
    hint = f"\nhint: {delivery.hint}" if delivery.hint else ""
    return f"error: people were NOT told by {delivery.channel}: {delivery.detail}{tries}{hint}"


def choose_channels(settings: NotifySettings, env: Mapping[str, str]) -> tuple[list[Channel], list[Delivery]]:
    """Those that are configured, and those that cannot be used, such as for a secret that is not there."""
    found: list[Channel] = []
    unusable: list[Delivery] = []
    for name, make in _makers(settings, env):
        try:
            found += make()
        except UsageError as exc:
            unusable.append(Delivery(channel=name, sent=False, tries=0, detail=exc.message, hint=exc.hint))
    return found, unusable


def _makers(settings: NotifySettings, env: Mapping[str, str]) -> Iterator[tuple[str, Callable[[], list[Channel]]]]:
    def url_of(secret: Secret, what: str) -> str:
        return check_url(secret.read(env).strip(), what)

    def ping(secret: Secret, command: str) -> list[Channel]:
        return [Ping(url=url_of(secret, f"ping_{command}"), command=command)]

    if (webhook := settings.webhook) is not None:
        yield "webhook", lambda: [Webhook(url=url_of(webhook, "webhook"))]
    for command in COMMANDS:
        if (secret := getattr(settings, f"ping_{command}")) is not None:
            yield f"ping of {command}", partial(ping, secret, command)
    if settings.mail_to:
        yield "mail", lambda: [_mail(settings, env)]
    if (services := settings.apprise) is not None:
        yield "apprise", lambda: [Apprise(url=url) for url in services.read(env).split()]


def _mail(settings: NotifySettings, env: Mapping[str, str]) -> Mail:
    password = read_variable(env, PASSWORD_VARIABLE)
    if settings.smtp_user is not None and password is None:
        raise UsageError(
            f"smtp_user is {settings.smtp_user}, and there is no password",
            hint=f"set {PASSWORD_VARIABLE}, or {PASSWORD_VARIABLE}_FILE to a file that holds it",
        )
    return Mail(
        to=settings.mail_to,
        sender=settings.mail_from or f"pgdrill@{socket.gethostname()}",
        host=settings.smtp_host or "localhost",
        port=settings.smtp_port or PORTS[settings.smtp_security],
        security=settings.smtp_security,
        user=settings.smtp_user,
        password=password,
    )
