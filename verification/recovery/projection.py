"""How long the same archive would take, were it larger or the machine another. Pure arithmetic on one drill."""

from __future__ import annotations

from dataclasses import dataclass

from verification.evidence.record import LoadRecord, Record
from verification.phases import ANALYZE, FETCH, FIRST_QUERY, PRE_DATA, READ, START
from verification.recovery.bounds import phase_seconds

_FAR = 10.0  # times the measured size; beyond, it is said


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Of the recovery time; with the measured size and processors it is the measured one."""

    times_the_size: float
    processors: int
    seconds: float
    floor_s: float  # however many processors: what one table, or reading, takes alone
    scope: tuple[str, ...]  # what it rests on, a sentence each


def project(record: Record, *, times_the_size: float = 1.0, processors: int | None = None) -> Projection | None:
    """Scale what was measured: rows and indexes by size and processors, reading and fetching by size alone.

    :param times_the_size: the archive's size, as a multiple of the one that was drilled.
    :param processors: as many connections load; default those that did.
    :return: None where the record does not hold what it takes.
    """
    load, sandbox = record.load, record.sandbox
    if load is None or sandbox is None or record.rto.measured_s is None or load.work_s <= 0:
        return None
    jobs = processors or load.jobs
    fixed_s = sum(phase_seconds(record, name) for name in (START, PRE_DATA, FIRST_QUERY))
    fetch_s, analyze_s = phase_seconds(record, FETCH), phase_seconds(record, ANALYZE)
    serial_s = max(_longest_table_s(load), phase_seconds(record, READ))
    loading_s = max(load.seconds - phase_seconds(record, PRE_DATA), 0.0)
    # How much longer it took than work shared out evenly would; other processors will not share it out better.
    unevenness = loading_s / max(load.work_s / load.jobs, serial_s)
    other_s = max(record.rto.measured_s - fixed_s - fetch_s - analyze_s - loading_s, 0.0)

    def whole(jobs: float) -> float:
        loading = unevenness * max(load.work_s / jobs, serial_s)
        return fixed_s + other_s + times_the_size * (fetch_s + loading + analyze_s * load.jobs / jobs)

    return Projection(
        times_the_size=times_the_size,
        processors=jobs,
        seconds=whole(jobs),
        floor_s=whole(float("inf")),
        scope=tuple(_scope(record, load, times_the_size, jobs)),
    )


def _longest_table_s(load: LoadRecord) -> float:
    """Of any table, its rows and then the longest of what is built on it: these never run side by side."""
    rows: dict[str | None, float] = {}
    builds: dict[str | None, float] = {}
    for step in load.steps:
        if step.size_bytes is not None:
            rows[step.table] = rows.get(step.table, 0.0) + step.seconds
        else:
            builds[step.table] = max(builds.get(step.table, 0.0), step.seconds)
    return max((rows.get(table, 0.0) + builds.get(table, 0.0) for table in {*rows, *builds}), default=0.0)


def _scope(record: Record, load: LoadRecord, times: float, jobs: int) -> list[str]:
    sandbox = record.sandbox
    said = [
        "From one drill: the same tables, keys and indexes in the same proportions, and time in proportion to bytes. "
        "Sorting grows a little faster than that.",
        "Processors and disks as fast as those of the drill, and the same network to where the archive lies.",
        "A server without durability, as a sandbox is: one with fsync and a write-ahead log takes longer.",
    ]
    if times > _FAR:
        said.append(f"{times:,.0f} times what was measured is far: drill something larger before you promise it.")
    text_bytes = record.archive.text_bytes
    if sandbox is not None and text_bytes is not None and text_bytes * times > sandbox.memory_bytes:
        said.append("Such a database does not fit the memory of the drill's machine: building indexes would slow down.")
    if jobs > load.jobs:
        said.append(f"More than {load.jobs} connections at once was not tried.")
    if load.machine_busy is not None and load.machine_busy - load.work_s / (load.jobs * load.seconds) > 0.2:
        said.append("Something else kept the machine busy during the drill: on an idle one it would take less.")
    return said
