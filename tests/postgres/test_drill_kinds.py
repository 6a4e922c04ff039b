"""Archives of one kind: what each must bring back, what it must not hold, and what is said not to be promised."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drilling import DrillOf, PgDump, execute, reseal, rewrite, told

from backup_lib.backup import make_backup, record_manifest
from backup_lib.definitions import unpack_definitions
from backup_lib.manifest import SUFFIX, Manifest, parse_manifest, render_manifest
from backup_lib.servers import Server
from verification.evidence.record import Record

pytestmark = pytest.mark.postgres

ServerOf = Callable[[int], Server]
BOTH = pytest.mark.parametrize("major", [15, 18])
EVERY_OBJECT = Path(__file__).with_name("every_object.sql").read_bytes()
CIRCLE = """
CREATE TYPE public.estado AS ENUM ('abierto', 'cerrado');
CREATE FUNCTION public.iva(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 0.16';
CREATE TABLE public.jefe (id int PRIMARY KEY, equipo int, estado public.estado DEFAULT 'abierto');
CREATE TABLE public.equipo (id serial PRIMARY KEY, jefe int REFERENCES public.jefe, monto numeric,
    iva numeric GENERATED ALWAYS AS (public.iva(monto)) STORED);
ALTER TABLE public.jefe ADD CONSTRAINT jefe_de FOREIGN KEY (equipo) REFERENCES public.equipo;
COMMENT ON CONSTRAINT jefe_de ON public.jefe IS 'en círculo';
CREATE INDEX ON public.equipo (monto);
BEGIN; ALTER TABLE public.jefe DISABLE TRIGGER ALL;
INSERT INTO public.jefe SELECT i, i FROM generate_series(1, 40) i;
INSERT INTO public.equipo (jefe, monto) SELECT i, i FROM generate_series(1, 40) i;
ALTER TABLE public.jefe ENABLE TRIGGER ALL; COMMIT;
CREATE FOREIGN DATA WRAPPER lejos; CREATE SERVER otro FOREIGN DATA WRAPPER lejos;
CREATE USER MAPPING FOR CURRENT_USER SERVER otro OPTIONS (password 'muy-secreto');
SELECT lo_from_bytea(0, 'un objeto grande');
CREATE MATERIALIZED VIEW public.resumen AS SELECT count(*) FROM public.equipo;
"""


def faults(record: Record) -> dict[str, str]:
    return {f.object: f.check for f in record.findings if f.status == "fault"}


def archive_of(dsn: str, folder: Path, server: Server, **wanted: Any) -> tuple[Path, Manifest]:
    result = make_backup(dsn, folder, programs=server.programs, **wanted)
    assert result.path
    return result.path, result.manifest


@pytest.fixture
def circle(fresh_database: Callable[..., str], psql: Callable[..., None]) -> Callable[[Server], str]:
    def circle(server: Server) -> str:
        dsn = fresh_database(server)
        psql(server, dsn, CIRCLE.encode())
        return dsn

    return circle


@pytest.mark.parametrize(("major", "form"), [(15, "custom"), (18, "plain")])
def test_rows_alone_are_restored_into_the_manifests_tables_though_their_keys_go_in_a_circle(
    server_of: ServerOf, circle: Callable[[Server], str], drill_of: DrillOf, tmp_path: Path, major: int, form: str
) -> None:
    server = server_of(major)
    path, manifest = archive_of(circle(server), tmp_path, server, kind="data", format=form)
    record = drill_of(path)
    assert record.verdict == "verified", told(record)
    assert {t.rows_restored for t in record.tables} == {40}
    assert any("holds rows only" in sentence for sentence in record.not_proved)
    by_name = {check.name: check for check in record.checks}
    assert by_name["sequences"].compared == by_name["large-objects"].compared == 1
    assert manifest.definitions
    text = unpack_definitions(manifest.definitions)
    assert b"jefe_de" in text
    assert b"USER MAPPING" not in text
    assert b"muy-secreto" not in text


@pytest.mark.parametrize("major", [14, 17])
def test_rows_alone_of_every_kind_of_object_are_verified(
    server_of: ServerOf, fresh_database: Callable[..., str], psql: Callable[..., None], drill_of: DrillOf,
    tmp_path: Path, major: int,
) -> None:  # fmt: skip
    server = server_of(major)
    dsn = fresh_database(server)
    psql(server, dsn, EVERY_OBJECT)
    path, _ = archive_of(dsn, tmp_path, server, kind="data")
    record = drill_of(path)
    assert record.verdict == "verified", told(record)


def test_rows_of_some_tables_leave_out_the_keys_to_the_others_and_say_so(
    server: Server, circle: Callable[[Server], str], drill_of: DrillOf, tmp_path: Path
) -> None:
    path, _ = archive_of(circle(server), tmp_path, server, kind="data", tables=["jefe"])
    record = drill_of(path)
    assert record.verdict == "verified", told(record)
    assert any("jefe_de" in sentence for sentence in record.not_proved), record.not_proved


def test_rows_that_break_a_key_of_their_tables_are_a_fault(
    server: Server, circle: Callable[[Server], str], drill_of: DrillOf, tmp_path: Path
) -> None:
    path, _ = archive_of(circle(server), tmp_path, server, kind="data")
    rewrite(path, lambda text: text.replace(b"\n7\t7\tabierto\n", b"\n"))
    record = drill_of(path)
    assert record.verdict == "failed"
    assert faults(record)["public.jefe"] in ("row-count", "content")
    assert faults(record)["FK CONSTRAINT public.equipo equipo_jefe_fkey"] == "restore"


def test_rows_of_somebody_elses_dump_need_a_manifest_and_are_proved_with_one(
    server: Server, circle: Callable[[Server], str], pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path
) -> None:
    dsn = circle(server)
    path = pg_dump(server, dsn, tmp_path / "rows.sql", "--data-only")
    alone = drill_of(path)
    assert alone.verdict == "could_not_verify", told(alone)
    assert not faults(alone)
    assert any("pgdrill manifest --kind data" in finding.hint for finding in alone.findings)
    (tmp_path / f"rows.sql{SUFFIX}").write_bytes(render_manifest(record_manifest(dsn, kind="data")))
    record = drill_of(path)
    assert record.verdict == "verified", told(record)


def test_definitions_that_somebody_altered_are_not_used(
    server: Server, circle: Callable[[Server], str], drill_of: DrillOf, tmp_path: Path
) -> None:
    path, manifest = archive_of(circle(server), tmp_path, server, kind="data")
    assert manifest.definitions
    other = replace(manifest.definitions, gzip=gzip.compress(b"CREATE TABLE public.jefe (id int)"))
    path.with_name(path.name + SUFFIX).write_bytes(render_manifest(replace(manifest, definitions=other)))
    record = drill_of(path, level="integrity")
    assert record.verdict == "failed", told(record)
    assert any("definitions are not those" in f.actual for f in record.findings)


@BOTH
def test_an_archive_that_holds_what_its_kind_must_not_is_a_fault_by_name(
    server_of: ServerOf, circle: Callable[[Server], str], pg_dump: PgDump, drill_of: DrillOf, tmp_path: Path, major: int
) -> None:
    server = server_of(major)
    dsn = circle(server)
    whole = pg_dump(server, dsn, tmp_path / "whole.sql").read_bytes()
    for kind, subjects in (("schema", {"public.jefe", "public.equipo_id_seq", "large objects"}),
                           ("data", {"TABLE public.jefe", "INDEX public.equipo_monto_idx"})):  # fmt: skip
        path, manifest = archive_of(dsn, tmp_path, server, kind=kind, compression="none")
        path.write_bytes(whole)
        record = drill_of(path, level="integrity")
        assert record.verdict == "failed", told(record)
        found = {f.object for f in record.findings if f.status == "fault" and f.check == "completeness"}
        assert subjects <= found, (kind, told(record))
        assert parse_manifest(path.with_name(path.name + SUFFIX).read_bytes()) == manifest


@pytest.mark.parametrize(
    ("major", "wanted", "left_out"),
    [
        pytest.param(15, {"tables": ["jefe"]}, "jefe_de", id="table-15"),
        pytest.param(18, {"tables": ["equipo"], "format": "custom"}, "equipo_jefe_fkey", id="table-18"),
        pytest.param(18, {"exclude_tables": ["jefe"]}, "equipo_jefe_fkey", id="exclude-18"),
        pytest.param(18, {"tables": ["jefe"], "kind": "schema"}, "jefe_de", id="schema-18"),
    ],
)
def test_a_part_stands_on_what_the_manifest_defines_and_the_record_says_on_what(
    server_of: ServerOf, circle: Callable[[Server], str], drill_of: DrillOf, tmp_path: Path,
    major: int, wanted: dict[str, Any], left_out: str,
) -> None:  # fmt: skip
    server = server_of(major)
    dsn = circle(server)
    execute(
        dsn,
        "CREATE VIEW public.equipos AS SELECT e.*, j.estado FROM public.equipo e JOIN public.jefe j ON j.id = e.jefe",
    )
    path, manifest = archive_of(dsn, tmp_path, server, **wanted)
    record = drill_of(path)
    assert record.verdict == "verified", told(record)
    said = "\n".join(record.not_proved)
    assert f"{left_out}: the tables referred to" in said
    if "exclude_tables" in wanted:
        assert "TABLE public.jefe" in said
    elif wanted["tables"] == ["jefe"]:
        assert "TYPE public.estado" in said
    else:
        assert "FUNCTION public.iva(numeric)" in said
    if wanted.get("kind") != "schema":
        assert "table public.jefe" in manifest.catalog or "table public.equipo" in manifest.catalog
        assert not any("jefe_de" in identity or "equipo_jefe_fkey" in identity for identity in manifest.catalog)


@BOTH
def test_a_table_that_lost_what_belongs_to_it_is_caught_though_the_manifest_agrees(
    server_of: ServerOf, circle: Callable[[Server], str], drill_of: DrillOf, tmp_path: Path, major: int
) -> None:
    server = server_of(major)
    path, _ = archive_of(circle(server), tmp_path, server, tables=["equipo"])
    whose = "equipo_monto_idx; Type: INDEX|equipo equipo_pkey; Type: CONSTRAINT|equipo id; Type: DEFAULT"
    entries = rf"-- Name: (?:{whose});[^\n]*\n--\n\n[^;]*;\n".encode()
    rewrite(path, lambda text: re.sub(entries, b"", text))
    reseal(path, lying=True)
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    found = faults(record)
    assert found["index public.equipo_monto_idx"] == "catalog"
    assert found["table constraint equipo_pkey on public.equipo"] == "catalog"
    assert found["table public.equipo"] == "catalog", "its column lost its default"
