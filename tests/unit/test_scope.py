"""Which tables a selection means, decided before pg_dump sees a name."""

from __future__ import annotations

import pytest

from backup_lib.errors import SourceError, UsageError
from backup_lib.manifest import Kind
from backup_lib.scope import choose_scope
from backup_lib.source import Table, sum_up


def table(oid: int, label: str, *, kind: str = "r", parents: tuple[int, ...] = ()) -> Table:
    schema, _, name = label.partition(".")
    return Table(
        oid=oid,
        schema=schema,
        name=name,
        kind=kind,
        persistence="p",
        is_member=False,
        countable=True,
        readable=True,
        filtered=False,
        parents=parents,
    )


KNOWN = [
    table(1, "public.orders"),
    table(2, "public.Orders"),
    table(3, "pos.sales", kind="p"),
    table(4, "pos.sales_2024", kind="p", parents=(3,)),
    table(5, "pos.sales_2024_a", parents=(4,)),
    table(6, 'pos.odd"name'),
]


def labels(scope_tables: tuple[Table, ...]) -> list[str]:
    return [table.label for table in scope_tables]


def test_without_a_selection_all_is_promised_and_pg_dump_is_asked_for_all() -> None:
    scope = choose_scope(KNOWN)
    assert (scope.kind, scope.options, scope.is_whole) == ("full", (), True)
    assert scope.tables == tuple(KNOWN)


@pytest.mark.parametrize(("kind", "promised"), [("schema", 0), ("data", 6)])
def test_a_kind_is_pg_dumps_option(kind: Kind, promised: int) -> None:
    scope = choose_scope(KNOWN, kind=kind)
    assert scope.options == (f"--{kind}-only",)
    assert len(scope.tables) == promised


def test_a_name_is_exact_and_quoted() -> None:
    scope = choose_scope(KNOWN, tables=["Orders"])
    assert scope.options == ('--table="public"."Orders"', "--strict-names")
    assert (scope.kind, labels(scope.tables), scope.is_whole) == ("tables", ["public.Orders"], False)
    assert '--table="pos"."odd""name"' in choose_scope(KNOWN, tables=["pos.odd*"]).options


def test_a_partitioned_table_brings_its_partitions_of_any_depth() -> None:
    scope = choose_scope(KNOWN, tables=["pos.sales"])
    assert labels(scope.tables) == ["pos.sales", "pos.sales_2024", "pos.sales_2024_a"]


def test_excluding_a_partitioned_table_excludes_its_partitions() -> None:
    scope = choose_scope(KNOWN, exclude_tables=["sales"])
    assert labels(scope.tables) == ["public.orders", "public.Orders", 'pos.odd"name']
    assert len([option for option in scope.options if option.startswith("--exclude-table=")]) == 3


def test_schemas_are_chosen_by_glob() -> None:
    scope = choose_scope(KNOWN, schemas=["p*s"])
    assert scope.options == ('--schema="pos"', "--strict-names")
    assert len(scope.tables) == 4


@pytest.mark.parametrize(("names", "hint"), [(["ordres"], "did you mean orders?"), (["zzzz"], "there is ")])
def test_a_name_that_matches_nothing_is_an_error(names: list[str], hint: str) -> None:
    with pytest.raises(SourceError, match="no table is called") as caught:
        choose_scope(KNOWN, tables=names)
    assert hint in caught.value.hint
    with pytest.raises(SourceError, match="no table is called"):
        choose_scope(KNOWN, exclude_tables=names)


def test_tables_and_schemas_together_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="both"):
        choose_scope(KNOWN, tables=["orders"], schemas=["pos"])


def test_a_partitioned_table_is_the_sum_of_what_is_below() -> None:
    tables = [*KNOWN, table(7, "pos.sales_b", parents=(3,))]
    counts = sum_up({1: 1, 2: 2, 5: 5, 6: 0, 7: 7}, tables)
    assert counts == {
        "public.orders": 1,
        "public.Orders": 2,
        "pos.sales": 12,
        "pos.sales_2024": 5,
        "pos.sales_2024_a": 5,
        'pos.odd"name': 0,
        "pos.sales_b": 7,
    }


def test_two_tables_of_one_label_are_one_sum() -> None:
    assert sum_up({1: 1, 2: 2}, [table(1, "a.b.c"), table(2, "a.b.c")]) == {"a.b.c": 3}
