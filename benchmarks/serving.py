"""keepfit's HTTP server beside the usual ones: single rows at 1, 8 and 64 connections, batches of 100.

The server has one core, the client the other. keepfit checks its input and logs every prediction. Each
side is taken at its best number of connections. Batches are compared by the same requests, those of MLflow's
protocol, which keepfit's `/invocations` takes; what they cost in keepfit's own protocol stands beside.
Peers' figures are kept in `.bench/results/serving-peers`, so that `--peer cached` measures keepfit again alone.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks import contenders, environments, load, measure, servers
from benchmarks.contenders import AS_MLFLOW, KEEPFIT, MODELS, OTHERS, Contender, Model
from benchmarks.environments import WORK, PeerError
from benchmarks.measure import BUSY, CommandError
from benchmarks.results import Claim, Options, Result

PROMISE = "single rows: 100 x mlflow, 60 x FastAPI by hand, 20 x BentoML and MLServer; p99 at 64 connections 20 ms"
SINGLE = {"mlflow": 100.0, "fastapi": 60.0, "bentoml": 20.0, "mlserver": 20.0}
TEXT = {"mlflow": 8.0}
BATCHES = {"mlflow": 30.0}
P99, P99_SHARE, COLD, MEMORY = 20.0, 1 / 20, 0.6, 120.0
SHAPES = ((1, 1), (1, 8), (1, 64), (100, 1), (100, 8))  # rows of a request, connections
WARM_UP = 1.0
SECONDS = 5.0
STARTS, PEER_STARTS = 5, 3  # for the medians of a cold start; a peer's takes ten seconds
Row = Mapping[str, Any]


def run(options: Options) -> Result:
    """Every model on every server, and what was promised about them."""
    rows: list[Row] = []
    notes: list[str] = []
    for name in picked(options.only, MODELS):
        model = MODELS[name]
        if options.peer != "only":
            rows += table(KEEPFIT, model, options.seconds or SECONDS, STARTS)
        for peer in picked(options.peers, OTHERS):
            try:
                rows += beside(peer, model, options)
            except (PeerError, CommandError) as error:
                notes.append(f"{peer} on {name} was not measured: {str(error)[-500:]}")
    found = [claim for name in picked(options.only, MODELS) for claim in claims(MODELS[name], rows)]
    if options.peer != "only":
        found.append(failed([row for row in rows if row["server"] in (KEEPFIT.name, AS_MLFLOW.name)]))
    return Result("serving", PROMISE, tuple(rows), tuple(found), notes=(*ratios(rows), *notes))


def picked(wanted: Sequence[str], known: Iterable[str]) -> list[str]:
    """The names that were asked for, all where none was. Raises CommandError for an unknown one."""
    names = list(known)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise CommandError(f"nothing here is called {', '.join(unknown)}; known: {', '.join(names)}")
    return list(wanted) or names


def beside(peer: str, model: Model, options: Options) -> list[Row]:
    """A peer's rows; those kept from an earlier run where the options say that they will do."""
    path = WORK / "results" / "serving-peers" / f"{environments.label(peer)}-{model.name}.json"
    if options.peer == "cached" and path.exists():
        kept: list[Row] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    rows = table(OTHERS[peer], model, options.seconds or SECONDS, PEER_STARTS)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return rows


def table(contender: Contender, model: Model, seconds: float, starts: int) -> list[Row]:
    """One server, one model, all shapes: a row each."""
    print(f"{contender.name} serves {model.name}", file=sys.stderr, flush=True)
    folder, asked = contender.prepare(model), contenders.rows(model)
    client, core = servers.cores()
    begun: list[servers.Server] = []
    with servers.on(client):
        for at in range(starts):
            port = servers.free_port()
            command, env = contender.start(folder, port)
            first = contender.request(asked[:1])
            with servers.started(command, port, first, contender.marker, core, env) as server:
                begun.append(server)
                if at == starts - 1:
                    rows = [shape(contender, server, asked, size, lines, seconds) for size, lines in SHAPES]
                    if contender is KEEPFIT:
                        rows += [
                            shape(AS_MLFLOW, server, asked, size, lines, seconds) for size, lines in SHAPES if size > 1
                        ]
    return [{"model": model.name, **row, **cold(begun)} for row in rows]


def cold(begun: Sequence[servers.Server]) -> dict[str, float]:
    """Medians over the starts: seconds, CPU seconds and the share that others took."""
    return {
        "cold s": statistics.median(server.cold for server in begun),
        "cold CPU s": statistics.median(server.cold_cpu for server in begun),
        "cold others %": statistics.median(100 * server.others for server in begun),
    }


def shape(
    contender: Contender, server: servers.Server, rows: Sequence[Row], size: int, connections: int, seconds: float
) -> Row:
    """One measurement: `size` rows a request from so many connections."""
    asked = requests(contender, rows, size)
    plan = load.Plan(asked, connections, seconds, WARM_UP, contender.marker, contender.check(size), max(1, 100 // size))
    found, cost = measured(server, plan)
    return {"server": contender.name, "rows": size, "connections": connections, **figures(found), **cost}


def requests(contender: Contender, rows: Sequence[Row], size: int) -> list[bytes]:
    """Requests of `size` rows each, all rows once."""
    return [contender.request(rows[at : at + size]) for at in range(0, len(rows) - size + 1, size)]


def measured(server: servers.Server, plan: load.Plan) -> tuple[load.Measured, dict[str, float]]:
    """The load, and what it cost: CPU microseconds a request, memory, and the share that others took.

    `MB` is of the whole tree, `parent MB` of the process that was started: keepfit's server without the
    process that makes Parquet of its log now and then, the peers' command without their workers.
    """
    cpu, busy, own = server.cpu(), measure.busy(), time.process_time()
    begun = time.perf_counter()
    found = load.drive(server.address, plan)
    spent, mine = server.cpu() - cpu, time.process_time() - own
    machine = (time.perf_counter() - begun) * (os.cpu_count() or 1)
    others = max(0.0, measure.busy() - busy - spent - mine) / machine
    each = spent / found.good * 1e6 if found.good else float("nan")
    memory = {"MB": server.memory() / 1e6, "parent MB": measure.resident(server.pid) / 1e6}
    return found, {"CPU us": each, **memory, "others %": 100 * others}


def figures(found: load.Measured) -> dict[str, Any]:
    """A measurement as columns; failures by kind, as text."""
    told = ", ".join(f"{count} x {kind}" for kind, count in sorted(found.failures.items()))
    tails = {"p50 ms": found.percentile(0.5), "p99 ms": found.percentile(0.99)}
    return {"req/s": found.rate, **tails, "client %": 100 * found.busy, "failures": told or "0"}


def best(rows: Iterable[Row], model: str, server: str, size: int) -> Row | None:
    """The row of the number of connections with the most requests a second; None where nothing was measured."""
    found = [row for row in rows if (row["model"], row["server"], row["rows"]) == (model, server, size)]
    return max(found, key=lambda row: float(row["req/s"]), default=None)


def claims(model: Model, rows: Sequence[Row]) -> list[Claim]:
    """What was promised of one model."""
    table = model.data != "imdb"
    single = [against(rows, model.name, peer, 1, limit) for peer, limit in (SINGLE if table else TEXT).items()]
    mine = [row for row in rows if (row["model"], row["server"]) == (model.name, "keepfit")]
    if not table:
        return [*single, start(model.name, mine)]
    batches = [against(rows, model.name, peer, 100, limit) for peer, limit in BATCHES.items()]
    memory = max((float(row["MB"]) for row in mine), default=None)
    kept = Claim(f"{model.name}: MB after all loads", memory, "<=", MEMORY)
    return [*single, *batches, *tail(model.name, rows), start(model.name, mine), kept]


def start(model: str, mine: Sequence[Row]) -> Claim:
    """What was promised of keepfit's start whatever the peers do."""
    seconds = max((float(row["cold s"]) for row in mine), default=None)
    noisy = any(row["cold others %"] > 100 * BUSY for row in mine)
    return Claim(f"{model}: s from start to first good answer", seconds, "<=", COLD, disturbed=noisy)


def against(rows: Sequence[Row], model: str, peer: str, size: int, limit: float) -> Claim:
    """How many times the peer's requests a second, each at its best number of connections."""
    own = KEEPFIT if size == 1 else AS_MLFLOW
    ours, theirs = best(rows, model, own.name, size), best(rows, model, peer, size)
    what = f"{model}, {'single rows' if size == 1 else f'batches of {size}'}: times the req/s of {peer}"
    if ours is None or theirs is None or not theirs["req/s"]:
        return Claim(what, None, ">=", limit)
    return Claim(what, ours["req/s"] / theirs["req/s"], ">=", limit, disturbed=disturbed(ours, theirs))


def tail(model: str, rows: Sequence[Row]) -> list[Claim]:
    """p99 at 64 connections, in milliseconds and as a share of the best peer's."""
    found = {row["server"]: row for row in rows if (row["model"], row["rows"], row["connections"]) == (model, 1, 64)}
    ours = found.pop("keepfit", None)
    told = [row for row in found.values() if row["p99 ms"]]
    theirs = min(told, key=lambda row: float(row["p99 ms"]), default=None)
    own = None if ours is None else ours["p99 ms"]
    share = own / theirs["p99 ms"] if own and theirs else None
    noisy = disturbed(*(row for row in (ours, theirs) if row))
    return [
        Claim(f"{model}: p99 ms at 64 connections", own, "<=", P99, disturbed=bool(ours) and disturbed(ours or {})),
        Claim(f"{model}: p99 at 64 connections over the best peer's", share, "<=", P99_SHARE, disturbed=noisy),
    ]


def disturbed(*rows: Row) -> bool:
    """Whether others kept the machine busy during one of them."""
    return any(row.get("others %", 0.0) > 100 * BUSY for row in rows)


def ratios(rows: Sequence[Row]) -> list[str]:
    """What a single row costs the peers in CPU time, in keepfit's: it holds on a busy machine too."""
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        ours = cheapest(rows, model, "keepfit")
        there = [peer for peer in OTHERS if best(rows, model, peer, 1)]
        told = [f"{peer} {cheapest(rows, model, peer) / ours:.0f}" for peer in there]
        lines.append(f"{model}: CPU time of a single row at best, times keepfit's: {', '.join(told)}")
    return lines


def cheapest(rows: Sequence[Row], model: str, server: str) -> float:
    """Least CPU microseconds of a single row; NaN where nothing was measured."""
    costs = [row["CPU us"] for row in rows if (row["model"], row["server"], row["rows"]) == (model, server, 1)]
    return min(costs, default=float("nan"))


def failed(rows: Sequence[Row]) -> Claim:
    """That no request failed in any of these measurements of keepfit."""
    return Claim("measurements of keepfit with a failed request", sum(row["failures"] != "0" for row in rows), "<=", 0)


def medians(rows: Sequence[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    """One row for those that agree in `names`: medians of numbers, the first text that tells of a failure."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return [{**dict(zip(names, key, strict=True)), **_median(found, names)} for key, found in groups.items()]


def _median(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    columns = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0] if name not in names}
    texts = {"failures": max(columns.pop("failures"), key=len)} if "failures" in columns else {}
    return {**{name: statistics.median(found) for name, found in columns.items() if found}, **texts}
