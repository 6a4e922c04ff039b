"""A backup with manifest, counts, inventory and digests, beside pg_dump alone and `pg_dump | gzip`.

As it is by default, with the server's own second reading of all rows, and without that.

python benchmarks/bench_backup.py [scale] [rounds] [major]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from workload import describe_machine, fill, print_ratios, time_in_turn

from backup_lib.servers import server_for, start_server

PGDRILL = Path(sys.executable).with_name("pgdrill")


def main() -> None:
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    programs = server_for(int(sys.argv[3]) if len(sys.argv) > 3 else 15)
    assert programs is not None, "run: pgdrill install-server 15"
    print(describe_machine(), "·", programs.label)
    with start_server(programs) as server, tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        dsn = server.conninfo("postgres")
        print(f"{fill(dsn, scale=scale):,} rows")
        pg_dump = programs.program("pg_dump")
        peaks: dict[str, int] = {}

        def shell(command: str) -> None:
            subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True)

        def backup(name: str, *options: str) -> None:
            target = Path(folder) / "backups"
            argv = [PGDRILL, "backup", "--to", target, *options]
            process = subprocess.Popen(argv, env={**os.environ, "DATABASE_URL": dsn}, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            peaks[name] = max(peaks.get(name, 0), usage.ru_maxrss)
            shutil.rmtree(target)

        plain = Path(folder) / "plain"
        shell(f"{pg_dump} '{dsn}' > {plain}")
        print(f"{plain.stat().st_size / 1e6:.0f} MB of plain text")
        plain.unlink()
        seconds = time_in_turn(
            {
                "pg_dump > /dev/null": lambda: shell(f"{pg_dump} '{dsn}' > /dev/null"),
                "pgdrill backup, gzip": lambda: backup("gzip"),
                "pgdrill backup, zstd": lambda: backup("zstd", "--compress", "zstd"),
                "gzip, rows read once": lambda: backup("gzip", "--no-independent-content"),
                "zstd, rows read once": lambda: backup("zstd", "--compress", "zstd", "--no-independent-content"),
                "pg_dump | gzip": lambda: shell(f"{pg_dump} '{dsn}' | gzip > {folder}/piped.gz"),
            },
            rounds=rounds,
        )
        print_ratios(seconds, against=["pg_dump > /dev/null", "pg_dump | gzip"])
        print("peak memory of pgdrill: " + ", ".join(f"{name} {peak / 1024:.0f} MiB" for name, peak in peaks.items()))


if __name__ == "__main__":
    main()
