"""The calendar of a forecast: from times to periods and back.

A period is a whole number, counted from `Rhythm.origin`. Months, quarters and years follow the calendar:
a time belongs to the one it lies in, and is written with the day and the clock of the origin (the last day
of a month stays the last day). Shorter frequencies have a fixed length: a time belongs to the period whose
own time is nearest. Business days are five of seven: the origin is the first day of a working week, and a time
on one of the two days of rest belongs to no period. COUNTED has a row for each unit. Nothing here needs more
than numpy: the server asks it too.

>>> monthly = Rhythm("month", "1mo", 0.0, 12)
>>> periods(monthly, np.array([0.0, 40 * DAY, np.nan])).tolist(), times(monthly, np.array([2])).tolist()
([0.0, 1.0, nan], [5097600.0])
>>> written(monthly, np.array([1, 12])), written(Rhythm("time", "1h", 0.0, 12, zone="Z"), np.array([1]))
(['1970-02-01', '1971-01-01'], ['1970-01-01T01:00:00Z'])
>>> monday = Rhythm("day", "1b", 4 * DAY, 12)
>>> written(monday, np.array([4, 5])), periods(monday, (4 + np.arange(8)) * DAY).tolist()
(['1970-01-09', '1970-01-12'], [0.0, 1.0, 2.0, 3.0, 4.0, nan, nan, 5.0])
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import ConfigError
from keepfit.types import Rhythm

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
DAY = 86400.0
FARTHEST = 2.5e11  # seconds: about 7,900 years, where calendars end
FIXED: Mapping[str, float] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
MONTHS: Mapping[str, int] = {"mo": 1, "q": 3, "y": 12}
NUMBER = "i"  # the unit of times that are plain numbers
BUSINESS = "b"  # and of business days, whose week has
WORKING, WEEK = 5, 7  # days of work, and days
SIZES: Mapping[str, float] = {**FIXED, **MONTHS, NUMBER: 1.0, BUSINESS: DAY}  # of one: seconds, months, or numbers
UNITS = (
    *("1s", "5s", "10s", "15s", "30s", "1m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "4h", "6h", "8h", "12h"),
    *("1d", "1w", "2w", "1mo", "2mo", "1q", "6mo", "1y"),
)
WRITTEN = re.compile(r"([0-9]*\.?[0-9]+)(mo|[smhdwqyib])")
NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONDAY = 4  # days after 1970-01-01
STRAY, FEW = 0.01, 0.1  # shares of all values, and of those of a series, that days of rest may have in spite of it
FILLED = 0.5  # of the days of work, the one with the fewest values has so many of those with the most
WEEKS = 4  # that tell days of rest from gaps


@lru_cache(maxsize=256)
def step(frequency: str) -> tuple[float, str]:
    """How many of which unit: "15m" is (15.0, "m"). Raises ConfigError for what is no frequency."""
    found = WRITTEN.fullmatch(frequency)
    count = float(found[1]) if found else 0.0
    if not found or count <= 0 or (found[2] != NUMBER and count % 1):
        raise ConfigError(
            f"forecast.frequency: '{frequency}' is no frequency. Write a number and a unit, as 15m, 1h, 1d, "
            "1b (business days), 1w, 1mo, 1q, 1y; or 1i where times are plain numbers."
        )
    return count, found[2]


def length(frequency: str) -> float:
    """Seconds of a period (of a mean one, for months and business days), or the step of plain numbers.

    >>> length("15m"), length("1y") / DAY, length("1b") / DAY
    (900.0, 365.2425, 1.4)
    """
    count, unit = step(frequency)
    return count * (SIZES[unit] * COUNTED[unit].mean)


def dated(frequency: str) -> bool:
    """Whether times are dates, and not plain numbers."""
    return step(frequency)[1] != NUMBER


def periods(rhythm: Rhythm, moments: Floats) -> Floats:
    """The period of each time (n,): whole numbers as float64, NaN where there is no time, or on a day of rest."""
    count, unit = step(rhythm.frequency)
    return COUNTED[unit].periods(moments, rhythm.origin, count * SIZES[unit])


def times(rhythm: Rhythm, periods: NDArray[Any]) -> Floats:
    """The time of each period (n,): seconds since 1970 UTC, or the number."""
    count, unit = step(rhythm.frequency)
    return COUNTED[unit].times(np.asarray(periods), rhythm.origin, count * SIZES[unit])


def away(rhythm: Rhythm, moments: Floats) -> Floats:
    """How far times that have a period (n,) are from its own time, in periods; 0 where they may lie anywhere in it."""
    count, unit = step(rhythm.frequency)
    if unit in MONTHS:
        return np.zeros(len(moments))
    return np.abs(moments - times(rhythm, periods(rhythm, moments))) / (count * SIZES[unit])


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


def week(rhythm: Rhythm) -> str:
    """The days that have periods, where others have none; else nothing.

    >>> [week(Rhythm("day", every, 3 * DAY, 12)) for every in ("1b", "1d")]
    ['Sunday to Thursday', '']
    """
    if not COUNTED[step(rhythm.frequency)[1]].rests:
        return ""
    first = int(rhythm.origin // DAY - MONDAY) % WEEK
    return f"{NAMES[first]} to {NAMES[(first + WORKING - 1) % WEEK]}"


def named(rhythm: Rhythm) -> str:
    """The frequency, with the days that it is about: "1b (Monday to Friday)"."""
    days = week(rhythm)
    return f"{rhythm.frequency} ({days})" if days else rhythm.frequency


def outside(rhythm: Rhythm, moments: Floats) -> Mask:
    """True for each time (n,) that is in no period: on a day of rest."""
    if not COUNTED[step(rhythm.frequency)[1]].rests:
        return np.zeros(len(moments), bool)
    return np.asarray(np.isfinite(moments) & np.isnan(periods(rhythm, moments)))


def at_rest(rhythm: Rhythm) -> str:
    """What is said of such a time."""
    return f"is not from {week(rhythm)}, and so in no period of {rhythm.frequency}"


# --- how units count


class Counted(NamedTuple):
    """How the periods of a unit are counted: each function takes what is asked, the origin and the size of a period.

    `first` is the origin of times, of which some were observed; `mean` the seconds of a mean period, by its size;
    `rests` whether there are times in no period.
    """

    periods: Callable[[Floats, float, float], Floats]
    times: Callable[[NDArray[Any], float, float], Floats]
    first: Callable[[Floats, Mask, float], float]
    mean: float = 1.0
    rests: bool = False


def _even_periods(moments: Floats, origin: float, size: float) -> Floats:
    with np.errstate(over="ignore"):
        found: Floats = np.floor((moments - origin) / size + 0.5)
    return found


def _even_times(periods: NDArray[Any], origin: float, size: float) -> Floats:
    return np.asarray(origin + np.asarray(periods, np.float64) * size)


def _even_first(moments: Floats, seen: Mask, size: float) -> float:
    first = float(moments.min())
    place = _place(moments % size, size)
    return place + size * float(np.floor((first - place) / size + 0.5))


def _month_periods(moments: Floats, origin: float, size: float) -> Floats:
    span, known = int(size), np.isfinite(moments)
    months = _months(np.where(known, moments, 0.0)) // span - _months(np.array([origin])) // span
    return np.where(known, months, np.nan)


def _month_times(periods: NDArray[Any], origin: float, size: float) -> Floats:
    span = int(size)
    first = int(_months(np.array([origin]))[0])
    months = first // span * span + periods.astype(np.int64) * span + first % span
    starts, ends = _starts(months), _starts(months + 1)
    start, end = _starts(np.array([first, first + 1]))
    day, clock = divmod(origin - start, DAY)
    last = day == (end - start) / DAY - 1
    days = (ends - starts) / DAY - 1
    return np.asarray(starts + (days if last else np.minimum(day, days)) * DAY + clock)


def _month_first(moments: Floats, seen: Mask, size: float) -> float:
    months = _months(moments)
    days = np.floor((moments - _starts(months)) / DAY)
    return float(_starts(months[moments.argmin()][None])[0]) if np.median(days) < 1 else float(moments.min())


def _business_periods(moments: Floats, origin: float, size: float) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        days = np.floor((moments - origin) / DAY + 0.5)
        day = days % WEEK
        count = (days - day) / WEEK * WORKING + day
        return np.where(day < WORKING, np.floor(count * DAY / size + 0.5), np.nan)


def _business_times(periods: NDArray[Any], origin: float, size: float) -> Floats:
    weeks, day = np.divmod(np.asarray(periods, np.float64) * size / DAY, WORKING)
    return np.asarray(origin + (weeks * WEEK + day) * DAY)


def _business_first(moments: Floats, seen: Mask, size: float) -> float:
    place, days = _days(moments)
    first = days.min()
    return place + float(first - (first - _begins(days[seen])) % WEEK) * DAY


EVEN = Counted(_even_periods, _even_times, _even_first)
MONTHLY = Counted(_month_periods, _month_times, _month_first, 365.2425 / 12 * DAY)
COUNTED: Mapping[str, Counted] = {
    **dict.fromkeys((*FIXED, NUMBER), EVEN),
    **dict.fromkeys(MONTHS, MONTHLY),
    BUSINESS: Counted(_business_periods, _business_times, _business_first, WEEK / WORKING, True),
}


def _months(moments: Floats) -> NDArray[np.int64]:
    """Months since January 1970 that times lie in."""
    days = np.floor(np.clip(moments, -FARTHEST, FARTHEST) / DAY).astype(np.int64)
    return days.astype("M8[D]").astype("M8[M]").astype(np.int64)


def _starts(months: NDArray[np.int64]) -> Floats:
    """When months begin, in seconds."""
    return np.asarray(months.astype("M8[M]").astype("M8[D]").astype(np.int64) * DAY, np.float64)


# --- found in data


def frequency(moments: Floats, numbers: NDArray[np.int64], dates: bool, seen: Mask | None = None) -> str | None:
    """The frequency of times (n,) in the order of their series (`numbers`) and of time; None where there is none.

    The median step between neighbours: as it is where nine in ten are the same, else the nearest unit of the
    calendar, if it is within a sixth of that. Days are business days if nearly nothing was `seen` (n,) on the others.

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
    found = _exact(middle) if fixed else _nearest(middle)
    at = np.ones(len(moments), bool) if seen is None else seen
    return f"1{BUSINESS}" if found == "1d" and _rests(moments[at], numbers[at]) else found


def _rests(moments: Floats, numbers: NDArray[np.int64]) -> bool:
    """Have two days of each week (nearly) no values, in all and in every series, and the other five all many?

    Whether a series has values on days of rest is asked of two and more: one may be a mistake.
    """
    if not len(moments):
        return False
    _, days = _days(moments)
    day, weeks = (days - _begins(days)) % WEEK, np.unique((days - _begins(days)) // WEEK)
    rest, (_, whose) = day >= WORKING, np.unique(numbers, return_inverse=True)
    each, stray = np.bincount(whose), np.bincount(whose[rest], minlength=int(whose.max()) + 1)
    work = np.bincount(day[~rest], minlength=WORKING)
    alike = rest.mean() <= STRAY and bool((stray <= np.maximum(1, FEW * each)).all())
    return alike and len(weeks) >= WEEKS and bool(work.min() >= FILLED * work.max())


def _days(moments: Floats) -> tuple[float, NDArray[np.int64]]:
    """The usual clock of times of days, in seconds, and the day since 1970 of each by that clock."""
    place = _place(moments % DAY, DAY)
    return place, np.floor((moments - place) / DAY + 0.5).astype(np.int64)


def _begins(days: NDArray[np.int64]) -> int:
    """The first day of a working week, as one of the seven from 1970-01-01 on.

    Monday, unless another week loses less than half of the days, and each of its own came twice.

    >>> sunday = 3 + np.arange(28)
    >>> _begins(sunday), _begins(sunday[sunday % 7 != 1]), _begins(sunday[(sunday - 3) % 7 < 5])
    (4, 4, 3)
    """
    counts = np.bincount(days % WEEK, minlength=WEEK)
    every = counts[(np.arange(WEEK)[:, None] + np.arange(WEEK)) % WEEK]  # the days of the week that begins with each
    lost = every[:, WORKING:].sum(axis=1)
    best = int(lost.argmin())
    return best if 2 * lost[best] < lost[MONDAY] and every[best, :WORKING].min() >= 2 else MONDAY


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


def origin(moments: Floats, frequency: str, seen: Mask | None = None) -> float:
    """The time of period 0: that of the first time, in the place in its period that is usual.

    Where times lie anywhere in their period (a day, say), that is the middle of where they lie. Of business days it
    is the first of the week, whose days of rest are told by the times at which something was `seen`.

    >>> origin(np.array([2, 3600, 7199.0]), "1h")
    0.0
    """
    count, unit = step(frequency)
    return COUNTED[unit].first(moments, np.ones(len(moments), bool) if seen is None else seen, count * SIZES[unit])


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
