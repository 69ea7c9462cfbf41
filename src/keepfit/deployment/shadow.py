"""What a shadow does: it scores what the champion answered, after the answer left, and its lines go to a log apart.

A thread of its own does that when there is time. Whatever happens here must not be felt by who asks: what is too
much for it is dropped and counted, and a fault of it is a line in the log of the server.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from keepfit.data.log import Line
from keepfit.data.rows import Rows
from keepfit.deployment.metrics import Metrics
from keepfit.deployment.protocols import said
from keepfit.deployment.served import Served, fields
from keepfit.models.fitted import Output

log = logging.getLogger("keepfit.server")
WAITING = 10_000  # rows that may wait for the shadow
HEAVY = 64 * 2**20  # bytes of requests that may wait for it, unless it is one alone


class Backlog:
    """What was offered to the shadow and is not scored so far. A shadow that leaves scores it all first: see `pool`."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="keepfit-shadow")
        self.waiting = self.heavy = 0  # rows, offered by any thread, and bytes of their requests
        self.counting = threading.Lock()  # of what waits and what was dropped
        self.failed = ""  # what is known to be wrong with the shadow

    def offer(self, served: Served, rows: Rows, lines: Sequence[Line], size: int) -> None:
        """Let the shadow score what was answered, when there is time; what is too much is counted."""
        with self.counting:
            if self.waiting + len(rows) > WAITING or (self.waiting and self.heavy + size > HEAVY):
                self.metrics.dropped += len(rows)
                return
            self.waiting += len(rows)
            self.heavy += size
        self.pool.submit(self._score, served, rows, lines, size)

    def close(self) -> None:
        """Drop what waits."""
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _score(self, served: Served, rows: Rows, lines: Sequence[Line], size: int) -> None:
        try:
            written(served, rows, lines)
            self.metrics.predictions[served.version, served.role] += len(rows)
            self.failed = ""
        except Exception as error:  # noqa: BLE001 - the edge: what a shadow does must not be felt
            with self.counting:
                self.metrics.dropped += len(rows)
            told = f"the shadow, version {served.version}, failed: {error}"
            if told != self.failed:  # once, and not for each batch
                log.error("%s", told)
            self.failed = told
        finally:
            with self.counting:
                self.waiting -= len(rows)
                self.heavy -= size


def written(served: Served, rows: Rows, lines: Sequence[Line]) -> None:
    """Score the rows, and write what the shadow says to its log if it has one. Raises whatever is wrong with it."""
    began = time.perf_counter()
    output, problems = served.runtime.rows(rows)
    seconds = time.perf_counter() - began
    if served.writer:
        found = shadowed(served, output, rows, lines, seconds, {p.row for p in problems})
        with served.logging:
            served.writer.write(found)


def shadowed(
    served: Served, output: Output, rows: Rows, lines: Sequence[Line], seconds: float, unread: Collection[int]
) -> list[Line]:
    """The shadow's lines: the same ids, so that labels join both. It has none for the rows it could not read."""
    inputs = served.writer.inputs(rows) if served.writer else [()] * len(rows)
    told = zip(inputs, *fields(said(output, served.runtime.schema.classes)))  # noqa: B905 - some have no end
    return [
        Line(line.id, line.time, line.request, line.caller, line.route, seconds, *one)
        for place, (line, one) in enumerate(zip(lines, told, strict=True))
        if place not in unread
    ]
