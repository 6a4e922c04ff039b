"""Retention, whatever there is and whatever is asked: the newest verified archive stays."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_lib.retention import Candidate, Decision, Policy, decide

QUICK = settings(max_examples=40, deadline=None)
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOURS = st.integers(min_value=-100 * 24, max_value=900 * 24)  # before now
_STANDINGS = st.sampled_from(["verified", "verified", "unverified", "failed"])


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    made = []
    for number in range(draw(st.integers(0, 40))):
        at = NOW - timedelta(hours=draw(HOURS))
        made.append(
            Candidate(
                name=f"a{number:02}",
                taken_at=draw(st.sampled_from([at, at, at, at, None])),
                database=draw(st.sampled_from(["pos", "crm", None])),
                kind=draw(st.sampled_from(["full", "schema"])),
                standing=draw(_STANDINGS),
                quarantined_at=draw(st.sampled_from([None, None, None, at + timedelta(days=1)])),
            )
        )
    return made


policies = st.builds(
    Policy,
    keep_days=st.integers(1, 400),
    keep_max=st.none() | st.integers(1, 20),
    daily=st.integers(0, 10),
    weekly=st.integers(0, 10),
    monthly=st.integers(0, 10),
    yearly=st.integers(0, 3),
    quarantine_days=st.integers(1, 60),
)


def after(given_: list[Candidate], decisions: list[Decision]) -> list[Candidate]:
    """What is there once the decisions were carried out."""
    left = []
    for candidate, decision in zip(given_, decisions, strict=True):
        if decision.action == "keep":
            left.append(candidate)
        elif decision.action == "quarantine":
            left.append(replace(candidate, quarantined_at=NOW))
    return left


def kept(given_: list[Candidate], policy: Policy, now: datetime = NOW) -> set[str]:
    return {d.name for d in decide(given_, policy, now=now) if d.action == "keep"}


def verified(given_: list[Candidate], now: datetime = NOW) -> dict[object, list[Candidate]]:
    """The verified ones that count, by database and kind, the newest first."""
    groups: dict[object, list[Candidate]] = {}
    for candidate in given_:
        counts = candidate.standing == "verified" and candidate.group and not candidate.quarantined_at
        if counts and candidate.taken_at and candidate.taken_at <= now:
            groups.setdefault(candidate.group, []).append(candidate)
    for members in groups.values():
        members.sort(key=lambda c: (c.taken_at or NOW, c.name), reverse=True)
    return groups


@QUICK
@given(candidates(), policies, st.integers(-5000, 5000))
def test_the_newest_verified_one_is_never_deleted_whatever_the_clock_says(
    given_: list[Candidate], policy: Policy, days: int
) -> None:
    now = NOW + timedelta(days=days)
    stays = kept(given_, policy, now)
    assert {members[0].name for members in verified(given_, now).values()} <= stays


@QUICK
@given(candidates(), policies)
def test_each_archive_gets_one_decision_with_a_reason(given_: list[Candidate], policy: Policy) -> None:
    decisions = decide(given_, policy, now=NOW)
    assert [d.name for d in decisions] == [c.name for c in given_]
    assert all(d.reason for d in decisions)


@QUICK
@given(candidates(), policies)
def test_deciding_again_changes_nothing(given_: list[Candidate], policy: Policy) -> None:
    left = after(given_, decide(given_, policy, now=NOW))
    assert {d.action for d in decide(left, policy, now=NOW)} <= {"keep"}


@QUICK
@given(candidates(), policies, policies)
def test_a_policy_that_asks_for_more_keeps_more(given_: list[Candidate], one: Policy, other: Policy) -> None:
    more = Policy(
        keep_days=max(one.keep_days, other.keep_days),
        keep_max=None if one.keep_max is None or other.keep_max is None else max(one.keep_max, other.keep_max),
        daily=max(one.daily, other.daily),
        weekly=max(one.weekly, other.weekly),
        monthly=max(one.monthly, other.monthly),
        yearly=max(one.yearly, other.yearly),
        quarantine_days=max(one.quarantine_days, other.quarantine_days),
    )
    assert kept(given_, one) | kept(given_, other) <= kept(given_, more)


@QUICK
@given(candidates(), policies)
def test_at_least_what_the_policy_promises_is_kept(given_: list[Candidate], policy: Policy) -> None:
    stays = kept(given_, policy)
    for members in verified(given_).values():
        times = {c.name: c.taken_at for c in members if c.taken_at}
        left = [name for name in times if name in stays]
        for count, period in (
            (policy.daily, "%Y-%m-%d"), (policy.weekly, "%G-%V"), (policy.monthly, "%Y-%m"), (policy.yearly, "%Y")
        ):  # fmt: skip
            there = {at.strftime(period) for at in times.values()}
            assert len({times[name].strftime(period) for name in left}) >= min(count, len(there))
        newest = max(times.values())
        young = [name for name, at in times.items() if newest - at <= timedelta(days=policy.keep_days)]
        wanted = len(young) if policy.keep_max is None else min(len(young), policy.keep_max)
        assert len(set(left) & set(young)) >= wanted


@QUICK
@given(candidates(), policies)
def test_without_days_and_generations_no_more_than_the_maximum_is_kept(given_: list[Candidate], policy: Policy) -> None:
    bare = replace(policy, daily=0, weekly=0, monthly=0, yearly=0, keep_max=policy.keep_max or 3)
    stays = kept(given_, bare)
    for members in verified(given_).values():
        assert len([c for c in members if c.name in stays]) <= (bare.keep_max or 0)


@QUICK
@given(candidates(), policies)
def test_nothing_goes_for_the_sake_of_what_proves_nothing(given_: list[Candidate], policy: Policy) -> None:
    """Take the verified ones away, and nothing is deleted; add any number of unverified ones, and nothing changes."""
    unproved = [c for c in given_ if c.standing != "verified"]
    assert Counter(d.action for d in decide(unproved, policy, now=NOW))["delete"] == 0
    proved = [c for c in given_ if c.standing == "verified"]
    assert kept(proved, policy) == kept(given_, policy) & {c.name for c in proved}


@QUICK
@given(candidates(), policies)
def test_what_is_from_the_future_or_of_unknown_age_is_never_deleted(given_: list[Candidate], policy: Policy) -> None:
    unjudged = {c.name for c in given_ if c.group is None or c.taken_at is None or c.taken_at > NOW}
    assert unjudged <= kept(given_, policy)


@pytest.mark.parametrize("wrong", [{"keep_days": 0}, {"keep_max": 0}, {"daily": -1}, {"quarantine_days": 0}])
def test_a_policy_that_would_keep_nothing_cannot_be_made(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="begin with"):
        Policy(**wrong)
