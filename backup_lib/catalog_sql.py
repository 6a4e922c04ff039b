"""The SQL that looks at a database: the same statements at the source and in the sandbox, for all majors from 14.

They rely on `source.pin`: with an empty search_path a name means the one in pg_catalog.
Columns that some majors do not have are read through `to_jsonb(row) ->> 'column'`, which is NULL there.
"""

from __future__ import annotations

# What an extension owns, its script makes again; so does what hangs on its tables and views.
_MEMBERS = """
namespace AS MATERIALIZED (
    SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
),
member AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
),
relation AS MATERIALIZED (
    SELECT c.*, n.nspname,
           EXISTS (SELECT FROM member
                   WHERE classid = 'pg_class'::regclass AND objid = c.oid) AS is_member
    FROM pg_class c JOIN namespace n ON n.oid = c.relnamespace
)"""

TABLES = f"""
WITH {_MEMBERS}
SELECT oid, nspname, relname, relkind::text, relpersistence::text, is_member,
       relispopulated AND NOT (relpersistence = 'u' AND pg_is_in_recovery()) AS countable,
       has_schema_privilege(relnamespace, 'USAGE')
           AND has_table_privilege(oid, 'SELECT') AS readable,
       row_security_active(oid) AS filtered,
       ARRAY(SELECT inhparent::bigint FROM pg_inherits
             WHERE inhrelid = relation.oid AND relispartition) AS parents
FROM relation
WHERE relkind IN ('r', 'p', 'm')
ORDER BY nspname, relname
"""

# Read in the snapshot, pg_class says what was; the function says what is.
CHANGED_SINCE_SNAPSHOT = """
SELECT oid::bigint FROM pg_class
WHERE oid = ANY(%s) AND relfilenode IS DISTINCT FROM pg_relation_filenode(oid)
"""

DATABASE = """
SELECT pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
       CASE to_jsonb(d) ->> 'datlocprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
       coalesce(to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale'),
       to_jsonb(d) ->> 'daticurules', to_jsonb(d) ->> 'datcollversion', current_setting('lc_monetary')
FROM pg_database d WHERE d.datname = current_database()
"""

EXTENSIONS = """
SELECT e.extname, e.extversion, n.nspname
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
ORDER BY e.extname
"""

# A setting for all roles or all databases has the oid 0.
SETTINGS = """
SELECT coalesce(d.datname, ''), coalesce(r.rolname, ''), setting
FROM pg_db_role_setting s
LEFT JOIN pg_database d ON d.oid = s.setdatabase
LEFT JOIN pg_roles r ON r.oid = s.setrole
CROSS JOIN unnest(s.setconfig) setting
WHERE (s.setdatabase = 0 OR d.datname = current_database())
  AND (s.setrole = 0 OR r.rolname !~ '^pg_')
ORDER BY 1, 2, 3
"""

# pg_dump leaves them out without a word; a partitioned one is only waiting for its partitions' indexes.
INVALID_INDEXES = """
SELECT format('%s.%s', n.nspname, c.relname)
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisvalid AND c.relkind = 'i'
ORDER BY 1
"""

# Identities by the server itself. Left out: what initdb made (oid below 16384); what a restore makes under
# another name or not at all (row and array types, operators that others only name, internal triggers, a
# partition's copies of its root's constraints and triggers, NOT NULL constraints, which are unnamed before 18);
# and plpgsql and the schema public, which every database has, but which a user may have made anew.
_CATALOG = f"""
WITH {_MEMBERS},
own AS MATERIALIZED (SELECT * FROM relation WHERE NOT is_member),
object (classid, objid, relid, other) AS (
    SELECT 'pg_class'::regclass::oid, oid, coalesce((
               SELECT d.refobjid FROM pg_depend d
               WHERE own.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = own.oid
                 AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')), oid), 0
    FROM own WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'pg_class'::regclass, i.indexrelid, i.indrelid, 0
    FROM pg_index i JOIN own ON own.oid = i.indrelid
    WHERE i.indisvalid OR own.relkind = 'p'
    UNION ALL
    SELECT 'pg_constraint'::regclass, c.oid, c.conrelid, c.confrelid FROM pg_constraint c
    WHERE (c.contypid <> 0 OR c.conrelid IN (SELECT oid FROM own))
      AND c.connamespace IN (SELECT oid FROM namespace)
      AND c.conparentid = 0 AND c.contype NOT IN ('n', 't')
    UNION ALL
    SELECT 'pg_trigger'::regclass, t.oid, t.tgrelid, 0
    FROM pg_trigger t JOIN own ON own.oid = t.tgrelid
    WHERE NOT t.tgisinternal AND t.tgparentid = 0
    UNION ALL
    SELECT 'pg_rewrite'::regclass, r.oid, r.ev_class, 0
    FROM pg_rewrite r JOIN own ON own.oid = r.ev_class WHERE r.rulename <> '_RETURN'
    UNION ALL
    SELECT 'pg_policy'::regclass, p.oid, p.polrelid, 0
    FROM pg_policy p JOIN own ON own.oid = p.polrelid
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, 0, 0 FROM pg_type t
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typnamespace IN (SELECT oid FROM namespace) AND (t.typrelid = 0 OR c.relkind = 'c')
      AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, 0, 0 FROM namespace WHERE nspname <> 'public'
    UNION ALL
    SELECT 'pg_extension'::regclass, oid, 0, 0 FROM pg_extension WHERE extname <> 'plpgsql'
    UNION ALL
    SELECT 'pg_language'::regclass, oid, 0, 0 FROM pg_language WHERE lanname <> 'plpgsql'
    UNION ALL
    SELECT 'pg_subscription'::regclass, s.oid, 0, 0 FROM pg_subscription s
    JOIN pg_database d ON d.oid = s.subdbid AND d.datname = current_database()
    UNION ALL
    SELECT 'pg_user_mapping'::regclass, umid, 0, 0 FROM pg_user_mappings
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_proc
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_cast
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_operator WHERE oprcode <> 0
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_opclass
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_opfamily
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_am
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_collation
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_conversion
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_ts_config
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_ts_dict
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_ts_parser
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_ts_template
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_foreign_data_wrapper
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_foreign_server
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_event_trigger
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_publication
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_statistic_ext
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_default_acl
    UNION ALL SELECT tableoid, oid, 0, 0 FROM pg_transform
)
SELECT o.classid::bigint, o.objid::bigint, i.type || ' ' || i.identity
FROM object o CROSS JOIN pg_identify_object(o.classid, o.objid, 0) i
WHERE o.objid >= 16384 AND i.identity IS NOT NULL
  AND (i.schema IS NULL OR (i.schema !~ '^pg_' AND i.schema <> 'information_schema'))
  AND NOT EXISTS (SELECT FROM member m WHERE m.classid = o.classid AND m.objid = o.objid)
"""
CATALOG = f"""{_CATALOG}
UNION ALL
SELECT 'pg_largeobject_metadata'::regclass::oid::bigint, 0::bigint, 'large objects ' || count(*)
FROM pg_largeobject_metadata HAVING count(*) > 0
"""
# Of some tables: what belongs to them, and keys between them.
CATALOG_OF_TABLES = f"{_CATALOG} AND o.relid = ANY(%(tables)s) AND (o.other = 0 OR o.other = ANY(%(tables)s))"

# Every database has it, but a user may have made it anew: it is not demanded, only compared where it is.
PUBLIC_SCHEMA = "SELECT tableoid::bigint, oid::bigint, 'schema public' FROM pg_namespace WHERE nspname = 'public'"

SOURCE = """
SELECT current_database(), current_setting('server_version'), session_user,
       (SELECT rolname FROM pg_roles WHERE oid = 10), pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_lsn() END::text,
       CASE WHEN NOT pg_is_in_recovery() THEN NULL
            -- All that came is replayed and more can come: the standby is as fresh as can be seen from here.
            WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()
                 AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
            ELSE extract(epoch FROM clock_timestamp()
                                    - pg_last_xact_replay_timestamp()) END::float8
"""

SYSTEM_IDENTIFIER = """
SELECT CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
            THEN (SELECT system_identifier::text FROM pg_control_system()) END
"""

ROLE_NAMES = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY rolname"

# oid 10 is initdb's superuser: it exists wherever this runs.
CREATE_ROLES = """
SELECT format('CREATE ROLE %I WITH %s %s %s %s %s %s %s CONNECTION LIMIT %s', rolname,
              CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END,
              CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
              CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
              CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
              CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
              CASE WHEN rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
              CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, rolconnlimit)
       || coalesce(' VALID UNTIL ' || quote_literal(rolvaliduntil), '')
FROM pg_roles WHERE rolname !~ '^pg_' AND oid <> 10
ORDER BY rolname
"""

# Role, member, grantor, whether the grantor may grant anything, whether the member may grant on, statement.
# Options other than ADMIN came with 16; before it the grantor means nothing.
MEMBERSHIPS = """
SELECT r.rolname, m.rolname, g.rolname,
       current_setting('server_version_num')::int < 160000 OR g.oid IS NULL OR g.oid = 10 OR g.rolsuper,
       a.admin_option,
       format('GRANT %I TO %I', r.rolname, m.rolname)
       || CASE WHEN to_jsonb(a) ? 'inherit_option'
               THEN format(' WITH ADMIN %s, INHERIT %s, SET %s', upper(a.admin_option::text),
                           upper(to_jsonb(a) ->> 'inherit_option'), upper(to_jsonb(a) ->> 'set_option'))
                    || coalesce(' GRANTED BY ' || quote_ident(g.rolname), '')
               WHEN a.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END
FROM pg_auth_members a
JOIN pg_roles r ON r.oid = a.roleid
JOIN pg_roles m ON m.oid = a.member
LEFT JOIN pg_roles g ON g.oid = a.grantor
WHERE m.rolname !~ '^pg_'
ORDER BY 1, 2, 3
"""

ROLE_COMMENTS = """
SELECT format('COMMENT ON ROLE %I IS %L', rolname, shobj_description(oid, 'pg_authid'))
FROM pg_roles
WHERE rolname !~ '^pg_' AND shobj_description(oid, 'pg_authid') IS NOT NULL
ORDER BY rolname
"""

TABLESPACES = """
SELECT spcname, format('CREATE TABLESPACE %I OWNER %I LOCATION %L', spcname, pg_get_userbyid(spcowner),
                       pg_tablespace_location(oid))
                || coalesce(' WITH (' || array_to_string(spcoptions, ', ') || ')', '')
FROM pg_tablespace WHERE spcname !~ '^pg_'
ORDER BY spcname
"""

# What only a dump with --create holds. Privileges are written out whenever they are not the default.
DATABASE_STATEMENTS = """
WITH db AS (SELECT * FROM pg_database WHERE datname = current_database()),
privilege AS (
    SELECT db.datname, a.*, coalesce(quote_ident(r.rolname), 'PUBLIC') AS role
    FROM db CROSS JOIN aclexplode(db.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE a.grantee = 0 OR r.oid IS NOT NULL
)
SELECT statement FROM (
    SELECT 1, format('ALTER DATABASE %I OWNER TO %I', datname, pg_get_userbyid(datdba)) FROM db
    UNION ALL
    SELECT 2, format('ALTER DATABASE %I CONNECTION LIMIT %s', datname, datconnlimit) FROM db
    WHERE datconnlimit >= 0
    UNION ALL
    SELECT 3, format('COMMENT ON DATABASE %I IS %L', datname, shobj_description(oid, 'pg_database')) FROM db
    WHERE shobj_description(oid, 'pg_database') IS NOT NULL
    UNION ALL
    SELECT 4, format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname) FROM db WHERE datacl IS NOT NULL
    UNION ALL
    SELECT 5, format('GRANT %s ON DATABASE %I TO %s%s', privilege_type, datname, role,
                     CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM privilege
) statements (step, statement)
ORDER BY step, statement
"""
