"""People are told how runs end, over real HTTP and SMTP; what cannot be sent is said, and changes nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from receivers import Receiver, certificate, http_receiver, server_context

from backup_lib.configuration import load_configuration
from backup_lib.errors import UsageError
from backup_lib.notify.announcing import Announcement, choose_channels, notify
from backup_lib.notify.channels import Apprise, Channel, Ping, Webhook
from backup_lib.notify.mail import Mail
from backup_lib.notify.notice import Notice, choose_event, is_wanted, mask, shorten, sum_up_findings
from backup_lib.notify.sending import Delivery, deliver
from verification.finding import Finding

# aiosmtpd warns of a server that lets one log in without TLS, which is what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH", "ignore:.*auth_require.*")
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
TOKEN = "T0P-s3cret"  # noqa: S105


def a_notice(event: Any = "failure", **given: Any) -> Notice:
    facts: dict[str, Any] = {
        "event": event, "command": "backup", "subject": "shop", "exit_status": 3, "run_id": "run-1", "host": "pos",
        "started_at": NOW, "ended_at": NOW, "lines": ("error: no room", "next: df -h"),
    }  # fmt: skip
    return Notice(**{**facts, **given})


def send(channel: Channel, notice: Notice | None = None, deadline_s: float = 5.0) -> Delivery:
    return deliver([channel], notify(notice or a_notice()), deadline_s)[0]


# What is told, and when


@pytest.mark.parametrize(
    ("status", "former", "late", "event"),
    [
        pytest.param(0, None, False, "success", id="first"),
        pytest.param(0, 0, False, "success", id="good-again"),
        pytest.param(0, 3, False, "recovery", id="first-good-after-a-bad-one"),
        pytest.param(4, 0, False, "failure", id="objective-missed"),
        pytest.param(0, 0, True, "missed", id="made-up-for"),
        pytest.param(1, 1, True, "failure", id="late-and-bad"),
    ],
)
def test_what_the_end_of_a_run_is_called(status: int, former: int | None, late: bool, event: str) -> None:  # noqa: FBT001
    assert choose_event(status, former=former, is_late=late) == event


@pytest.mark.parametrize(
    ("when", "told"),
    [
        pytest.param(["failure"], {"failure", "missed", "test"}, id="by-default"),
        pytest.param(["success"], {"success", "recovery", "test"}, id="success"),
        pytest.param(["failure", "recovery"], {"failure", "missed", "recovery", "test"}, id="changes"),
        pytest.param(["always"], {"failure", "missed", "recovery", "success", "test"}, id="always"),
        pytest.param([], {"test"}, id="never"),
    ],
)
def test_who_is_told_of_what(when: Any, told: set[str]) -> None:
    events: tuple[Any, ...] = ("failure", "missed", "recovery", "success", "test")
    assert {event for event in events if is_wanted(event, when)} == told


def test_a_message_has_twenty_lines_at_most_and_says_what_is_left_out() -> None:
    short = a_notice(lines=shorten(["one", "two\nthree", ""]))
    assert short.text.splitlines()[1:] == ["one", "two", "three"]
    long = a_notice(lines=shorten([f"finding {n} {'x' * 1000}" for n in range(100)]))
    assert len(long.text.splitlines()) == 20
    assert long.lines[-1].startswith("… and 82 more lines")
    assert max(map(len, long.lines)) == 300


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at postgresql://pos:hunter2@db/shop", "at postgresql://pos:***@db/shop"),
        ("postgresql://pos:p/w@x@db/shop?sslpassword=a", "postgresql://pos:***@db/shop?***"),
        ("https://blob.example/c/x.gz?sv=1&sig=abc, then", "https://blob.example/c/x.gz?*** then"),
        ("host=db password='a b' user=x", "host=db password=*** user=x"),
        ("host=db Password = hunter2", "host=db Password=***"),
        ("s3://bucket/prefix is whole", "s3://bucket/prefix is whole"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert mask(text) == masked
    assert shorten([text]) == (masked,)


def test_findings_are_told_with_the_next_command_and_without_answers_of_queries() -> None:
    findings = [
        Finding(
            check="row-count", object="public.sales", status="fault", expected="3", actual="2", hint="take another"
        ),
        Finding(check="schema", object="INDEX x", status="match"),
        Finding(check="sql:name", object="q", status="fault", expected="Ana", actual="Eva"),
        Finding(check="environment", object="locale", status="gap"),
    ]
    assert list(sum_up_findings(findings)) == [
        "row-count, public.sales: expected 3, found 2",
        "  next: take another",
        "sql:name, q: not as expected",
        "environment, locale: not as expected",
    ]


# HTTP


def test_a_webhook_gets_the_documented_body() -> None:
    with http_receiver() as receiver:
        assert send(Webhook(url=f"{receiver.url}/hook/{TOKEN}")).sent
    (got,) = receiver.got
    assert got.path == f"/hook/{TOKEN}"
    assert got.json == {
        "schema_version": 1, "event": "failure", "command": "backup", "subject": "shop", "exit_status": 3,
        "run_id": "run-1", "host": "pos", "started_at": "2026-11-24T09:00:00Z", "ended_at": "2026-11-24T09:00:00Z",
        "title": "pgdrill backup of shop on pos: FAILED (exit status 3)", "lines": ["error: no room", "next: df -h"],
        "text": "pgdrill backup of shop on pos: FAILED (exit status 3)\nerror: no room\nnext: df -h",
    }  # fmt: skip


def test_a_receiver_that_is_down_for_a_moment_is_tried_again() -> None:
    with http_receiver(503, 200) as receiver:
        delivery = send(Webhook(url=receiver.url))
    assert (delivery.sent, delivery.tries, len(receiver.got)) == (True, 2, 2)


@pytest.mark.parametrize(("status", "said"), [(404, "404"), (302, "302"), (307, "307")])
def test_what_stays_wrong_is_not_tried_again_and_no_redirect_loses_the_body(status: int, said: str) -> None:
    with http_receiver(status) as receiver:
        delivery = send(Webhook(url=receiver.url))
    assert (delivery.sent, delivery.tries, len(receiver.got)) == (False, 1, 1)
    assert said in delivery.detail


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    "make", [lambda port: Webhook(url=f"http://127.0.0.1:{port}/{TOKEN}"), lambda port: a_mail(port)]
)
def test_a_port_that_refuses_is_said_within_the_deadline(make: Callable[[int], Channel]) -> None:
    begun = time.monotonic()
    delivery = send(make(closed_port()), deadline_s=1.5)
    assert (delivery.sent, delivery.tries, delivery.detail) == (False, 2, "nobody listens there")
    assert time.monotonic() - begun < 2.5


def test_a_receiver_that_hangs_holds_nothing_up_longer_than_the_deadline() -> None:
    begun = time.monotonic()
    with http_receiver(0) as hangs, http_receiver() as good:
        channels = [Webhook(url=hangs.url), Webhook(url=good.url)]
        first, second = deliver(channels, notify(a_notice()), 0.5)
        assert time.monotonic() - begun < 1.5
    assert not first.sent
    assert "no answer" in first.detail
    assert second.sent


def test_a_certificate_nobody_trusts_is_refused_and_one_that_is_named_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path)
    with http_receiver(tls=server_context(path)) as receiver:
        url = receiver.url.replace("http:", "https:")
        refused = send(Webhook(url=url))
        assert not refused.sent
        assert "certificate is not trusted" in refused.detail
        assert not receiver.got
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert send(Webhook(url=url)).sent


def test_pings_tell_start_end_and_failure_of_one_run() -> None:
    with http_receiver() as receiver:
        ping = Ping(url=f"{receiver.url}/uuid/?create=1", command="backup")
        ping.start("run-1", 5)
        for event in ("success", "recovery", "missed", "failure", "test"):
            assert send(ping, a_notice(event)).sent
    assert [got.path for got in receiver.got] == [
        "/uuid/start?create=1&rid=run-1", *["/uuid?create=1&rid=run-1"] * 3,
        "/uuid/fail?create=1&rid=run-1", "/uuid/log?create=1&rid=run-1",
    ]  # fmt: skip
    assert receiver.got[4].body == a_notice("failure").text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own
def test_apprise_sends_to_what_it_knows_and_says_what_it_does_not(caplog: pytest.LogCaptureFixture) -> None:
    with http_receiver() as receiver:
        assert send(Apprise(url=f"json://127.0.0.1:{receiver.port}/{TOKEN}")).sent
    assert receiver.got[0].json["title"] == a_notice().title
    assert "does not know" in send(Apprise(url="nosuch://x")).detail
    assert TOKEN not in Apprise(url=f"json://127.0.0.1/{TOKEN}").name


# Mail


class Sink:
    def __init__(self) -> None:
        self.mails: list[Message] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
        import email.policy

        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 taken"


def a_mail(port: int, **given: Any) -> Mail:
    facts: dict[str, Any] = {
        "to": ("ana@example.org", "eva@example.org"),
        "sender": "b@example.org",
        "security": "none",
    }
    return Mail(**{**facts, "host": "127.0.0.1", "port": port, **given})


@contextmanager
def mail_server(tmp_path: Path, security: str = "none", password: str = "") -> Iterator[tuple[Sink, int]]:
    context = server_context(certificate(tmp_path)) if security != "none" else None
    sink = Sink()
    options: dict[str, Any] = {}
    if security == "tls":
        options["ssl_context"] = context
    elif security == "starttls":
        options |= {"tls_context": context, "require_starttls": True}
    if password:

        def login(_server: object, _session: object, _envelope: object, _way: str, told: Any) -> AuthResult:
            return AuthResult(success=told.login == b"backups" and told.password == password.encode(), handled=False)

        options |= {"authenticator": login, "auth_required": True, "auth_require_tls": security == "starttls"}
    controller = Controller(sink, hostname="127.0.0.1", port=closed_port(), ready_timeout=10, **options)
    controller.start()
    try:
        yield sink, controller.port
    finally:
        controller.stop()


def test_a_mail_without_a_secret_comes_to_everybody(tmp_path: Path) -> None:
    with mail_server(tmp_path) as (sink, port):
        assert send(a_mail(port), a_notice(subject="tien\nda ñ")).sent
    (mail,) = sink.mails
    assert mail["Subject"] == "pgdrill backup of tien da ñ on pos: FAILED (exit status 3)"
    assert mail["To"] == "ana@example.org, eva@example.org"
    assert mail.get_content().replace("\r", "") == a_notice(subject="tien da ñ").text + "\n\nrun run-1\n"  # type: ignore[attr-defined]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_encrypted_and_a_wrong_password_is_not_tried_again(
    security: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(tmp_path, security, TOKEN) as (sink, port):
        mail = a_mail(port, security=security, user="backups", password=TOKEN)
        untrusted = send(mail)
        assert "certificate is not trusted" in untrusted.detail
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "localhost.pem"))
        assert send(mail) == Delivery(channel=mail.name, sent=True, tries=1)
        wrong = send(a_mail(port, security=security, user="backups", password="wrong"))  # noqa: S106
    assert (wrong.sent, wrong.tries) == (False, 1)
    assert wrong.detail == "user backups or the password is wrong (535)"
    assert len(sink.mails) == 1


def test_a_server_without_starttls_gets_no_password(tmp_path: Path) -> None:
    with mail_server(tmp_path, "none", TOKEN) as (sink, port):
        delivery = send(a_mail(port, security="starttls", user="backups", password=TOKEN))
    assert not delivery.sent
    assert "STARTTLS" in delivery.detail
    assert not sink.mails


# What is configured


def channels_of(folder: Path, toml: str = "", **env: str) -> tuple[list[Channel], list[Delivery]]:
    (folder / "pgdrill.toml").write_text(toml)
    found = load_configuration(env, folder)
    return choose_channels(found.settings.notify, found.variables.merged())


def test_channels_come_from_the_file_and_from_variables(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"https://hooks.example.org/{TOKEN}\n")
    toml = f"""[notify]
webhook_file = "{tmp_path}/token"
ping_drill_env = "DRILL_URL"
mail_to = "ana@example.org"
smtp_host = "smtp.example.org"
smtp_user = "backups"
"""
    env = {"DRILL_URL": f"https://hc-ping.com/{TOKEN}", "NOTIFY_SMTP_PASSWORD": TOKEN}
    channels, unusable = channels_of(tmp_path, toml, NOTIFY_APPRISE=f"json://a/{TOKEN} json://b/{TOKEN}", **env)
    assert [one.name for one in channels] == [
        "webhook https://hooks.example.org/…", "ping of drill https://hc-ping.com/…",
        "mail to ana@example.org by smtp.example.org:587", "apprise json://…", "apprise json://…",
    ]  # fmt: skip
    assert not unusable
    assert TOKEN not in repr(channels)


def test_a_secret_that_is_not_there_is_said_by_channel(tmp_path: Path) -> None:
    toml = '[notify]\nwebhook = "https:/x"\nping_backup_env = "NONE"\nmail_to = "a@b"\nsmtp_host = "c"\nsmtp_user = "d"'
    channels, unusable = channels_of(tmp_path, toml)
    assert not channels
    assert [one.detail for one in unusable] == [
        "webhook is not an address such as https://example.org/…",
        "the variable NONE, which the configuration names, is empty or not set",
        "smtp_user is d, and there is no password",
    ]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        pytest.param('mail_to = "a@b"', "without smtp_host", id="no-server"),
        pytest.param('mail_to = "a@b, c@d"\nsmtp_host = "h"', "no mail address", id="two-in-one"),
        pytest.param('smtp_password = "x"', "no setting", id="password-in-the-file"),
        pytest.param('smtp_user = "x"\nsmtp_security = "none"', "could be read", id="password-in-the-clear"),
        pytest.param('on = ["failur"]', "did you mean failure", id="event"),
    ],
)
def test_mistakes_are_named(toml: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        channels_of(tmp_path, f"[notify]\n{toml}\n")


# Runs


def test_a_recovery_is_told_once_and_of_the_same_thing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    with http_receiver() as receiver:
        (tmp_path / "pgdrill.toml").write_text(f'[notify]\non = ["recovery"]\nwebhook = "{receiver.url}"\n')
        found = load_configuration({}, tmp_path)
        for subject, status in [("a", 3), ("b", 0), ("a", 0), ("a", 0)]:
            Announcement(found, "backup", subject, say=said.append).end(status)
    assert [(got.json["event"], got.json["subject"]) for got in receiver.got] == [("recovery", "a")]
    assert not said


class Said(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def pgdrill(tmp_path: Path) -> Callable[..., Said]:
    def pgdrill(*words: str, **env: str) -> Said:
        run = subprocess.run(
            [sys.executable, "-c", "from backup_lib.cli import main; main()", *words],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**_clean_environment(), **env},
        )  # fmt: skip
        return Said(run.returncode, run.stdout, run.stderr)

    return pgdrill


def _clean_environment() -> dict[str, str]:
    silent = ("BACKUP_", "PG", "POSTGRES_", "DATABASE_URL", "NOTIFY_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
    return {**clean, "PYTHONPATH": str(Path(__file__).parents[2])}


NOBODY = "postgresql://pos:hunter2@127.0.0.1:1/shop"


def test_a_failed_backup_is_told_and_its_exit_status_stays(pgdrill: Callable[..., Said]) -> None:
    with http_receiver() as receiver:
        env = {"NOTIFY_WEBHOOK": f"{receiver.url}/hook", "NOTIFY_PING_BACKUP": f"{receiver.url}/{TOKEN}"}
        failed = pgdrill("backup", DATABASE_URL=NOBODY, **env)
    assert failed.status == 3
    assert {got.path.partition("?")[0] for got in receiver.got} == {f"/{TOKEN}/start", f"/{TOKEN}/fail", "/hook"}
    assert len({got.path.partition("rid=")[2] for got in receiver.got if "rid=" in got.path}) == 1
    body = next(got.json for got in receiver.got if got.path == "/hook")
    assert (body["event"], body["command"], body["subject"], body["exit_status"]) == ("failure", "backup", "shop", 3)
    assert "refused" in body["text"]
    assert "hunter2" not in body["text"]


def test_a_command_tells_those_whom_the_file_alone_names(pgdrill: Callable[..., Said], tmp_path: Path) -> None:
    with http_receiver() as receiver:
        (tmp_path / "pgdrill.toml").write_text(f'[notify]\nwebhook = "{receiver.url}/hook"\n')
        assert pgdrill("backup", DATABASE_URL=NOBODY).status == 3
    assert [(got.json["command"], got.json["event"]) for got in receiver.got] == [("backup", "failure")]


def test_people_who_cannot_be_told_change_no_exit_status_and_it_is_said_without_secrets(
    pgdrill: Callable[..., Said],
) -> None:
    env = {"NOTIFY_WEBHOOK": f"http://127.0.0.1:{closed_port()}/{TOKEN}", "NOTIFY_TIMEOUT": "1s", "NOTIFY_ON": "always"}
    failed = pgdrill("prune", "--backups", "nowhere", **env)
    assert failed.status == 3
    assert "people were NOT told by webhook http://127.0.0.1" in failed.err
    assert "ended with exit status 3" in failed.err
    assert TOKEN not in failed.err + failed.out
    (folder := Path(pgdrill.__closure__[0].cell_contents) / "backups").mkdir(mode=0o700)  # type: ignore[attr-defined]
    good = pgdrill("prune", "--backups", str(folder), **env)
    assert good.status == 0
    assert "NOT told" in good.err


def test_a_dry_run_is_nobodys_business(pgdrill: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "backups").mkdir()
    with http_receiver() as receiver:
        assert pgdrill("prune", "--dry-run", NOTIFY_WEBHOOK=receiver.url, NOTIFY_ON="always").status == 0
    assert not receiver.got


def test_notify_test_says_what_became_of_each_message(pgdrill: Callable[..., Said]) -> None:
    with http_receiver() as good, http_receiver(404) as bad:
        env = {"NOTIFY_WEBHOOK": f"{bad.url}/{TOKEN}", "NOTIFY_PING_DRILL": f"{good.url}/{TOKEN}"}
        said = pgdrill("notify", "test", **env)
        told = json.loads(pgdrill("notify", "test", "--json", **env).out)
        assert pgdrill("notify", "test", NOTIFY_PING_DRILL=good.url).status == 0
    assert said.status == 3
    assert f"FAILED  webhook {bad.url}/…: it answered 404" in said.out
    assert f"sent    ping of drill {good.url}/…\n" in said.out
    assert [one["sent"] for one in told["channels"]] == [False, True]
    assert good.got[0].path.startswith(f"/{TOKEN}/log?rid=")
    assert TOKEN not in said.out + said.err
    nobody = pgdrill("notify", "test")
    assert (nobody.status, "no channel is configured" in nobody.err) == (2, True)


def test_secrets_are_masked_where_the_configuration_is_shown(pgdrill: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "pgdrill.toml").write_text(f'[notify]\nping_drill = "https://hc-ping.com/{TOKEN}"\n')
    shown = pgdrill("config", "show", NOTIFY_WEBHOOK=f"https://hooks.example.org/{TOKEN}")
    assert shown.status == 0
    assert TOKEN not in shown.out
    assert "notify.webhook" in shown.out


def test_a_secret_in_a_file_that_others_may_read_is_remarked(pgdrill: Callable[..., Said], tmp_path: Path) -> None:
    path = tmp_path / "pgdrill.toml"
    path.write_text(f'[notify]\nping_drill = "https://hc-ping.com/{TOKEN}"\n')
    path.chmod(0o644)
    env = {"NOTIFY_WEBHOOK": f"https://hooks.example.org/{TOKEN}"}  # which is not in the file
    told = json.loads(pgdrill("config", "check", "--json", **env).out)["remarks"]
    assert told == [
        "pgdrill.toml:2: notify.ping_drill can be read by others: chmod 600, or ping_drill_env or ping_drill_file instead"
    ]
    path.chmod(0o600)
    assert json.loads(pgdrill("config", "check", "--json", **env).out)["remarks"] == []


def wait_for(receiver: Receiver, count: int) -> None:
    ends_at = time.monotonic() + 30
    while len(receiver.got) < count and time.monotonic() < ends_at:
        time.sleep(0.02)


def test_the_schedule_tells_of_its_commands_once_and_of_missed_times(tmp_path: Path) -> None:
    """The real loop, with no database to back up: two days were missed."""
    state = tmp_path / "reports" / "schedule.json"
    state.parent.mkdir()
    state.write_text(json.dumps({"backup": {"due_at": "2026-01-01T02:00:00Z", "status": 0}}))
    with http_receiver() as receiver:
        env = {
            **_clean_environment(),
            "NOTIFY_WEBHOOK": receiver.url,
            "DATABASE_URL": NOBODY,
            "DRILL_SCHEDULE": "never",
        }
        program = "from backup_lib.cli import main; main()"
        loop = subprocess.Popen([sys.executable, "-c", program, "schedule", "run"], cwd=tmp_path, env=env)
        try:
            wait_for(receiver, 1)
        finally:
            loop.send_signal(signal.SIGTERM)
            assert loop.wait(30) == 3
    (got,) = receiver.got
    assert (got.json["event"], got.json["command"], got.json["exit_status"]) == ("failure", "backup", 3)
    assert "backup did not run" in got.json["lines"][0]
    assert any("refused" in line for line in got.json["lines"])


def test_a_command_that_was_killed_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from backup_lib.cli.telling import Teller

    monkeypatch.chdir(tmp_path)
    with http_receiver() as receiver:
        (tmp_path / "pgdrill.toml").write_text(f'[notify]\nwebhook = "{receiver.url}"\n')
        teller = Teller(load_configuration({}, tmp_path), print)
        teller.begin("drill", None)
        with teller.listening():
            teller.ended(("verify", "latest"), -signal.SIGKILL)
        teller.end(-signal.SIGKILL)
    assert receiver.got[0].json["lines"] == ["pgdrill verify was killed by signal 9"]
    assert receiver.got[0].json["event"] == "failure"
