"""What an object is like, compared without the words a restore may choose otherwise."""

from __future__ import annotations

import pytest

from backup_lib.wording import canonical, skeleton


@pytest.mark.parametrize(
    ("source", "restored"),
    [
        pytest.param(
            "((s)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
            "((s)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text]))",
            id="in-over-varchar",
        ),
        pytest.param("(((x >= 1) AND (x <= 9)) AND (y > 0))", "((x >= 1) AND (x <= 9) AND (y > 0))", id="and"),
        pytest.param("SELECT a,\n NULL::integer", "SELECT a,\n NULL::integer AS int4", id="untyped-null"),
        pytest.param("SELECT 'proveedor'::text,\n (0)::numeric", "SELECT 'proveedor'::text AS text,\n (0)::numeric AS \"numeric\"", id="literal"),
        pytest.param("SELECT 'a'::app.estado, NULL::character varying", "SELECT 'a'::app.estado AS estado, NULL::character varying AS \"varchar\"", id="type-of-ones-own"),
        pytest.param("SELECT true", "SELECT true AS bool", id="boolean"),
        pytest.param("((((x < 1) OR (x > 9)) OR y) AND z)", "(((x < 1) OR (x > 9) OR y) AND z)", id="or"),
        pytest.param("(d = ANY ((ARRAY[(a.b).c, 'x'::s.\"T t\"])::numeric(10,2)[]))", "(d = ANY (ARRAY[((a.b).c)::numeric(10,2), ('x'::s.\"T t\")::numeric(10,2)]))", id="in-over-modified"),
    ],
)  # fmt: skip
def test_equal_objects_have_equal_traits(source: str, restored: str) -> None:
    assert canonical(source) == canonical(restored)


@pytest.mark.parametrize(
    ("source", "restored"),
    [
        pytest.param("((s)::text = ANY (ARRAY['a'::text, 'b'::text]))", "((s)::text = 'a'::text)", id="value-lost"),
        pytest.param("(x >= 1)", "(x > 1)", id="operator"),
        pytest.param("((a OR b) AND c)", "(a OR (b AND c))", id="parentheses"),
        pytest.param("(NOT (a AND b))", "((NOT a) AND b)", id="parentheses-of-not"),
        pytest.param("(a - (b - c))", "((a - b) - c)", id="parentheses-of-minus"),
        pytest.param("f((x))", "f (x)", id="call"),
        pytest.param("(a)::date = b", "(a)::timestamp = b", id="cast"),
        pytest.param("((ARRAY['a'::text])::integer[])", "ARRAY[('a'::text)::bigint]", id="cast-of-array"),
        pytest.param("'a (b AND (c AND d))'", "'a (b AND c AND d)'", id="in-a-text"),
        pytest.param("1 a integer NOT NULL", "1 a integer", id="not-null"),
        pytest.param("'two words'::text", "'twowords'::text", id="blank-in-a-word"),
        pytest.param("postgres: SELECT", "postgres: SELECT*", id="grant-option"),
        pytest.param("SHA-256 " + "a" * 64, "SHA-256 " + "b" * 64, id="digest"),
    ],
)
def test_other_objects_have_other_traits(source: str, restored: str) -> None:
    assert canonical(source) != canonical(restored)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("t > '2024-01-01 00:00:00+00'::timestamp(3) with time zone", "t > '2024-01-01 00:00:00+00'", id="cast"),
        pytest.param("((a OR b) AND c)", "(a OR (b AND c))", id="parentheses"),
    ],
)  # fmt: skip
def test_a_skeleton_has_no_casts_and_parentheses(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize("text", ["rol(e: SELECT", "(" * 999 + ")" * 999, "]", ""])
def test_what_is_no_tree_stays_as_it_is(text: str) -> None:
    assert canonical(text) == text
