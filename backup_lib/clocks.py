"""This machine's clock against the server's: an archive's name goes by the one, its manifest's time by the other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_ALLOWED = timedelta(minutes=5)
_NONE = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """Both clocks at one moment."""

    here: datetime  # UTC
    there: datetime  # the server's
    ahead: timedelta  # by how much the server's is ahead; negative: behind; nothing when they agree

    @property
    def remark(self) -> str:
        """What to tell of it; nothing when they agree."""
        if not self.ahead:
            return ""
        here, there = (f"{clock.astimezone(UTC):%Y-%m-%d %H:%M} UTC" for clock in (self.here, self.there))
        return (
            f"the clocks differ: this machine says {here}, the database server {there}. latest, status and prune go by "
            "the server's, list and the name by the later one: set the wrong clock right"
        )


def compare_clocks(before: datetime, there: datetime, after: datetime) -> Clocks:
    """:param before, after: by this machine's clock, the times between which the server's was read."""
    ahead = there - after if there > after + _ALLOWED else there - before if there < before - _ALLOWED else _NONE
    return Clocks(here=after, there=there, ahead=ahead)
