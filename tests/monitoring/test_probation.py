"""Probation: a worse champion is seen, an equal one stays, however often it is looked at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate

from keepfit.models.fitted import Output
from keepfit.monitoring import probation

CLASSES = ("no", "yes")
LABELS: NDArray[Any] = np.array(CLASSES, object)
LOOKS = [*range(50, 500, 50), *range(500, 3001, 250)]
Stream = tuple[NDArray[Any], Output, Output, tuple[str, ...]]


def classified(random: np.random.Generator, rows: int, worse: float) -> Stream:
    """Labels, and two models that see the log-odds through noise, the first one through more of it."""
    odds = random.normal(-1, 1.5, rows)
    y = LABELS[(random.random(rows) < 1 / (1 + np.exp(-odds))).astype(int)]

    def model(noise: float) -> Output:
        p = 1 / (1 + np.exp(-(odds + noise * random.normal(size=rows))))
        return Output(LABELS[(p > 0.5).astype(int)], np.column_stack([1 - p, p]))

    return y, model(0.5 + worse), model(0.5), CLASSES


def valued(random: np.random.Generator, rows: int, worse: float) -> Stream:
    y = random.lognormal(0, 0.5, rows)
    return (y, *(Output(y + noise * random.standard_t(6, rows) * y) for noise in (0.5 + worse, 0.5)), ())


def rolled_back(stream: Stream, metric: str) -> bool:
    y, champion, predecessor, classes = stream
    return any(
        probation.judge(y[:n], classes, champion[:n], predecessor[:n], metric).outcome == "failed" for n in LOOKS
    )


CASES = [(classified, "accuracy"), (classified, "log_loss"), (classified, "roc_auc"), (valued, "mae"), (valued, "rmse")]


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_an_equal_champion_is_hardly_ever_rolled_back_within_a_whole_probation(kind: Any, metric: str) -> None:
    """60 probations of 20 looks each; at 5 %, 9 or more have a chance of 1 %."""
    random = np.random.default_rng(3)
    assert sum(rolled_back(kind(random, 3000, 0.0), metric) for _ in range(60)) < 9


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_a_worse_champion_is_rolled_back(kind: Any, metric: str) -> None:
    random = np.random.default_rng(4)
    assert sum(rolled_back(kind(random, 3000, 0.7 if kind is classified else 0.15), metric) for _ in range(10)) >= 9


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_a_better_champion_stays(kind: Any, metric: str) -> None:
    random = np.random.default_rng(5)
    for _ in range(10):
        y, worse, better, classes = kind(random, 3000, 0.5)
        assert not rolled_back((y, better, worse, classes), metric)


@pytest.mark.parametrize("exact", [True, False])
def test_the_chance_to_ever_reach_the_limit_is_as_said(exact: bool) -> None:
    """2,000 walks of 4,000 rows, looked at every 20 rows: at 5 %, 123 or more have a chance of 1 %."""
    random = np.random.default_rng(6)
    rows = np.arange(20, 4001, 20)
    reached = 0
    for _ in range(2000):
        steps = random.integers(0, 2, 4000) * 2 - 1 if exact else random.normal(size=4000)
        walk = np.cumsum(steps)[rows - 1]
        if exact:
            reached += any(probation.shares((n + w) // 2, (n - w) // 2) >= 20 for n, w in _far(rows, walk))
        else:
            reached += any(probation.normal(w / math.sqrt(n), n, 0.05) >= 20 for n, w in _far(rows, walk))
    assert 10 < reached < 123


def _far(rows: NDArray[Any], walk: NDArray[Any]) -> list[tuple[int, float]]:
    """What lies under two standard errors reaches nothing: it need not be reckoned."""
    far = walk > 2 * np.sqrt(rows)
    return list(zip(rows[far].tolist(), walk[far].tolist(), strict=True))


def test_e_values_are_the_integrals_that_they_stand_for() -> None:
    def bet(share: float) -> float:
        return float(2 * (2 * share) ** 12 * (2 * (1 - share)) ** 5)

    assert probation.shares(12, 5) == pytest.approx(integrate.quad(bet, 0.5, 1)[0])
    width = -2 * math.log(0.1) + math.log(1 - 2 * math.log(0.1))

    def gain(size: float) -> float:  # half normal of that variance, at the best number of rows
        return math.exp(2.5 * size - size**2 / 2 - size**2 / (2 * width)) * 2 / math.sqrt(2 * math.pi * width)

    assert probation.normal(2.5, probation.BEST, 0.05) == pytest.approx(integrate.quad(gain, 0, 30)[0])


@pytest.mark.parametrize("rows", [0, 1, 49])
def test_too_few_rows_are_not_checked(rows: int) -> None:
    y, champion, predecessor, classes = classified(np.random.default_rng(0), rows, 1.0)
    verdict = probation.judge(y, classes, champion, predecessor, "accuracy")
    assert verdict.outcome == "not checked"
    assert verdict.checks[0].detail == f"{rows} labelled rows; at least 50 are needed"


def test_one_class_alone_does_not_tell_the_area() -> None:
    _, champion, predecessor, classes = classified(np.random.default_rng(0), 200, 1.0)
    verdict = probation.judge(np.full(200, "no", object), classes, champion, predecessor, "roc_auc")
    assert verdict.outcome == "not checked"


@pytest.mark.parametrize(("kind", "metric"), CASES)
def test_the_same_model_passes(kind: Any, metric: str) -> None:
    y, champion, _, classes = kind(np.random.default_rng(0), 200, 0.0)
    verdict = probation.judge(y, classes, champion, champion, metric)
    assert verdict.outcome == "passed"
    assert verdict.checks[0].value == 0


def test_a_catastrophe_is_seen_in_the_first_look_and_told() -> None:
    y, champion, predecessor, classes = classified(np.random.default_rng(0), 100, 0.0)
    turned = Output(LABELS[(champion.values == "no").astype(int)], champion.probabilities)
    verdict = probation.judge(y, classes, turned, predecessor, "accuracy")
    assert verdict.outcome == "failed"
    assert "on 100 rows; evidence that it is worse" in verdict.checks[0].detail
    assert verdict.checks[0].value < -0.3


def test_a_model_that_answers_one_thing_for_all_is_told_by_few_rows_that_differ() -> None:
    """Three rows, all for the predecessor, are no proof."""
    y = np.array(["no"] * 97 + ["yes"] * 3, object)
    champion, predecessor = Output(np.full(100, "no", object)), Output(y)
    assert probation.judge(y, CLASSES, champion, predecessor, "accuracy").outcome == "passed"
    assert probation.judge(y, CLASSES, champion, predecessor, "recall").outcome == "passed"


# --- rows that belong together ---


def grouped(random: np.random.Generator, units: int, looks: int, worse: float) -> tuple[Stream, NDArray[np.intp]]:
    """Rows look by look, one a unit; each unit has errors of its own of both models, which stay."""
    together = np.tile(np.arange(units), looks)
    y = random.normal(size=len(together))
    sides = []
    for size in (1 + worse, 1.0):
        own, each = random.normal(size=units), random.normal(size=len(y))
        sides.append(Output(y + size * (own[together] + 0.3 * each)))
    return (y, *sides, ()), together


def grouped_back(stream: Stream, together: NDArray[np.intp] | None, units: int) -> bool:
    y, champion, predecessor, classes = stream
    for n in range(units, len(y) + 1, units):
        part = None if together is None else together[:n]
        found = probation.judge(y[:n], classes, champion[:n], predecessor[:n], "mae", 0.95, units, part)
        if found.outcome == "failed":
            return True
    return False


@pytest.mark.parametrize("units", [4, 20, 150])
def test_units_that_are_looked_at_again_are_no_new_evidence(units: int) -> None:
    """60 probations of 30 looks at the same units; at 5 %, 9 or more have a chance of 1 %. Rows alone would do it."""
    random = np.random.default_rng(8)
    found = [grouped(random, units, 30, 0.0) for _ in range(60)]
    assert sum(grouped_back(stream, together, units) for stream, together in found) < 9
    assert sum(grouped_back(stream, None, units) for stream, _ in found) > 9


def test_units_tell_a_worse_champion_if_there_are_enough() -> None:
    random = np.random.default_rng(9)
    few, many = (
        [grouped_back(*grouped(random, units, 10, 0.8), units) for _ in range(10)] for units in (4, 150)
    )  # fmt: skip
    assert sum(many) >= 9
    assert sum(few) <= 3
    (y, champion, predecessor, _), together = grouped(random, 1, 200, 3.0)
    assert probation.judge(y, (), champion, predecessor, "mae", together=together).outcome == "passed"
