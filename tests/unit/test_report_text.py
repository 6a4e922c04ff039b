from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from verification.report import text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        pytest.param("públic.naïve 表 ñ", "públic.naïve 表 ñ", id="letters-of-any-script-stay"),
        pytest.param("a\nb\tc\rd", r"a\nb\tc\rd", id="line-breaks"),
        pytest.param("a\x1b[31mb\0", r"a\u001b[31mb\u0000", id="terminal-escapes"),
        pytest.param("a\u202egpj.exe\u2066", r"a\u202egpj.exe\u2066", id="direction-marks"),
        pytest.param("a\u200bb\u2028c\ue000", r"a\u200bb\u2028c\ue000", id="invisible"),
        pytest.param("a\U000e0041", r"a\U000e0041", id="beyond-the-basic-plane"),
        pytest.param("a\udc80", r"a\udc80", id="undecodable-byte"),
        pytest.param("x" * 12, "xxxxxxxxxx… (12 characters in all)", id="long"),
    ],
)
def test_a_name_is_shown_on_one_line_with_nothing_hidden(given: str, shown: str) -> None:
    assert text.visible(given, limit=10 if given.startswith("x") else 100) == shown


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        pytest.param("run `a b`, then `c`", [("run ", 0), ("a b", 1), (", then ", 0), ("c", 1)], id="two"),
        pytest.param("no code", [("no code", 0)], id="none"),
        pytest.param("a `b` and a ` alone", [("a ", 0), ("b", 1), (" and a ` alone", 0)], id="unpaired"),
        pytest.param("", [], id="empty"),
    ],
)
def test_what_stands_between_backticks_is_code(sentence: str, parts: list[tuple[str, int]]) -> None:
    assert list(text.split_code(sentence)) == parts


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (None, "—"),
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1.0 KiB"),
        (99.96 * 1024, "100 KiB"),
        (1023.6 * 1024, "1.0 MiB"),
        (340 << 30, "340 GiB"),
        (5000 << 50, "5,000 PiB"),
    ],
)
def test_bytes_are_shown_in_the_largest_unit_with_a_whole_part(size: float | None, shown: str) -> None:
    assert text.render_bytes(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "—"),
        (0, "0 s"),
        (0.42, "420 ms"),
        (0.9996, "1 s"),
        (3.44, "3.4 s"),
        (59.96, "1 min"),
        (725, "12 min 5 s"),
        (3599.6, "1 h"),
        (11_520, "3 h 12 min"),
        (86_399, "1 d"),
        (187_200, "2 d 4 h"),
        (-90, "-1 min 30 s"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float | None, shown: str) -> None:
    assert text.render_duration(seconds) == shown


@pytest.mark.parametrize(("size", "seconds", "shown"), [(None, 1.0, "—"), (10, 0.0, "—"), (3 << 20, 2.0, "1.5 MiB/s")])
def test_throughput_is_unknown_without_bytes_or_time(size: int | None, seconds: float, shown: str) -> None:
    assert text.render_throughput(size, seconds) == shown


def test_an_instant_is_shown_in_utc_and_says_so() -> None:
    berlin = timezone(timedelta(hours=2))
    assert text.render_instant(datetime(2026, 3, 1, 1, 30, tzinfo=berlin)) == "2026-02-28 23:30:00 UTC"
    assert text.render_instant(datetime(2026, 3, 1, tzinfo=UTC)) == "2026-03-01 00:00:00 UTC"
    assert text.render_instant(None) == "—"
