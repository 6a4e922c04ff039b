"""What is told of a run: decided and put into words here, sent elsewhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

Event = Literal["success", "failure", "recovery", "missed", "test"]
When = Literal["failure", "success", "recovery", "always"]

_LINES, _LINE = 20, 300  # at most: of a message with its title, and characters of one
_WORDS = {"success": "ok", "failure": "FAILED", "recovery": "ok again", "missed": "ran late", "test": "test"}
_USERINFO = re.compile(r"(?<=://)([^\s/@:]*):\S*@")
_QUERY = re.compile(r"(://[^\s?#]*)\?[^\s#]+")
_PASSWORD = re.compile(r"(?i)\b((?:ssl)?password|passwd|secret|token)\s*=\s*('(?:[^'\\]|\\.)*'|\S+)")


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """How one run ended. It holds no secrets and no values of rows: it goes to strangers."""

    event: Event
    command: str  # backup, drill, config, prune, rotate, rewrap, sync, or notify of a test
    subject: str  # what it was about: a database, an archive, places; may be empty
    exit_status: int
    run_id: str  # a UUID; the `rid` of pings
    host: str
    started_at: datetime  # UTC
    ended_at: datetime
    lines: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        about = f" of {self.subject}" if self.subject else ""
        status = f" (exit status {self.exit_status})" if self.exit_status else ""
        # A name may hold a line end, and neither a title nor a mail's header must.
        return " ".join(f"pgdrill {self.command}{about} on {self.host}: {_WORDS[self.event]}{status}".split())

    @property
    def text(self) -> str:
        """The title and what follows, 20 lines at most."""
        return "\n".join((self.title, *self.lines))


def choose_event(exit_status: int, *, former: int | None, is_late: bool) -> Event:
    """What a run's end is called.

    :param former: exit status of the last run of the same thing; None where there was none.
    :param is_late: it made up for times at which nothing ran.
    """
    if exit_status:
        return "failure"
    if is_late:
        return "missed"
    return "recovery" if former else "success"


def is_wanted(event: Event, when: Collection[When]) -> bool:
    """Whether people asked to be told; a test always is, and a run that was missed is a kind of failure."""
    if event == "test" or "always" in when:
        return True
    if event == "recovery":
        return "recovery" in when or "success" in when
    return ("failure" if event == "missed" else event) in when


def shorten(lines: Sequence[str]) -> tuple[str, ...]:
    """What fits into a message: whole lines from the start, masked, and how many are left out."""
    flat = [masked[:_LINE] for line in lines for masked in mask(line).splitlines() if masked.strip()]
    room = _LINES - 1  # for the title
    if len(flat) <= room:
        return tuple(flat)
    return (*flat[: room - 1], f"… and {len(flat) - room + 1} more lines: see what the run printed")


class FindingLike(Protocol):
    """What is told of a finding."""

    @property
    def check(self) -> str: ...
    @property
    def object(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def expected(self) -> str: ...
    @property
    def actual(self) -> str: ...
    @property
    def hint(self) -> str: ...


def sum_up_findings(findings: Iterable[FindingLike]) -> Iterator[str]:
    """Faults and gaps, each with what to do next. The answer of somebody's own query may be a row's value: not told."""
    for one in findings:
        if one.status not in ("fault", "gap"):
            continue
        if one.check.startswith("sql:") or not (one.expected or one.actual):
            yield f"{one.check}, {one.object}: not as expected"
        else:
            yield f"{one.check}, {one.object}: expected {one.expected or 'nothing'}, found {one.actual or 'nothing'}"
        if one.hint:
            yield f"  next: {one.hint}"


def mask(text: str) -> str:
    """The text without passwords of URLs and connection strings, and without what follows a URL's `?`."""
    return _PASSWORD.sub(r"\1=***", _QUERY.sub(r"\1?***", _USERINFO.sub(r"\1:***@", text)))


def describe(notice: Notice) -> dict[str, Any]:
    """The body of a webhook. `text` is read by chats as it stands."""
    facts: dict[str, Any] = msgspec.to_builtins(notice)
    return {"schema_version": 1, "title": notice.title, "text": notice.text, **facts}
