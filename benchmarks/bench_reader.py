"""How fast a dump is read, counted and hashed, beside SHA-256 alone over the same bytes.

python benchmarks/bench_reader.py [MB]
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256

from backup_lib.dump_reader import read_inventory

CHUNK_BYTES = 128 << 10
HEADER = (
    b"--\n-- PostgreSQL database dump\n--\n\nSET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\n"
)
ENTRY = b"--\n-- Data for Name: sales; Type: TABLE DATA; Schema: public; Owner: postgres\n--\n\n"
TRAILER = b"\n\n--\n-- PostgreSQL database dump complete\n--\n\n"


def build_copy_dump(size_bytes: int) -> bytes:
    row = b'1048576\t2026-11-24 04:06:18+00\tShe said "it\'s" \\\\ here\t\\N\t12345.67\t%b\n'
    return _fill(b"COPY public.sales (id, at, note, gone, total, key) FROM stdin;\n", row, b"\\.\n", size_bytes)


def build_insert_dump(size_bytes: int) -> bytes:
    row = (
        b"INSERT INTO public.sales VALUES"
        b" (1048576, '2026-11-24 04:06:18+00', 'She said \"it''s\" \\ here', NULL, 12345.67, '%b');\n"
    )
    return _fill(b"", row, b"", size_bytes)


def build_multi_row_insert_dump(size_bytes: int) -> bytes:
    row = b"\t(1048576, '2026-11-24 04:06:18+00', 'She said \"it''s\" \\ here', NULL, 12345.67, '%b')"
    rows = b",\n".join([row] * 500).replace(b"%b", os.urandom(12).hex().encode())
    return _fill(b"", b"INSERT INTO public.sales VALUES\n" + rows + b";\n", b"", size_bytes)


def build_schema_dump(size_bytes: int) -> bytes:
    entry = (
        b"--\n-- Name: f_%b; Type: FUNCTION; Schema: public; Owner: postgres\n--\n\n"
        b"CREATE FUNCTION public.f(a integer, b text) RETURNS text\n    LANGUAGE plpgsql\n    AS $$\n"
        b"BEGIN\n  RETURN b || a::text; -- it's\nEND\n$$;\n\n\n"
        b"ALTER FUNCTION public.f(a integer, b text) OWNER TO postgres;\n\n"
        b"--\n-- Name: t_%b; Type: TABLE; Schema: public; Owner: postgres\n--\n\n"
        b"CREATE TABLE public.t (\n    id integer NOT NULL,\n    total numeric(10,2) DEFAULT 0.0,\n"
        b"    state character varying(20) DEFAULT 'new'::character varying,\n"
        b"    CONSTRAINT c CHECK (((total > (0)::numeric) AND ((state)::text <> ''::text)))\n);\n\n\n"
        b"ALTER TABLE public.t OWNER TO postgres;\n\n"
    )
    return _fill(b"", entry, b"", size_bytes)


def _fill(before: bytes, row: bytes, after: bytes, size_bytes: int) -> bytes:
    """The same thousand rows over and over, so that making them takes no time."""
    rows = b"".join(row.replace(b"%b", os.urandom(12).hex().encode()) for _ in range(max(1, 100_000 // len(row))))
    return HEADER + ENTRY + before + rows * (size_bytes // len(rows) + 1) + after + TRAILER


def _chunks(dump: bytes) -> Iterator[bytes]:
    return (dump[at : at + CHUNK_BYTES] for at in range(0, len(dump), CHUNK_BYTES))


def _hash(dump: bytes) -> None:
    digest = sha256()
    for chunk in _chunks(dump):
        digest.update(chunk)


def _read(dump: bytes) -> None:
    assert read_inventory(_chunks(dump)).complete


def _speed(work: Callable[[bytes], None], dump: bytes) -> float:
    """MB/s, the best of three."""
    best_s = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        work(dump)
        best_s = min(best_s, time.perf_counter() - begun)
    return len(dump) / best_s / 1e6


def main() -> None:
    size_bytes = int(sys.argv[1] if len(sys.argv) > 1 else 200) * 1_000_000
    print(f"{'':24}{'read MB/s':>12}{'sha256 MB/s':>14}{'ratio':>8}")
    for name, build, share in (
        ("COPY", build_copy_dump, 1),
        ("INSERT", build_insert_dump, 4),
        ("INSERT, 500 rows each", build_multi_row_insert_dump, 4),
        ("definitions", build_schema_dump, 20),
    ):
        dump = build(size_bytes // share)
        read, hashed = _speed(_read, dump), _speed(_hash, dump)
        print(f"{name:24}{read:12.0f}{hashed:14.0f}{read / hashed:8.2f}")


if __name__ == "__main__":
    main()
