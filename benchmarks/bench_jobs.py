"""How a restore shortens with more connections, and what part of it does not: a sweep over --jobs.

python benchmarks/bench_jobs.py [scale] [rounds] [jobs …]

The serial fraction is Amdahl's, of the time with one connection: what no further one shortens. On n processors more
than n connections show only what they cost.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

import psycopg
from workload import describe_machine, fill, time_in_turn

from backup_lib.backup import make_backup
from backup_lib.dump_reader import read_events
from backup_lib.dump_text import open_dump_text
from backup_lib.load_report import LoadReport
from backup_lib.plain_loader import Loader
from backup_lib.servers import server_for, start_server
from verification.restoring import connector
from verification.sandbox.embedded import EmbeddedSandbox, machine_memory_bytes
from verification.sandbox.throwaway import Budget, throwaway_settings


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    sweep = [int(word) for word in sys.argv[3:]] or [1, 2, 4, 8]
    programs = server_for(15)
    assert programs is not None, "run: pgdrill install-server 15"
    print(describe_machine(), "·", programs.label)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        with start_server(programs) as source:
            print(f"{fill(source.conninfo('postgres'), scale=scale):,} rows")
            archive = make_backup(source.conninfo("postgres"), Path(folder)).path
        assert archive is not None
        settings = throwaway_settings(Budget(memory_bytes=machine_memory_bytes() * 3 // 4, jobs=max(sweep)))
        with start_server(programs, settings=settings) as server:
            reports: dict[int, list[LoadReport]] = {jobs: [] for jobs in sweep}

            def load(jobs: int) -> None:
                with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
                    connection.execute("DROP DATABASE IF EXISTS again")
                    connection.execute("CREATE DATABASE again TEMPLATE template0")
                target = connector(EmbeddedSandbox(server))
                loading = Loader(target, "again", jobs=jobs, truncate=True)
                with loading as loader, open_dump_text(archive) as chunks:
                    report = loader.load(read_events(chunks))
                assert not report.errors
                reports[jobs].append(report)

            seconds = time_in_turn({str(jobs): lambda jobs=jobs: load(jobs) for jobs in sweep}, rounds=rounds)
    heads = {
        "jobs": 4,
        "median s": 10,
        "speed-up": 10,
        "busy": 7,
        "work s": 8,
        "longest step s": 16,
        "serial fraction": 17,
    }
    print("".join(f"{head:>{width}}" for head, width in heads.items()))
    alone = seconds[str(sweep[0])]
    for jobs in sweep:
        own = seconds[str(jobs)]
        speedup = statistics.median(a / b for a, b in zip(alone, own, strict=True))
        work = statistics.median(sum(step.seconds for step in report.steps) for report in reports[jobs])
        longest = statistics.median(max(step.seconds for step in report.steps) for report in reports[jobs])
        busy = work / (jobs * statistics.median(own))
        serial = f"{(jobs / speedup - 1) / (jobs - 1):.2f}" if jobs > 1 else ""
        print(f"{jobs:4}{statistics.median(own):10.2f}{speedup:10.2f}{busy:7.0%}{work:8.2f}{longest:16.2f}{serial:>17}")


if __name__ == "__main__":
    main()
