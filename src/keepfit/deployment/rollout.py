"""Which version answers: the champion, followed in the registry; a canary; a shadow.

A thread asks who is who, loads what is new and tries it with one prediction. Only then, in the event
loop and between two batches, does the name change hands: a request is taken in by one version and
answered by it, so none fails and none is mixed. What does not load, fails its checksums or its trial
is refused: the old one stays, and the refusal is told by /ready, /metrics and the log.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from keepfit.data.log import Line, Writer
from keepfit.data.rows import Rows
from keepfit.data.told import Told
from keepfit.deployment import plausible
from keepfit.deployment.batcher import INLINE, Batcher
from keepfit.deployment.http import Response
from keepfit.deployment.metrics import Metrics
from keepfit.deployment.protocols import forms
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.served import Job, Rules, Served, answer
from keepfit.deployment.shadow import Backlog
from keepfit.errors import KeepfitError, TrackingError
from keepfit.types import Schema

log = logging.getLogger("keepfit.server")
CHAMPION, CANARY, SHADOW = "champion", "canary", "shadow"
AGAIN = 30.0  # seconds after which a refused version is tried once more
ALONE = 2_000  # rows of a request that fill a batch of their own
REFRESHED = "new observations"
Found = Any  # .version and .fetch() -> the bundle's folder
Look = Callable[[str], Found | None]  # alias or number of a version → where it is


@dataclass(frozen=True)
class Plan:
    """What is to run beside the champion."""

    shadow: str | None = None  # an alias or a version's number
    canary: str | None = None
    share: float = 0.0


@dataclass(frozen=True)
class Tools:
    """What the rollout is given: how to look, load, log. `look` and `load` run in its thread."""

    look: Look
    load: Callable[[Path], Runtime]
    open_log: Callable[[Runtime, str, str], Writer | None]  # runtime, version, role
    name: str
    rules: Rules
    queue: int
    every: float
    planned: Callable[[Plan], Plan] = lambda asked: asked  # what was asked for → what runs: a trial comes first
    mark: Callable[[], Any] = lambda: None  # what changes when something was observed
    observed: Callable[[Schema], Sequence[Told]] = lambda schema: ()  # all that was told of its series


@dataclass(frozen=True)
class Refused:
    """A version that was not put to work, and why."""

    role: str
    version: str
    reason: str
    tried: float = field(default_factory=time.monotonic)  # the other clock may be set back
    time: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Active:
    """A version that takes requests. What takes long waits `aside`, so that the others need not wait for it."""

    served: Served
    batcher: Batcher
    aside: Batcher | None = None  # of a task with such requests

    def put(self, job: Job, rows: int) -> None:
        """Take a job in. Raises RequestError (503), see `Batcher.put`."""
        aside = self.aside if self.aside and (job.asked is None or job.asked.observed or rows > ALONE) else None
        (aside or self.batcher).put(job, rows)

    @property
    def rows(self) -> int:
        """How many wait."""
        return self.batcher.rows + (self.aside.rows if self.aside else 0)

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call once, when everything that was taken in is answered."""
        aside = self.aside
        self.batcher.when_idle((lambda: aside.when_idle(call)) if aside else call)


class Rollout:
    """The versions at work. `active` and `plan` are changed in the event loop only."""

    def __init__(self, tools: Tools, plan: Plan, metrics: Metrics) -> None:
        self.tools, self.plan, self.metrics = tools, plan, metrics
        self.running = tools.planned(plan)  # `plan`, and who is on trial
        self.active: dict[str, Active] = {}
        self.refused: dict[str, Refused] = {}
        self.unreachable: str | None = None  # why the registry could not be asked, if so
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="keepfit-predict")
        self.beside = ThreadPoolExecutor(1, thread_name_prefix="keepfit-aside")
        self.backlog = Backlog(metrics)  # of the shadow
        self.changing = threading.Lock()  # of versions and of what they observed: one after the other
        self.marked: Any = None  # the mark of the observations that all versions know; None: look again
        self.stop = threading.Event()
        self.wake = threading.Event()
        self.thread: threading.Thread | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    # --- in the event loop ------------------------------------------------------------------------

    def first(self) -> None:
        """Load the champion, before the first request. Raises what is wrong with it, or that there is none."""
        found = self.tools.look(CHAMPION)
        if found is None:
            raise TrackingError(
                f"'{self.tools.name}' has no champion to serve. Next: keepfit run, or "
                "'keepfit promote VERSION --reason …'."
            )
        self.active[CHAMPION] = self._prepared(CHAMPION, found)

    def start(self) -> None:
        """Follow the registry from now on."""
        self.loop = asyncio.get_running_loop()
        self.thread = threading.Thread(target=self._follow, daemon=True, name="keepfit-rollout")
        self.thread.start()

    def choose(self, key: str) -> Active | None:
        """Who answers the request with this id: the same for the same id, while the plan is the same."""
        canary = self.active.get(CANARY)
        if canary and zlib.crc32(key.encode("latin-1", "replace")) < self.running.share * 2**32:
            return canary
        return self.active.get(CHAMPION)

    def change(self, plan: Plan) -> None:
        """Another plan, from now on."""
        self.plan, self.running = plan, self.tools.planned(plan)
        self.wake.set()

    def put(self, role: str, active: Active | None, why: str) -> None:
        """Hand a role to another version. The old one answers what it has taken in, then closes."""
        old = self.active.pop(role, None)
        if active:
            self.active[role] = active
            again = why == REFRESHED  # may come with every observation
            self.metrics.swaps[role, "refreshed" if again else "swapped"] += 1
            log.log(
                logging.DEBUG if again else logging.INFO, "%s is version %s now (%s)", role, active.served.version, why
            )
        elif old:
            log.info("no %s any more (%s)", role, why)
        if old and not (active and active.served.writer is old.served.writer):
            pool = self.backlog.pool if role == SHADOW else self.pool  # after all that the shadow has still to score
            old.when_idle(lambda: self._later(pool, old.served))

    def close(self) -> None:
        """Stop following; close the logs of versions that have nothing left to answer."""
        self.stop.set()
        self.wake.set()
        if self.thread:
            self.thread.join(5)
        self.pool.shutdown(wait=True)
        self.beside.shutdown(wait=True)
        self.backlog.close()
        for active in self.active.values():
            closed(active.served)
        self.active.clear()

    def _later(self, pool: Executor, served: Served) -> None:
        if not self.stop.is_set():
            pool.submit(closed, served)

    # --- in the thread ----------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self.stop.is_set():
            with self.changing:
                self.look()
            self.refresh()
            self.wake.wait(self.tools.every)
            self.wake.clear()

    def look(self) -> None:
        """One look at the registry: every role that should be another version is handed over."""
        plan = self.running = self.tools.planned(self.plan)
        try:
            wanted = {CHAMPION: self.tools.look(CHAMPION)}
            for role, target in ((CANARY, plan.canary), (SHADOW, plan.shadow)):
                wanted[role] = self.tools.look(target) if target else None
        except (TrackingError, OSError) as error:
            self._away("the registry cannot be asked", str(error))
            return
        champion = wanted[CHAMPION]
        self._named(champion)
        for role, found in wanted.items():
            if role != CHAMPION and found and champion and found.version == champion.version:
                found = None  # there is nothing to compare it with
            self._settle(role, found)

    def refresh(self) -> None:
        """Let every version that observations move on know all of them. Not for the event loop.

        A version with its new state takes the place of itself as another version would: what was taken in
        before is answered as it was then.
        """
        with self.changing:
            moving = {role: active for role, active in self.active.items() if active.served.runtime.after}
            mark = self.tools.mark() if moving else None
            if mark == self.marked:
                return
            try:
                for role, active in moving.items():
                    self._hand_over(role, self._refreshed(role, active.served), REFRESHED)
                self.marked = mark
            except Exception as error:  # noqa: BLE001 - the edge: the state that is there goes on
                log.error("what was observed is not taken up: %s", error)

    def _refreshed(self, role: str, served: Served) -> Active:
        made = served.runtime
        return self._working(role, replace(served, runtime=plausible.moved(made, self.tools.observed(made.schema))))

    def _away(self, told: str, reason: str) -> None:
        if self.unreachable is None:
            log.warning("%s, the present version goes on: %s", told, reason)
        self.unreachable = reason

    def _named(self, champion: Found | None) -> None:
        """Tell where the registry has a champion no more: it was removed, or is another one."""
        if champion is None and CHAMPION in self.active:
            self._away("there is no champion any more", f"'{self.tools.name}' has no champion in the registry.")
        elif self.unreachable is not None:
            self.unreachable = None
            log.info("the registry is there again")

    def _settle(self, role: str, found: Found | None) -> None:
        at_work = self.active.get(role)
        if found is None:
            if at_work and role != CHAMPION:  # without a champion the last one goes on
                self._hand_over(role, None, "not wanted")
            self.refused.pop(role, None)
            return
        if at_work and at_work.served.version == found.version:
            self.refused.pop(role, None)
            return
        before = self.refused.get(role)
        if before and before.version == found.version and time.monotonic() - before.tried < AGAIN:
            return
        try:
            active = self._prepared(role, found)
        except Exception as error:  # noqa: BLE001 - the edge: a version may bring code of its own, and we must go on
            self._refuse(Refused(role, found.version, f"{error}" or type(error).__name__), error)
            return
        self.refused.pop(role, None)
        self.marked = None
        self._hand_over(role, active, "first" if at_work is None else f"was version {at_work.served.version}")

    def _prepared(self, role: str, found: Found) -> Active:
        """The version loaded, tried and with a place in the log."""
        runtime = self.tools.load(found.fetch())
        warm(runtime)
        writer = self.tools.open_log(runtime, found.version, role)
        return self._working(role, Served(self.tools.name, found.version, role, runtime, writer, self.tools.rules))

    def _working(self, role: str, served: Served) -> Active:
        """A version with all that takes its requests in."""
        work: Callable[[Sequence[Job]], list[Response]]
        if role == SHADOW:
            work = lambda jobs: []
        else:
            work = lambda jobs: answer(served, jobs, self._offer if SHADOW in self.active else None)
        files = forms.files(served.runtime.schema)
        inline = 0.0 if files else INLINE  # the next file may be a thousand times the last one
        done, tools = deliver(served, self.metrics), self.tools
        made = partial(Batcher, work, done, limit=tools.queue, patience=tools.rules.seconds, size=rows_of)
        aside = made(pool=self.beside, inline=0.0) if served.runtime.wish else None
        return Active(served, made(pool=self.pool, inline=inline), aside)

    def _refuse(self, refused: Refused, error: Exception) -> None:
        self.refused[refused.role] = refused
        self.metrics.swaps[refused.role, "refused"] += 1
        known = isinstance(error, (KeepfitError, OSError))  # else the place in the code is told too
        told = "version %s is not made %s: %s"
        log.error(told, refused.version, refused.role, refused.reason, exc_info=None if known else error)

    def _hand_over(self, role: str, active: Active | None, why: str) -> None:
        loop, done = self.loop, threading.Event()
        if loop is None or loop.is_closed():
            return

        def swap() -> None:
            self.put(role, active, why)
            done.set()

        loop.call_soon_threadsafe(swap)
        done.wait(5)

    def _offer(self, rows: Rows, lines: Sequence[Line], size: int) -> None:
        """Let the shadow see what was answered."""
        shadow = self.active.get(SHADOW)
        if shadow and not self.stop.is_set():
            self.backlog.offer(shadow.served, rows, lines, size)


def closed(served: Served) -> None:
    """Let go of a version's place in the log, when nobody writes to it or begins a new file of it."""
    with served.logging:
        if served.writer:
            served.writer.close()


def rows_of(job: Job) -> int:
    """The rows of a job; 1 where it was not read so far."""
    return len(job.asked.rows) if job.asked else 1


def warm(runtime: Runtime) -> None:
    """One prediction of a row that knows nothing, before anybody asks. Raises what it raises."""
    output, _ = runtime.rows([dict.fromkeys((column.name for column in runtime.schema.inputs), None)])
    if len(output) != 1:
        raise ValueError(f"it gave {len(output)} answers to one row")


def deliver(served: Served, metrics: Metrics) -> Callable[[Job, Response], None]:
    """What sends a job's response and counts it."""
    version, clock = served.version, time.perf_counter

    def done(job: Job, response: Response) -> None:
        metrics.request(version, job.route, response.status, clock() - job.request.began)
        if response.status == 200 and job.asked:
            metrics.predictions[version, served.role] += len(job.asked.rows)
        job.send(response)

    return done


def planned(plan: Plan, wish: Any) -> Plan:
    """The plan that a control request asks for: {"shadow": …, "canary": {"version", "share"} or null}.

    Raises ValueError that says what is wrong.
    """
    if not isinstance(wish, dict) or not wish.keys() <= {"shadow", "canary"}:
        raise ValueError('send {"shadow": version or null, "canary": {"version": …, "share": 0.1} or null}')
    if "shadow" in wish:
        plan = replace(plan, shadow=_target(wish["shadow"]))
    if "canary" in wish:
        canary = wish["canary"]
        if canary is None:
            return replace(plan, canary=None, share=0.0)
        share = canary.get("share", plan.share) if isinstance(canary, dict) else None
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ValueError('"canary" is {"version": "challenger", "share": a number from 0 to 1} or null')
        plan = replace(plan, canary=_target(canary.get("version", plan.canary)), share=float(share))
    return plan


def _target(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("a version is named by its number or an alias, such as 'challenger'")
