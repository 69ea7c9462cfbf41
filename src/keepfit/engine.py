"""Engines: map a function over items. `local` uses threads; another engine is a row of ENGINES.

Threads suit what lets go of Python's lock while it computes, and closures over much. `processes` are for plain
functions of plain values that hold it, as the fit of a block of series does.

An engine is `engine(function, items, workers, stop)`: the results in the order of the items, so
that nothing depends on which thread was first. Whoever sets `stop` gets no further item started, and functions that
take long end early: they call `look` now and then.

>>> local(lambda x: x * x, [1, 2, 3])
[1, 4, 9]
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from keepfit.errors import ModelError
from keepfit.extras import load

Item = TypeVar("Item")
Result = TypeVar("Result")

ENGINES = {"local": "keepfit.engine:local"}
HERE = threading.local()  # the stop of what this thread works on
NEVER = threading.Event()
WAIT = 0.2  # seconds between two looks whether Ctrl-C was pressed
IDLE = 60  # seconds after which processes without work end
KEPT: dict[tuple[int, int], Executor] = {}  # (process, how many) → its processes
CHANGING = threading.Lock()
atexit.register(KEPT.clear)  # before Python takes modules apart, which those processes' threads still need
ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # each has a core


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


WORKERS = cores()


def local(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int = WORKERS,
    stop: threading.Event | None = None,
) -> list[Result]:
    """`function` of each item, in threads. The first error is raised once running items have ended.

    Ctrl-C sets `stop`, so that a function that looks at it ends early, and is raised again.
    Items that `stop` kept from starting are missing at the end of the result.
    """
    stop = stop or threading.Event()
    todo = list(items)
    if workers < 2 or len(todo) < 2:
        return _one_by_one(function, todo, stop)
    with ThreadPoolExecutor(min(workers, len(todo)), thread_name_prefix="keepfit") as pool:
        try:
            futures = [pool.submit(_unless, stop, function, item) for item in todo]
            results = [_waited(future) for future in futures]
        except KeyboardInterrupt:
            stop.set()
            raise
        finally:
            # after an error the pool would first work through everything that waits
            pool.shutdown(cancel_futures=True)
    return [value for done, value in results if done]


def _waited(future: Future[Result]) -> Result:
    """The result; looked for again and again, as a signal that another thread receives does not end a wait."""
    while not future.done():
        wait([future], WAIT)
    return future.result()


def processes(function: Callable[[Item], Result], items: Iterable[Item], workers: int = 0) -> list[Result]:
    """`function` of each item, in so many processes (0: one a core that a container may use), kept for the next call.

    Items go there by pickle. The results are in their order and must not depend on who computes them. One item, or
    one worker, needs no process; a process that may have none of its own (a daemon of multiprocessing) starts none.
    Raises the first error; ModelError where a process was killed; Stopped where the work of this thread is to end,
    and then what has begun is not waited for.

    >>> processes(abs, [-1, 2], 1)
    [1, 2]
    """
    todo = list(items)
    alone = len(todo) < 2 or load("multiprocessing:current_process", "engine")().daemon
    workers = 1 if alone else workers or load("joblib.externals.loky:cpu_count", "engine")()
    if workers < 2:
        return [_looked(function, item) for item in todo]
    pool, futures = _pool(workers), list[Future[Result]]()
    try:
        futures += (pool.submit(function, item) for item in todo)
        return [_answered(future) for future in futures]
    except BrokenExecutor as error:
        _drop(pool)
        raise ModelError(
            f"One of {workers} processes that computed was killed, most often because memory ran out. Free some and "
            "try again, or let keepfit use fewer cores (taskset, or the limit of its container)."
        ) from error
    finally:
        for future in futures:
            future.cancel()


def _pool(workers: int) -> Executor:
    """So many processes of this one. Not joblib's reusable ones: those it takes for its own, and fails."""
    key = os.getpid(), workers  # a fork has none of its parent's
    with CHANGING:
        if key not in KEPT:
            made = load("joblib.externals.loky:ProcessPoolExecutor", "engine")
            KEPT[key] = made(workers, timeout=IDLE, env=ALONE, initializer=_ends_with, initargs=key[:1])
        return KEPT[key]


def _drop(broken: Executor) -> None:
    """Let the next call begin new processes."""
    with CHANGING:
        for key in [key for key, pool in KEPT.items() if pool is broken]:
            del KEPT[key]


def _ends_with(parent: int) -> None:
    """Ends this process when its parent was killed and could not tell it to."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _looked(function: Callable[[Item], Result], item: Item) -> Result:
    look()
    return function(item)


def _answered(future: Future[Result]) -> Result:
    while not future.done():
        look()
        wait([future], WAIT)
    return future.result()


def _one_by_one(function: Callable[[Item], Any], items: list[Item], stop: threading.Event) -> list[Any]:
    results = []
    for item in items:
        if stop.is_set():
            break
        results.append(function(item))
    return results


class Stopped(Exception):
    """What this thread works on is to end."""


def asked() -> threading.Event:
    """What is set when the work of this thread is to end."""
    found: threading.Event = getattr(HERE, "stop", NEVER)
    return found


def look() -> None:
    """Raises Stopped where the work of this thread is to end."""
    if asked().is_set():
        raise Stopped


def _unless(stop: threading.Event, function: Callable[[Any], Any], item: Any) -> tuple[bool, Any]:
    HERE.stop = stop  # the threads are the pool's own, and end with it
    return (False, None) if stop.is_set() else (True, function(item))
