"""What the drill makes itself because the archive needs it and does not hold it; each is said in the record."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg
from psycopg import sql

from backup_lib.dump_events import EntryStart
from backup_lib.statement_errors import StatementError
from verification.findings import some
from verification.scaffold import Scaffold

Connect = Callable[[str], psycopg.Connection[tuple[object, ...]]]

_ROLE = re.compile(r'role "(.*)" does not exist', re.DOTALL)
_SCHEMA = re.compile(r'schema "(.*)" does not exist', re.DOTALL)
_TABLESPACE = re.compile(
    r'(?:tablespace|invalid value for parameter "default_tablespace":) "(.*)"(?: does not exist)?', re.DOTALL
)
_OWNER_REFUSED = "permission denied to change owner of "
# Their owner is a superuser at the source: the server takes no other.
_OF_SUPERUSERS = frozenset({"EVENT TRIGGER", "FOREIGN DATA WRAPPER", "SUBSCRIPTION"})
# Entries of a dump of single tables, which never makes its schemas.
_OF_TABLES = frozenset(
    {
        "TABLE", "TABLE DATA", "TABLE ATTACH", "SEQUENCE", "SEQUENCE OWNED BY", "SEQUENCE SET", "DEFAULT", "CONSTRAINT",
        "CHECK CONSTRAINT", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "TRIGGER", "RULE", "POLICY", "ROW SECURITY",
        "STATISTICS", "ACL", "COMMENT", "VIEW", "MATERIALIZED VIEW", "MATERIALIZED VIEW DATA", "PUBLICATION TABLE",
    }
)  # fmt: skip


class Mending:
    """Called by the loader with what the server refused.

    :param has_globals: the manifest brought the roles and tablespaces, so one that is missing is a fault.
    :param only_tables: the archive is known to hold single tables.
    :param scaffold: definitions of what the archive leaves out.
    """

    def __init__(
        self, connect: Connect, *, has_globals: bool, only_tables: bool, scaffold: Scaffold | None = None
    ) -> None:
        self._scaffold = scaffold
        self._connect = connect
        self._has_globals = has_globals
        self._only_tables = only_tables
        self._types: set[str] = set()
        self._powerful: set[str] = set()
        self.roles: list[str] = []
        self.superusers: list[str] = []
        self.schemas: list[str] = []
        self.tablespaces: list[str] = []

    def saw(self, entry: EntryStart) -> None:
        self._types.add(entry.type)
        if entry.type in _OF_SUPERUSERS and entry.owner is not None:
            self._powerful.add(entry.owner)

    def __call__(self, exc: psycopg.Error, database: str) -> str | None:
        message = exc.diag.message_primary or ""
        if not self._has_globals:
            if found := _ROLE.fullmatch(message):
                return self._make(database, "CREATE ROLE {}", found[1], self.roles, "role")
            if message.startswith(_OWNER_REFUSED):
                return self._raise(database)
            if found := _TABLESPACE.fullmatch(message):
                statement = "CREATE TABLESPACE {} LOCATION ''"
                return self._make(database, statement, found[1], self.tablespaces, "tablespace")
        if self._scaffold is not None:
            return self._scaffold(exc, database)
        if (found := _SCHEMA.fullmatch(message)) and (self._only_tables or self._types <= _OF_TABLES):
            return self._make(database, "CREATE SCHEMA {}", found[1], self.schemas, "schema")
        return None

    def _make(self, database: str, statement: str, name: str, made: list[str], what: str) -> str | None:
        if name in made:
            return None  # it did not help the first time
        with self._connect(database) as connection:
            connection.execute("SET allow_in_place_tablespaces = on")
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
        made.append(name)
        return f"{what} {name}"

    def _raise(self, database: str) -> str | None:
        """Make superusers of those made roles that must be, by what they own."""
        names = sorted(self._powerful.intersection(self.roles).difference(self.superusers))
        with self._connect(database) as connection:
            for name in names:
                connection.execute(sql.SQL("ALTER ROLE {} SUPERUSER").format(sql.Identifier(name)))
        self.superusers += names
        return f"superusers {', '.join(names)}" if names else None

    def made_labels(self) -> tuple[str, ...]:
        """As entries of a dump of the restored database name what was made in it."""
        made = self._scaffold.others if self._scaffold is not None and self._scaffold.made else ()
        return (*(f"SCHEMA {name}" for name in self.schemas), *made)

    def lacking(self) -> list[StatementError]:
        """What the scaffold needs and this server does not have; what the archive meets then follows from it."""
        return list(self._scaffold.lacking.values()) if self._scaffold is not None else []

    def sentences(self) -> list[str]:
        """For the record: what a restore elsewhere needs beforehand."""
        scaffold = self._scaffold.made if self._scaffold is not None else []
        said = [
            f"The archive does not hold {some(scaffold)}: the drill made these, empty, from the manifest's "
            "definitions; a restore needs what its tables use of them beforehand."
        ]
        roles = [self._described(name) for name in self.roles]
        return said * bool(scaffold) + [
            f"The archive does not hold the {what} it needs; the drill made {', '.join(sorted(made))}."
            for what, made in (("roles", roles), ("schemas", self.schemas), ("tablespaces", self.tablespaces))
            if made
        ]

    def _described(self, role: str) -> str:
        return f"{role} (a superuser, as the owner of what only superusers own)" if role in self.superusers else role
