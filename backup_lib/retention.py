"""Which archives may go, and why. Only what a drill proved counts, and the newest such archive is never among them.

Pure: it takes what is there and what is wanted, and gives a decision with its reason for every archive. The idea of
generations is restic's (`snapshot_policy.go`): the newest archive of each of the last so many days, weeks, months and
years *that have one*. Days are counted back from the newest verified archive, not from the clock: a clock that jumps
ahead, or backups that have stopped, cost no archive.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from backup_lib.ledger import Standing
from backup_lib.quantity import number_of

Action = Literal["keep", "delete", "quarantine"]
Group = tuple[str, str]  # database and kind: no schema takes the place of data


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What to keep of each database and kind. Generations are kept on top of days and count."""

    keep_days: int = 30
    keep_max: int | None = None  # at most so many of those that keep_days keeps
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    quarantine_days: int = 30

    def __post_init__(self) -> None:
        if self.keep_days < 1 or self.quarantine_days < 1 or (self.keep_max is not None and self.keep_max < 1):
            raise ValueError("days and a maximum begin with 1")
        if min(self.daily, self.weekly, self.monthly, self.yearly) < 0:
            raise ValueError("generations begin with 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """What took the place of an archive that was set aside for it: its old key's file, or a copy that was damaged."""

    name: str  # of the archive that stands in; empty where there is none
    is_proved: bool
    why: str  # it is, or is not


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One archive, as far as retention has to know it."""

    name: str
    taken_at: datetime | None  # UTC, of its manifest or name; None: known from its file's time only, which is worthless
    database: str | None
    kind: str | None
    standing: Standing
    begun_at: datetime | None = None  # UTC; by the clock of the machine that made it, and not by its server's
    quarantined_at: datetime | None = None  # UTC; None: it lies among the others, or nobody noted since when not
    stand_in: StandIn | None = None  # None: it was not set aside for another

    @property
    def group(self) -> Group | None:
        return (self.database, self.kind) if self.database and self.kind else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What happens to one archive."""

    name: str
    action: Action
    reason: str


_Dated = tuple[datetime, Candidate]
_CLOCKS_DIFFER = timedelta(hours=1)  # less is the time that a backup waits between its begin and its snapshot


def decide(candidates: Iterable[Candidate], policy: Policy, *, now: datetime) -> list[Decision]:
    """One decision for each archive, in their order; quarantined ones are judged by those that are not."""
    given = list(candidates)
    groups: dict[Group, list[_Dated]] = defaultdict(list)
    decided: dict[int, Decision] = {}
    for candidate in given:
        if reason := _beyond_judging(candidate, now):
            decided[id(candidate)] = Decision(name=candidate.name, action="keep", reason=reason)
        elif candidate.group and candidate.taken_at:
            groups[candidate.group].append((candidate.taken_at, candidate))
    for members in groups.values():
        ordered = sorted(members, key=lambda dated: (dated[0], dated[1].name), reverse=True)
        for candidate, action, reason in _decide_group(ordered, policy):
            if action == "delete" and (doubt := _doubt(candidate, ordered, policy)):
                action, reason = "keep", doubt
            decided[id(candidate)] = Decision(name=candidate.name, action=action, reason=reason)
    return [decided[id(candidate)] for candidate in given]


def _beyond_judging(candidate: Candidate, now: datetime) -> str | None:
    """Why an archive is kept without regard to the policy, and proves nothing for the others."""
    if candidate.group is None:
        return "foreign: neither a manifest nor its name says which database and kind it is of"
    if candidate.taken_at is None:
        return "foreign: only its file's time is known, and copying changes that"
    if candidate.taken_at > now:
        return f"from the future ({candidate.taken_at:%Y-%m-%d %H:%M}Z): see which clock is wrong"
    return None


def _decide_group(ordered: Sequence[_Dated], policy: Policy) -> Iterator[tuple[Candidate, Action, str]]:
    """:param ordered: archives of one database and kind, the newest first."""
    verified = [dated for dated in ordered if dated[1].standing == "verified" and not _is_aside(dated[1])]
    newest = verified[0][0] if verified else None
    kept = dict(_kept_verified(verified, policy))
    for taken_at, candidate in ordered:
        if candidate.stand_in:
            yield (candidate, *_of_replaced(candidate.stand_in, candidate.quarantined_at, newest, policy))
        elif candidate.quarantined_at and candidate.standing == "verified":
            yield candidate, "keep", "in quarantine, but verified since: move it back"
        elif candidate.quarantined_at:
            yield (candidate, *_of_quarantined(candidate.quarantined_at, newest, policy))
        elif candidate.standing == "failed":
            yield candidate, "quarantine", "its last drill failed, and blames the archive"
        elif candidate.standing == "unverified":
            yield (candidate, *_of_unverified(taken_at, newest, policy))
        elif reason := kept.get(candidate.name):
            yield candidate, "keep", reason
        else:
            yield candidate, "delete", _why_expired(taken_at, newest, policy)


def _doubt(candidate: Candidate, ordered: Sequence[_Dated], policy: Policy) -> str:
    """Why one that is too old by its snapshot may be young: its server's clock was behind when it was made."""
    begun_at, taken_at = candidate.begun_at, candidate.taken_at
    if not begun_at or not taken_at or _is_aside(candidate) or begun_at - taken_at <= _CLOCKS_DIFFER:
        return ""
    newest = max(at for at, other in ordered if other.standing == "verified" and not _is_aside(other))
    if newest - begun_at > timedelta(days=policy.keep_days):
        return ""
    return (
        f"its server's clock said {taken_at:%Y-%m-%d %H:%M}Z, and that of the machine that made it "
        f"{begun_at:%Y-%m-%d %H:%M}Z"
    )


def _is_aside(candidate: Candidate) -> bool:
    return candidate.quarantined_at is not None or candidate.stand_in is not None


def _kept_verified(verified: Sequence[_Dated], policy: Policy) -> Iterator[tuple[str, str]]:
    """Names and reasons of the verified ones that stay; a name may come twice, the last reason is the one to tell."""
    if not verified:
        return
    for label, count, period in _generations(policy):
        for candidate in _newest_of_each(verified, count, period):
            yield candidate.name, f"verified, {label} generation"
    since = verified[0][0] - timedelta(days=policy.keep_days)
    young = [candidate for taken_at, candidate in verified if taken_at >= since]
    for candidate in young[: policy.keep_max]:
        yield (
            candidate.name,
            f"verified, within {number_of(policy.keep_days, 'day')} of the newest verified one",
        )
    yield verified[0][1].name, "the newest verified one is never deleted"


def _generations(policy: Policy) -> list[tuple[str, int, Callable[[datetime], object]]]:
    return [
        ("yearly", policy.yearly, lambda at: at.year),
        ("monthly", policy.monthly, lambda at: (at.year, at.month)),
        ("weekly", policy.weekly, lambda at: at.isocalendar()[:2]),
        ("daily", policy.daily, lambda at: at.date()),
    ]


def _newest_of_each(
    verified: Sequence[_Dated], count: int, period: Callable[[datetime], object]
) -> Iterator[Candidate]:
    seen: set[object] = set()
    for taken_at, candidate in verified:
        key = period(taken_at)
        if key in seen:
            continue
        if len(seen) == count:
            return
        seen.add(key)
        yield candidate


def _of_unverified(taken_at: datetime, newest: datetime | None, policy: Policy) -> tuple[Action, str]:
    if newest is None:
        return "keep", "no archive of this database and kind was ever verified"
    if taken_at >= newest:
        return "keep", "not verified, and newer than every verified one"
    if newest - taken_at <= timedelta(days=policy.keep_days):
        return (
            "keep",
            f"not verified; within {number_of(policy.keep_days, 'day')} of the newest verified one",
        )
    return (
        "delete",
        f"never verified, and {number_of((newest - taken_at).days, 'day')} older than the newest verified one",
    )


def _of_quarantined(since: datetime, newest: datetime | None, policy: Policy) -> tuple[Action, str]:
    """Time in quarantine counts by verified backups made since: while there are none, it may be all there is."""
    served = newest - since if newest else timedelta(0)
    if served > timedelta(days=policy.quarantine_days):
        return "delete", f"in quarantine since {since:%Y-%m-%d}, and newer ones were verified"
    return (
        "keep",
        f"in quarantine since {since:%Y-%m-%d}, for {number_of(policy.quarantine_days, 'day')} at least",
    )


def _of_replaced(
    stand_in: StandIn, since: datetime | None, newest: datetime | None, policy: Policy
) -> tuple[Action, str]:
    """Its time counts as that of one in quarantine; but that alone is not enough."""
    if not stand_in.is_proved:
        return "keep", f"set aside, and {stand_in.why}"
    if since is None:
        return (
            "keep",
            f"set aside; its {number_of(policy.quarantine_days, 'day')} count from the first prune that sees it",
        )
    served = newest - since if newest else timedelta(0)
    if served > timedelta(days=policy.quarantine_days):
        return "delete", f"set aside since {since:%Y-%m-%d}, and {stand_in.why}"
    return (
        "keep",
        f"set aside since {since:%Y-%m-%d}, for {number_of(policy.quarantine_days, 'day')} at least",
    )


def _why_expired(taken_at: datetime, newest: datetime | None, policy: Policy) -> str:
    age = newest - taken_at if newest else timedelta(0)
    if age > timedelta(days=policy.keep_days):
        return f"verified, {number_of(age.days, 'day')} older than the newest verified one"
    return f"verified, more than {policy.keep_max} newer ones are"
