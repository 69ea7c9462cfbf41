"""Forecasts over HTTP: one known series a request, and all series in one.

The champion is the blend of the 1,428 monthly series of M3, 18 months ahead. A request for a known series asks
for its whole horizon by name; each answer has 18 rows with intervals, and all are in the prediction log before
it leaves. The server has a core of its own, and the client the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import polars as pl

from benchmarks import contenders, datasets, environments, load, projects, servers, serving
from benchmarks.environments import WORK
from benchmarks.results import Claim, Options, Result

PROMISE = "a known series is forecast over HTTP at least 2,000 times a second"
RATE = 2000.0
SOURCE = "m3_monthly/m3_monthly.csv.gz"
HORIZON, SECONDS, WARM_UP = 18, 10.0, 2.0
MARKER = b'"step":18'
ASKED = {"one series": (1, 8, 64), "all series": (1,)}  # connections


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
    bodies = {"one series": [wish(series=name) for name in names], "all series": [wish()]}
    sizes = {"one series": HORIZON, "all series": HORIZON * len(names)}
    client, core = servers.cores()
    port, found = servers.free_port(), list[dict[str, Any]]()
    command = [environments.keepfit(), "serve", "-C", project, "--port", str(port)]
    with servers.on(client), servers.started(command, port, bodies["one series"][0], MARKER, core) as server:
        for _ in range(min(options.runs, 3)):
            for asked, connections in ASKED.items():
                for many in connections:
                    plan = load.Plan(
                        bodies[asked], many, options.seconds or SECONDS, WARM_UP, MARKER, check(sizes[asked])
                    )
                    told, cost = serving.measured(server, plan)
                    found.append({"asked": asked, "connections": many, **serving.figures(told), **cost})
    rows = serving.medians(found, ("asked", "connections"))
    return Result("forecast-serving", PROMISE, tuple(rows), (claim(rows), serving.failed(rows)))


def wish(**more: Any) -> bytes:
    """A request for the whole horizon."""
    return load.request("POST", "/predict", json.dumps({"horizon": HORIZON, **more}).encode(), "application/json")


def check(size: int) -> Callable[[int, bytes], str | None]:
    """Whether an answer has a row for each step of each series."""

    def checked(_number: int, body: bytes) -> str | None:
        rows = json.loads(body)["predictions"]
        return None if len(rows) == size and all(row["interval"][0] <= row["prediction"] for row in rows) else "rows"

    return checked


def claim(rows: list[dict[str, Any]]) -> Claim:
    """The rate at the best number of connections."""
    best = max((row for row in rows if row["asked"] == "one series"), key=lambda row: row["req/s"])
    return Claim("requests a second for one series", best["req/s"], ">=", RATE, disturbed=serving.disturbed(best))
