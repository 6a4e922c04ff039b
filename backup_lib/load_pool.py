"""Runs pieces of work side by side: each when what it waits for is done, and of those that may run the heaviest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from threading import Lock


@dataclass(slots=True, order=True)
class _Work:
    priority: tuple[float, int]  # least first: lightest last, then in the order they came
    run: Callable[[], None] = field(compare=False)
    future: Future[None] = field(compare=False)
    waits_for: int = field(compare=False)


class LoadPool:
    """`jobs` threads. Nobody waits inside one for somebody else's work, so none is ever idle while work may run."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._running = 0
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="pgdrill-load")
        self._lock = Lock()
        self._ready: list[_Work] = []
        self._came = count()
        self._closed = False

    def submit(self, run: Callable[[], None], *, after: Iterable[Future[None]] = (), weight: float = 0) -> Future[None]:
        """Run it when all of `after` is done, whether well or not.

        :param weight: what it is likely to cost, in any unit.
        :return: done when it has run; holds what it raised.
        """
        earlier = list(after)
        work = _Work((-weight, next(self._came)), run, Future(), len(earlier) + 1)
        for future in earlier:
            future.add_done_callback(lambda _: self._one_less(work))
        self._one_less(work)
        return work.future

    def helpers(self) -> int:
        """How many of the jobs one that runs may count as its own, since no other work needs them now."""
        with self._lock:
            return max(0, self._jobs - self._running - len(self._ready)) // max(1, self._running)

    def close(self) -> None:
        """Let what runs end; drop what does not run yet."""
        with self._lock:
            self._closed = True
            self._ready.clear()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _one_less(self, work: _Work) -> None:
        with self._lock:
            work.waits_for -= 1
            if work.waits_for or self._closed:
                return
            heappush(self._ready, work)
            self._threads.submit(self._run_heaviest)

    def _run_heaviest(self) -> None:
        with self._lock:
            if not self._ready:
                return
            work = heappop(self._ready)
            self._running += 1
        try:
            work.run()
        except BaseException as exc:  # noqa: BLE001 - it belongs to whoever asks for the result
            self._end_one()
            work.future.set_exception(exc)
        else:
            self._end_one()
            work.future.set_result(None)

    def _end_one(self) -> None:
        with self._lock:
            self._running -= 1
