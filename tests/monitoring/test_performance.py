"""Measured performance: by window, time and group; goals and training; too few rows are not checked."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from keepfit import config
from keepfit.features.values import Columns
from keepfit.models import evaluate, metrics, tasks
from keepfit.models.fitted import Ahead, Output
from keepfit.monitoring import performance
from keepfit.monitoring.findings import Finding
from keepfit.monitoring.labelled import Labelled
from keepfit.types import Column, Rhythm, Schema

CLASSES = ("no", "yes")
LABELS: NDArray[Any] = np.array(CLASSES, object)
SCHEMA = Schema(
    (Column("age", "number"), Column("plan", "category", distinct=3), Column("since", "date"), Column("y", "target")),
    *("classification", "y", CLASSES),
)
HOUR = 3600.0


def rows(count: int, seed: int = 0, wrong: Any = 0.0) -> Labelled:
    """Rows a minute apart. The model is calibrated; `wrong` of the labels are turned: a share, or shares by age."""
    random = np.random.default_rng(seed)
    age = random.integers(18, 90, count).astype(float)
    p = np.clip(random.beta(0.5, 1.5, count) * age / 60, 0.01, 0.99)
    truth = random.random(count) < p
    truth ^= random.random(count) < (wrong(age) if callable(wrong) else wrong)
    minute = np.datetime64("2024-05-01T00:00:00", "us") + np.arange(count) * np.timedelta64(60, "s")
    inputs = pl.DataFrame({
        "age": age, "plan": LABELS[random.integers(0, 2, count)].tolist(),
        "since": pl.Series(minute).dt.replace_time_zone("UTC"),
    })  # fmt: skip
    output = Output(LABELS[(p > 0.5).astype(int)], np.column_stack([1 - p, p]))
    return Labelled(LABELS[truth.astype(int)], output, minute, np.full(count, "1", object), inputs)


def told(count: int = 4000, seed: int = 99, wrong: Any = 0.0) -> dict[str, Any]:
    """metrics.json of a model evaluated on such rows."""
    known = rows(count, seed, wrong)
    frame = known.inputs.with_columns(pl.col("since").dt.epoch("s").cast(pl.Float64))
    settings = config.Evaluation(bootstrap=200)
    nothing = Columns({}, count)
    trivial = tasks.baseline(nothing, known.y, nothing, SCHEMA)
    found = evaluate.evaluate(known.y, known.output, SCHEMA, trivial, frame, settings, 0)
    kept: dict[str, Any] = json.loads(json.dumps(found))
    return kept


def measured(
    known: Labelled, goals: dict[str, str] | None = None, of: Any = None, **settings: Any
) -> tuple[dict[str, Any], dict[tuple[str, str], Finding]]:
    given = config.Monitoring(**{"window": 1000 * HOUR, **settings})
    figures, findings = performance.measured(known, of or told(), goals or {}, given, SCHEMA)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    return figures, {(one.subject, one.test): one for one in findings}


def failed(found: dict[tuple[str, str], Finding], level: float = 1e-3) -> list[tuple[str, str]]:
    return [key for key, one in found.items() if one.check(level).outcome == "failed"]


def test_every_metric_with_its_interval_goal_and_reference() -> None:
    known = rows(1000)
    figures, found = measured(known, {"auc": ">= 0.7", "latency_p99_ms": "<= 20"})
    assert set(figures["performance"]) == {n for n, m in metrics.METRICS.items() if "classification" in m.tasks}
    for name, figure in figures["performance"].items():
        assert figure["value"] == pytest.approx(metrics.point(known.y, known.output, CLASSES, [name])[name])
        assert figure["low"] < figure["value"] < figure["high"]
        assert figure["reference"] == told()["metrics"][name]["value"]
        assert figure["goal"] == (">= 0.7" if name == "roc_auc" else None)
    assert not failed(found)
    worse = "worse than at training"
    assert {(n, worse) for n in ("accuracy", "log_loss", "roc_auc")} <= set(found)
    assert ("roc_auc", "goal >= 0.7") in found


def test_turned_labels_fail_and_say_how_much_it_lost() -> None:
    _, found = measured(rows(1000, wrong=0.2), {"accuracy": ">= 0.8"})
    assert {("accuracy", "worse than at training"), ("log_loss", "worse than at training")} <= set(failed(found))
    assert ("accuracy", "goal >= 0.8") in failed(found)
    one = found["accuracy", "worse than at training"]
    assert one.effect == pytest.approx((one.reference or 0) - (one.value or 0))
    assert one.check(1e-3).severity == "error"


def test_a_goal_that_the_value_alone_misses_is_a_warning() -> None:
    accuracy = metrics.point(rows(300).y, rows(300).output, CLASSES, ["accuracy"])["accuracy"]
    _, found = measured(rows(300), {"accuracy": f">= {accuracy + 0.001}"})
    name = f"goal >= {accuracy + 0.001}"
    assert found["accuracy", name].check(1e-3).outcome == "passed"
    warning = found["accuracy", f"{name}, value alone"].check(1e-3)
    assert (warning.outcome, warning.severity) == ("failed", "warning")
    _, met = measured(rows(300), {"accuracy": f">= {accuracy}"})
    assert not [test for _, test in met if "alone" in test]


def test_a_sure_difference_that_is_a_trifle_does_not_fail() -> None:
    big = told()
    big["rows"] = 10**9
    big["metrics"]["log_loss"] |= {part: big["metrics"]["log_loss"]["value"] for part in ("low", "high")}
    same = rows(4000, 99)
    big["metrics"]["log_loss"] = {
        part: 0.997 * metrics.point(same.y, same.output, CLASSES, ["log_loss"])["log_loss"]
        for part in ("value", "low", "high")
    }
    _, found = measured(same, of=big)
    one = found["log_loss", "worse than at training"]
    assert 0 < one.effect < performance.TRIFLE
    assert one.check(1.0).outcome == "passed"


@pytest.mark.parametrize("count", [0, 1, 49])
def test_too_few_rows_are_not_checked(count: int) -> None:
    figures, found = measured(rows(count))
    assert figures["performance"] == {}
    assert figures["labelled"]["rows"] == count
    ((_, one),) = found.items()
    assert one.check(1.0).outcome == "not checked"
    assert one.check(1.0).detail == f"{count} labelled rows in the window; at least 50 are needed"


def test_the_window_ends_with_the_newest_label() -> None:
    figures, _ = measured(rows(600), window=2 * HOUR)
    assert figures["labelled"]["rows"] == 120
    assert figures["labelled"]["until"] == "2024-05-01T09:59:00+00:00"
    assert figures["performance"]["accuracy"]["rows"] == 120
    assert sum(one["labelled"] for one in figures["slices"]) == 600  # those before are shown by time


def test_one_class_alone_leaves_the_area_open() -> None:
    known = rows(400)
    known = known[known.y == "no"]
    figures, found = measured(known, {"auc": ">= 0.5"})
    assert figures["performance"]["roc_auc"]["value"] is None
    assert found["roc_auc", "goal >= 0.5"].check(1.0).outcome == "not checked"
    assert found["roc_auc", "worse than at training"].check(1.0).outcome == "not checked"


# --- by time ---


def test_time_slices_are_whole_and_hold_all_rows() -> None:
    known = rows(600, wrong=lambda age: np.arange(600) >= 300)
    figures, _ = measured(known, every=HOUR)
    slices = figures["slices"]
    assert [one["labelled"] for one in slices] == [60] * 10
    assert slices[0]["since"] == "2024-05-01T00:00:00+00:00"
    assert all(a["until"] == b["since"] for a, b in pairwise(slices))
    scores = [one["performance"]["accuracy"]["value"] for one in slices]
    assert min(scores[:5]) > max(scores[5:])


def test_slices_that_are_too_small_are_joined() -> None:
    known = rows(600)
    keep = np.ones(600, bool)
    keep[120:290] = np.arange(170) % 10 == 0  # hours 2, 3 and most of 4 have few labels
    figures, _ = measured(known[keep], every=HOUR)
    counts = [one["labelled"] for one in figures["slices"]]
    assert counts[:2] == [60, 60]
    assert min(counts) >= 50
    assert sum(counts) == keep.sum()


def test_what_is_too_few_at_the_end_joins_the_slice_before() -> None:
    figures, _ = measured(rows(130), every=HOUR)
    assert [one["labelled"] for one in figures["slices"]] == [60, 70]


def test_no_more_than_200_slices() -> None:
    figures, _ = measured(rows(30_000), every=HOUR)
    assert len(figures["slices"]) <= performance.SLICES
    assert sum(one["labelled"] for one in figures["slices"]) == 30_000


# --- by group ---


def weak(share: float = 0.15) -> Any:
    """The labels of the old are unreliable."""
    return lambda age: np.where(age > 60, share, 0.0)


def test_groups_are_those_of_the_evaluation_with_the_same_borders() -> None:
    of = told(wrong=weak())
    figures, found = measured(rows(4000, 99, weak()), of=of)
    known = {(one["column"], one["group"]): one for one in of["slices"]}
    assert any(one["value"].startswith("> ") for one in figures["groups"])
    for one in figures["groups"]:
        old = known[one["column"], one["value"]]  # the very same rows: the same number, the same accuracy
        assert (one["rows"], one["accuracy"]["value"]) == (old["rows"], pytest.approx(old["value"]))
        assert one["accuracy"]["reference"] == old["value"]
    assert ("accuracy", "worse in a weak group") in found
    assert not failed(found)


def test_a_weak_group_that_got_worse_is_found() -> None:
    of = told(wrong=weak())
    assert not failed(measured(rows(3000, 5, weak()), of=of)[1])
    _, found = measured(rows(3000, 5, weak(0.4)), of=of)
    one = found["accuracy", "worse in a weak group"]
    assert one.check(1e-3).outcome == "failed"
    assert one.detail.startswith("age = > ")


def test_groups_of_columns_that_are_asked_for() -> None:
    figures, _ = measured(rows(1000), slices=["plan", "nothing"])
    plans = {one["value"]: one for one in figures["groups"] if one["column"] == "plan"}
    assert set(plans) == set(CLASSES)
    assert sum(one["rows"] for one in plans.values()) == 1000
    assert figures["groups"][-1] == {
        "column": "nothing", "value": None, "rows": 0, "unknown": "the log does not have this column"
    }  # fmt: skip


def test_a_column_of_the_evaluation_that_is_not_logged_is_left_out() -> None:
    known = rows(1000, wrong=weak())
    known = Labelled(known.y, known.output, known.times, known.versions, known.inputs.select("plan"))
    figures, found = measured(known, of=told(wrong=weak()))
    assert not [one for one in figures["groups"] if one["column"] == "age"]
    assert not failed(found)


def test_regression_has_its_own_metrics() -> None:
    random = np.random.default_rng(0)
    y = random.normal(10, 2, 500)
    times = np.datetime64("2024-05-01", "us") + np.arange(500) * np.timedelta64(60, "s")
    inputs = pl.DataFrame({"rooms": random.integers(1, 5, 500).astype(float)})
    known = Labelled(y, Output(y + random.normal(size=500)), times, np.full(500, "1", object), inputs)
    of = {"metrics": {"rmse": {"value": 0.5, "low": 0.48, "high": 0.52}}, "rows": 2000, "slices": []}
    schema = Schema((Column("rooms", "number"),), "regression", "price")
    settings = config.Monitoring(window=1e9, slices=["rooms"])
    figures, findings = performance.measured(known, of, {"rmse": "<= 0.6"}, settings, schema)
    assert set(figures["performance"]) == {"mae", "rmse", "r2", "mape"}
    assert "rmse" in figures["groups"][0]
    assert {one.test for one in findings if one.check(1e-6).severity == "error"} == {
        "goal <= 0.6", "worse than at training"
    }  # fmt: skip
    assert all(one.check(1e-6).outcome == "failed" for one in findings)
    assert findings[-1].effect == pytest.approx(figures["performance"]["rmse"]["value"] / 0.5 - 1)


# --- what intervals of forecasts hold -------------------------------------------------------------

AHEAD = 12
SHOPS = Schema(
    (Column("shop", "series"), Column("month", "moment", "int"), Column("sold", "past")), "forecast", "sold",
    rhythm=Rhythm("month", "1i", 0.0, AHEAD, ("shop",)),
)  # fmt: skip


def forecasts(shops: int, seed: int = 0, lost: int = 0, alike: float = 0.5) -> Labelled:
    """A year of each shop from one origin, with intervals that hold 90 %, and none of the last `lost` steps.

    Errors of a shop are alike: a share of their variance is one number throughout.
    """
    random = np.random.default_rng(seed)
    error = np.sqrt(alike) * random.normal(size=(shops, 1)) + np.sqrt(1 - alike) * random.normal(size=(shops, AHEAD))
    error[:, AHEAD - lost :] += 9.0 if lost else 0.0
    step = np.tile(np.arange(1.0, AHEAD + 1), shops)
    values = np.zeros(len(step))
    output = Output(values, low=values - 1.645, high=values + 1.645, ahead=Ahead(values + 1, step))
    inputs = pl.DataFrame({"shop": np.repeat(np.arange(shops), AHEAD).astype(str), "month": step})
    times = np.full(len(step), np.datetime64("2024-05-01T00:00:00", "us"))
    return Labelled(error.ravel(), output, times, np.full(len(step), "1", object), inputs)


def too_low(known: Labelled, held: float | None = 0.91) -> Finding:
    interval = {"value": held, "low": 0.86, "high": 0.95}
    before = {"metrics": {} if held is None else {"interval_coverage": interval}, "rows": 180, "confidence": 0.95}
    _, found = performance.measured(known, before, {}, config.Monitoring(window=HOUR, min_rows=10), SHOPS)
    [one] = [one for one in found if one.subject == "interval_coverage"]
    return one


def test_intervals_that_hold_far_too_little_are_an_alarm_though_no_goal_names_them() -> None:
    check = too_low(forecasts(15, lost=5)).check(1e-4, 50)
    assert (check.name, check.outcome, check.severity) == ("interval_coverage: too low", "failed", "error")
    assert "promised 90.0%" in check.detail
    assert too_low(forecasts(15, lost=5), None).check(1e-4).outcome == "failed"  # an older bundle measured none


def test_intervals_that_hold_what_they_did_are_none() -> None:
    for shops in (1, 6, 15):
        assert not [seed for seed in range(40) if too_low(forecasts(shops, seed)).check(0.01).outcome == "failed"]
    assert too_low(forecasts(15, lost=5), held=0.55).check(1.0).outcome == "passed"  # the gate let them pass


def test_one_forecast_that_is_missed_as_a_whole_proves_nothing() -> None:
    one = too_low(forecasts(1, lost=AHEAD))
    assert one.value == 0
    assert one.p == pytest.approx(0.2)
