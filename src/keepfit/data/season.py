"""Which seasons the series of a forecast have: what the calendar suggests, if the values confirm it.

A season of m periods is confirmed by the autocorrelation at lag m of what is left without the trend (a line, and the
moving mean of m periods), averaged over the series; a longer one after the shorter is taken out by seasonal
differences. Where times are plain numbers, the calendar suggests nothing, and the highest peak of the autocorrelation
of the changes from one period to the next is looked for.

>>> hours = np.arange(2000)
>>> day, weekend = np.sin(hours * 2 * np.pi / 24), hours // 24 % 7 >= 5
>>> values = 4 * day + weekend + 0.1 * np.random.default_rng(0).normal(size=2000)
>>> seasons(values[None], "1h"), seasons(values[None], "1i"), seasons(values[None, :60], "1d")
((24, 168), (24, 168), ())
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keepfit.data.rhythm import BUSINESS, DAY, MONTHS, WEEK, WORKING, length, step

Floats = NDArray[np.float64]
SERIES = 300  # that are looked at, spread evenly
SEARCHED = 100  # and where nothing is suggested
COLUMNS = 2000  # of the newest periods
LEAST = 0.05  # correlation that makes a season of the calendar's
LEAST_FOUND = 0.15  # and one that nothing suggests
CLOSE = 0.7  # of the highest peak: a shorter season that comes so near is taken
LONGEST = 400  # lag that is searched
WEEKS = {"d": WEEK, BUSINESS: WORKING}  # how many of a unit are a week
SEEN = 2  # times a series must have gone through a season, and a period more


def candidates(frequency: str) -> tuple[int, ...]:
    """What the calendar suggests, shortest first.

    >>> [candidates(f) for f in ("1mo", "1q", "1y", "1w", "1d", "1b", "1h", "15m", "1i")]
    [(12,), (4,), (), (52,), (7,), (5,), (24, 168), (96, 672), ()]
    """
    count, unit = step(frequency)
    if unit in MONTHS:
        year = 12 / (count * MONTHS[unit])
        return (int(year),) if year % 1 == 0 and year > 1 else ()
    if unit == "w":
        return (52,) if count == 1 else (26,) if count == 2 else ()
    size = length(frequency)
    if unit in WEEKS:
        return (WEEKS[unit],) if count == 1 else ()
    day = DAY / size
    return (int(day), 7 * int(day)) if unit != "i" and day % 1 == 0 and day > 1 else ()


def seasons(values: Floats, frequency: str) -> tuple[int, ...]:
    """The seasons of right-aligned series (series, T), NaN = not there; shortest first, () for none."""
    left = values[:: max(1, -(-len(values) // SERIES)), -COLUMNS:]
    wanted = candidates(frequency)
    if not wanted and step(frequency)[1] == "i":
        first = _peak(left[:: max(1, -(-len(left) // SEARCHED))])
        wanted = () if first is None else (first, 7 * first)  # hours or days of a week, if it is one
    found: list[int] = []
    for lag in wanted:
        long = left[(~np.isnan(left)).sum(axis=1) > SEEN * lag]
        strength, pairs = _strength(_without_trend(long, lag), lag)
        if strength > max(LEAST, 2 / np.sqrt(max(pairs, 1))):
            found.append(lag)
            left = left[:, lag:] - left[:, :-lag]
    return tuple(found)


def _without_trend(values: Floats, window: int) -> Floats:
    """Values less their line and their moving mean over `window` periods (fewer at the ends)."""
    known = ~np.isnan(values)
    place = np.broadcast_to(np.arange(values.shape[1], dtype=float), values.shape)
    away = np.where(known, place - _mean(np.where(known, place, np.nan))[:, None], 0)
    level = np.where(known, values - _mean(values)[:, None], 0)
    slope = (away * level).sum(axis=1) / np.maximum((away**2).sum(axis=1), 1e-300)
    flat = level - slope[:, None] * away
    sums, counts = (_moving(part, window) for part in (flat, known.astype(float)))
    return np.where(known, flat - sums / np.maximum(counts, 1), np.nan)


def _moving(values: Floats, window: int) -> Floats:
    """The sum of `window` columns around each, of fewer at the ends."""
    total = np.pad(values.cumsum(axis=1), ((0, 0), (1, 0)))
    places = np.arange(values.shape[1])
    first, last = np.maximum(places - window // 2, 0), np.minimum(places - window // 2 + window, values.shape[1])
    found: Floats = total[:, last] - total[:, first]
    return found


def _even(values: Floats) -> Floats:
    """Values about zero, all series of one size; an outlier counts as ten ordinary ones."""
    centred = values - _mean(values)[:, None]
    size = np.sqrt(_mean(centred**2))[:, None]
    scaled: Floats = np.clip(np.divide(centred, size, out=centred * 0, where=size > 0), -10, 10)
    return scaled


def _mean(values: Floats) -> Floats:
    """The mean of what is known of each series (series,); 0 where that is nothing."""
    known = ~np.isnan(values)
    found: Floats = np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return found


def _strength(values: Floats, lag: int) -> tuple[float, int]:
    """Mean autocorrelation at `lag` over the series that are long enough, and how many pairs it is made of."""
    even = _even(values)
    long = even[(~np.isnan(even)).sum(axis=1) > SEEN * lag]
    products = long[:, lag:] * long[:, :-lag]
    powers = _mean(long**2)
    alive = (powers > 0) & (~np.isnan(products)).any(axis=1)
    if not alive.any():
        return 0.0, 0
    found = _mean(products[alive]) / powers[alive]
    return float(np.clip(found, -1, 1).mean()), int((~np.isnan(products[alive])).sum())


def _peak(values: Floats) -> int | None:
    """The shortest lag whose correlation is a peak and near the highest; None where all peaks are luck."""
    changes = np.diff(values, axis=1)
    measured = [_strength(changes, lag) for lag in range(1, min(LONGEST, changes.shape[1] // SEEN) + 2)]
    every = np.array([strength for strength, _ in measured])
    luck = np.array([max(LEAST_FOUND, 4 / np.sqrt(max(pairs, 1))) for _, pairs in measured[1:-1]])
    heights = every[1:-1]
    real = (heights >= every[:-2]) & (heights >= every[2:]) & (heights > luck)  # a slope down from lag 1 is no season
    if not real.any():
        return None
    return 2 + int(np.argmax(real & (heights >= CLOSE * heights[real].max())))
