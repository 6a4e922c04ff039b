"""Whole databases made at random: every choice is the `Random`'s, so one seed is one database.

The statements are such as people write, in odd combinations; a server may refuse some of them (a key over a type
without an order, a default of another type), and those are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

NAMES = (
    "a", "ventas", "T able", "Ñandú", 'com"illa', "select", "o'brien", "x.y", "日本", "p;q", "-- c", "$$", "%s", "b\\n",
    "MAYÚS", " al frente", "nueva\nlínea", "tab\tulado", "_", "n" * 63, "user", "(", "a)b", "100%", "é" * 31,
)  # fmt: skip
TEXTS = (
    "''", "' '", "'a'", "'NULL'", r"'\N'", r"'\.'", r"E'a\tb\nc\\d\re\x01'", "'it''s'", "'ñandú 日本 😀'", "' x '", "'\\'",
    "repeat('largo ', 700)", "'{}'", "'\"'", "'a,b'", "'0'", "'ﬁ'", r"E'\u200b'", "'-- no'", "'$1'", "'%'", "NULL",
)  # fmt: skip
VALUES: dict[str, tuple[str, ...]] = {
    "smallint": ("0", "-32768", "32767", "NULL"),
    "integer": ("0", "1", "-1", "2147483647", "NULL"),
    "bigint": ("0", "9223372036854775807", "-9223372036854775808", "7"),
    "numeric": ("0", "'NaN'", "'Infinity'", "1e-30", "1.10", "1.1", "-0.0", "123456789012345678901234567890.5", "NULL"),
    "numeric(10,3)": ("0", "1.5", "-9999999.999", "'NaN'"),
    "real": ("'NaN'", "'-Infinity'", "'-0'", "0", "3.4028235e38", "1e-45", "0.1"),
    "double precision": ("'NaN'", "'Infinity'", "'-0'", "0", "0.1", "1e308", "5e-324", "0.30000000000000004", "NULL"),
    "money": ("0", "'-1234.56'::numeric", "12.3", "NULL"),
    "text": TEXTS,
    "character varying(12)": ("''", "'a'", "' a '", "'ñandú'", r"'\N'", "NULL"),
    "character(5)": ("''", "'a'", "'  a'", "'abcde'", "NULL"),
    '"char"': ("'a'", "''", "NULL"),
    "name": ("'a'", "'A b'"),
    "bytea": (r"'\x'", r"'\x00ff5c'", "'abc'", r"'\x0d0a'", "NULL"),
    "boolean": ("true", "false", "NULL"),
    "date": ("'2024-02-29'", "'infinity'", "'4713-01-01 BC'", "'9999-12-31'", "NULL"),
    "time": ("'24:00'", "'00:00:00.000001'"),
    "time with time zone": ("'12:00+05:30'", "'23:59:59-12'"),
    "timestamp": ("'2024-03-31 02:30'", "'-infinity'", "'0001-01-01 BC'", "'2024-01-01 00:00:00.123456'"),
    "timestamp with time zone": ("'2024-03-31 02:30 Europe/Madrid'", "'infinity'", "'1900-01-01 00:00+00'", "NULL"),
    "timestamp(2) with time zone": ("'2024-03-31 02:30:00.125+00'",),
    "interval": ("'1 mon -1 day 00:00:01.5'", "'-1 year'", "'0'", "'1 day'", "'24:00'", "NULL"),
    "interval year to month": ("'1-2'", "'-3'"),
    "uuid": ("'00000000-0000-0000-0000-000000000000'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
    "json": ("'{\"b\": 1,  \"a\": 1, \"a\": 2}'", "'null'", "'\"\\u00e9\"'", "NULL"),
    "jsonb": ("'{\"b\": 1, \"a\": [1.10, null]}'", "'null'", "'\"\"'", "'1e2'", "NULL"),
    "jsonpath": ("'$.a[*] ? (@ > 1)'",),
    "xml": ("'<a b=\"c\">d</a>'", "'x'", "NULL"),
    "bit(5)": ("B'10101'", "B'00000'"),
    "bit varying": ("B''", "B'1'", "B'0101'"),
    "inet": ("'192.168.0.1'", "'192.168.0.1/24'", "'::1'", "NULL"),
    "cidr": ("'10.0.0.0/8'", "'::/0'"),
    "macaddr": ("'08:00:2b:01:02:03'",),
    "macaddr8": ("'08:00:2b:01:02:03:04:05'",),
    "point": ("'(1,2)'", "'(-0,NaN)'", "NULL"),
    "line": ("'{1,-1,0}'",),
    "lseg": ("'[(0,0),(1,1)]'",),
    "box": ("'(1,1),(0,0)'", "'(2,2),(0.1,0)'"),
    "path": ("'[(0,0),(1,1)]'", "'((0,0),(1,1))'"),
    "polygon": ("'((0,0),(1,1),(0,1))'",),
    "circle": ("'<(0,0),1>'",),
    "tsvector": ("'a:1A b:2'::tsvector", "''", "to_tsvector('simple', 'el perro y el gato')", "NULL"),
    "tsquery": ("'a & !b'", "'a <-> b'"),
    "int4range": ("'[1,5)'", "'empty'", "'(,)'", "'[3,3]'", "NULL"),
    "numrange": ("'[1.10,2.0]'", "'(1,)'"),
    "tstzrange": ("'[2024-01-01 00:00+00,)'", "'empty'"),
    "daterange": ("'[2024-01-01,2024-12-31]'",),
    "int4multirange": ("'{[1,3),[5,9)}'", "'{}'"),
    "tsmultirange": ("'{[2024-01-01,2024-01-02)}'",),
    "integer[]": ("'{}'", "'{1,NULL,3}'", "'[0:1]={7,8}'", "'{{1,2},{3,4}}'", "NULL"),
    "text[]": ("'{}'", "ARRAY['a,b','\"','NULL',NULL,'']", "'{{a,b},{c,d}}'", "NULL"),
    "numeric(6,2)[]": ("'{1.50,NaN}'",),
    "timestamp with time zone[]": ("ARRAY['2024-01-01 00:00+00'::timestamptz]",),
    "jsonb[]": ("ARRAY['{\"a\": 1}'::jsonb]",),
    "oid": ("0", "4294967295"),
    "regtype": ("'integer'", "'text'"),
    "regclass": ("'pg_catalog.pg_class'",),
    "pg_lsn": ("'0/0'", "'FF/12345678'"),
    "pg_snapshot": ("'10:20:10,14'",),
    "xid8": ("'42'",),
}  # fmt: skip
ROLES = ("fulano", "La Zutana")
_ORDERED = ("integer", "bigint", "text", "date", "numeric", "timestamp with time zone", "uuid", "character varying(12)")
_CHECKS = (
    "{c} IS NOT NULL OR {d} IS NULL", "({c} IS NULL OR {d} IS NULL) AND true", "length({c}::text) < 9999 OR {c} IS NULL",
    "{c}::text IN ('a', 'b') OR {c}::text NOT IN ('zz', 'yy')", "{c}::text COLLATE \"C\" >= ''",
    "{c}::text::varchar(40) IN ('x', 'y') OR length({c}::text) BETWEEN 0 AND 99999 AND {d} IS NOT DISTINCT FROM {d}",
    "CASE WHEN {c} IS NULL THEN true ELSE coalesce({d}::text, '') NOT LIKE '~~%' END", "NOT ({c} IS NULL AND {d} IS NOT NULL) OR true",
    "({c}, {d}) IS NOT DISTINCT FROM ({c}, {d})", "{c}::text ~ '.*' IS NOT FALSE", "{c}::text NOT BETWEEN '~1' AND '~2' OR {d} IS NULL",
)  # fmt: skip
_QUERIES = (
    "SELECT * FROM {t}", "SELECT {c} AS k, count(*) AS n FROM {t} GROUP BY {c}::text, {c}", "SELECT {c} FROM {t} WHERE {d} IS NOT NULL ORDER BY {c}::text DESC LIMIT 5",
    "WITH q AS MATERIALIZED (SELECT * FROM {t}) SELECT q.{c}, x.n FROM q, LATERAL (SELECT count(*) AS n FROM {t} i WHERE i.{d} IS NULL) x",
    "SELECT {c}::text AS v FROM {t} UNION ALL SELECT NULL UNION SELECT 'fijo'", "SELECT row_number() OVER (PARTITION BY {c}::text ORDER BY {d}::text) AS fila FROM {t}",
    "SELECT a.{c} AS izq, b.{d} AS der FROM {t} a LEFT JOIN {t} b ON a.{c}::text = b.{c}::text OR (a.{d} IS NULL AND b.{d} IS NULL)",
    "SELECT 1 AS uno, 'x' AS equis, NULL AS nada, ARRAY[1,2] AS arr, now()::date AS hoy FROM {t}", "SELECT CASE WHEN {c}::text IN ('a','b') THEN 1 ELSE 2 END AS clase FROM {t} WHERE NOT ({c} IS NULL OR {d} IS NULL)",
    "SELECT EXISTS (SELECT 1 FROM {t} z WHERE z.{c}::text = o.{c}::text) AS hay, o.* FROM {t} o", "VALUES (1, 'a'), (2, NULL)",
)  # fmt: skip


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    # With E the meaning of a backslash does not hang on a setting.
    return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@dataclass(slots=True)
class _Table:
    name: str  # as SQL
    columns: list[tuple[str, str]]  # name as SQL, type
    writable: list[str]
    key: list[str] = field(default_factory=list)
    is_partitioned: bool = False


class RandomDatabase:
    """The statements of one database, in order."""

    def __init__(self, rng: Random, *, size: int = 4) -> None:
        self._rng = rng
        self._size = size
        self._numbered = 0
        self._schemas: list[str] = []
        self._types: dict[str, tuple[str, ...]] = dict(VALUES)
        self._own: list[str] = []
        self._tables: list[_Table] = []
        self._functions: list[str] = []

    def statements(self) -> Iterator[str]:
        yield from self._make_schemas()
        yield from self._make_types()
        yield from self._make_functions()
        for _ in range(self._between(1, self._size)):
            yield from self._make_table()
        yield from self._make_keys()
        parts = (
            self._index, self._view, self._trigger, self._policy, self._comment, self._grant, self._sequence, self._rule,
            self._statistics, self._default_privileges, self._owner, self._odd, self._odd, self._setting, self._large_object,
        )  # fmt: skip
        for _ in range(self._between(0, 4 * self._size)):
            yield from self._rng.choice(parts)()
        yield from self._move_rows()

    # Choosing

    def _between(self, low: int, high: int) -> int:
        return self._rng.randint(low, high)

    def _maybe(self, percent: int = 50) -> bool:
        return self._rng.randrange(100) < percent

    def _name(self) -> str:
        """A new one: most are odd, and no two alike."""
        self._numbered += 1
        name = self._rng.choice(NAMES)
        return quoted(name if self._numbered < 3 else f"{name[:24]}{self._numbered}")

    def _placed(self) -> str:
        return f"{self._rng.choice(self._schemas)}.{self._name()}"

    def _type(self) -> str:
        return self._rng.choice(self._own if self._own and self._maybe(25) else list(self._types))

    def _value(self, kind: str) -> str:
        value = self._rng.choice(self._types[kind])
        return value if value.startswith(("repeat", "to_tsvector", "ARRAY", "ROW")) else f"{value}::{kind}"

    def _table(self) -> _Table:
        return self._rng.choice(self._tables)

    def _two(self, table: _Table) -> tuple[str, str]:
        return self._rng.choice(table.columns)[0], self._rng.choice(table.columns)[0]

    # What tables stand on

    def _make_schemas(self) -> Iterator[str]:
        self._schemas = ["public"]
        for _ in range(self._between(0, 2)):
            schema = self._name()
            self._schemas.append(schema)
            yield f"CREATE SCHEMA {schema}" + (f" AUTHORIZATION {quoted(ROLES[0])}" if self._maybe(20) else "")

    def _make_types(self) -> Iterator[str]:
        for _ in range(self._between(0, 4)):
            name, kind = self._placed(), self._between(0, 4)
            if kind == 0:
                labels = self._rng.sample(["a", "B b", "ñ", "", "x'y", "z\\z", "last"], self._between(1, 4))
                yield f"CREATE TYPE {name} AS ENUM ({', '.join(map(literal, labels))})"
                values = tuple(map(literal, labels))
            elif kind == 1:
                base = self._type()
                check = "" if self._maybe() else f" CONSTRAINT {self._name()} CHECK (VALUE IS NOT NULL OR true)"
                default = f" DEFAULT {self._value(base)}" if self._maybe(40) else ""
                yield f"CREATE DOMAIN {name} AS {base}{default}{check}"
                values = tuple(f"({self._value(base)})" for _ in range(3))
            elif kind == 2:
                first, second = self._type(), self._type()
                yield f"CREATE TYPE {name} AS ({self._name()} {first}, {self._name()} {second})"
                values = tuple(f"ROW({self._value(first)}, {self._value(second)})::{name}" for _ in range(3))
            elif kind == 3 and self._own:
                base = self._rng.choice(self._own)
                name = f"{base}[]" if not base.endswith("]") else base
                values = ("'{}'", "NULL", f"ARRAY[{self._value(base)}, NULL]")
            else:
                base = self._rng.choice(_ORDERED)
                yield f"CREATE TYPE {name} AS RANGE (subtype = {base})"
                values = ("'empty'", "'(,)'", "NULL")
            self._types[name] = values
            self._own.append(name)

    def _make_functions(self) -> Iterator[str]:
        for _ in range(self._between(0, 2)):
            name, kind = self._placed(), self._type()
            self._functions.append(f"{name}({kind})")
            volatility = self._rng.choice(("IMMUTABLE", "STABLE", "VOLATILE", "STRICT IMMUTABLE"))
            body = self._rng.choice(
                ("$$ SELECT $1 $$", "$x$ SELECT $1 -- $$ 'x' \\ \n $x$", "RETURN $1", "BEGIN ATOMIC SELECT $1; END")
            )
            body = body if not body.startswith("$") else f"AS {body}"
            yield f"CREATE FUNCTION {name}(p {kind} DEFAULT {self._value(kind)}) RETURNS {kind} LANGUAGE sql {volatility} {body}"

    # Tables

    def _make_table(self) -> Iterator[str]:
        name, lines = self._placed(), []
        table = _Table(name, [], [])
        for _ in range(self._between(1, 6)):
            column, kind = self._name(), self._type()
            line = f"{column} {kind}"
            table.columns.append((column, kind))
            table.writable.append(column)
            if self._maybe(15):
                line += f" CONSTRAINT {self._name()} NOT NULL" if self._maybe(30) else " NOT NULL"
            if self._maybe(30):
                line += f" DEFAULT {self._default(kind)}"
            if kind in ("text", "character varying(12)") and self._maybe(20):
                line += ' COLLATE "C"'
            if self._maybe(12):
                line += f" CHECK ({self._check(table)})"
            lines.append(line)
        lines += self._extras(table)
        partition = self._between(0, 99)
        if partition < 20:
            yield from self._partitioned(table, lines, partition)
        elif partition < 30 and self._tables:
            parent = self._table()
            yield f"CREATE TABLE {name} ({', '.join(lines)}) INHERITS ({parent.name})"
            yield (
                f"ALTER TABLE ONLY {parent.name} ADD COLUMN {self._name()} integer DEFAULT 3" if self._maybe(0) else ""
            )
        else:
            kind = "UNLOGGED " if self._maybe(5) else ""
            options = self._rng.choice(
                (
                    "",
                    "",
                    "",
                    " WITH (fillfactor = 70)",
                    " WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)",
                )
            )
            yield f"CREATE {kind}TABLE {name} ({', '.join(lines)}){options}"
        self._tables.append(table)
        yield from self._alterations(table)
        yield from self._rows(table)

    def _default(self, kind: str) -> str:
        if kind.startswith("timestamp") and self._maybe():
            return self._rng.choice(("now()", "CURRENT_TIMESTAMP", "clock_timestamp() + '1 day'::interval"))
        if kind == "uuid":
            return "gen_random_uuid()"
        if kind == "text" and self._maybe():
            return self._rng.choice(("CURRENT_USER", "md5(random()::text)", "'a' || ('b' || 'c')", "upper('x')"))
        return self._value(kind)

    def _check(self, table: _Table) -> str:
        c, d = self._two(table)
        return self._rng.choice(_CHECKS).format(c=c, d=d)

    def _extras(self, table: _Table) -> list[str]:
        """Identities, generated columns, keys and constraints."""
        lines = []
        if self._maybe(30):
            column = self._name()
            how = self._rng.choice(("BY DEFAULT", "ALWAYS"))
            options = self._rng.choice(
                ("", "", " (START -5 INCREMENT 3 MINVALUE -100)", " (CYCLE MAXVALUE 99 CACHE 4)")
            )
            lines.append(
                f"{column} {self._rng.choice(('integer', 'bigint', 'smallint'))} GENERATED {how} AS IDENTITY{options}"
            )
            table.columns.append((column, "identity"))
            table.key = [column]
        elif self._maybe(30):
            column = self._name()
            lines.append(f"{column} {self._rng.choice(('serial', 'bigserial'))}")
            table.columns.append((column, "serial"))
            table.key = [column]
        if self._maybe(25):
            column = self._name()
            source = self._rng.choice(table.columns)[0]
            lines.append(
                f"{column} boolean GENERATED ALWAYS AS ({source} IS NULL OR ({source} IS NOT NULL AND true)) STORED"
            )
            table.columns.append((column, "generated"))
        if not table.key and self._maybe(40):
            table.key = [column for column, kind in table.columns if kind in _ORDERED][: self._between(1, 2)]
        if table.key and self._maybe(80):
            lines.append(
                f"CONSTRAINT {self._name()} {self._rng.choice(('PRIMARY KEY', 'UNIQUE'))} ({', '.join(table.key)})"
            )
        else:
            table.key = []
        if self._maybe(25):
            lines.append(
                f"CONSTRAINT {self._name()} CHECK ({self._check(table)})" + (" NO INHERIT" if self._maybe(20) else "")
            )
        ranges = [column for column, kind in table.columns if kind.endswith("range")]
        if ranges and self._maybe():
            lines.append(
                f"CONSTRAINT {self._name()} EXCLUDE USING gist ({ranges[0]} WITH &&) WHERE ({ranges[0]} IS NULL)"
            )
        return lines

    def _partitioned(self, table: _Table, lines: list[str], how: int) -> Iterator[str]:
        table.is_partitioned = True
        table.key = []
        lines = [line for line in lines if not any(word in line for word in (" PRIMARY KEY ", " UNIQUE ", "EXCLUDE"))]
        column = self._name()
        lines.append(f"{column} integer")
        table.columns.append((column, "integer"))
        table.writable.append(column)
        kind = ("RANGE", "LIST", "HASH")[how % 3]
        key = column if self._maybe(80) else f"(({column} + 1))"
        yield f"CREATE TABLE {table.name} ({', '.join(lines)}) PARTITION BY {kind} ({key})"
        bounds = {
            "RANGE": ("FROM (MINVALUE) TO (0)", "FROM (0) TO (2000000000)"),
            "LIST": ("IN (0, 1, NULL)", "IN (-1)"),
            "HASH": ("WITH (MODULUS 2, REMAINDER 0)", "WITH (MODULUS 2, REMAINDER 1)"),
        }[kind]
        leaves = []
        for bound in bounds:
            leaf = self._placed()
            leaves.append(leaf)
            yield f"CREATE TABLE {leaf} PARTITION OF {table.name} FOR VALUES {bound}"
        if kind != "HASH":
            leaves.append(self._placed())
            yield f"CREATE TABLE {leaves[-1]} PARTITION OF {table.name} DEFAULT"
        if self._maybe(40):
            yield f"CREATE INDEX {self._name()} ON {table.name} ({column})"
        if self._maybe(30):
            yield f"ALTER TABLE {self._rng.choice(leaves)} ALTER {column} SET DEFAULT 1"
        if self._maybe(30):
            yield f"ALTER TABLE {table.name} DETACH PARTITION {leaves.pop()}"

    def _alterations(self, table: _Table) -> Iterator[str]:
        """What tables of some age have been through."""
        if self._maybe(20):
            column = self._name()
            yield f"ALTER TABLE {table.name} ADD COLUMN {column} integer DEFAULT 7"
            table.columns.append((column, "integer"))
            table.writable.append(column)
        if self._maybe(15):
            yield f"ALTER TABLE {table.name} ADD COLUMN pasajera text"
            yield f"ALTER TABLE {table.name} DROP COLUMN pasajera"
        column, kind = self._rng.choice(table.columns)
        if self._maybe(15):
            yield f"ALTER TABLE {table.name} ALTER {column} SET STATISTICS {self._between(0, 500)}"
        if self._maybe(15) and kind in ("text", "jsonb", "bytea"):
            yield f"ALTER TABLE {table.name} ALTER {column} SET STORAGE {self._rng.choice(('EXTERNAL', 'MAIN', 'PLAIN'))}"
        if self._maybe(10):
            yield f"ALTER TABLE {table.name} ALTER {column} SET (n_distinct = -0.5)"
        if self._maybe(10):
            yield f"ALTER TABLE {table.name} REPLICA IDENTITY {self._rng.choice(('FULL', 'NOTHING'))}"

    def _rows(self, table: _Table) -> Iterator[str]:
        kinds = dict(table.columns)
        for _ in range(self._between(0, 12)):
            row = ", ".join(self._value(kinds[column]) for column in table.writable)
            yield f"INSERT INTO {table.name} ({', '.join(table.writable)}) VALUES ({row})"

    def _make_keys(self) -> Iterator[str]:
        """Foreign keys, to itself and in circles too, checked and not."""
        for target in [table for table in self._tables if len(table.key) == 1 and not table.is_partitioned]:
            for _ in range(self._between(0, 2)):
                child, column = self._table(), self._name()
                kind = dict(target.columns)[target.key[0]].replace("identity", "bigint").replace("serial", "bigint")
                action = self._rng.choice(
                    ("", " ON DELETE CASCADE", " ON UPDATE SET NULL", " DEFERRABLE INITIALLY DEFERRED", " MATCH FULL")
                )
                valid = " NOT VALID" if self._maybe(20) and not child.is_partitioned else ""
                yield f"ALTER TABLE {child.name} ADD COLUMN {column} {kind}"
                yield (
                    f"ALTER TABLE {child.name} ADD CONSTRAINT {self._name()} FOREIGN KEY ({column}) "
                    f"REFERENCES {target.name} ({target.key[0]}){action}{valid}"
                )

    # Everything else

    def _index(self) -> Iterator[str]:
        table = self._table()
        c, d = self._two(table)
        method = self._rng.choice(("btree", "btree", "btree", "hash", "gist", "gin", "brin", "spgist"))
        what = self._rng.choice(
            (
                c,
                f"{c} DESC NULLS LAST, {d}",
                f"(({c} IS NULL))",
                f"(lower({c}::text)), {d}",
                f"({c}::text || 'x'::text) COLLATE \"C\"",
            )
        )
        where = self._rng.choice(("", "", f" WHERE {self._check(table)}", f" WHERE {c} IS NOT NULL"))
        unique = "UNIQUE " if self._maybe(10) else ""
        include = f" INCLUDE ({d})" if method in ("btree", "gist") and self._maybe(15) else ""
        options = " WITH (fillfactor = 60)" if self._maybe(10) else ""
        name = self._name()
        yield f"CREATE {unique}INDEX {name} ON {table.name} USING {method} ({what}){include}{options}{where}"
        if self._maybe(10):
            yield f"ALTER TABLE {table.name} CLUSTER ON {name}"

    def _view(self) -> Iterator[str]:
        table = self._table()
        c, d = self._two(table)
        query = self._rng.choice(_QUERIES).format(t=table.name, c=c, d=d)
        name = self._placed()
        if self._maybe(40):
            yield f"CREATE MATERIALIZED VIEW {name} AS {query} WITH {'NO ' if self._maybe(30) else ''}DATA"
            if self._maybe():
                yield f"INSERT INTO {table.name} DEFAULT VALUES"
        else:
            options = self._rng.choice(("", "", " WITH (security_barrier = true)"))
            check = " WITH LOCAL CHECK OPTION" if query.startswith("SELECT *") and self._maybe(30) else ""
            yield f"CREATE VIEW {name}{options} AS {query}{check}"

    def _trigger(self) -> Iterator[str]:
        table, function, name = self._table(), self._placed(), self._name()
        yield f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $_$ BEGIN /* '{self._numbered} */ RETURN NEW; END $_$"
        c, _ = self._two(table)
        when = self._rng.choice(("", f" WHEN (NEW.{c} IS NOT NULL OR (NEW.{c} IS NULL AND true))"))
        event = self._rng.choice(
            ("BEFORE INSERT", f"BEFORE UPDATE OF {c}", "AFTER INSERT OR DELETE", "BEFORE INSERT OR UPDATE")
        )
        when = when if "DELETE" not in event else ""
        yield f"CREATE TRIGGER {name} {event} ON {table.name} FOR EACH ROW{when} EXECUTE FUNCTION {function}({literal('arg 1')})"
        if self._maybe(30):
            yield f"ALTER TABLE {table.name} {self._rng.choice(('DISABLE', 'ENABLE ALWAYS', 'ENABLE REPLICA'))} TRIGGER {name}"

    def _policy(self) -> Iterator[str]:
        table = self._table()
        if self._maybe(80):
            yield f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY"
        if self._maybe(20):
            yield f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY"
        kind = self._rng.choice(("", " AS RESTRICTIVE", " FOR SELECT", " FOR UPDATE"))
        role = self._rng.choice(("", f" TO {quoted(ROLES[1])}", " TO CURRENT_USER"))
        yield f"CREATE POLICY {self._name()} ON {table.name}{kind}{role} USING ({self._check(table)})"

    def _comment(self) -> Iterator[str]:
        table = self._table()
        text = literal(self._rng.choice(("hola", "it's\n-- Name: x; Type: TABLE", "ñ \\ $$", "a; DROP TABLE b;")))
        yield self._rng.choice((
            f"COMMENT ON TABLE {table.name} IS {text}", f"COMMENT ON COLUMN {table.name}.{table.columns[0][0]} IS {text}",
            f"COMMENT ON SCHEMA {self._schemas[-1]} IS {text}", f"COMMENT ON TYPE {self._rng.choice(self._own or ['x'])} IS {text}",
            f"COMMENT ON FUNCTION {self._rng.choice(self._functions or ['x()'])} IS {text}",
        ))  # fmt: skip

    def _grant(self) -> Iterator[str]:
        table, role = self._table(), self._rng.choice((*map(quoted, ROLES), "PUBLIC"))
        option = " WITH GRANT OPTION" if role != "PUBLIC" and self._maybe(25) else ""
        yield self._rng.choice((
            f"GRANT SELECT, UPDATE ON {table.name} TO {role}{option}", f"GRANT UPDATE ({table.columns[0][0]}) ON {table.name} TO {role}",
            f"REVOKE ALL ON {table.name} FROM CURRENT_USER", f"GRANT USAGE ON SCHEMA {self._schemas[-1]} TO {role}{option}",
            f"REVOKE ALL ON FUNCTION {self._rng.choice(self._functions or ['x()'])} FROM PUBLIC",
            f"GRANT USAGE ON TYPE {self._rng.choice(self._own or ['x'])} TO {role}", "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        ))  # fmt: skip

    def _sequence(self) -> Iterator[str]:
        name = self._placed()
        yield f"CREATE SEQUENCE {name} {self._rng.choice(('', 'AS smallint', 'INCREMENT -2 MAXVALUE 100', 'CYCLE MINVALUE 3 START 9'))}"
        if self._maybe():
            yield f"SELECT nextval({literal(name)}), nextval({literal(name)})"
        if self._maybe(30):
            table = self._table()
            yield f"ALTER SEQUENCE {name} OWNED BY {table.name}.{table.columns[0][0]}"

    def _rule(self) -> Iterator[str]:
        table = self._table()
        c, _ = self._two(table)
        what = self._rng.choice(("NOTHING", f"(SELECT {c} FROM {table.name} WHERE {c} IS NULL)"))
        yield f"CREATE RULE {self._name()} AS ON DELETE TO {table.name} WHERE OLD.{c} IS NULL OR false DO ALSO {what}"

    def _statistics(self) -> Iterator[str]:
        table = self._table()
        c, d = self._two(table)
        yield f"CREATE STATISTICS {self._placed()} {self._rng.choice(('', '(ndistinct)', '(mcv)'))} ON {c}, {d} FROM {table.name}"
        yield f"CREATE STATISTICS {self._placed()} ON ({c}::text || 'x'), ({d} IS NULL) FROM {table.name}"

    def _default_privileges(self) -> Iterator[str]:
        place = self._rng.choice(("", f"IN SCHEMA {self._schemas[-1]} "))
        what = self._rng.choice(("SELECT ON TABLES", "USAGE ON SEQUENCES", "EXECUTE ON FUNCTIONS"))
        yield f"ALTER DEFAULT PRIVILEGES {place}GRANT {what} TO {quoted(self._rng.choice(ROLES))}"

    def _owner(self) -> Iterator[str]:
        role = quoted(self._rng.choice(ROLES))
        yield self._rng.choice((
            f"ALTER TABLE {self._table().name} OWNER TO {role}", f"ALTER SCHEMA {self._schemas[-1]} OWNER TO {role}",
            f"ALTER TYPE {self._rng.choice(self._own or ['x'])} OWNER TO {role}",
            f"ALTER FUNCTION {self._rng.choice(self._functions or ['x()'])} OWNER TO {role}",
        ))  # fmt: skip

    def _odd(self) -> Iterator[str]:
        """One object of a kind that few databases have."""
        one, two, table = self._placed(), self._placed(), self._table()
        made: tuple[Callable[[], tuple[str, ...]], ...] = (
            lambda: (f"CREATE AGGREGATE {one}(integer) (sfunc = int4pl, stype = integer, initcond = '{self._between(0, 9)}')",),
            lambda: (f"CREATE OPERATOR public.#{'<>' * self._between(1, 3)} (leftarg = point, rightarg = integer, function = pg_catalog.point)",),
            lambda: (f"CREATE COLLATION {one} (locale = 'C')",),
            lambda: (f"CREATE TEXT SEARCH CONFIGURATION {one} (COPY = simple)", f"CREATE TEXT SEARCH DICTIONARY {two} (template = simple, accept = false)",
                     f"ALTER TEXT SEARCH CONFIGURATION {one} ALTER MAPPING FOR word WITH {two}, simple"),
            lambda: (f"CREATE FOREIGN DATA WRAPPER {self._name()}", f"CREATE FOREIGN DATA WRAPPER w{self._numbered}",
                     f"CREATE SERVER s{self._numbered} FOREIGN DATA WRAPPER w{self._numbered} OPTIONS (host 'x', clave 'secreta')",
                     f"CREATE FOREIGN TABLE {one} (a integer OPTIONS (x 'y') NOT NULL, b text DEFAULT 'x') SERVER s{self._numbered} OPTIONS (tabla 't')"),
            lambda: (f"CREATE PUBLICATION {self._name()} FOR TABLE {table.name}", f"CREATE PUBLICATION {self._name()} FOR ALL TABLES WITH (publish = 'insert')"),
            lambda: (f"CREATE FUNCTION {one}() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
                     f"CREATE EVENT TRIGGER {self._name()} ON ddl_command_end WHEN TAG IN ('CREATE CAST') EXECUTE FUNCTION {one}()"),
            lambda: (f"CREATE PROCEDURE {one}(INOUT a integer, b text DEFAULT 'x') LANGUAGE plpgsql AS $$ BEGIN a := 1; END $$",),
            lambda: (f"CREATE FUNCTION {one}(VARIADIC a integer[], OUT b text, OUT c {self._type()}) LANGUAGE plpgsql STABLE COST 7 SECURITY DEFINER "
                     f"SET search_path = public, pg_temp SET work_mem = '8MB' AS $f$ BEGIN b := 'x'; END $f$",),
            lambda: (f"CREATE FUNCTION {one}() RETURNS TABLE (x integer, {self._name()} {self._type()}) LANGUAGE sql ROWS 5 BEGIN ATOMIC SELECT 1, NULL; END",),
            lambda: (f"CREATE TABLE {one} OF {self._rng.choice(self._own or ['x'])}",),
            lambda: (f"CREATE TABLE {one} (LIKE {table.name} INCLUDING ALL)", f"INSERT INTO {one} SELECT * FROM {table.name}"),
            lambda: (f"CREATE TABLE {one} ()", f"INSERT INTO {one} DEFAULT VALUES"),
            lambda: ("CREATE CAST (point AS integer) WITH INOUT AS ASSIGNMENT",),
            lambda: (f"CREATE EXTENSION IF NOT EXISTS {self._rng.choice(('hstore', 'citext', 'btree_gist', 'pg_trgm', 'ltree'))}",),
            lambda: (f"CREATE DOMAIN {one} AS text CHECK (VALUE = ANY (ARRAY['a'::varchar, 'b']) OR VALUE IN ('x', 'y'))",),
            lambda: (f"ALTER TABLE {table.name} ADD CHECK ({self._check(table)}) NOT VALID",),
            lambda: (f"CREATE VIEW {one} AS {_QUERIES[0].format(t=table.name)}", f"CREATE FUNCTION {two}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
                     f"CREATE TRIGGER t INSTEAD OF INSERT ON {one} FOR EACH ROW EXECUTE FUNCTION {two}()", f"ALTER VIEW {one} ALTER {table.columns[0][0]} SET DEFAULT NULL"),
        )  # fmt: skip
        yield from self._rng.choice(made)()

    def _setting(self) -> Iterator[str]:
        yield "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET " + self._rng.choice((
            "DateStyle = ''SQL, DMY''", "IntervalStyle = ''iso_8601''", "TimeZone = ''Asia/Kolkata''", "bytea_output = ''escape''",
            "extra_float_digits = -2", "search_path = ''public, \"x y\"''", "client_encoding = ''LATIN1''", "row_security = off",
            "default_text_search_config = ''pg_catalog.spanish''", "quote_all_identifiers = on", "array_nulls = off", "lc_monetary = ''C''",
            "xmloption = ''document''", "standard_conforming_strings = on", "synchronize_seqscans = off", "default_table_access_method = heap",
            "check_function_bodies = off", "statement_timeout = ''1h''", "backslash_quote = off", "transform_null_equals = on",
        )) + "', current_database()); END $$"  # fmt: skip

    def _large_object(self) -> Iterator[str]:
        yield f"SELECT lo_from_bytea(0, convert_to({literal(self._rng.choice(NAMES))}, 'UTF8'))"

    def _move_rows(self) -> Iterator[str]:
        """So that rows do not lie in the order they came in."""
        for table in self._tables:
            if self._maybe(40):
                column = self._rng.choice(table.writable)
                yield f"UPDATE {table.name} SET {column} = {column} WHERE random() < 0.5"
            if self._maybe(20):
                yield f"DELETE FROM {table.name} WHERE random() < 0.2"
