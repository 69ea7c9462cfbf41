"""Many series side by side, and what every model asks of them first.

All series end in the last column, whenever that was, so one loop over the columns serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
State = dict[str, Any]
Each = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]  # `map`, or what spreads it

BLOCK = 1_024  # series fitted at once: their states stay in the processor's cache
CRITICAL = 1.645  # of the normal distribution: 90 %, two-sided


@dataclass(frozen=True)
class Panel:
    """Series of different length, right-aligned.

    `values` (series, T) float64: NaN before a series starts and where a value is missing. `ends`
    (series,) is the period of the last column, `numbers` (series,) what each series is called outside.
    `covariates` (series, T, k), known ahead, or None.
    """

    values: Floats
    ends: Ints
    numbers: Ints
    covariates: Floats | None = None

    def rows(self, picked: Any) -> Panel:
        """The panel of some of the series."""
        covariates = None if self.covariates is None else self.covariates[picked]
        return Panel(self.values[picked], self.ends[picked], self.numbers[picked], covariates)

    def newest(self, columns: int) -> Panel:
        """The panel without what lies before its last columns."""
        covariates = None if self.covariates is None else self.covariates[:, -columns:]
        return Panel(self.values[:, -columns:], self.ends, self.numbers, covariates)

    def until(self, back: int) -> Panel:
        """The panel as it was `back` periods earlier: the origin of a backtest. Trailing gaps stay."""
        if back <= 0:
            return self
        covariates = None if self.covariates is None else self.covariates[:, :-back]
        return Panel(self.values[:, :-back], self.ends - back, self.numbers, covariates)


def panel(series: Sequence[Sequence[float] | Floats]) -> Panel:
    """A panel of plain series, which all end at the period that the longest ends at.

    >>> panel([[1, 2, 3], [4]]).values.tolist()
    [[1.0, 2.0, 3.0], [nan, nan, 4.0]]
    """
    longest = max((len(one) for one in series), default=0)
    values = np.full((len(series), longest), np.nan)
    for row, one in zip(values, series, strict=True):
        row[longest - len(one) :] = one
    return Panel(values, np.full(len(series), longest - 1, np.int64), np.arange(len(series)))


def starts(values: Floats) -> Ints:
    """The column of each series' first value; the number of columns where it has none.

    >>> starts(np.array([[np.nan, 2.0], [np.nan, np.nan]])).tolist()
    [1, 2]
    """
    there = ~np.isnan(values)
    first = there.argmax(axis=1) if values.shape[1] else 0
    return np.asarray(np.where(there.any(axis=1), first, values.shape[1]))


def lengths(values: Floats) -> Ints:
    """Columns from the first value to the end."""
    return np.asarray(values.shape[1] - starts(values))


def filled(values: Floats) -> Floats:
    """Gaps on a straight line between their neighbours, trailing ones level; NaN before the start stays.

    >>> filled(np.array([[np.nan, 1.0, np.nan, 3.0, np.nan]])).tolist()
    [[nan, 1.0, 2.0, 3.0, 3.0]]
    """
    first = starts(values)
    columns = np.arange(values.shape[1])
    gaps = np.isnan(values) & (columns >= first[:, None])
    result = values.copy()
    for row in np.flatnonzero(gaps.any(axis=1)):
        known = ~np.isnan(values[row])
        result[row, gaps[row]] = np.interp(columns[gaps[row]], columns[known], values[row, known])
    return result


def leading(values: Floats, first: Ints, count: int) -> Floats:
    """The first `count` values of each series from column `first` on (series, count); NaN beyond the end.

    >>> leading(np.array([[np.nan, 5.0, 6.0]]), np.array([1]), 3).tolist()
    [[5.0, 6.0, nan]]
    """
    places = first[:, None] + np.arange(count)
    inside = places < values.shape[1]
    found = np.take_along_axis(values, np.minimum(places, max(values.shape[1] - 1, 0)), axis=1)
    return np.where(inside, found, np.nan)


def level(values: Floats) -> Floats:
    """The mean size of each series (series,), above zero: what it is divided by to be near one."""
    return _positive(_mean(np.abs(values)), np.ones(len(values)))


def scale(values: Floats, period: int = 1) -> Floats:
    """Mean absolute difference to the value one season before (series,), > 0: the unit of MASE.

    Where that is zero or not known: of neighbours, else the mean size, else 1.

    >>> scale(np.array([[1.0, 2.0, 3.0, 5.0], [7.0, 7.0, 7.0, 7.0]]), 2).tolist()
    [2.5, 7.0]
    """
    found = level(values)
    for lag in (1, period):
        if 0 < lag < values.shape[1]:
            found = _positive(_mean(np.abs(values[:, lag:] - values[:, :-lag])), found)
    return found


def _mean(values: Floats) -> Floats:
    """The mean of each row's values; 0 where there is none."""
    there = ~np.isnan(values)
    return np.asarray(np.where(there, values, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def _positive(values: Floats, otherwise: Floats) -> Floats:
    return np.where(np.isfinite(values) & (values > np.finfo(np.float64).tiny), values, otherwise)


def seasonal(values: Floats, period: int, critical: float = CRITICAL) -> Mask:
    """Whether each series surely repeats itself after `period` columns (series,): the test of the M4 competition.

    The autocorrelation at that lag is compared with its standard error under a shorter memory
    (Bartlett's formula). Less than three seasons say nothing.
    """
    whole = filled(values)
    count = lengths(values)
    if period < 2 or period >= values.shape[1]:
        return np.zeros(len(values), bool)
    centred = np.where(np.isnan(whole), 0.0, whole - _mean(whole)[:, None])
    power = np.maximum((centred**2).sum(axis=1), np.finfo(np.float64).tiny)
    lags = [(centred[:, lag:] * centred[:, :-lag]).sum(axis=1) / power for lag in range(1, period + 1)]
    spread = np.sqrt((1 + 2 * np.sum(np.square(lags[:-1]), axis=0)) / np.maximum(count, 1))
    return np.asarray((count >= 3 * period) & (np.abs(lags[-1]) > critical * spread))


def in_blocks(fit: Callable[[Panel], State], given: Panel, each: Each = map, size: int = BLOCK) -> State:
    """The state of a panel fitted block by block, the series of a block sorted by where they begin.

    `each` spreads the blocks: `engine.processes` where a model is trained. Arrays are joined series by series;
    numbers and strings must be alike in all blocks.
    """
    order = np.argsort(starts(given.values), kind="stable")
    blocks = np.array_split(order, max(-(-len(order) // size), 1))
    parts = list(each(fit, [given.rows(block) for block in blocks]))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return {key: _joined([part[key] for part in parts], back) for key in parts[0]}


def _joined(parts: Sequence[Any], back: NDArray[np.intp]) -> Any:
    return np.concatenate(parts)[back] if isinstance(parts[0], np.ndarray) else parts[0]


def groups(names: NDArray[Any]) -> Iterator[tuple[Any, NDArray[np.intp]]]:
    """Each name with the rows that have it."""
    for name in sorted(set(names.tolist())):
        yield name, np.flatnonzero(names == name)


def of(state: Mapping[str, Any], rows: Any) -> State:
    """The state of some of the series: the rows of its arrays, but for those named all_…, which all series share."""
    return {
        key: value[rows] if isinstance(value, np.ndarray) and not key.startswith("all_") else value
        for key, value in state.items()
    }
