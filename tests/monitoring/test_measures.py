"""Intervals cover, tests keep their level far out in the tail, and both are exact where they say so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from keepfit.models.metrics import Answers
from keepfit.monitoring import measures
from keepfit.monitoring.measures import Measure


def classified(random: np.random.Generator, rows: int, right: float = 1.0) -> Answers:
    """Calibrated probabilities; `right` is how much of them is told."""
    p = random.beta(0.5, 1.5, rows)
    truth = (random.random(rows) < p).astype(int)
    told = np.clip(right * p + (1 - right) * random.random(rows), 1e-6, 1 - 1e-6)
    return Answers(truth, (told > 0.5).astype(int), 2, np.column_stack([1 - told, told]))


def valued(random: np.random.Generator, rows: int, right: float = 1.0) -> Answers:
    y = random.lognormal(0, 0.5, rows) * 10
    return Answers(y, y + random.normal(size=rows) * (1 + y / 10) / right, 0)


CASES = [(classified, n) for n in ("accuracy", "log_loss", "brier", "roc_auc", "pr_auc", "f1")]
CASES += [(valued, n) for n in ("mae", "rmse", "r2")]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_intervals_cover_and_tests_keep_their_level(kind: Any, name: str) -> None:
    """400 windows of 200 rows against 2,000 of training: 5 % and 1 % are asked for."""
    random = np.random.default_rng(1)
    true = measures.measure(name, kind(random, 400_000)).value
    covered, chances = 0, []
    for _ in range(400):
        now = measures.measure(name, kind(random, 200))
        low, high = measures.interval(now, 0.95)
        covered += low <= true <= high
        chances.append(measures.worse(now, measures.measure(name, kind(random, 2000))))
    # 400 draws of a 5 % chance are 33 or more once in 300 times, of a 1 % chance 11 or more once in 300
    assert covered >= 400 * 0.95 - 20
    assert (np.array(chances) <= 0.05).sum() < 33
    assert (np.array(chances) <= 0.01).sum() < 12


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_is_worse_is_seen(kind: Any, name: str) -> None:
    random = np.random.default_rng(2)
    now, before = measures.measure(name, kind(random, 2000, 0.4)), measures.measure(name, kind(random, 5000))
    assert measures.worse(now, before) < 1e-4
    assert measures.worse(before, now) > 0.9


@pytest.mark.parametrize(("hits", "rows", "old", "of"), [(40, 50, 900, 1000), (0, 9, 3, 9), (50, 50, 1000, 1000)])
def test_accuracy_is_compared_by_fishers_exact_test(hits: int, rows: int, old: int, of: int) -> None:
    table = [[hits, rows - hits], [old, of - old]]
    assert measures.fisher(hits, rows, old, of) == pytest.approx(stats.fisher_exact(table, "less").pvalue, rel=1e-6)


@pytest.mark.parametrize(("sign", "other"), [(">=", "less"), ("<=", "greater"), (">", "less"), ("<", "greater")])
def test_a_goal_of_accuracy_is_tested_exactly(sign: str, other: str) -> None:
    found = Measure("accuracy", 0.84, math.sqrt(0.84 * 0.16 / 199), 0.0, 200, 200)
    assert measures.misses(found, sign, 0.9) == pytest.approx(stats.binomtest(168, 200, 0.9, other).pvalue)


def test_goals_of_other_metrics() -> None:
    loss = measures.measure("log_loss", classified(np.random.default_rng(0), 1000))
    assert measures.misses(loss, "<=", loss.value) == pytest.approx(0.5, abs=0.02)
    assert measures.misses(loss, "<=", loss.value - 4 * loss.error) < 1e-3
    assert measures.misses(loss, ">=", loss.value - 4 * loss.error) > 0.999
    area = measures.measure("roc_auc", classified(np.random.default_rng(0), 1000))
    assert measures.misses(area, ">=", 0.99) < 1e-6
    assert measures.misses(area, ">=", 0.6) > 0.999


def test_a_perfect_score_has_an_interval_too() -> None:
    truth = np.arange(100) % 2
    given = Answers(truth, truth, 2)
    low, high = measures.interval(measures.measure("accuracy", given), 0.95)
    assert (round(low, 3), high) == (0.963, pytest.approx(1.0))
    # of the 50 rows of a class, and not of all 100
    low, _ = measures.interval(measures.measure("recall", given), 0.95)
    assert low == pytest.approx(0.929, abs=1e-3)
    perfect = measures.measure("balanced_accuracy", given)
    assert measures.worse(perfect, perfect) == 1.0


@pytest.mark.parametrize("truth", [np.zeros(0, int), np.zeros(1, int), np.zeros(20, int)])
def test_what_is_not_defined_has_no_interval(truth: Any) -> None:
    given = Answers(truth, truth, 2, np.full((len(truth), 2), 0.5))
    found = measures.measure("roc_auc", given)
    assert math.isnan(found.value)
    assert all(math.isnan(end) for end in measures.interval(found, 0.95))


def test_the_reference_of_metrics_json() -> None:
    told = {"metrics": {"rmse": {"value": 2.0, "low": 1.804, "high": 2.196}}, "rows": 500, "confidence": 0.95}
    found = measures.reference("rmse", told)
    assert found is not None
    assert (found.value, found.rows) == (2.0, 500)
    assert found.error == pytest.approx(0.1, rel=1e-3)
    assert measures.reference("mae", told) is None
    assert measures.reference("rmse", {"metrics": {"rmse": {"value": None, "low": None, "high": None}}}) is None


@pytest.mark.parametrize("name", ["accuracy", "log_loss"])
def test_rows_that_are_alike_for_a_while_are_no_alarm(name: str) -> None:
    """Hard and easy times of about six rows: without heed of the order, 1 % would be 5 % and more."""
    random = np.random.default_rng(4)

    def windows(count: int) -> Answers:
        hard = np.repeat(random.random(count) < 0.5, 6)[:count]
        p = np.where(hard, 0.6, 0.05)
        truth = (random.random(count) < p).astype(int)
        return Answers(truth, np.zeros(count, int), 2, np.column_stack([np.full(count, 0.7), np.full(count, 0.3)]))

    def shuffled(given: Answers) -> Answers:
        order = random.permutation(len(given.truth))
        assert given.probabilities is not None
        return Answers(given.truth[order], given.picked[order], 2, given.probabilities[order])

    chances = []
    for _ in range(500):
        now, before = windows(500), measures.measure(name, shuffled(windows(5000)))
        chances.append([measures.worse(measures.measure(name, each), before) for each in (now, shuffled(now))])
    kept, lost = (np.array(chances) <= 0.01).mean(axis=0)
    assert lost > 0.04
    assert kept < 0.025


def test_forecasts_of_one_value_count_as_one() -> None:
    random = np.random.default_rng(0)
    truth, error = np.repeat(random.normal(size=200), 6), np.repeat(random.normal(size=200), 6)
    given = Answers(truth, truth + error, 0)
    alone = measures.measure("mae", Answers(truth[::6], (truth + error)[::6], 0))
    about = measures.Units(np.repeat(np.arange(200), 6), np.zeros(200, np.intp))
    units = measures.measure("mae", given, about)
    assert units.value == pytest.approx(alone.value)
    assert alone.error < units.error < 1.3 * alone.error
    one = measures.Units(np.zeros(1200, np.intp), np.zeros(1, np.intp))
    assert math.isnan(measures.measure("mae", given, one).error)  # one unit tells nothing of others


def test_series_whose_errors_lie_on_one_side_throughout_count_as_one_each() -> None:
    """300 windows of 20 series that are each off, and all are not: at 1 %, 9 or more have a chance of 0.4 %."""
    random = np.random.default_rng(0)
    series = np.repeat(np.arange(20), 24)
    of, apart = np.arange(480), np.zeros(480, np.intp)

    def chance(each: np.ndarray, whole: np.ndarray) -> float:
        value = float(each.mean())
        found = measures.of_influence("bias", value, each - value, 480, 3, measures.Units(of, whole))
        return 2 * measures.tail(abs(value), found.error, 0.0)

    told = []
    for _ in range(300):
        each = np.repeat(random.normal(size=20), 24) + random.normal(size=480)
        told.append([chance(each, series), chance(each, apart), chance(each + 1.2, series)])
    right, lost, moved = (np.array(told) <= 0.01).sum(axis=0)
    assert right < 9
    assert lost > 9
    assert moved > 200  # and where all are off to one side it is told
