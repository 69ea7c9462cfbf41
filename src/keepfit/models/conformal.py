"""Intervals from out-of-fold residuals: split conformal prediction, which asks nothing of the model.

Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Lei, G'Sell, Rinaldo, Tibshirani and
Wasserman, Distribution-free predictive inference for regression, J Am Stat Assoc 113, 2018.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
COVERAGE = 0.9  # of the interval of a regression
ENOUGH = 400  # residuals from which both ends are learned apart, and a step on its own
FASTEST = 1.0  # how the size of errors may grow with the step: as this power of it at most


def half(residuals: Floats, coverage: float = COVERAGE) -> float:
    """Half the width of the interval: the ceil((n + 1) coverage)-th smallest |residual|.

    >>> half(np.array([1.0, -2.0, 3.0, -4.0]), 0.5)
    3.0
    """
    return _ranked(np.sort(np.abs(residuals)), coverage)


def _ranked(ordered: Floats, share: float) -> float:
    return float(ordered[min(int(np.ceil((len(ordered) + 1) * share)), len(ordered)) - 1])


def by_step(y: Floats, scores: Floats, coverage: float = COVERAGE) -> dict[str, Any] | None:
    """The interval of a forecast: {"low", "high": a number a step, in scales of the series; "coverage"; "forecasts":
    how many it was learned from, series times origins}.

    `scores` (n, 3) are out of fold: value, scale, step. Steps are pooled with their neighbours until there are
    400 residuals, after their growth with the step, a power of it, is taken off. With fewer residuals in all
    both ends are equally far. None without a residual.

    The rows of a forecast err together, so it is the forecasts that count. From a few of one series intervals hold
    less than they say: of M3 monthly and M4 hourly, each series alone and its last season as the forecast, 83 to 89 %
    with up to three origins and 87 to 91 % with five, of 90. The finite-sample rule for so few forecasts holds 86 to
    98 % and 96 to 99 %, at up to twice the width, so it is not taken, and `few` says where it is so.
    """
    values, scale, step = scores.T
    ahead = np.isfinite(values) & (step >= 1)
    if not ahead.any():
        return None
    residuals, steps = ((y - values) / scale)[ahead], step[ahead].astype(np.int64)
    power = growth(residuals, steps)
    flat = residuals / steps**power
    ends = [
        [float(end) * place**power for end in _ends(_near(flat, steps, place), coverage)]
        for place in range(1, int(steps.max()) + 1)
    ]
    low, high = zip(*ends, strict=True)
    return {"low": list(low), "high": list(high), "coverage": coverage, "forecasts": int(np.bincount(steps).max())}


def few(interval: Mapping[str, Any]) -> str:
    """What is to be said of an interval that was learned from fewer forecasts than could show its coverage.

    The largest error of n is beyond the next one once in n + 1: to see a share c takes c / (1 - c) of them.

    >>> few({"coverage": 0.9, "forecasts": 2})
    'learned from 2 forecasts out of fold, which prove little: 9 at least could show 90 %'
    >>> few({"coverage": 0.9, "forecasts": 9})
    ''
    """
    count, coverage = interval.get("forecasts"), interval["coverage"]
    least = math.ceil(round(coverage / (1 - coverage), 6))
    if count is None or count >= least:
        return ""
    told = f"{count} forecast{'s' if count > 1 else ''} out of fold, which prove{'' if count > 1 else 's'} little"
    return f"learned from {told}: {least} at least could show {coverage * 100:g} %"


def growth(residuals: Floats, steps: NDArray[np.int64]) -> float:
    """The power of the step that the size of residuals grows with, between 0 and 1: least squares of logarithms.

    >>> round(growth(np.array([1.0, -1.0, 2.0, -2.0]), np.array([1, 1, 4, 4])), 6)
    0.5
    """
    counts = np.bincount(steps)
    there = np.flatnonzero(counts)
    sizes = np.bincount(steps, np.abs(residuals))[there] / counts[there]
    there, sizes = there[sizes > 0], sizes[sizes > 0]
    if len(there) < 2:
        return 0.0
    slope = np.polyfit(np.log(there), np.log(sizes), 1, w=np.sqrt(counts[there]))[0]
    return float(np.clip(slope, 0.0, FASTEST))


def _near(residuals: Floats, steps: NDArray[np.int64], place: int) -> Floats:
    """The residuals of a step and of as many steps around it as make enough."""
    apart = np.abs(steps - place)
    counts = np.cumsum(np.bincount(apart))
    reach = int(np.searchsorted(counts, min(ENOUGH, len(steps))))
    return residuals[apart <= reach]


def _ends(residuals: Floats, coverage: float) -> tuple[float, float]:
    if len(residuals) < ENOUGH:
        width = half(residuals, coverage)
        return -width, width
    tail = (1 + coverage) / 2
    return -_ranked(np.sort(-residuals), tail), _ranked(np.sort(residuals), tail)
