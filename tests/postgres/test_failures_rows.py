"""One row or one value of one table is other than it was: each is found, and named by its table.

All cases are in one archive, each in a table of its own, so that one drill must have a finding for each; the digest of
the altered bytes is in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from drilling import Alter, DrillOf, execute, reseal, rewrite, swap, together, told

from backup_lib.backup import make_backup
from backup_lib.manifest import SUFFIX, parse_manifest, render_manifest
from backup_lib.servers import Server
from backup_lib.source import connect, row_counts
from verification.drill import Drill
from verification.evidence.record import Record

pytestmark = pytest.mark.postgres

# table: columns, rows, what is altered in the text, and what the finding says.
CASES: dict[str, tuple[str, str, str, str, str]] = {
    "lost": ("a int PRIMARY KEY", "(1), (777), (3)", "\n777\n", "\n", "2 rows"),
    "doubled": ("a int", "(1), (778), (3)", "\n778\n", "\n778\n778\n", "4 rows"),
    "altered": ("a int PRIMARY KEY, b text", "(1, 'uno'), (2, 'dos')", "\n2\tdos\n", "\n2\tdoz\n", "SHA-256"),
    "swapped": ("a int PRIMARY KEY, b text", "(1, 'ayer'), (2, 'hoy')", "1\tayer\n2\thoy", "1\thoy\n2\tayer", "SHA-256"),
    "columns_swapped": ("a int, b int", "(41, 43)", "\n41\t43\n", "\n43\t41\n", "SHA-256"),
    "null_for_empty": ("a int, b text", "(51, '')", "\n51\t\n", "\n51\t\\N\n", "SHA-256"),
    "empty_for_null": ("a int, b text", "(52, NULL)", "\n52\t\\N\n", "\n52\t\n", "SHA-256"),
    "null_as_a_word": ("a int, b text", "(53, NULL)", "\n53\t\\N\n", "\n53\tNULL\n", "SHA-256"),
    "digits_of_a_scale": ("a numeric", "(1234.5600)", "\n1234.5600\n", "\n1234.56\n", "SHA-256"),
    "digits_rounded": ("a float8", "(0.30000000000000004)", "0.30000000000000004", "0.3", "SHA-256"),
    "sign": ("a int", "(-61)", "\n-61\n", "\n61\n", "SHA-256"),
    "blank_at_the_end": ("a text", "('fin ')", "\nfin \n", "\nfin\n", "SHA-256"),
    "blank_inside": ("a text", "('dos  blancos')", "dos  blancos", "dos blancos", "SHA-256"),
    "tab_for_blank": ("a text", "('con blanco')", "con blanco", "con\\tblanco", "SHA-256"),
    "line_end": ("a text", "(E'linea\\notra')", "linea\\notra", "linea\\r\\notra", "SHA-256"),
    "letter_case": ("a text", "('Mayor')", "\nMayor\n", "\nmayor\n", "SHA-256"),
    "accent": ("a text", "('piñata')", "piñata", "pinata", "SHA-256"),
    "composed": ("a text", "('caf\u00e9')", "caf\u00e9", "cafe\u0301", "SHA-256"),
    "mojibake": ("a text", "('señal')", "señal", "se\u00c3\u00b1al", "SHA-256"),
    "time_zone": ("a timestamptz", "('2024-07-01 12:00+00')", "2024-07-01 12:00:00+00", "2024-07-01 12:00:00-05", "SHA-256"),
    "zone_lost": ("a timestamp", "('2024-07-02 12:00')", "2024-07-02 12:00:00", "2024-07-02 07:00:00", "SHA-256"),
    "day_and_month": ("a date", "('2024-03-04')", "\n2024-03-04\n", "\n2024-04-03\n", "SHA-256"),
    "for_ever": ("a date", "('infinity')", "\ninfinity\n", "\n9999-12-31\n", "SHA-256"),
    "yes_or_no": ("a boolean, b int", "(true, 71)", "\nt\t71\n", "\nf\t71\n", "SHA-256"),
    "octets": ("a bytea", "('\\xdeadbeef')", "deadbeef", "deadbeee", "SHA-256"),
    "json_null": ("a jsonb", "('{\"k\": null}')", '{"k": null}', "{}", "SHA-256"),
    "array_element": ("a int[]", "('{81,NULL}')", "{81,NULL}", "{81}", "SHA-256"),
    "span": ("a interval", "('1 mon')", "\n1 mon\n", "\n30 days\n", "SHA-256"),
    "amount": ("a money", "('91.25')", "$91.25", "$91.52", "SHA-256"),
    "backslash": ("a text", "(E'c:\\\\t')", "c:\\\\t", "c:\\t", "SHA-256"),
}  # fmt: skip


@pytest.fixture(scope="module")
def spoiled(
    server: Server, drill_of: DrillOf, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Record, Record]]:
    """The record of the archive in which all of them are, and that of the sound one."""
    execute(server.conninfo(), "CREATE DATABASE filas")
    dsn = psycopg.conninfo.make_conninfo(server.conninfo("filas"), client_encoding="UTF8")
    for table, (columns, rows, *_) in CASES.items():
        execute(dsn, f"CREATE TABLE {table} ({columns})", f"INSERT INTO {table} VALUES {rows}")
    path = make_backup(dsn, tmp_path_factory.mktemp("rows")).path
    assert path
    sound = drill_of(path)
    rewrite(path, together({table: in_table(table, swap(old, new)) for table, (_, _, old, new, _) in CASES.items()}))
    reseal(path)
    yield drill_of(path), sound
    execute(server.conninfo(), "DROP DATABASE filas WITH (FORCE)")


def in_table(table: str, alter: Alter) -> Alter:
    """Alter the rows of one table alone."""

    def altered(text: bytes) -> bytes:
        start = text.index(f"COPY public.{table} (".encode())
        end = text.index(b"\n\\.\n", start) + 1
        return text[:start] + alter(text[start:end]) + text[end:]

    return altered


@pytest.mark.parametrize("table", CASES)
def test_a_row_or_value_that_is_not_what_it_was_is_named(spoiled: tuple[Record, Record], table: str) -> None:
    record, _ = spoiled
    assert record.verdict == "failed"
    said = [f for f in record.findings if f.object == f"public.{table}" and f.status == "fault" and f.hint]
    assert any(CASES[table][4] in f.actual for f in said), told(record)


def test_the_rows_they_were_made_from_are_verified(spoiled: tuple[Record, Record]) -> None:
    _, sound = spoiled
    assert sound.verdict == "verified", told(sound)
    assert {table.content for table in sound.tables} == {"identical"}


def test_rows_that_a_restore_alters_are_named_by_key_and_column_and_never_shown(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """Of 30 rows altered, 20 are named by the digest of their key, with the total and the column."""
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (id int PRIMARY KEY, nota text, otra text)", "CREATE TABLE sin_llave (a text)")
    execute(dsn, "INSERT INTO t SELECT i, 'secreto ' || i, 'x' FROM generate_series(1, 100) i")
    execute(dsn, "INSERT INTO sin_llave SELECT 'secreto ' || i FROM generate_series(1, 9) i")
    execute(dsn, "CREATE INDEX por_nota ON t (nota)")
    path = make_backup(dsn, tmp_path).path
    assert path
    update = (
        "UPDATE public.t SET nota = 'otro' WHERE id <= 30;\n"
        "UPDATE public.sin_llave SET a = 'otro' WHERE a = 'secreto 4';\n"
    )
    rewrite(path, swap("CREATE INDEX por_nota", update + "CREATE INDEX por_nota"))
    reseal(path, lying=True)
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    found = {f.object: f.actual for f in record.findings if f.check == "content" and f.status == "fault"}
    assert (
        "30 archived rows not restored, 30 rows nobody archived; columns that differ: nota in 30" in found["public.t"]
    )
    assert found["public.t"].count("(id: md5 ") == 20, found
    assert "archived row 4 (md5 " in found["public.sin_llave"], found
    assert "secreto" not in str(found)


# Section 3b: the traps of others


def test_a_second_drill_does_not_take_the_first_ones_result_for_its_measure(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """Trap 1: a baseline that each run renews lets faults in by and by; here every run has the manifest alone."""
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)")
    path = make_backup(dsn, tmp_path).path
    assert path
    assert drill_of(path).verdict == "verified"
    before = path.with_name(path.name + SUFFIX).read_bytes()
    rewrite(path, swap("\n2\n", "\n"))
    reseal(path, lying=True)
    assert [drill_of(path).verdict for _ in range(2)] == ["failed", "failed"]
    assert (
        parse_manifest(before).row_counts == parse_manifest(path.with_name(path.name + SUFFIX).read_bytes()).row_counts
    )


def test_tables_outside_of_public_are_counted_in_the_snapshot_and_without_rows_have_no_digest_to_pass(
    server: Server, fresh_database: Callable[..., str], tmp_path: Path, drilled: Callable[[Path], Drill]
) -> None:
    """Traps 3, 6 and 7: another schema's rows are compared; an empty table's digest is that of no bytes, not of nothing."""
    dsn = fresh_database(server)
    execute(dsn, 'CREATE SCHEMA "Otro"; CREATE TABLE "Otro".t (a json, b xml); CREATE TABLE "Otro".vacia (a int)')
    execute(dsn, """INSERT INTO "Otro".t VALUES ('{"a": 1}', NULL)""")
    path = make_backup(dsn, tmp_path).path
    assert path
    drill = drilled(path)
    compared = {f.object: f for judged in drill.judge_all() for f in judged.findings if f.check == "content"}
    assert compared["Otro.t"].status == compared["Otro.vacia"].status == "match"
    assert "e3b0c44298fc1c14" in compared["Otro.vacia"].actual  # SHA-256 of nothing, beside the rows: 0
    assert "e3b0c44298fc1c14" not in compared["Otro.t"].actual  # json and xml have no hash function; their text has
    with connect(dsn) as conn:
        assert row_counts(conn) == {"Otro.t": 1, "Otro.vacia": 0}


def test_a_table_that_the_servers_did_not_sum_up_is_said_to_be_unproved(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    execute(dsn, "CREATE TABLE t (a int)", "CREATE TABLE u (a int)", "INSERT INTO t VALUES (1)", "SELECT lo_create(7)")
    path = make_backup(dsn, tmp_path).path
    assert path
    manifest_path = path.with_name(path.name + SUFFIX)
    manifest = parse_manifest(manifest_path.read_bytes())
    assert manifest.row_sums
    assert not [f for f in drill_of(path).findings if f.status == "note"]
    sums = replace(manifest.row_sums, sums={"public.u": manifest.row_sums.sums["public.u"]}, large_objects=None)
    manifest_path.write_bytes(render_manifest(replace(manifest, row_sums=sums)))
    said = {f.check: f.why for f in drill_of(path).findings if f.status == "note"}
    assert said.keys() == {"content", "large-objects"}
    assert "public.t:" in said["content"]
    assert "public.u" not in said["content"]
