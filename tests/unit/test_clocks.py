"""When two clocks differ, and when the one was merely read a while before the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backup_lib.clocks import compare_clocks

BEFORE = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
AFTER = BEFORE + timedelta(hours=1)  # to connect, or to list the tables, took long


@pytest.mark.parametrize("minutes", [-5, 0, 30, 60, 65])
def test_waiting_for_the_server_is_no_difference(minutes: int) -> None:
    clocks = compare_clocks(BEFORE, BEFORE + timedelta(minutes=minutes), AFTER)
    assert (clocks.ahead, clocks.remark) == (timedelta(0), "")


@pytest.mark.parametrize(("minutes", "ahead"), [(-6, -6), (66, 6), (60 + 1440, 1440)])
def test_a_difference_names_both_clocks(minutes: int, ahead: int) -> None:
    there = BEFORE + timedelta(minutes=minutes)
    clocks = compare_clocks(BEFORE, there, AFTER)
    assert clocks.ahead == timedelta(minutes=ahead)
    assert "this machine says 2026-11-24 13:00 UTC" in clocks.remark
    assert f"the database server {there:%Y-%m-%d %H:%M} UTC" in clocks.remark
