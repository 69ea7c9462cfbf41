"""Forecasts beside what their series did before: against seasonal naive, and whether the season has moved.

Season. The errors of forecasts are held against the usual season of their series, as the rows of training had it:
each row of a window has an error e and a seasonal deviation x, both in scales, x less its mean over the rows of its
series, so that a level that moved tells nothing. The share of the season that stands in the errors is

    Σ x e / Σ x²

0 where forecasts get the season right, 1 where nothing of the season that they count on comes true (it has moved by
a quarter of its length, or is gone), -1 where it is twice as large as they think. x was known before the window, so
nothing but chance binds it to errors of a season that is right. Errors of one series and time count as one, and are
alike for as long as the horizon reaches (`keepfit.monitoring.measures`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.models import influence
from keepfit.models.metrics import Answers
from keepfit.monitoring import measures
from keepfit.monitoring.findings import Finding

Floats = NDArray[np.float64]
COMPARED = ("mase", "rmsse", "smape")  # metrics that are told beside those of seasonal naive
SHARE = 1 / 3  # of the usual season that may stand in the errors before it matters
Z = 1.96  # of the interval


@dataclass(frozen=True)
class Before:
    """What was known before of n rows that were forecast.

    `series` (n,): its number; `ago` (n,): the seasonal naive forecast; `pattern` (n,): how far the usual season lifts
    the row above its level, NaN where there is none. Both in the target's own unit. `held` (n,): whether the server
    does not believe what was observed.
    """

    series: NDArray[np.int64]
    ago: Floats
    pattern: Floats
    held: NDArray[np.bool_] | None = None

    def __getitem__(self, rows: Any) -> Before:
        held = None if self.held is None else self.held[rows]
        return Before(self.series[rows], self.ago[rows], self.pattern[rows], held)


def figures(given: Answers, before: Before | None) -> dict[str, Any]:
    """Under "naive" each metric of COMPARED and that of seasonal naive, on the rows of which both are known."""
    pair = None if before is None else _pair(given, before)
    if pair is None:
        return {}
    told = [(name, *(influence.of(name, one)[0] for one in pair)) for name in COMPARED]
    rows = len(pair[0].truth)
    return {"naive": [{"metric": name, "rows": rows, "value": one, "naive": other} for name, one, other in told]}


def naive(given: Answers, before: Before) -> float | None:
    """The MASE of seasonal naive; None where it is known of no row."""
    pair = _pair(given, before)
    return None if pair is None else influence.of("mase", pair[1])[0]


def _pair(given: Answers, before: Before) -> tuple[Answers, Answers] | None:
    """The answers and those of seasonal naive, where these are known; None where they are of no row."""
    assert given.ahead is not None
    known = np.flatnonzero(np.isfinite(before.ago))
    if not len(known):
        return None
    ahead, truth = given.ahead[known], given.truth[known]
    ago = before.ago[known] / ahead.scale
    return Answers(truth, given.picked[known], 0, ahead=ahead), Answers(truth, ago, 0, ahead=ahead)


def findings(given: Answers, before: Before | None, units: measures.Units | None) -> Iterator[Finding]:
    """Does the usual season stand in the errors? No finding where no series has a season."""
    rows = np.flatnonzero(np.isfinite(before.pattern)) if before is not None else np.empty(0, np.intp)
    if before is None or not len(rows):
        return
    one = _share(given, before, rows, units)
    if not math.isfinite(one.error):
        why = "the labelled rows of each series lie at one place of the season"
        yield Finding("performance", "season", "shifted", None, None, None, 0.0, len(rows), unknown=why)
        return
    p = min(1.0, 2 * measures.tail(abs(one.value), one.error, 0.0))
    meaning = "the season is smaller, or has moved" if one.value > 0 else "the season is larger"
    low, high = one.value - Z * one.error, one.value + Z * one.error
    detail = f"{meaning}: {one.value:.3g} of the usual one stands in the errors, interval {low:.3g} to {high:.3g}"
    yield Finding("performance", "season", "shifted", p, one.value, 0.0, abs(one.value), len(rows), SHARE, detail)


def _share(given: Answers, before: Before, rows: NDArray[np.intp], units: measures.Units | None) -> measures.Measure:
    """See the module; its error is NaN where these rows cannot tell."""
    assert given.ahead is not None
    usual = _centred((before.pattern / given.ahead.scale)[rows], before.series[rows])
    whole = float(usual @ usual)
    if whole < 1e-9 * len(rows):
        return measures.Measure("season", math.nan, math.nan, math.nan, len(rows), 1)
    part = usual * (given.picked - given.truth)[rows]
    value = float(part.sum()) / whole
    each = (part - value * usual**2) * (len(rows) / whole)
    own = None if units is None else units.only(rows)
    return measures.of_influence("season", value, each, len(rows), int(given.ahead.step[rows].max()), own)


def _centred(values: Floats, series: NDArray[np.int64]) -> Floats:
    """Values less the mean of their series' values.

    >>> _centred(np.array([1.0, 3.0, 5.0]), np.array([7, 7, 9])).tolist()
    [-1.0, 1.0, 0.0]
    """
    _, place = np.unique(series, return_inverse=True)
    means = np.bincount(place, values) / np.bincount(place)
    return np.asarray(values - means[place])
