"""What an archive brings that acts by itself, and must be seen where it spoils the restore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from drilling import DrillOf, execute, told

from backup_lib.backup import make_backup
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres


def test_an_event_trigger_that_refuses_to_fill_a_view_is_a_fault(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE MATERIALIZED VIEW vista AS SELECT 1 AS a",
        "CREATE FUNCTION prohibe() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'",
        "CREATE EVENT TRIGGER prohibe ON ddl_command_start EXECUTE FUNCTION prohibe()",
    )
    path = make_backup(dsn, tmp_path).path
    assert path
    record = drill_of(path)
    assert record.verdict == "failed", told(record)
    assert {(f.check, f.object) for f in record.findings if f.status == "fault"} == {
        ("restore", "MATERIALIZED VIEW DATA public.vista")
    }


def test_a_database_setting_under_which_arrays_lose_their_nulls_is_a_fault(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """pg_dump pins many settings, array_nulls not; only an archive that makes its database brings it before the rows."""
    dsn = fresh_database(server, name="sin_nulos")
    execute(
        dsn,
        "CREATE TABLE t (a text[]); INSERT INTO t VALUES (ARRAY['x', NULL])",
        "ALTER DATABASE sin_nulos SET array_nulls = off",
    )
    for create, verdict in ((False, "verified"), (True, "failed")):
        path = make_backup(dsn, tmp_path / str(create), create=create).path
        assert path
        record = drill_of(path)
        assert record.verdict == verdict, told(record)


def test_a_table_that_cannot_be_compared_keeps_no_other_from_it(
    server: Server, fresh_database: Callable[..., str], drill_of: DrillOf, tmp_path: Path
) -> None:
    """Both tables come back with another order of columns; the type of one cannot be read again."""
    dsn = fresh_database(server)
    execute(
        dsn,
        "CREATE FUNCTION primero(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS "
        "'BEGIN RETURN current_setting(''session_replication_role'') <> ''replica''; END'",
        "CREATE DOMAIN terco AS int CHECK (primero(VALUE))",
        "CREATE TABLE uno (a terco); CREATE TABLE uno_b (b int) INHERITS (uno); ALTER TABLE uno ADD c int",
        "CREATE TABLE dos (a int); CREATE TABLE dos_b (b int) INHERITS (dos); ALTER TABLE dos ADD c int",
        "INSERT INTO uno_b VALUES (1, 2, 3); INSERT INTO dos_b VALUES (1, 2, 3)",
    )
    path = make_backup(dsn, tmp_path).path
    assert path
    record = drill_of(path)
    bad = [(f.check, f.object, f.status) for f in record.findings if f.status in ("fault", "gap")]
    assert bad == [("content", "public.uno_b", "gap")], told(record)
