"""What belongs to the cluster and not to one database: roles, memberships, settings, tablespaces, as SQL.

Read from what every role may see (`pg_roles`, not `pg_authid`), so no password can be in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from backup_lib import catalog_sql
from backup_lib.manifest import Globals

Connection = psycopg.Connection[tuple[Any, ...]]

# Applications keep keys in settings of their own (app.jwt_secret); they must not end up in a manifest.
_SECRET = re.compile(r"secret|passw|token|key|credential", re.IGNORECASE)
HIDDEN = "(hidden)"

# Each an element of a list that SET must be given one by one; from pg_dump's variable_is_guc_list_quote.
_LISTS = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
)
_ELEMENT = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^,]*))\s*(?:,|$)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One `ALTER DATABASE | ROLE … SET`. An empty database or role means all of them."""

    database: str
    role: str
    name: str
    value: str  # HIDDEN when the name speaks of a secret

    @property
    def statement(self) -> str | None:
        """What sets it again; None when its value is not known."""
        if self.value == HIDDEN:
            return None
        if self.role or not self.database:
            where = f"ROLE {quote_ident(self.role) if self.role else 'ALL'}"
            where += f" IN DATABASE {quote_ident(self.database)}" if self.database else ""
        else:
            where = f"DATABASE {quote_ident(self.database)}"
        values = list(_elements(self.value)) if self.name.lower() in _LISTS else [self.value]
        name = ".".join(map(quote_ident, self.name.split(".")))
        return f"ALTER {where} SET {name} TO {', '.join(map(quote_literal, values)) or quote_literal('')}"


def settings(conn: Connection) -> list[Setting]:
    """The settings stored for the current database and for roles."""
    found = []
    for database, role, text in conn.execute(catalog_sql.SETTINGS):
        name, _, value = text.partition("=")
        hide = "." in name and _SECRET.search(name)
        found.append(Setting(database=database, role=role, name=name, value=HIDDEN if hide else value))
    return found


def read_globals(conn: Connection) -> Globals:
    """The cluster's roles and tablespaces, and what else belongs to the current database from outside.

    The statements run in order on a fresh cluster of the same major whose bootstrap role has the same name;
    tablespaces need their folders there. Those of the database need it to exist.
    """
    roles = tuple(name for (name,) in conn.execute(catalog_sql.ROLE_NAMES))
    tablespaces = list(conn.execute(catalog_sql.TABLESPACES))
    statements = [
        *_column(conn, catalog_sql.CREATE_ROLES),
        *_grants(conn),
        *_column(conn, catalog_sql.ROLE_COMMENTS),
        *(statement for _, statement in tablespaces),
        *(statement for setting in settings(conn) if (statement := setting.statement)),
        *_column(conn, catalog_sql.DATABASE_STATEMENTS),
    ]
    return Globals(roles=roles, statements=tuple(statements), tablespaces=tuple(name for name, _ in tablespaces))


def _grants(conn: Connection) -> Iterator[str]:
    """Memberships, each after the one that gives its grantor the right to grant it."""
    waiting = list(conn.execute(catalog_sql.MEMBERSHIPS))
    may_grant: set[tuple[str, str]] = set()
    while waiting:
        ready = [m for m in waiting if m[3] or (m[0], m[2]) in may_grant]
        for role, member, _, _, admin, statement in ready or waiting:
            yield statement
            if admin:
                may_grant.add((role, member))
        waiting = [m for m in waiting if m not in ready] if ready else []


def _column(conn: Connection, query: str) -> list[str]:
    return [value for (value,) in conn.execute(query.encode())]


def _elements(value: str) -> Iterator[str]:
    """The names of a quoted list, such as `"$user", public`."""
    position = 0
    while position < len(value) and (found := _ELEMENT.match(value, position)):
        quoted, bare = found.groups()
        yield quoted.replace('""', '"') if quoted is not None else bare.strip()
        position = found.end()


def quote_ident(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    escaped = value.replace("'", "''")
    return "E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in value else f"'{escaped}'"
