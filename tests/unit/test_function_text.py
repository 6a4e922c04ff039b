"""What a function's text names, by what stands around a name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backup_lib.function_text import Named, names_in
from backup_lib.lint import circles


def named(text: str) -> set[tuple[str, str | None, str]]:
    return {(n.use, n.schema, n.name) for n in names_in(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("SELECT 1 FROM Ventas v", {("relation", None, "ventas")}, id="folded"),
        pytest.param('SELECT 1 FROM "Ventas"', {("relation", None, "Ventas")}, id="quoted"),
        pytest.param("SELECT 1 FROM a.b JOIN c ON true", {("relation", "a", "b"), ("relation", None, "c")}, id="join"),
        pytest.param("SELECT 1 FROM a x, b y", {("relation", None, "a"), ("relation", None, "b")}, id="list"),
        pytest.param("SELECT f(x), g . h (y)", {("call", None, "f"), ("call", "g", "h")}, id="calls"),
        pytest.param("SELECT x::estado, y :: a.b", {("type", None, "estado"), ("type", "a", "b")}, id="types"),
        pytest.param("INSERT INTO t (a, b) VALUES (1, 2)", {("relation", None, "t")}, id="insert"),
        pytest.param("SELECT a INTO t FROM u", {("relation", None, "u")}, id="into-a-variable"),
        pytest.param("UPDATE ONLY t SET a = 1", {("relation", None, "t")}, id="update"),
        pytest.param("SELECT a IS DISTINCT FROM t", set(), id="distinct-from"),
        pytest.param("SELECT extract(year FROM t)", {("call", None, "extract")}, id="extract"),
        pytest.param("-- FROM t\n/* FROM u */ SELECT 'FROM v', $x$ FROM w $x$", set(), id="comments-and-literals"),
        pytest.param("SELECT (SELECT 1 FROM t), b", {("relation", None, "t")}, id="subquery"),
    ],
)
def test_a_name_is_told_by_what_stands_around_it(text: str, expected: set[tuple[str, str | None, str]]) -> None:
    found = {n for n in named(text) if n[2] not in ("only", "values", "select")}
    assert found == expected


def test_names_are_plain_values() -> None:
    assert list(names_in("SELECT s.f()")) == [Named("call", "s", "f")]


@pytest.mark.parametrize(
    ("edges", "groups"),
    [
        pytest.param([(1, 2), (2, 3)], [], id="none"),
        pytest.param([(1, 1)], [(1,)], id="itself"),
        pytest.param([(1, 2), (2, 1), (2, 3)], [(1, 2)], id="two"),
        pytest.param([(1, 2), (2, 3), (3, 1), (4, 5), (5, 4)], [(1, 2, 3), (4, 5)], id="two-circles"),
    ],
)
def test_circles_of_keys_are_found(edges: list[tuple[int, int]], groups: list[tuple[int, ...]]) -> None:
    assert circles(edges) == groups


def test_the_reference_lists_every_concern_with_its_severity() -> None:
    root = Path(__file__).parents[2]
    sources = "".join((root / "backup_lib" / name).read_text() for name in ("lint.py", "lint_functions.py"))
    codes = set(re.findall(r'(?:yield|return) (warn|note)\(\s*"([a-z-]+)"', sources))
    codes |= {("note", code) for code in re.findall(r'\("([a-z-]+)", lint_sql', sources)}
    listed = re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", (root / "docs/reference/lint.md").read_text(), re.MULTILINE)
    assert {(severity.replace("warning", "warn"), code) for code, severity in listed} == codes
    assert len(codes) == 15
