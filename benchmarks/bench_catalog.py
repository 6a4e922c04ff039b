"""How long it takes to list a large folder of archives and to find the latest, beside a bare listing with sizes.

python benchmarks/bench_catalog.py [archives] [rounds]
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from workload import describe_machine, print_ratios, time_in_turn

from backup_lib.archive import build_name
from backup_lib.catalog import list_archives, resolve
from backup_lib.manifest import SUFFIX

_TEXT = b"--\n-- PostgreSQL database dump\n--\n\n"
_NEWEST = datetime(2026, 11, 24, 2, tzinfo=UTC)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    print(describe_machine())
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        for number in range(count):
            at = _NEWEST - timedelta(hours=number)
            archive = folder / build_name("pos", at, kind="full", format="plain", compression="none")
            archive.write_bytes(_TEXT)
            archive.with_name(archive.name + SUFFIX).write_bytes(b"{}")
        print(f"{count:,} archives, each with a manifest: {2 * count:,} files")

        def list_all() -> None:
            assert len(list_archives(folder, by_name=True)) == count

        def find_latest() -> None:
            (latest,) = resolve(["latest"], folder)
            assert latest.taken_at == _NEWEST

        def list_bare() -> None:
            with os.scandir(folder) as entries:
                assert sum(entry.stat().st_size > 0 for entry in entries) == 2 * count

        seconds = time_in_turn(
            {"scandir and stat": list_bare, "list by name": list_all, "resolve latest": find_latest}, rounds=rounds
        )
        print_ratios(seconds, against=["scandir and stat"])


if __name__ == "__main__":
    main()
