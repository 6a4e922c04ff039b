"""One random change to a database that exists: an object or a row lost, altered or given to another owner.

The archive of the changed database under the manifest of the one before is what a producer makes that loses or alters
things on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    what: str
    names: tuple[str, ...]  # one of them must stand in a finding
    statement: str
    is_of_rows: bool = False  # values only: counts and catalog stay


_ROLE = '"La Zutana"'
_OWN = "n.nspname !~ '^(pg_|information_schema)'"
_NOT_MEMBER = "NOT EXISTS (SELECT FROM pg_depend e WHERE e.objid = {0}.oid AND e.deptype = 'e')"
# Each gives: what, the object's name, the statement.
_ASKED = (
    f"""SELECT 'table lost', c.relname, format('DROP TABLE %s', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND {_OWN} AND {_NOT_MEMBER.format("c")}""",
    f"""SELECT 'view lost', c.relname, format('DROP %sVIEW %s', CASE relkind WHEN 'm' THEN 'MATERIALIZED ' END, c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('v', 'm') AND {_OWN} AND {_NOT_MEMBER.format("c")}""",
    f"""SELECT 'index lost', c.relname, format('DROP INDEX %s', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('i', 'I') AND {_OWN}""",
    f"""SELECT 'sequence lost', c.relname, format('DROP SEQUENCE %s', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND {_OWN}""",
    f"""SELECT 'owner altered', c.relname, format('ALTER TABLE %s OWNER TO {_ROLE}', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {_OWN} AND pg_get_userbyid(relowner) <> 'La Zutana' AND {_NOT_MEMBER.format("c")}""",
    f"""SELECT 'constraint lost', c.conname, format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname) FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.conrelid <> 0 AND contype <> 'n' AND {_OWN}""",
    f"""SELECT 'constraint renamed', c.conname, format('ALTER TABLE %s RENAME CONSTRAINT %I TO otro', c.conrelid::regclass, c.conname) FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE c.conrelid <> 0 AND contype <> 'n' AND {_OWN}""",
    f"""SELECT 'domain check lost', t.typname, format('ALTER DOMAIN %s DROP CONSTRAINT %I', c.contypid::regtype, c.conname) FROM pg_constraint c JOIN pg_type t ON t.oid = c.contypid JOIN pg_namespace n ON n.oid = c.connamespace WHERE {_OWN}""",
    f"""SELECT 'domain not null', t.typname, format('ALTER DOMAIN %s %s NOT NULL', t.oid::regtype, CASE WHEN typnotnull THEN 'DROP' ELSE 'SET' END) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE typtype = 'd' AND {_OWN}""",
    f"""SELECT 'domain default', t.typname, format('ALTER DOMAIN %s DROP DEFAULT', t.oid::regtype) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE typtype = 'd' AND typdefault IS NOT NULL AND {_OWN}""",
    f"""SELECT 'enum label', t.typname, format('ALTER TYPE %s ADD VALUE %L BEFORE %L', t.oid::regtype, 'nueva', (SELECT min(enumlabel) FROM pg_enum WHERE enumtypid = t.oid)) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE typtype = 'e' AND {_OWN}""",
    f"""SELECT 'enum label renamed', t.typname, format('ALTER TYPE %s RENAME VALUE %L TO %L', t.oid::regtype, (SELECT min(enumlabel) FROM pg_enum WHERE enumtypid = t.oid), 'nueva') FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE typtype = 'e' AND {_OWN}""",
    f"""SELECT 'type attribute', t.typname, format('ALTER TYPE %s ADD ATTRIBUTE nuevo integer', t.oid::regtype) FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c' JOIN pg_namespace n ON n.oid = t.typnamespace WHERE {_OWN}""",
    f"""SELECT 'type lost', t.typname, format('DROP TYPE %s', t.oid::regtype) FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE typtype IN ('e', 'd', 'r', 'c') AND (typrelid = 0 OR c.relkind = 'c') AND {_OWN} AND {_NOT_MEMBER.format("t")}""",
    f"""SELECT 'function lost', p.proname, format('DROP ROUTINE %s', p.oid::regprocedure) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {_OWN} AND {_NOT_MEMBER.format("p")}""",
    f"""SELECT 'function altered', p.proname, format('ALTER FUNCTION %s %s', p.oid::regprocedure, (ARRAY['COST 77', 'LEAKPROOF', 'SECURITY DEFINER', 'PARALLEL RESTRICTED', 'SET work_mem = ''7MB''', 'STABLE'])[1 + (random() * 5)::int]) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE prokind = 'f' AND NOT prosecdef AND provolatile <> 's' AND {_OWN} AND {_NOT_MEMBER.format("p")}""",
    f"""SELECT 'function body', p.proname, replace(pg_get_functiondef(p.oid), 'RETURN NEW', 'RETURN OLD') FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE prokind = 'f' AND prosrc ~ 'RETURN NEW' AND {_OWN}""",
    "SELECT 'trigger lost', tgname, format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass) FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0",
    "SELECT 'trigger disabled', tgname, format('ALTER TABLE %s %s TRIGGER %I', tgrelid::regclass, CASE tgenabled WHEN 'O' THEN 'DISABLE' ELSE 'ENABLE' END, tgname) FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0",
    "SELECT 'policy lost', polname, format('DROP POLICY %I ON %s', polname, polrelid::regclass) FROM pg_policy",
    "SELECT 'policy altered', polname, format('ALTER POLICY %I ON %s USING (true)', polname, polrelid::regclass) FROM pg_policy",
    "SELECT 'policy role', polname, format('ALTER POLICY %I ON %s TO fulano', polname, polrelid::regclass) FROM pg_policy",
    f"""SELECT 'row security', c.relname, format('ALTER TABLE %s %s ROW LEVEL SECURITY', c.oid::regclass, CASE WHEN relrowsecurity THEN 'DISABLE' ELSE 'ENABLE' END) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND {_OWN}""",
    f"""SELECT 'row security forced', c.relname, format('ALTER TABLE %s %s ROW LEVEL SECURITY', c.oid::regclass, CASE WHEN relforcerowsecurity THEN 'NO FORCE' ELSE 'FORCE' END) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND {_OWN}""",
    "SELECT 'rule lost', rulename, format('DROP RULE %I ON %s', rulename, ev_class::regclass) FROM pg_rewrite WHERE rulename <> '_RETURN' AND oid >= 16384",
    "SELECT 'rule disabled', rulename, format('ALTER TABLE %s DISABLE RULE %I', ev_class::regclass, rulename) FROM pg_rewrite WHERE rulename <> '_RETURN' AND oid >= 16384 AND ev_enabled <> 'D'",
    f"""SELECT 'column lost', c.relname, format('ALTER TABLE %s DROP COLUMN %I', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p', 'f') AND attnum > 0 AND NOT attisdropped AND {_OWN}""",
    f"""SELECT 'column renamed', c.relname, format('ALTER TABLE %s RENAME COLUMN %I TO otra', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p', 'f', 'v', 'm') AND attnum > 0 AND NOT attisdropped AND {_OWN}""",
    f"""SELECT 'default lost', c.relname, format('ALTER TABLE %s ALTER %I DROP DEFAULT', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p', 'f', 'v') AND atthasdef AND attgenerated = '' AND {_OWN}""",
    f"""SELECT 'default set', c.relname, format('ALTER TABLE %s ALTER %I SET DEFAULT NULL', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p', 'f') AND atthasdef AND attgenerated = '' AND {_OWN}""",
    f"""SELECT 'identity lost', c.relname, format('ALTER TABLE %s ALTER %I DROP IDENTITY', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE attidentity <> '' AND {_OWN}""",
    f"""SELECT 'identity altered', c.relname, format('ALTER TABLE %s ALTER %I SET GENERATED %s', c.oid::regclass, a.attname, CASE attidentity WHEN 'a' THEN 'BY DEFAULT' ELSE 'ALWAYS' END) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE attidentity <> '' AND {_OWN}""",
    f"""SELECT 'generated expression lost', c.relname, format('ALTER TABLE %s ALTER %I DROP EXPRESSION', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE attgenerated = 's' AND {_OWN}""",
    f"""SELECT 'not null', c.relname, format('ALTER TABLE %s ALTER %I %s NOT NULL', c.oid::regclass, a.attname, CASE WHEN attnotnull THEN 'DROP' ELSE 'SET' END) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND {_OWN}""",
    f"""SELECT 'type widened', c.relname, format('ALTER TABLE %s ALTER %I TYPE %s', c.oid::regclass, a.attname, CASE atttypid WHEN 23 THEN 'bigint' WHEN 1043 THEN 'text' ELSE 'varchar(9000)' END) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND atttypid IN (23, 1043, 25) AND attnum > 0 AND attgenerated = '' AND NOT attisdropped AND {_OWN}""",
    f"""SELECT 'column statistics', c.relname, format('ALTER TABLE %s ALTER %I SET STATISTICS 777', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND {_OWN}""",
    f"""SELECT 'column storage', c.relname, format('ALTER TABLE %s ALTER %I SET STORAGE EXTERNAL', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND attnum > 0 AND attlen = -1 AND attstorage <> 'e' AND NOT attisdropped AND {_OWN}""",
    f"""SELECT 'column compression', c.relname, format('ALTER TABLE %s ALTER %I SET COMPRESSION pglz', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND attnum > 0 AND attlen = -1 AND attstorage IN ('x', 'm') AND attcompression = '' AND NOT attisdropped AND {_OWN}""",
    f"""SELECT 'table options', c.relname, format('ALTER TABLE %s SET (fillfactor = 33)', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'r' AND {_OWN}""",
    f"""SELECT 'replica identity', c.relname, format('ALTER TABLE %s REPLICA IDENTITY %s', c.oid::regclass, CASE relreplident WHEN 'f' THEN 'DEFAULT' ELSE 'FULL' END) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'r' AND {_OWN}""",
    f"""SELECT 'persistence', c.relname, format('ALTER TABLE %s SET %s', c.oid::regclass, CASE relpersistence WHEN 'u' THEN 'LOGGED' ELSE 'UNLOGGED' END) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'r' AND {_OWN}""",
    f"""SELECT 'clustered', t.relname, format('ALTER TABLE %s CLUSTER ON %I', t.oid::regclass, c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace WHERE t.relkind = 'r' AND NOT indisclustered AND {_OWN}""",
    f"""SELECT 'index options', c.relname, format('ALTER INDEX %s SET (fillfactor = 44)', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam AND amname IN ('btree', 'hash') WHERE relkind = 'i' AND {_OWN}""",
    f"""SELECT 'index rebuilt otherwise', c.relname, format('DROP INDEX %s; %s', c.oid::regclass, regexp_replace(pg_get_indexdef(c.oid), '( WHERE .*)?$', ' WHERE true')) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'i' AND {_OWN}""",
    f"""SELECT 'partition detached', c.relname, format('ALTER TABLE %s DETACH PARTITION %s', i.inhparent::regclass, c.oid::regclass) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relispartition AND c.relkind IN ('r', 'p') AND {_OWN}""",
    f"""SELECT 'inheritance lost', c.relname, format('ALTER TABLE %s NO INHERIT %s', c.oid::regclass, i.inhparent::regclass) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT c.relispartition AND c.relkind = 'r' AND {_OWN}""",
    f"""SELECT 'view altered', c.relname, format('CREATE OR REPLACE VIEW %s AS %s LIMIT 3', c.oid::regclass, rtrim(pg_get_viewdef(c.oid), ';')) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'v' AND reloptions IS NULL AND {_OWN}""",
    f"""SELECT 'view options', c.relname, format('ALTER VIEW %s SET (security_barrier = %s)', c.oid::regclass, reloptions IS NULL) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'v' AND {_OWN}""",
    f"""SELECT 'view not filled', c.relname, format('REFRESH MATERIALIZED VIEW %s WITH NO DATA', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'm' AND relispopulated AND {_OWN}""",
    f"""SELECT 'privileges', c.relname, format('GRANT DELETE ON TABLE %s TO fulano', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p', 'v', 'm') AND pg_get_userbyid(relowner) <> 'fulano' AND {_OWN}""",
    f"""SELECT 'privileges of public', c.relname, format('GRANT SELECT ON TABLE %s TO PUBLIC', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p', 'v', 'm') AND {_OWN}""",
    f"""SELECT 'column privileges', c.relname, format('GRANT INSERT (%I) ON TABLE %s TO fulano', a.attname, c.oid::regclass) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND pg_get_userbyid(relowner) <> 'fulano' AND {_OWN}""",
    f"""SELECT 'schema privileges', nspname, format('GRANT CREATE ON SCHEMA %I TO "La Zutana"', nspname) FROM pg_namespace n WHERE {_OWN} AND pg_get_userbyid(nspowner) <> 'La Zutana'""",
    f"""SELECT 'comment', c.relname, format('COMMENT ON TABLE %s IS ''otro''', c.oid::regclass) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p') AND {_OWN}""",
    f"""SELECT 'column comment', c.relname, format('COMMENT ON COLUMN %s.%I IS ''otro''', c.oid::regclass, a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind IN ('r', 'p', 'v', 'm') AND attnum > 0 AND NOT attisdropped AND {_OWN}""",
    "SELECT 'constraint comment', conname, format('COMMENT ON CONSTRAINT %I ON %s IS ''otro''', conname, conrelid::regclass) FROM pg_constraint WHERE conrelid >= 16384 AND contype IN ('c', 'p', 'u', 'f', 'x') AND conparentid = 0",
    f"""SELECT 'sequence step', c.relname, format('ALTER SEQUENCE %s INCREMENT %s', c.oid::regclass, seqincrement + 5) FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE seqincrement > 0 AND {_OWN}""",
    f"""SELECT 'sequence value', c.relname, format('SELECT setval(%L, seqmin + 2) FROM pg_sequence WHERE seqrelid = %s', c.oid::regclass, c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'S' AND {_OWN}""",
    """SELECT 'statistics lost', s.stxname, format('DROP STATISTICS %I.%I', n.nspname, s.stxname) FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace""",
    "SELECT 'publication lost', pubname, format('DROP PUBLICATION %I', pubname) FROM pg_publication",
    "SELECT 'publication altered', pubname, format('ALTER PUBLICATION %I SET (publish = ''delete'')', pubname) FROM pg_publication",
    "SELECT 'event trigger disabled', evtname, format('ALTER EVENT TRIGGER %I DISABLE', evtname) FROM pg_event_trigger",
    "SELECT 'extension lost', extname, format('DROP EXTENSION %I', extname) FROM pg_extension WHERE extname <> 'plpgsql'",
    "SELECT 'default privileges', 'default', 'ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC'",
    "SELECT 'database setting', 'lock_timeout', format('ALTER DATABASE %I SET lock_timeout = ''7s''', current_database())",
    "SELECT 'large object lost', loid::text, format('SELECT lo_unlink(%s)', loid) FROM (SELECT oid AS loid FROM pg_largeobject_metadata) l",
    "SELECT 'large object altered', loid::text, format('SELECT lo_put(%s, 0, ''#'')', loid) FROM (SELECT oid AS loid FROM pg_largeobject_metadata) l",
    "SELECT 'foreign table options', ftrelid::regclass::text, format('ALTER FOREIGN TABLE %s OPTIONS (ADD nueva ''1'')', ftrelid::regclass) FROM pg_foreign_table",
    "SELECT 'server options', srvname, format('ALTER SERVER %I OPTIONS (SET clave ''otra'')', srvname) FROM pg_foreign_server",
    "SELECT 'text search mapping', cfgname, format('ALTER TEXT SEARCH CONFIGURATION %s DROP MAPPING FOR word', oid::regconfig) FROM pg_ts_config WHERE oid >= 16384",
)  # fmt: skip
_TABLES = f"""SELECT c.oid, c.oid::regclass::text, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE relkind = 'r' AND {_OWN} AND {_NOT_MEMBER.format("c")} ORDER BY 2"""
_COLUMNS = """SELECT quote_ident(attname), format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
    WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"""
_OTHER = {
    "text": "{c} || ' '", "integer": "{c} + 1", "bigint": "{c} + 1", "smallint": "{c} + 1", "numeric": "({c}::text || '0')::numeric",
    "boolean": "NOT {c}", "bytea": r"{c} || '\x00'", "double precision": "nullif({c}, 0)", "real": "-{c}", "date": "{c} + 1",
    "timestamp with time zone": "{c} + interval '1 microsecond'", "timestamp without time zone": "{c} + interval '1 microsecond'",
    "interval": "justify_interval({c})", "json": "{c}::jsonb::json", "character(5)": "upper({c}::text)", "jsonb": "'{{}}'",
    "character varying(12)": "nullif({c}, '')", "inet": "host({c})::inet", "integer[]": "{c} || NULL", "text[]": "array_replace({c}, NULL, '')",
    "tsvector": "strip({c})", "bit varying": "{c} || B'0'", "numeric(10,3)": "-{c}", "money": "-{c}", "xml": "'<otra/>'",
}  # fmt: skip


def changes(conn: Connection, rng: Random) -> Iterator[Change]:
    """All that may be tried in this database, in random order. The server may refuse some, and some change nothing.

    :param conn: in autocommit mode, with an empty search_path.
    """
    conn.execute("SELECT setseed(%s)", [rng.random()])
    found = [
        Change(what=what, names=(name, "large objects") if "large" in what else (name,), statement=statement)
        for query in _ASKED
        for what, name, statement in [*conn.execute(query.encode())][:1000]
        if statement
    ]
    for oid, table, name in conn.execute(_TABLES).fetchall():
        for column, kind, _ in conn.execute(_COLUMNS, [oid]).fetchall():
            where = f"ctid = (SELECT ctid FROM ONLY {table} WHERE {column} IS NOT NULL ORDER BY random() LIMIT 1)"
            if kind in _OTHER:
                change = f"UPDATE ONLY {table} SET {column} = {_OTHER[kind].format(c=column)} WHERE {where}"
                found.append(Change(what="value altered", names=(name,), statement=change, is_of_rows=True))
            change = f"UPDATE ONLY {table} SET {column} = NULL WHERE {where}"
            found.append(Change(what="value lost", names=(name,), statement=change, is_of_rows=True))
        where = f"ctid = (SELECT ctid FROM ONLY {table} ORDER BY random() LIMIT 1)"
        found.append(Change(what="row lost", names=(name,), statement=f"DELETE FROM ONLY {table} WHERE {where}"))
        found.append(
            Change(
                what="row doubled",
                names=(name,),
                statement=f"INSERT INTO {table} SELECT * FROM ONLY {table} WHERE {where}",
            )
        )
    kinds: dict[str, list[Change]] = {}
    for change in found:
        kinds.setdefault(change.what, []).append(change)
    order = list(kinds)
    rng.shuffle(order)  # first a kind, then one of its objects: else tables with many columns were all
    for kind in order:
        yield rng.choice(kinds[kind])
