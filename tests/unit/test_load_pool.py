"""Work runs when what it waits for is done, the heaviest first, and no thread is idle while any may run."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Event

import pytest

from backup_lib.load_pool import LoadPool

WAIT_S = 10


def test_work_waits_for_what_is_before_it_and_the_heaviest_runs_first() -> None:
    pool, ran, began, gate = LoadPool(1), list[str](), Event(), Event()

    def hold() -> None:
        began.set()
        assert gate.wait(WAIT_S)
        ran.append("first")

    first = pool.submit(hold)
    assert began.wait(WAIT_S)
    others = [
        pool.submit(lambda: ran.append("light"), weight=1),
        pool.submit(lambda: ran.append("heavy"), weight=5),
        pool.submit(lambda: ran.append("after"), after=[first], weight=9),
    ]
    gate.set()
    for future in others:
        future.result(WAIT_S)
    assert ran == ["first", "after", "heavy", "light"]
    pool.close()


def test_a_thread_is_not_held_by_work_that_waits() -> None:
    pool, gate = LoadPool(2), Event()

    def hold() -> None:
        assert gate.wait(WAIT_S)

    slow = pool.submit(hold)
    waiting = [pool.submit(lambda: None, after=[slow]) for _ in range(5)]
    pool.submit(gate.set).result(WAIT_S)  # would never run if the others held the second thread
    for future in waiting:
        future.result(WAIT_S)
    pool.close()


def test_what_work_raised_is_its_result_and_later_work_runs_all_the_same() -> None:
    def fail() -> None:
        raise ValueError("no")

    pool = LoadPool(1)
    failed = pool.submit(fail)
    pool.submit(lambda: None, after=[failed]).result(WAIT_S)
    with pytest.raises(ValueError, match="no"):
        failed.result()
    pool.close()


def test_closing_drops_what_has_not_begun() -> None:
    pool, ran, never = LoadPool(1), list[int](), Future[None]()
    waiting = pool.submit(lambda: ran.append(1), after=[never])
    pool.close()
    never.set_result(None)
    assert (ran, waiting.done()) == ([], False)


def test_jobs_nobody_needs_are_helpers_of_what_runs() -> None:
    pool, began, gate = LoadPool(8), [Event(), Event()], Event()

    def hold(number: int) -> None:
        began[number].set()
        assert gate.wait(WAIT_S)

    found = []
    works = []
    for number in (0, 1):
        works.append(pool.submit(lambda number=number: hold(number)))  # type: ignore[misc]
        assert began[number].wait(WAIT_S)
        found.append(pool.helpers())
    gate.set()
    for work in works:
        work.result(WAIT_S)
    assert found == [7, 3]
    pool.close()
    single = LoadPool(1)
    helped = list[int]()
    single.submit(lambda: helped.append(single.helpers())).result(WAIT_S)
    assert helped == [0]
    single.close()
