"""A metric of some rows with its standard error, and what can be said from that: intervals and tests.

All is arithmetic on the rows' influences (`keepfit.models.influence`), without resampling.

Intervals. A metric between 0 and 1 has Wilson's interval (J Am Stat Assoc 22, 1927) of the number of rows
of which a share would have the same standard error: for accuracy, that is the number of rows. It stays
between 0 and 1, and says something of a perfect score too. A loss has its interval on a log scale, R² that
of its unexplained part.

Tests are one-sided and give a p-value. Shares of rows are tested exactly: against a limit by the binomial
distribution, against the reference by the hypergeometric one (Fisher's exact test). For all else z =
difference / standard error, corrected for skewness by Hall's transformation (On the removal of skewness by
transformation, J R Stat Soc B 54, 1992): losses are skewed, and far out in the tail, where the false-alarm
budget puts its threshold, a plain z is off by several times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from keepfit.models import influence, metrics
from keepfit.models.metrics import Answers

SHARES = frozenset({"accuracy", "interval_coverage"})  # of all rows: exact tests
SIGNED = frozenset({"bias"})  # on both sides of 0
NORMAL = NormalDist()
FEW = 10  # series, fewer of which say too little of how series differ


@dataclass(frozen=True)
class Measure:
    """A metric of n rows.

    `error` is its standard error, `skew` the skewness of its distribution (of a mean: that of the rows over
    √n). `base`: independent rows that a share of it is out of, at least; for a recall those of the rarest
    class.
    """

    name: str
    value: float
    error: float
    skew: float
    rows: int
    base: int

    @property
    def sign(self) -> int:
        return metrics.METRICS[self.name].sign


class Units(NamedTuple):
    """What rows are about, where several are about the same, as forecasts of one value are that were made at several
    times: `of` (n,) the number of each row's unit, neighbours side by side; `series` (units,) the number of that
    each unit is of. All numbers count from 0 on."""

    of: NDArray[np.intp]
    series: NDArray[np.intp]

    def only(self, rows: NDArray[np.intp]) -> Units:
        """The units of some rows."""
        kept, of = np.unique(self.of[rows], return_inverse=True)
        return Units(of, np.unique(self.series[kept], return_inverse=True)[1])


def measure(name: str, given: Answers, units: Units | None = None) -> Measure:
    """The metric of these answers, in the order of time. NaN where it is not defined (ROC AUC of one class).

    Rows of one of `units` count as one; and as few units make up for a week, the error is that of Student's t.
    """
    value, each = influence.of(name, given)
    if len(each) < 2 or not math.isfinite(value):
        return Measure(name, value, math.nan, math.nan, len(each), len(each))
    reach = 0 if given.ahead is None else int(given.ahead.step.max())
    return of_influence(name, value, each, _base(name, given), reach, units)


def of_influence(
    name: str, value: float, each: NDArray[np.floating[Any]], base: int, reach: int, units: Units | None
) -> Measure:  # fmt: skip
    """A value with the influences of n rows on it, `each` (n,); `reach`: rows over which they are known to be alike."""
    rows = len(each)
    count = rows if units is None else len(units.series)
    if units is not None:
        each = np.bincount(units.of, each) * (count / rows)
    if count < 2:
        return Measure(name, value, math.nan, math.nan, rows, 1)
    spread = float(each @ each) / count
    skew = float((each**3).mean()) / spread**1.5 / math.sqrt(count) if spread > 0 else 0.0
    near, whole = dependence(each, reach), 1.0 if units is None else within(each, units.series)
    alike = max(near, whole)
    independent = max(1, round(base * count / rows / alike))
    error = math.sqrt(alike * spread / (count - 1)) * (
        1.0 if units is None else _widened(count, near, whole, reach, units)
    )
    return Measure(name, value, error, skew, rows, independent)


def _widened(count: int, near: float, whole: float, reach: int, units: Units) -> float:
    """By the number of series where the errors are alike throughout them, else by the number of units."""
    if whole > near:
        return _wider(int(units.series.max()), 0.0)
    return _wider(count / near - 1, _lags(count, reach) / count)


def _wider(freedom: float, share: float) -> float:
    """How much further out than the normal a mean of few units may lie.

    Student's t with so many degrees of freedom, at one in a thousand; and Kiefer and Vogelsang's critical values
    where the lags are a `share` of the units (A new asymptotic theory for heteroskedasticity-autocorrelation
    robust tests, Econometric Theory 21, 2005).

    >>> round(_wider(5, 0), 2), round(_wider(1e6, 0.25), 2), round(_wider(1e6, 0), 2)
    (1.91, 1.39, 1.0)
    """
    student = float(special.stdtrit(max(freedom, 1.0), 0.999)) / NORMAL.inv_cdf(0.999)
    return student * (1.96 + 2.9694 * share + 0.416 * share**2 - 0.5324 * share**3) / 1.96


def dependence(each: NDArray[np.floating[Any]], reach: int = 0) -> float:
    """How many rows tell as much as one independent row would, at least 1; `each` (n,) are influences in time.

    What comes one after the other is alike: a hard hour has many errors. Newey and West's estimate (A simple,
    positive semi-definite, heteroskedasticity and autocorrelation consistent covariance matrix, Econometrica
    55, 1987), over √n / 2 lags: with the usual fewer ones, too little of a dependence over hours is seen. What is
    known to be alike over `reach` rows, as the errors of forecasts so far ahead are, has four times as many lags,
    as Bartlett's weights keep 1 - reach / (3 × lags) of it, and no more than there are: `_wider` makes up for many.

    >>> dependence(np.tile([1.0, -1.0], 50)), dependence(np.repeat([1.0, -1.0], 50)) > 4
    (1.0, True)
    """
    whole = float(each @ each)
    if not whole:
        return 1.0
    length = 1 + _lags(len(each), reach)
    edge = np.zeros(length)
    total = np.cumsum(np.concatenate([edge, each, edge]))
    sums = total[length:] - total[:-length]  # of all runs of that length, beyond both ends too
    return max(1.0, float(sums @ sums) / length / whole)


def within(each: NDArray[np.floating[Any]], series: NDArray[np.intp]) -> float:
    """As `dependence`, where units of one series may be alike however far apart; `each` and its `series` (n,).

    A level that wandered, or a trend that was taken for one, is in all errors of a series, on one side, and in others
    on the other one: longer than any number of lags sees. So whole series are drawn (Liang and Zeger, Longitudinal data
    analysis using generalized linear models, Biometrika 73, 1986). 1 where there are few.

    >>> within(np.repeat(np.tile([1.0, -1.0], 5), 7), np.repeat(np.arange(10), 7))
    7.777777777777778
    """
    count = int(series.max(initial=-1)) + 1
    spread = float(each @ each)
    if count < FEW or not spread:
        return 1.0
    sums = np.bincount(series, each)
    return max(1.0, float(sums @ sums) / spread * count / (count - 1))


def _base(name: str, given: Answers) -> int:
    if name in SHARES or not given.count:
        return len(given.truth)
    sides = [np.bincount(side[side >= 0], minlength=given.count) for side in (given.truth, given.picked)]
    counts = np.concatenate(sides)
    return int(counts[counts > 0].min())


def _lags(rows: int, reach: int) -> int:
    return max(int(math.sqrt(rows) / 2), min(4 * reach, rows - 1))


def bounded(name: str) -> bool:
    """Is the metric between 0 and 1, with 1 the best?"""
    return metrics.METRICS[name].sign > 0 and name != "r2"


def interval(found: Measure, confidence: float) -> tuple[float, float]:
    """The two-sided interval; NaN where the metric or its error is not known."""
    if not math.isfinite(found.error):
        return math.nan, math.nan
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    if bounded(found.name):
        return wilson(found.value, _effective(found), z)
    if found.name in SIGNED:
        return found.value - z * found.error, found.value + z * found.error
    loss = 1 - found.value if found.name == "r2" else found.value
    factor = math.exp(min(z * found.error / loss, 700.0)) if loss > 0 else 1.0
    low, high = loss / factor, loss * factor
    return (1 - high, 1 - low) if found.name == "r2" else (low, high)


def _effective(found: Measure) -> float:
    """Rows of which a share of the same value would have the same standard error."""
    room = found.value * (1 - found.value)
    if room <= 0 or found.error <= 0:
        return float(found.base)
    return room / found.error**2


def wilson(share: float, rows: float, z: float) -> tuple[float, float]:
    """Wilson's interval of a share of `rows`, z standard errors wide.

    >>> low, high = wilson(1.0, 100, 1.96)
    >>> round(low, 3), round(high, 3)
    (0.963, 1.0)
    """
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(max(share * (1 - share), 0.0) / rows + (z / rows) ** 2 / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def misses(found: Measure, sign: str, limit: float) -> float:
    """The p-value of meeting the goal `sign` (">=", "<=", ">" or "<") `limit`: small where it is surely missed."""
    at_least = sign.startswith(">")
    if found.name in SHARES:
        return _binomial(round(found.value * found.base), found.base, limit, at_least)
    short = limit - found.value if at_least else found.value - limit
    if bounded(found.name) and 0 < limit < 1:
        return tail(short, math.sqrt(limit * (1 - limit) / _effective(found)), 0.0)
    return tail(short, found.error, found.skew * (-1 if at_least else 1))


def fewer(found: Measure, share: float, units: Units | None, reach: int) -> float:
    """The p-value of a share of forecasts being `share` or more: of as many rows as its error says.

    How alike rows are is not seen where none differ, and of few series not whether a forecast was missed as a whole:
    then what lies within `reach` steps of a series counts as one.
    """
    rows = _effective(found)
    counts = np.ones(found.rows) if units is None else np.bincount(units.series)
    if len(counts) < FEW or not found.error > 0:
        rows = min(rows, float(np.maximum(counts / reach, 1.0).sum()))
    hits, whole = math.ceil(found.value * rows), max(1, math.floor(rows))
    return _binomial(min(hits, whole), whole, share, at_least=True)


def _binomial(hits: int, rows: int, share: float, at_least: bool) -> float:
    share = min(max(share, 0.0), 1.0)
    return float(special.bdtr(hits, rows, share) if at_least else special.bdtrc(hits - 1, rows, share) if hits else 1.0)


def reference(name: str, told: Mapping[str, Any]) -> Measure | None:
    """The metric of the test rows at training, from a bundle's metrics.json; None where it has none."""
    found = told.get("metrics", {}).get(name)
    if not found or any(found.get(part) is None for part in ("value", "low", "high")):
        return None
    z = NORMAL.inv_cdf((1 + float(told.get("confidence", 0.95))) / 2)
    error = (float(found["high"]) - float(found["low"])) / (2 * z)
    rows = int(told["rows"])
    return Measure(name, float(found["value"]), error, 0.0, rows, rows)


def worse(found: Measure, before: Measure) -> float:
    """The p-value of being no worse than `before`, which is a sample too; small where it is surely worse."""
    if found.name in SHARES:
        hits = [round(each.value * each.base) for each in (found, before)]
        return fisher(hits[0], found.base, hits[1], before.base)
    error = math.hypot(found.error, before.error)
    if not error > 0:
        return 0.0 if metrics.better(found.name, before.value, found.value) else 1.0
    # the skewness of the rows is taken to be the same in both samples, as it is where nothing changed
    old = found.skew * math.sqrt(found.rows / before.rows)
    skew = found.sign * (old * before.error**3 - found.skew * found.error**3) / error**3
    return tail(found.sign * (before.value - found.value), error, skew)


def fisher(hits: int, rows: int, hits_before: int, rows_before: int) -> float:
    """The p-value of as few hits or fewer among the first rows, all hits being shared out by chance.

    >>> round(fisher(1, 10, 9, 10), 6)  # (1 of 10 by 9 of 10) and (0 by 10), of all ways to choose 10 of 20
    0.000547
    """
    total = hits + hits_before
    k = np.arange(max(0, total - rows_before), hits + 1, dtype=np.float64)
    logs = _choose(rows, k) + _choose(rows_before, total - k) - _choose(rows + rows_before, np.float64(total))
    return min(1.0, float(np.exp(logs).sum()))


def _choose(n: int, k: Any) -> Any:
    return special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)


def tail(difference: float, error: float, skew: float) -> float:
    """The chance of a difference this large, where there is none. `skew`: of the difference's distribution."""
    if not error > 0:
        return 0.0 if difference > 0 else 1.0
    z = difference / error
    corrected = z + skew * z**2 / 3 + skew**2 * z**3 / 27 + skew / 6
    return float(special.ndtr(-corrected))
