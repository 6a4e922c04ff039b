"""Planner statistics, which no dump holds: without them the first hours after a recovery are slow."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from queue import Empty, Queue

import psycopg

from verification.restoring import Connect

# Partitions come with the root of their tree. What takes longest comes first, so that no connection is left with one at
# the end: an index's expression is computed for each row of the sample, then the largest.
_TABLES = b"""
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname NOT LIKE E'pg\\\\_%' AND n.nspname <> 'information_schema'
ORDER BY EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indexprs IS NOT NULL) DESC,
    (SELECT sum(pg_catalog.pg_relation_size(p.relid)) FROM pg_catalog.pg_partition_tree(c.oid) p) DESC NULLS LAST,
    pg_catalog.pg_relation_size(c.oid) DESC
"""


def analyze(connect: Connect, database: str, *, jobs: int) -> list[str]:
    """ANALYZE every table that a user made, over `jobs` connections.

    :return: one sentence if some could not be analyzed, for what a drill did not prove: it runs functions of
        indexes and asks foreign servers, so that it cannot is no fault of the archive.
    :raises psycopg.OperationalError: when the server goes away.
    """
    with closing(connect(database)) as connection:
        names = [str(name) for (name,) in connection.execute(_TABLES).fetchall()]
    waiting: Queue[str] = Queue()
    for name in names:
        waiting.put(name)

    def work() -> list[str]:
        with closing(connect(database)) as connection:
            return [name for name in _taken(waiting) if not _analyze_one(connection, name)]

    threads = max(1, min(jobs, len(names)))
    with ThreadPoolExecutor(threads, thread_name_prefix="pgdrill-analyze") as pool:
        failed = [name for done in [pool.submit(work) for _ in range(threads)] for name in done.result()]
    if not failed:
        return []
    of = min(failed) if len(failed) == 1 else f"{len(failed)} tables, {min(failed)} among them,"
    return [f"Planner statistics: ANALYZE of {of} in {database} failed."]


def _taken(waiting: Queue[str]) -> Iterator[str]:
    while True:
        try:
            yield waiting.get_nowait()
        except Empty:
            return


def _analyze_one(connection: psycopg.Connection[tuple[object, ...]], name: str) -> bool:
    try:
        connection.execute(f"ANALYZE {name}".encode())
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return False
    return True
