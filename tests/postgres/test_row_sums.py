"""The servers' own sums: other values have another sum, other orders of the same rows the same."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from backup_lib.row_sums import Summed, probe, sum_rows
from backup_lib.servers import Server
from backup_lib.source import connect, count_rows, list_tables

FreshDatabase = Callable[..., str]

pytestmark = pytest.mark.postgres

# Type, and pairs of values that must be told apart.
PAIRS = [
    ("smallint", "NULL", "0"),
    ("int", "NULL", "0"),
    ("int", "NULL", "-1263225677"),  # what NULL hashes as
    ("bigint", "NULL", "-1263225677"),
    ("text", "NULL", "'pgdrill: no value'"),
    ("int", "7", "-7"),
    ("bigint", "NULL", "0"),
    ("bigint", "1", "4294967296"),  # whose halves, folded, are the same
    ("bigint", "-1", "4294967295"),
    ("bigint", "9223372036854775807", "-9223372036854775808"),
    ("numeric", "1.0", "1.00"),
    ("numeric", "1", "-1"),
    ("numeric", "NULL", "'NaN'"),
    ("float8", "0.0", "'-0.0'::float8"),
    ("float8", "0.3", "0.30000000000000004"),
    ("float4", "1", "1.0000001"),
    ("text", "NULL", "''"),
    ("text", "'a'", "'a '"),
    ("text", "'='", "''"),
    ("varchar", "NULL", "''"),
    ("varchar(9)", "'a'", "'A'"),
    ("char(3)", "'a'", "NULL"),
    ("char(3)", "'a'", "'b'"),
    ("boolean", "NULL", "false"),
    ("date", "'2024-01-01'", "'infinity'"),
    ("timestamp", "'2024-01-01 00:00:00.000001'", "'2024-01-01'"),
    ("timestamptz", "'2024-01-01 00:00:00+00'", "'2024-01-01 01:11:34.967296+00'"),  # 2^32 microseconds later
    ("timestamptz", "'200000-01-01 00:00:00.000001+00'", "'200000-01-01 00:00:00+00'"),
    ("interval", "'1 day'", "'24 hours'"),
    ("uuid", "NULL", "'00000000-0000-0000-0000-000000000000'"),
    ("bytea", "'\\x'", "NULL"),
    ("bytea", "'\\x00'", "'\\x0000'"),
    ("json", "'{\"a\": 1}'", "'{\"a\":1}'"),
    ("jsonb", "'null'", "NULL"),
    ("jsonb", "'1.0'", "'1.00'"),
    ("int[]", "'{NULL}'", "'{}'"),
    ("int[]", "'[0:0]={1}'", "'{1}'"),
    ("mood", "'ok'", "'sad'"),
    ("price", "1.5", "1.50"),
    ("money", "1.00", "1.01"),
    ("point", "'(0,0)'", "'(0,1)'"),
]


@pytest.mark.parametrize("major", [14, 18], indirect=True)
def test_other_values_have_another_sum(every_server: Server, fresh_database: FreshDatabase) -> None:
    dsn = fresh_database(every_server)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN price AS numeric")
        for number, (type_, one, other) in enumerate(PAIRS):
            for name, value in (("one", one), ("other", other)):
                connection.execute(f"CREATE TABLE {name}_{number} AS SELECT 5 AS a, ({value})::{type_} AS b".encode())
    sums = _by_name(dsn)
    alike = [pair for number, pair in enumerate(PAIRS) if sums[f"one_{number}"] == sums[f"other_{number}"]]
    assert alike == []


def test_a_value_is_bound_to_its_row_and_its_column_and_no_row_to_its_place(
    server: Server, fresh_database: FreshDatabase
) -> None:
    rows = {
        "as_it_was": "(1, 10, 'x', 1.5), (2, 20, 'y', 2.5)",
        "in_another_order": "(2, 20, 'y', 2.5), (1, 10, 'x', 1.5)",
        "swapped_between_rows": "(1, 20, 'x', 1.5), (2, 10, 'y', 2.5)",
        "texts_swapped": "(1, 10, 'y', 1.5), (2, 20, 'x', 2.5)",
        "swapped_between_columns": "(10, 1, 'x', 1.5), (20, 2, 'y', 2.5)",
        "doubled": "(1, 10, 'x', 1.5), (2, 20, 'y', 2.5), (2, 20, 'y', 2.5)",
    }
    dsn = fresh_database(server)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name, values in rows.items():
            connection.execute(f"CREATE TABLE {name} (a int, b int, c text, d numeric)".encode())
            connection.execute(f"INSERT INTO {name} VALUES {values}".encode())
    sums = _by_name(dsn)
    was = sums.pop("as_it_was")
    assert [name for name, summed in sums.items() if summed == was] == ["in_another_order"]
    assert {name: summed.rows for name, summed in sums.items() if summed.rows != 2} == {"doubled": 3}


def test_a_lost_not_null_alters_no_sum(server: Server, fresh_database: FreshDatabase) -> None:
    columns = ("a int", "b bigint", "c text", "d numeric", "e uuid")
    values = "(1, 2, 'x', 1.5, '00000000-0000-0000-0000-000000000001')"
    dsn = fresh_database(server)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE filled ({' NOT NULL, '.join(columns)} NOT NULL)".encode())
        connection.execute(f"CREATE TABLE open ({', '.join(columns)})".encode())
        connection.execute(f"INSERT INTO filled VALUES {values}; INSERT INTO open VALUES {values}".encode())
    sums = _by_name(dsn)
    assert sums["filled"] == sums["open"]


@pytest.mark.parametrize("major", [18], indirect=True)
def test_not_null_that_is_not_valid_may_hide_nulls(every_server: Server, fresh_database: FreshDatabase) -> None:
    dsn = fresh_database(every_server)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (NULL, 'x')")
        connection.execute("ALTER TABLE t ADD CONSTRAINT filled NOT NULL a NOT VALID")
        before = _by_name(dsn)
        connection.execute("ALTER TABLE t DROP CONSTRAINT filled; UPDATE t SET b = 'y'")
        connection.execute("ALTER TABLE t ADD CONSTRAINT filled NOT NULL a NOT VALID")
    assert _by_name(dsn)["t"].total != before["t"].total


@pytest.mark.parametrize("columns", [0, 1, 100, 101, 1600])
def test_any_number_of_columns(columns: int, server: Server, fresh_database: FreshDatabase) -> None:
    names = [f"c{number}" for number in range(columns)]
    dsn = fresh_database(server)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(f'{name} int' for name in names)})".encode())
        connection.execute(f"INSERT INTO t DEFAULT VALUES; INSERT INTO t SELECT {', '.join('1' * columns)}".encode())
        before = _by_name(dsn)["t"]
        assert before.rows == 2
        if columns:
            connection.execute(f"UPDATE t SET {names[-1]} = 2 WHERE {names[-1]} = 1".encode())
            assert _by_name(dsn)["t"].total != before.total


def test_what_is_not_summed_up_is_counted_all_the_same(server: Server, fresh_database: FreshDatabase) -> None:
    dsn = fresh_database(server)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)")
        connection.execute("CREATE MATERIALIZED VIEW m AS SELECT a FROM t")
        # No function of another schema is found in a search_path that is empty.
        connection.execute("CREATE FUNCTION one() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'")
        connection.execute(
            "CREATE FUNCTION same(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN one(); END'"
        )
        connection.execute("CREATE TABLE u (a int); CREATE INDEX ON u (same(a)); INSERT INTO u VALUES (1)")
    with connect(dsn) as connection:
        tables = list_tables(connection)
        sums = sum_rows(connection, tables)
        left = [table for table in tables if table.oid not in sums]
        assert "t" not in {table.name for table in left}
        counts = {oid: summed.rows for oid, summed in sums.items()} | count_rows(connection, left)
        assert {table.name: counts[table.oid] for table in tables} == {"t": 2, "m": 2, "u": 1}
        assert probe(connection) != ""


def _by_name(dsn: str) -> dict[str, Summed]:
    with connect(dsn) as connection:
        tables = list_tables(connection)
        sums = sum_rows(connection, tables)
    return {table.name: sums[table.oid] for table in tables}
