"""How busy this machine was while something ran on it: what a time says depends on that."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLoad:
    """Shares of all processors' time, 0 to 1, whoever used it; None where the system does not tell."""

    busy: float | None
    waiting: float | None  # idle, for a disk
    own_cpu_s: float  # of this process


class MachineClock:
    """Starts when it is made."""

    def __init__(self) -> None:
        self._ticks = _read_ticks()
        self._own_s = _own_cpu_s()

    def read(self) -> MachineLoad:
        """Since the start."""
        own_s = _own_cpu_s() - self._own_s
        spent = [now - before for now, before in zip(_read_ticks(), self._ticks, strict=True)]
        total = sum(spent)
        if not total:
            return MachineLoad(busy=None, waiting=None, own_cpu_s=own_s)
        idle, waiting = spent[3], spent[4]
        return MachineLoad(busy=1 - (idle + waiting) / total, waiting=waiting / total, own_cpu_s=own_s)


def _read_ticks() -> list[int]:
    """user, nice, system, idle, iowait, irq, softirq, steal; zeros where there is no such file.

    Source: proc_stat(5), the line `cpu`; guest time is part of user's.
    """
    try:
        return [int(ticks) for ticks in _STAT.read_text().partition("\n")[0].split()[1:9]]
    except OSError:
        return [0] * 8


def _own_cpu_s() -> float:
    times = os.times()
    return times.user + times.system
