from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from keepfit.deployment.batcher import INLINE, MOST, SPAN, Batcher
from keepfit.errors import RequestError


class Worker:
    """Work that remembers its batches and the threads that did it."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.batches, self.threads = seconds, list[list[Any]](), list[str]()
        self.done: list[tuple[Any, Any]] = []

    def work(self, jobs: Sequence[Any]) -> list[Any]:
        self.batches.append(list(jobs))
        self.threads.append(threading.current_thread().name)
        time.sleep(self.seconds * len(jobs))
        return [job * 10 for job in jobs]


def drive(worker: Worker, script: Any, limit: int = 10_000) -> Batcher:
    async def main() -> Batcher:
        with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
            batcher = Batcher(worker.work, lambda job, result: worker.done.append((job, result)), pool, limit)
            await script(batcher)
            idle = asyncio.Event()
            batcher.when_idle(idle.set)
            await asyncio.wait_for(idle.wait(), 5)
            return batcher

    return asyncio.run(main())


def test_what_arrives_in_one_turn_is_one_batch_and_is_answered_in_order() -> None:
    worker = Worker()

    async def script(batcher: Batcher) -> None:
        for job in (1, 2, 3):
            batcher.put(job, 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        batcher.put(4, 1)

    batcher = drive(worker, script)
    assert worker.batches == [[1, 2, 3], [4]]
    assert worker.done == [(1, 10), (2, 20), (3, 30), (4, 40)]
    assert batcher.rows == 0


def test_a_batch_waits_for_those_that_were_answered_together_while_each_turn_brings_some() -> None:
    worker = Worker()

    async def script(batcher: Batcher) -> None:
        batcher.inline = math.inf  # however busy the machine is
        for job in range(4):
            batcher.put(job, 1)
        while not worker.batches:
            await asyncio.sleep(0)
        for job in range(4, 7):  # one a turn
            batcher.put(job, 1)
            await asyncio.sleep(0)
        while len(worker.batches) < 2:
            await asyncio.sleep(0)
        batcher.put(7, 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(worker.batches) == 3  # nobody else came: it was not kept waiting
        batcher.put(8, 1)
        await asyncio.sleep(0)
        assert len(worker.batches) == 4  # at once: the last one was alone

    drive(worker, script)
    assert worker.batches == [[0, 1, 2, 3], [4, 5, 6], [7], [8]]


def test_a_batch_grows_to_no_more_than_the_last_one_had_by_waiting() -> None:
    worker = Worker()

    async def script(batcher: Batcher) -> None:
        batcher.inline = math.inf
        batcher.put(0, 1)
        batcher.put(1, 1)
        while not worker.batches:
            await asyncio.sleep(0)
        for job in range(2, 12):
            batcher.put(job, 1)
            await asyncio.sleep(0)

    drive(worker, script)
    assert [len(batch) for batch in worker.batches] == [2] * 6


def test_long_work_leaves_the_event_loop_free_and_what_comes_meanwhile_is_the_next_batch() -> None:
    worker = Worker(seconds=4 * INLINE)
    turns = 0

    async def script(batcher: Batcher) -> None:
        nonlocal turns
        batcher.put(1, 1)
        await asyncio.sleep(0.05)  # the first one teaches what a row costs
        for job in (2, 3):
            batcher.put(job, 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        for job in (4, 5):
            batcher.put(job, 1)
        while len(worker.done) < 5:
            turns += 1
            await asyncio.sleep(0.001)

    drive(worker, script)
    assert worker.batches == [[1], [2, 3], [4, 5]]
    assert worker.threads[0] == "MainThread"
    assert all(name.startswith("pool") for name in worker.threads[1:])
    assert turns > 10
    assert [job for job, _ in worker.done] == [1, 2, 3, 4, 5]


def test_more_rows_than_may_wait_are_refused_with_a_time_to_come_back() -> None:
    worker = Worker()

    async def script(batcher: Batcher) -> None:
        batcher.put(1, 8)
        with pytest.raises(RequestError, match="Too many requests are waiting") as fault:
            batcher.put(2, 3)
        assert (fault.value.status, fault.value.retry) == (503, 1.0)
        batcher.put(3, 2)

    drive(worker, script, limit=10)
    assert worker.batches == [[1, 3]]


def test_one_request_may_be_larger_than_the_queue_when_nothing_waits() -> None:
    worker = Worker()

    async def script(batcher: Batcher) -> None:
        batcher.put(1, 500)

    drive(worker, script, limit=10)
    assert worker.batches == [[1]]


def test_a_batch_has_no_more_than_so_many_rows() -> None:
    worker = Worker()

    async def script(batcher: Batcher) -> None:
        for job in (1, 2, 3):
            batcher.put(job, MOST - 1)

    drive(worker, script, limit=10 * MOST)
    assert worker.batches == [[1], [2], [3]]


def test_many_rows_do_not_hold_up_the_loop_before_any_were_timed() -> None:
    worker = Worker()

    async def script(batcher: Batcher) -> None:
        batcher.put(1, 1_000)

    drive(worker, script)
    assert worker.threads[0].startswith("pool")


@pytest.mark.parametrize("rows", [1, 1_000])  # in the loop, in the pool
@pytest.mark.parametrize("fails", ["work", "done"])
def test_after_a_batch_that_failed_the_next_one_has_its_turn(rows: int, fails: str) -> None:
    told: list[str] = []

    def work(jobs: Sequence[Any]) -> list[Any]:
        if fails == "work" and "bad" in jobs:
            raise ZeroDivisionError
        return list(jobs)

    def done(job: Any, result: Any) -> None:
        if job == "bad":
            raise ZeroDivisionError
        told.append(job)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        with ThreadPoolExecutor(1) as pool:
            batcher = Batcher(work, done, pool, 10_000)
            batcher.put("bad", rows)
            await asyncio.sleep(0)
            batcher.put("good", MOST)
            idle = asyncio.Event()
            batcher.when_idle(idle.set)
            await asyncio.wait_for(idle.wait(), 5)

    asyncio.run(main())
    assert told == ["good"]


def test_a_batch_is_no_longer_than_it_may_be_expected_to_take() -> None:
    worker = Worker(seconds=SPAN / 4)

    async def script(batcher: Batcher) -> None:
        batcher.put(1, 1)  # from which the cost of a row is learned
        await asyncio.sleep(0.05)
        for job in range(2, 12):
            batcher.put(job, 1)

    drive(worker, script)
    assert worker.batches[0] == [1]
    assert 1 <= max(map(len, worker.batches)) <= 4
    assert [job for batch in worker.batches for job in batch] == [*range(1, 12)]


def test_nobody_waits_longer_than_his_patience() -> None:
    worker = Worker(seconds=0.05)

    async def script(batcher: Batcher) -> None:
        batcher.patience = 2.0
        batcher.cost = 0.05
        batcher.put(1, 60)  # three seconds of waiting for whoever comes next
        with pytest.raises(RequestError, match="Too many requests") as found:
            batcher.put(2, 1)
        assert found.value.retry == 3

    drive(worker, script)
    assert worker.batches == [[1]]


def test_what_is_never_inline_and_what_a_job_had_in_the_end() -> None:
    worker = Worker()

    async def main() -> Batcher:
        with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:
            batcher = Batcher(worker.work, lambda *told: None, pool, 10, inline=0.0, size=lambda job: 100)
            batcher.put(1, 1)
            idle = asyncio.Event()
            batcher.when_idle(idle.set)
            await idle.wait()
            return batcher

    batcher = asyncio.run(main())
    assert worker.threads[0].startswith("pool")
    assert batcher.cost < 0.01  # of a row: a hundredth of the whole
