"""Influences: the same values as the metrics, and derivatives of them by the rows' weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from keepfit.models import bootstrap, influence, metrics
from keepfit.models.fitted import Output

NAMES = {"two": ("no", "yes"), "three": ("a", "b", "c"), "values": ()}


def answers(kind: str, rows: int = 60, seed: int = 0) -> metrics.Answers:
    random = np.random.default_rng(seed)
    classes = NAMES[kind]
    if not classes:
        y = random.normal(10, 3, rows)
        said = y + random.normal(size=rows)
        return metrics.answers(y, Output(said, low=said - 1, high=said + 1), ())
    # few distinct probabilities, so that many rows are equal
    p = np.round(random.dirichlet(np.ones(len(classes)), rows), 1)
    p /= p.sum(axis=1, keepdims=True)
    truth = (p.cumsum(axis=1) < random.random((rows, 1))).sum(axis=1).clip(0, len(classes) - 1)
    labels: NDArray[Any] = np.array(classes, object)
    return metrics.answers(labels[truth], Output(labels[p.argmax(axis=1)], p), classes)


CASES = [(kind, name) for kind in NAMES for name in metrics.available(answers(kind))]


def test_every_metric_has_its_influence() -> None:
    assert set(influence.FUNCTIONS) == set(metrics.METRICS)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_values_are_those_of_the_metrics_and_influences_their_derivatives(kind: str, name: str) -> None:
    given = answers(kind)
    value, each = influence.of(name, given)
    rows = len(given.truth)
    step = 1e-4
    weights = np.vstack([np.ones((1, rows)), 1 + step * np.eye(rows), 1 - step * np.eye(rows)])
    whole, *moved = metrics.METRICS[name].function(given, weights)
    derivative = (np.array(moved[:rows]) - np.array(moved[rows:])) / (2 * step)
    assert value == pytest.approx(whole, rel=1e-9)
    np.testing.assert_allclose(each / rows, derivative, atol=1e-6 * max(1, abs(value)))
    assert each.sum() == pytest.approx(0, abs=1e-6 * rows)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_standard_error_is_that_of_a_bootstrap(kind: str, name: str) -> None:
    given = answers(kind, 800, seed=3)
    _, each = influence.of(name, given)
    (drawn,) = bootstrap.resample([lambda weights: metrics.METRICS[name].function(given, weights)], 800, 2000, 1)
    assert np.sqrt((each**2).mean() / 800) == pytest.approx(drawn.std(), rel=0.08)


@pytest.mark.parametrize("name", ["roc_auc", "pr_auc", "r2"])
def test_what_is_not_defined_is_nan(name: str) -> None:
    same: NDArray[Any] = np.array(["no"] * 5, object)
    given = metrics.answers(same, Output(same, np.tile([0.7, 0.3], (5, 1))), ("no", "yes"))
    if name == "r2":
        given = metrics.answers(np.ones(5), Output(np.arange(5.0)), ())
    value, each = influence.of(name, given)
    assert np.isnan(value)
    assert np.isnan(each).all()


def test_a_class_that_is_never_picked_has_precision_zero_as_in_the_metrics() -> None:
    truth: NDArray[Any] = np.array(["yes", "no"], object)
    given = metrics.answers(truth, Output(np.array(["no", "no"], object)), ("no", "yes"))
    assert influence.of("precision", given)[0] == metrics.METRICS["precision"].function(given, np.ones((1, 2)))[0] == 0
