# ruff: noqa: S311 - damage is to be repeated, not to be secret
"""Damage for the negative control strikes where it says, changes what the archive means, and is the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_lib.dump_reader import read_inventory
from backup_lib.inventory import Inventory
from verification.damage import Damage, Edit, apply, spliced, stored
from verification.damage.dump_map import definitions_only, lines, map_dump
from verification.damage.kinds import STORED, TEXT, TextKind

DUMP = rb"""--
-- PostgreSQL database dump
--

\restrict abc

-- Dumped from database version 18.0
-- Dumped by pg_dump version 18.0

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

--
-- Name: caja; Type: SCHEMA; Schema: -; Owner: ana
--

CREATE SCHEMA caja;


ALTER SCHEMA caja OWNER TO ana;

--
-- Name: pgcrypto; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public;


--
-- Name: estado; Type: TYPE; Schema: caja; Owner: ana
--

CREATE TYPE caja.estado AS ENUM (
    'abierta',
    'cerrada'
);


ALTER TYPE caja.estado OWNER TO ana;

--
-- Name: suma(integer); Type: FUNCTION; Schema: caja; Owner: ana
--

CREATE FUNCTION caja.suma(integer) RETURNS integer
    LANGUAGE sql
    AS $_$
-- Name: trampa; Type: TABLE
SELECT $1 + 1
$_$;


ALTER FUNCTION caja.suma(integer) OWNER TO ana;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: venta; Type: TABLE; Schema: caja; Owner: ana
--

CREATE TABLE caja.venta (
    id integer NOT NULL,
    cliente text DEFAULT 'nadie'::text NOT NULL,
    nota text,
    total integer,
    CONSTRAINT positivo CHECK ((total >= 0))
);


ALTER TABLE caja.venta OWNER TO ana;

--
-- Name: caras; Type: VIEW; Schema: caja; Owner: ana
--

CREATE VIEW caja.caras AS
 SELECT id
   FROM caja.venta
  WHERE ((cliente)::text <> 'n;'::text);


ALTER VIEW caja.caras OWNER TO ana;

--
-- Name: folio; Type: SEQUENCE; Schema: caja; Owner: ana
--

CREATE SEQUENCE caja.folio
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE caja.folio OWNER TO ana;

--
-- Name: 4242; Type: BLOB METADATA; Schema: -; Owner: ana
--

SELECT pg_catalog.lo_create('4242');

ALTER LARGE OBJECT 4242 OWNER TO ana;

--
-- Data for Name: venta; Type: TABLE DATA; Schema: caja; Owner: ana
--

COPY caja.venta (id, cliente, nota, total) FROM stdin;
1	Ana	\N	10
2	Berta		29
3	Carla	tres	31
\.


--
-- Name: folio; Type: SEQUENCE SET; Schema: caja; Owner: ana
--

SELECT pg_catalog.setval('caja.folio', 77, true);


--
-- Data for Name: BLOBS; Type: BLOBS; Schema: -; Owner: ana
--

BEGIN;

SELECT pg_catalog.lo_open('4242', 131072);
SELECT pg_catalog.lowrite(0, '\x756e20646f63');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- Name: venta venta_pkey; Type: CONSTRAINT; Schema: caja; Owner: ana
--

ALTER TABLE ONLY caja.venta
    ADD CONSTRAINT venta_pkey PRIMARY KEY (id);


--
-- Name: por_total; Type: INDEX; Schema: caja; Owner: ana
--

CREATE INDEX por_total ON caja.venta USING btree (total);


--
-- Name: venta al_vender; Type: TRIGGER; Schema: caja; Owner: ana
--

CREATE TRIGGER al_vender BEFORE INSERT ON caja.venta FOR EACH ROW EXECUTE FUNCTION caja.anota();


--
-- Name: venta venta_fk; Type: FK CONSTRAINT; Schema: caja; Owner: ana
--

ALTER TABLE ONLY caja.venta
    ADD CONSTRAINT venta_fk FOREIGN KEY (total) REFERENCES caja.venta(id) ON UPDATE CASCADE;


--
-- Name: venta otra_fk; Type: FK CONSTRAINT; Schema: caja; Owner: ana
--

ALTER TABLE ONLY caja.venta
    ADD CONSTRAINT otra_fk FOREIGN KEY (total) REFERENCES caja.venta(id);


--
-- Name: venta pares; Type: POLICY; Schema: caja; Owner: ana
--

CREATE POLICY pares ON caja.venta USING (((total % 2) = 0));


--
-- Name: TABLE venta; Type: ACL; Schema: caja; Owner: ana
--

GRANT SELECT ON TABLE caja.venta TO PUBLIC;


--
-- Name: TABLE venta; Type: COMMENT; Schema: caja; Owner: ana
--

COMMENT ON TABLE caja.venta IS 'lo vendido';


--
-- PostgreSQL database dump complete
--

\unrestrict abc

"""
MAP = map_dump([DUMP])
BY_NAME = {kind.name: kind for kind in TEXT}
# The dump above offers these no place.
WITHOUT_PLACE = {
    "unique-key-lost", "aggregate-lost", "cast-lost", "check-constraint-lost", "collation-lost", "default-acl-lost",
    "default-lost", "domain-lost", "event-trigger-lost", "foreign-table-lost", "index-attach-lost",
    "materialized-view-lost", "operator-lost", "procedure-lost", "publication-lost", "row-security-lost", "rule-lost",
    "sequence-owned-by-lost", "statistics-lost", "table-attach-lost", "text-search-configuration-lost",
}  # fmt: skip


def inventory(text: bytes) -> Inventory:
    return read_inventory([text])


def strike(kind: TextKind, seed: int = 0) -> Damage | None:
    return kind.strike(MAP, Random(seed))


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in TEXT])
def test_each_kind_changes_what_the_dump_holds_and_says_where(kind: TextKind) -> None:
    damage = strike(kind)
    if kind.name in WITHOUT_PLACE:
        assert damage is None
        return
    assert damage is not None
    before, after = inventory(DUMP), inventory(apply(DUMP, damage.edits))
    # Not only the text: what an inventory holds of it, or its end.
    assert (before.entries, before.tables, before.sequences, before.large_objects, before.complete, before.encoding) != (
        after.entries, after.tables, after.sequences, after.large_objects, after.complete, after.encoding
    )  # fmt: skip
    labels = {entry.label for entry in before.entries} | {table.label for table in before.tables}
    labels |= {sequence.label for sequence in before.sequences} | {f"TABLE DATA {t.label}" for t in before.tables}
    labels |= {"large object 4242", "client_encoding", "BLOBS BLOBS"}
    assert set(damage.names) <= labels


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in TEXT if kind.base == "definitions"])
def test_damage_to_a_definition_is_done_to_one_entry(kind: TextKind) -> None:
    damage = strike(kind)
    if damage is None or kind.name in ("encoding-changed", "sequence-value-lost"):
        return
    before, after = inventory(DUMP), inventory(apply(DUMP, damage.edits))
    assert after.complete
    touched = set(before.entries) ^ set(after.entries)
    assert {entry.label for entry in touched} <= set(damage.names)
    assert after.tables == before.tables


def test_no_value_of_a_row_is_in_what_is_said_of_the_damage() -> None:
    said = " ".join(f"{d.object} {d.names}" for kind in TEXT for seed in range(20) if (d := strike(kind, seed)))
    assert not [value for value in ("Ana", "Berta", "Carla", "tres", "31") if value in said]


@pytest.mark.parametrize("seed", range(20))
def test_swapped_values_are_no_mere_reordering(seed: int) -> None:
    damage = strike(BY_NAME["values-swapped"], seed)
    assert damage is not None
    rows = [
        sorted(apply(DUMP, edits).split(b"FROM stdin;\n")[1].split(b"\\.\n")[0].splitlines())
        for edits in ((), damage.edits)
    ]
    assert rows[0] != rows[1]


def test_a_nullable_column_of_a_key_keeps_its_not_null_since_the_key_would_bring_it_back() -> None:
    for seed in range(20):
        damage = strike(BY_NAME["not-null-lost"], seed)
        assert damage is not None
        assert b"cliente text DEFAULT 'nadie'::text,\n" in apply(DUMP, damage.edits)


def test_the_same_seed_strikes_the_same_place_and_another_one_others() -> None:
    struck = {strike(BY_NAME["digit-changed"], seed) for seed in range(30)}
    assert len(struck) > 3
    assert strike(BY_NAME["digit-changed"], 7) == strike(BY_NAME["digit-changed"], 7)


def test_a_header_inside_a_body_is_no_entry_and_settings_stay_for_the_next_one() -> None:
    assert [place.name for place in MAP.places].count("trampa") == 0
    (function,) = MAP.of("FUNCTION")
    assert DUMP[function.end :].startswith(b"SET default_tablespace")
    assert DUMP[function.body : function.end] == function.text


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_where_the_text_is_parted_does_not_matter(size: int) -> None:
    chunks = [DUMP[at : at + size] for at in range(0, len(DUMP), size)]
    assert map_dump(chunks) == MAP
    assert b"".join(definitions_only(chunks)) == b"".join(definitions_only([DUMP]))
    assert b"".join(line for _, line in lines(chunks)) == DUMP


def test_without_its_rows_a_dump_has_the_same_definitions() -> None:
    whole, bare = inventory(DUMP), inventory(b"".join(definitions_only([DUMP])))
    assert (bare.entries, bare.sequences, bare.complete) == (whole.entries, whole.sequences, True)
    assert [table.rows for table in bare.tables] == [0]
    assert [large.size_bytes for large in bare.large_objects] == [0]


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in STORED])
@pytest.mark.parametrize("size", [1, 2, 5, 5000, 100_000])
def test_each_damage_to_bytes_changes_them(kind: object, size: int) -> None:
    data = Random(1).randbytes(size)
    for seed in range(10):
        stroke = kind.strike(size, Random(seed))  # type: ignore[attr-defined]
        assert 0 <= stroke.start <= stroke.end <= size
        put = stroke.rewrite(data[stroke.start : stroke.end]) if stroke.rewrite else b""
        assert apply(data, [Edit(start=stroke.start, end=stroke.end, put=put)]) != data


def test_a_block_of_zeroes_is_not_zeroed() -> None:
    stroke = stored.block_zeroed(5000, Random(0))
    assert stroke.rewrite is not None
    assert any(stroke.rewrite(bytes(10)))


@st.composite
def edits(draw: st.DrawFn) -> tuple[bytes, list[Edit], list[bytes]]:
    data = draw(st.binary(max_size=60))
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6, unique=True)))
    made = [
        Edit(start=a, end=b, put=draw(st.binary(max_size=5))) for a, b in zip(places[::2], places[1::2], strict=False)
    ]
    cuts = sorted({0, len(data), *draw(st.lists(st.integers(0, len(data)), max_size=6))})
    return data, made, [data[a:b] for a, b in pairwise(cuts)]


@given(edits())
def test_edits_are_made_whatever_way_the_bytes_are_parted(case: tuple[bytes, list[Edit], list[bytes]]) -> None:
    data, made, chunks = case
    expected, at = b"", 0
    for edit in made:
        expected += data[at : edit.start] + edit.put
        at = edit.end
    assert b"".join(spliced(_each(chunks), made)) == expected + data[at:]


def _each(chunks: list[bytes]) -> Iterator[bytes]:
    yield from chunks
