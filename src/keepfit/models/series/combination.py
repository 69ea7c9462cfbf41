"""How forecasts of several models are combined: series by series, by how far each was off out of fold.

What is best for one series is not for another, and a few origins tell little of a single one. So the errors
of a series, each relative to the mean of the models', are drawn towards those of all series, the more the
fewer there are, and a model's share falls with the fifth power of what comes of it. Measured on M3 monthly and
M4 hourly: better than the best model of each series, than equal shares, and than the best shares for all
series; powers of 3 to 6 are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit import features
from keepfit.models.fitted import Floats, Member
from keepfit.models.series import memory

ROWS = ("series", "moment", "past")  # roles of the columns that say where a row stands
POWER = 5.0  # of a relative error that a share falls with
DRAWN = 72  # residuals of a series that count as much as what all series say
SMALL = 0.02  # models with a smaller mean share are left out
TINY = 1e-9
Finish = Callable[[list[Member]], list[Member]]


def numbers(job: Any) -> NDArray[np.int64]:
    """(n,) the series of each training row, numbered as for the models that are fitted to all of them."""
    if "series" not in job.cache:
        bare = replace(job.schema, columns=tuple(c for c in job.schema.columns if c.role in ROWS))
        job.cache["series"] = np.asarray(features.fit_apply(job.columns, bare, None)[1])[:, 0].astype(np.int64)
    found: NDArray[np.int64] = job.cache["series"]
    return found


def shares(series: NDArray[np.int64], errors: Floats, count: int) -> Floats:
    """The shares (count, models) of models by series, adding up to 1.

    `errors` (n, models) are sizes, in scales, of rows of the series `series` (n,). A series without any has the
    shares that all have together.

    >>> shares(np.array([0] * 360 + [1] * 360), np.repeat([[1.0, 2.0], [2.0, 1.0]], 360, axis=0), 3).round(2).tolist()
    [[0.95, 0.05], [0.05, 0.95], [0.5, 0.5]]
    """
    rows = np.bincount(series, minlength=count)
    sums = np.stack([np.bincount(series, each, count) for each in errors.T], axis=1)
    mean = np.log(sums / np.maximum(rows, 1)[:, None] + TINY)
    apart = mean - mean.mean(axis=1, keepdims=True)
    known = rows > 0
    all_of_them = apart[known].mean(axis=0)
    trust = (rows / (rows + DRAWN))[:, None]
    logs = -POWER * (trust * np.where(known[:, None], apart, 0.0) + (1 - trust) * all_of_them)
    raised = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def weigh(job: Any, results: Sequence[Any], rows: NDArray[Any], gain: float = 0.0) -> list[float]:
    """The mean share of each model on some rows; 0 for those that are left out. `gain` asks nothing here."""
    series, errors = numbers(job)[rows], _errors(job, results, rows)
    count = int(series.max()) + 1
    kept = np.arange(len(results))
    while True:
        mean = shares(series, errors[:, kept], count)[np.unique(series)].mean(axis=0)
        if mean.min() >= SMALL:
            break
        kept = np.delete(kept, int(mean.argmin()))
    weights = np.zeros(len(results))
    weights[kept] = mean
    return weights.tolist()


def _errors(job: Any, results: Sequence[Any], rows: NDArray[Any]) -> Floats:
    """(n, models) |truth - forecast| in scales."""
    each = [np.abs(job.y[rows] - one.scores[rows, 0]) / one.scores[rows, 1] for one in results]
    return np.stack(each, axis=1)


def blend(job: Any, kept: Sequence[tuple[Any, float]], rows: NDArray[np.bool_]) -> tuple[Floats, Finish]:
    """Out-of-fold scores (n, 3) of the combination, each fold's with the shares that the others tell; and what
    hands the shares to the fitted models. Of a fold that is alone, one half of the steps tells for the other."""
    results = [found for found, _ in kept]
    at = np.flatnonzero(rows)
    series, errors = numbers(job)[at], _errors(job, results, at)
    count = int(numbers(job).max()) + 1
    values = np.stack([one.scores[at, 0] for one in results], axis=1)
    scores = results[0].scores[at].copy()
    for mine in _apart(job, at, scores[:, 2]):
        other = mine if mine.all() else ~mine
        told = shares(series[other], errors[other], count)
        scores[mine, 0] = (values[mine] * told[series[mine]]).sum(axis=1)
    by_series = shares(series, errors, count)
    factors: Any = by_series / np.array([weight for _, weight in kept])
    return scores, lambda parts: [_handed(part, factor) for part, factor in zip(parts, factors.T, strict=True)]


def _apart(job: Any, rows: NDArray[np.intp], step: Floats) -> list[NDArray[np.bool_]]:
    """Which of the rows are scored together (n,), with what all others tell: those of a fold, or of half the steps."""
    parts = [np.isin(rows, held) for _, held in job.folds]
    found = [part for part in parts if part.any()]
    if len(found) > 1:
        return found
    late = step > np.median(step)
    return [late, ~late] if late.any() else [np.ones(len(rows), bool)]


def _handed(part: Member, factor: NDArray[np.float64]) -> Member:
    """The member with what its forecasts of each series count, relative to its weight."""
    part.estimator.memory = memory.counted(part.estimator.memory, factor)
    return part
