"""The measuring of servers: requests in each protocol, what counts as an answer, promises that can fail."""

from __future__ import annotations

import doctest
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

if sys.platform != "linux":
    pytest.skip("the load generator listens with epoll", allow_module_level=True)

from benchmarks import (
    contenders,
    datasets,
    load,
    servers,
    serving,
    serving_limit,
    serving_log,
    serving_soak,
    serving_swap,
)
from benchmarks.contenders import KEEPFIT, MODELS, OTHERS
from benchmarks.load import Measured
from benchmarks.measure import CommandError
from benchmarks.results import Claim
from benchmarks.serving_swap import Seen, Swap

ROWS = [{"age": 39, "workclass": "State-gov"}, {"age": 50, "workclass": "?"}]
ANSWERS: dict[str, Any] = {
    "keepfit": {"predictions": [{"prediction": "a"}, {"prediction": "b"}]},
    "mlflow": {"predictions": ["a", "b"]},
    "fastapi": {"predictions": ["a", "b"]},
    "bentoml": ["a", "b"],
    "mlserver": {"outputs": [{"name": "predict", "data": ["a", "b"]}]},
}


def row(server: str, rate: float, **more: Any) -> dict[str, Any]:
    """A measured row as the table has it."""
    usual = {"model": "adult-linear", "server": server, "rows": 1, "connections": 64, "req/s": rate, "p99 ms": 10.0}
    noise = {"others %": 1.0, "cold others %": 1.0}
    return {**usual, "CPU us": 1e6 / rate, "MB": 60.0, "cold s": 0.4, **noise, "failures": "0", **more}


def outcomes(claims: list[Claim]) -> dict[str, str]:
    return {claim.what.partition(": ")[2]: claim.outcome for claim in claims}


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(contenders).failed == 0


@pytest.mark.parametrize("contender", [KEEPFIT, *OTHERS.values()], ids=lambda contender: contender.name)
def test_each_protocol_writes_rows_and_counts_predictions(contender: contenders.Contender) -> None:
    head, _, body = contender.request(ROWS).partition(b"\r\n\r\n")
    assert head.startswith(b"POST " + contender.path.encode())
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"State-gov" in body
    good = json.dumps(ANSWERS[contender.name]).encode()
    assert contender.marker in good
    assert contender.check(2)(0, good) is None
    assert contender.check(1)(0, good) == "2 predictions for 1 rows"
    assert contender.check(2)(0, good[:-1]) == "body is not what the protocol says"
    assert contender.check(2)(0, b'{"error": "prediction"}') is not None


def test_rows_are_real_and_many(shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEEPFIT_DATA", str(shared_data))
    monkeypatch.setattr(datasets, "WORK", tmp_path)
    rows = contenders.rows(MODELS["adult-linear"])
    asked = serving.requests(KEEPFIT, rows, 100)
    assert len({json.dumps(row) for row in rows}) > 0.9 * contenders.ROWS
    assert (len(rows[0]), isinstance(rows[0]["age"], int), "income" in rows[0]) == (14, True, False)
    assert len(json.loads(asked[0].partition(b"\r\n\r\n")[2])) == 100


def test_promises_are_kept_at_the_best_number_of_connections() -> None:
    rows = [row("keepfit", 20_000.0), row("keepfit", 9_000.0, connections=8), row("keepfit as mlflow", 900.0, rows=100)]
    rows += [row("mlflow", 100.0, **{"p99 ms": 1000.0}), row("mlflow", 25.0, rows=100, connections=8)]
    found = outcomes(serving.claims(MODELS["adult-linear"], rows))
    assert found == {
        "times the req/s of mlflow": "kept",  # of batches; the last of one name
        "times the req/s of fastapi": "not measured",
        "times the req/s of bentoml": "not measured",
        "times the req/s of mlserver": "not measured",
        "p99 ms at 64 connections": "kept",
        "p99 at 64 connections over the best peer's": "kept",
        "s from start to first good answer": "kept",
        "MB after all loads": "kept",
    }


def test_promises_can_be_missed() -> None:
    slow = row("keepfit", 1_900.0, **{"p99 ms": 21.0, "cold s": 0.7, "MB": 121.0})
    rows = [slow, row("mlserver", 100.0, **{"p99 ms": 400.0})]
    found = outcomes(serving.claims(MODELS["adult-linear"], rows))
    assert [name for name, outcome in found.items() if outcome == "missed"] == [
        "times the req/s of mlserver",
        "p99 ms at 64 connections",
        "p99 at 64 connections over the best peer's",
        "s from start to first good answer",
        "MB after all loads",
    ]
    assert serving.failed([slow, {**slow, "failures": "2 x code 503"}]).outcome == "missed"


def test_a_busy_machine_shows_nothing_either_way() -> None:
    rows = [row("keepfit", 20_000.0, **{"others %": 50.0}), row("mlserver", 100.0)]
    assert serving.against(rows, "adult-linear", "mlserver", 1, 20.0).outcome == "unclear"
    assert serving.ratios(rows) == [
        "adult-linear: CPU time of a single row at best, times keepfit's: mlserver 200",
    ]


def test_text_is_compared_with_mlflow_alone() -> None:
    rows = [row("keepfit", 1_000.0, model="imdb"), row("mlflow", 100.0, model="imdb")]
    claim, start = serving.claims(MODELS["imdb"], rows)
    assert (claim.measured, claim.outcome) == (10.0, "kept")
    assert (start.measured, start.outcome) == (0.4, "kept")


def test_a_start_is_the_median_of_several_and_shows_nothing_on_a_busy_machine() -> None:
    starts = [servers.Server(1, ("", 1), wall, 0.3, others) for wall, others in ((0.4, 0.0), (0.9, 0.6), (0.5, 0.2))]
    found = serving.cold(starts)
    assert found == {"cold s": 0.5, "cold CPU s": 0.3, "cold others %": 20.0}
    assert serving.start("adult-linear", [row("keepfit", 1.0, **found)]).outcome == "unclear"


def test_names_that_are_not_known() -> None:
    assert serving.picked((), OTHERS) == list(OTHERS)
    with pytest.raises(CommandError, match="nothing here is called torchserve; known: mlflow, fastapi"):
        serving.picked(("torchserve",), OTHERS)


def test_medians_keep_failures() -> None:
    rows = [
        {"log": "on", "req/s": value, "failures": told}
        for value, told in ((3.0, "0"), (1.0, "1 x code 503"), (2.0, "0"))
    ]
    assert serving.medians(rows, ("log",)) == [{"log": "on", "req/s": 2.0, "failures": "1 x code 503"}]


def test_the_limit_and_the_log() -> None:
    answers = [row("", 10_000.0, answer="prediction"), row("", 40_000.0, answer="constant")]
    assert serving_limit.claim(answers).outcome == "missed"
    assert serving_limit.cpu(answers).endswith("each at its best: 0.25")
    lost, more = serving_log.claims([row("", 8_000.0, log="on"), row("", 10_000.0, log="off")])
    assert lost.outcome == "kept"
    assert lost.measured == pytest.approx(0.2)
    assert more.measured == pytest.approx(0.2)


def test_memory_that_grows_is_not_flat() -> None:
    flat = [row("", 700.0, **{"parent MB": 50.0 if part < 5 else 60.0}) for part in range(60)]
    grows = [row("", 700.0, **{"parent MB": 60.0 + part / 10}) for part in range(60)]
    assert [claim.outcome for claim in serving_soak.claims(flat, 700.0)] == ["kept", "kept"]
    assert [claim.outcome for claim in serving_soak.claims(grows, 1000.0)] == ["missed", "missed"]


def body(version: str, *values: float) -> bytes:
    rows = [{"prediction": "a", "probabilities": {"a": value, "b": 1 - value}} for value in values]
    return json.dumps({"predictions": rows, "model": {"name": "adult", "version": version}}).encode()


def test_an_answer_of_two_versions_is_found() -> None:
    seen = Seen({"1": [[0.1, 0.2, 0.3, 0.4]], "2": [[0.5, 0.6, 0.7, 0.8]]})
    assert serving_swap.check(seen, 0, body("1", 0.1, 0.2, 0.3, 0.4)) is None
    assert serving_swap.check(seen, 0, body("2", 0.5, 0.6, 0.7, 0.8)) is None
    assert serving_swap.check(seen, 0, body("2", 0.5, 0.6, 0.3, 0.4)) == "rows of another version"
    assert serving_swap.check(seen, 0, body("2", 0.5)) == "rows of another version"
    assert serving_swap.check(seen, 0, body("3", 0.5, 0.6, 0.7, 0.8)) == "version 3"
    assert [version for _, version in seen.changes] == ["1", "2", "3"]


def test_requests_during_a_swap_are_told_apart() -> None:
    ended = [0.1 * part for part in range(100)]
    took = [0.050 if 2.0 <= when <= 2.6 else 0.001 for when in ended]
    found = Measured(100, 10.0, {"code 503": 1}, (), 0.5, 100, ended, took)
    swaps = [Swap(2.0, 2.1, 2.2)]
    rows = serving_swap.parts(found, swaps)
    assert [line["answers"] for line in rows] == [8, 92]
    assert rows[0]["p99 ms"] == pytest.approx(50.0)
    claims = serving_swap.claims(found, swaps, rows, noisy=False)
    assert [claim.outcome for claim in claims] == ["missed", "missed", "missed", "missed", "kept"]


ANSWER = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        end = time.process_time() + 0.2
        while time.process_time() < end: pass
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"prediction")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
LEAVES = """
import signal, subprocess, sys
def stop(number, frame):
    print("stopping", flush=True)
    code = "import pathlib, sys, time; time.sleep(1); pathlib.Path(sys.argv[1]).touch()"
    subprocess.Popen([sys.executable, "-c", code, sys.argv[2]], process_group=0)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="client and server need a core each")
def test_a_server_is_timed_counted_and_ended() -> None:
    port, asked = servers.free_port(), load.request("POST", "/predict", b"{}")
    client, core = servers.cores()
    with (
        servers.on(client),
        servers.started([sys.executable, "-c", ANSWER, str(port)], port, asked, b"pre", core) as it,
    ):
        assert os.sched_getaffinity(it.pid) == {core}
        assert os.sched_getaffinity(0) == {client}
        assert 0.05 < it.cold < 30
        before = it.cpu()
        assert servers.once(it.address, asked) == b"prediction"
        assert it.cpu() - before >= 0.15
        assert it.memory() > 5e6
    assert len(os.sched_getaffinity(0)) >= 2
    assert not Path(f"/proc/{it.pid}").exists()
    assert servers.once(it.address, asked, timeout=1.0) is None


def test_what_a_server_leaves_behind_is_over_before_the_next_one_starts(tmp_path: Path) -> None:
    port, asked = servers.free_port(), load.request("POST", "/predict", b"{}")
    command = [sys.executable, "-c", LEAVES + ANSWER, str(port), str(tmp_path / "over")]
    with servers.started(command, port, asked, b"pre", servers.cores()[1]) as it:
        assert it.cold_cpu >= 0.2
        assert not (tmp_path / "over").exists()
    assert (tmp_path / "over").exists()


def test_a_server_that_ends_at_once_says_what_it_printed() -> None:
    begun = time.monotonic()
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        pytest.raises(CommandError, match="gave no good answer and printed\nno such model"),
        servers.started(command, servers.free_port(), b"", b"", servers.cores()[1]),
    ):
        pass
    assert time.monotonic() - begun < 20
