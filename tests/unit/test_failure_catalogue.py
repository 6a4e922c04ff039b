"""Every way in which backups are known to fail is made by a test, and the test is found by the failure's number.

The numbers are those of the catalogue of failures, rows 1 to 43: a test of a row says `Row 16` or `Rows 16, 17 and 19` in
its docstring. Where the test belongs to a part of its own, ELSEWHERE names it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = range(1, 44)
TRAPS = range(1, 8)  # section 3b: verdicts that other tools got wrong

ELSEWHERE = {
    1: "postgres/test_backup.py::test_a_pg_dump_older_than_the_server_is_refused_by_name",
    10: "unit/test_expiry.py::test_bad_days_do_not_push_the_good_ones_out",
    11: "postgres/test_drill_damaged.py::test_what_is_no_dump_fails",
    14: "postgres/test_drill_damaged.py::test_a_missing_extension_is_a_gap_of_the_sandbox_not_a_fault_of_the_archive",
    18: "postgres/test_drill_kinds.py::"
    "test_rows_alone_are_restored_into_the_manifests_tables_though_their_keys_go_in_a_circle",
    37: "hostile/test_embedded_isolation.py::test_the_network_cannot_be_reached_not_even_this_machines",
    40: "container/test_container_sandbox.py::test_every_major_starts_empty_and_is_gone_afterwards",
    41: "postgres/test_drill_healthy.py::test_what_a_server_words_or_orders_anew_is_no_fault",
    42: "places/test_replicas.py::test_a_copy_that_has_rotted_is_found_by_its_bytes_and_mended",
}
WITHOUT = {
    7: "archives that others encrypted are refused by name (unit/test_archive.py), never read: no wrong byte can pass",
    8: "the same: nothing is decrypted by a program whose defaults may change",
}
_CITED = re.compile(r"\b(Rows?|Traps?) (\d+(?:(?:, | and | to )\d+)*)")


def cited(word: str) -> set[int]:
    found: set[int] = set()
    for docstring in docstrings():
        for kind, numbers in _CITED.findall(docstring):
            if kind.startswith(word):
                first_to_last = [int(n) for n in re.findall(r"\d+", numbers)]
                span = range(first_to_last[0], first_to_last[-1] + 1) if " to " in numbers else first_to_last
                found.update(span)
    return found


def docstrings() -> Iterator[str]:
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield ast.get_docstring(node) or ""


def test_every_row_of_the_catalogue_has_a_test_or_a_reason() -> None:
    rows = cited("Row")
    assert set(ROWS) - rows - ELSEWHERE.keys() - WITHOUT.keys() == set()
    assert rows <= set(ROWS)


def test_every_trap_of_other_tools_has_a_test() -> None:
    assert cited("Trap") == set(TRAPS)


def test_what_is_tested_elsewhere_is_there() -> None:
    for place in ELSEWHERE.values():
        path, _, name = place.partition("::")
        assert f"def {name}(" in (TESTS / path).read_text(), place
