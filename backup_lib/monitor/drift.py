"""Whether an archive holds much less than those before it: against the median of their own history. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import median

from backup_lib.concern import some
from backup_lib.monitor.problem import Problem, command
from backup_lib.settings import StatusSettings

WINDOW = 10  # so many earlier archives are its history
_UNTOLD = "its rows are not judged: no manifest tells them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one archive holds."""

    name: str
    address: str  # its path or URL
    size_bytes: int
    packing: str  # format, compression and encryption: only sizes of the same are compared
    rows: Mapping[str, int] | None  # by table; None: no manifest tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    problems: tuple[Problem, ...] = ()
    usual_bytes: float | None = None  # the median; None where the size was not judged
    notes: tuple[str, ...] = ()  # what was not judged, and changes that are no fault by themselves


def check_drift(newest: Measured, history: Sequence[Measured], settings: StatusSettings) -> Drift:
    """Hold the newest archive against those before it.

    :param history: earlier archives of the same database and kind, the newest first.
    """
    problems: list[Problem] = []
    few: dict[str, int] = {}
    usual_bytes = None
    alike = [one for one in history[:WINDOW] if one.packing == newest.packing]
    if len(alike) < settings.history:
        few["size"] = len(alike)
    else:
        usual_bytes = median(one.size_bytes for one in alike)
        if problem := _fall("size", newest, newest.size_bytes, usual_bytes, settings.size_drop, "bytes"):
            problems.append(problem)
    counted = [one.rows for one in history[:WINDOW] if one.rows is not None]
    if newest.rows is None:
        return Drift(problems=tuple(problems), notes=(*_too_few(few, settings), _UNTOLD), usual_bytes=usual_bytes)
    if len(counted) < settings.history:
        few["rows"] = len(counted)
        return Drift(problems=tuple(problems), notes=tuple(_too_few(few, settings)), usual_bytes=usual_bytes)
    usual = median(sum(rows.values()) for rows in counted)
    if problem := _fall("rows", newest, sum(newest.rows.values()), usual, settings.rows_drop, "rows"):
        problems.append(problem)
    problems += _emptied(newest, newest.rows, counted, settings)
    notes = (*_too_few(few, settings), *_gone(newest.rows, counted))
    return Drift(problems=tuple(problems), notes=notes, usual_bytes=usual_bytes)


def _too_few(few: Mapping[str, int], settings: StatusSettings) -> Iterator[str]:
    if few:
        yield (
            f"its {' and '.join(few)} {'are' if len(few) > 1 or 'rows' in few else 'is'} not judged: "
            f"{settings.history} earlier archives like it are wanted, there are {min(few.values())}"
        )


def _fall(what: str, newest: Measured, now: float, usual: float, percent: int, unit: str) -> Problem | None:
    if not usual or now >= usual * (1 - percent / 100):
        return None
    return Problem(
        code=f"{what}-fell",
        message=f"{newest.name} has {now:,.0f} {unit}, {1 - now / usual:.0%} less than its history's median "
        f"of {usual:,.0f}; a fall of {percent}% is allowed",
        hint=f"see what is missing: {command('show', newest.address)}",
        values={"archive": newest.name, f"now_{unit}": now, f"usual_{unit}": usual, "percent": percent},
    )


def _emptied(
    newest: Measured, rows: Mapping[str, int], history: Sequence[Mapping[str, int]], settings: StatusSettings
) -> Iterator[Problem]:
    """Tables that had rows in each archive until they became empty. One that is empty now and then is a queue."""
    emptied = [
        table
        for table, count in sorted(rows.items())
        if count == 0
        and _never_before(before := [one.get(table, 0) for one in history])
        and median(before) > 0
        and not any(fnmatchcase(table, pattern) for pattern in settings.may_empty)
    ]
    if emptied:
        yield Problem(
            code="emptied",
            message=f"in {newest.name} {'these tables are' if len(emptied) > 1 else 'a table is'} empty that "
            f"had rows before: {some(emptied)}",
            hint="see who emptied it; where that is meant, name it in status.may_empty",
            values={"archive": newest.name, "tables": ", ".join(emptied)},
        )


def _never_before(counts: Sequence[int]) -> bool:
    """Whether it was never empty before it became so for good; the newest count is the first."""
    first_full = next((place for place, count in enumerate(counts) if count), len(counts))
    return all(counts[first_full:])


def _gone(rows: Mapping[str, int], history: Sequence[Mapping[str, int]]) -> Iterator[str]:
    """Tables that the archive before it still had: dropped, or no longer asked for."""
    if gone := sorted(history[0].keys() - rows.keys()):
        yield f"tables that the archive before it had and it has not: {some(gone)}"
