"""Who dumps which table of a restored database."""

from __future__ import annotations

from backup_lib.inventory import TableData
from verification.dumping import SHARED_FROM_BYTES, share_out


def table(name: str, size_bytes: int, schema: str | None = "public") -> TableData:
    return TableData(schema=schema, name=name, target=name, columns=None, form="copy", rows=1,
                     size_bytes=size_bytes, sha256="")  # fmt: skip


def names(shares: list[list[TableData]]) -> list[list[str]]:
    return [[table.name for table in share] for share in shares]


def test_small_databases_and_single_jobs_are_dumped_by_one() -> None:
    assert share_out([table("a", SHARED_FROM_BYTES // 2 - 1), table("b", SHARED_FROM_BYTES // 2)], 2) == []
    assert share_out([table("a", SHARED_FROM_BYTES), table("b", SHARED_FROM_BYTES)], 1) == []
    assert share_out([], 4) == []


def test_large_tables_are_shared_so_that_all_have_as_much_to_read() -> None:
    tables = [table("a", 50 << 20), table("b", 40 << 20), table("c", 30 << 20), table("d", 20 << 20)]
    assert names(share_out(tables, 2)) == [["b", "c"]]  # the first dumps a and d
    assert names(share_out([table("only", 500 << 20), table("x", 100)], 2)) == []


def test_the_many_small_ones_stay_with_the_first() -> None:
    tables = [table("big", 100 << 20), table("large", 90 << 20), *(table(f"s{i}", 1000) for i in range(500))]
    assert names(share_out(tables, 2)) == [["large"]]


def test_a_name_that_pg_dump_would_read_otherwise_stays_with_the_first() -> None:
    tables = [table("big", 100 << 20), table("año", 90 << 20)]
    assert names(share_out(tables, 2, encoding="UTF8")) == [["año"]]
    assert names(share_out(tables, 2, encoding="LATIN1")) == []
