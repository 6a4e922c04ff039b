"""Dumps in text, and what the reader makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec
import pytest

from backup_lib.dump_reader import (
    Connect,
    CopyData,
    CopyEnd,
    CopyStart,
    DumpEnd,
    EntryStart,
    Event,
    MetaCommand,
    Sql,
    read_events,
    read_inventory,
)
from backup_lib.errors import DamagedArchiveError
from backup_lib.inventory import Entry, Inventory

HEADER = b"""--
-- PostgreSQL database dump
--

\\restrict q1w2e3

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 17.11

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

"""
TRAILER = b"""--
-- PostgreSQL database dump complete
--

\\unrestrict q1w2e3

"""


def entry(
    text: bytes, *, kind: str = "TABLE", name: str = "t", schema: str = "public", owner: str = "o", data: bool = False
) -> bytes:
    prefix = "Data for Name" if data else "Name"
    head = f"--\n-- {prefix}: {name}; Type: {kind}; Schema: {schema}; Owner: {owner}\n--\n\n"
    return head.encode() + text + b"\n\n"


def rows(text: bytes, *, name: str = "t") -> bytes:
    return entry(text, kind="TABLE DATA", name=name, data=True)


def dump(*parts: bytes, settings: bytes = b"") -> bytes:
    return HEADER + settings + b"".join(parts) + TRAILER


def events(text: bytes) -> list[Event]:
    """From every kind of chunks the same."""
    found = list(read_events([text]))
    assert joined(read_events((text[at : at + 7] for at in range(0, len(text), 7)), read_bytes=1)) == joined(found)
    return found


def joined(found: Iterable[Event]) -> list[Event]:
    """With pieces of rows put together; how they are cut depends on the chunks."""
    result: list[Event] = []
    for event in found:
        if isinstance(event, CopyData) and result and isinstance(result[-1], CopyData):
            event = CopyData(result.pop().data + event.data)  # type: ignore[union-attr]
        result.append(event)
    return result


def inventory(*parts: bytes, settings: bytes = b"") -> Inventory:
    return read_inventory([dump(*parts, settings=settings)])


def definitions(text: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def keep(entry: Entry, definition: bytes) -> None:
        assert sha256(definition).hexdigest() == entry.sha256
        found[entry.label] = definition

    read_inventory([text], on_definition=keep)
    return found


def statements(text: bytes) -> list[bytes]:
    return [event.text.strip() for event in events(text) if isinstance(event, Sql)][4:]  # behind the settings


# Entries


def test_an_inventory_says_where_the_dump_is_from() -> None:
    text = dump(entry(b"CREATE TABLE public.t (\n    a integer\n);\n"))
    found = read_inventory([text])
    assert (found.server_version, found.dump_version) == ("15.18 (Debian 15.18-0+deb12u1)", "17.11")
    assert (found.encoding, found.scope, found.complete, found.ends_in) == ("UTF8", "database", True, None)
    assert found.size_bytes == len(text)


def test_an_empty_database_is_a_complete_inventory_without_anything() -> None:
    assert inventory().complete
    assert inventory().is_empty


def test_the_digest_is_sha256_of_the_text_without_keys_and_times() -> None:
    text = dump(
        b"-- Started on 2026-11-24 04:12:32 UTC\n\n", rows(b"COPY public.t (a) FROM stdin;\n\\restrict\tx\n\\.\n")
    )
    kept = [
        line
        for line in text.splitlines(keepends=True)
        if not line.startswith((b"\\restrict q", b"\\unrestrict q", b"-- Started on"))
    ]
    (*_, end) = read_events([text], with_digest=True)
    assert isinstance(end, DumpEnd)
    assert end.sha256 == sha256(b"".join(kept)).hexdigest()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(
            "-- Name: t; Type: TABLE; Schema: public; Owner: bob", ("TABLE", "public", "t", "bob"), id="table"
        ),
        pytest.param("-- Name: s; Type: SCHEMA; Schema: -; Owner: bob", ("SCHEMA", None, "s", "bob"), id="no-schema"),
        pytest.param("-- Name: t; Type: ACL; Schema: p; Owner: ", ("ACL", "p", "t", None), id="no-owner"),
        pytest.param("-- Name: t; Type: ACL; Schema: p; Owner: -", ("ACL", "p", "t", None), id="owner-left-out"),
        pytest.param(
            "-- Name: i; Type: INDEX; Schema: p; Owner: bob; Tablespace: fast",
            ("INDEX", "p", "i", "bob"),
            id="tablespace",
        ),
        pytest.param(
            '-- Name: a; Type: b; c "d"; Type: TABLE; Schema: Sch"e;ma; Owner: we"ird; role',
            ("TABLE", 'Sch"e;ma', 'a; Type: b; c "d"', 'we"ird; role'),
            id="punctuation",
        ),
        pytest.param(
            "-- Name: ñandú 表; Type: TABLE; Schema: é; Owner: ö", ("TABLE", "é", "ñandú 表", "ö"), id="letters"
        ),
        pytest.param(
            "-- Name: f(integer, text); Type: FUNCTION; Schema: p; Owner: o",
            ("FUNCTION", "p", "f(integer, text)", "o"),
            id="function",
        ),
    ],
)
def test_an_entry_is_what_its_header_says(header: str, expected: tuple[str, str | None, str, str | None]) -> None:
    text = dump(b"--\n" + header.encode() + b"\n--\n\nSELECT 1;\n\n")
    assert [e for e in events(text) if isinstance(e, EntryStart)] == [EntryStart(*expected)]
    (found,) = read_inventory([text]).entries
    assert (found.type, found.schema, found.name, found.owner) == expected


def test_a_definition_is_its_statements_without_what_is_around_them() -> None:
    plain = dump(entry(b"CREATE TABLE public.t (\n\n    a integer\n);\n\n\nALTER TABLE public.t OWNER TO o;\n"))
    verbose = plain.replace(
        b"-- Name: t;", b"-- TOC entry 215 (class 1259 OID 16402)\n-- Dependencies: 6 7\n-- Name: t;"
    ).replace(b"Owner: o\n", b"Owner: o\n-- Data Pos: 0\n")
    expected = b"CREATE TABLE public.t (\n\n    a integer\n);\nALTER TABLE public.t OWNER TO o;\n"
    assert definitions(plain) == definitions(verbose) == {"TABLE public.t": expected}


def test_a_comment_that_stands_for_a_definition_is_its_text() -> None:
    comment = b"-- *not* creating schema, since initdb creates it\n"
    text = dump(entry(comment + b"\n\nSET default_tablespace = '';\n", kind="SCHEMA", name="public", schema="-"))
    assert definitions(text) == {"SCHEMA public": comment}


def test_statements_before_the_first_entry_belong_to_none() -> None:
    found = inventory(
        b"DROP INDEX public.i;\nALTER TABLE public.t DROP CONSTRAINT c;\nDROP TABLE IF EXISTS public.t;\n",
        entry(b"CREATE TABLE public.t (\n);\n"),
    )
    assert [e.label for e in found.entries] == ["TABLE public.t"]
    assert found.entries[0].sha256 == sha256(b"CREATE TABLE public.t (\n);\n").hexdigest()


def test_session_settings_belong_to_no_entry() -> None:
    settings = b"SET default_tablespace = '';\n\nSET default_table_access_method = heap;\n\nSET search_path = '';\n"
    more = b"SELECT pg_catalog.set_config('search_path', '', false);\nSET SESSION AUTHORIZATION 'bob';\n\nCOMMIT;\n"
    plain, between = b"CREATE TABLE public.t (\n);\n", b"CREATE TABLE public.t (\n);\n\n" + settings + more
    assert inventory(entry(plain)).entries == inventory(entry(between)).entries


def test_a_grantor_belongs_to_the_privileges() -> None:
    grant = b"SET SESSION AUTHORIZATION bob;\nGRANT SELECT ON TABLE public.t TO x;\nRESET SESSION AUTHORIZATION;\n"
    assert definitions(dump(entry(grant, kind="ACL", name="TABLE t"))) == {"ACL public.TABLE t": grant}


@pytest.mark.parametrize("kind", ["TABLE", "MATERIALIZED VIEW", "INDEX", "CONSTRAINT"])
def test_a_tablespace_other_than_the_default_is_part_of_what_lies_in_it(kind: str) -> None:
    other = entry(b"CREATE SCHEMA s;\n\nSET default_tablespace = fast;\n", kind="SCHEMA", name="s")
    text = dump(other, entry(b"CREATE x;\n", kind=kind, name="x"))
    assert definitions(text) == {
        "SCHEMA public.s": b"CREATE SCHEMA s;\n",
        f"{kind} public.x": b"SET default_tablespace = fast;\nCREATE x;\n",
    }


def test_an_access_method_other_than_heap_is_part_of_a_table_but_not_of_a_partitioned_one() -> None:
    text = dump(
        entry(b"CREATE TABLE public.z ();\n\n\nSET default_table_access_method = heap2;\n", name="z"),
        entry(b"CREATE TABLE public.a (\n    x integer\n);\n", name="a"),
        entry(b"CREATE TABLE public.b (\n    x integer\n)\nPARTITION BY RANGE (x);\n", name="b"),
        entry(
            b"CREATE VIEW public.c AS\n SELECT 1;\n\nSET default_table_access_method = heap;\n", kind="VIEW", name="c"
        ),
        entry(b"CREATE TABLE public.d (\n    x integer\n);\n", name="d"),
    )
    first_lines = [text.splitlines()[0] for text in definitions(text).values()]
    assert first_lines == [
        b"CREATE TABLE public.z ();",
        b"SET default_table_access_method = heap2;",
        b"CREATE TABLE public.b (",
        b"CREATE VIEW public.c AS",
        b"CREATE TABLE public.d (",
    ]


def test_a_sequence_value_is_no_entry() -> None:
    set_value = b"SELECT pg_catalog.setval('public.\"s'')\"', -42, false);\n"
    found = inventory(entry(set_value, kind="SEQUENCE SET", name="s')"))
    (value,) = found.sequences
    assert (value.label, value.last_value, value.is_called) == ("public.s')", -42, False)
    assert not found.entries


def test_planner_statistics_are_left_out() -> None:
    statistics = b"SELECT * FROM pg_catalog.pg_restore_relation_stats(\n\t'version', '180000'::integer\n);\n"
    text = entry(statistics, kind="STATISTICS DATA").replace(b"-- Name", b"-- Statistics for Name")
    assert inventory(text).is_empty


def test_names_that_the_encoding_has_no_characters_for_stay_json() -> None:
    text = dump(entry(b"SELECT 1;\n").replace(b"Name: t", b"Name: \xff"))
    found = read_inventory([text])
    assert found.entries[0].name == "\\xff"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Inventory) == found


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [("LATIN1", "latin-1"), ("WIN1251", "cp1251"), ("KOI8R", "koi8-r"), ("EUC_JP", "euc_jp"), ("SJIS", "cp932")],
)
def test_names_are_read_in_the_encoding_of_the_dump(encoding: str, codec: str) -> None:
    name = {"LATIN1": "ñandú", "WIN1251": "жук", "KOI8R": "жук"}.get(encoding, "表示")
    text = dump(
        rows(b"COPY public.t (t) FROM stdin;\n\\.\n"),
        settings=b"SET client_encoding = '" + encoding.encode() + b"';\n",
    ).replace(b"(t)", b'("' + name.encode(codec) + b'")')
    found = read_inventory([text])
    assert found.tables[0].columns == (name,)
    assert found.encoding == encoding


# Statements


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(b"SELECT ';', 'it''s;', '-- x', '/*';", id="literals"),
        pytest.param(
            b"SELECT 'a\n\\.\n\\! ls\nCOPY public.t (a) FROM stdin;\n-- Name: x; Type: T; Schema: -; Owner: -\n';"
        ),
        pytest.param(b"SELECT 'ends in a backslash\\';", id="backslash-is-plain"),
        pytest.param(rb"SELECT E'it\'s;' || e'\\', E'\'' || 'x;\';", id="escapes"),
        pytest.param(b"SELECT E'a'\n  '\\';', 1;", id="continued-escapes"),
        pytest.param(b"SELECT type'\\', nameE';';", id="a-word-that-ends-in-e"),
        pytest.param(b"SELECT U&'\\0041;', B'1;', N';';", id="other-prefixes"),
        pytest.param(b'SELECT ";", "a"";""b", "--", "$$";', id="identifiers"),
        pytest.param(b"SELECT $$;'\n\\.\n--\n$$, $a$ $b$; $$;$a$;", id="dollar-quotes"),
        pytest.param(b"SELECT a$1$b, $1, $2 + 3, $\xc3\xb1$;$\xc3\xb1$;", id="dollars-in-words-and-parameters"),
        pytest.param(b"SELECT 1 -- ';\n + 2;", id="line-comment"),
        pytest.param(b"SELECT 1 /* ; /* '; */ ; \n */ + 2 - -3 / 4;", id="nested-comments"),
        pytest.param(
            b"CREATE RULE r AS ON INSERT TO a DO ALSO ( INSERT INTO b VALUES (1);\n DELETE FROM b;\n);", id="rule"
        ),
        pytest.param(
            b"CREATE FUNCTION f(a int) RETURNS int\n    LANGUAGE sql\n    BEGIN ATOMIC\n SELECT\n        CASE\n"
            b"            WHEN (a > 1) THEN 2 ELSE 3 END;\n SELECT 4;\nEND;",
            id="sql-body",
        ),
        pytest.param(
            b'create or replace procedure begin("end" int DEFAULT case when true then 1 end)\nlanguage sql\n'
            b"begin atomic\n select ';end;' as end_, endless; /* end */\nend;",
            id="sql-body-lower-case",
        ),
        pytest.param(b"CREATE VIEW v AS SELECT CASE WHEN begin THEN 1 END AS begin;", id="case-outside-of-functions"),
        pytest.param(b"SELECT ((((((1;2))))));", id="deep-parentheses"),
        pytest.param("SELECT 'ñ表', ñ表, \"ñ;表\";".encode(), id="letters"),
        pytest.param(b"SELECT '" + b"x;\n" * 200_000 + b"';", id="longer-than-what-is-read-at-a-time"),
    ],
)
def test_a_statement_ends_where_psql_ends_it(statement: bytes) -> None:
    text = dump(entry(statement + b"\nSELECT 2;\n", kind="FUNCTION"))
    assert statements(text) == [statement, b"SELECT 2;"]
    assert read_inventory([text]).complete


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        pytest.param("SJIS", "表 ソ ｱ'' 能", id="sjis"),
        pytest.param("BIG5", "功 許 蓋", id="big5"),
        pytest.param("GBK", "誠 乗 俓", id="gbk"),
        pytest.param("GB18030", "誠 \u0e3f 俓 \U00020087", id="gb18030"),
    ],
)
def test_a_second_byte_that_looks_like_a_backslash_is_none(encoding: str, text: str) -> None:
    codec = {"SJIS": "cp932", "BIG5": "cp950"}.get(encoding, encoding)
    literal = text.encode(codec)
    assert b"\\" in literal
    settings = b"SET client_encoding = '" + encoding.encode() + b"';\nSET standard_conforming_strings = off;\n"
    plain, escaped = b"SELECT '" + literal + b"\\\\';", b"SELECT E'\\'" + literal.replace(b"''", b"") + b"';"
    found = statements(dump(entry(plain + b"\n" + escaped + b"\n"), settings=settings))
    assert found[2:] == [plain, escaped]


def test_backslashes_escape_in_plain_literals_where_the_dump_says_so() -> None:
    settings = b"SET standard_conforming_strings = off;\n"
    inserts = b"INSERT INTO public.t VALUES ('\\'(\\\\');\nINSERT INTO public.t VALUES (')'';\\\\', 'x\\'y');\n"
    found = inventory(entry(b"SELECT '\\';', 1;\n"), rows(inserts), settings=settings)
    assert found.complete
    assert found.tables[0].rows == 2
    assert found.tables[0].sha256 == sha256(b"('\\'(\\\\')\n(')'';\\\\', 'x\\'y')\n").hexdigest()


def test_a_backslash_command_is_told_wherever_psql_would_act_on_it() -> None:
    text = dump(
        b"\\! ls\n",
        entry(b"SELECT 1 \\gexec\n ; SELECT 2;\n\\copy t from program 'x'\n"),
        rows(b"COPY public.t (a) FROM stdin;\n\\! no\n\\.\n\\.\n"),
        entry(b"CREATE FUNCTION f() AS $$\n\\! no\n$$;\n"),
    )
    lines = [event.line for event in events(text) if isinstance(event, MetaCommand)]
    assert lines == [b"\\! ls", b"\\gexec", b"\\copy t from program 'x'", b"\\."]


@pytest.mark.parametrize(
    ("line", "database"),
    [
        pytest.param(b"\\connect shop", "shop", id="plain"),
        pytest.param(b'\\connect "Shop"', "Shop", id="quoted"),
        pytest.param(b"\\connect -reuse-previous=on \"dbname='odd \\'name;'\"", "odd 'name;", id="connection-string"),
        pytest.param(b'\\connect -reuse-previous=on "dbname=\'a""b\\\\c\'"', 'a"b\\c', id="escapes"),
        pytest.param("\\connect -reuse-previous=on \"dbname='tienda ñ'\"".encode(), "tienda ñ", id="letters"),
        pytest.param(b"\\connect - - evil.example 1", None, id="another-host"),
        pytest.param(b'\\connect "host=evil.example dbname=x"', "host=evil.example dbname=x", id="a-name-all-the-same"),
        pytest.param(b"\\connect -reuse-previous=on \"host='evil'\"", None, id="no-database"),
    ],
)
def test_connect_names_the_database_of_what_follows(line: bytes, database: str | None) -> None:
    text = dump(b"\\encoding SQL_ASCII\n", line + b"\n", entry(b"SELECT 1;\n"))
    found = [event for event in events(text) if isinstance(event, Connect | MetaCommand)]
    assert found == [MetaCommand(line) if database is None else Connect(database)]
    assert read_inventory([text]).entries[0].database == database


# Rows


def test_a_copy_block_is_hashed_line_by_line_as_it_is() -> None:
    data = b"1\tit's\n2\t\\\\.\n3\t\\N\n\n"
    text = dump(rows(b'COPY public."T ""x""" (a, "b,""(c") FROM stdin;\n' + data + b"\\.\n"))
    assert joined(events(text))[5:8] == [
        CopyStart(b'COPY public."T ""x""" (a, "b,""(c") FROM stdin;', 'public."T ""x"""', ("a", 'b,"(c')),
        CopyData(data),
        CopyEnd(),
    ]
    (table,) = read_inventory([text]).tables
    assert (table.label, table.target, table.columns) == ("public.t", 'public."T ""x"""', ("a", 'b,"(c'))
    assert (table.form, table.rows, table.size_bytes) == ("copy", 4, len(data))
    assert table.sha256 == sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("statement", "target", "columns"),
    [
        pytest.param(b"COPY public.t  FROM stdin;", "public.t", (), id="no-columns"),
        pytest.param(b'COPY "a.b"."c;\nd" (x) FROM stdin;', '"a.b"."c;\nd"', ("x",), id="odd-name"),
        pytest.param(b"copy t(a, b) from STDIN WITH (FORMAT text);", "t", ("a", "b"), id="by-hand"),
    ],
)
def test_a_copy_statement_names_its_target(statement: bytes, target: str, columns: tuple[str, ...]) -> None:
    text = dump(rows(statement + b"\n\\.\n"))
    assert CopyStart(statement, target, columns) in events(text)
    assert read_inventory([text]).tables[0].rows == 0


def test_rows_loaded_through_the_root_keep_their_own_table() -> None:
    (table,) = inventory(rows(b"COPY public.root (k) FROM stdin;\n1\n\\.\n", name="leaf")).tables
    assert (table.name, table.target) == ("leaf", "public.root")


def test_trigger_statements_around_rows_are_no_rows() -> None:
    disable, enable = (b"ALTER TABLE public.t %b TRIGGER ALL;\n\n" % word for word in (b"DISABLE", b"ENABLE"))
    copy = b"COPY public.t (k) FROM stdin;\n1\n\\.\n\n\n"
    insert = b"INSERT INTO public.t VALUES (1);\n\n\n"
    for text in (copy, insert):
        assert inventory(rows(disable + text + enable)).tables == inventory(rows(text)).tables


def test_a_row_longer_than_what_is_kept_comes_in_pieces_and_is_one_row() -> None:
    row = b"1\t" + b"x" * 3_000_000 + b"\n"
    text = dump(rows(b"COPY public.t (a, b) FROM stdin;\n" + row + b"2\ty\n\\.\n"))
    chunks = [text[at : at + 100_000] for at in range(0, len(text), 100_000)]
    pieces = [event.data for event in read_events(chunks) if isinstance(event, CopyData)]
    assert len(pieces) > 2
    assert b"".join(pieces) == row + b"2\ty\n"
    (table,) = read_inventory(chunks).tables
    assert (table.rows, table.sha256) == (2, sha256(row + b"2\ty\n").hexdigest())


INSERTED = b"(1, 'a;(''')\n(-2, '\\\n);\nINSERT INTO public.t VALUES (9, ''x'');\n')\n(3, NULL)\n"
R1, R2, R3 = b"(1, 'a;(''')", b"(-2, '\\\n);\nINSERT INTO public.t VALUES (9, ''x'');\n')", b"(3, NULL)"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        pytest.param(b"".join(b"INSERT INTO public.t VALUES %b;\n" % r for r in (R1, R2, R3)), None, id="single"),
        pytest.param(
            b"".join(b'INSERT INTO public.t (a, "b,""(c") VALUES %b;\n' % r for r in (R1, R2, R3)),
            ("a", 'b,"(c'),
            id="columns",
        ),
        pytest.param(
            b"".join(b"INSERT INTO public.t VALUES %b ON CONFLICT DO NOTHING;\n" % r for r in (R1, R2, R3)),
            None,
            id="conflict",
        ),
        pytest.param(
            b"".join(b"INSERT INTO public.t (a, b) OVERRIDING SYSTEM VALUE VALUES %b;\n" % r for r in (R1, R2, R3)),
            ("a", "b"),
            id="overriding",
        ),
        pytest.param(
            b"INSERT INTO public.t VALUES\n\t%b,\n\t%b;\nINSERT INTO public.t VALUES\n\t%b;\n" % (R1, R2, R3),
            None,
            id="two-rows-each",
        ),
        pytest.param(
            b"INSERT INTO public.t VALUES\n\t%b,\n\t%b,\n\t%b ON CONFLICT DO NOTHING;\n" % (R1, R2, R3),
            None,
            id="all-in-one",
        ),
        pytest.param(
            b"INSERT INTO public.t VALUES %b;\n\nINSERT INTO public.t  VALUES %b; INSERT INTO public.t VALUES %b;\n"
            % (R1, R2, R3),
            None,
            id="by-hand",
        ),
    ],
)
def test_inserted_rows_count_the_same_however_they_are_grouped(text: bytes, columns: tuple[str, ...] | None) -> None:
    found = inventory(rows(text))
    (table,) = found.tables
    assert found.complete
    assert (table.form, table.target, table.columns, table.rows) == ("insert", "public.t", columns, 3)
    if b"  VALUES" not in text:
        assert (table.sha256, table.size_bytes) == (sha256(INSERTED).hexdigest(), len(INSERTED))


def test_rows_of_a_table_without_columns_count() -> None:
    found = inventory(rows(b"INSERT INTO public.t DEFAULT VALUES;\n" * 3))
    assert (found.tables[0].rows, found.tables[0].columns) == (3, None)


def test_an_empty_table_in_a_dump_of_inserts_is_a_table_without_rows() -> None:
    (table,) = inventory(rows(b"", name="T x")).tables
    assert (table.form, table.target, table.rows) == ("insert", 'public."T x"', 0)


def test_many_inserts_come_in_events_of_about_a_mebibyte() -> None:
    text = dump(rows(b"".join(b"INSERT INTO public.t VALUES (%d, 'x');\n" % n for n in range(100_000))))
    found = [event.text for event in read_events([text]) if isinstance(event, Sql)][4:]
    assert max(map(len, found)) <= 1 << 20
    assert len(found) < 30
    assert read_inventory([text]).tables[0].rows == 100_000


def test_an_insert_with_more_than_a_mebibyte_of_rows_is_counted() -> None:
    data = b",\n\t".join(b"(%d, 'x;''(')" % n for n in range(100_000))
    (table,) = inventory(rows(b"INSERT INTO public.t VALUES\n\t" + data + b";\n")).tables
    assert table.rows == 100_000


# Large objects

LO_14 = (
    entry(
        b"SELECT pg_catalog.lo_create('16402');\n\n\nALTER LARGE OBJECT 16402 OWNER TO o;\n",
        kind="BLOB",
        name="16402",
        schema="-",
    ),
    entry(
        b"SELECT pg_catalog.lo_create('16403');\n\n\nALTER LARGE OBJECT 16403 OWNER TO o;\n",
        kind="BLOB",
        name="16403",
        schema="-",
    ),
    entry(
        b"COMMENT ON LARGE OBJECT 16402 IS 'on LARGE OBJECT 1';\n",
        kind="COMMENT",
        name="LARGE OBJECT 16402",
        schema="-",
    ),
    entry(b"GRANT ALL ON LARGE OBJECT 16402 TO b;\n", kind="ACL", name="LARGE OBJECT 16402", schema="-"),
    entry(b"GRANT ALL ON LARGE OBJECT 16403 TO b;\n", kind="ACL", name="LARGE OBJECT 16403", schema="-"),
)
LO_17 = (
    entry(
        b"SELECT pg_catalog.lo_create('16402');\nSELECT pg_catalog.lo_create('16403');\n\n\n"
        b"ALTER LARGE OBJECT 16402 OWNER TO o;\nALTER LARGE OBJECT 16403 OWNER TO o;\n",
        kind="BLOB METADATA",
        name="16402..16403",
        schema="-",
    ),
    LO_14[2],
    entry(
        b"GRANT ALL ON LARGE OBJECT 16402 TO b;\n\nGRANT ALL ON LARGE OBJECT 16403 TO b;\n",
        kind="ACL",
        name="LARGE OBJECTS 16402..16403",
        schema="-",
    ),
)
LO_DATA = entry(
    b"BEGIN;\n\nSELECT pg_catalog.lo_open('16402', 131072);\nSELECT pg_catalog.lowrite(0, '\\x6869');\n"
    b"SELECT pg_catalog.lowrite(0, '\\x00ff');\nSELECT pg_catalog.lo_close(0);\n\n"
    b"SELECT pg_catalog.lo_open('16403', 131072);\nSELECT pg_catalog.lo_close(0);\n\nCOMMIT;\n",
    kind="BLOBS",
    name="BLOBS",
    schema="-",
    data=True,
)


def test_each_large_object_is_an_entry_however_pg_dump_groups_them() -> None:
    grouped, single = inventory(*LO_17), inventory(*LO_14)
    assert grouped.entries == single.entries
    assert [e.label for e in grouped.entries] == [
        "BLOB 16402",
        "BLOB 16403",
        "COMMENT LARGE OBJECT 16402",
        "ACL LARGE OBJECT 16402",
        "ACL LARGE OBJECT 16403",
    ]
    owner = b"SELECT pg_catalog.lo_create('16403');\nALTER LARGE OBJECT 16403 OWNER TO o;\n"
    assert definitions(dump(*LO_17))["BLOB 16403"] == owner


def test_large_objects_are_hashed_by_their_bytes() -> None:
    found = inventory(LO_DATA)
    assert [(o.oid, o.size_bytes, o.sha256) for o in found.large_objects] == [
        (16402, 4, sha256(b"hi\0\xff").hexdigest()),
        (16403, 0, sha256().hexdigest()),
    ]
    assert not found.entries


def test_a_grantor_goes_with_the_large_object_it_grants_on() -> None:
    acl = (
        b"GRANT ALL ON LARGE OBJECT 1 TO a;\nSET SESSION AUTHORIZATION b;\n"
        b"GRANT ALL ON LARGE OBJECT 2 TO a;\nRESET SESSION AUTHORIZATION;\n"
    )
    found = definitions(dump(entry(acl, kind="ACL", name="LARGE OBJECTS 1..2", schema="-")))
    assert found["ACL LARGE OBJECT 1"] == acl.splitlines(keepends=True)[0]
    assert found["ACL LARGE OBJECT 2"] == b"".join(acl.splitlines(keepends=True)[1:])


# Whole or not


@pytest.mark.parametrize(
    ("text", "ends_in"),
    [
        pytest.param(HEADER, None, id="after-the-header"),
        pytest.param(HEADER + entry(b"CREATE TABLE t (a int);\n"), "TABLE public.t", id="no-trailer"),
        pytest.param(HEADER + entry(b"CREATE TABLE t (a int"), "TABLE public.t", id="in-a-statement"),
        pytest.param(dump(entry(b"SELECT 'abc;\n")), "TABLE public.t", id="in-a-literal"),
        pytest.param(dump(entry(b"SELECT $x$abc;\n")), "TABLE public.t", id="in-a-dollar-quote"),
        pytest.param(dump(entry(b"SELECT /* abc;\n")), "TABLE public.t", id="in-a-comment"),
        pytest.param(dump(entry(b"SELECT (1;\n")), "TABLE public.t", id="in-parentheses"),
        pytest.param(dump(entry(b"SELECT 1\n")), "TABLE public.t", id="no-semicolon"),
        pytest.param(
            HEADER + rows(b"COPY public.t (a) FROM stdin;\n1\n2"), "TABLE DATA public.t", id="in-a-row-of-copy"
        ),
        pytest.param(
            dump(rows(b"COPY public.t (a) FROM stdin;\n1\n")), "TABLE DATA public.t", id="copy-without-its-end"
        ),
        pytest.param(HEADER + rows(b"COPY public.t (a) FROM stdin;"), "TABLE DATA public.t", id="copy-alone"),
        pytest.param(HEADER + rows(b"INSERT INTO t VALUES (1);\nINSERT INTO t VA"), "TABLE DATA public.t", id="insert"),
        pytest.param(dump(entry(b"SELECT 1;\n"))[: -len(TRAILER) + 30], "TABLE public.t", id="in-the-trailer"),
        pytest.param(dump() + b"SELECT 1;\n", None, id="a-statement-behind"),
        pytest.param(dump() + entry(b""), "TABLE public.t", id="an-entry-behind"),
        pytest.param(dump() + b"\\! x\n", None, id="a-command-behind"),
        pytest.param(dump() + b"garbage", None, id="garbage-behind"),
        pytest.param(dump() + b"\0" * 512, None, id="zeros-behind"),
        pytest.param(dump() + dump(), None, id="another-dump-behind"),
        pytest.param(HEADER + entry(b"SELECT 1;\n") + dump(), None, id="a-cut-dump-before"),
    ],
)
def test_a_dump_that_is_not_whole_is_not_complete(text: bytes, ends_in: str | None) -> None:
    end = events(text)[-1]
    assert isinstance(end, DumpEnd)
    assert not end.complete
    assert end.ends_in == ends_in


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n\n--\n-- a word\n\n-- Completed on 2026-11-24 04:12:32 UTC\n", id="comments"),
        pytest.param(b"\\unrestrict abc\n", id="unrestrict"),
    ],
)
def test_comments_behind_a_dump_do_no_harm(behind: bytes) -> None:
    assert read_inventory([dump() + behind]).complete


def test_the_last_bytes_of_the_trailer_are_not_needed() -> None:
    assert read_inventory([dump().partition(b"complete")[0] + b"complete"]).complete


def test_every_cut_of_a_dump_is_seen() -> None:
    text = dump(
        entry(b"CREATE FUNCTION f() AS $_$ ' $_$;\n", kind="FUNCTION"),
        rows(b"COPY public.t (a) FROM stdin;\n1\n\\.\n"),
        rows(b"INSERT INTO public.t VALUES ('a');\n"),
        LO_DATA,
    )
    header, whole = text.index(b"\n--\n\n") + 1, text.index(b" complete") + len(b" complete")
    assert [n for n in range(header, whole) if read_inventory([text[:n]]).complete] == []
    assert read_inventory([text]).complete


@pytest.mark.parametrize(
    ("start", "found"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"\n \n", "empty", id="blank"),
        pytest.param(b"<!DOCTYPE html><p>No such file", "HTML", id="html"),
        pytest.param(b"\x1f\x8b\x08\x00secret\x01\x02", "binary", id="binary"),
        pytest.param(b"PGDMP\x01\x0f", "custom format", id="custom"),
        pytest.param(b"-- MySQL dump 10.13  secret\n", "text", id="another-program"),
        pytest.param(dump().replace(b"\n", b"\r\n"), "CR LF", id="line-ends"),
        pytest.param(b"x\n" * 40_000 + dump(), "text", id="a-dump-far-behind"),
    ],
)
def test_what_is_no_dump_is_refused_without_showing_it(start: bytes, found: str) -> None:
    with pytest.raises(DamagedArchiveError, match=found) as caught:
        read_inventory([start])
    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_inventory([b"\xef\xbb\xbf" + dump(entry(b"SELECT 1;\n"))]).complete


# Clusters


def cluster(*databases: bytes) -> bytes:
    head = b"--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict k\n\nSET client_encoding = 'UTF8';\n\n"
    roles = b"--\n-- Roles\n--\n\nCREATE ROLE bob;\nALTER ROLE bob WITH NOLOGIN;\n\n\\unrestrict k\n\n"
    trailer = b"-- Completed on 2026-11-24\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n"
    return head + roles + b"--\n-- Databases\n--\n\n" + b"".join(databases) + trailer


def test_a_cluster_holds_its_databases_entries() -> None:
    create = entry(b"CREATE DATABASE shop;\n", kind="DATABASE", name="shop", schema="-")
    text = cluster(
        b'--\n-- Database "template1" dump\n--\n\n\\connect template1\n\n'
        + dump(entry(b"CREATE TABLE a ();\n", name="a")),
        b'--\n-- Database "shop" dump\n--\n\n'
        + dump(
            b"DROP DATABASE shop;\n", create, b"\\connect shop\n\n", entry(b"CREATE TABLE b ();\n", name="b"), LO_DATA
        ),
    )
    found = read_inventory([text])
    assert (found.scope, found.complete, found.server_version) == ("cluster", True, "15.18 (Debian 15.18-0+deb12u1)")
    assert [(e.database, e.label) for e in found.entries] == [
        ("template1", "TABLE public.a"),
        (None, "DATABASE shop"),
        ("shop", "TABLE public.b"),
    ]
    assert {o.database for o in found.large_objects} == {"shop"}
    assert found.entries[0].sha256 == sha256(b"CREATE TABLE a ();\n").hexdigest()  # without the DROP that follows


def test_roles_alone_are_a_complete_cluster() -> None:
    found = read_inventory([cluster()])
    assert (found.scope, found.complete, found.is_empty) == ("cluster", True, True)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(cluster(dump()).partition(b"-- Completed")[0], id="no-trailer"),
        pytest.param(cluster(dump().removesuffix(TRAILER), dump()), id="a-database-without-trailer"),
        pytest.param(cluster(dump().removesuffix(TRAILER)), id="the-last-database-without-trailer"),
        pytest.param(cluster() + dump(), id="a-database-behind"),
        pytest.param(cluster(cluster()), id="a-cluster-inside"),
    ],
)
def test_a_cluster_that_is_not_whole_is_not_complete(text: bytes) -> None:
    assert not read_inventory([text]).complete


@pytest.mark.parametrize(
    ("shown", "schema", "target", "exact"),
    [
        pytest.param("una l nea", "public", b'public."una l\nnea"', ("public", "una l\nnea"), id="line-end"),
        pytest.param("-", "-", b'"-"."-"', ("-", "-"), id="hyphens"),
        pytest.param("hoja", "public", b"public.raiz", ("public", "hoja"), id="loaded-through-its-root"),
        pytest.param("t", "-", b"t", (None, "t"), id="no-schema"),
    ],
)
def test_rows_are_of_the_table_that_copy_names_where_the_comment_cannot_say_it(
    shown: str, schema: str, target: bytes, exact: tuple[str | None, str]
) -> None:
    block = entry(
        b"COPY " + target + b" (a) FROM stdin;\n1\n\\.\n", kind="TABLE DATA", name=shown, schema=schema, data=True
    )
    (table,) = read_inventory([dump(block)]).tables
    assert (table.schema, table.name) == exact
