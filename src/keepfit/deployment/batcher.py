"""Micro-batching: requests that arrive together are answered together.

What has come in one turn of the event loop is one batch: with one client that is one request, at
once; with many it grows by itself, and nobody waits for a timer. Who was answered together asks again
at about the same time, but not all in one turn: so while each turn brings more, a batch may grow to as
many requests as the last one had. Work that is expected to take longer than INLINE seconds runs in a
thread, and what arrives meanwhile is the next batch. A batch has no more than MOST rows, and none that
would make it longer than SPAN.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from keepfit.errors import RequestError

INLINE = 0.005  # seconds; longer work must not keep other connections waiting
MOST = 2_000  # rows of one batch
SPAN = 0.5  # seconds that a batch may be expected to take, where more requests than one are in it
FIRST = 0.001  # seconds that a row is expected to take before any was timed
LEARN = 0.1  # weight of the newest batch in the expected cost of a row

Job = Any
Work = Callable[[Sequence[Job]], Sequence[Any]]  # one result for each job
Done = Callable[[Job, Any], None]


class Batcher:
    """A queue before `work`. All methods are called in the event loop's thread.

    Args:
        work: what answers a batch; called by one thread at a time. It tells faults as results: of jobs
            whose work raises nobody is told, and the next batch goes on.
        done: told each job with its result.
        pool: where long work runs.
        limit: rows that may wait.
        patience: seconds after which nobody waits for an answer any more.
        inline: see INLINE; 0 for rows whose cost nobody can expect, as that of pictures.
        size: how many rows a job had, known when it is done; default: what `put` was told.
    """

    def __init__(
        self, work: Work, done: Done, pool: Executor, limit: int, patience: float = math.inf, inline: float = INLINE,
        size: Callable[[Job], int] | None = None,
    ) -> None:  # fmt: skip
        self.work, self.done, self.pool, self.size = work, done, pool, size
        self.limit, self.patience, self.inline = limit, patience, inline
        self.jobs: deque[tuple[Job, int]] = deque()
        self.rows = 0  # that wait
        self.cost = 0.0  # expected seconds of a row
        self.scheduled = self.busy = False
        self.seen, self.last = 0, 1  # jobs that waited at the end of the last turn, and that the last batch had
        self.idle: Callable[[], None] | None = None  # called once when nothing waits or runs

    def put(self, job: Job, rows: int) -> None:
        """Take a job in. Raises RequestError (503) when more rows wait than may, or than will be answered in time."""
        seconds = max(1.0, self.rows * self.cost)
        if self.rows and (self.rows + rows > self.limit or seconds > self.patience):
            raise RequestError(503, "overloaded", "Too many requests are waiting. Try again later.", retry=seconds)
        self.jobs.append((job, rows))
        self.rows += rows
        self._schedule()

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call once, when everything that was taken in is answered."""
        self.idle = call
        self._rest()

    def _schedule(self) -> None:
        if not self.scheduled and not self.busy:
            self.scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self.seen < len(self.jobs) < self.last and self.rows * self.cost < self.inline:
            self.seen = len(self.jobs)
            asyncio.get_running_loop().call_soon(self._flush)
            return
        self.scheduled = False
        batch, rows = self._next()
        self.seen, self.last = 0, len(batch)
        if rows * (self.cost or FIRST) <= self.inline:
            self._finish(batch, partial(self.work, batch), rows, time.perf_counter())
            return
        loop, began = asyncio.get_running_loop(), time.perf_counter()

        def finished(future: Future[Sequence[Any]]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: a second Ctrl-C does not wait
                loop.call_soon_threadsafe(self._back, batch, future, rows, began)

        self.pool.submit(self.work, batch).add_done_callback(finished)
        self.busy = True

    def _next(self) -> tuple[list[Job], int]:
        """The jobs of the next batch, and how many rows they are."""
        batch: list[Job] = []
        rows = 0
        most = min(MOST, SPAN / self.cost) if self.cost else MOST
        while self.jobs and (not batch or rows + self.jobs[0][1] <= most):
            job, many = self.jobs.popleft()
            batch.append(job)
            rows += many
        self.rows -= rows
        return batch, rows

    def _back(self, batch: list[Job], future: Future[Sequence[Any]], rows: int, began: float) -> None:
        self.busy = False
        self._finish(batch, future.result, rows, began)

    def _finish(self, batch: list[Job], results: Callable[[], Sequence[Any]], rows: int, began: float) -> None:
        """Tell the jobs their results; whatever goes wrong with these, the next batch has its turn."""
        try:
            found = results()
            seconds = time.perf_counter() - began
            rows = sum(map(self.size, batch)) if self.size else rows
            self.cost += (seconds / max(rows, 1) - self.cost) * (LEARN if self.cost else 1.0)
            for job, result in zip(batch, found, strict=True):
                self.done(job, result)
        finally:
            self._go_on()

    def _go_on(self) -> None:
        if self.jobs:
            self._schedule()
        else:
            self._rest()

    def _rest(self) -> None:
        if self.idle and not (self.jobs or self.busy or self.scheduled):
            call, self.idle = self.idle, None
            asyncio.get_running_loop().call_soon(partial(call))
