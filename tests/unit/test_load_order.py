"""What may run side by side: too little only costs time, too much deadlocks or loses a statement."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread

import pytest

from backup_lib.dump_events import EntryStart
from backup_lib.load_order import (
    Block,
    Budget,
    LoadOrder,
    cost_of,
    locked_tables,
    parse_table,
    section_of,
    split_foreign_key,
    table_of,
)


def entry(kind: str, name: str = "x", schema: str | None = "public") -> EntryStart:
    return EntryStart(kind, schema, name, "postgres")


@pytest.mark.parametrize(
    ("written", "table"),
    [
        pytest.param(b"public.venta", ("public", "venta"), id="plain"),
        pytest.param('"Ventas ñ"."Ve.nta"'.encode(), ("Ventas ñ", "Ve.nta"), id="dot-in-quotes"),
        pytest.param(b'public."a""b"', ("public", 'a"b'), id="doubled-quote"),
        pytest.param("public.venta", ("public", "venta"), id="text"),
    ],
)
def test_a_tables_name_is_read_without_its_quotes(written: bytes | str, table: tuple[str, ...]) -> None:
    assert parse_table(written) == table


@pytest.mark.parametrize(
    ("kind", "text", "locks"),
    [
        pytest.param("INDEX", b"CREATE INDEX i ON public.t USING btree (a);",
                     (set(), {("public", "t")}), id="index"),
        pytest.param("INDEX", b"CREATE INDEX i ON public.t USING btree (a);\nALTER TABLE public.t CLUSTER ON i;",
                     ({("public", "t")}, set()), id="index-and-cluster"),
        pytest.param("INDEX", b"CREATE INDEX i ON public.t USING btree (f(a));\n\nALTER INDEX public.i"
                     b" ALTER COLUMN 1 SET STATISTICS 400;", ({("public", "t")}, set()), id="index-and-statistics"),
        pytest.param("INDEX", b"UPDATE public.u SET a = 1;\nCREATE INDEX i ON public.t USING btree (a);", None,
                     id="something-before-an-index"),
        pytest.param("INDEX", b"CREATE INDEX i ON public.t USING btree (a);\nALTER TABLE public.u CLUSTER ON j;", None,
                     id="another-table-behind-an-index"),
        pytest.param("CONSTRAINT", b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (a);\nDELETE FROM t;",
                     None, id="something-behind-a-key"),
        pytest.param("TRIGGER", b"\nCREATE TRIGGER g BEFORE UPDATE ON public.t EXECUTE FUNCTION f();\n\n"
                     b"ALTER TABLE public.t DISABLE TRIGGER g;", ({("public", "t")}, set()), id="trigger-disabled"),
        pytest.param("CONSTRAINT", b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (a);",
                     ({("public", "t")}, set()), id="key"),
        pytest.param("FK CONSTRAINT",
                     b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES public.u(a);",
                     ({("public", "t"), ("public", "u")}, set()), id="foreign-key"),
        pytest.param("FK CONSTRAINT", b"ALTER TABLE ONLY public.t ADD CONSTRAINT k something else;", None, id="unread"),
        pytest.param("TRIGGER", b"\nCREATE TRIGGER g BEFORE UPDATE OF a ON public.t EXECUTE FUNCTION f();\n",
                     ({("public", "t")}, set()), id="trigger"),
        pytest.param("RULE", b"CREATE RULE r AS ON INSERT TO public.t DO INSTEAD NOTHING;", None, id="other"),
    ],
)  # fmt: skip
def test_only_what_is_understood_runs_beside_others(
    kind: str, text: bytes, locks: tuple[set[tuple[str, ...]], set[tuple[str, ...]]] | None
) -> None:
    assert locked_tables(entry(kind), text) == locks


def test_work_waits_for_earlier_work_on_its_tables_only() -> None:
    order, t, u = LoadOrder(), ("public", "t"), ("public", "u")
    rows, index, other_index, key = (Future[None]() for _ in range(4))
    assert order.before([t], []) == []
    order.add(rows, [t], [])
    assert order.before([u], []) == []
    assert order.before([], [t]) == [rows]
    order.add(index, [], [t])
    assert index not in order.before([], [t])  # indexes are built side by side
    order.add(other_index, [], [t])
    assert set(order.before([t], [])) == {rows, index, other_index}
    order.add(key, [t], [])
    assert order.before([], [t]) == [key]
    assert order.take_all() == [rows, index, other_index, key]
    assert order.before([t], []) == []


@pytest.mark.parametrize(
    ("kind", "section"),
    [("TABLE", "pre-data"), ("TABLE DATA", "data"), ("SEQUENCE SET", "data"), ("FK CONSTRAINT", "post-data"),
     ("ACL", None), ("COMMENT", None)],
)  # fmt: skip
def test_entries_belong_to_pg_dumps_sections(kind: str, section: str | None) -> None:
    assert section_of(entry(kind)) == section


def test_a_table_without_a_schema_has_one_part() -> None:
    assert table_of(entry("TABLE DATA", "t", None)) == ("t",)


def test_a_full_budget_makes_the_reader_wait_until_rows_are_taken() -> None:
    block = Block(Budget(10))
    reader = Thread(target=lambda: [block.put(b"12345678") for _ in range(3)] and block.end())
    reader.start()
    reader.join(0.05)
    assert reader.is_alive()
    assert b"".join(block) == b"12345678" * 3
    reader.join(5)
    assert not reader.is_alive()


def test_a_piece_larger_than_the_budget_passes_alone() -> None:
    block = Block(Budget(4))
    block.put(b"12345678")
    block.end()
    assert list(block) == [b"12345678"]


ADD = b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES public.u(a)"


@pytest.mark.parametrize(
    "tail", [b"", b" ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED", b" MATCH FULL ON UPDATE SET NULL (a)"]
)
def test_a_foreign_key_is_made_first_and_checked_later(tail: bytes) -> None:
    key = split_foreign_key(entry("FK CONSTRAINT"), b"\n" + ADD + tail + b";\n\n")
    assert key is not None
    assert key.table == ("public", "t")
    assert key.add.strip() == ADD + tail + b" NOT VALID;"
    assert key.validate == b"ALTER TABLE ONLY public.t VALIDATE CONSTRAINT k"
    assert key.drop == b"ALTER TABLE ONLY public.t DROP CONSTRAINT k"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(ADD + b" NOT VALID;", id="never-checked"),
        pytest.param(ADD + b" NOT ENFORCED;", id="not-enforced"),
        pytest.param(ADD.replace(b"ONLY ", b"") + b";", id="of-a-partitioned-table"),
        pytest.param(ADD + b";\nSELECT 1;", id="two-statements"),
    ],
)
def test_other_foreign_keys_are_taken_as_they_stand(text: bytes) -> None:
    assert split_foreign_key(entry("FK CONSTRAINT"), text) is None


def test_keys_and_slow_indexes_come_before_other_indexes_of_the_same_table() -> None:
    key = cost_of(entry("CONSTRAINT"), b"ALTER TABLE ONLY t ADD CONSTRAINT k PRIMARY KEY (a);", 100)
    gin = cost_of(entry("INDEX"), b"CREATE INDEX i ON public.t USING gin (a);", 100)
    btree = cost_of(entry("INDEX"), b"CREATE INDEX i ON public.t USING btree (a);", 100)
    assert min(key, gin) > btree > 0
