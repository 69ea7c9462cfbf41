"""What a forecasting model knows: the histories of its series and, of each, where its models stand.

Rows come as a matrix (n, 3 or more): number of the series, period, the observed value or NaN. `remember`
makes a `Memory` of rows and fitted models, `answers` asks it, `observe` moves it on by later observations:
parameters stay, states go on. Forecasts of all series for all steps of the horizon are computed once and
looked up afterwards. numpy alone, in training and serving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.extras import load
from keepfit.models.series import MODELS
from keepfit.models.series.panel import Floats, Ints, Panel, State, of, scale

SPARSE = 10  # periods a row, on the average, in a panel of new series,
WIDEST = 1_000  # but these at least
LAST = 2**24  # period that float32 can tell from the next
FARTHEST = 10  # horizons ahead that are forecast; beyond there is no answer


class Model(NamedTuple):
    """A name of MODELS, and what its fit is given: the periods of a season, shortest first, a seed, its options."""

    name: str
    season: tuple[int, ...] = ()
    seed: int = 0
    options: Mapping[str, Any] = MappingProxyType({})

    @property
    def module(self) -> Any:
        return load(MODELS[self.name], "model.type")

    def fit(self, known: Panel, horizon: int) -> State:
        told = {"horizon": horizon} if "horizon" in self.module.DEFAULTS else {}
        state: State = self.module.fit(known, self.season, self.seed, **told, **self.options)
        return state


@dataclass(frozen=True)
class About:
    """What all parts of a memory share. `unit`: the lag of the differences that errors are measured by."""

    models: tuple[Model, ...]
    unit: int
    horizon: int


@dataclass(frozen=True)
class Part:
    """Series whose models have all come equally far: their panel, scales, and a state for each model.

    `factor` (series, models): what a model's forecasts are multiplied by, where models are combined series by
    series: its share in a series over its weight.
    """

    panel: Panel
    scale: Floats
    states: tuple[State, ...]
    factor: Floats

    def only(self, picked: NDArray[Any]) -> Part:
        """The part of some of its series."""
        states = tuple(of(state, picked) for state in self.states)
        return Part(self.panel.rows(picked), self.scale[picked], states, self.factor[picked])


@dataclass(frozen=True)
class Memory:
    """Series by number, in parts."""

    about: About
    parts: tuple[Part, ...]

    @cached_property
    def numbers(self) -> Ints:
        """The numbers of all series, part after part: a series' place is its place here."""
        return np.concatenate([part.panel.numbers for part in self.parts] or [np.empty(0, np.int64)])

    @cached_property
    def ends(self) -> Ints:
        """(series,) the period of each one's last observation."""
        return np.concatenate([part.panel.ends for part in self.parts] or [np.empty(0, np.int64)])

    @cached_property
    def scales(self) -> Floats:
        """(series,)"""
        return np.concatenate([part.scale for part in self.parts] or [np.empty(0)])

    @cached_property
    def history(self) -> Floats:
        """(series, T) what was observed, right-aligned."""
        longest = max((part.panel.values.shape[1] for part in self.parts), default=0)
        padded = [_padded(part.panel.values, longest) for part in self.parts]
        return np.concatenate(padded) if padded else np.empty((0, 0))

    @cached_property
    def table(self) -> Floats:
        """(series, horizon, models) the forecasts."""
        return self.ahead(np.arange(len(self.numbers)), self.about.horizon)

    @cached_property
    def _place(self) -> Ints:
        """Number of a series → its place, -1 for none; one more -1 at the end."""
        found = np.full(int(self.numbers.max(initial=-1)) + 2, -1, np.int64)
        found[self.numbers] = np.arange(len(self.numbers))
        return found

    def places(self, numbers: Floats) -> Ints:
        """(n,) the places of series by their numbers; -1 of those that are not known."""
        last = len(self._place) - 1
        inside = (numbers >= 0) & (numbers < last)
        return self._place[np.where(inside, numbers, last).astype(np.int64)]

    def ahead(self, places: Ints, steps: int) -> Floats:
        """Forecasts (n, steps, models) of the series at `places`."""
        found = np.full((len(places), steps, len(self.about.models)), np.nan)
        start = 0
        for part in self.parts:
            rows = places - start
            mine = (rows >= 0) & (rows < len(part.panel.ends))
            start += len(part.panel.ends)
            if mine.any():
                found[mine] = _forecasts(self.about, part.only(rows[mine]), steps)
        return found

    def only(self, places: Ints) -> Memory:
        """The memory of some of the series."""
        parts, start = [], 0
        for part in self.parts:
            rows = places[(places >= start) & (places < start + len(part.panel.ends))] - start
            start += len(part.panel.ends)
            if len(rows):
                parts.append(part.only(rows))
        return Memory(self.about, tuple(parts))


def _padded(values: Floats, width: int) -> Floats:
    short = width - values.shape[1]
    return np.pad(values, ((0, 0), (short, 0)), constant_values=np.nan) if short else values


def _forecasts(about: About, part: Part, steps: int) -> Floats:
    each = [model.module.forecast(state, steps) for model, state in zip(about.models, part.states, strict=True)]
    return np.stack(each, axis=2) * part.factor[:, None, :]


# --- rows → panel → memory ------------------------------------------------------------------------


def panel(matrix: NDArray[Any], values: Floats) -> Panel:
    """Observed rows as a panel, series in the order of their numbers. Of several values of a period the last stays.

    >>> rows = np.array([[0, 5, np.nan], [0, 3, np.nan], [2, 4, np.nan]])
    >>> made = panel(rows, np.array([5.0, 3.0, 4.0]))
    >>> made.values.tolist(), made.ends.tolist(), made.numbers.tolist()
    ([[3.0, nan, 5.0], [nan, nan, 4.0]], [5, 4], [0, 2])
    """
    numbers, place = np.unique(matrix[:, 0].astype(np.int64), return_inverse=True)
    periods = matrix[:, 1].astype(np.int64)
    ends = np.full(len(numbers), np.iinfo(np.int64).min)
    np.maximum.at(ends, place, periods)
    back = ends[place] - periods
    longest = int(back.max(initial=-1)) + 1
    filled = np.full((len(numbers), longest), np.nan)
    filled[place, longest - 1 - back] = values
    return Panel(filled, ends, numbers)


def remember(about: About, known: Panel) -> Memory:
    """The memory of a panel: each model fitted to it."""
    states = tuple(model.fit(known, about.horizon) for model in about.models)
    factor = np.ones((len(known.numbers), len(states)))
    return Memory(about, (Part(known, scale(known.values, about.unit), states, factor),))


def counted(memory: Memory, factor: Floats) -> Memory:
    """The memory of one model with the factors (numbers,) of its series."""
    parts = (replace(part, factor=factor[part.panel.numbers, None]) for part in memory.parts)
    return Memory(memory.about, tuple(parts))


def observe(memory: Memory, matrix: NDArray[Any]) -> Memory:
    """The memory of the series in `matrix` alone, after the observed rows in it.

    What lies before a known series' last observation is known already and changes nothing; what is later
    than all of a history is long, and ten horizons, is no sequel to it and passed over. A series that is not
    known is fitted to its own rows.
    """
    places = memory.places(matrix[:, 0])
    known = places >= 0
    later = known.copy()
    if known.any():
        gone = matrix[:, 1] - memory.ends[places]
        later &= (gone > 0) & (gone <= memory.history.shape[1] + FARTHEST * memory.about.horizon)
    touched = np.unique(places[known])
    steps = np.zeros(len(memory.numbers), np.int64)
    if later.any():
        np.maximum.at(steps, places[later], (matrix[later, 1] - memory.ends[places[later]]).astype(np.int64))
    parts = [part for count in np.unique(steps[touched]) for part in
             _moved(memory, touched[steps[touched] == count], int(count), matrix[later], places[later])]  # fmt: skip
    if not known.all():
        new = _dense(matrix[~known])
        parts += remember(memory.about, panel(new, new[:, 2])).parts
    return Memory(memory.about, tuple(parts))


def _dense(matrix: NDArray[Any]) -> NDArray[Any]:
    """The rows of series that are no further from their last one than a panel of so many rows may be wide."""
    ends: dict[float, float] = {}
    for number, period in matrix[:, :2].tolist():
        ends[number] = max(period, ends.get(number, period))
    widest = max(WIDEST, SPARSE * len(matrix))
    back = np.array([ends[number] for number in matrix[:, 0].tolist()]) - matrix[:, 1]
    near: NDArray[Any] = matrix[back < widest]
    return near


def _moved(memory: Memory, places: Ints, count: int, matrix: NDArray[Any], owner: Ints) -> Sequence[Part]:
    """The parts of the series at `places`, `count` periods later; `owner` (n,) are the places of the rows."""
    parts = memory.only(places).parts
    if not count:
        return parts
    return [_after(memory, part, count, matrix, owner) for part in parts]


def _after(memory: Memory, part: Part, count: int, matrix: NDArray[Any], owner: Ints) -> Part:
    mine = memory.places(part.panel.numbers.astype(np.float64))
    row = np.full(len(memory.numbers), -1)
    row[mine] = np.arange(len(mine))
    inside = row[owner] >= 0
    taken, there = matrix[inside], row[owner[inside]]
    values = np.full((len(mine), count), np.nan)
    values[there, (taken[:, 1] - part.panel.ends[there]).astype(np.int64) - 1] = taken[:, 2]
    models = zip(memory.about.models, part.states, strict=True)
    states = tuple(model.module.update(state, values) for model, state in models)
    grown = Panel(np.concatenate([part.panel.values, values], axis=1), part.panel.ends + count, part.panel.numbers)
    return Part(grown, part.scale, states, part.factor)


def refreshed(memory: Memory, matrix: NDArray[Any]) -> Memory:
    """The memory of all series after the observed rows of a matrix.

    Rows without a value are passed over, and so are series that are not known: their numbers mean something in
    the matrix alone.
    """
    rows = _rows(matrix)
    moved = observe(memory, rows[np.isfinite(rows).all(axis=1) & (memory.places(rows[:, 0]) >= 0)])
    rest = np.flatnonzero(moved.places(memory.numbers.astype(np.float64)) < 0)
    return Memory(memory.about, (*moved.parts, *memory.only(rest).parts))


# --- asked ----------------------------------------------------------------------------------------


def answers(memory: Memory, matrix: NDArray[Any]) -> Floats:
    """(n, 2 + models): of each row the scale of its series, the step, and the forecast of each model.

    Observed rows answer themselves (step 0) and move the states of their series for this call. Rows in the
    known past answer what was observed then. NaN where nothing is known: an unknown series without
    observations, a period before the history, a gap in it, more than ten horizons ahead.
    """
    rows = _rows(matrix)
    told, observed = np.isfinite(rows[:, 2]), np.isfinite(rows).all(axis=1)
    if not told.any():
        return _looked_up(memory, rows)
    fresh = observe(memory, rows[observed])
    theirs = fresh.places(rows[:, 0]) >= 0
    found = np.empty((len(rows), 2 + len(memory.about.models)))
    found[theirs], found[~theirs] = _looked_up(fresh, rows[theirs]), _looked_up(memory, rows[~theirs])
    found[told, 1], found[told, 2:] = 0.0, rows[told, 2:3]
    return found


def _rows(matrix: NDArray[Any]) -> Floats:
    """Number, period and past of each row (n, 3); periods that float32 cannot count are no periods."""
    rows = np.array(matrix[:, :3], np.float64)
    rows[~(np.abs(rows[:, 1]) <= LAST), 1] = np.nan
    return rows


def _looked_up(memory: Memory, rows: Floats) -> Floats:
    found = np.full((len(rows), 2 + len(memory.about.models)), np.nan)
    if not len(memory.numbers):
        return found
    places = memory.places(rows[:, 0])
    steps = rows[:, 1] - memory.ends[places]
    horizon = memory.about.horizon
    with np.errstate(invalid="ignore"):
        near = (places >= 0) & (steps >= 1) & (steps <= horizon)
    if near.all():
        at = steps.astype(np.int64) - 1
        found[:, 0], found[:, 1], found[:, 2:] = memory.scales[places], steps, memory.table[places, at]
        return found
    known = np.flatnonzero((places >= 0) & np.isfinite(steps))
    found[known, 0], found[known, 1] = memory.scales[places[known]], np.maximum(steps[known], 0)
    at = np.flatnonzero(near)
    found[at, 2:] = memory.table[places[at], steps[at].astype(np.int64) - 1]
    _past(memory, places, steps, known[steps[known] < 1], found)
    _far(memory, places, steps, known[(steps[known] > horizon) & (steps[known] <= FARTHEST * horizon)], found)
    return found


def _past(memory: Memory, places: Ints, steps: Floats, rows: NDArray[np.intp], found: Floats) -> None:
    column = memory.history.shape[1] - 1 + steps[rows]
    rows, column = rows[column >= 0], column[column >= 0].astype(np.int64)
    found[rows, 2:] = memory.history[places[rows], column][:, None]


def _far(memory: Memory, places: Ints, steps: Floats, rows: NDArray[np.intp], found: Floats) -> None:
    if len(rows):
        asked, row = np.unique(places[rows], return_inverse=True)
        ahead = memory.ahead(asked, int(steps[rows].max()))
        found[rows, 2:] = ahead[row, steps[rows].astype(np.int64) - 1]
