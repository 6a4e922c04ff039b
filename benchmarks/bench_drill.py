"""A restore and a whole verified drill of a .sql.gz, beside `gunzip -c | psql` and `pg_restore -j`.

python benchmarks/bench_drill.py [scale] [rounds] [major]

`stock`: a server as PostgreSQL's defaults have it, on this machine's disk. `sandbox`: one with the settings that a
drill gives its own. Everything but the drill finds its server running. `counted` is what other drills do: restore and
count the rows of each table. `--level restore` is pgdrill's own drill that does no more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from workload import describe_machine, fill, print_ratios, time_in_turn

from backup_lib.backup import make_backup
from backup_lib.catalog import resolve
from backup_lib.dump_reader import read_events
from backup_lib.dump_text import open_dump_text
from backup_lib.plain_loader import Loader
from backup_lib.servers import Server, server_for, start_server
from verification.drill import Drill, Plan
from verification.restoring import connector
from verification.sandbox.embedded import EmbeddedSandbox, machine_memory_bytes
from verification.sandbox.throwaway import Budget, throwaway_settings

JOBS = os.cpu_count() or 1
_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND oid >= 16384"
STOCK = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


@contextmanager
def fresh(server: Server) -> Iterator[str]:
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE again TEMPLATE template0")
        try:
            yield server.conninfo("again")
        finally:
            connection.execute("DROP DATABASE again")


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    programs = server_for(int(sys.argv[3]) if len(sys.argv) > 3 else 15)
    assert programs is not None, "run: pgdrill install-server 15"
    print(describe_machine(), "·", programs.label)
    budget = Budget(memory_bytes=machine_memory_bytes() * 3 // 4, jobs=JOBS)
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        with start_server(programs) as source:
            dsn = source.conninfo("postgres")
            print(f"{fill(dsn, scale=scale):,} rows")
            plain = make_backup(dsn, folder).path
            custom = make_backup(dsn, folder, format="custom").path
        assert plain is not None
        assert custom is not None
        stock = cleanup.enter_context(start_server(programs, settings=STOCK))
        sandbox = cleanup.enter_context(start_server(programs, settings=throwaway_settings(budget)))
        psql, pg_restore = programs.program("psql"), programs.program("pg_restore")

        def piped(server: Server, *, count: bool = False) -> None:
            with fresh(server) as target:
                command = f"gunzip -c {plain} | {psql} -qX -v ON_ERROR_STOP=1 -d '{target}' > /dev/null"
                subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True)
                if count:
                    with psycopg.connect(target) as connection:
                        for (table,) in connection.execute(_TABLES):
                            connection.execute(f"SELECT count(*) FROM {table}".encode())

        def restored() -> None:
            with fresh(sandbox) as target:
                subprocess.run([pg_restore, f"-j{JOBS}", "-d", target, custom], check=True)

        def loaded(path: Path) -> None:
            with fresh(sandbox), Loader(connector(EmbeddedSandbox(sandbox)), "again", jobs=JOBS, truncate=True) as load:
                with open_dump_text(path) as chunks:
                    report = load.load(read_events(chunks))
                assert not report.errors

        def drilled(path: Path, level: str = "full") -> None:
            (found,) = resolve([str(path)], folder)
            plan = Plan(sandbox="embedded", jobs=JOBS, level=level)  # type: ignore[arg-type]
            with Drill(found, path, plan, drill_id="bench") as drill:
                judged = drill.judge_all()
            assert not [f for one in judged for f in one.findings if f.status in ("fault", "gap")]
            drill.close()
            phases.append({p.name: p.seconds for p in drill.phases.records()})

        phases: list[dict[str, float]] = []
        seconds = time_in_turn(
            {
                "gunzip | psql, stock": lambda: piped(stock),
                "gunzip | psql, sandbox": lambda: piped(sandbox),
                f"pg_restore -j{JOBS}, sandbox": restored,
                "the first, and counted": lambda: piped(stock, count=True),
                "pgdrill loads .sql.gz": lambda: loaded(plain),
                "pgdrill loads .dump": lambda: loaded(custom),
                "drill --level restore": lambda: drilled(plain, "restore"),
                "whole drill of .sql.gz": lambda: drilled(plain),
                "whole drill of .dump": lambda: drilled(custom),
            },
            rounds=rounds,
        )
        print_ratios(seconds, against=[*list(seconds)[:4], "drill --level restore"])
        last = phases[-1]
        print("phases of the last drill: " + ", ".join(f"{name} {took:.2f}" for name, took in last.items()))
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
