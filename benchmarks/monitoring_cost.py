"""What monitoring costs whoever serves, and what a pass costs itself.

The server counts nothing but what it refused and how long it took: a pass reads the log, in a process of
its own. So the server under full load, its log on, is measured with passes beside it, back to back and one
a minute, and without. The passes have a core of their own where there are three; with two they share the
client's, and then requests per second tell of the client: the server's CPU time for a request tells more.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import contenders, environments, load, measure, servers, serving
from benchmarks.contenders import KEEPFIT, MODELS, Row
from benchmarks.environments import WORK
from benchmarks.measure import CommandError, Usage
from benchmarks.results import Claim, Options, Result
from keepfit import Project
from keepfit.data import log_roll
from keepfit.data.log import Line, open_log
from keepfit.data.rows import values_of
from keepfit.pipeline import champion, children

PROMISE = "passes of monitoring beside a server cost it at most 5 % of its throughput"
COST = 0.05
CONNECTIONS = 64
SECONDS = 60.0  # of load: with one pass a minute that is one pass
ROWS, BATCH = 1_000_000, 5_000  # of the log that a pass reads; that are written at once
ARMS = {"none": None, "one a minute": 60.0, "back to back": 0.0}  # seconds from a pass's beginning to the next's
MINE = frozenset(os.sched_getaffinity(0))  # before this process is bound to the client's core
CODES = (0, 3)  # well, not well
SHARED = "two cores: the passes shared the client's, so what they take of requests per second is the client's loss too"


def run(options: Options) -> Result:
    """Medians of turns of load with each arm, or with those of `--only`; then passes over a million rows of log."""
    model = MODELS["adult-linear"]
    folder, asked = KEEPFIT.prepare(model), contenders.rows(model)
    found = loaded(copied(folder, "loaded"), asked, options)
    rows = (*serving.medians(found, ("passes",)), *passes(copied(folder, "logged"), asked))
    notes = () if spare() is not None else (SHARED,)
    return Result("monitoring-cost", PROMISE, rows, (*claims(found), serving.failed(found)), notes=notes)


def arms(options: Options) -> dict[str, float | None]:
    """Those that `--only` names, beside the one without a pass."""
    return {arm: every for arm, every in ARMS.items() if every is None or not options.only or arm in options.only}


def copied(folder: Path, name: str) -> Path:
    """The project with its champion, and nothing answered or watched yet."""
    target = WORK / "monitoring-cost" / name
    shutil.rmtree(target, ignore_errors=True)
    past = ("predictions", "feedback", "shadow", "monitoring")
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(*past))
    return target


# --- beside a server ------------------------------------------------------------------------------


def loaded(folder: Path, asked: list[Row], options: Options) -> list[dict[str, Any]]:
    """A row for each arm and turn, the arms in turns."""
    requests = serving.requests(KEEPFIT, asked, 1)
    plan = load.Plan(requests, CONNECTIONS, options.seconds or SECONDS, 1.0, KEEPFIT.marker, KEEPFIT.check(1))
    client, core = servers.cores()
    port = servers.free_port()
    command = contenders.serve(folder, port)[0]
    found = []
    with servers.on(client), servers.started(command, port, requests[0], KEEPFIT.marker, core) as server:
        monitored(folder)  # the budget of false alarms is reckoned once
        for _ in range(options.runs):
            for arm, every in arms(options).items():
                with passing(folder, every) as made:
                    figures, cost = serving.measured(server, plan)
                found.append({"passes": arm, **serving.figures(figures), **cost, **beside(made, plan.seconds)})
    return found


def monitored(folder: Path) -> Usage:
    """What one pass costs; it gives way to others as those of `keepfit up` do."""
    nice = ["nice", "-n", str(children.BEHIND)]
    return measure.measure([*nice, environments.keepfit(), "monitor", "-C", folder, "--json"], codes=CODES)


@contextlib.contextmanager
def passing(folder: Path, every: float | None) -> Iterator[list[Usage]]:
    """Passes beside what is done meanwhile, each begun `every` seconds after the last; None: no pass."""
    made: list[Usage] = []
    wrong: list[CommandError] = []
    stop = threading.Event()

    def work() -> None:
        core = spare()
        if core is not None:
            os.sched_setaffinity(0, {core})  # of this thread, and of what it starts
        while not stop.is_set():
            begun = time.monotonic()
            try:
                made.append(monitored(folder))
            except CommandError as error:
                wrong.append(error)
                return
            stop.wait(max(0.0, float(every or 0) - (time.monotonic() - begun)))

    thread = threading.Thread(target=work)
    if every is not None:
        thread.start()
    try:
        yield made
    finally:
        stop.set()
        if every is not None:
            thread.join()
    if wrong:
        raise wrong[0]


def spare() -> int | None:
    """A core that neither client nor server has."""
    free = sorted(MINE)[1:-1]
    return free[0] if free else None


def beside(made: list[Usage], seconds: float) -> dict[str, float]:
    """How many passes there were, and the share of a core that they took."""
    return {"passes made": float(len(made)), "passes' core %": 100 * sum(one.cpu for one in made) / seconds}


def claims(rows: list[dict[str, Any]]) -> list[Claim]:
    """What passes take of the server's throughput, and add to its CPU time, which noise disturbs less.

    Each turn of an arm is compared with the turn without passes before it: the median of these. Where
    some turns keep the promise and some do not, a miss is not certain.
    """
    made = {row["passes"] for row in rows}
    turns = {arm: [row for row in rows if row["passes"] == arm] for arm in ARMS if arm in made}
    quiet = turns.pop("none")
    noisy = serving.disturbed(*quiet)  # by others than the passes: caches and a client that waits cost the server too
    found = []
    for arm, beside in turns.items():
        pairs = list(zip(beside, quiet, strict=True))
        more = [with_them["CPU us"] / without["CPU us"] - 1 for with_them, without in pairs]
        lost = [1 - with_them["req/s"] / without["req/s"] for with_them, without in pairs]
        what = f"{arm}: share that the server's CPU time for a request grows by"
        found.append(Claim(what, statistics.median(more), "<=", COST, min(more) <= COST < max(more), noisy))
        what = f"{arm}: share of req/s that is lost"
        shared = noisy or spare() is None
        found.append(Claim(what, statistics.median(lost), "<=", COST, min(lost) <= COST < max(lost), shared))
    return found


# --- a pass ---------------------------------------------------------------------------------------


def passes(folder: Path, asked: list[Row]) -> list[dict[str, Any]]:
    """What a pass over a million rows costs: the first, one that finds all counts kept, one without them."""
    written(folder, asked)
    kept = folder / ".keepfit" / "monitoring" / "counts"
    costs = {"the first": monitored(folder), "counts kept": monitored(folder)}
    shutil.rmtree(kept)
    costs["counts deleted"] = monitored(folder)
    return [
        {"pass": name, "rows": ROWS, "CPU s": one.cpu, "wall s": one.wall, "MB": one.peak / 1e6}
        for name, one in costs.items()
    ]


def written(folder: Path, asked: list[Row]) -> None:
    """A log of a million rows over the last 23 hours, as a server writes it, rolled."""
    project = Project(folder)
    version, runtime = champion.chosen(project.config, folder, None)
    names = [column.name for column in runtime.schema.inputs]
    log = open_log(project.work / "predictions", runtime.schema, project.config.project.name, version)
    batch = [dict(row) for row in asked[:BATCH]]
    output, values = runtime.rows(batch)[0], values_of(names)(batch)
    begin = (datetime.now(UTC) - timedelta(hours=23)).timestamp()
    sure, shares = output.probabilities.max(axis=1).tolist(), output.probabilities.tolist()
    for turn in range(ROWS // BATCH):
        at = begin + turn * 23 * 3600 * BATCH / ROWS
        log.write([
            Line(key, at, "request", None, "/predict", 0.001, values[n], output.values[n], sure[n], shares[n])
            for n, key in enumerate(log.ids(len(batch)))
        ])  # fmt: skip
    log.close()
    done = log_roll.tidy(project.work / "predictions", None, None)
    if done.rows != ROWS:
        raise CommandError(f"{ROWS:,} rows were logged and {done.rows:,} rolled")
