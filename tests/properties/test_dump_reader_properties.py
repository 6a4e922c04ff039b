"""Any names, any rows, any statements, cut anywhere: the reader finds what was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from backup_lib.dump_reader import (
    CopyData,
    DumpEnd,
    Event,
    InventoryBuilder,
    MetaCommand,
    Sql,
    read_events,
    read_inventory,
)
from backup_lib.inventory import Inventory
from backup_lib.sql_lexer import Rules, split_statements

HEADER = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict k\n\n"
UTF8 = b"SET client_encoding = 'UTF8';\nSET standard_conforming_strings = %b;\n\n"
TRAILER = b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict k\n\n"

# What a reader might take for something else, over and over.
TRAPS = (
    "'", "''", '"', '""', "\\", "\\.", "\n\\.\n", ";", ";\n", "(", ")", ",\n\t", "$", "$$", "$a$", "--", "/*", "*/",
    "\nCOPY public.t (a) FROM stdin;\n", "\n-- Name: x; Type: TABLE; Schema: public; Owner: o\n--\n",
    "\n-- PostgreSQL database dump complete\n", "\\connect x\n", "\n\\! x\n", "INSERT INTO t VALUES (1);\n", "\t", "\r",
    "E'", "BEGIN ATOMIC", "END", "CASE", "ñ", "表", "x", " ",
)  # fmt: skip
texts = st.lists(
    st.sampled_from(TRAPS) | st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1), max_size=3)
)
values = texts.map("".join)
names = values.filter(bool)
rows_of_two = st.lists(st.tuples(values | st.none(), values), max_size=5)


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | None, *, standard: bool) -> str:
    if value is None:
        return "NULL"
    return "'" + (value if standard else value.replace("\\", "\\\\")).replace("'", "''") + "'"


def copied(value: str | None) -> str:
    if value is None:
        return "\\N"
    value = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return value.replace("\t", "\\t")


def header_of(kind: str, schema: str, name: str, *, data: bool) -> bytes:
    one_line = [part.replace("\n", " ").replace("\r", " ") for part in (name, schema)]
    prefix = "Data for Name" if data else "Name"
    return f"--\n-- {prefix}: {one_line[0]}; Type: {kind}; Schema: {one_line[1]}; Owner: o\n--\n\n".encode()


@dataclass(frozen=True)
class Table:
    schema: str
    name: str
    columns: tuple[str, str]
    rows: list[tuple[str | None, str]]
    rows_per_insert: int  # 0: COPY
    named: bool

    @property
    def target(self) -> str:
        return f"{quote(self.schema)}.{quote(self.name)}"

    def lines(self, *, standard: bool) -> list[str]:
        if not self.rows_per_insert:
            return ["\t".join(map(copied, row)) for row in self.rows]
        return [f"({', '.join(literal(value, standard=standard) for value in row)})" for row in self.rows]

    def text(self, *, standard: bool) -> bytes:
        lines, step = self.lines(standard=standard), self.rows_per_insert
        columns = f"({', '.join(map(quote, self.columns))}) "
        if step == 0:
            text = f"COPY {self.target} {columns}FROM stdin;\n" + "".join(line + "\n" for line in lines) + "\\.\n"
        else:
            begin = f"INSERT INTO {self.target} {columns if self.named else ''}VALUES" + (" " if step == 1 else "\n\t")
            groups = (lines[at : at + step] for at in range(0, len(lines), step))
            text = "".join(begin + ",\n\t".join(group) + ";\n" for group in groups)
        return header_of("TABLE DATA", self.schema, self.name, data=True) + text.encode() + b"\n\n"


# A schema's or an entry's name cannot hold what parts one from the other in the header line.
plain_names = names.filter(lambda name: "; " not in name and name != "-")
tables = st.builds(
    Table,
    schema=plain_names,
    name=plain_names,
    columns=st.tuples(names, names),
    rows=rows_of_two,
    rows_per_insert=st.integers(0, 3),
    named=st.booleans(),
)
cuts = st.lists(st.integers(1, 300), max_size=30)


def cut(text: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield text[at : at + size]
        at += size
    yield text[at:]


def inventory_of(chunks: Iterator[bytes]) -> Inventory:
    builder = InventoryBuilder()
    for event in read_events(chunks, read_bytes=1):
        builder.feed(event)
    return builder.result()


def joined(events: Iterator[Event]) -> list[Event]:
    """With rows, and INSERT statements, put together: how many come at a time depends on the chunks."""
    result: list[Event] = []
    for event in events:
        match result[-1:], event:
            case [CopyData(before)], CopyData(data):
                result[-1] = CopyData(before + data)
            case [Sql(before)], Sql(text):
                result[-1] = Sql(before + text)
            case _:
                result.append(event)
    return result


@given(st.lists(tables, max_size=4), st.booleans(), cuts)
def test_any_rows_of_any_tables_are_counted_and_hashed(found: list[Table], standard: bool, sizes: list[int]) -> None:  # noqa: FBT001
    settings = UTF8 % (b"on" if standard else b"off")
    text = HEADER + settings + b"".join(table.text(standard=standard) for table in found) + TRAILER
    inventory = inventory_of(cut(text, sizes))
    assert inventory == read_inventory([text])
    assert inventory.complete
    assert not inventory.entries
    assert len(inventory.tables) == len(found)
    for table, read in zip(found, inventory.tables, strict=True):
        lines = "".join(line + "\n" for line in table.lines(standard=standard)).encode()
        assert (read.rows, read.size_bytes) == (len(table.rows), len(lines))
        assert read.sha256 == sha256(lines).hexdigest()
        assert read.form == ("insert" if table.rows_per_insert else "copy")
        if table.rows or not table.rows_per_insert:
            assert read.target == table.target
            assert read.columns == (table.columns if table.named or not table.rows_per_insert else None)


@st.composite
def dollar_quoted(draw: st.DrawFn) -> str:
    tag = draw(st.sampled_from(["$$", "$_$", "$ñ$", "$a1$"]))
    return tag + draw(values).replace("$", "") + tag


def escaped(value: str) -> str:
    return "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def commented(value: str) -> str:
    inside = value.replace("/*", "").replace("*/", "").replace("/", "").replace("*", "")
    return f"/* {inside} /* {inside} */ */"


atoms = st.one_of(
    st.sampled_from(
        ["SELECT", "CREATE", "FUNCTION", "begin", "Case", "END", "e", "$1", "a$b$c", "1.5e3", "::", "-", "/", "*"]
    ),
    values.map(lambda value: literal(value, standard=True)),
    values.map(escaped),
    names.map(quote),
    dollar_quoted(),
    values.map(commented),
    values.map(lambda value: "-- " + value.replace("\n", " ") + "\n"),
)
tokens = st.recursive(
    st.lists(atoms, min_size=1, max_size=4).map(" ".join),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"({' ; '.join(parts)} )"),
    max_leaves=8,
)
statements = st.lists(tokens, min_size=1, max_size=4).map(lambda parts: "SELECT " + " ".join(parts) + " ;")


@given(st.lists(statements, min_size=1, max_size=4), cuts)
def test_any_statements_are_told_apart(written: list[str], sizes: list[int]) -> None:
    wanted = [statement.encode() for statement in written]
    assert [found.strip() for found in split_statements(b"\n".join(wanted))] == wanted
    text = HEADER + header_of("VIEW", "s", "n", data=False) + b"\n".join(wanted) + b"\n\n" + TRAILER
    events = list(read_events(cut(text, sizes), read_bytes=1))
    assert [event.text.strip() for event in events if isinstance(event, Sql)] == wanted
    assert not any(isinstance(event, MetaCommand) for event in events)
    assert isinstance(end := events[-1], DumpEnd)
    assert end.complete


@given(values, st.sampled_from(["SJIS", "BIG5", "GBK", "GB18030", "UHC", "JOHAB"]))
def test_literals_in_encodings_of_clients_are_told_apart(value: str, encoding: str) -> None:
    codec = {"SJIS": "cp932", "BIG5": "cp950", "UHC": "cp949"}.get(encoding, encoding)
    written = (literal(value, standard=False) + " ;").encode(codec, "replace")
    rules = Rules(standard_strings=False, encoding=encoding)
    assert list(split_statements(written + b"SELECT 1;", rules=rules)) == [written, b"SELECT 1;"]


@given(st.lists(st.sampled_from([trap.encode() for trap in TRAPS]) | st.binary(max_size=4)), cuts)
def test_whatever_stands_in_a_dump_is_read_to_its_end_wherever_it_is_cut(parts: list[bytes], sizes: list[int]) -> None:
    text = HEADER + b"".join(parts)
    events = joined(read_events(cut(text, sizes), read_bytes=1))
    assert events == joined(read_events([text]))
    assert [event for event in events if isinstance(event, DumpEnd)] == events[-1:]
    assert inventory_of(cut(text, sizes)) == read_inventory([text])
