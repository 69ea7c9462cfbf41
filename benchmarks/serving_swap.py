"""Twenty swaps of the model under full load: nothing fails, nothing is mixed, nobody waits.

A project with two versions is served while `promote` and `rollback` move the champion's alias. What each
version answers to each request is learned beforehand; every answer under load must say which version gave
it and agree with that version in all its rows. A swap lasts from the command to half a second after the
first answer of the new version.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import contenders, environments, measure, projects, servers, serving
from benchmarks.contenders import FOLDER, KEEPFIT, MODELS
from benchmarks.load import Measured, Plan
from benchmarks.measure import CommandError
from benchmarks.results import Claim, Options, Result

PROMISE = "20 swaps under full load: no failure in 100,000 requests, p99 during a swap at most 3 x normal"
SWAPS, REQUESTS, SLOWER, REACH = 20, 100_000, 3.0, 2.0
SECONDS, CONNECTIONS, SIZE = 60.0, 64, 4
AFTER = 0.5  # seconds after the first answer of the new version that still count as the swap
PATIENCE = 10.0  # seconds for the new version to be seen
NEAR = 1e-9  # probabilities of one version, in batches of other sizes
MOVE = """
import os, sys
from keepfit import Project
os.nice(10)
project = Project(sys.argv[1])
for line in sys.stdin:
    verb, *version = line.split()
    if verb == "promote":
        project.promote(version[0], reason="benchmark")
    else:
        project.rollback(reason="benchmark")
    print("done", flush=True)
"""


@dataclass(slots=True)
class Seen:
    """What the client has seen: each version's answers, and when the version changed last."""

    known: dict[str, list[list[float]]]
    current: str = ""
    changes: list[tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Swap:
    """One swap: the command's start and end, and the first answer of the new version; perf_counter seconds."""

    began: float
    done: float
    seen: float


def run(options: Options) -> Result:
    """All swaps during one load."""
    folder = project()
    asked = serving.requests(KEEPFIT, contenders.rows(MODELS["adult-linear"])[:2000], SIZE)
    client, core = servers.cores()
    port = servers.free_port()
    command, env = KEEPFIT.start(folder, port)
    seconds = options.seconds or SECONDS
    with (
        servers.on(client),
        mover(folder) as process,
        servers.started(command, port, asked[0], KEEPFIT.marker, core, env) as server,
    ):
        seen = Seen({version: learn(server, process, version, asked) for version in ("2", "1")})
        plan = Plan(asked, CONNECTIONS, seconds, 1.0, KEEPFIT.marker, lambda n, b: check(seen, n, b), 1, trace=True)
        found, cost, swaps = loaded(server, process, plan, seen)
    rows = parts(found, swaps)
    told = serving.figures(found)
    note = f"{told['req/s']:,.0f} requests of {SIZE} rows a second, {told['failures']} failures"
    noisy = serving.disturbed(cost)
    return Result("serving-swap", PROMISE, tuple(rows), claims(found, swaps, rows, noisy), notes=(note,))


def project() -> Path:
    """A project with two versions of a linear model that answer differently; trained when keepfit has changed."""
    folder = FOLDER / "swap"
    if contenders.stale(folder):
        train, test, target = contenders.files(MODELS["adult-linear"])
        data = {"source": os.fspath(train), "test": os.fspath(test), "target": target}
        sections = {"data": data, "model": {"type": "logistic_regression"}, "tuning": {"trials": 0}}
        projects.run(projects.write(folder, "swap", sections))
        again: measure.Command = [environments.keepfit(), "run", "-C", folder, "--set", "model.C=0.001"]
        measure.measure(again, codes=(0, 3))  # 3: the gate refused it, and it is registered all the same
        (folder / "trained").touch()
    return folder


def mover(folder: Path) -> subprocess.Popen[str]:
    """A process that moves the alias when told: what a person does, without the start of a command."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", MOVE, os.fspath(folder)]
    return subprocess.Popen(command, text=True, env=measure.environment(), **pipes)  # type: ignore[call-overload, no-any-return]


def move(process: subprocess.Popen[str], order: str) -> None:
    """One promotion or rollback, to its end. Raises CommandError when it fails."""
    if process.stdin is None or process.stdout is None:
        raise CommandError("the process that moves the alias has no pipes")
    process.stdin.write(order + "\n")
    process.stdin.flush()
    if process.stdout.readline() != "done\n":
        raise CommandError(f"'{order}' of the champion failed")


def learn(
    server: servers.Server, process: subprocess.Popen[str], version: str, asked: Sequence[bytes]
) -> list[list[float]]:
    """What a version answers to each request: probabilities of its rows."""
    move(process, f"promote {version}")
    until = time.monotonic() + PATIENCE
    while True:
        answers = [answer(servers.once(server.address, asked[0]))]
        if answers[0][0] == version:
            return [answer(servers.once(server.address, one))[1] for one in asked]
        if time.monotonic() > until:
            raise CommandError(f"the server does not follow to version {version}")
        time.sleep(0.05)


def answer(body: bytes | None) -> tuple[str, list[float]]:
    """Version, and the first class's probability of each row."""
    if body is None:
        raise CommandError("the server gave no answer")
    found = json.loads(body)
    return found["model"]["version"], [next(iter(row["probabilities"].values())) for row in found["predictions"]]


def check(seen: Seen, number: int, body: bytes) -> str | None:
    """Whether all rows of an answer are those of the version that it names."""
    version, values = answer(body)
    if version != seen.current:
        seen.current = version
        seen.changes.append((time.perf_counter(), version))
    expected = seen.known.get(version)
    if expected is None:
        return f"version {version}"
    near = len(values) == SIZE and all(abs(a - b) < NEAR for a, b in zip(values, expected[number], strict=True))
    return None if near else "rows of another version"


def loaded(
    server: servers.Server, process: subprocess.Popen[str], plan: Plan, seen: Seen
) -> tuple[Measured, dict[str, float], list[Swap]]:
    """The load, and the swaps during it, evenly apart."""
    swaps: list[Swap] = []
    faults: list[CommandError] = []

    def swap() -> None:
        pause = plan.seconds / (SWAPS + 1)
        time.sleep(plan.warm_up)
        try:
            for at in range(SWAPS):
                time.sleep(max(0.0, pause - (swaps[-1].seen - swaps[-1].began if swaps else 0.0)))
                swaps.append(swapped(process, seen, "rollback" if at % 2 else "promote 2", "1" if at % 2 else "2"))
        except CommandError as error:
            faults.append(error)

    thread = threading.Thread(target=swap)
    thread.start()
    found, cost = serving.measured(server, plan)
    thread.join()
    if faults:
        raise faults[0]
    return found, cost, swaps


def swapped(process: subprocess.Popen[str], seen: Seen, order: str, version: str) -> Swap:
    """One swap, until the new version has been seen."""
    began = time.perf_counter()
    move(process, order)
    done = time.perf_counter()
    while time.perf_counter() < done + PATIENCE:
        first = [when for when, name in seen.changes if name == version and when >= began]
        if first:
            return Swap(began, done, first[0])
        time.sleep(0.02)
    raise CommandError(f"no answer of version {version} in {PATIENCE:g} s after '{order}'")


def parts(found: Measured, swaps: Sequence[Swap]) -> list[dict[str, Any]]:
    """Latency during swaps and apart from them."""
    ended, took = np.asarray(found.ended), np.asarray(found.took) * 1000
    during = np.zeros(len(ended), bool)
    for swap in swaps:
        during |= (ended >= swap.began) & (ended <= max(swap.seen, swap.done) + AFTER)
    rows: list[dict[str, Any]] = []
    for name, chosen in (("during a swap", during), ("apart", ~during)):
        p50, p99, most = np.quantile(took[chosen], (0.5, 0.99, 1.0)).tolist() if chosen.any() else (None, None, None)
        rows.append({"requests": name, "answers": int(chosen.sum()), "p50 ms": p50, "p99 ms": p99, "longest ms": most})
    return rows


def claims(found: Measured, swaps: Sequence[Swap], rows: Sequence[dict[str, Any]], noisy: bool) -> tuple[Claim, ...]:
    """The promises about swaps."""
    during, apart = rows[0]["p99 ms"], rows[1]["p99 ms"]
    slower = during / apart if during and apart else None
    reached = max((swap.seen - swap.done for swap in swaps), default=None)
    return (
        Claim("swaps", len(swaps), ">=", SWAPS),
        Claim("requests", found.good, ">=", REQUESTS),
        Claim("failed or mixed requests", sum(found.failures.values()), "<=", 0),
        Claim("p99 during a swap over p99 apart from it", slower, "<=", SLOWER, disturbed=noisy),
        Claim("s from the command's end to the new version's first answer, at worst", reached, "<=", REACH),
    )
