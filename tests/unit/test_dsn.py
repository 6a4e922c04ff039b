"""Which database the environment names."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from backup_lib.dsn import dsn_from_environment, normalise_dsn
from backup_lib.errors import UsageError


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        pytest.param(
            {"DATABASE_URL": "postgres://u:p%40@h:1/d", "POSTGRES_HOST": "other"},
            {"user": "u", "password": "p@", "host": "h", "port": "1", "dbname": "d"},
            id="url-first",
        ),
        pytest.param(
            {"DATABASE_URL": "postgresql+psycopg2://u@h/d"},
            {"user": "u", "host": "h", "dbname": "d"},
            id="framework",
        ),
        pytest.param(
            {"POSTGRES_HOST": "db", "POSTGRES_USER": "u", "POSTGRES_PASSWORD": "a b'c\\", "POSTGRES_DB": "d"},
            {"host": "db", "user": "u", "password": "a b'c\\", "dbname": "d"},
            id="image",
        ),
        pytest.param(
            {"PGHOST": "db", "PGUSER": "u", "POSTGRES_USER": "wins", "PGDATABASE": "d", "POSTGRES_DB": ""},
            {"host": "db", "user": "wins", "dbname": "d"},
            id="libpq",
        ),
        pytest.param({"PGSERVICE": "pos"}, {"service": "pos"}, id="service"),
    ],
)
def test_the_environment_names_a_database(env: dict[str, str], expected: dict[str, str]) -> None:
    assert conninfo_to_dict(dsn_from_environment(env)) == expected


def test_any_of_them_may_be_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    env = {"POSTGRES_HOST": "db", "POSTGRES_PASSWORD_FILE": str(secret)}
    assert conninfo_to_dict(dsn_from_environment(env))["password"] == "hush"  # noqa: S105
    url = tmp_path / "url"
    url.write_text("postgresql://h/d")
    assert dsn_from_environment({"DATABASE_URL_FILE": str(url)}) == "postgresql://h/d"


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UsageError, match="POSTGRES_PASSWORD_FILE names /nowhere"):
        dsn_from_environment({"POSTGRES_HOST": "db", "POSTGRES_PASSWORD_FILE": "/nowhere"})


@pytest.mark.parametrize("env", [{}, {"DATABASE_URL": ""}, {"PGPASSWORD": "x"}])
def test_nothing_named_is_not_the_database_of_whoever_runs_it(env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="no database is named") as caught:
        dsn_from_environment(env)
    assert "DATABASE_URL" in caught.value.hint


@pytest.mark.parametrize("dsn", ["postgres//u:secret@h/d", "postgresql://u:se%zzcret@h/d", "host=h secret"])
def test_an_unreadable_connection_string_is_never_quoted(dsn: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalise_dsn(dsn)
    assert "cret" not in str(caught.value)
    assert caught.value.__suppress_context__
