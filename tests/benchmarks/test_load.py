"""The load generator: what counts as an answer, what as a failure, and that it is not the bottleneck."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # the benchmarks are no part of the installed package

if sys.platform != "linux":
    pytest.skip("the load generator listens with epoll", allow_module_level=True)

from benchmarks import load
from benchmarks.load import Measured, Plan

ASKED = [load.request("POST", "/predict", b'{"age": %d}' % age) for age in range(20, 90)]


@pytest.fixture
def constant() -> Iterator[Callable[[str], tuple[str, int]]]:
    """Starts a constant server of some kind and gives its address."""
    running: list[subprocess.Popen[str]] = []

    def start(kind: str) -> tuple[str, int]:
        program = Path(__file__).with_name("constant.py")
        server = subprocess.Popen([sys.executable, program, kind], stdout=subprocess.PIPE, text=True)
        running.append(server)
        assert server.stdout is not None
        return "127.0.0.1", int(server.stdout.readline())

    yield start
    for server in running:
        server.kill()
        server.communicate()


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(load).failed == 0


@pytest.mark.parametrize("kind", ["good", "two parts", "closing"])
def test_good_answers_are_counted(kind: str, constant: Callable[[str], tuple[str, int]]) -> None:
    seen: list[int] = []

    def check(number: int, body: bytes) -> None:
        assert body.startswith(b'{"predictions"')
        assert body.endswith(b"}]}")
        seen.append(number)

    found = load.drive(constant(kind), Plan(ASKED, 4, 0.3, 0.1, check=check, every=10, trace=True))
    assert found.failures == {}
    assert found.answers > 50
    assert found.rate == pytest.approx(found.answers / 0.3, rel=0.2)
    assert sum(found.histogram) == found.answers == len(found.took) == len(found.ended)
    assert len(seen) == found.good // 10
    assert len(set(seen)) > 5  # many different requests are asked


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("busy", "code 503"),
        ("short", "unanswered"),
        ("long", "more bytes than announced"),
        ("no length", "no Content-Length"),
        ("no prediction", "no prediction"),
        ("no http", "no HTTP"),
        ("hangs up", "closed without an answer"),
    ],
)
def test_what_is_no_good_answer_is_a_failure_with_a_name(
    kind: str, failure: str, constant: Callable[[str], tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "DRAIN", 0.3)
    found = load.drive(constant(kind), Plan(ASKED, 2, 0.2, 0.1))
    assert found.answers == 0
    assert found.percentile(0.99) is None
    assert list(found.failures) == [failure]
    assert found.failures[failure] >= 2


def test_what_the_check_says_is_the_failure(constant: Callable[[str], tuple[str, int]]) -> None:
    found = load.drive(constant("good"), Plan(ASKED, 2, 0.2, 0.0, check=lambda *_: "2 predictions", every=1))
    assert (found.answers, list(found.failures)) == (0, ["2 predictions"])


def test_a_rate_is_kept_and_a_stall_is_not_hidden(constant: Callable[[str], tuple[str, int]]) -> None:
    found = load.drive(constant("good"), Plan(ASKED, 8, 1.0, 0.0, rate=500))
    assert found.answers == pytest.approx(500, abs=60)
    assert found.failures == {}
    stalled = load.drive(constant("stalls"), Plan(ASKED, 1, 1.0, 0.0, rate=500))
    late = stalled.percentile(0.75)
    assert late is not None
    assert late > 100  # half of all were due while the server slept, and say so


def test_nothing_listens() -> None:
    with pytest.raises(OSError, match="refused"):
        load.drive(("127.0.0.1", 1), Plan(ASKED))


def test_percentiles_are_right_within_two_percent() -> None:
    histogram = [0] * (load.BUCKETS + 1)
    for bucket, count in ((int(load.RESOLUTION * 6.907755), 99), (int(load.RESOLUTION * 9.21034), 1)):  # 1 ms, 10 ms
        histogram[bucket] = count
    found = Measured(100, 1.0, {}, histogram, 0.5)
    assert found.percentile(0.5) == pytest.approx(1.0, rel=0.02)
    assert found.percentile(1.0) == pytest.approx(10.0, rel=0.02)


@pytest.mark.slow
def test_it_can_ask_forty_thousand_times_a_second_on_one_core(constant: Callable[[str], tuple[str, int]]) -> None:
    found = load.drive(constant("good"), Plan(ASKED, 64, 2.0, 0.5, check=lambda *_: None))
    assert found.failures == {}
    assert found.rate / found.busy >= 40_000  # of the client's CPU time: others may keep the machine busy
