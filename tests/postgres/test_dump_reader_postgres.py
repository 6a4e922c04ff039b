"""What pg_dump and pg_restore of every major write, read back: counted against the server and their own lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from backup_lib.dump_events import DumpEnd
from backup_lib.dump_reader import Connect, MetaCommand, read_events, read_inventory
from backup_lib.inventory import Entry, Inventory, total_rows
from backup_lib.process import run
from backup_lib.servers import Server

pytestmark = pytest.mark.postgres

FreshDatabase = Callable[..., str]

DATABASE = "nasty 'name;"
NASTY = r"""
CREATE SCHEMA "Sch""e;ma";
COMMENT ON SCHEMA public IS 'standard public schema';
CREATE TABLE t (id serial PRIMARY KEY, a text, b numeric(10,2), g int GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO t (a, b) SELECT E'row ''q'' \\ \n\\.\n-- Name: x; Type: TABLE; Schema: public; Owner: me\n(' || i, -i
    FROM generate_series(1, 2000) i;
CREATE TABLE "Sch""e;ma"."T;
""able'" ("c,o""l(" text, "ñ" bytea);
INSERT INTO "Sch""e;ma"."T;
""able'" VALUES (E'COPY t FROM stdin;\n\\.\n;INSERT INTO public.t VALUES (1);\r\n', '\x00ff5c'), (NULL, NULL);
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE empty (x int);
CREATE TABLE other (b bit(3), e text[], j json, i int GENERATED ALWAYS AS IDENTITY);
INSERT INTO other VALUES (B'101', ARRAY['(', ''')', ';', NULL], '{"a": "\u0041"}');
CREATE TABLE part (k int, v text) PARTITION BY LIST (k);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2);
INSERT INTO part VALUES (1, 'a'), (2, 'b'), (2, 'c');
CREATE FUNCTION f1() RETURNS text LANGUAGE plpgsql AS $x$
BEGIN
--
-- Name: x; Type: TABLE; Schema: public; Owner: me
--
/* COPY t FROM stdin;
\.
\restrict foo
\! ls
-- PostgreSQL database dump complete
*/
RETURN $$a$$ || $_$b$_$;
END $x$;
CREATE FUNCTION begin("end" int) RETURNS int LANGUAGE sql
    BEGIN ATOMIC SELECT CASE WHEN "end" > 1 THEN 2 ELSE 3 END; SELECT length(';END;'); END;
CREATE VIEW v AS SELECT a, E'\n--\n-- Name: x; Type: TABLE; Schema: public; Owner: me\n--\n' AS z, E'x\\y;' AS w FROM t;
CREATE RULE r AS ON INSERT TO empty DO ALSO (INSERT INTO nothing DEFAULT VALUES; DELETE FROM nothing;);
COMMENT ON TABLE t IS E'multi\n-- Name: q; Type: TABLE; Schema: public; Owner: z\n--\n\\connect foo\n';
CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM t;
CREATE INDEX ti ON t ((a || ';'));
CREATE SEQUENCE s START -5 MINVALUE -100;
SELECT nextval('s');
CREATE TYPE mood AS ENUM ('a;', 'b''', E'c\\');
CREATE POLICY pol ON t USING (a <> ';');
CREATE STATISTICS st ON a, b FROM t;
GRANT SELECT ON t TO nasty_bob WITH GRANT OPTION;
SET ROLE nasty_bob;
GRANT SELECT ON t TO "nasty ""weird; role";
RESET ROLE;
GRANT SELECT (a) ON t TO "nasty ""weird; role";
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO nasty_bob;
SELECT lo_from_bytea(0, 'hello'), lo_from_bytea(0, ''), lo_from_bytea(0, repeat('x', 40000)::bytea);
DO $$
DECLARE o oid;
BEGIN
    FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP
        EXECUTE format('GRANT ALL ON LARGE OBJECT %s TO nasty_bob', o);
        EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', o, E'x;\n-- Name: q; Type: TABLE; Schema: public; Owner: z');
    END LOOP;
END $$;
"""
ROLES = ("nasty_bob", 'nasty "weird; role')
NO_ENTRIES = ("TABLE DATA", "SEQUENCE SET", "BLOBS")  # in the list of pg_restore; an inventory has a place for each


@pytest.fixture(scope="module")
def nasty(every_server: Server) -> Iterator[Server]:
    """A server with the database DATABASE."""
    with psycopg.connect(every_server.conninfo(), autocommit=True) as connection:
        for role in ROLES:
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        with psycopg.connect(every_server.conninfo(DATABASE)) as inside:
            inside.execute(NASTY)
        yield every_server
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(DATABASE)))
        for role in ROLES:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def call(server: Server, program: str, *arguments: str | Path) -> bytes:
    return run([server.programs.program(program), *arguments], env=server.programs.env).stdout


def dump(server: Server, *options: str, dbname: str = "") -> bytes:
    return call(server, "pg_dump", *options, f"--dbname={dbname or server.conninfo(DATABASE)}")


def inventory(text: bytes) -> Inventory:
    """Of the text in odd chunks, which must be that of the whole."""
    found = read_inventory([text])
    assert found == read_inventory(text[at : at + 1009] for at in range(0, len(text), 1009))
    assert found.complete
    assert not any(isinstance(event, MetaCommand) for event in read_events([text]))
    return found


def content(found: Inventory) -> Inventory:
    """What it holds, without what is about the text."""
    return replace(found, sha256="", size_bytes=0)


def counts(server: Server) -> dict[str, int]:
    """Rows of every table, as the server counts them."""
    with psycopg.connect(server.conninfo(DATABASE)) as connection:
        tables = connection.execute(
            "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind = 'r' AND nspname !~ '^(pg_|information_schema)'"
        ).fetchall()
        found = {}
        for schema, name in tables:
            row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name))).fetchone()
            assert row is not None
            found[f"{schema}.{name}"] = row[0]
        return found


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="copy"),
        pytest.param(("--verbose",), id="verbose"),
        pytest.param(("--inserts",), id="inserts"),
        pytest.param(("--column-inserts", "--disable-dollar-quoting"), id="column-inserts"),
        pytest.param(("--rows-per-insert=7", "--on-conflict-do-nothing"), id="rows-per-insert"),
        pytest.param(("--rows-per-insert=100000",), id="one-insert"),
        pytest.param(("--clean", "--create", "--if-exists"), id="clean-create"),
        pytest.param(("--data-only", "--disable-triggers"), id="data-only"),
        pytest.param(("--load-via-partition-root",), id="through-the-root"),
        pytest.param(("--use-set-session-authorization", "--quote-all-identifiers"), id="session-authorization"),
        pytest.param(("--section=data", "--section=post-data"), id="sections"),
        pytest.param(("--encoding=LATIN1",), id="latin1"),
    ],
)
def test_the_rows_of_a_dump_are_those_the_server_counts(nasty: Server, options: tuple[str, ...]) -> None:
    found = inventory(dump(nasty, *options))
    assert {table.label: table.rows for table in found.tables} == counts(nasty)
    assert [o.size_bytes for o in found.large_objects] == [5, 0, 40000]
    assert found.large_objects[0].sha256 == sha256(b"hello").hexdigest()
    assert ("s", -5, True) in [(s.name, s.last_value, s.is_called) for s in found.sequences]
    assert found.encoding == ("LATIN1" if "--encoding=LATIN1" in options else "UTF8")


def test_how_rows_are_inserted_does_not_matter(nasty: Server) -> None:
    forms = [("--inserts",), ("--rows-per-insert=7",), ("--rows-per-insert=100000", "--on-conflict-do-nothing")]
    first, *others = (inventory(dump(nasty, *form)) for form in forms)
    assert all(content(other) == content(first) for other in others)
    with_columns = inventory(dump(nasty, "--column-inserts")).tables
    assert [table.columns for table in with_columns if table.name == "other"] == [("b", "e", "j", "i")]


def test_two_dumps_of_the_same_data_have_the_same_digest(nasty: Server) -> None:
    one, other = dump(nasty, "--verbose"), dump(nasty, "--verbose")
    in_odd_chunks = [other[at : at + 1009] for at in range(0, len(other), 1009)]
    ends = [list(read_events(chunks, with_digest=True))[-1] for chunks in ([one], [other], in_odd_chunks)]
    assert isinstance(ends[0], DumpEnd)
    assert ends[0].sha256
    assert ends == ends[:1] * 3


@pytest.mark.parametrize("form", ["custom", "directory", "tar"])
def test_the_formats_of_pg_dump_hold_the_same(nasty: Server, form: str, tmp_path: Path) -> None:
    plain = inventory(dump(nasty))
    archive = tmp_path / "archive"
    dump(nasty, f"--format={form}", f"--file={archive}")
    for options in ((), ("--verbose",)):
        assert content(inventory(call(nasty, "pg_restore", *options, "--file=-", archive))) == content(plain)
    transaction = inventory(call(nasty, "pg_restore", "--single-transaction", "--file=-", archive))
    assert content(transaction) == content(plain)


def test_the_inventory_has_as_many_entries_as_pg_restore_lists(nasty: Server, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    dump(nasty, "--format=custom", f"--file={archive}")
    lines = call(nasty, "pg_restore", "--list", archive).decode().splitlines()
    listed = [line for line in lines if line[:1].isdigit() and not any(f" {kind} " in line for kind in NO_ENTRIES)]
    found = inventory(dump(nasty))
    # From 17 on one entry of pg_restore's may stand for several large objects.
    single = [e for e in found.entries if e.type != "BLOB" and "LARGE OBJECT" not in e.name]
    assert len(single) == len([line for line in listed if "BLOB" not in line and "LARGE OBJECT" not in line])
    assert Counter(e.type for e in found.entries if e not in single) == {"BLOB": 3, "COMMENT": 3, "ACL": 3}


def test_definitions_hold_nothing_that_is_not_theirs(nasty: Server) -> None:
    texts: dict[str, bytes] = {}

    def keep(entry: Entry, text: bytes) -> None:
        assert sha256(text).hexdigest() == entry.sha256
        texts[entry.label] = text

    read_inventory([dump(nasty)], on_definition=keep)
    assert not any(text.startswith(b"SET default") or b"set_config" in text for text in texts.values())
    assert not any(line.startswith(b"--") for line in texts["TABLE public.t"].splitlines())
    assert b"-- PostgreSQL database dump complete" in texts["FUNCTION public.f1()"]
    assert texts["FUNCTION public.begin(integer)"].count(b"END;") == 2
    assert texts["RULE public.empty r"].count(b";") == 3
    assert b"SET SESSION AUTHORIZATION nasty_bob" in texts["ACL public.TABLE t"]


def test_a_session_authorization_before_an_entry_changes_none(nasty: Server) -> None:
    def kept(text: bytes) -> list[tuple[str, str]]:
        return [(e.label, e.sha256) for e in read_inventory([text]).entries if e.type not in ("ACL", "DEFAULT ACL")]

    assert kept(dump(nasty, "--use-set-session-authorization")) == kept(dump(nasty, "--no-owner"))


def test_a_created_database_holds_what_follows_it(nasty: Server) -> None:
    text = dump(nasty, "--create")
    assert Connect(DATABASE) in list(read_events([text]))
    found = inventory(text)
    inside = [replace(e, database=None) for e in found.entries if e.database == DATABASE]
    assert inside == list(inventory(dump(nasty)).entries)
    assert {e.type for e in found.entries if e.database is None} == {"DATABASE"}


def test_tablespace_and_access_method_are_part_of_a_definition(nasty: Server) -> None:
    with psycopg.connect(nasty.conninfo(DATABASE), autocommit=True) as connection:
        connection.execute("CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler")
        connection.execute("CREATE TABLE m (x int) USING heap2")
        text = dump(nasty)
        connection.execute("DROP TABLE m")
        connection.execute("CREATE TABLE m (x int)")
        plain = dump(nasty)
        connection.execute("DROP TABLE m; DROP ACCESS METHOD heap2")
    one, other = ({e.label: e.sha256 for e in inventory(each).entries} for each in (text, plain))
    assert {label for label in one if one[label] != other[label]} == {"TABLE public.m"}


@pytest.mark.parametrize("options", [(), ("--verbose", "--clean"), ("--inserts",)], ids=["plain", "clean", "inserts"])
def test_a_cluster_holds_every_database(nasty: Server, options: tuple[str, ...]) -> None:
    found = inventory(call(nasty, "pg_dumpall", *options, f"--dbname={nasty.conninfo()}"))
    assert found.scope == "cluster"
    assert total_rows(t for t in found.tables if t.database == DATABASE) == sum(counts(nasty).values())
    alone = inventory(dump(nasty)).entries
    assert [replace(e, database=None) for e in found.entries if e.database == DATABASE] == list(alone)
    assert inventory(call(nasty, "pg_dumpall", "--globals-only", f"--dbname={nasty.conninfo()}")).is_empty


def test_statistics_are_no_part_of_an_inventory(nasty: Server) -> None:
    if nasty.programs.major < 18:
        pytest.skip("pg_dump writes statistics from 18 on")
    text = dump(nasty, "--statistics")
    assert b"pg_restore_relation_stats" in text
    assert content(inventory(text)) == content(inventory(dump(nasty)))


@pytest.mark.parametrize("standard_strings", ["on", "off"])
@pytest.mark.parametrize(
    ("encoding", "word"),
    [
        pytest.param("SJIS", "表ソ能", id="sjis"),
        pytest.param("BIG5", "功許蓋", id="big5"),
        pytest.param("GBK", "誠乗", id="gbk"),
        pytest.param("GB18030", "誠乗\U00020087", id="gb18030"),
        pytest.param("UHC", "똠방각하", id="uhc"),
        pytest.param("EUC_JP", "表ソ能", id="euc-jp"),
        pytest.param("KOI8R", "жук", id="koi8r"),
    ],
)
def test_every_encoding_is_read(
    server: Server, fresh_database: FreshDatabase, encoding: str, word: str, standard_strings: str
) -> None:
    dbname = fresh_database(server)
    name, values = sql.Identifier(word), [f"{word}\\", f"'{word}'", f"\\'{word}", f"{word};\n\\.\n--("]
    with psycopg.connect(dbname) as connection:
        connection.execute(sql.SQL("CREATE TABLE {} ({} text)").format(name, name))
        comment = sql.SQL("COMMENT ON TABLE {} IS {}").format(name, sql.Literal("\n".join(values)))
        connection.execute(comment)
        for value in values:
            connection.execute(sql.SQL("INSERT INTO {} VALUES (%s)").format(name), [value])
    dbname += f" options='-c standard_conforming_strings={standard_strings}'"
    for form in ((), ("--inserts",), ("--column-inserts", "--rows-per-insert=3")):
        found = inventory(dump(server, f"--encoding={encoding}", *form, dbname=dbname))
        (table,) = found.tables
        assert (table.name, table.rows, found.encoding) == (word, 4, encoding)
        assert table.columns in ((word,), None)
        assert [e.label for e in found.entries] == [f"TABLE public.{word}", f'COMMENT public.TABLE "{word}"']
