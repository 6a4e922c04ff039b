"""The checklists of each day, week and month: what can be proved is, and the rest is left to a person, unticked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backup_lib.configuration import Configuration
from backup_lib.monitor.checklist_items import LISTS, Period, Seen, Sight, State, is_drilled
from backup_lib.monitor.status import Status

_WORST: tuple[State, ...] = ("failed", "unproved", "person", "proved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of a list."""

    key: str
    seen: tuple[Seen, ...]

    @property
    def state(self) -> State:
        """The worst of what was seen; nothing seen proves nothing."""
        states = {one.state for one in self.seen} or {"unproved"}
        return next(state for state in _WORST if state in states)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """A list as it stood."""

    period: Period
    at: datetime  # UTC
    items: tuple[Item, ...]

    @property
    def exit_status(self) -> int:
        """1 something is wrong, 3 something could not be proved, 0 nothing is left but what a person must do."""
        states = {item.state for item in self.items}
        return 1 if "failed" in states else 3 if "unproved" in states else 0


def run_checklist(period: Period, status: Status, configuration: Configuration) -> Checklist:
    """Go through the list; the newest archives are read and hashed each day, nothing is changed."""
    sight = Sight(status=status, configuration=configuration)
    items = tuple(Item(key=key, seen=tuple(look(sight))) for key, look in LISTS[period].items())
    return Checklist(period=period, at=status.at, items=items)


def needing_drill(status: Status, period: Period) -> list[str]:
    """Addresses of the newest archives whose last good drill is too old for that list."""
    return [
        one.newest.address
        for one in status.series
        if one.expected and one.newest and not is_drilled(one, status.at, period)
    ]
