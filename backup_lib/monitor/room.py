"""How much room a place has, and for how long, as far as its own archives tell. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backup_lib.catalog import Found
from backup_lib.monitor.problem import CLOCK_SKEW, Problem, Verdict, command, verdict_of

_LOOKED_BACK = timedelta(days=30)
_LEAST_SPAN, _LEAST_COUNT = timedelta(days=2), 3  # less tells nothing of a day's growth


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceStatus:
    """One place."""

    location: str
    archives: int | None  # None: it could not be read
    stored_bytes: int | None  # of archives
    free_bytes: int | None  # None where that has no meaning, as in a bucket
    wanted_bytes: int | None  # what the next backups of all that lies there take, as many as there must be room for
    daily_bytes: float | None  # what is added in a day; None: too little is there to tell
    days_left: float | None  # until it is full at that rate, if nothing is deleted
    problems: tuple[Problem, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.problems)


def unreadable(location: str, message: str, hint: str) -> PlaceStatus:
    """A place of which nothing can be said."""
    problem = Problem(code="unread", severity="unknown", message=message, hint=hint, values={"place": location})
    return PlaceStatus(
        location=location,
        archives=None,
        stored_bytes=None,
        free_bytes=None,
        wanted_bytes=None,
        daily_bytes=None,
        days_left=None,
        problems=(problem,),
    )


def judge_room(
    location: str, found: Sequence[Found], free_bytes: int | None, *, rounds: int, now: datetime
) -> PlaceStatus:
    """:param rounds: for how many more backups of each database and kind there must be room."""
    newest: dict[tuple[str | None, str | None], Found] = {}
    for one in sorted(found, key=lambda one: one.taken_at):
        newest[one.database, one.kind] = one
    wanted_bytes = rounds * sum(one.size_bytes for one in newest.values())
    daily = _daily_bytes(found, now)
    problems = []
    if free_bytes is not None and free_bytes < wanted_bytes:
        problems.append(
            Problem(
                code="little-room",
                message=f"{location} has {free_bytes:,} bytes free; {rounds} more backups of all that lies there "
                f"take {wanted_bytes:,}",
                hint=f"free some: {command('prune', '--backups', location, '--dry-run')}",
                values={
                    "place": location,
                    "free_bytes": free_bytes,
                    "rounds": rounds,
                    "wanted_bytes": wanted_bytes,
                },
            )
        )
    return PlaceStatus(
        location=location,
        archives=len(found),
        stored_bytes=sum(one.size_bytes for one in found),
        free_bytes=free_bytes,
        wanted_bytes=wanted_bytes,
        daily_bytes=daily,
        days_left=free_bytes / daily if daily and free_bytes is not None else None,
        problems=tuple(problems),
    )


def _daily_bytes(found: Sequence[Found], now: datetime) -> float | None:
    """What was added in a day. A file's own time tells nothing: copying changes it."""
    dated = sorted(
        (
            one
            for one in found
            if one.taken_at_from != "file time" and now - _LOOKED_BACK <= one.taken_at <= now + CLOCK_SKEW
        ),
        key=lambda one: one.taken_at,
    )
    if len(dated) < _LEAST_COUNT or (span := dated[-1].taken_at - dated[0].taken_at) < _LEAST_SPAN:
        return None
    # The first one ends a time that is not looked at.
    return sum(one.size_bytes for one in dated[1:]) / (span / timedelta(days=1))
