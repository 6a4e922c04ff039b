"""What the configuration adds to a drill: queries of one's own, what somebody answers for, images and objectives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from drilling import DrillOf, execute, rewrite, told

from backup_lib.backup import make_backup
from backup_lib.servers import Server
from backup_lib.settings import SqlCheck, Suppression
from verification.evidence.record import CheckRecord, Record
from verification.finding import Finding
from verification.report.html import render_html
from verification.report.markdown import render_markdown

pytestmark = pytest.mark.postgres

PERSON = "Ana Restrepo"
SCHEMA = (
    "CREATE TABLE cliente (id int PRIMARY KEY, nombre text, saldo numeric, desde date, activo boolean)",
    f"INSERT INTO cliente SELECT i, '{PERSON}', i * 1.5, '2026-01-01', true FROM generate_series(1, 20) i",
    "CREATE INDEX cliente_nombre ON cliente (nombre)",
    "CREATE FUNCTION escribe() RETURNS int LANGUAGE sql AS 'INSERT INTO cliente VALUES (99) RETURNING id'",
    "CREATE FUNCTION grita() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE 'Ana Restrepo'; END$$",
)
TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def archive(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    execute(server.conninfo(), "CREATE DATABASE configurada")
    execute(server.conninfo("configurada"), *SCHEMA)
    result = make_backup(server.conninfo("configurada"), tmp_path_factory.mktemp("configured"))
    execute(server.conninfo(), "DROP DATABASE configurada")
    assert result.path is not None
    return result.path


def sql(name: str, query: str, **expected: Any) -> SqlCheck:
    return SqlCheck(name=name, sql=query, **expected)


# Queries: name, query, expectation, then how it ends and what is said to be found

ANSWERS = [
    pytest.param(sql("count", "SELECT count(*) FROM cliente", equals=Decimal(20)), "passed", "", id="count"),
    pytest.param(sql("sum", "SELECT sum(saldo) FROM cliente;", equals=Decimal("315.0")), "passed", "", id="decimal"),
    pytest.param(sql("float", "SELECT 0.1::float8", equals=Decimal("0.1")), "passed", "", id="float"),
    pytest.param(sql("name", "SELECT nombre FROM cliente WHERE id = 1 -- one", equals=PERSON), "passed", "", id="text"),
    pytest.param(sql("day", "SELECT max(desde) FROM cliente", equals="2026-01-01"), "passed", "", id="date-as-text"),
    pytest.param(sql("truth", "SELECT bool_and(activo) FROM cliente", equals=True), "passed", "", id="truth"),
    pytest.param(sql("between", "SELECT 5", at_least=Decimal(5), at_most=Decimal(5)), "passed", "", id="bounds"),
    pytest.param(sql("none", "SELECT FROM cliente WHERE nombre LIKE '%x%'", rows=0), "passed", "", id="no-rows"),
    pytest.param(sql("some", "TABLE cliente", rows=20), "passed", "", id="rows"),
    pytest.param(sql("with", "WITH a AS (SELECT 1 AS n) SELECT n FROM a", equals=Decimal(1)), "passed", "", id="with"),
    pytest.param(sql("less", "SELECT count(*) FROM cliente", at_least=Decimal(21)), "failed", "20", id="too-few"),
    pytest.param(sql("more", "SELECT max(saldo) FROM cliente", at_most=Decimal("29.9")), "failed", "30.0", id="too-many"),
    pytest.param(sql("orphans", "SELECT * FROM cliente WHERE id > 17", rows=0), "failed", "3 rows", id="rows-found"),
    pytest.param(sql("other", "SELECT nombre FROM cliente WHERE id = 1", equals="Eva"), "failed", "a text of 12 characters", id="other-text"),
    pytest.param(sql("text", "SELECT nombre FROM cliente WHERE id = 1", at_least=Decimal(1)), "failed", "a value of type text", id="no-number"),
    pytest.param(sql("null", "SELECT max(saldo) FROM cliente WHERE id > 99", at_most=Decimal(1)), "failed", "NULL", id="null"),
    pytest.param(sql("nan", "SELECT 'NaN'::numeric", at_least=Decimal(1)), "failed", "NaN", id="not-finite"),
    pytest.param(sql("empty", "SELECT saldo FROM cliente WHERE id > 99", equals=Decimal(0)), "failed", "no row", id="no-row"),
    pytest.param(sql("many", "SELECT saldo FROM cliente", equals=Decimal(0)), "failed", "more than one row", id="many-rows"),
    pytest.param(sql("wide", "SELECT 1 AS a, 2 AS b", equals=Decimal(1)), "failed", "2 columns", id="wide"),
    pytest.param(sql("false", "SELECT NOT activo FROM cliente WHERE id = 1", equals=True), "failed", "false", id="untrue"),
    pytest.param(sql("typo", "SELECT count(*) FROM clientes", equals=Decimal(20)), "failed", 'relation "clientes" does not exist (42P01)', id="no-such-table"),
    pytest.param(sql("syntax", "SELEC 1", equals=Decimal(1)), "failed", "syntax error at or near", id="syntax"),
    pytest.param(sql("zero", "SELECT 1 / 0", equals=Decimal(1)), "failed", "division by zero (22012)", id="division"),
    pytest.param(sql("cast", "SELECT nombre::int FROM cliente WHERE id = 1", equals=Decimal(1)), "failed", "(22P02)", id="cast"),
    pytest.param(sql("raise", "SELECT grita()", equals=Decimal(1)), "failed", "(P0001)", id="raise"),
    pytest.param(sql("write", "SELECT escribe()", equals=Decimal(99)), "failed", "read-only transaction (25006)", id="writes"),
    pytest.param(sql("two", "SELECT 1) AS a; DROP TABLE cliente; SELECT (1", equals=Decimal(1)), "failed", "(42601)", id="two-statements"),
    pytest.param(sql("slow", "SELECT pg_sleep(9)", rows=1), "could_not_verify", "no answer in time", id="slow"),
    pytest.param(sql("elsewhere", "SELECT 1", equals=Decimal(1), database="otra"), "not_run", "", id="another-database"),
]  # fmt: skip


@pytest.fixture(scope="module")
def asked(archive: Path, drill_of: DrillOf) -> Record:
    """One drill with all of the queries."""
    return drill_of(archive, sql_checks=tuple(case.values[0] for case in ANSWERS), check_timeout_s=1.0)  # type: ignore[arg-type]


def check_of(record: Record, name: str) -> CheckRecord:
    return next(check for check in record.checks if check.name == name)


def findings_of(record: Record, check: str) -> list[Finding]:
    return [finding for finding in record.findings if finding.check == check]


@pytest.mark.parametrize(("check", "status", "actual"), ANSWERS)
def test_a_query_ends_as_what_it_found(asked: Record, check: SqlCheck, status: str, actual: str) -> None:
    name = f"sql:{check.name}"
    assert check_of(asked, name).status == status, findings_of(asked, name)
    found = findings_of(asked, name)
    if status == "passed":
        assert not found
        assert check_of(asked, name).compared == 1
        return
    (finding,) = found
    assert actual in finding.actual, finding
    assert finding.status == {"failed": "fault", "could_not_verify": "gap", "not_run": "note"}[status]
    if status == "failed":
        assert finding.cause == ("policy" if "(" in finding.actual else "archive")


def test_queries_change_nothing_and_no_value_gets_out(asked: Record) -> None:
    assert asked.verdict == "failed"
    assert check_of(asked, "content").status == "passed", told(asked)
    for view in (render_html(asked), render_markdown(asked), repr(asked)):
        assert PERSON not in view
        assert "Restrepo" not in view


def test_a_query_that_is_not_asked_is_not_green(archive: Path, drill_of: DrillOf) -> None:
    check = sql("count", "SELECT count(*) FROM cliente", equals=Decimal(20))
    part = drill_of(archive, sql_checks=(check,), expect=("public.cliente",), level="restore")
    assert check_of(part, "sql:count").status == "not_run"
    assert "a part of a database" in findings_of(part, "sql:count")[0].why


# What somebody answers for


def answered(check: str, subject: str, *, expires: date = TODAY) -> Suppression:
    return Suppression(check=check, object=subject, reason="known since the move", owner="ana", expires=expires)


@pytest.fixture(scope="module")
def spoiled(archive: Path) -> Path:
    """The archive without its index, and with a row altered."""
    folder = archive.parent / "spoiled"
    folder.mkdir()
    for file in archive.parent.glob(f"{archive.name}*"):
        (folder / file.name).write_bytes(file.read_bytes())
    index = b"CREATE INDEX cliente_nombre ON public.cliente USING btree (nombre);\n"
    rewrite(folder / archive.name, lambda text: text.replace(index, b"").replace(b"\n7\tAna", b"\n7\tEva"))
    return folder / archive.name


COVERING = (
    answered("integrity", "*"),
    answered("schema", "INDEX public.cliente_*"),
    answered("catalog", "index public.cliente_nombre"),
    answered("content", "public.cliente", expires=TODAY + timedelta(days=9)),
)


@pytest.fixture(scope="module")
def covered(spoiled: Path, drill_of: DrillOf) -> Record:
    return drill_of(spoiled, suppressions=(*COVERING, answered("schema", "TABLE nothing")))


def test_what_somebody_answers_for_is_said_and_fails_nothing(covered: Record) -> None:
    assert covered.verdict == "verified", told(covered)
    assert {check.status for check in covered.checks} == {"passed", "suppressed"}
    bad = [finding for finding in covered.findings if finding.status == "suppressed"]
    assert len(bad) >= 4
    assert covered.summary.endswith(
        f" {len(bad)} findings are suppressed by the configuration, the first until {TODAY}."
    )
    for finding in bad:
        assert finding.suppressed is not None
        assert (finding.suppressed.was, finding.suppressed.owner) == ("fault", "ana")
    for view in (render_html(covered), render_markdown(covered)):
        assert f"ana, until {TODAY}: known since the move" in view.replace("\\", "")


def test_an_entry_that_covers_nothing_is_noted(covered: Record) -> None:
    (note,) = findings_of(covered, "suppressions")
    assert (note.status, note.object) == ("note", "schema: TABLE nothing")


def test_what_nobody_answers_for_fails_beside_what_somebody_does(spoiled: Path, drill_of: DrillOf) -> None:
    record = drill_of(spoiled, suppressions=COVERING[:3])
    assert record.verdict == "failed"
    assert {finding.check for finding in record.findings if finding.status == "fault"} == {"content"}, told(record)
    assert "suppressed by the configuration" in record.summary


def test_an_entry_that_has_expired_covers_nothing_and_is_a_fault_itself(archive: Path, drill_of: DrillOf) -> None:
    yesterday = TODAY - timedelta(days=1)
    record = drill_of(
        archive, level="restore", suppressions=(answered("content", "public.nothing", expires=yesterday),)
    )
    assert record.verdict == "failed"
    (fault,) = [finding for finding in record.findings if finding.status == "fault"]
    assert (fault.check, fault.cause, fault.object) == ("suppressions", "policy", "content: public.nothing")
    assert f"mended by {yesterday}" in fault.expected


def test_nobody_can_answer_for_what_was_not_looked_at(
    archive: Path, drill_of: DrillOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{archive.parent}/no-engine.sock")
    names = ["integrity", "completeness", "restore", "row-count", "schema", "content", "sequences", "large-objects", "environment", "catalog"]  # fmt: skip
    record = drill_of(archive, sandbox="container", suppressions=tuple(answered(name, "*") for name in names))
    assert record.verdict == "could_not_verify", told(record)


# The suite


CONFIGURED = """
[backup]
dir = "{folder}"
[verify]
sandbox = "embedded"
level = "restore"
rto = "10m"
reports = "evidence"
[databases.shop]
dbname = "configurada"
rto = "1 h"
rpo = "1s"
[[checks]]
name = "twenty customers"
sql = "SELECT count(*) FROM cliente"
equals = 20
database = "shop"
[[checks]]
name = "no debts"
sql = "SELECT FROM cliente WHERE saldo > 28"
rows = 0
"""


def suite(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "BACKUP_", "PGDRILL_CONFIG"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--pyargs", "verification", *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=300, env={**env, "PYTHONPATH": str(Path(__file__).parents[2])}, check=False,
    )  # fmt: skip


def test_each_query_is_a_test_and_a_databases_own_objectives_count(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "pgdrill.toml").write_text(CONFIGURED.format(folder=archive.parent))
    run = suite(tmp_path, "-v")
    assert run.returncode == 1, run.stdout + run.stderr
    assert "test_sql_check[latest-twenty customers] PASSED" in run.stdout
    assert "test_sql_check[latest-no debts] FAILED" in run.stdout
    assert "FAULT (archive) database\n  expected: 0 rows\n  found:    2 rows" in run.stdout
    assert "level restore, sandbox embedded, as pgdrill.toml says" in run.stdout
    record = json.loads((tmp_path / "evidence/latest/record.json").read_text())
    assert record["rto"]["objective_s"] == 3600
    assert record["rpo"] == {"objective_s": 1.0, "measured_s": record["rpo"]["measured_s"], "met": False}


def test_a_configuration_with_a_mistake_drills_nothing(tmp_path: Path) -> None:
    (tmp_path / "pgdrill.toml").write_text("[verify]\nlevl = 'full'")
    run = suite(tmp_path)
    assert run.returncode == 4
    assert "pgdrill.toml:2: verify.levl is no setting; did you mean level?" in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
