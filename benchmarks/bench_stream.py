"""A dump of any size, made while it is read and never on disk, through a pipe into the reader: speed and peak memory.

python benchmarks/bench_stream.py [GB]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

from bench_reader import CHUNK_BYTES, ENTRY, HEADER, TRAILER
from workload import describe_machine

from backup_lib.dump_reader import read_inventory

GB = 1_000_000_000
ROW = b'1048576\t2026-11-24 04:06:18+00\tShe said "it\'s" \\\\ here\t\\N\t12345.67\tb0b1b2b3b4b5b6b7b8b9babb\n'


def write(size_bytes: int, sink: IO[bytes]) -> None:
    """Ten tables, so that the reader meets the end of one while the pipe is full."""
    rows = ROW * 10_000
    sink.write(HEADER)
    for number in range(10):
        sink.write(ENTRY.replace(b"sales", b"sales_%d" % number))
        sink.write(b"COPY public.sales_%d (id, at, note, gone, total, key) FROM stdin;\n" % number)
        for _ in range(size_bytes // 10 // len(rows)):
            sink.write(rows)
        sink.write(b"\\.\n\n\n")
    sink.write(TRAILER)


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        yield chunk


def main() -> None:
    if sys.argv[1:2] == ["--write"]:
        write(int(sys.argv[2]), sys.stdout.buffer)
        return
    size_bytes = int(float(sys.argv[1]) * GB) if len(sys.argv) > 1 else 20 * GB
    print(describe_machine())
    for size in (size_bytes // 20, size_bytes):
        argv = [sys.executable, __file__, "--write", str(size)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            begun, begun_cpu = time.perf_counter(), time.process_time()
            inventory = read_inventory(_chunks(writer.stdout))
            took, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
        assert inventory.complete
        assert len(inventory.tables) == 10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows = sum(table.rows for table in inventory.tables)
        read = inventory.size_bytes
        print(
            f"{read / GB:6.1f} GB, {rows:,} rows: {took:.1f} s, {read / took / 1e6:.0f} MB/s; "
            f"{read / cpu / 1e6:.0f} MB a second of processor time; peak memory {peak:.0f} MiB"
        )


if __name__ == "__main__":
    main()
