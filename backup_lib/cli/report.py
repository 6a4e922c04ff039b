"""`pgdrill report`: what a recovery's time is made of, what bounds it, and how long another one would take."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backup_lib.cli.options import AsJson
from backup_lib.cli.talk import put, put_json, render_columns, render_size
from backup_lib.errors import NoSuchArchiveError, StoreError, UsageError

if TYPE_CHECKING:
    from verification.evidence.record import Record
    from verification.recovery.history import History

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(x|[KMGT]i?B?|B)", re.IGNORECASE)
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MOST_ROWS = 15


def report(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="A drill's folder; default the latest.", show_default=False)
    ] = None,
    *,
    reports: Annotated[
        Path, typer.Option("--reports", metavar="FOLDER", help="Where the records of all drills are.")
    ] = Path("reports"),
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="SIZE", help="Project for an archive of 40GB as stored, or of 10x this one."),
    ] = None,
    cores: Annotated[
        int | None, typer.Option("--cores", min=1, metavar="N", help="Project for so many processors and connections.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what bounds a recovery, step by step, and project it for another size and machine."""
    from verification.recovery.history import compare, read_records

    record = _read(folder or reports / "latest")
    history = compare(record, read_records(reports if folder is None else folder.resolve().parent))
    facts = _facts(record, history, times=_times(size, record), cores=cores)
    if as_json:
        put_json(facts)
    else:
        _put(facts, asked=size is not None or cores is not None)


def _read(folder: Path) -> Record:
    import msgspec

    from verification.evidence.folder import RECORD
    from verification.evidence.record import read_record

    path = folder / RECORD
    if not path.is_file():
        raise NoSuchArchiveError(f"there is no drill's record in {folder}", hint="drill first: pgdrill verify")
    try:
        return read_record(path)
    except (OSError, msgspec.MsgspecError) as exc:
        raise StoreError(f"the record {path} cannot be read: {exc}", hint="name another drill's folder") from exc


def _times(size: str | None, record: Record) -> float:
    """How many times as large as the archive that was drilled."""
    if size is None:
        return 1.0
    found = _SIZE.fullmatch(size.strip())
    if found is None or float(found[1]) == 0:
        raise UsageError(f"--size {size} is no size", hint="write 40GB, 500MB or 10x")
    if found[2] in "xX":
        return float(found[1])
    if not record.archive.size_bytes:
        raise UsageError(
            "the record does not tell the archive's size", hint="write how many times as large: --size 10x"
        )
    return float(found[1]) * _UNITS[found[2][0].upper()] / record.archive.size_bytes


def _facts(record: Record, history: History, *, times: float, cores: int | None) -> dict[str, Any]:
    from verification.recovery.bounds import bound_of, critical_path
    from verification.recovery.history import speed_of
    from verification.recovery.projection import project

    projected = project(record, times_the_size=times, processors=cores)
    return {
        "drill_id": record.drill_id,
        "verdict": record.verdict,
        "archive": {
            "name": record.archive.name,
            "size_bytes": record.archive.size_bytes,
            "text_bytes": record.archive.text_bytes,
        },
        "machine": {
            "sandbox": record.sandbox.kind if record.sandbox else None,
            "server_version": record.sandbox.server_version if record.sandbox else None,
            "processors": record.sandbox.processors if record.sandbox else None,
            "memory_bytes": record.sandbox.memory_bytes if record.sandbox else None,
            "jobs": record.load.jobs if record.load else None,
        },
        "rto_s": record.rto.measured_s,
        "bytes_per_s": speed_of(record),
        "phases": [asdict(phase) for phase in record.phases],
        "bound": asdict(bound_of(record)),
        "critical_path": [asdict(leg) for leg in critical_path(record)],
        "tables": [
            {
                "table": t.table,
                "rows": t.rows_restored,
                "size_bytes": t.size_bytes,
                "load_s": t.seconds,
                "build_s": t.built_s,
            }
            for t in sorted(record.tables, key=lambda t: (t.seconds or 0.0) + (t.built_s or 0.0), reverse=True)
        ],
        "projection": asdict(projected) if projected else None,
        "history": {
            "alike": [
                {
                    "drill_id": other.drill_id,
                    "finished_at": other.finished_at,
                    "rto_s": other.rto.measured_s,
                    "text_bytes": other.archive.text_bytes,
                    "bytes_per_s": speed_of(other),
                }
                for other in history.earlier
            ],
            "usual_bytes_per_s": history.usual_bytes_per_s,
            "ratio": history.ratio,
            "others": history.others,
        },
    }


def _put(facts: dict[str, Any], *, asked: bool) -> None:
    machine, archive = facts["machine"], facts["archive"]
    put(f"{archive['name']}  {facts['verdict'].replace('_', ' ')}  drill {facts['drill_id']}")
    if machine["sandbox"]:
        put(
            f"{machine['sandbox']}, PostgreSQL {machine['server_version']}, {machine['processors']} processors, "
            f"{render_size(machine['memory_bytes'])} of memory, {machine['jobs'] or '?'} connections"
        )
    put(f"recovery time {_seconds(facts['rto_s'])}, {_speed(facts['bytes_per_s'])} of {_size(archive['text_bytes'])}\n")
    rows = [
        (p["name"], _number(p["began_s"]), _number(p["seconds"]), _speed_of(p["bytes"], p["seconds"]),
         "beside others" if p["overlaps"] else "")
        for p in facts["phases"]
    ]  # fmt: skip
    put(render_columns(("phase", "begins", "seconds", "speed", ""), rows, right=[1, 2, 3]))
    put(f"\nbounded by: {facts['bound']['sentence']}")
    path = [(leg["name"], _number(leg["began_s"]), _number(leg["seconds"])) for leg in facts["critical_path"]]
    put("\n" + render_columns(("critical path", "begins", "seconds"), path, right=[1, 2]))
    tables = [
        (t["table"], "?" if t["rows"] is None else f"{t['rows']:,}", _size(t["size_bytes"]), _number(t["load_s"]),
         _speed_of(t["size_bytes"], t["load_s"]), _number(t["build_s"]))
        for t in facts["tables"][:_MOST_ROWS]
    ]  # fmt: skip
    head = ("table", "rows", "size", "rows s", "speed", "keys and indexes s")
    put("\n" + render_columns(head, tables, right=[1, 2, 3, 4, 5]))
    if (more := len(facts["tables"]) - _MOST_ROWS) > 0:
        put(f"and {more:,} more, each quicker; --json has all of them")
    if asked:
        _put_projection(facts["projection"])
    _put_history(facts["history"])


def _put_projection(projected: dict[str, Any] | None) -> None:
    if projected is None:
        put("\nno projection: this record does not tell how long its steps took")
        return
    put(
        f"\nprojected for {projected['times_the_size']:.3g} times the size and {projected['processors']} processors: "
        f"{_seconds(projected['seconds'])}; {_seconds(projected['floor_s'])} with any number of processors"
    )
    for sentence in projected["scope"]:
        put(f"  - {sentence}")


def _put_history(history: dict[str, Any]) -> None:
    alike = history["alike"]
    if not alike:
        put(f"\nno earlier drill like it to compare with ({history['others']} of another kind or machine)")
        return
    rows = [
        (f"{d['finished_at']:%Y-%m-%d %H:%M}Z", _number(d["rto_s"]), _size(d["text_bytes"]), _speed(d["bytes_per_s"]))
        for d in alike[-_MOST_ROWS:]
    ]
    put("\n" + render_columns(("earlier, on such a machine", "seconds", "text", "speed"), rows, right=[1, 2, 3]))
    if history["ratio"] is not None:
        put(f"this drill restored at {history['ratio']:.2f} times the usual speed of {len(alike)} like it")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.1f} s" if value < 120 else f"{value / 60:,.1f} min" if value < 7200 else f"{value / 3600:,.1f} h"


def _size(value: int | None) -> str:
    return "" if value is None else render_size(value)


def _speed(value: float | None) -> str:
    return "" if value is None else f"{render_size(int(value))}/s"


def _speed_of(size_bytes: int | None, seconds: float | None) -> str:
    return _speed(size_bytes / seconds) if size_bytes and seconds else ""
