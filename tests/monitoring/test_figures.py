"""The figures of a pass, flat: finite numbers alone, each under a name that MLflow and Prometheus take."""

from __future__ import annotations

import math
from typing import Any

import pytest

from keepfit.monitoring.figures import FAMILIES, Figure, figures, named


def a_pass(**other: Any) -> dict[str, Any]:
    return {
        "window": {"rows": 500, "labelled": 80}, "outcome": "healthy", "alarms": [], "performance": {},
        "estimated": {}, "columns": [], **other,
    }  # fmt: skip


def column(**other: Any) -> dict[str, Any]:
    return {"name": "age", "psi": 0.1, "js": 0.2, "ks": 0.3, "p": 0.0, "moved": -0.01, "missing": 0.05, **other}


def told(**other: Any) -> dict[tuple[str, ...], float]:
    return {(figure.family, *figure.labels): figure.value for figure in figures(a_pass(**other))}


@pytest.mark.parametrize(("outcome", "value"), [("healthy", 1.0), ("unhealthy", 0.0), ("not checked", None)])
def test_what_is_not_checked_is_neither_healthy_nor_not(outcome: str, value: float | None) -> None:
    assert told(outcome=outcome).get(("healthy",)) == value


def test_rows_labels_and_alarms() -> None:
    found = told(alarms=[{}, {}])
    assert (found["rows",], found["labelled_rows",], found["open_alarms",]) == (500.0, 80.0, 2.0)


def test_performance_and_its_estimate_with_their_bounds() -> None:
    measured = {"accuracy": {"value": 0.9, "low": 0.8, "high": None, "rows": 80, "goal": ">= 0.9"}}
    void = {"accuracy": {"value": None, "low": None, "high": None, "void": "drift"}}
    found = told(performance=measured, estimated=void)
    assert {key: value for key, value in found.items() if len(key) == 3} == {
        ("performance", "accuracy", "value"): 0.9,
        ("performance", "accuracy", "low"): 0.8,
    }


def test_drift_and_shares_of_a_column() -> None:
    found = told(columns=[column(unseen=None)])
    assert found["drift", "age", "p"] == 0.0
    assert found["drift", "age", "moved"] == -0.01
    assert found["share", "age", "missing"] == 0.05
    assert ("share", "age", "unseen") not in found
    assert ("share", "age", "outside") not in found


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "0.3"])
def test_what_is_no_finite_number_is_left_out(value: Any) -> None:
    assert ("drift", "age", "psi") not in told(columns=[column(psi=value)])


def test_each_figure_has_the_labels_of_its_family() -> None:
    found = list(figures(a_pass(performance={"f1": {"value": 1.0}}, columns=[column()])))
    assert {figure.family for figure in found} <= set(FAMILIES)
    assert all(len(figure.labels) == len(FAMILIES[figure.family][1]) for figure in found)


def test_a_name_has_the_family_and_its_labels() -> None:
    assert named(Figure("drift", ("größe, in °C", "psi"), 0.1)) == "drift.größe, in °C.psi"
    assert named(Figure("rows", (), 1.0)) == "rows"


def test_forecasts_by_steps_ahead_beside_seasonal_naive_and_their_season() -> None:
    steps = [{"step": "1 to 2", "rows": 20, "mase": {"value": 0.5, "low": 0.4, "high": None}, "naive": 0.9},
             {"step": "3", "rows": 20, "mase": {"value": 0.7, "low": 0.6, "high": 0.8}, "naive": None}]  # fmt: skip
    naive = [{"metric": "smape", "rows": 40, "value": 4.0, "naive": 6.5}]
    checks = [{"name": "season: shifted", "value": -0.2}, {"name": "bias: one-sided", "value": 0.1}]
    found = told(steps=steps, naive=naive, verdicts={"performance": {"checks": checks}})
    assert {key: value for key, value in found.items() if key[0] not in ("rows", "labelled_rows", "healthy")} == {
        ("open_alarms",): 0.0,
        ("performance_by_step", "1 to 2", "mase", "value"): 0.5,
        ("performance_by_step", "1 to 2", "mase", "low"): 0.4,
        ("performance_by_step", "1 to 2", "naive_mase", "value"): 0.9,
        ("performance_by_step", "3", "mase", "value"): 0.7,
        ("performance_by_step", "3", "mase", "low"): 0.6,
        ("performance_by_step", "3", "mase", "high"): 0.8,
        ("seasonal_naive", "smape"): 6.5,
        ("season_shift",): -0.2,
    }
