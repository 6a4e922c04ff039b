"""What each kind of archive must and must not hold, judged on inventories alone."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from backup_lib.definitions import around_rows, pack_definitions, without_outward_keys
from backup_lib.dump_events import DumpEnd, EntryStart, Event, Sql
from backup_lib.errors import ProgramError
from backup_lib.inventory import Entry, Inventory, LargeObject, SequenceValue, TableData
from backup_lib.manifest import Kind
from verification.contract import CONTRACTS, breaches, lacking

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def entry(kind: str, name: str) -> Entry:
    return Entry(type=kind, schema="public", name=name, owner="o", sha256="a")


def dump(*entries: Entry, rows: int = 0, value: bool = False, objects: int = 0) -> Inventory:
    table = TableData(schema="public", name="t", target="public.t", columns=None, form="copy", rows=rows,
                      size_bytes=1, sha256="a")  # fmt: skip
    return Inventory(
        entries=entries,
        tables=(table,) if rows else (),
        sequences=(SequenceValue(schema="public", name="s", last_value=1, is_called=True),) if value else (),
        large_objects=tuple(LargeObject(oid=oid, size_bytes=1, sha256="a") for oid in range(objects)),
        complete=True,
    )


def test_there_is_a_contract_for_each_kind_and_the_reader_is_told_of_it() -> None:
    assert CONTRACTS.keys() == set(get_args(Kind))
    text = DOCS.read_text()
    for kind in CONTRACTS:
        assert f"| `{kind}` |" in text


@pytest.mark.parametrize(
    ("kind", "held", "named"),
    [
        pytest.param("schema", dump(entry("TABLE", "t"), rows=3), ["public.t"], id="schema-with-rows"),
        pytest.param("schema", dump(entry("SEQUENCE", "s"), value=True), ["public.s"], id="schema-with-a-value"),
        pytest.param("schema", dump(objects=2), ["large objects"], id="schema-with-large-objects"),
        pytest.param("schema", dump(entry("TABLE", "t")), [], id="schema"),
        pytest.param("data", dump(entry("INDEX", "i"), rows=3), ["INDEX public.i"], id="data-with-a-definition"),
        pytest.param("data", dump(entry("BLOB", "16"), entry("ACL", "LARGE OBJECT 16"), rows=3), [], id="data"),
        pytest.param("full", dump(entry("TABLE", "t"), rows=3, value=True, objects=1), [], id="full"),
        pytest.param("tables", dump(entry("TABLE", "t"), rows=3, value=True), [], id="tables"),
    ],
)
def test_what_a_kind_must_not_hold_is_named(kind: str, held: Inventory, named: list[str]) -> None:
    assert [breach.object for breach in breaches(kind, held)] == named


@pytest.mark.parametrize(
    ("kind", "held", "named"),
    [
        pytest.param("full", dump(entry("TABLE", "t")), ["data"], id="full-without-rows"),
        pytest.param("full", dump(entry("FUNCTION", "f")), [], id="full-without-tables"),
        pytest.param("full", dump(rows=1), ["schema"], id="full-without-definitions"),
        pytest.param("data", dump(), ["data"], id="data-without-rows"),
        pytest.param("schema", dump(), ["schema"], id="schema-without-definitions"),
        pytest.param("schema", dump(entry("TABLE", "t")), [], id="schema"),
    ],
)
def test_what_a_kind_must_hold_is_missed(kind: str, held: Inventory, named: list[str]) -> None:
    assert [breach.object for breach in lacking(kind, held)] == named


TEXT = b"""--
-- PostgreSQL database dump
--
SET client_encoding = 'UTF8';
SET default_tablespace = '';

--
-- Name: a; Type: TABLE; Schema: public; Owner: me
--

CREATE TABLE public.a (id integer);

--
-- Name: USER MAPPING me SERVER s; Type: USER MAPPING; Schema: -; Owner: me
--

CREATE USER MAPPING FOR me SERVER s OPTIONS (password 'secret');

SET default_tablespace = quick;

--
-- Name: a a_pkey; Type: CONSTRAINT; Schema: public; Owner: me
--

ALTER TABLE ONLY public.a ADD CONSTRAINT a_pkey PRIMARY KEY (id);

--
-- Name: a a_b; Type: FK CONSTRAINT; Schema: public; Owner: me
--

ALTER TABLE ONLY public.a
    ADD CONSTRAINT a_b FOREIGN KEY (id) REFERENCES public."B"(id);

--
-- Name: CONSTRAINT a_b ON a; Type: COMMENT; Schema: public; Owner: me
--

COMMENT ON CONSTRAINT a_b ON public.a IS 'outward';

--
-- PostgreSQL database dump complete
--
"""


def labels(events: list[Event]) -> list[str]:
    return [event.label for event in events if isinstance(event, EntryStart)]


def statements(events: list[Event]) -> bytes:
    return b"".join(event.text for event in events if isinstance(event, Sql))


def test_definitions_go_before_and_behind_the_rows_in_sessions_of_their_own_and_without_passwords() -> None:
    before, after = around_rows(pack_definitions([TEXT]))
    assert labels(before) == ["TABLE public.a"]
    assert labels(after) == [
        "CONSTRAINT public.a a_pkey",
        "FK CONSTRAINT public.a a_b",
        "COMMENT public.CONSTRAINT a_b ON a",
    ]
    for events in (before, after):
        assert statements(events).startswith(b"SET client_encoding")
        assert isinstance(events[-1], DumpEnd)
    assert b"SET default_tablespace = quick" in statements(after), "it is in force for the first key"
    assert b"secret" not in statements([*before, *after])


def test_a_text_of_definitions_that_was_cut_is_not_kept() -> None:
    with pytest.raises(ProgramError, match="no end"):
        pack_definitions([TEXT[:400]])


@pytest.mark.parametrize(("has_rows", "left"), [(True, 3), (False, 1)])
def test_a_key_to_a_table_without_its_rows_is_left_out_with_its_comment(*, has_rows: bool, left: int) -> None:
    _, after = around_rows(pack_definitions([TEXT]))
    dropped: list[str] = []
    kept = list(without_outward_keys(after, {"public.B"} if has_rows else {"public.b"}, dropped))
    assert len(labels(kept)) == left
    assert set(dropped) == set(labels(after)) - set(labels(kept))
    assert (b"REFERENCES" in statements(kept)) == (b"COMMENT ON" in statements(kept)) == has_rows
