"""Which seasons the series of a forecast have: what the calendar suggests, if the values confirm it.

A season of m periods is confirmed by the autocorrelation at lag m of the changes from one period to the next,
averaged over the series; a longer one after the shorter is taken out by seasonal differences. Where times are
plain numbers, the calendar suggests nothing, and the highest peak of the autocorrelation is looked for.

>>> hours = np.arange(2000)
>>> day, weekend = np.sin(hours * 2 * np.pi / 24), hours // 24 % 7 >= 5
>>> values = 4 * day + weekend + 0.1 * np.random.default_rng(0).normal(size=2000)
>>> seasons(values[None], "1h"), seasons(values[None], "1i"), seasons(values[None, :60], "1d")
((24, 168), (24, 168), ())
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keepfit.data.rhythm import DAY, MONTHS, length, step

Floats = NDArray[np.float64]
SERIES = 300  # that are looked at, spread evenly
SEARCHED = 100  # and where nothing is suggested
COLUMNS = 2000  # of the newest periods
LEAST = 0.05  # correlation that makes a season of the calendar's
LEAST_FOUND = 0.15  # and one that nothing suggests
CLOSE = 0.7  # of the highest peak: a shorter season that comes so near is taken
LONGEST = 400  # lag that is searched
SEEN = 2  # times a series must have gone through a season, and two periods more


def candidates(frequency: str) -> tuple[int, ...]:
    """What the calendar suggests, shortest first.

    >>> [candidates(f) for f in ("1mo", "1q", "1y", "1w", "1d", "1h", "15m", "1i")]
    [(12,), (4,), (), (52,), (7,), (24, 168), (96, 672), ()]
    """
    count, unit = step(frequency)
    if unit in MONTHS:
        year = 12 / (count * MONTHS[unit])
        return (int(year),) if year % 1 == 0 and year > 1 else ()
    if unit == "w":
        return (52,) if count == 1 else (26,) if count == 2 else ()
    size = length(frequency)
    if unit == "d":
        return (7,) if count == 1 else ()
    day = DAY / size
    return (int(day), 7 * int(day)) if unit != "i" and day % 1 == 0 and day > 1 else ()


def seasons(values: Floats, frequency: str) -> tuple[int, ...]:
    """The seasons of right-aligned series (series, T), NaN = not there; shortest first, () for none."""
    some = values[:: max(1, -(-len(values) // SERIES)), -COLUMNS:]
    changes = _even(np.diff(some, axis=1))
    wanted = candidates(frequency)
    if not wanted and step(frequency)[1] == "i":
        first = _peak(changes[:: max(1, -(-len(changes) // SEARCHED))])
        wanted = () if first is None else (first, 7 * first)  # hours or days of a week, if it is one
    found: list[int] = []
    for lag in wanted:
        strength, pairs = _strength(changes, lag)
        if strength > max(LEAST, 2 / np.sqrt(max(pairs, 1))):
            found.append(lag)
            changes = changes[:, lag:] - changes[:, :-lag]
    return tuple(found)


def _even(changes: Floats) -> Floats:
    """Changes about zero, all series of one size; an outlier counts as ten ordinary changes."""
    centred = changes - _mean(changes)[:, None]
    size = np.sqrt(_mean(centred**2))[:, None]
    scaled: Floats = np.clip(np.divide(centred, size, out=centred * 0, where=size > 0), -10, 10)
    return scaled


def _mean(values: Floats) -> Floats:
    """The mean of what is known of each series (series,); 0 where that is nothing."""
    known = ~np.isnan(values)
    found: Floats = np.where(known, values, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return found


def _long_enough(changes: Floats, lag: int) -> Floats:
    known = (~np.isnan(changes)).sum(axis=1)
    long: Floats = changes[known >= SEEN * lag + 1]
    return long


def _strength(changes: Floats, lag: int) -> tuple[float, int]:
    """Mean autocorrelation at `lag` over the series that are long enough, and how many pairs it is made of."""
    long = _long_enough(changes, lag)
    if not len(long):
        return 0.0, 0
    products = long[:, lag:] * long[:, :-lag]
    powers = _mean(long**2)
    alive = (powers > 0) & (~np.isnan(products)).any(axis=1)
    if not alive.any():
        return 0.0, 0
    found = _mean(products[alive]) / powers[alive]
    return float(np.clip(found, -1, 1).mean()), int((~np.isnan(products[alive])).sum())


def _peak(changes: Floats) -> int | None:
    """The shortest lag whose correlation is a peak and near the highest; None where all peaks are luck."""
    measured = [_strength(changes, lag) for lag in range(1, LONGEST + 2)]
    every = np.array([strength for strength, _ in measured])
    luck = np.array([max(LEAST_FOUND, 4 / np.sqrt(max(pairs, 1))) for _, pairs in measured[1:-1]])
    heights = every[1:-1]
    real = (heights >= every[:-2]) & (heights >= every[2:]) & (heights > luck)  # a slope down from lag 1 is no season
    if not real.any():
        return None
    return 2 + int(np.argmax(real & (heights >= CLOSE * heights[real].max())))
