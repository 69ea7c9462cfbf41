"""What a forecasting model knows: the histories of its series and, of each, where its models stand.

Rows come as a matrix (n, 3 or more): number of the series, period, the observed value or NaN, and covariates.
Rows that are asked about bring theirs, but for the last `past` columns: those count in observed rows only. `remember`
makes a `Memory` of rows and fitted models, `answers` asks it, `observe` moves it on by later observations:
parameters stay, states go on. Forecasts of all series for all steps of the horizon are computed once and
looked up afterwards, unless a model looks at covariates of the rows that are asked about. numpy alone, in
training and serving.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.extras import load
from keepfit.models.series import MODELS
from keepfit.models.series.panel import Floats, Ints, Panel, State, of, scale

PLAIN = 3  # columns before the covariates
SPARSE = 10  # periods a row, on the average, in a panel of new series,
WIDEST = 1_000  # but these at least
RECENT, SEASONS = 120, 4  # periods, and longest seasons, of new series that models look at, whichever are more
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

    @property
    def outside(self) -> bool:
        """Does it look at covariates?"""
        return _looks_outside(self.name)

    def fit(self, known: Panel, about: About) -> State:
        every = {"horizon": about.horizon, "past": about.past}
        told = {name: value for name, value in every.items() if name in self.module.DEFAULTS}
        state: State = self.module.fit(known, self.season, self.seed, **told, **self.options)
        return state

    def forecast(self, state: State, steps: int, covariates: Floats | None) -> Floats:
        """(series, steps); covariates (series, steps, k)."""
        found: Floats = self.module.forecast(state, steps, *([covariates] if self.outside else []))
        return found

    def update(self, state: State, values: Floats, covariates: Floats | None) -> State:
        """The state after values (series, k); covariates (series, k, columns)."""
        moved: State = self.module.update(state, values, *([covariates] if self.outside else []))
        return moved


@cache
def _looks_outside(name: str) -> bool:
    return "covariates" in inspect.signature(load(MODELS[name], "model.type").forecast).parameters


@dataclass(frozen=True)
class About:
    """What all parts of a memory share.

    `unit`: the lag of the differences that errors are measured by; `past`: how many of the last covariates are
    known up to the last observation only.
    """

    models: tuple[Model, ...]
    unit: int
    horizon: int
    past: int = 0

    def looks(self, width: int) -> bool:
        """Does a model look at covariates of the rows that are asked about, `width` columns wide?"""
        return width > PLAIN + self.past and any(model.outside for model in self.models)


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

    def ahead(self, places: Ints, steps: int, covariates: Floats | None = None) -> Floats:
        """Forecasts (n, steps, models) of the series at `places`; covariates (n, steps, k)."""
        found = np.full((len(places), steps, len(self.about.models)), np.nan)
        start = 0
        for part in self.parts:
            rows = places - start
            mine = (rows >= 0) & (rows < len(part.panel.ends))
            start += len(part.panel.ends)
            if mine.any():
                outside = None if covariates is None else covariates[mine]
                found[mine] = _forecasts(self.about, part.only(rows[mine]), steps, outside)
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


def _forecasts(about: About, part: Part, steps: int, covariates: Floats | None) -> Floats:
    models = zip(about.models, part.states, strict=True)
    each = [model.forecast(state, steps, covariates) for model, state in models]
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
    return Panel(filled, ends, numbers, covariates_of(matrix, place, longest - 1 - back, filled.shape))


def covariates_of(matrix: NDArray[Any], place: Ints, column: Ints, shape: tuple[int, ...]) -> Floats | None:
    """The covariates of rows (*shape, k) at their places and columns, NaN elsewhere; None where there are none."""
    if matrix.shape[1] <= PLAIN:
        return None
    found = np.full((*shape, matrix.shape[1] - PLAIN), np.nan)
    found[place, column] = matrix[:, PLAIN:]
    return found


def remember(about: About, known: Panel) -> Memory:
    """The memory of a panel: each model fitted to it."""
    states = tuple(model.fit(known, about) for model in about.models)
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
        parts.append(_joining(memory, panel(new, new[:, 2])))
    return Memory(memory.about, tuple(parts))


def _joining(memory: Memory, new: Panel) -> Part:
    """New series: what a model learned of the known ones goes for them too, the others are fitted to their own rows.

    Somebody waits for it, so models look at the newest part of a history alone.
    """
    most = max(memory.parts, key=lambda part: len(part.panel.ends), default=None)
    known = most.states if most else (None,) * len(memory.about.models)
    states = tuple(_joined(memory.about, *pair, new) for pair in zip(memory.about.models, known, strict=True))
    return Part(new, scale(new.values, memory.about.unit), states, np.ones((len(new.numbers), len(states))))


def _joined(about: About, model: Model, state: State | None, new: Panel) -> State:
    """One model's state of new series. What it looks at depends on nothing of the models beside it."""
    recent = new.newest(max(RECENT, SEASONS * max(model.season, default=1)))
    if state and hasattr(model.module, "adopt"):
        adopted: State = model.module.adopt(state, recent)
        return adopted
    return model.fit(recent, about)


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
    column = (taken[:, 1] - part.panel.ends[there]).astype(np.int64) - 1
    values[there, column] = taken[:, 2]
    outside = covariates_of(taken, there, column, values.shape)
    models = zip(memory.about.models, part.states, strict=True)
    states = tuple(model.update(state, values, outside) for model, state in models)
    grown = Panel(np.concatenate([part.panel.values, values], axis=1), part.panel.ends + count, part.panel.numbers)
    return Part(grown, part.scale, states, part.factor)


def refreshed(memory: Memory, matrix: NDArray[Any]) -> Memory:
    """The memory of all series after the observed rows of a matrix.

    Rows without a value are passed over, and so are series that are not known: their numbers mean something in
    the matrix alone.
    """
    rows = exact(matrix)
    moved = observe(memory, rows[observed(rows) & (memory.places(rows[:, 0]) >= 0)])
    rest = np.flatnonzero(moved.places(memory.numbers.astype(np.float64)) < 0)
    made = Memory(memory.about, (*moved.parts, *memory.only(rest).parts))
    vars(made)["table"] = np.concatenate([moved.table, memory.table[rest]])  # as the property keeps it; not all anew
    return made


def exact(matrix: NDArray[Any]) -> Floats:
    """The rows in float64; periods that float32 cannot count are no periods."""
    rows = np.array(matrix, np.float64)
    rows[~(np.abs(rows[:, 1]) <= LAST), 1] = np.nan
    return rows


def observed(rows: Floats) -> NDArray[np.bool_]:
    """(n,) True for rows of a series and a period with a value."""
    return np.asarray(np.isfinite(rows[:, :PLAIN]).all(axis=1))
