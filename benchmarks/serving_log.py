"""What the prediction log costs: two servers of one model, with the log and without, loaded in turns."""

from __future__ import annotations

from typing import Any

from benchmarks import contenders, load, servers, serving
from benchmarks.contenders import KEEPFIT, MODELS
from benchmarks.results import Claim, Options, Result

PROMISE = "the prediction log costs at most 25 % of the throughput"
COST = 0.25
CONNECTIONS = 64
OFF = ("--set", "serving.log.enabled=false")


def run(options: Options) -> Result:
    """Medians of `options.runs` turns, single rows from 64 connections."""
    model = MODELS["adult-linear"]
    folder = KEEPFIT.prepare(model)
    asked = serving.requests(KEEPFIT, contenders.rows(model), 1)
    plan = load.Plan(asked, CONNECTIONS, options.seconds or 5.0, 0.5, KEEPFIT.marker, KEEPFIT.check(1))
    client, core = servers.cores()
    ports = servers.free_port(), servers.free_port()
    starts = contenders.serve(folder, ports[0])[0], contenders.serve(folder, ports[1], *OFF)[0]
    found: list[dict[str, Any]] = []
    with (
        servers.on(client),
        servers.started(starts[0], ports[0], asked[0], KEEPFIT.marker, core) as logging,
        servers.started(starts[1], ports[1], asked[0], KEEPFIT.marker, core) as silent,
    ):
        for _ in range(options.runs):
            for name, server in (("on", logging), ("off", silent)):
                figures, cost = serving.measured(server, plan)
                found.append({"log": name, "connections": CONNECTIONS, **serving.figures(figures), **cost})
    rows = serving.medians(found, ("log", "connections"))
    return Result("serving-log", PROMISE, tuple(rows), (*claims(rows), serving.failed(found)))


def claims(rows: list[dict[str, Any]]) -> tuple[Claim, ...]:
    """The share of throughput that the log takes, and what it adds to the CPU time, which noise disturbs less."""
    on, off = ({row["log"]: row for row in rows}[name] for name in ("on", "off"))
    noisy = serving.disturbed(on, off)
    lost, more = 1 - on["req/s"] / off["req/s"], 1 - off["CPU us"] / on["CPU us"]
    return (
        Claim("share of req/s that the log takes", lost, "<=", COST, disturbed=noisy),
        Claim("share of CPU time that the log takes", more, "<=", COST),
    )
