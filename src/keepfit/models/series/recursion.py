"""Running a recursion over the columns of a panel, for all series and candidates of parameters at once.

A model is one function `step(parameters, states, value, column)`: it gives the forecast of that
column and moves the states on, in place. Arrays have the shape (…, series, candidates); `value` is
(series, 1), NaN where it is not known, and then the step takes its own forecast. The rows are sorted
by their first column, so that the series that have begun are always the first ones: what has not
begun costs nothing and keeps its initial states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keepfit.models.series.decomposition import put_back, take_off_again, taken
from keepfit.models.series.panel import Floats, Ints, State, groups, of

States = tuple[Floats, ...]
Step = Callable[[Floats, States, Floats, int], Floats]
Visit = Callable[[Floats, Floats, int], None]


def run(step: Step, values: Floats, first: Ints, parameters: Floats, states: States, visit: Visit) -> None:
    """Call `visit(forecast, value, begun)` for each column with the forecast (begun, candidates) of it.

    Args:
        values: (T, series, 1).
        first: (series,) the column that each series begins with, ascending.
        parameters: (d, series, candidates).
        states: are moved on to the end.
    """
    begun = np.searchsorted(first, np.arange(len(values)), side="right")
    for column, count in enumerate(begun.tolist()):
        if count:
            part = states if count == len(first) else tuple(state[..., :count, :] for state in states)
            value = values[column, :count]
            visit(step(parameters[:, :count], part, value, column), value, count)


def squares(step: Step, values: Floats, first: Ints, parameters: Floats, states: States) -> Floats:
    """Sums of squared one-step errors (series, candidates); gaps do not count."""
    total = np.zeros(parameters.shape[1:])

    def add(mean: Floats, value: Floats, count: int) -> None:
        error = known(value, mean) - mean
        error *= error
        total[:count] += error

    run(step, values, first, parameters, states, add)
    return total


def known(value: Floats, mean: Floats) -> Floats:
    """The value, or the forecast where it is not known."""
    gap = np.isnan(value)
    return np.where(gap, mean, value) if gap.any() else value


def settled(step: Step, values: Floats, first: Ints, parameters: Floats, states: States) -> States:
    """The states after all values; `parameters` (d, series, 1)."""
    run(step, values, first, parameters, states, lambda mean, value, count: None)
    return states


def naive(parameters: Floats, states: States, value: Floats, column: int) -> Floats:
    """The step of what is too short for anything else: the last value stays."""
    (last, *_) = states
    mean = last.copy()
    last[...] = known(value, mean)
    return mean


def stored(states: States) -> dict[str, Floats]:
    """States of one candidate as arrays `state0`, `state1`, … (series, …) of a state that is kept."""
    return {f"state{at}": np.moveaxis(state[..., 0], -1, 0).copy() for at, state in enumerate(states)}


def _live(state: Mapping[str, Any]) -> tuple[Floats, States]:
    """Parameters (d, series, 1) and states of a kept state, as a step takes them."""
    kept = (state[f"state{at}"] for at in range(sum(key.startswith("state") for key in state)))
    return state["parameters"].T[:, :, None], tuple(np.moveaxis(array, 0, -1)[..., None].copy() for array in kept)


def forecast(state: Mapping[str, Any], steps: int, table: Mapping[str, Step]) -> Floats:
    """Forecasts (series, steps) of a kept state: `form` names each series' step in the table.

    Such a state holds `form`, `parameters` (series, d), `state0`, … (series, …), `size` (what values are
    divided by), what `decomposition.stored` gave, and `column` (how many columns were seen).
    """
    result = np.empty((len(state["form"]), steps))
    for form, rows in groups(state["form"]):
        parameters, states = _live(of(state, rows))
        unknown = np.full((len(rows), 1), np.nan)
        for at in range(steps):
            result[rows, at] = table[form](parameters, states, unknown, state["column"] + at)[:, 0]
    return put_back(result * state["size"][:, None], taken(state), state["column"])


def update(state: Mapping[str, Any], values: Floats, table: Mapping[str, Step]) -> State:
    """The kept state after `values` (series, k), NaN for gaps; the parameters stay."""
    scaled = take_off_again(values, taken(state), state["column"]) / state["size"][:, None]
    changed = {key: value.copy() for key, value in state.items() if key.startswith("state")}
    for form, rows in groups(state["form"]):
        parameters, states = _live(of(state, rows))
        for at in range(values.shape[1]):
            table[form](parameters, states, scaled[rows, at : at + 1], state["column"] + at)
        for name, part in stored(states).items():
            changed[name][rows] = part
    return {**state, **changed, "column": state["column"] + values.shape[1]}
