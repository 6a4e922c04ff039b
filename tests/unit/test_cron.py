"""When a cron expression comes: clocks that are set, and the same in systemd's words."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_lib.cron import Cron, parse_cron, parse_zone, render_calendar

NEW_YORK = "America/New_York"


def a_cron(expression: str, zone: str = "UTC") -> Cron:
    return Cron(expression=parse_cron(expression), zone=ZoneInfo(zone))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "since", "days", "times"),
    [
        pytest.param(
            a_cron("30 2 * * *", NEW_YORK), "2026-03-07", 3,
            ["03-07T07:30", "03-08T07:00", "03-09T06:30"], id="in-the-hour-that-is-skipped",
        ),
        pytest.param(
            a_cron("30 1 * * *", NEW_YORK), "2026-10-31", 3,
            ["10-31T05:30", "11-01T05:30", "11-02T06:30"], id="once-in-the-hour-that-comes-twice",
        ),
        pytest.param(
            a_cron("30 1 * * *", NEW_YORK), "2026-11-01T05:45", 1, [], id="not-again-after-it-ran-in-the-first",
        ),
        pytest.param(
            a_cron("30 */1 * * *", NEW_YORK), "2026-11-01T05:00", 0.1,
            ["11-01T05:30", "11-01T06:30"], id="each-hour-goes-on",
        ),
        pytest.param(
            a_cron("0 2 * * *", "America/Bogota"), "2026-03-07", 2, ["03-07T07:00", "03-08T07:00"], id="no-summer-time",
        ),
    ],
)  # fmt: skip
def test_times_where_clocks_are_set(cron: Cron, since: str, days: float, times: list[str]) -> None:
    found = cron.between(at(since), at(since) + timedelta(days=days))
    assert [f"{time:%m-%dT%H:%M}" for time in found] == times


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    zone=st.sampled_from([NEW_YORK, "America/Bogota", "Europe/Madrid", "Australia/Lord_Howe", "America/Santiago"]),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
)
def test_a_daily_time_comes_once_on_each_local_day(moment: datetime, zone: str, hour: int, minute: int) -> None:
    cron = a_cron(f"{minute} {hour} * * *", zone)
    times = list(cron.between(moment, moment + timedelta(days=9)))
    days = [time.astimezone(ZoneInfo(zone)).date() for time in times]
    assert all(time > moment for time in times)
    assert days == [days[0] + timedelta(days=number) for number in range(len(days))]
    assert len(days) in (8, 9, 10)
    assert times[0] == cron.after(moment)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        a_cron("0 2 * * *").after(datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "@daily",
        "0 2 * *",
        "0 2 * * * *",
        "61 * * * *",
        "0 2 L * *",
        "0 2 31 2 *",
        "0 2 * * 1#1",
        "0 2 * * *; id",
    ],
)
def test_what_is_no_cron_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="five fields"):
        parse_cron(text)


@pytest.mark.parametrize("text", ["Bogota/America", "../etc/passwd", "", ":/etc/localtime"])
def test_what_is_no_time_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="America/Bogota"):
        parse_zone(text)


CALENDARS = [
    pytest.param("0 2 * * *", ["*-*-* 02:00:00 UTC"], id="daily"),
    pytest.param("*/20 * * * *", ["*-*-* *:00,20,40:00 UTC"], id="each-20-minutes"),
    pytest.param("0 5 * * 7", ["Sun *-*-* 05:00:00 UTC"], id="sunday-is-7"),
    pytest.param("0 5 1 * MON-WED", ["*-*-01 05:00:00 UTC", "Mon,Tue,Wed *-*-* 05:00:00 UTC"], id="either-day"),
    pytest.param("4 5 1,15 jan *", ["*-01-01,15 05:04:00 UTC"], id="month"),
]


@pytest.mark.parametrize(("expression", "lines"), CALENDARS)
def test_systemd_is_told_the_same(expression: str, lines: list[str]) -> None:
    assert render_calendar(a_cron(expression)) == lines


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
@pytest.mark.parametrize(("expression", "lines"), CALENDARS)
def test_systemd_itself_finds_the_same_next_times(expression: str, lines: list[str]) -> None:
    base = "2026-11-24 09:00:00 UTC"
    said = subprocess.run(
        ["systemd-analyze", "calendar", f"--base-time={base}", "--iterations=3", *lines],
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin", "LC_ALL": "C"}, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    shown = {
        line.split(": ", 1)[1].strip() for line in said.splitlines() if "Next elapse" in line or "Iteration" in line
    }
    cron = a_cron(expression)
    first = cron.after(at("2026-11-24T09:00"))
    assert f"{first:%a %Y-%m-%d %H:%M:%S} UTC" in shown
