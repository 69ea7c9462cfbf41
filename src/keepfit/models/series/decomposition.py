"""Taking the season off before a model is fitted, and putting it back on its forecasts.

The classical decomposition: the ratio (or difference) to a centred moving average of one season,
averaged by the place within the season. With several seasons (24 and 168 hours) the shorter comes
off first and the longer explains what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keepfit.models.series.panel import Floats, Mask, filled, lengths, seasonal

Season = dict[str, Any]  # "factors" (series, period) by column modulo period, "ratio" (series,) whether they multiply


def take_off(
    values: Floats, periods: Sequence[int], ratio: Mask | None = None, test: Callable[..., Mask] = seasonal
) -> tuple[Floats, list[Season]]:
    """Values (series, T) without their seasons, and the seasons found.

    `ratio` (series,): where the season multiplies rather than adds; default: where all values are
    above zero. A series that does not pass the `test` keeps its values.
    """
    ratio = positive(values) if ratio is None else ratio & positive(values)
    found = []
    for period in periods:
        one = season(values, period, ratio, test(values, period))
        values = without(values, one, 0)
        found.append(one)
    return values, found


def positive(values: Floats) -> Mask:
    """Whether all values of a series are above zero (series,), so that shares make sense."""
    return np.asarray(np.where(np.isnan(values), 1.0, values).min(axis=1, initial=1.0) > 0)


def season(values: Floats, period: int, ratio: Mask, there: Mask) -> Season:
    """The mean deviation from a centred moving average at each place of the season."""
    neutral = np.where(ratio, 1.0, 0.0)[:, None]
    if period < 2 or not there.any():
        return {"factors": np.repeat(neutral, max(period, 1), axis=1), "ratio": ratio}
    whole = filled(values)
    trend = moving_average(whole, period)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(ratio[:, None], whole / trend, whole - trend)
    factors = by_place(apart, period)
    mean = factors.mean(axis=1, keepdims=True)
    factors = np.where(ratio[:, None], factors / np.where(mean > 0, mean, 1.0), factors - mean)
    usable = there & np.isfinite(factors).all(axis=1) & (~ratio | (factors > 0.01).all(axis=1))
    usable &= lengths(values) >= 2 * period
    return {"factors": np.where(usable[:, None], factors, neutral), "ratio": ratio}


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
