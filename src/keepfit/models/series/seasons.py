"""What the history of series says of rows that were forecast: the value a season ago, and the usual season.

Rows are named by the place of their series in a `Memory` (-1: not known) and their period.
"""

from __future__ import annotations

import numpy as np

from keepfit.models.series import decomposition
from keepfit.models.series.memory import Memory
from keepfit.models.series.panel import Floats, Ints, filled, seasonal

RECENT = 5  # seasons that tell the usual one: it may grow with its series


def ago(memory: Memory, places: Ints, periods: Floats, steps: Floats, season: int) -> Floats:
    """(n,) the seasonal naive forecast: the value whole seasons before, the newest that the forecast knew.

    Gaps as `panel.filled` fills them. NaN where the series or that period is not known.

    >>> from keepfit.models.series import memory as m
    >>> about = m.About((m.Model("seasonal_naive", (2,)),), 2, 2)
    >>> known = m.remember(about, m.panel(np.array([[0, 4], [0, 5], [0, 6.0]]), np.array([7.0, 8, 9])))
    >>> ago(known, np.array([0, 0, 0, -1]), np.array([7.0, 7, 9, 7]), np.array([1.0, 2, 3, 1]), 2).tolist()
    [8.0, 8.0, 8.0, nan]
    """
    back = season * np.ceil(np.maximum(steps, 1) / season)
    return _at(filled(memory.history), memory, places, periods - back)


def _at(values: Floats, memory: Memory, places: Ints, periods: Floats) -> Floats:
    """(n,) what stands in `values` (series, T) at these places and periods; NaN beyond its ends."""
    found = np.full(len(places), np.nan)
    there = np.flatnonzero((places >= 0) & np.isfinite(periods))
    column = values.shape[1] - 1 - (memory.ends[places[there]] - periods[there]).astype(np.int64)
    inside = (column >= 0) & (column < values.shape[1])
    found[there[inside]] = values[places[there[inside]], column[inside]]
    return found


def pattern(memory: Memory, places: Ints, periods: Floats, season: int) -> Floats:
    """(n,) how far the usual season lifts each row above its level, by the newest seasons of its series.

    NaN for series that are not known, or do not surely repeat themselves: they have no season that could move.
    """
    found = np.full(len(places), np.nan)
    sure = seasonal(memory.history, season) if season > 1 and len(memory.numbers) else np.zeros(0, bool)
    there = (places >= 0) & np.isfinite(periods)
    there[there] = sure[places[there]] if len(sure) else False
    if not there.any():
        return found
    recent = memory.history[:, -RECENT * season :]
    factors = decomposition.season(recent, season, np.zeros(len(recent), bool))["factors"]
    place = places[there]
    column = (periods[there] - memory.ends[place]).astype(np.int64) + recent.shape[1] - 1
    found[there] = factors[place, column % season]
    return found
