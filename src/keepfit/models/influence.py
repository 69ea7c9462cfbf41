"""How much each row moves a metric: standard errors without resampling.

The influence of row i on a metric is the metric's derivative by that row's weight, times the number of
rows n. Influences add up to zero, and the metric minus its true value is close to the mean of n
independent values of this kind, so its standard error is their root mean square over the root of n: the
infinitesimal jackknife (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 21.3). For
a mean this is the usual standard error, for ROC AUC that of DeLong, DeLong and Clarke-Pearson (1988).
It costs one sort at most, where a bootstrap costs a thousand, and tells how skewed the metric's
distribution is, which the resamples of a bootstrap tell only roughly.

>>> from keepfit.models import metrics
>>> from keepfit.models.fitted import Output
>>> truth = np.array(["no", "yes", "yes", "no"], dtype=object)
>>> given = metrics.answers(truth, Output(np.array(["no", "yes", "no", "no"], dtype=object)), ("no", "yes"))
>>> value, influence = of("accuracy", given)
>>> value, influence.tolist()
(0.75, [0.25, 0.25, -0.75, 0.25])
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from keepfit.models.calibrate import TINY
from keepfit.models.fitted import Floats
from keepfit.models.metrics import Answers
from keepfit.models.row_metrics import MEANS, hits, squared

Found = tuple[float, Floats]
NOTHING = float("nan")


def of(name: str, given: Answers) -> Found:
    """The metric `name` of METRICS, and the influence of each row on it (n,); both NaN where it is not defined."""
    return FUNCTIONS[name](given)


def losses(name: str, given: Answers) -> Floats:
    """What each row adds to a metric that is a mean over rows, (n,). Raises KeyError for any other metric."""
    return MEANS[name](given)


def _mean(each: Callable[[Answers], Floats]) -> Callable[[Answers], Found]:
    def metric(given: Answers) -> Found:
        values = each(given)
        return _ratio(values, np.ones(len(values)))

    return metric


def _ratio(part: Floats, whole: Floats) -> Found:
    """Sum of `part` over sum of `whole`, each (n,). NaN where the latter is 0."""
    total = float(whole.sum())
    if not total:
        return NOTHING, np.full(len(part), NOTHING)
    value = float(part.sum()) / total
    return value, (part - value * whole) * (len(part) / total)


def _rmse(given: Answers) -> Found:
    squares, influence = _ratio(squared(given), np.ones(len(given.truth)))
    root = float(np.sqrt(squares))
    return root, influence / (2 * root) if root else influence


def _r2(given: Answers) -> Found:
    centred = given.truth - given.truth.mean()
    left, one = _ratio(squared(given), np.ones(len(centred)))
    spread, other = _ratio(centred**2, np.ones(len(centred)))
    if spread <= 1e-12 * TINY:
        return NOTHING, np.full(len(centred), NOTHING)
    return 1 - left / spread, (left / spread * other - one) / spread


def _average(parts: list[Found], rows: int) -> Found:
    """The mean of those that are defined."""
    known = [part for part in parts if np.isfinite(part[0])]
    if not known:
        return NOTHING, np.full(rows, NOTHING)
    return float(np.mean([value for value, _ in known])), np.asarray(np.mean([each for _, each in known], axis=0))


def _by_class(part: str) -> Callable[[Answers], Found]:
    """Precision, recall or F1: of the second of two classes, else the mean over the classes that any row has."""

    def metric(given: Answers) -> Found:
        classes = [1] if given.count == 2 else [*range(given.count)]
        found = [_rate(part, given.truth == k, given.picked == k) for k in classes]
        return _average(found, len(given.truth))

    return metric


def _rate(part: str, true: NDArray[np.bool_], picked: NDArray[np.bool_]) -> Found:
    there = np.asarray(true, np.float64), np.asarray(picked, np.float64)
    whole = {"precision": there[1], "recall": there[0], "f1": there[0] + there[1]}[part]
    hit = there[0] * there[1] * (2 if part == "f1" else 1)
    if whole.any():
        return _ratio(hit, whole)
    one_class = there[0].any() or there[1].any()  # as in models.metrics: a rate without rows is 0
    return (0.0, np.zeros(len(true))) if one_class else (NOTHING, np.full(len(true), NOTHING))


def _balanced_accuracy(given: Answers) -> Found:
    found = [_ratio(hits(given) * (given.truth == k), np.asarray(given.truth == k, float)) for k in range(given.count)]
    return _average(found, len(given.truth))


def _sorted(given: Answers) -> Iterator[tuple[NDArray[np.intp], Floats, NDArray[np.intp], NDArray[np.intp]]]:
    """Of each scored class: rows by falling probability, which of them are of the class (0 or 1), and of
    each the first row that has the same probability and the one after the last that has."""
    for k, order, starts in given.ranked:
        ends = np.append(starts[1:], len(order))
        group = np.repeat(np.arange(len(starts)), ends - starts)
        yield order, given.hits[order, k].astype(np.float64), starts[group], ends[group]


def _roc_auc(given: Answers) -> Found:
    """A positive row's influence is the share of negatives under it, a negative's that of positives above it."""
    return _average([_area(*ranked) for ranked in _sorted(given)], len(given.truth))


def _area(order: NDArray[np.intp], positive: Floats, first: NDArray[np.intp], after: NDArray[np.intp]) -> Found:
    rows, true = len(order), float(positive.sum())
    influence = np.full(rows, NOTHING)
    if not 0 < true < rows:
        return NOTHING, influence
    above = np.concatenate([[0.0], np.cumsum(positive)])
    share_above = (above[first] + above[after]) / 2 / true  # positives above, equal ones counting half
    under = np.concatenate([[0.0], np.cumsum(1 - positive)])
    share_under = 1 - (under[first] + under[after]) / 2 / (rows - true)
    value = float(positive @ share_under) / true
    mine = np.where(positive > 0, (share_under - value) / true, (share_above - value) / (rows - true))
    influence[order] = rows * mine
    return value, influence


def _pr_auc(given: Answers) -> Found:
    return _average([_average_precision(*ranked) for ranked in _sorted(given)], len(given.truth))


def _average_precision(
    order: NDArray[np.intp], positive: Floats, first: NDArray[np.intp], after: NDArray[np.intp]
) -> Found:
    """The mean of the precision at each positive row. A row moves its own term, and the precision at rows under it."""
    rows, true = len(order), float(positive.sum())
    influence = np.full(rows, NOTHING)
    if not true:
        return NOTHING, influence
    precision = np.cumsum(positive)[after - 1] / after
    value = float(positive @ precision) / true
    one, two = (_from_here(positive * part / after, first) for part in (np.ones(rows), precision))
    influence[order] = rows * (positive * (precision - value + one) - two) / true
    return value, influence


def _from_here(part: Floats, first: NDArray[np.intp]) -> Floats:
    """Of each row the sum of `part` over it and all rows of the same or a lower probability."""
    return np.asarray(np.cumsum(part[::-1])[::-1][first])


FUNCTIONS: dict[str, Callable[[Answers], Found]] = {
    **{name: _mean(each) for name, each in MEANS.items()},
    **{name: _by_class(name) for name in ("precision", "recall", "f1")},
    "balanced_accuracy": _balanced_accuracy,
    "roc_auc": _roc_auc,
    "pr_auc": _pr_auc,
    "rmse": _rmse,
    "rmsse": _rmse,
    "r2": _r2,
}
