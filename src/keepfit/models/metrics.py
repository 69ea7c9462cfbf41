"""Metrics: each with its direction and what it needs, for one or many weightings of the rows.

A metric is a function of prepared answers and a weight matrix (resamples, rows) and gives one value
per resample. Weights of one give the metric itself; how often each row was drawn gives a bootstrap
resample. So one code path serves a single score and a thousand, and a paired comparison is the
same seed twice.

Definitions are scikit-learn's. With two classes, precision, recall, F1, ROC AUC, PR AUC and Brier
are those of `classes[1]`; with more they are averaged over the classes ("macro", one against rest),
and Brier is the sum over the classes. A class that no row has (in a resample) is left out of averages.

>>> from keepfit.models.fitted import Output
>>> truth = np.array(["no", "yes", "yes", "no"], dtype=object)
>>> output = Output(np.array(["no", "yes", "no", "no"], dtype=object))
>>> point(truth, output, ("no", "yes"), ["accuracy", "recall"])
{'accuracy': 0.75, 'recall': 0.5}
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import ConfigError
from keepfit.extras import nearest
from keepfit.models import bootstrap, row_metrics
from keepfit.models.calibrate import TINY
from keepfit.models.fitted import Ahead, Output

Floats = NDArray[np.floating[Any]]
T = TypeVar("T")
TIED = 8  # rows a probability from which on rows of the same probability are added up first


@dataclass(frozen=True)
class Answers:
    """Truth and output of n rows, ready for metrics.

    `truth`: codes into the classes (-1: a class the model does not know) or values. `picked`: codes
    of the predicted labels, or predicted values. Those of a forecast are divided by the scales of `ahead`.
    """

    truth: NDArray[Any]
    picked: NDArray[Any]
    count: int  # classes; 0 for numbers
    probabilities: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    ahead: Ahead | None = None

    @cached_property
    def hits(self) -> Floats:
        """(n, classes) float32: 1 where the class is the true one."""
        return _one_hot(self.truth, self.count)

    @cached_property
    def chosen(self) -> Floats:
        """(n, classes) float32: 1 where the class is the predicted one."""
        return _one_hot(self.picked, self.count)

    @cached_property
    def ranked(self) -> list[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """Of each class that is scored: its number, rows by falling probability, starts of equal ones."""
        assert self.probabilities is not None
        orders = []
        for k in [1] if self.count == 2 else range(self.count):
            order = np.argsort(-self.probabilities[:, k], kind="stable")
            falling = self.probabilities[order, k]
            orders.append((k, order, np.flatnonzero(np.append(True, falling[1:] != falling[:-1]))))
        return orders


Function = Callable[[Answers, Floats], Floats]


# what a metric needs → the tasks that have it
NEEDS: dict[str, tuple[str, ...]] = {
    "labels": ("classification",),
    "probabilities": ("classification",),
    "values": ("regression",),
    "interval": ("regression", "forecast"),
    "scaled": ("forecast",),
    "scaled interval": ("forecast",),
}


@dataclass(frozen=True)
class Metric:
    """`needs`: a key of NEEDS. `sign`: +1 if higher is better, else -1."""

    function: Function
    sign: Literal[1, -1]
    needs: str
    thresholded: bool = False  # does a decision threshold move it
    ranks: bool = True  # does it tell which of two models is better

    @property
    def tasks(self) -> tuple[str, ...]:
        return NEEDS[self.needs]


def answers(y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> Answers:
    """Answers of true labels or values `y` (n,) and an Output of the same rows."""
    if classes:
        return Answers(codes(y, classes), codes(output.values, classes), len(classes), output.probabilities)
    scale = output.ahead.scale if output.ahead else None
    truth, picked = _scaled(y, scale), _scaled(output.values, scale)
    low, high = (None if end is None else _scaled(end, scale) for end in (output.low, output.high))
    return Answers(truth, picked, 0, None, low, high, output.ahead)


def _scaled(values: Any, scale: Floats | None) -> Floats:
    numbers = np.asarray(values, np.float64)
    return numbers if scale is None else numbers / scale


def codes(labels: NDArray[Any], classes: tuple[str, ...]) -> NDArray[np.intp]:
    """Indices of labels in `classes`; -1 for one that is not there."""
    known = {name: k for k, name in enumerate(classes)}
    return np.fromiter(map(known.get, labels.tolist(), itertools.repeat(-1)), np.intp, len(labels))


def _one_hot(codes: NDArray[np.intp], count: int) -> Floats:
    return np.asarray(codes[:, None] == np.arange(count), np.float32)


def _mean(values: Floats, weights: Floats) -> Floats:
    """Weighted mean of values (n,) for each weighting."""
    # float32 for a thousand resamples; the weights are added up in the same product, because with a single
    # column the threads of a BLAS wait for each other longer than they work
    both = weights @ np.column_stack([values, np.ones(len(values))]).astype(weights.dtype)
    return np.asarray(both[:, 0].astype(np.float64) / both[:, 1])


def _share(part: Floats, whole: Floats, empty: float) -> Floats:
    shape = np.broadcast_shapes(part.shape, whole.shape)
    found: Floats = np.divide(part, whole, out=np.full(shape, empty), where=whole > 0)
    return found


def precision_of(hit: Floats, picked: Floats, true: Floats) -> Floats:
    """Of counts: rows of the class that were picked, rows picked, rows of the class."""
    return _share(hit, picked, 0.0)


def recall_of(hit: Floats, picked: Floats, true: Floats) -> Floats:
    """See `precision_of`."""
    return _share(hit, true, 0.0)


def f1_of(hit: Floats, picked: Floats, true: Floats) -> Floats:
    """See `precision_of`."""
    return _share(2 * hit, picked + true, 0.0)


def _of_counts(rate: Callable[[Floats, Floats, Floats], Floats]) -> Function:
    """The metric of a rate per class: that of the second of two classes, else the mean over classes."""

    def metric(given: Answers, weights: Floats) -> Floats:
        hit = np.asarray(weights @ (given.hits * given.chosen), np.float64)
        picked = np.asarray(weights @ given.chosen, np.float64)
        true = np.asarray(weights @ given.hits, np.float64)
        each = rate(hit, picked, true)
        return each[:, 1] if given.count == 2 else _mean_present(each, picked + true)

    return metric


def _mean_present(each: Floats, rows: Floats) -> Floats:
    """Mean over the classes (columns) that have any rows."""
    return _share(np.where(rows > 0, each, 0.0).sum(axis=1), (rows > 0).sum(axis=1).astype(np.float64), np.nan)


def _balanced_accuracy(given: Answers, weights: Floats) -> Floats:
    true = np.asarray(weights @ given.hits, np.float64)
    hit = np.asarray(weights @ (given.hits * given.chosen), np.float64)
    return _mean_present(recall_of(hit, hit, true), true)


def _curves(given: Answers, weights: Floats) -> Iterator[tuple[Floats, Floats, NDArray[np.intp]]]:
    """Of each scored class, by falling probability: weights of the positives, of all rows, and of
    each row the last row with the same probability.

    Where probabilities are few, rows of the same one are one row: the areas are the same.
    """
    for k, order, starts in given.ranked:
        ordered = np.take(weights, order, axis=1)
        positive = ordered * given.hits[order, k]
        ends = np.append(starts[1:], len(order)) - 1
        if TIED * len(starts) <= len(order):
            added = [np.add.reduceat(each, starts, axis=1) for each in (positive, ordered)]
            yield added[0], added[1], np.arange(len(starts))
        else:
            yield positive, ordered, np.repeat(ends, np.diff(np.append(starts, len(order))))


def _roc_auc(given: Answers, weights: Floats) -> Floats:
    """The share of (positive, negative) pairs in the right order, equal probabilities counting half."""
    areas = []
    for positive, rows, last in _curves(given, weights):
        found = np.cumsum(positive, axis=1, dtype=weights.dtype)  # below 2^24 float32 counts are exact
        above = np.take(found, last, axis=1)
        total = found[:, -1].astype(np.float64)
        negative = rows - positive
        # a row's pairs: positives above it, and half of those that are equal
        first = np.searchsorted(last, last) - 1
        above += np.where(first >= 0, np.take(found, first, axis=1), 0)
        pairs = np.einsum("ij,ij->i", above, negative, dtype=np.float64) / 2
        areas.append(_share(pairs, total * negative.sum(axis=1, dtype=np.float64), np.nan))
    return _mean_known(areas)


def _pr_auc(given: Answers, weights: Floats) -> Floats:
    """Average precision: precision at each row, weighted by the recall that it adds."""
    areas = []
    for positive, rows, last in _curves(given, weights):
        found = np.cumsum(positive, axis=1, dtype=weights.dtype)
        seen = np.take(np.cumsum(rows, axis=1, dtype=weights.dtype), last, axis=1)
        precision = np.divide(np.take(found, last, axis=1), seen, out=np.zeros_like(seen), where=seen > 0)
        total = np.einsum("ij,ij->i", precision, positive, dtype=np.float64)
        areas.append(_share(total, found[:, -1].astype(np.float64), np.nan))
    return _mean_known(areas)


def _mean_known(each: list[Floats]) -> Floats:
    known = np.isfinite(np.array(each))
    return _share(np.where(known, each, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64), np.nan)


def _rmse(given: Answers, weights: Floats) -> Floats:
    return np.sqrt(_mean(row_metrics.squared(given), weights))


def _r2(given: Answers, weights: Floats) -> Floats:
    # centred first: the difference of two large means would lose all digits in float32
    centred = given.truth - given.truth.mean()
    spread = _mean(centred**2, weights) - _mean(centred, weights) ** 2
    lost = _mean(row_metrics.squared(given), weights)
    return 1 - _share(lost, np.where(spread > 1e-12 * max(float((centred**2).mean()), TINY), spread, 0.0), np.nan)


def _of_rows(name: str) -> Function:
    """The metric that is the mean of what each row adds."""
    each = row_metrics.MEANS[name]
    return lambda given, weights: _mean(each(given), weights)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(_of_rows("accuracy"), 1, "labels", thresholded=True),
    "balanced_accuracy": Metric(_balanced_accuracy, 1, "labels", thresholded=True),
    "precision": Metric(_of_counts(precision_of), 1, "labels", thresholded=True),
    "recall": Metric(_of_counts(recall_of), 1, "labels", thresholded=True),
    "f1": Metric(_of_counts(f1_of), 1, "labels", thresholded=True),
    "roc_auc": Metric(_roc_auc, 1, "probabilities"),
    "pr_auc": Metric(_pr_auc, 1, "probabilities"),
    "log_loss": Metric(_of_rows("log_loss"), -1, "probabilities"),
    "brier": Metric(_of_rows("brier"), -1, "probabilities"),
    "mae": Metric(_of_rows("mae"), -1, "values"),
    "rmse": Metric(_rmse, -1, "values"),
    "r2": Metric(_r2, 1, "values"),
    "mape": Metric(_of_rows("mape"), -1, "values"),
    "mase": Metric(_of_rows("mase"), -1, "scaled"),
    "rmsse": Metric(_rmse, -1, "scaled"),
    "smape": Metric(_of_rows("smape"), -1, "scaled"),
    "pinball": Metric(_of_rows("pinball"), -1, "scaled interval"),
    "bias": Metric(_of_rows("bias"), -1, "scaled", ranks=False),
    "interval_coverage": Metric(_of_rows("interval_coverage"), 1, "interval", ranks=False),
    "interval_width": Metric(_of_rows("interval_width"), -1, "scaled interval", ranks=False),
}
ALIASES = {
    "auc": "roc_auc",
    "average_precision": "pr_auc",
    "logloss": "log_loss",
    "cross_entropy": "log_loss",
    "brier_score": "brier",
    "f1_score": "f1",
    "f1_macro": "f1",
    "mean_absolute_error": "mae",
    "root_mean_squared_error": "rmse",
    "mean_absolute_percentage_error": "mape",
    "r2_score": "r2",
    "coverage": "interval_coverage",
    "width": "interval_width",
}


def named(name: str, task: str, key: str) -> str:
    """The metric's name in METRICS; `key` is the config key that asked, for the error.

    >>> named("auc", "classification", "tuning.metric")
    'roc_auc'
    >>> named("rmsle", "regression", "tuning.metric")
    Traceback (most recent call last):
        ...
    keepfit.errors.ConfigError: tuning.metric: no metric 'rmsle' for regression. Did you mean 'rmse'? \
Known: mae, mape, r2, rmse
    """
    found = ALIASES.get(name, name)
    known = sorted(other for other, metric in METRICS.items() if metric.ranks and task in metric.tasks)
    if found in known:
        return found
    near = nearest(name, known)
    raise ConfigError(f"{key}: no metric '{name}' for {task}. {near}Known: {', '.join(known)}")


def ranked(found: Mapping[str, T], first: Sequence[str] = ()) -> dict[str, T]:
    """Metrics by name, the one that decides first: those that were asked for, then the order of METRICS, then the rest.

    >>> [*ranked({"bias": 0.1, "mase": 0.6, "mase_low": 0.5, "rmsse": 0.8}, ["auto", "rmsse"])]
    ['rmsse', 'mase', 'bias', 'mase_low']
    """
    order = [*(ALIASES.get(name, name) for name in first), *METRICS]
    place = {name: at for at, name in reversed([*enumerate(order)])}
    return {name: found[name] for name in sorted(found, key=lambda name: place.get(name, len(order)))}


def available(given: Answers) -> list[str]:
    """Names of the metrics that these answers allow."""
    have = {"labels"} if given.count else {"scaled"} if given.ahead else {"values"}
    have |= {"probabilities"} if given.probabilities is not None else set()
    have |= {"interval"} | {f"{name} interval" for name in have} if given.low is not None else set()
    return [name for name, metric in METRICS.items() if metric.needs in have]


def point(
    y: NDArray[Any], output: Output, classes: tuple[str, ...], names: Iterable[str] | None = None
) -> dict[str, float]:
    """Each metric of all rows; NaN where it is not defined (ROC AUC of one class)."""
    given = answers(y, output, classes)
    ones = np.ones((1, len(given.truth)), np.float64)
    return {name: float(METRICS[name].function(given, ones)[0]) for name in names or available(given)}


def samples(
    y: NDArray[Any],
    output: Output,
    classes: tuple[str, ...],
    names: Iterable[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    together: NDArray[np.intp] | None = None,
) -> dict[str, Floats]:
    """Each metric on `resamples` bootstrap resamples of the rows, (resamples,).

    The same seed and number of rows draw the same rows, so for two models on the same rows the
    difference of their samples is that of a paired bootstrap. With more than 50,000 rows each
    resample has 50,000 and its deviation from the metric is shrunk by the square root of the
    share (m out of n bootstrap, Bickel, Götze and van Zwet 1997). Rows with the same number in
    `together` (n,) are drawn together: what depends on each other is no new evidence.
    """
    return samples_of(y, [output], classes, names, resamples, seed, together)[0]


def samples_of(
    y: NDArray[Any],
    outputs: Sequence[Output],
    classes: tuple[str, ...],
    names: Iterable[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    together: NDArray[np.intp] | None = None,
) -> list[dict[str, Floats]]:
    """`samples` of several models on the same rows, which are drawn once."""
    given = [answers(y, output, classes) for output in outputs]
    wanted = [list(names or available(each)) for each in given]
    asked = [(each, name) for each, some in zip(given, wanted, strict=True) for name in some]
    functions = [partial(METRICS[name].function, each) for each, name in asked]
    drawn = iter(bootstrap.resample(functions, len(y), resamples, seed, together))
    return [{name: next(drawn) for name in some} for some in wanted]


def better(name: str, value: float, other: float) -> bool:
    """Is `value` better than `other`?

    >>> better("rmse", 1.0, 2.0), better("accuracy", 0.8, 0.9)
    (True, False)
    """
    return METRICS[name].sign * (value - other) > 0
