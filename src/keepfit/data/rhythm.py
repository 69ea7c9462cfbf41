"""The calendar of a forecast: from times to periods and back.

A period is a whole number, counted from `Rhythm.origin`. Months, quarters and years follow the calendar:
a time belongs to the one it lies in, and is written with the day and the clock of the origin (the last day
of a month stays the last day). Shorter frequencies have a fixed length: a time belongs to the period whose
own time is nearest. Nothing here needs more than numpy: the server asks it too.

>>> monthly = Rhythm("month", "1mo", 0.0, 12)
>>> periods(monthly, np.array([0.0, 40 * DAY, np.nan])).tolist(), times(monthly, np.array([2])).tolist()
([0.0, 1.0, nan], [5097600.0])
>>> written(monthly, np.array([1, 12])), written(Rhythm("time", "1h", 0.0, 12, zone="Z"), np.array([1]))
(['1970-02-01', '1971-01-01'], ['1970-01-01T01:00:00Z'])
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import ConfigError
from keepfit.types import Rhythm

Floats = NDArray[np.float64]
DAY = 86400.0
FARTHEST = 2.5e11  # seconds: about 7,900 years, where calendars end
FIXED: Mapping[str, float] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
MONTHS: Mapping[str, int] = {"mo": 1, "q": 3, "y": 12}
NUMBER = "i"  # the unit of times that are plain numbers
UNITS = (
    *("1s", "5s", "10s", "15s", "30s", "1m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "4h", "6h", "8h", "12h"),
    *("1d", "1w", "2w", "1mo", "2mo", "1q", "6mo", "1y"),
)
WRITTEN = re.compile(r"([0-9]*\.?[0-9]+)(mo|[smhdwqyi])")


@lru_cache(maxsize=256)
def step(frequency: str) -> tuple[float, str]:
    """How many of which unit: "15m" is (15.0, "m"). Raises ConfigError for what is no frequency."""
    found = WRITTEN.fullmatch(frequency)
    count = float(found[1]) if found else 0.0
    if not found or count <= 0 or (found[2] != NUMBER and count % 1):
        raise ConfigError(
            f"forecast.frequency: '{frequency}' is no frequency. Write a number and a unit, as 15m, 1h, 1d, 1w, 1mo, "
            "1q, 1y; or 1i where times are plain numbers."
        )
    return count, found[2]


def length(frequency: str) -> float:
    """Seconds of a period (of a mean one, for months), or the step of plain numbers.

    >>> length("15m"), length("1y") / DAY
    (900.0, 365.2425)
    """
    count, unit = step(frequency)
    return count * (MONTHS[unit] * 365.2425 / 12 * DAY if unit in MONTHS else FIXED.get(unit, 1.0))


def dated(frequency: str) -> bool:
    """Whether times are dates, and not plain numbers."""
    return step(frequency)[1] != NUMBER


def periods(rhythm: Rhythm, moments: Floats) -> Floats:
    """The period of each time (n,): whole numbers as float64, NaN where there is no time."""
    count, unit = step(rhythm.frequency)
    if unit in MONTHS:
        span = int(count) * MONTHS[unit]
        known = np.isfinite(moments)
        months = _months(np.where(known, moments, 0.0)) // span - _months(np.array([rhythm.origin])) // span
        return np.where(known, months, np.nan)
    size = count * FIXED.get(unit, 1.0)
    with np.errstate(over="ignore"):
        found: Floats = np.floor((moments - rhythm.origin) / size + 0.5)
    return found


def times(rhythm: Rhythm, periods: NDArray[Any]) -> Floats:
    """The time of each period (n,): seconds since 1970 UTC, or the number."""
    count, unit = step(rhythm.frequency)
    if unit not in MONTHS:
        return np.asarray(rhythm.origin + np.asarray(periods, np.float64) * count * FIXED.get(unit, 1.0))
    span = int(count) * MONTHS[unit]
    first = int(_months(np.array([rhythm.origin]))[0])
    months = first // span * span + np.asarray(periods).astype(np.int64) * span + first % span
    starts, ends = _starts(months), _starts(months + 1)
    start, end = _starts(np.array([first, first + 1]))
    day, clock = divmod(rhythm.origin - start, DAY)
    last = day == (end - start) / DAY - 1
    days = (ends - starts) / DAY - 1
    return np.asarray(starts + (days if last else np.minimum(day, days)) * DAY + clock)


def written(rhythm: Rhythm, periods: NDArray[Any]) -> list[str | float]:
    """The times of periods as answers show them: ISO 8601 (a date where the clock says nothing), or numbers."""
    moments = times(rhythm, periods)
    if not dated(rhythm.frequency):
        return [int(moment) if moment.is_integer() else moment for moment in moments.tolist()]
    days = length(rhythm.frequency) >= DAY and rhythm.origin % DAY == 0
    unit: Literal["D", "ms", "s"] = "D" if days else "ms" if rhythm.origin % 1 else "s"
    stamps: NDArray[np.datetime64] = np.round(moments * 1e6).astype("M8[us]")
    found: list[str | float] = np.datetime_as_string(stamps, unit).tolist()
    return [f"{stamp}{rhythm.zone}" for stamp in found] if rhythm.zone and not days else found


def _months(moments: Floats) -> NDArray[np.int64]:
    """Months since January 1970 that times lie in."""
    days = np.floor(np.clip(moments, -FARTHEST, FARTHEST) / DAY).astype(np.int64)
    return days.astype("M8[D]").astype("M8[M]").astype(np.int64)


def _starts(months: NDArray[np.int64]) -> Floats:
    """When months begin, in seconds."""
    return np.asarray(months.astype("M8[M]").astype("M8[D]").astype(np.int64) * DAY, np.float64)


# --- found in data


def frequency(moments: Floats, numbers: NDArray[np.int64], dates: bool) -> str | None:
    """The frequency of times (n,) in the order of their series (`numbers`) and of time; None where there is none.

    The median step between neighbours: as it is where nine in ten are the same, else the nearest unit of the
    calendar, if it is within a sixth of that.

    >>> days = np.array([0, 31, 59, 90, 120, 0, 31.0])
    >>> frequency(days * DAY, np.array([0, 0, 0, 0, 0, 1, 1]), True)
    '1mo'
    """
    ahead = (numbers[1:] == numbers[:-1]) & (moments[1:] > moments[:-1])
    steps, starts = np.diff(moments)[ahead], moments[:-1][ahead]
    if not len(steps):
        return None
    middle = float(np.median(steps))
    if not dates:
        return f"{middle:g}{NUMBER}"
    same = np.abs(steps - middle) < 1e-6 * middle
    fixed = same.mean() >= 0.9 and not _calendar(middle, len(np.unique(starts[same])))
    return _exact(middle) if fixed else _nearest(middle)


def _calendar(middle: float, places: int) -> bool:
    """Could equal steps be those of months (28 to 31 days), quarters or years? Not if they come often."""
    days = middle / DAY
    if 364.9 < days < 366.1:
        return True
    return (27.9 < days < 31.1 or 88.9 < days < 92.1) and places < 3


def _exact(seconds: float) -> str:
    for unit in ("w", "d", "h", "m", "s"):
        count = seconds / FIXED[unit]
        if abs(count - round(count)) < 1e-6 and round(count):
            return f"{round(count)}{unit}"
    return _nearest(seconds) or f"{max(1, round(seconds))}s"


def _nearest(seconds: float) -> str | None:
    """The unit of the calendar that is nearest, if it is within a sixth."""
    best = min(UNITS, key=lambda unit: abs(np.log(length(unit) / seconds)))
    return best if abs(np.log(length(best) / seconds)) < np.log(7 / 6) else None


def origin(moments: Floats, frequency: str) -> float:
    """The time of period 0: that of the first time, in the place in its period that is usual.

    Where times lie anywhere in their period (a day, say), that is the middle of where they lie.

    >>> origin(np.array([2, 3600, 7199.0]), "1h")
    0.0
    """
    first = float(moments.min())
    count, unit = step(frequency)
    if unit in MONTHS:
        months = _months(moments)
        days = np.floor((moments - _starts(months)) / DAY)
        return float(_starts(months[moments.argmin()][None])[0]) if np.median(days) < 1 else first
    size = count * FIXED.get(unit, 1.0)
    place = _place(moments % size, size)
    return place + size * float(np.floor((first - place) / size + 0.5))


def _place(places: Floats, size: float) -> float:
    """The usual place on a circle of `size`: the commonest, or the middle where they are spread over half of it."""
    distinct, counts = np.unique(places, return_counts=True)
    if len(distinct) == 1:
        return float(distinct[0])
    free = np.diff(distinct, append=distinct[0] + size)  # between a place and the next
    widest = int(free.argmax())
    if free[widest] > size / 2:
        common = np.flatnonzero(counts == counts.max())
        whole = common[np.abs(np.sin(np.pi * distinct[common] / size)).argmin()]  # of equals, nearest to a full unit
        near = 0.02 * size
        if counts.max() < 0.5 * len(places) and min(distinct[whole], size - distinct[whole]) < near:
            return 0.0
        return float(distinct[whole])
    if free[widest] < size / 4:
        return size / 2  # no pause tells where a period begins, so it begins where the calendar's does
    return float((distinct[widest] + free[widest] + (size - free[widest]) / 2) % size)
