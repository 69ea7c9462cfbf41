"""Estimates without labels: they cover on real data that shifted, and say nothing where they cannot know."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from keepfit import config
from keepfit.features.values import Columns
from keepfit.models import metrics
from keepfit.models.fitted import Output
from keepfit.monitoring import estimate, reference, signals
from keepfit.monitoring.counts import Counts
from keepfit.monitoring.findings import Finding
from keepfit.monitoring.labelled import Labelled
from keepfit.monitoring.reference import Reference
from keepfit.types import Column, Schema

CLASSES = ("no", "yes")
LABELS: NDArray[Any] = np.array(CLASSES, object)
SETTINGS = config.Monitoring()


class Rows(NamedTuple):
    columns: dict[str, NDArray[np.float64]]
    output: Output
    y: NDArray[Any]

    def take(self, rows: Any) -> Rows:
        return Rows({name: values[rows] for name, values in self.columns.items()}, self.output[rows], self.y[rows])


def schema(rows: Rows) -> Schema:
    columns = tuple(Column(name, "number") for name in rows.columns)
    if rows.output.probabilities is None:
        return Schema((*columns, Column("y", "target")), "regression", "y")
    return Schema((*columns, Column("y", "target")), "classification", "y", CLASSES)


def known(rows: Rows) -> Reference:
    columns = Columns(rows.columns, len(rows.y))
    return reference.make(columns, columns, schema(rows), rows.output, rows.y)


def counted(rows: Rows, of: Reference) -> Counts:
    said = reference.said(rows.output, schema(rows))
    values = {one.name: rows.columns[one.column] if one.column else said[one.name] for one in of.signals}
    placed = {one.name: signals.place(one, values[one.name]) for one in of.signals}
    cells = {one.name: np.bincount(placed[one.name], minlength=len(one.cells)) for one in of.signals}
    return Counts(len(rows.y), cells, np.empty(0, np.uint64))


def labelled(rows: Rows) -> Labelled:
    times = np.datetime64("2024-05-01", "us") + np.arange(len(rows.y)) * np.timedelta64(1, "s")
    return Labelled(rows.y, rows.output, times, np.full(len(rows.y), "1", object), pl.DataFrame(rows.columns))


def estimated(
    rows: Rows, of: Reference, goals: dict[str, str] | None = None, last: Any = None
) -> tuple[dict[str, dict[str, Any]], list[Finding]]:
    counts = counted(rows, of)
    figures, findings = estimate.estimated(counts, of, goals or {}, SETTINGS, last)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    return figures, findings


def made(count: int, seed: int = 0, older: float = 0.0) -> Rows:
    """Whether it is yes depends on age and luck, less surely at a middle age; the model knows how."""
    random = np.random.default_rng(seed)
    age = random.normal(50 + older, 12, count)
    p = 1 / (1 + np.exp(-(age - 60) / 4))
    y = LABELS[(random.random(count) < p).astype(int)]
    columns = {"age": age, "noise": random.normal(size=count)}
    return Rows(columns, Output(LABELS[(p > 0.5).astype(int)], np.column_stack([1 - p, p])), y)


def truth(rows: Rows, name: str) -> float:
    return metrics.point(rows.y, rows.output, () if rows.output.probabilities is None else CLASSES, [name])[name]


# --- on real data ---


@pytest.fixture(scope="module")
def adult(shared_data: Path) -> Rows:
    """16,281 rows that a model of other rows has answered."""

    def load(name: str) -> pl.DataFrame:
        lines = (shared_data / "adult_income" / name).read_text().splitlines()
        rows = [[part.strip() for part in line.rstrip(".").split(",")] for line in lines if line.count(",") == 14]
        return pl.DataFrame(rows, orient="row")

    def inputs(frame: pl.DataFrame) -> NDArray[np.float64]:
        numbers = frame[:, [0, 4, 10, 11, 12]].cast(pl.Float64).to_numpy() / [10, 2.5, 5000, 500, 10]
        return np.column_stack([numbers, frame[:, [5, 6, 9]].to_dummies().to_numpy()])

    train, test = load("adult.data"), load("adult.test")
    model = LogisticRegression(solver="newton-cholesky").fit(inputs(train[:10_000]), train[:10_000, 14] == ">50K")
    p = model.predict_proba(inputs(test))
    y = LABELS[(test[:, 14] == ">50K").to_numpy().astype(int)]
    columns = {name: test[:, at].cast(pl.Float64).to_numpy() for name, at in (("age", 0), ("education", 4))}
    return Rows(columns, Output(LABELS[(p[:, 1] > 0.5).astype(int)], p), y)


def resampled(rows: Rows, random: np.random.Generator, tilt: NDArray[np.float64]) -> Rows:
    """Rows, each kept by chance according to its inputs alone: what is true of given inputs does not change."""
    chance = np.exp(tilt - np.quantile(tilt, 0.98)) * 0.5
    return rows.take(np.flatnonzero(random.random(len(rows.y)) < chance)[:1000])


SHIFTS = {
    "none": (0, 0),
    "older": (1 / 20, 0),
    "younger": (-1 / 20, 0),
    "schooled": (0, 1 / 5),
    "both": (1 / 25, 1 / 6),
}


@pytest.mark.parametrize("shift", SHIFTS)
def test_intervals_cover_on_adult_income_resampled_by_age_and_education(adult: Rows, shift: str) -> None:
    """100 halves each: at 95 %, 89 or fewer of 100 have a chance of 1 %."""
    random = np.random.default_rng(1)
    by_age, by_school = SHIFTS[shift]
    covered = dict.fromkeys(("accuracy", "log_loss", "brier"), 0)
    moved = []
    for _ in range(100):
        order = random.permutation(len(adult.y))
        half, rest = adult.take(order[:8000]), adult.take(order[8000:])
        tilt = by_age * rest.columns["age"] + by_school * rest.columns["education"]
        live = resampled(rest, random, tilt)
        figures, _ = estimated(live, known(half))
        for name, figure in figures.items():
            assert not figure["void"]
            covered[name] += figure["low"] <= truth(live, name) <= figure["high"]
        moved.append(figures["accuracy"]["value"] - figures["accuracy"]["reference"])
    assert min(covered.values()) >= 90, covered
    assert (abs(np.mean(moved)) > 0.01) == (shift != "none")


def test_flipped_labels_are_seen_when_labels_come_and_no_estimate_is_given_until_they_agree(adult: Rows) -> None:
    random = np.random.default_rng(2)
    order = random.permutation(len(adult.y))
    of, live = known(adult.take(order[:8000])), adult.take(order[8000:10_000])
    meaning = schema(adult)
    flipped = live._replace(y=np.where(random.random(2000) < 0.3, LABELS[(live.y == "no").astype(int)], live.y))
    before = estimate.compared(labelled(live), of, meaning, 50)
    after = estimate.compared(labelled(flipped), of, meaning, 50)
    assert before is not None
    assert after is not None
    assert not before["against"]
    assert after["against"].startswith("labels contradicted it: accuracy was 0.6")
    figures, findings = estimated(flipped, of, {"accuracy": ">= 0.99"}, after)
    assert {figure["value"] for figure in figures.values()} == {None}
    assert {figure["void"] for figure in figures.values()} == {after["against"]}
    assert all(one.check(1.0).outcome == "not checked" for one in findings)
    again, _ = estimated(live, of, last=before)
    assert again["accuracy"]["value"] == pytest.approx(truth(live, "accuracy"), abs=0.03)


# --- what it finds ---


def test_an_estimate_that_falls_is_a_finding() -> None:
    of = known(made(4000, 1))
    live = made(2000, 2, older=8.0)  # more rows of an age at which it is hard to tell
    figures, findings = estimated(live, of, {"accuracy": ">= 0.9", "auc": ">= 0.9"})
    assert set(figures) == {"accuracy", "log_loss", "brier"}
    found = {(one.subject, one.test): one.check(1e-4).outcome for one in findings}
    assert found == {
        ("accuracy", "worse than at training"): "failed",
        ("accuracy", "goal >= 0.9"): "failed",
        ("log_loss", "worse than at training"): "failed",
        ("brier", "worse than at training"): "failed",
    }
    for name, figure in figures.items():
        assert figure["low"] < truth(live, name) < figure["high"]


def test_the_level_is_kept_where_nothing_changed() -> None:
    """4,000 windows against test rows of their own: 1 % is asked for, 60 or more come once in 400 times."""
    random = np.random.default_rng(0)
    wrong = np.linspace(0.5, 0.01, 16)
    chances = []
    for _ in range(4000):
        rows, live = random.multinomial(3000, np.ones(16) / 16), random.multinomial(300, np.ones(16) / 16)
        means = random.binomial(rows, wrong) / rows
        chances.append(estimate._shifted(estimate.Cells(rows, means, means * (1 - means), live)))
    assert 15 < (np.array(chances) <= 0.01).sum() < 60


def test_numbers_are_estimated_by_the_number_that_is_predicted() -> None:
    def prices(count: int, seed: int, more: float = 0.0) -> Rows:
        """Errors grow with the price."""
        random = np.random.default_rng(seed)
        rooms = random.uniform(1 + more, 10, count)
        return Rows({"rooms": rooms}, Output(rooms * 10), rooms * 10 + random.normal(size=count) * rooms)

    of = known(prices(4000, 0))
    live = prices(1000, 1, 4.0)
    figures, findings = estimated(live, of)
    assert set(figures) == {"mae", "rmse"}
    for name, figure in figures.items():
        assert figure["low"] < truth(live, name) < figure["high"]
        assert figure["value"] > 1.15 * figure["reference"]
    assert all(one.check(1e-6).outcome == "failed" for one in findings)
    compared = estimate.compared(labelled(live), of, schema(live), 50)
    assert compared is not None
    assert not compared["against"]


# --- what it cannot tell ---


def void(rows: Rows, of: Reference, last: Any = None) -> str:
    figures, findings = estimated(rows, of, last=last)
    assert all(one.check(1.0).outcome == "not checked" for one in findings) == bool(figures["accuracy"]["void"])
    return str(figures["accuracy"]["void"])


def test_too_few_rows() -> None:
    assert void(made(49), known(made(1000, 1))) == "49 rows; at least 50 are needed"


def test_a_column_in_another_unit() -> None:
    live = made(1000)
    live.columns["age"][:] *= 100
    assert "more rows than in training have a missing or unknown value of age" in void(live, known(made(1000, 1)))


def test_missing_values_matter_in_a_column_that_matters() -> None:
    of = known(made(4000, 1))
    live = made(1000)
    live.columns["noise"][:500] = np.nan
    assert void(live, of) == ""
    live.columns["age"][:200] = np.nan
    assert void(live, of).startswith(("19% more rows", "20% more rows"))


def test_a_column_that_is_another_one() -> None:
    of = known(made(4000, 1))
    live = made(1000)
    live.columns["age"] = np.clip(live.columns["age"], 63.0, 63.5)
    assert void(live, of).startswith("age is spread quite unlike in training: ")


def test_a_confidence_that_test_rows_hardly_had() -> None:
    of = known(made(4000, 1))
    assert of.outcomes is not None
    live = made(1000)
    few = np.where(np.arange(len(of.outcomes.rows)) < 8, of.outcomes.rows // 40, of.outcomes.rows)
    less = dataclasses.replace(of, outcomes=dataclasses.replace(of.outcomes, rows=few))
    assert "have a confidence that fewer than 10 test rows had" in void(live, less)


def test_a_confidence_that_no_test_row_had() -> None:
    live = made(1000)
    assert live.output.probabilities is not None
    live.output.probabilities[:100] = [0.5, 0.5]
    live.output.probabilities[100:200, :] = np.nan
    assert void(live, known(made(500, 1))).endswith("of rows have a confidence that no test row had")


def test_a_reference_without_outcomes() -> None:
    of = dataclasses.replace(known(made(1000)), outcomes=None)
    figures, findings = estimated(made(1000), of)
    assert figures == {}
    assert [one.check(1.0).outcome for one in findings] == ["not checked"]
    assert estimate.compared(labelled(made(1000)), of, schema(made(1)), 50) is None


def test_too_few_labels_compare_nothing() -> None:
    assert estimate.compared(labelled(made(49)), known(made(1000)), schema(made(1)), 50) is None
