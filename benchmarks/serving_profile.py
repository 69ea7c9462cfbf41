"""Where a request's time goes: the server's own functions, timed one by one in one process, without sockets.

Each figure is the smallest of several means, in microseconds of CPU for one HTTP request. `connection`
is all of it: the request's bytes into the parser, the answer's bytes to the transport. `decode`, `rows`
(reading the values and predicting), `log` and `encode` are its parts, and `the rest` is what they leave:
HTTP itself, routing, batching, metrics. What the kernel does for the sockets comes on top.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from benchmarks import contenders
from benchmarks.contenders import KEEPFIT, MODELS
from benchmarks.results import Options, Result
from keepfit.data.log import Block, Line, Writer, open_log
from keepfit.data.rows import Rows, joined
from keepfit.deployment import platforms, rollout, runtime
from keepfit.deployment.access import keys
from keepfit.deployment.http import Connection, Site
from keepfit.deployment.metrics import Metrics
from keepfit.deployment.protocols import Answered, native
from keepfit.deployment.rollout import Plan, Rollout, Tools
from keepfit.deployment.routes import Service, application
from keepfit.deployment.runtime import Runtime
from keepfit.deployment.served import Rules, refusal

PROMISE = "where a request's time goes is known"
SIZES = ((1, 1), (64, 1), (1, 100))  # requests that arrive together, rows of each
REPEATS, SECONDS = 7, 0.15
ROWS = 1_000  # different rows, so that nothing is answered from a cache of one


class Transport:
    """Takes the answers' bytes as a socket's transport would."""

    def __init__(self) -> None:
        self.sent = 0

    def write(self, data: bytes) -> None:
        self.sent += 1

    def close(self) -> None:
        pass


def run(options: Options) -> Result:
    """Every model, single rows alone and 64 at once, and a hundred rows in one request."""
    names = options.only or tuple(MODELS)
    return Result("serving-profile", PROMISE, tuple(row for name in names for row in profile(name)))


def profile(name: str) -> list[dict[str, Any]]:
    """A row of figures for each size of SIZES."""
    model = MODELS[name]
    folder = KEEPFIT.prepare(model)
    bundle = sorted(folder.glob(".keepfit/runs/*/train/bundle"))[-1]
    made, asked = runtime.load(bundle), [dict(row) for row in contenders.rows(model)[:ROWS]]
    with tempfile.TemporaryDirectory() as logs:
        return [
            {
                "model": name,
                "requests at once": at_once,
                "rows each": many,
                **parts(made, asked, at_once, many, Path(logs)),
            }
            for at_once, many in SIZES
        ]


def parts(made: Runtime, asked: list[dict[str, Any]], at_once: int, many: int, logs: Path) -> dict[str, float]:
    """Microseconds of a request, by part."""
    bodies = [native.encode_json(asked[at : at + many]) for at in range(0, len(asked) - many + 1, many)][:64]
    slices = [
        joined([native.decode(body, {}, made.schema).rows for body in bodies[at : at + at_once]])
        for at in range(0, len(bodies) - at_once + 1, at_once)
    ]
    rows = slices[0]
    writer = open_log(logs, made.schema, "model", "1")
    output, _ = made.rows(rows)
    answered = Answered(["0mwq1cqxc3zmv-0"] * many, output[:many], made.schema.classes, "model", "1")
    shape = native.decode(bodies[0], {}, made.schema)
    found = {
        "connection": together(made, bodies, at_once, logs),
        "decode": lowest(turns(lambda body: native.decode(body, {}, made.schema), bodies)),
        "rows": lowest(turns(made.rows, slices)) / at_once,
        "log": lowest(lambda: logged(writer, rows, output, many)) / at_once,
        "encode": lowest(lambda: native.encode(shape, answered)),
    }
    writer.close()
    found["the rest"] = found["connection"] - sum(value for part, value in found.items() if part != "connection")
    return {part: round(value * 1e6, 1) for part, value in found.items()}


def turns(call: Callable[[Any], Any], given: Sequence[Any]) -> Callable[[], Any]:
    """A function that calls with one of `given` after the other."""
    place = 0

    def one() -> None:
        nonlocal place
        place = (place + 1) % len(given)
        call(given[place])

    return one


def logged(writer: Writer, rows: Rows, output: Any, many: int) -> None:
    """What the server does for the log: ids, records, one write."""
    values, chances = output.values.tolist(), output.probabilities.tolist()
    ids, sure, origin = writer.ids(len(rows)), [*map(max, chances)], (time.time(), "r", "local", "/predict", 0.001)
    if many > 1:
        writer.write([Block(ids, *origin, writer.columns(rows), values, sure, chances)])
        return
    told = zip(ids, writer.inputs(rows), values, sure, chances, strict=True)
    writer.write([Line(key, *origin, inputs, *said) for key, inputs, *said in told])


def lowest(call: Callable[[], Any]) -> float:
    """CPU seconds of one call: the smallest mean of REPEATS stretches of SECONDS."""
    means = []
    for _ in range(REPEATS):
        began, count = time.process_time(), 0
        while (spent := time.process_time() - began) < SECONDS:
            for _ in range(10):
                call()
            count += 10
        means.append(spent / count)
    return min(means)


def together(made: Runtime, bodies: Sequence[bytes], at_once: int, logs: Path) -> float:
    """CPU seconds of a request through everything, `at_once` of them arriving in one turn of the event loop."""
    found = SimpleNamespace(version="1", fetch=lambda: made.bundle.path)
    tools = Tools(
        lambda which: found if which == rollout.CHAMPION else None, lambda path: made,
        lambda runtime, version, role: open_log(logs, made.schema, "model", version), "model", Rules(), 10_000, 60.0,
    )  # fmt: skip
    following = Rollout(tools, Plan(), Metrics("model"))
    service = Service(
        "model", following, following.metrics, keys({}), Rules(), platforms.Platform(), logs / "feedback", logs
    )
    asks = [b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body) for body in bodies]  # fmt: skip

    async def main() -> float:
        following.first()
        site = Site(application(service), lambda fault: refusal(fault, native))
        transport, means, place = Transport(), [], 0
        lines = [Connection(site) for _ in range(at_once)]
        for line in lines:
            line.connection_made(cast(asyncio.BaseTransport, transport))
        for _ in range(REPEATS):
            began, before = time.process_time(), transport.sent
            while (spent := time.process_time() - began) < SECONDS:
                wanted = transport.sent + at_once
                for line in lines:
                    place = (place + 1) % len(asks)
                    line.data_received(asks[place])
                await asyncio.sleep(0)
                while transport.sent < wanted:
                    await asyncio.sleep(0.0002)  # a thread is at work: waiting must not be counted as work
            means.append(spent / (transport.sent - before))
        return min(means)

    with asyncio.Runner() as runner:
        try:
            return runner.run(main())
        finally:
            following.close()
