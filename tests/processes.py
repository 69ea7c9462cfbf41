"""Processes that do something at the same moment, begun from one that has imported what is heavy."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

HEAVY = ["keepfit.tracking.mlflow", "keepfit.tracking.registry"]


def together(target: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> list[int | None]:
    """Run `target` with each of the arguments, in a process each, all at once; their exit codes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    processes = [context.Process(target=target, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]
