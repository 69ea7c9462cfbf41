"""Taking the season off before a model is fitted, and putting it back on its forecasts.

The classical decomposition: the ratio (or difference) to a centred moving average of one season,
averaged by the place within the season. The averages are shrunk towards no season as far as their
spread is no more than what noise alone would give them (Miller and Williams, "Shrinkage estimators
of time series seasonal factors and their effect on forecasting accuracy", International Journal of
Forecasting 19, 2003); so there is no test of whether a series has a season at all. With several
seasons (24 and 168 hours) the shorter comes off first and the longer explains what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keepfit.models.series.panel import Floats, Mask, filled, lengths

Season = dict[str, Any]  # "factors" (series, period) by column modulo period, "ratio" (series,) whether they multiply


SEASONS = 3  # that tell a season from chance
SMALLEST = 0.01  # factor that may divide


def take_off(values: Floats, periods: Sequence[int]) -> tuple[Floats, list[Season]]:
    """Values (series, T) without their seasons, and the seasons found.

    A season multiplies where all values of a series are above zero, else it adds. A series of less
    than three seasons keeps its values.
    """
    ratio, found = positive(values), []
    for period in periods:
        one = season(values, period, ratio)
        values = without(values, one, 0)
        found.append(one)
    return values, found


def positive(values: Floats) -> Mask:
    """Whether all values of a series are above zero (series,), so that shares make sense."""
    return np.asarray(np.where(np.isnan(values), 1.0, values).min(axis=1, initial=1.0) > 0)


def season(values: Floats, period: int, ratio: Mask, least: int = SEASONS) -> Season:
    """The mean deviation from a centred moving average at each place of the season, shrunk.

    `ratio` (series,) is whether it multiplies; fewer than `least` seasons are none.
    """
    neutral = np.where(ratio, 1.0, 0.0)[:, None]
    there = lengths(values) >= least * period
    if period < 2 or not there.any():
        return {"factors": np.repeat(neutral, max(period, 1), axis=1), "ratio": ratio}
    apart = _apart(filled(values), period, ratio)
    factors = by_place(apart, period)
    mean = factors.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        factors = np.where(ratio[:, None], factors / mean, factors - mean)
        noise = apart - factors[:, np.arange(values.shape[1]) % period]
    factors = neutral + _sure(noise, factors)[:, None] * (factors - neutral)
    usable = there & np.isfinite(factors).all(axis=1) & (~ratio | (factors > SMALLEST).all(axis=1))
    return {"factors": np.where(usable[:, None], factors, neutral), "ratio": ratio}


def _apart(whole: Floats, period: int, ratio: Mask) -> Floats:
    """Ratio or difference (series, T) to the moving average; NaN near the ends."""
    trend = moving_average(whole, period)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(ratio[:, None], whole / trend, whole - trend)


def _sure(noise: Floats, factors: Floats) -> Floats:
    """The share (series,) of the factors' variance that is not that of means of so much noise."""
    period = factors.shape[1]
    there = np.isfinite(noise)
    count = there.sum(axis=1)
    variance = (np.where(there, noise, 0.0) ** 2).sum(axis=1) / np.maximum(count - period, 1)
    spread = factors.var(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = variance * period / np.maximum(count, 1) / spread
    return np.where(spread > 0, np.clip(1 - share, 0, 1), 0.0)


def moving_average(values: Floats, period: int) -> Floats:
    """Centred means over one period (series, T); with an even period the two ends count half. NaN near the ends.

    >>> moving_average(np.array([[1.0, 2.0, 3.0, 4.0, 9.0]]), 2).tolist()
    [[nan, 2.0, 3.0, 5.0, nan]]
    """
    result = np.full(values.shape, np.nan)
    half, width = period // 2, period + 1 - period % 2
    if values.shape[1] < width:
        return result
    sums = np.cumsum(np.pad(np.nan_to_num(values), ((0, 0), (1, 0))), axis=1)
    known = np.cumsum(np.pad(~np.isnan(values), ((0, 0), (1, 0))), axis=1)
    total = sums[:, width:] - sums[:, :-width]
    if period % 2 == 0:
        total = total - (np.nan_to_num(values[:, : -width + 1]) + np.nan_to_num(values[:, width - 1 :])) / 2
    whole = known[:, width:] - known[:, :-width] == width
    result[:, half : values.shape[1] - half] = np.where(whole, total / period, np.nan)
    return result


def by_place(values: Floats, period: int) -> Floats:
    """Means of the values by column modulo period (series, period); NaN where there is none."""
    padded = np.pad(values, ((0, 0), (0, -values.shape[1] % period)), constant_values=np.nan)
    stacked = padded.reshape(len(values), -1, period)
    there = ~np.isnan(stacked)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, stacked, 0.0).sum(axis=1) / there.sum(axis=1))


def without(values: Floats, one: Season, column: int) -> Floats:
    """Values whose first column is `column`, less the season."""
    factors = _at(one, column, values.shape[1])
    return np.where(one["ratio"][:, None], values / np.where(factors > 0, factors, 1.0), values - factors)


def put_back(values: Floats, seasons: Sequence[Season], column: int) -> Floats:
    """Values whose first column is `column`, with their seasons."""
    for one in reversed(seasons):
        factors = _at(one, column, values.shape[1])
        values = np.where(one["ratio"][:, None], values * factors, values + factors)
    return values


def take_off_again(values: Floats, seasons: Sequence[Season], column: int) -> Floats:
    """Later values, whose first column is `column`, less seasons found before."""
    for one in seasons:
        values = without(values, one, column)
    return values


def _at(one: Season, column: int, count: int) -> Floats:
    return np.asarray(one["factors"][:, (column + np.arange(count)) % one["factors"].shape[1]])


def stored(seasons: Sequence[Season]) -> dict[str, Any]:
    """Seasons as arrays `season0`, `ratio0`, … (series, …) of a state that is kept."""
    found: dict[str, Any] = {}
    for at, one in enumerate(seasons):
        found |= {f"season{at}": one["factors"], f"ratio{at}": one["ratio"]}
    return found


def taken(state: Mapping[str, Any]) -> list[Season]:
    """The seasons of a kept state."""
    count = sum(key.startswith("season") for key in state)
    return [{"factors": state[f"season{at}"], "ratio": state[f"ratio{at}"]} for at in range(count)]


def strength(whole: Floats, period: int) -> Floats:
    """How much of the variance of what is no trend the season explains (series,), 0 to 1; no gaps.

    Wang, Smith, Hyndman, "Characteristic-based clustering for time series data", Data Mining and Knowledge
    Discovery 13, 2006. 0 where there are less than three seasons.
    """
    if period < 2 or whole.shape[1] < SEASONS * period:
        return np.zeros(len(whole))
    apart = _apart(whole, period, np.zeros(len(whole), bool))
    factors = by_place(apart, period)
    rest = apart - factors[:, np.arange(whole.shape[1]) % period]
    there = np.isfinite(rest) & (lengths(whole) >= SEASONS * period)[:, None]
    count = np.maximum(there.sum(axis=1), 1)

    def variance(values: Floats) -> Floats:
        inside = np.where(there, values, 0.0)
        mean = inside.sum(axis=1) / count
        return np.asarray((np.where(there, values - mean[:, None], 0.0) ** 2).sum(axis=1))

    total = variance(apart)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, np.clip(1 - variance(rest) / total, 0, 1), 0.0)
