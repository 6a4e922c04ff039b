"""Cron expressions: the moments they name, in a time zone, and the same in systemd's words. Pure: `now` is given.

What has a fixed time in the hour that a clock skips runs right after it, and in the hour that comes twice it runs once;
what runs every so many minutes or hours goes by the clock alone. So Debian's cron has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_WANTED = 'five fields are wanted, minute hour day month weekday, such as "0 2 * * *"'
# What cron, systemd and Kubernetes all have; not the L, # and seconds that only some do.
_FIELD = re.compile(r"[0-9*,/-]+|(?:[A-Za-z]{3}|[0-9])(?:[,-](?:[A-Za-z]{3}|[0-9]))*")
# How far ahead gaps are looked for: two months, but no more than so many times.
_PERIOD, _LOOKED_AT = timedelta(days=62), 2000
_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """When something is to run."""

    expression: str  # five fields, one blank between them
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime:
        """The first time after `moment`, in UTC.

        :raises ValueError: when `moment` has no time zone.
        """
        return next(self._times(moment))

    def between(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """The times after `since` up to `until`, in UTC."""
        return takewhile(lambda time: time <= until, self._times(since))

    def longest_gap(self, moment: datetime) -> timedelta:
        """The longest time between two runs from `moment` on, as far as weeks and months make a difference."""
        gap, begun = timedelta(0), self.after(moment)
        former = begun
        for number, time in enumerate(self._times(begun), start=1):
            gap, former = max(gap, time - former), time
            if number >= _LOOKED_AT or (number >= 2 and time - begun > _PERIOD):
                break
        return gap

    def _times(self, moment: datetime) -> Iterator[datetime]:
        if moment.tzinfo is None:
            raise ValueError(f"a moment needs a time zone: {moment!r}")
        # Begun a while earlier: where a clock was set back in between, cronsim would give one time of the past again.
        begin = (moment - timedelta(hours=3)).astimezone(self.zone)
        times = (time.astimezone(UTC) for time in CronSim(self.expression, begin))
        latest = moment
        for time in times:
            if time > latest:
                latest = time
                yield time


def parse_cron(text: object) -> str:
    """An expression as it is kept: five fields, one blank between them.

    :raises ValueError: when it is none, or names no day that comes.
    """
    fields = str(text).split()
    if len(fields) != 5 or not all(_FIELD.fullmatch(field) for field in fields):
        raise ValueError(_WANTED)
    expression = " ".join(fields)
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as exc:
        raise ValueError(f"{str(exc).lower()}: {_WANTED}") from exc
    except StopIteration as exc:
        raise ValueError("that day never comes") from exc
    return expression


def parse_zone(text: object) -> str:
    """:raises ValueError: when no time zone has that name."""
    try:
        return ZoneInfo(str(text)).key
    except (KeyError, ValueError, OSError) as exc:
        raise ValueError("a time zone is wanted, such as America/Bogota or UTC") from exc


def render_calendar(cron: Cron) -> list[str]:
    """The same as systemd's OnCalendar, of which any may match.

    Cron asks for the day of the month *or* that of the week, where both are given; systemd for both.
    """
    parts = cron.expression.split()
    parsed = CronSim(cron.expression, datetime(2024, 1, 1, tzinfo=UTC))
    weekdays = sorted({int(day) % 7 for day in parsed.weekdays if isinstance(day, int)})
    days = sorted(day for day in parsed.days if isinstance(day, int))
    clock = f"{_listed(parsed.hours, 24)}:{_listed(parsed.minutes, 60)}:00 {cron.zone.key}"
    week = "" if len(weekdays) == 7 else ",".join(_WEEKDAYS[day] for day in weekdays) + " "
    month = _listed(parsed.months, 12)
    either = not (parts[2].startswith("*") or parts[4].startswith("*"))
    if either and week and len(days) < 31:
        return [f"*-{month}-{_listed(days, 31)} {clock}", f"{week}*-{month}-* {clock}"]
    if either:  # one of them is every day
        return [f"*-{month}-* {clock}"]
    return [f"{week}*-{month}-{_listed(days, 31)} {clock}"]


def _listed(values: Iterable[object], count: int) -> str:
    numbers = sorted(value for value in values if isinstance(value, int))
    return "*" if len(numbers) == count else ",".join(f"{number:02}" for number in numbers)
