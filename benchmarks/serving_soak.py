"""Ten minutes at 70 % of the greatest load: does the server's memory grow?

Flat means that after the first tenth, in which buffers and the log's first files find their size, the
resident memory of the server's process stays within 5 % of the least. Processes that it starts for a while,
to make Parquet of the log, stand beside it.
"""

from __future__ import annotations

from typing import Any

from benchmarks import contenders, load, servers, serving
from benchmarks.contenders import KEEPFIT, MODELS
from benchmarks.results import Claim, Options, Result

PROMISE = "ten minutes at 70 % of the greatest load: memory flat within 5 %, no failure"
FLAT, LOAD = 0.05, 0.7
SECONDS, PARTS, BEGINNING = 600.0, 60, 0.1
CONNECTIONS = 64


def run(options: Options) -> Result:
    """Single rows of the linear model at an even rate, a look at the memory every sixtieth of the time."""
    model, seconds = MODELS["adult-linear"], (options.seconds or SECONDS) / PARTS
    folder = KEEPFIT.prepare(model)
    asked = serving.requests(KEEPFIT, contenders.rows(model), 1)
    client, core = servers.cores()
    port = servers.free_port()
    command, env = KEEPFIT.start(folder, port)
    rows: list[dict[str, Any]] = []
    with servers.on(client), servers.started(command, port, asked[0], KEEPFIT.marker, core, env) as server:
        most = load.drive(server.address, load.Plan(asked, CONNECTIONS, 5.0, 1.0, KEEPFIT.marker, KEEPFIT.check(1)))
        rate = LOAD * most.rate
        plan = load.Plan(asked, CONNECTIONS, seconds, 0.0, KEEPFIT.marker, KEEPFIT.check(1), rate=rate)
        for part in range(PARTS):
            found, cost = serving.measured(server, plan)
            rows.append({"minute": (part + 1) * seconds / 60, **serving.figures(found), **cost})
    note = f"greatest load {most.rate:,.0f} requests a second; asked for {rate:,.0f}"
    return Result("serving-soak", PROMISE, tuple(rows), (*claims(rows, rate), serving.failed(rows)), notes=(note,))


def claims(rows: list[dict[str, Any]], rate: float) -> tuple[Claim, ...]:
    """How far the memory ranges after the beginning, and that the load was really there."""
    memory = [float(row["parent MB"]) for row in rows[round(BEGINNING * len(rows)) :]]
    reached = sum(float(row["req/s"]) for row in rows) / len(rows) / rate
    return (
        Claim("memory's range over its least", max(memory) / min(memory) - 1, "<=", FLAT),
        Claim("answered a second over asked for", reached, ">=", 0.98, disturbed=serving.disturbed(*rows)),
    )
