"""What the record says of how long loading took, table by table and step by step."""

from __future__ import annotations

from backup_lib.load_order import Table
from backup_lib.load_report import LoadReport
from verification.drill import Drill
from verification.evidence.record import LoadRecord, StepRecord

MOST_STEPS = 100
_ROWS = "TABLE DATA "


def load_record(drill: Drill) -> LoadRecord | None:
    """None where nothing was loaded."""
    load, machine = drill.facts.load, drill.machine
    if load is None or machine is None:
        return None
    longest = sorted(load.steps, key=lambda step: step.seconds, reverse=True)[:MOST_STEPS]
    return LoadRecord(
        jobs=load.jobs,
        seconds=drill.load_s,
        work_s=sum(step.seconds for step in load.steps),
        reader_waited_s=load.reader_waited_s,
        own_cpu_s=machine.own_cpu_s,
        machine_busy=machine.busy,
        machine_waiting=machine.waiting,
        steps=tuple(
            StepRecord(
                entry=step.label,
                table=".".join(step.table) if step.table else None,
                began_s=drill.phases.since_start(step.began),
                seconds=step.seconds,
                size_bytes=step.size_bytes,
            )
            for step in sorted(longest, key=lambda step: step.began)
        ),
    )


def table_times(load: LoadReport) -> tuple[dict[Table, float], dict[Table, float]]:
    """Seconds of each table's rows, and of what was built on it."""
    loaded: dict[Table, float] = {}
    built: dict[Table, float] = {}
    for step in load.steps:
        if step.table is not None:
            times = loaded if step.label.startswith(_ROWS) else built
            times[step.table] = times.get(step.table, 0.0) + step.seconds
    return loaded, built
