"""Where the database is: from the environment's variables to what psycopg and pg_dump are given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from backup_lib.errors import NoDatabaseError, UsageError
from backup_lib.variables import read_variable

# Equal data gives equal text only under equal settings. Not lc_monetary: money written in C would be read
# wrongly by a person's psql in the database's own locale.
PINS: Mapping[str, str] = {
    "TimeZone": "UTC",
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
}

_SECRETS = ("password", "sslpassword", "oauth_client_secret")
_VARIABLES = {  # libpq's keyword: the official image's variable, libpq's own
    "host": ("POSTGRES_HOST", "PGHOST"),
    "port": ("POSTGRES_PORT", "PGPORT"),
    "user": ("POSTGRES_USER", "PGUSER"),
    "password": ("POSTGRES_PASSWORD", "PGPASSWORD"),
    "dbname": ("POSTGRES_DB", "PGDATABASE"),
    "service": ("PGSERVICE",),
}


def dsn_from_environment(env: Mapping[str, str]) -> str:
    """The connection string that the environment names: `DATABASE_URL`, else `POSTGRES_*`, else `PG*`.

    Each may be a file instead, by the name with `_FILE`. An empty variable counts as unset.
    :raises NoDatabaseError: when none of them is set.
    :raises UsageError: when a file cannot be read, or a URL.
    """
    if url := read_variable(env, "DATABASE_URL"):
        return normalise_dsn(url)
    found = {
        keyword: value
        for keyword, names in _VARIABLES.items()
        if (value := next(filter(None, (read_variable(env, name) for name in names)), None))
    }
    if not found.keys() - {"password", "port"}:
        raise NoDatabaseError(
            "no database is named",
            hint="set DATABASE_URL=postgresql://USER@HOST/DATABASE and PGPASSWORD, or POSTGRES_HOST, "
            "POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB",
        )
    return make_conninfo("", **found)


def normalise_dsn(dsn: str) -> str:
    """The connection string as libpq wants it: frameworks write `postgresql+psycopg2://`.

    :raises UsageError: when libpq cannot read it. Never quotes it: it may hold a password.
    """
    dsn = re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", dsn.strip())
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise UsageError(
            "the connection string cannot be read",
            hint="write postgresql://USER@HOST:PORT/DATABASE; special characters in a password are "
            "percent-encoded there (@ is %40), or leave it out and set PGPASSWORD",
        ) from None  # libpq's message quotes what it cannot read
    return dsn


@dataclass(frozen=True, slots=True)
class ClientTarget:
    """How a client program reaches the server that a connection is on."""

    conninfo: str  # without any secret: it stands in argv
    env: Mapping[str, str | None]  # changes to the environment; holds the password


def client_target(conn: psycopg.Connection[tuple[object, ...]], dsn: str) -> ClientTarget:
    """The very server of `conn`, also when the host's name has several addresses; sessions there are pinned.

    :param dsn: what `conn` was opened with. What else it took from the environment or a service file,
        client programs take from there themselves; they may not know all that this side's newer libpq has.
    :raises UsageError: when it holds a secret that can only be given in argv.
    """
    parameters = conninfo_to_dict(dsn)
    secrets = [name for name in _SECRETS if parameters.pop(name, None)]
    if unsafe := [name for name in secrets if name != "password"]:
        raise UsageError(
            f"the connection string holds {unsafe[0]}, which pg_dump cannot be given safely",
            hint="move the connection's parameters into a service file and name it: service=NAME",
        )
    pins = " ".join(f"-c {name}={value}" for name, value in PINS.items())
    parameters |= {
        "host": conn.info.host,
        "port": conn.info.port,
        "user": conn.info.user,
        "dbname": conn.info.dbname,
        "options": f"{conn.info.options} {pins}".strip(),
    }
    if not conn.info.host.startswith(("/", "@")) and conn.info.hostaddr:
        parameters["hostaddr"] = conn.info.hostaddr
    # An archive is written in the database's own encoding, whatever this side's terminal or its own settings use.
    parameters["client_encoding"] = conn.info.parameter_status("server_encoding")
    env: dict[str, str | None] = {"PGCLIENTENCODING": None}
    if conn.info.password:
        env["PGPASSWORD"] = conn.info.password
    return ClientTarget(make_conninfo("", **parameters), env)
