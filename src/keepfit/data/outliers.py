"""Values that spoil a series: so far from all around them that errors can no longer be told in its units.

Errors of a forecast are divided by the series' mean absolute seasonal difference. A value times a thousand makes
that so large that whatever is forecast looks good. It is found by what it does and by what lies around it: it is
FAR robust deviations of the seasonal differences above, or below, the values a season before and after (at the
ends, where one of these is missing, the values next to it too), and up to FEW such values of a series together make
more than SHARE of the sum of its absolute seasonal differences. A peak that comes each season, a level that shifts,
and a series that is made of bursts are none.

Measured: of the 1,428 monthly series of M3 and the 414 hourly ones of M4 none is found. Of one value times 1,000, at
random in each of them, 100 and 98.8 % are found; times 100, 99.8 and 93 %; times 10, 87 and 58 %.

>>> values = np.tile([10.0, 20.0, 11.0, 21.0, 9.0], 4)
>>> values[7] = 20_000
>>> spikes(np.zeros(20, np.int64), np.arange(20.0), values, 2).tolist()
[7]
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
FAR = 20.0
SHARE = 0.2
FEW = 3  # values of a series; where more are as far, it is its nature
NORMAL = 1.4826  # median absolute deviation → standard deviation, of normal differences
ALIKE = 1e-9  # of the values: differences that are rounding


def spikes(numbers: Numbers, periods: Floats, values: Floats, season: int) -> NDArray[np.intp]:
    """The rows whose values spoil their series. Rows are in the order of series (`numbers`) and of `periods`."""
    if not len(values):
        return np.zeros(0, np.intp)
    around = _around(numbers, periods, values, season)
    away, parts = _away(around), np.isfinite(around[:2]).sum(axis=0)  # so many differences the value is part of
    total = np.bincount(numbers, np.nan_to_num(np.abs(around[0])))[numbers]
    far = away > FAR * _unit(numbers, values, around[0])[numbers]
    share = np.divide(away * parts, total, out=np.zeros(len(values)), where=total > 0) * far
    few = np.bincount(numbers, far)[numbers] <= FEW
    return np.flatnonzero(far & few & (np.bincount(numbers, share)[numbers] > SHARE))


def _around(numbers: Numbers, periods: Floats, values: Floats, season: int) -> Floats:
    """How far values are above those a season before and after, one before and one after (4, n); NaN: not there."""
    first = periods - periods.min()
    key = numbers * (first.max() + 2.0 * season + 2.0) + first
    found = []
    for step in (-season, season, -1, 1):
        at = np.minimum(np.searchsorted(key, key + step), len(key) - 1)
        found.append(np.where(key[at] == key + step, values - values[at], np.nan))
    return np.array(found)


def _away(around: Floats) -> Floats:
    """How far values are above all of those around them, or below (n,); 0 where they lie between, or stand alone."""
    looked = np.isfinite(around)
    looked[2:] &= ~looked[:2].all(axis=0)
    above = np.min(around, axis=0, initial=np.inf, where=looked)
    below = np.min(-around, axis=0, initial=np.inf, where=looked)
    return np.where(looked.sum(axis=0) > 1, np.maximum(np.maximum(above, below), 0.0), 0.0)


def _unit(numbers: Numbers, values: Floats, differences: Floats) -> Floats:
    """The robust deviation of each series' seasonal differences; where most are alike, the median size of its values
    that are not 0 (0: all are)."""
    apart = pl.col("difference") - pl.col("difference").median().over("number")
    size = pl.col("value").abs()
    frame = pl.DataFrame({"number": numbers, "value": values, "difference": differences}).fill_nan(None)
    told = frame.with_columns(apart=apart.abs()).group_by("number").agg(
        pl.col("apart").median(), size.filter(size > 0).median()
    )  # fmt: skip
    made = np.zeros((2, int(numbers.max()) + 1))
    made[:, told["number"].to_numpy()] = told.select("apart", "value").fill_null(0.0).to_numpy().T
    return np.asarray(np.where(NORMAL * made[0] > ALIKE * made[1], NORMAL * made[0], made[1]), np.float64)
