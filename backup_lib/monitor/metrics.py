"""The status as Prometheus reads it from a file, for node_exporter's textfile collector or GitLab's metrics report."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from backup_lib.configuration import Configuration
from backup_lib.errors import BackupError, StoreError, UsageError
from backup_lib.monitor.known import ArchiveView, DrillView
from backup_lib.monitor.records import DrillRecord
from backup_lib.monitor.room import PlaceStatus
from backup_lib.monitor.series import Series
from backup_lib.monitor.status import Status, TaskStatus, examine
from backup_lib.store import refused

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily, Metric

Sample = tuple[tuple[str, ...], float | None]  # values of the labels, and the value; None: there is none
RESULTS = {"verified": 0, "failed": 1, "could_not_verify": 2}
_OF = ("database", "archive_kind")


def render_metrics(status: Status) -> bytes:
    """The text that Prometheus reads. No label names an archive: series that never come again would pile up.

    :raises UsageError: when the extra is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest
    except ImportError as exc:
        raise UsageError("metrics need prometheus-client", hint="pip install 'pgdrill[metrics]'") from exc

    class Told:
        def collect(self) -> Iterator[Metric]:
            yield from _families(status)

    registry = CollectorRegistry()
    registry.register(Told())
    return generate_latest(registry)


def write_metrics(status: Status, path: Path) -> None:
    """Write the file whole or not at all. Others may read it, since node_exporter is another user; no secret is in it.

    :raises StoreError: when it cannot be written.
    """
    data = render_metrics(status)
    partial = path.with_name(f".{path.name}.partial")  # which does not end in .prom, so nobody reads it
    try:
        with partial.open("wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as exc:
        with suppress(OSError):
            partial.unlink()
        hint = f"make the folder {path.parent} and give it to the user this runs as, or change status.metrics"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            hint = refused(path, exc).hint
        raise StoreError(f"the metrics {path} cannot be written: {exc.strerror}", hint=hint) from exc


def refresh_metrics(configuration: Configuration | None) -> str:
    """Write the configured file anew; why that could not be done, or nothing. Whoever calls it did something else."""
    path = configuration.settings.status.metrics if configuration else None
    if configuration is None or path is None:
        return ""
    try:
        write_metrics(examine(configuration, now=datetime.now(UTC)), Path(path))
    except (BackupError, OSError) as exc:
        return f"the metrics were not written: {exc}"
    return ""


def _families(status: Status) -> Iterator[GaugeMetricFamily]:
    worst = "Of all: 0 well, 1 something is wrong, 3 not all could be judged."
    yield _family("pgdrill_status_timestamp_seconds", "When this was written.", (), [((), _unix(status.at))])
    yield _family("pgdrill_status_result", worst, (), [((), status.exit_status)])
    problems = Counter((one.database, one.kind, problem.code) for one in status.series for problem in one.problems)
    yield _family("pgdrill_problems", "What is wrong, by its code.", (*_OF, "problem"), problems.items())
    yield from _of_backups(status.series)
    yield from _of_drills(status.series)
    yield from _of_places(status.places)
    yield from _of_tasks([one for one in status.tasks if one.last_ended_at])


def _of_backups(series: Sequence[Series]) -> Iterator[GaugeMetricFamily]:
    def told(name: str, help_: str, value: Callable[[Series], float | None]) -> GaugeMetricFamily:
        return _family(f"pgdrill_backup_{name}", help_, _OF, [(_group(one), value(one)) for one in series])

    yield told("last_timestamp_seconds", "What moment the newest archive is of.", lambda s: _taken(s.newest))
    yield told("max_age_seconds", "How old it may be.", lambda s: s.limits.age_s if s.expected else None)
    yield told("verified_timestamp_seconds", "The same of the newest that is proved.", lambda s: _taken(s.verified))
    yield told(
        "max_verified_age_seconds", "How old that may be.", lambda s: s.limits.verified_age_s if s.expected else None
    )
    yield told("last_bytes", "Size of the newest archive.", lambda s: s.newest.size_bytes if s.newest else None)
    yield told("last_rows", "Rows in it, as its manifest says.", lambda s: s.newest.rows if s.newest else None)
    yield told("duration_seconds", "How long it took to make it.", lambda s: s.newest.seconds if s.newest else None)
    yield told("interval_seconds", "Median time between the last archives.", lambda s: s.interval_s)
    yield told("archives", "How many there are.", lambda s: s.count)
    yield told("stored_bytes", "Size of all of them, copies too.", lambda s: s.size_bytes)


def _of_drills(series: Sequence[Series]) -> Iterator[GaugeMetricFamily]:
    drilled = [(_group(one), one.last_drill) for one in series if one.last_drill]
    recorded = [(group, drill.record) for group, drill in drilled if drill.record]
    successes = [(_group(one), _unix(one.last_success_at)) for one in series]
    phases = [((*group, phase.name), phase.seconds) for group, record in recorded for phase in record.phases]
    checks = Counter((*group, check.status) for group, record in recorded for check in record.checks)

    def told(name: str, help_: str, value: Callable[[DrillView], float | None]) -> GaugeMetricFamily:
        return _family(f"restore_drill_{name}", help_, _OF, [(group, value(drill)) for group, drill in drilled])

    def objective(name: str, help_: str, value: Callable[[DrillRecord], float | None]) -> GaugeMetricFamily:
        return _family(f"restore_drill_{name}", help_, _OF, [(group, value(record)) for group, record in recorded])

    proved = "When the last drill ended that restored an archive and found it equal."
    yield _family("restore_drill_last_success_timestamp_seconds", proved, _OF, successes)
    yield told("last_timestamp_seconds", "When the last drill ended.", lambda d: _unix(d.finished_at))
    yield told("last_result", "0 verified, 1 failed, 2 could not be verified.", lambda d: RESULTS[d.verdict])
    yield told("archive_bytes", "Size of the archive that was drilled last.", lambda d: d.size_bytes)
    yield told("archive_age_seconds", "How old it was then.", lambda d: d.age_s)
    yield _family("restore_drill_duration_seconds", "By phase; some overlap.", (*_OF, "phase"), phases)
    yield objective("rto_seconds", "Recovery time as the last drill measured it.", lambda r: r.rto.measured_s)
    yield objective("rto_objective_seconds", "As it was wanted then.", lambda r: r.rto.objective_s)
    yield objective("rpo_seconds", "Recovery point as the last drill measured it.", lambda r: r.rpo.measured_s)
    yield objective("rpo_objective_seconds", "As it was wanted then.", lambda r: r.rpo.objective_s)
    yield _family("restore_drill_checks", "Checks of the last drill, by their end.", (*_OF, "result"), checks.items())


def _of_places(places: Sequence[PlaceStatus]) -> Iterator[GaugeMetricFamily]:
    def told(name: str, help_: str, value: Callable[[PlaceStatus], float | None]) -> GaugeMetricFamily:
        samples = [((one.location,), value(one)) for one in places]
        return _family(f"pgdrill_place_{name}", help_, ("place",), samples)

    yield told("free_bytes", "Room that is left.", lambda p: p.free_bytes)
    yield told("stored_bytes", "Size of all archives there.", lambda p: p.stored_bytes)
    yield told("wanted_bytes", "What the next backups need, as many as status.room says.", lambda p: p.wanted_bytes)


def _of_tasks(tasks: Sequence[TaskStatus]) -> Iterator[GaugeMetricFamily]:
    def told(name: str, help_: str, value: Callable[[TaskStatus], float | None]) -> GaugeMetricFamily:
        return _family(f"pgdrill_task_{name}", help_, ("task",), [((one.name,), value(one)) for one in tasks])

    yield told("last_result", "Exit status of the last scheduled run.", lambda t: t.last_status)
    yield told("last_timestamp_seconds", "When it ended.", lambda t: _unix(t.last_ended_at))
    yield told("next_timestamp_seconds", "When the next one is due.", lambda t: _unix(t.next_at))


def _family(name: str, help_: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, help_, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, float(number))
    return family


def _group(one: Series) -> tuple[str, ...]:
    return one.database, one.kind


def _taken(archive: ArchiveView | None) -> float | None:
    return _unix(archive.taken_at) if archive else None


def _unix(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
