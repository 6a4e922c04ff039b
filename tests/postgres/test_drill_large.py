"""A database whose rows two pg_dumps share is compared as whole as any other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from drilling import Alter, DrillOf, execute, rewrite, told

from backup_lib.backup import make_backup
from backup_lib.manifest import SUFFIX
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
        pytest.param(lose_table, "schema", "TABLE public.notas", id="a-large-table-lost"),
    ],
)
def test_rows_that_two_pg_dumps_share_are_compared(
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
