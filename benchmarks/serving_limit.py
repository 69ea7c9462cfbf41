"""How near keepfit's predictions come to what its HTTP server can do at all: single rows beside `GET /ping`.

Both are asked of one process in turns, so that a busy machine slows both.
"""

from __future__ import annotations

from typing import Any

from benchmarks import contenders, load, servers, serving
from benchmarks.contenders import KEEPFIT, MODELS
from benchmarks.results import Claim, Options, Result

PROMISE = "single rows of a linear model: at least a third of the requests per second of a constant answer"
SHARE = 1 / 3
CONNECTIONS = (1, 8, 64)
SIDES = ("prediction", "constant")
PING = load.request("GET", "/ping")


def run(options: Options) -> Result:
    """Medians of `options.runs` turns at each number of connections; the best of each side is compared."""
    model, seconds = MODELS["adult-linear"], options.seconds or 3.0
    folder = KEEPFIT.prepare(model)
    asked = serving.requests(KEEPFIT, contenders.rows(model), 1)
    client, core = servers.cores()
    port = servers.free_port()
    command, env = KEEPFIT.start(folder, port)
    found: list[dict[str, Any]] = []
    with servers.on(client), servers.started(command, port, asked[0], KEEPFIT.marker, core, env) as server:
        for lines in CONNECTIONS:
            plans = {
                "prediction": load.Plan(asked, lines, seconds, 0.5, KEEPFIT.marker, KEEPFIT.check(1)),
                "constant": load.Plan([PING], lines, seconds, 0.5, b"\n"),
            }
            for _ in range(options.runs):
                found += [turn(server, answer, plan) for answer, plan in plans.items()]
    rows = serving.medians(found, ("answer", "connections"))
    return Result("serving-limit", PROMISE, tuple(rows), (claim(rows), serving.failed(found)), notes=(cpu(rows),))


def turn(server: servers.Server, answer: str, plan: load.Plan) -> dict[str, Any]:
    """One measurement of one side."""
    found, cost = serving.measured(server, plan)
    return {"answer": answer, "connections": plan.connections, **serving.figures(found), **cost}


def claim(rows: list[dict[str, Any]]) -> Claim:
    """The share of the limit, both at their best number of connections."""
    fastest = {row["answer"]: row for row in sorted(rows, key=lambda row: float(row["req/s"]))}
    share = fastest["prediction"]["req/s"] / fastest["constant"]["req/s"]
    noisy = serving.disturbed(*fastest.values())
    return Claim("share of the constant's req/s", share, ">=", SHARE, disturbed=noisy)


def cpu(rows: list[dict[str, Any]]) -> str:
    """The same share in CPU time, which holds on a busy machine too."""
    least = {answer: min(row["CPU us"] for row in rows if row["answer"] == answer) for answer in SIDES}
    return (
        f"the constant's CPU time over a prediction's, each at its best: {least['constant'] / least['prediction']:.2f}"
    )
