"""Ways to people: each takes a notice, or says why not and whether a second try may help."""

from __future__ import annotations

import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from backup_lib.errors import BackupError, UsageError
from backup_lib.notify.notice import Notice, describe

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # HTTP statuses that go by


class NotSentError(BackupError):
    """A channel did not take a message."""

    def __init__(self, message: str, hint: str = "", *, passing: bool = False) -> None:
        super().__init__(message, hint)
        self.passing = passing  # a second try may go well


class Channel(Protocol):
    @property
    def name(self) -> str:
        """For people: what it is and where it goes, without what is secret of it."""

    @property
    def is_ping(self) -> bool:
        """Whether it wants every run, begun and ended well too: its silence is the alarm."""

    def send(self, notice: Notice, timeout_s: float) -> None:
        """:raises NotSentError: when it was not taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A POST of JSON."""

    url: str = field(repr=False)
    is_ping = False

    @property
    def name(self) -> str:
        return f"webhook {site_of(self.url)}"

    def send(self, notice: Notice, timeout_s: float) -> None:
        _post(self.url, msgspec.json.encode(describe(notice)), "application/json", timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A check of healthchecks.io, or of what speaks like it."""

    url: str = field(repr=False)
    command: str
    is_ping = True

    @property
    def name(self) -> str:
        return f"ping of {self.command} {site_of(self.url)}"

    def start(self, run_id: str, timeout_s: float) -> None:
        self._call("/start", run_id, "", timeout_s)

    def send(self, notice: Notice, timeout_s: float) -> None:
        # A test must not look like a run: /log changes nothing.
        ends = {"test": "/log", "failure": "/fail"}
        self._call(ends.get(notice.event, ""), notice.run_id, notice.text, timeout_s)

    def _call(self, end: str, run_id: str, body: str, timeout_s: float) -> None:
        parts = urlsplit(self.url)
        query = "&".join(filter(None, (parts.query, f"rid={quote(run_id)}")))
        url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + end, query=query))
        _post(url, body.encode(), "text/plain; charset=utf-8", timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Apprise:
    """One of the services that the library apprise knows."""

    url: str = field(repr=False)
    is_ping = False

    @property
    def name(self) -> str:
        return f"apprise {urlsplit(self.url).scheme}://…"

    def send(self, notice: Notice, timeout_s: float) -> None:
        try:
            import apprise
        except ImportError as exc:
            raise NotSentError("apprise is not installed", hint="pip install 'pgdrill[notify]'") from exc
        sender = apprise.Apprise()
        if not sender.add(self.url):
            raise NotSentError("apprise does not know such a URL", hint="see https://github.com/caronc/apprise/wiki")
        if not sender.notify(title=notice.title, body="\n".join(notice.lines) or notice.title):
            raise NotSentError("the service did not take it", hint="see that the URL is right", passing=True)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is redirected becomes a GET without a body, and is answered with 200: a message lost unseen."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(url: str, body: bytes, content_type: str, timeout_s: float) -> None:
    headers = {"Content-Type": content_type, "User-Agent": "pgdrill"}
    request = urllib.request.Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - see check_url
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as answer:
            answer.read(1)
    except urllib.error.HTTPError as exc:
        exc.close()
        hint = "see that the URL is right and still valid"
        if 300 <= exc.code < 400:
            hint = "name the address that it is redirected to"
        raise NotSentError(f"it answered {exc.code} {exc.reason}", hint, passing=exc.code in _PASSING) from None
    except (OSError, HTTPException) as exc:
        raise unreachable(exc) from None


def unreachable(exc: Exception) -> NotSentError:
    """What a failed connection means. Its own words may hold a URL, so they are not quoted but where they are known."""
    import socket
    import ssl

    cause = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    if isinstance(cause, ssl.SSLCertVerificationError):
        told = f"its certificate is not trusted: {cause.verify_message}"
        return NotSentError(told, hint="have it renewed, or name its authority in SSL_CERT_FILE")
    if isinstance(cause, ssl.SSLError):
        return NotSentError(f"no TLS could be agreed on: {cause.reason or 'the other side does not speak it'}")
    if isinstance(cause, TimeoutError):
        return NotSentError("no answer in time", passing=True)
    if isinstance(cause, ConnectionRefusedError):
        return NotSentError("nobody listens there", hint="see that the service runs, and its port", passing=True)
    if isinstance(cause, socket.gaierror):
        return NotSentError("its name is not known", hint="see the spelling, and the DNS of this machine", passing=True)
    told = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
    return NotSentError(f"the connection failed: {told}", passing=True)


def check_url(url: str, what: str) -> str:
    """:raises UsageError: when it is no address of the web; the message does not hold it."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url
    raise UsageError(f"{what} is not an address such as https://example.org/…", hint="mend [notify]")


def site_of(url: str) -> str:
    """`https://example.org/…`: what follows is the secret of most such URLs."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}/…"
