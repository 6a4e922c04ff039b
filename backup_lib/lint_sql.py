"""The SQL of `lint`: what a restore will stumble over, while the source still exists. For all majors from 14.

As `catalog_sql` does, it relies on `source.pin`. Nothing here runs a function that a user wrote.
"""

from __future__ import annotations

# What expressions call that a restore evaluates: index, generated column, check, materialized view.
# kind, object, its table (0: a domain's check), oid of the function
EVALUATED = """
WITH member AS MATERIALIZED (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
evaluated (kind, classid, objid, relid, label) AS (
    SELECT 'index', 'pg_class'::regclass::oid, i.indexrelid, i.indrelid, 'index ' || i.indexrelid::regclass
    FROM pg_index i WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
    UNION ALL
    SELECT 'generated column', 'pg_attrdef'::regclass, d.oid, d.adrelid,
           format('column %s.%I', d.adrelid::regclass, a.attname)
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE a.attgenerated <> ''
    UNION ALL
    SELECT 'check', 'pg_constraint'::regclass, c.oid, c.conrelid,
           format('check %I on %s', c.conname,
                  CASE WHEN c.conrelid <> 0 THEN c.conrelid::regclass::text ELSE c.contypid::regtype::text END)
    FROM pg_constraint c WHERE c.contype = 'c'
    UNION ALL
    SELECT 'materialized view', 'pg_rewrite'::regclass, r.oid, c.oid, 'materialized view ' || c.oid::regclass
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class AND c.relkind = 'm' AND c.relispopulated
)
SELECT DISTINCT e.kind, e.label, e.relid::bigint, p.oid::bigint
FROM evaluated e
JOIN pg_depend d ON d.classid = e.classid AND d.objid = e.objid
LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
JOIN pg_proc p ON p.oid = CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid ELSE o.oprcode END
WHERE p.oid >= 16384
  AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
ORDER BY 1, 2, 4
"""

# Functions whose text says what they use; those with a parsed body depend on it by oid.
# oid, schema, name, label, language, text, says its own search_path, has a name that pg_catalog has too
FUNCTIONS = """
SELECT p.oid::bigint, n.nspname, p.proname, p.oid::regprocedure::text, l.lanname,
       CASE WHEN p.prosqlbody IS NULL THEN p.prosrc ELSE '' END,
       coalesce(array_to_string(p.proconfig, ',') ~ '(^|,)search_path=', false),
       EXISTS (SELECT FROM pg_proc c WHERE c.pronamespace = 'pg_catalog'::regnamespace AND c.proname = p.proname)
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
JOIN pg_language l ON l.oid = p.prolang
WHERE p.oid >= 16384
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
"""

# Names a function's text may use: kind, schema, name
NAMES = """
SELECT 'relation', n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT 'type', n.nspname, t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype IN ('e', 'd', 'r') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""

# Tables that functions with a parsed body read: function's oid, relation
READ_BY_BODIES = """
SELECT DISTINCT d.objid::bigint, d.refobjid::regclass::text
FROM pg_depend d JOIN pg_class c ON c.oid = d.refobjid AND c.relkind IN ('r', 'p', 'm', 'v')
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_class'::regclass AND d.objid = ANY(%s)
ORDER BY 1, 2
"""

# The language's own check of a body: it parses and resolves names, and runs nothing.
VALIDATORS = {"sql": "SELECT fmgr_sql_validator(%s)", "plpgsql": "SELECT plpgsql_validator(%s)"}

# A restore fills materialized views as their owner, with row_security off and all policies back.
# oid of the materialized view, its name, table, owner
HIDDEN_FROM_MATVIEWS = """
SELECT DISTINCT v.oid::bigint, v.oid::regclass::text, t.oid::regclass::text, r.rolname
FROM pg_class v JOIN pg_rewrite w ON w.ev_class = v.oid
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
JOIN pg_class t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p') AND t.relrowsecurity
JOIN pg_roles r ON r.oid = v.relowner AND NOT r.rolsuper AND NOT r.rolbypassrls
WHERE v.relkind = 'm' AND v.relispopulated
  AND (t.relforcerowsecurity OR NOT pg_has_role(v.relowner, t.relowner, 'USAGE'))
ORDER BY 2, 3
"""

# oid of its table, name of the index
INVALID_INDEXES = """
SELECT i.indrelid::bigint, i.indexrelid::regclass::text
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_'
WHERE NOT i.indisvalid
ORDER BY 2
"""

# table, referenced table, key, columns and referenced columns quoted, is it validated
FOREIGN_KEYS = """
SELECT c.conrelid::bigint, c.confrelid::bigint, c.conrelid::regclass::text, c.confrelid::regclass::text,
       c.conname, c.convalidated,
       ARRAY(SELECT quote_ident(a.attname) FROM unnest(c.conkey) WITH ORDINALITY k (n, place)
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n ORDER BY k.place),
       ARRAY(SELECT quote_ident(a.attname) FROM unnest(c.confkey) WITH ORDINALITY k (n, place)
             JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n ORDER BY k.place)
FROM pg_constraint c WHERE c.contype = 'f' AND c.conparentid = 0
ORDER BY 3, 5
"""

# extension, its version here, the version CREATE EXTENSION makes (NULL: its files are gone)
EXTENSIONS = """
SELECT e.extname, e.extversion, a.default_version
FROM pg_extension e LEFT JOIN pg_available_extensions a ON a.name = e.extname
WHERE e.extversion IS DISTINCT FROM a.default_version
ORDER BY 1
"""

# From 15 on: what was sorted by another version of the system's collations: object, recorded, actual
COLLATIONS = """
SELECT 'database ' || quote_ident(datname), datcollversion, pg_database_collation_actual_version(oid)
FROM pg_database
WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(oid)
UNION ALL
SELECT 'collation ' || oid::regcollation, collversion, pg_collation_actual_version(oid)
FROM pg_collation WHERE oid >= 16384 AND collversion <> pg_collation_actual_version(oid)
"""

EVENT_TRIGGERS = "SELECT quote_ident(evtname) FROM pg_event_trigger WHERE evtenabled <> 'D' ORDER BY 1"

FOREIGN_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'f' ORDER BY 1"

SUBSCRIPTIONS = """
SELECT quote_ident(s.subname) FROM pg_subscription s
JOIN pg_database d ON d.oid = s.subdbid AND d.datname = current_database() ORDER BY 1
"""

LARGE_OBJECTS = "SELECT count(*) FROM pg_largeobject_metadata"

# Of chosen tables, those with a column that may point to large objects
POINTING_AT_LARGE_OBJECTS = """
SELECT DISTINCT a.attrelid::regclass::text FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = ANY(%s) AND a.attnum > 0 AND NOT a.attisdropped
  AND (t.oid = 'oid'::regtype OR (t.typtype = 'd' AND t.typbasetype = 'oid'::regtype))
ORDER BY 1
"""

# What chosen tables use and an archive of them does not hold, unless it is chosen as well: label, schema
NEEDED = """
WITH part (classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, unnest(%(tables)s::oid[])
    UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid = ANY(%(tables)s)
    UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid = ANY(%(tables)s)
    UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = ANY(%(tables)s)
    UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgrelid = ANY(%(tables)s) AND NOT tgisinternal
    UNION ALL SELECT 'pg_policy'::regclass, oid FROM pg_policy WHERE polrelid = ANY(%(tables)s)
)
SELECT DISTINCT i.type || ' ' || i.identity, i.schema
FROM part p
JOIN pg_depend d ON d.classid = p.classid AND d.objid = p.objid AND d.refobjid >= 16384
    AND d.refclassid IN ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_class'::regclass, 'pg_operator'::regclass,
                         'pg_collation'::regclass, 'pg_ts_config'::regclass)
LEFT JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
CROSS JOIN pg_identify_object(d.refclassid, d.refobjid, 0) i
WHERE (d.refclassid <> 'pg_class'::regclass
       OR (c.relkind IN ('r', 'p', 'S') AND NOT c.relispartition AND NOT d.refobjid = ANY(%(tables)s)))
  AND i.schema IS NOT NULL AND i.schema !~ '^pg_' AND i.schema <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend own
                  WHERE own.classid = 'pg_class'::regclass AND own.objid = d.refobjid AND own.deptype IN ('a', 'i')
                    AND own.refclassid = 'pg_class'::regclass AND own.refobjid = ANY(%(tables)s))
ORDER BY 1
"""
