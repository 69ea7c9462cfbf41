"""Metrics that are means over the rows: what each row adds, (n,), before anybody weighs or averages it.

>>> import numpy as np
>>> from keepfit.models.fitted import Output
>>> from keepfit.models.metrics import answers
>>> given = answers(np.array([1.0, 2.0]), Output(np.array([1.5, 1.0])), ())
>>> MEANS["mae"](given).tolist(), bias(given).tolist()
([0.5, 1.0], [0.5, -1.0])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from keepfit.models.calibrate import TINY
from keepfit.models.fitted import Floats

if TYPE_CHECKING:
    from keepfit.models.metrics import Answers


def hits(given: Answers) -> Floats:
    """1 where the label is the true one."""
    return np.asarray(given.truth == given.picked, np.float64)


def log_loss(given: Answers) -> Floats:
    """Infinite nowhere: a probability counts as `TINY` at least. That of a class the model does not know is 0."""
    p = given.probabilities
    assert p is not None
    mine = np.where(given.truth >= 0, p[np.arange(len(p)), given.truth], 0.0)
    return np.asarray(-np.log(np.clip(mine / p.sum(axis=1), TINY, 1)))


def brier(given: Answers) -> Floats:
    """Of the second of two classes, else the sum over the classes."""
    assert given.probabilities is not None
    each = (given.probabilities - given.hits) ** 2
    return np.asarray(each[:, 1] if given.count == 2 else each.sum(axis=1))


def absolute(given: Answers) -> Floats:
    """|y - f|."""
    return np.asarray(np.abs(given.truth - given.picked))


def squared(given: Answers) -> Floats:
    """(y - f)²."""
    return np.asarray((given.truth - given.picked) ** 2)


def relative(given: Answers) -> Floats:
    """|y - f| / |y|; finite where y is 0."""
    size = np.maximum(np.abs(given.truth), np.finfo(np.float64).eps)
    return np.asarray(np.minimum(absolute(given) / size, 1e30))


def smape(given: Answers) -> Floats:
    """In percent, as the M competitions write it: 200 |y - f| / (|y| + |f|)."""
    size = np.maximum(np.abs(given.truth) + np.abs(given.picked), TINY)
    return np.asarray(200 * absolute(given) / size)


def bias(given: Answers) -> Floats:
    """Above 0 where the forecast was too high."""
    return np.asarray(given.picked - given.truth)


def covered(given: Answers) -> Floats:
    """1 where the value is within the interval."""
    assert given.low is not None
    return np.asarray((given.low <= given.truth) & (given.truth <= given.high), np.float64)


def width(given: Answers) -> Floats:
    """Of the interval."""
    assert given.low is not None
    assert given.high is not None
    return np.asarray(given.high - given.low)


def pinball(given: Answers) -> Floats:
    """The mean quantile loss of the interval's low end, the forecast as the median, and the high end.

    Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.
    """
    assert given.low is not None
    assert given.high is not None
    assert given.ahead is not None
    tail = (1 - given.ahead.coverage) / 2
    levels = ((given.low, tail), (given.picked, 0.5), (given.high, 1 - tail))
    gaps = [(given.truth - said, level) for said, level in levels]
    return np.asarray(np.mean([np.maximum(level * gap, (level - 1) * gap) for gap, level in gaps], axis=0))


# name of the metric in METRICS → its function of the rows
MEANS: dict[str, Callable[[Answers], Floats]] = {
    "accuracy": hits,
    "log_loss": log_loss,
    "brier": brier,
    "mae": absolute,
    "mape": relative,
    "interval_coverage": covered,
    "mase": absolute,
    "smape": smape,
    "pinball": pinball,
    "bias": bias,
    "interval_width": width,
}
