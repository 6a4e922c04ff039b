"""The checks, one a module: each compares one thing and returns findings."""

from __future__ import annotations

from verification.checks import (
    catalog,
    completeness,
    content,
    environment,
    files,
    integrity,
    large_objects,
    restore,
    row_count,
    schema,
    sequences,
    write_probe,
)
from verification.checks.definition import LEVELS, Check, Level

__all__ = ["CHECKS", "LEVELS", "OF_FILES", "Check", "Level", "checks_of"]

CHECKS: tuple[Check, ...] = (
    Check(
        name=integrity.NAME,
        title="The bytes are intact",
        method="The archive is read to its last byte; its size and SHA-256 are those of the manifest.",
        level="integrity",
        run=integrity.check_integrity,
    ),
    Check(
        name=completeness.NAME,
        title="The dump is complete",
        method="Its closing line is there, and it holds what its kind of archive must hold.",
        level="integrity",
        run=completeness.check_completeness,
    ),
    Check(
        name=restore.NAME,
        title="It restores without an error",
        method="Every statement of the dump is run in an empty, isolated server; none may be refused, but those that "
        "remove what is not there or make the schema public, which is.",
        level="restore",
        run=restore.check_restore,
    ),
    Check(
        name=row_count.NAME,
        title="Row counts are equal",
        method="count(*) of each table in the snapshot the dump read from, the rows in the archive, and count(*) "
        "of the restored table are equal.",
        level="restore",
        run=row_count.check_row_counts,
    ),
    Check(
        name=schema.NAME,
        title="The schema is equal, entry by entry",
        method="Each definition promised is in the archive, and a dump of the restored database gives it again; "
        "where a server words it differently, what it makes of the archive's own definition decides.",
        level="full",
        run=schema.check_schema,
    ),
    Check(
        name=content.NAME,
        title="The content of every table is equal",
        method="SHA-256 of every table's rows: promised, archived, and, but for large tables whose sums agree, dumped "
        "again from the restored database; where the text or order differs, the server compares the rows; and both "
        "servers' own sums of all rows, which pg_dump has no part in.",
        level="full",
        run=content.check_content,
    ),
    Check(
        name=sequences.NAME,
        title="Sequences go on where they stood",
        method="The value each sequence was at, promised, archived and restored.",
        level="full",
        run=sequences.check_sequences,
    ),
    Check(
        name=large_objects.NAME,
        title="Large objects are equal",
        method="Size and SHA-256 of each, promised, archived and restored.",
        level="full",
        run=large_objects.check_large_objects,
    ),
    Check(
        name=environment.NAME,
        title="The environment is equal",
        method="Encoding, locale, extensions with versions, and settings, asked by SQL on both sides.",
        level="full",
        run=environment.check_environment,
    ),
    Check(
        name=catalog.NAME,
        title="Every object is what it was",
        method="All objects with their owners, privileges, columns and definitions, asked of both servers' catalogs "
        "by SQL, independently of pg_dump.",
        level="full",
        run=catalog.check_catalog,
    ),
    Check(
        name=write_probe.NAME,
        title="It can be written to",
        method="One row of each table is inserted once more, with new keys, in a transaction that is rolled back: "
        "its triggers and defaults act; and the next value of each sequence is free.",
        level="full",
        run=write_probe.check_writes,
    ),
)


# Of an archive of configuration files, which is of no server: its bytes, and every file in it.
OF_FILES: tuple[Check, ...] = (
    CHECKS[0],
    Check(
        name=completeness.NAME,
        title="Every file is what it was",
        method="Each file, folder and link in the archive is read back; path, mode, size, SHA-256 and target are those "
        "of the manifest, and there is no other.",
        level="integrity",
        run=files.check_files,
    ),
)


def checks_of(level: Level) -> tuple[Check, ...]:
    wanted = LEVELS.index(level)
    return tuple(check for check in CHECKS if LEVELS.index(check.level) <= wanted)
