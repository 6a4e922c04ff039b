"""What came back can be written to as the source could; and what was asked leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from drilling import DrillOf, execute, rewrite, told

from backup_lib.backup import make_backup
from backup_lib.catalog import resolve
from backup_lib.inventory import SequenceValue
from backup_lib.servers import Server
from verification.drill import Drill, Plan
from verification.evidence.builder import build_record
from verification.evidence.record import Record
from verification.finding import Finding
from verification.write_probe import probe_writes

pytestmark = pytest.mark.postgres

ServerOf = Callable[[int], Server]
SHOP = """
CREATE TABLE public.venta (id serial PRIMARY KEY, total numeric DEFAULT 7 CHECK (total > 0), hecha timestamptz DEFAULT now());
CREATE TABLE public.pieza (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, venta int REFERENCES public.venta,
    doble int GENERATED ALWAYS AS (venta * 2) STORED);
CREATE TABLE public.clave (clave text PRIMARY KEY);
CREATE TABLE public.vigilada (a int, total int);
CREATE FUNCTION public.suma() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN new.total := 1; RETURN new; END';
CREATE TRIGGER suma BEFORE INSERT ON public.vigilada FOR EACH ROW EXECUTE FUNCTION public.suma();
ALTER TABLE public.vigilada DISABLE TRIGGER suma;
ALTER TABLE public.vigilada ENABLE ROW LEVEL SECURITY;
CREATE POLICY ve ON public.vigilada FOR SELECT USING (a > 0);
INSERT INTO public.venta (total) SELECT i FROM generate_series(1, 20) i;
INSERT INTO public.pieza (venta) SELECT i FROM generate_series(1, 20) i;
INSERT INTO public.clave VALUES ('a'); INSERT INTO public.vigilada VALUES (1, 2);
"""


def of_probe(record: Record) -> list[Finding]:
    return [finding for finding in record.findings if finding.check == "write-probe"]


@pytest.fixture
def backed_up(fresh_database: Callable[..., str], psql: Callable[..., None], tmp_path: Path) -> Callable[..., Path]:
    def backed_up(server: Server, more: str = "") -> Path:
        dsn = fresh_database(server)
        psql(server, dsn, (SHOP + more).encode())
        path = make_backup(dsn, tmp_path, programs=server.programs).path
        assert path
        return path

    return backed_up


@pytest.mark.parametrize("major", [15, 18])
def test_a_healthy_archive_can_be_written_to_and_its_sequences_stand_where_they_stood(
    server_of: ServerOf, backed_up: Callable[..., Path], major: int
) -> None:
    path = backed_up(server_of(major))
    (found,) = resolve([str(path)], path.parent)
    with Drill(found, path, Plan(sandbox="embedded", jobs=2), drill_id="test") as drill:
        judged = {j.check.name: j.findings for j in drill.judge_all()}
        with drill.connect() as connection:
            after = connection.execute("SELECT last_value FROM venta_id_seq").fetchone()
            rows = connection.execute("SELECT count(*) FROM venta").fetchone()
    record = build_record(drill, finished_at=datetime.now(UTC))
    drill.close()
    assert record.verdict == "verified", told(record)
    assert (after, rows) == ((20,), (20,))
    seen = {finding.object: finding.actual for finding in judged["write-probe"]}
    assert {f.status for f in judged["write-probe"]} == {"match"}
    assert seen["public.venta"] == seen["public.pieza"] == seen["public.vigilada"] == "a row inserted"
    assert seen["public.clave"] == "a copy refused by its own rule clave_pkey"
    assert seen["public.pieza.id"] == "the next value of public.pieza_id_seq is free"


def test_a_sequence_that_was_behind_at_the_source_is_the_sources_and_no_fault(
    server: Server, backed_up: Callable[..., Path], drill_of: DrillOf
) -> None:
    path = backed_up(server, "SELECT setval('public.venta_id_seq', 3);")
    record = drill_of(path)
    assert record.verdict == "verified", told(record)
    (note,) = of_probe(record)
    assert (note.object, note.status, note.cause) == ("public.venta.id", "note", "source")
    assert "setval('public.venta_id_seq'" in note.hint


def test_a_sequence_that_the_archive_sets_back_is_a_fault(
    server: Server, backed_up: Callable[..., Path], drill_of: DrillOf
) -> None:
    path = backed_up(server)
    rewrite(path, lambda text: text.replace(b"'public.venta_id_seq', 20,", b"'public.venta_id_seq', 2,"))
    record = drill_of(path)
    assert record.verdict == "failed"
    (fault,) = of_probe(record)
    assert (fault.object, fault.status, fault.cause) == ("public.venta.id", "fault", "archive")


def test_what_stops_a_write_for_other_reasons_than_a_rule_is_said_and_blames_nobody(
    server: Server, fresh_database: Callable[..., str]
) -> None:
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1)",
        "CREATE FUNCTION lenta() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(30); RETURN new; END'",
        "CREATE TABLE lenta (a int); INSERT INTO lenta VALUES (1)",
        "CREATE TRIGGER lenta BEFORE INSERT ON lenta FOR EACH ROW EXECUTE FUNCTION lenta()",
        "CREATE FUNCTION rota() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM no_hay(); RETURN new; END'",
        "CREATE TABLE rota (a int); INSERT INTO rota VALUES (1)",
        "CREATE TRIGGER rota BEFORE INSERT ON rota FOR EACH ROW EXECUTE FUNCTION rota()",
        "CREATE TABLE por_mes (id bigserial, mes date DEFAULT now(), PRIMARY KEY (mes, id)) PARTITION BY RANGE (mes)",
        "CREATE TABLE por_mes_1 PARTITION OF por_mes FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')",
        "INSERT INTO por_mes (mes) VALUES ('2020-01-07')",
        "CREATE TABLE agotada (id smallserial PRIMARY KEY); SELECT setval('agotada_id_seq', 32767)",
        "CREATE TABLE hacia_abajo (id int GENERATED BY DEFAULT AS IDENTITY (INCREMENT -1) PRIMARY KEY)",
        "INSERT INTO hacia_abajo VALUES (DEFAULT), (DEFAULT), (-9)",
    )
    values = [
        SequenceValue(schema="public", name=name, last_value=value, is_called=True)
        for name, value in (("por_mes_id_seq", 1), ("hacia_abajo_id_seq", -2), ("agotada_id_seq", 32767))
    ]
    writing = probe_writes(lambda _: psycopg.connect(dsn, autocommit=True), ["any"], values)
    outcomes = {w.table: w.code or w.rows for w in writing.written}
    assert outcomes == {
        "public.t": 1,
        "public.lenta": "57014",
        "public.rota": "42883",
        "public.por_mes": 1,  # at the second attempt, with its month
        "public.agotada": "2200H",
        "public.hacia_abajo": 1,
    }
    counters = {c.column: (c.behind, c.exhausted, c.is_key) for c in writing.counters}
    assert counters == {
        "public.por_mes.id": (False, False, False),
        "public.agotada.id": (False, True, True),
        "public.hacia_abajo.id": (True, False, True),
    }
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT last_value FROM por_mes_id_seq").fetchone() == (1,)
        assert connection.execute("SELECT last_value FROM hacia_abajo_id_seq").fetchone() == (-2,)
        assert connection.execute("SELECT count(*) FROM por_mes").fetchone() == (1,)
