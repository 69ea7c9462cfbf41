"""combination.py: shares by series, honest scores of them, and members that together say what they say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keepfit import features
from keepfit.data.conform import asking
from keepfit.features.frame import from_frame
from keepfit.models import fitted
from keepfit.models.fitted import Member
from keepfit.models.series import combination
from keepfit.models.series.estimator import Forecaster
from tests.models.series.rows import SCHEMA, SEASON, frame, values

MONTHS = 60


def job(error: np.ndarray, folds: int = 2, held: int = 12) -> tuple[Any, list[Any]]:
    """A job on three shops, and candidates that are off by `error` (models, shops) scales in what folds held out."""
    told = values(3, MONTHS)
    rows = frame(told).with_columns(month=frame(told)["month"].dt.epoch("s").cast(float))
    at, shop = np.tile(np.arange(MONTHS), 3), np.repeat(np.arange(3), MONTHS)
    back = (MONTHS - 1 - at) // held  # of the fold that holds a row out
    cuts = [(np.flatnonzero(back > k), np.flatnonzero(back == k)) for k in range(folds)]
    random, y = np.random.default_rng(0), rows["sold"].to_numpy()
    columns = from_frame(asking(rows, SCHEMA), SCHEMA)
    made = SimpleNamespace(columns=columns, schema=SCHEMA, y=y, folds=cuts, cache={})
    scale, known = 10.0**shop, at >= MONTHS - held * folds
    results = []
    for each in error:
        off = random.normal(size=len(y)) * each[shop] * scale
        scores = np.column_stack([y + off, scale, np.ones(len(y))])
        scores[~known] = np.nan
        results.append(SimpleNamespace(scores=scores))
    return made, results


def test_each_series_leans_on_the_model_that_was_best_for_it() -> None:
    errors = np.array([[0.5, 2.0, 1.0], [2.0, 0.5, 1.0]])
    made, results = job(errors)
    rows = np.isfinite(results[0].scores[:, 0])
    series = combination.numbers(made)[rows]
    told = combination.shares(series, combination._errors(made, results, rows), 3)
    assert told.sum(axis=1) == pytest.approx(1)
    assert told[0, 0] > 0.7
    assert told[1, 1] > 0.7
    assert 0.3 < told[2, 0] < 0.7


def test_few_residuals_of_a_series_say_less_than_all_series_together() -> None:
    series = np.array([0] * 200 + [1] * 2)
    errors = np.array([[1.0, 3.0]] * 200 + [[3.0, 1.0]] * 2)
    told = combination.shares(series, errors, 2)
    assert told[0, 0] > 0.9
    assert told[1, 0] > 0.3  # and not 0.01, as its two rows alone would say


def test_a_model_that_is_of_no_use_is_left_out() -> None:
    made, results = job(np.array([[1.0] * 3, [1.1] * 3, [30.0] * 3]))
    rows = np.flatnonzero(np.isfinite(results[0].scores[:, 0]))
    weights = combination.weigh(made, results, rows)
    assert weights[2] == 0
    assert sum(weights) == pytest.approx(1)
    assert combination.weigh(made, results[:1], rows) == [1.0]


def test_the_scores_of_a_fold_do_not_know_its_own_errors() -> None:
    made, results = job(np.array([[1.0] * 3, [1.0] * 3]))
    late = made.folds[0][1]
    results[0].scores[late, 0] = made.y[late]  # perfect in one fold alone
    rows = np.isfinite(results[0].scores[:, 0])
    scores, _ = combination.blend(made, [(results[0], 0.5), (results[1], 0.5)], rows)
    inside = np.isin(np.flatnonzero(rows), late)
    off = np.abs(scores[inside, 0] - made.y[late]) / scores[inside, 1]
    assert off.mean() > 0.2  # with its own errors the perfect model would have it all
    assert np.array_equal(scores[:, 1:], results[0].scores[rows, 1:])


def test_members_together_say_the_mean_by_the_shares_of_each_series() -> None:
    made, results = job(np.array([[0.5, 2.0, 1.0], [2.0, 0.5, 1.0]]))
    rows = np.isfinite(results[0].scores[:, 0])
    weights = combination.weigh(made, results, np.flatnonzero(rows))
    state, matrix = features.fit_apply(made.columns, SCHEMA, None)
    names = ("seasonal_naive", "theta")
    models = [Forecaster(name, (SEASON,), horizon=6).fit(np.asarray(matrix), made.y) for name in names]
    asked = np.array([[number, MONTHS + step, np.nan] for number in range(3) for step in (0, 7)])
    alone = [model.predict(asked)[:, 0] for model in models]
    _, finish = combination.blend(made, list(zip(results, weights, strict=True)), rows)
    parts = finish([Member(name, w, state, m) for name, w, m in zip(names, weights, models, strict=True)])
    said = fitted.combine(weights, [part.estimator.predict(asked) for part in parts])[:, 0]
    series = combination.numbers(made)[rows]
    told = combination.shares(series, combination._errors(made, results, rows), 3)[asked[:, 0].astype(int)]
    assert said == pytest.approx((np.column_stack(alone) * told).sum(axis=1))
    seen = np.array([[1, MONTHS - 1, np.nan], [1, MONTHS, 77.0]])
    back = fitted.combine(weights, [part.estimator.predict(seen) for part in parts])[:, 0]
    assert back.tolist() == pytest.approx([made.y[2 * MONTHS - 1], 77.0])


def test_a_fold_that_is_alone_is_scored_by_halves() -> None:
    made, results = job(np.array([[1.0] * 3, [1.0] * 3]), folds=1)
    late = made.folds[0][1]
    step = np.tile(np.arange(1.0, 13), 3)
    for one in results:
        one.scores[late, 2] = step
    first = late[step <= 6]
    results[0].scores[first, 0] = made.y[first]  # perfect in the first half alone
    rows = np.isfinite(results[0].scores[:, 0])
    scores, _ = combination.blend(made, [(results[0], 0.5), (results[1], 0.5)], rows)
    off = np.abs(scores[:, 0] - made.y[rows]) / scores[:, 1]
    assert off[step <= 6].mean() > 0.2
    assert np.isfinite(off).all()
    for one in results:
        one.scores[late, 2] = 1.0
    assert np.isfinite(combination.blend(made, [(results[0], 0.5), (results[1], 0.5)], rows)[0]).all()
