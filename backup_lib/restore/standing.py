"""What stands at the target and would be in the way: foreign keys and triggers put aside, tables and rows dropped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql

from backup_lib.cluster import quote_ident, quote_literal
from backup_lib.load_order import Table
from backup_lib.restore.target import Connection

# What goes with its table, or has no identity that DROP takes.
WITH_ITS_TABLE = (
    "table constraint ",
    "domain constraint ",
    "index ",
    "trigger ",
    "rule ",
    "policy ",
    "default acl ",
    "user mapping ",
)
_DROP_AS = {"foreign-data wrapper": "foreign data wrapper", "statistics object": "statistics"}
_TYPES = (  # as pg_identify_object names them; those that others go with come first
    "schema", "extension", "event trigger", "publication", "subscription", "materialized view", "view",
    "foreign table", "table", "sequence", "type", "operator class", "operator family", "operator", "cast", "transform",
    "aggregate", "function", "procedure", "collation", "conversion", "text search configuration",
    "text search dictionary", "text search parser", "text search template", "statistics object",
    "server", "foreign-data wrapper", "access method", "language",
)  # fmt: skip

# Keys, and checks that rows broke before they were declared NOT VALID.
_CONSTRAINTS = """
SELECT k.conrelid::regclass::text, quote_ident(k.conname), pg_get_constraintdef(k.oid),
       obj_description(k.oid, 'pg_constraint'), k.conrelid = ANY(%(tables)s)
FROM pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0 AND (k.conrelid = ANY(%(tables)s) OR k.confrelid = ANY(%(tables)s))
   OR k.contype = 'c' AND k.coninhcount = 0 AND NOT k.convalidated AND k.conrelid = ANY(%(tables)s)
ORDER BY 1, 2
"""
_ANCESTORS = "SELECT DISTINCT a.relid::oid::bigint FROM unnest(%s::oid[]) t, pg_partition_ancestors(t) a"
_TRIGGERS = """
SELECT tgrelid::regclass::text, quote_ident(tgname), tgenabled::text FROM pg_trigger
WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgrelid = ANY(%s) ORDER BY 1, 2
"""
# Privileges that objects made later get; the built-in ones are no row of the catalog.
_DEFAULT_PRIVILEGES = """
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I %s %s', pg_get_userbyid(d.defaclrole),
              'IN SCHEMA ' || quote_ident(n.nspname), action)
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
CROSS JOIN LATERAL (SELECT CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
                                WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES'
                                WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind) k
CROSS JOIN LATERAL (
    SELECT 1 AS step, format('REVOKE ALL ON %s FROM %s', kind, coalesce(quote_ident(r.rolname), 'PUBLIC')) AS action
    FROM aclexplode(d.defaclacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    UNION SELECT 2, format('GRANT ALL ON %s TO %I', kind, pg_get_userbyid(d.defaclrole)) WHERE n.oid IS NULL
    UNION SELECT 3, format('GRANT ALL ON %s TO PUBLIC', kind) WHERE n.oid IS NULL AND d.defaclobjtype IN ('f', 'T')
) s ORDER BY d.oid, step
"""
_ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PutAside:
    """Foreign keys and triggers that are not in force, and the statements that bring them back."""

    labels: tuple[str, ...]
    statements: tuple[str, ...]

    def put_back(self, conn: Connection) -> None:
        """Raises as psycopg does, when rows break a key."""
        for statement in self.statements:
            conn.execute(statement.encode())


def put_aside(conn: Connection, tables: Iterable[Table], *, drops: bool) -> PutAside:
    """Foreign keys on and to the tables, and the tables' own triggers; the server checks the keys when they are back.

    :param drops: the tables themselves are dropped, and what is on them comes back with them: only other tables'
        keys are put aside.
    """
    oids = [oid for table in tables if (oid := _oid(conn, table)) is not None]
    if not drops:  # a partition's keys are its root's
        oids += [oid for (oid,) in conn.execute(_ANCESTORS, [oids])]
    labels, back = [], []
    for table, name, definition, comment, own in conn.execute(_CONSTRAINTS, {"tables": oids}).fetchall():
        if drops and own:
            if definition.startswith("FOREIGN KEY"):  # else tables that refer to one another cannot be dropped
                conn.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
            continue
        conn.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}".encode())
        labels.append(f"CONSTRAINT {name} ON {table}")
        back.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        if comment:
            back.append(f"COMMENT ON CONSTRAINT {name} ON {table} IS {quote_literal(comment)}")
    for table, name, enabled in () if drops else conn.execute(_TRIGGERS, [oids]).fetchall():
        conn.execute(f"ALTER TABLE ONLY {table} DISABLE TRIGGER {name}".encode())
        labels.append(f"TRIGGER {name} ON {table}")
        back.append(f"ALTER TABLE ONLY {table} {_ENABLE[enabled]} TRIGGER {name}")
    return PutAside(labels=tuple(labels), statements=tuple(back))


def drop_tables(conn: Connection, tables: Sequence[Table]) -> None:
    """All in one statement, so that they may depend on one another; refused when something else depends on them."""
    there = [table for table in tables if _oid(conn, table) is not None]
    if there:
        names = sql.SQL(", ").join(sql.Identifier(*table) for table in there)
        conn.execute(sql.SQL("DROP TABLE {}").format(names))


def empty_tables(conn: Connection, tables: Sequence[Table]) -> None:
    if tables:
        names = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
        conn.execute(sql.SQL("TRUNCATE {}").format(names))


def empty_database(conn: Connection, catalog: Sequence[str]) -> None:
    """Drop all that the users have in it.

    :param catalog: its objects, as `source.catalog` lists them.
    """
    for statement in build_drops(catalog):
        conn.execute(statement.encode())
    for (statement,) in conn.execute(_DEFAULT_PRIVILEGES).fetchall():
        conn.execute(statement.encode())
    drop_large_objects(conn)


def drop_large_objects(conn: Connection) -> None:
    conn.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")


def build_drops(catalog: Sequence[str]) -> list[str]:
    """The statements that drop every object of a catalog, whatever hangs on it: all of it is in the catalog too."""
    found: dict[str, list[str]] = {}
    for identity in catalog:
        if not identity.startswith((*WITH_ITS_TABLE, "large objects ")):
            kind = max((t for t in _TYPES if identity.startswith(t + " ")), key=len, default=None)
            if kind is not None:
                found.setdefault(kind, []).append(identity.removeprefix(kind + " "))
    return [
        f"DROP {_DROP_AS.get(kind, kind).upper()} IF EXISTS {name} CASCADE"
        for kind in _TYPES
        for name in found.get(kind, ())
    ]


def _oid(conn: Connection, table: Table) -> int | None:
    row = conn.execute("SELECT to_regclass(%s)::oid", [".".join(map(quote_ident, table))]).fetchone()
    return row[0] if row else None
