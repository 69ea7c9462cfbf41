"""Forecasts over HTTP: one known series a request, a hundred, all series in one, and new series with their history.

The champion is the blend of the 1,428 monthly series of M3, 18 months ahead. A request for a known series asks
for its whole horizon by name; each answer has 18 rows with intervals, and all are in the prediction log before
it leaves. A new series brings 300 rows. The server has a core of its own, and the client the other. How good
forecasts of new series are is measured too: `forecast_new`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks import contenders, datasets, environments, forecast_new, load, projects, servers, serving
from benchmarks.environments import WORK
from benchmarks.results import Claim, Options, Result

PROMISE = "a known series is forecast over HTTP at least 2,000 times a second"
RATE = 2000.0
SOURCE = "m3_monthly/m3_monthly.csv.gz"
HORIZON, SECONDS, WARM_UP = 18, 10.0, 2.0
MARKER = b'"step":18'
ONE, HUNDRED, ALL, NEW, BESIDE = "one series", "100 series", "all series", "a new series", "one beside new ones"
ASKED = {ONE: (1, 8, 64), HUNDRED: (1,), ALL: (1,), NEW: (1,), BESIDE: (1,)}  # connections
LIMITS = {HUNDRED: 10.0, ALL: 100.0, NEW: 100.0, BESIDE: 20.0}  # milliseconds of the median
HISTORY, NEWCOMERS = 300, 20  # rows that a new series brings, and how many there are


def run(options: Options) -> Result:
    """Medians of `options.runs` turns, three at most."""
    source = datasets.root().resolve() / SOURCE
    if not source.exists():
        raise datasets.NoDataError(f"not in the folder of data sets: {SOURCE}")
    sections = {
        "task": "forecast",
        "data": {
            "source": os.fspath(source), "target": "y", "time": "t",
            "columns": dict.fromkeys(("ds", "split", "category"), "ignore"),
        },
        "forecast": {"horizon": HORIZON, "season": 12, "series": ["unique_id"]},
    }  # fmt: skip
    project = WORK / "forecast-serving" / "project"
    if contenders.stale(project):
        projects.run(projects.write(project, "m3", sections))
        (project / "trained").touch()
    names = pl.read_csv(source)["unique_id"].unique(maintain_order=True).to_list()
    one, new = [wish(series=name) for name in names], [newcomer(seed) for seed in range(NEWCOMERS)]
    bodies = {ONE: one, HUNDRED: [wish(series=names[:100])], ALL: [wish()], NEW: new, BESIDE: one}
    sizes = {ONE: HORIZON, HUNDRED: HORIZON * 100, ALL: HORIZON * len(names), NEW: HORIZON, BESIDE: HORIZON}
    client, core = servers.cores()
    port, found = servers.free_port(), list[dict[str, Any]]()
    command = [environments.keepfit(), "serve", "-C", project, "--port", str(port)]
    with servers.on(client), servers.started(command, port, one[0], MARKER, core) as server:
        for _ in range(min(options.runs, 3)):
            for asked, connections in ASKED.items():
                for many in connections:
                    plan = load.Plan(
                        bodies[asked], many, options.seconds or SECONDS, WARM_UP, MARKER, check(sizes[asked])
                    )
                    with newcomers(server.address, new if asked == BESIDE else ()):
                        told, cost = serving.measured(server, plan)
                    found.append({"asked": asked, "connections": many, **serving.figures(told), **cost})
    rows = serving.medians(found, ("asked", "connections"))
    bundle = projects.bundle(project)
    quality = forecast_new.rows(bundle)
    odd = forecast_new.implausible(project, bundle, source, HORIZON)
    kept = (claim(rows), *latencies(rows), serving.failed(rows), *forecast_new.claims(quality))
    return Result("forecast-serving", PROMISE, (*rows, *quality, *odd), kept)


def wish(**more: Any) -> bytes:
    """A request for the whole horizon."""
    return load.request("POST", "/predict", json.dumps({"horizon": HORIZON, **more}).encode(), "application/json")


def newcomer(seed: int) -> bytes:
    """A request with the history of a series that nobody knows."""
    draw, time = np.random.default_rng(seed), np.arange(HISTORY)
    values = (5000 + 10 * time) * (1 + 0.2 * np.sin(time * np.pi / 6)) + draw.normal(0, 300, HISTORY)
    told = zip((time + 1).tolist(), values.round(1).tolist(), strict=True)
    return wish(history=[{"unique_id": f"new {seed}", "t": at, "y": value} for at, value in told])


@contextmanager
def newcomers(address: tuple[str, int], requests: Sequence[bytes]) -> Iterator[None]:
    """Somebody else asks for new series, one after the other, as long as this lasts."""
    if not requests:
        yield
        return
    code = "import sys; from benchmarks import forecast_serving as b; b.ask((sys.argv[1], int(sys.argv[2])))"
    command = [sys.executable, "-c", code, address[0], str(address[1])]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1]) as child:
        try:
            yield
        finally:
            child.terminate()


def ask(address: tuple[str, int]) -> None:
    """Ask for new series until somebody ends it."""
    requests = [newcomer(seed) for seed in range(NEWCOMERS)]
    while True:
        for request in requests:
            servers.once(address, request)


def latencies(rows: Sequence[dict[str, Any]]) -> list[Claim]:
    """The medians of what takes longer, and of a known series meanwhile."""
    found = {row["asked"]: row for row in rows if row["asked"] in LIMITS}
    return [
        Claim(f"ms for {asked}", found[asked]["p50 ms"], "<=", limit, disturbed=serving.disturbed(found[asked]))
        for asked, limit in LIMITS.items()
    ]


def check(size: int) -> Callable[[int, bytes], str | None]:
    """Whether an answer has a row for each step of each series."""

    def checked(_number: int, body: bytes) -> str | None:
        rows = json.loads(body)["predictions"]
        return None if len(rows) == size and all(row["interval"][0] <= row["prediction"] for row in rows) else "rows"

    return checked


def claim(rows: list[dict[str, Any]]) -> Claim:
    """The rate at the best number of connections."""
    best = max((row for row in rows if row["asked"] == ONE), key=lambda row: row["req/s"])
    return Claim("requests a second for one series", best["req/s"], ">=", RATE, disturbed=serving.disturbed(best))
