"""A database whose large tables are read in shares, or summed up by the server, is compared as whole as any other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from drilling import Alter, DrillOf, execute, rewrite, told

from backup_lib.backup import make_backup
from backup_lib.manifest import SUFFIX, parse_manifest, render_manifest
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres

# 33 MiB of rows in each of two tables whose names want quotes, a small one, and a partitioned one.
LARGE = """
CREATE SCHEMA "Año 26";
CREATE TABLE "Año 26"."Ven.tas" (id int PRIMARY KEY, texto text);
CREATE TABLE notas (id serial PRIMARY KEY, texto text);
CREATE TABLE poco (id int);
CREATE TABLE mes (id int) PARTITION BY RANGE (id);
CREATE TABLE enero PARTITION OF mes FOR VALUES FROM (0) TO (10);
INSERT INTO "Año 26"."Ven.tas" SELECT i, repeat(md5(i::text), 32768) FROM generate_series(1, 33) i;
INSERT INTO notas (texto) SELECT repeat(md5((-i)::text), 32768) FROM generate_series(1, 33) i;
INSERT INTO poco VALUES (1); INSERT INTO mes VALUES (1);
"""


def lose_table(text: bytes) -> bytes:
    start = text.index(b"--\n-- Name: notas; Type: TABLE;")
    return text[:start] + text[text.index(b"--\n-- Name: notas_id_seq; Type: SEQUENCE;") :]


def alter_on_the_way(text: bytes) -> bytes:
    """The archive's rows stay as promised; what the server stores are others."""
    start = text.index(b"COPY public.notas ")
    return (
        text[:start]
        + b"CREATE FUNCTION public.other() RETURNS trigger LANGUAGE plpgsql AS "
        + b"'BEGIN IF NEW.id = 7 THEN NEW.texto := NEW.texto || ''x''; END IF; RETURN NEW; END';\n"
        + b"CREATE TRIGGER other BEFORE INSERT ON public.notas FOR EACH ROW EXECUTE FUNCTION public.other();\n"
        + text[start:]
    )


@pytest.fixture(scope="module")
def archive(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    execute(server.conninfo(), "CREATE DATABASE grande")
    execute(server.conninfo("grande"), LARGE)
    path = make_backup(server.conninfo("grande"), tmp_path_factory.mktemp("large")).path
    execute(server.conninfo(), "DROP DATABASE grande")
    assert path is not None
    return path


@pytest.mark.parametrize(
    ("damage", "check", "subject"),
    [
        pytest.param(None, "", "", id="sound"),
        pytest.param(
            lambda text: text.replace(b"\n7\t8f14e45f", b"\n7\t8f14e45e"),
            "content",
            "Año 26.Ven.tas",
            id="a-digit-altered",
        ),
        pytest.param(alter_on_the_way, "content", "public.notas", id="a-row-altered-by-the-restore"),
        pytest.param(lose_table, "schema", "TABLE public.notas", id="a-large-table-lost"),
    ],
)
def test_large_tables_are_compared(
    archive: Path, drill_of: DrillOf, tmp_path: Path, damage: Alter | None, check: str, subject: str
) -> None:
    path = Path(shutil.copy(archive, tmp_path))
    shutil.copy(archive.with_name(archive.name + SUFFIX), tmp_path)
    if damage is not None:
        rewrite(path, damage)
    record = drill_of(path)
    assert record.verdict == ("failed" if damage else "verified"), told(record)
    if damage:
        assert (check, subject) in {(f.check, f.object) for f in record.findings if f.status == "fault"}, told(record)
    else:
        assert {table.table: table.content for table in record.tables} == {
            "Año 26.Ven.tas": "identical", "public.notas": "identical", "public.poco": "identical",
            "public.enero": "identical",
        }  # fmt: skip
        # A point in a name: another table may have the same label, by which sums go.
        assert {table.table for table in record.tables if table.by_sums} == {"public.notas"}


def test_without_the_sources_sums_the_rows_are_read_again(archive: Path, drill_of: DrillOf, tmp_path: Path) -> None:
    path = Path(shutil.copy(archive, tmp_path))
    manifest = parse_manifest(archive.with_name(archive.name + SUFFIX).read_bytes(), name="m")
    path.with_name(path.name + SUFFIX).write_bytes(render_manifest(replace(manifest, row_sums=None)))
    for alter, verdict in ((None, "verified"), (alter_on_the_way, "failed")):
        if alter is not None:
            rewrite(path, alter)
        record = drill_of(path)
        assert record.verdict == verdict, told(record)
    assert ("content", "public.notas") in {(f.check, f.object) for f in record.findings}, told(record)


def test_names_that_pg_dump_takes_in_another_encoding(server: Server, drill_of: DrillOf, tmp_path: Path) -> None:
    make = "CREATE DATABASE grande_latin1 TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'"
    execute(server.conninfo(), make)
    execute(server.conninfo("grande_latin1"), LARGE.replace("notas", "años"))
    found = make_backup(server.conninfo("grande_latin1"), tmp_path, independent_content=False)
    execute(server.conninfo(), "DROP DATABASE grande_latin1")
    assert found.path is not None
    record = drill_of(found.path)
    assert record.verdict == "verified", told(record)
