"""The optimised Theta method, standard and dynamic.

Fiorucci, Pellegrini, Louzada, Petropoulos, Koehler, "Models for optimising the theta method and their
relationship to state space models", International Journal of Forecasting 32, 2016. A series is a
blend of a straight line and of simple exponential smoothing; the share of the line, the smoothing and
the first level are searched for by the sum of squared one-step errors. The dynamic form learns the
line as it goes. The season is taken off before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keepfit import engine
from keepfit.models.series import decomposition, recursion, search
from keepfit.models.series.panel import Floats, Ints, Panel, State, filled, in_blocks, leading, lengths, level, starts
from keepfit.models.series.recursion import States, known

DEFAULTS: Mapping[str, Any] = {"dynamic": True}
SMOOTHING = (0.05, 0.99)
GRID = np.array([[a, w, 0.0] for a in (0.1, 0.3, 0.5, 0.7, 0.9) for w in (0.2, 0.5, 0.8)])
REACH = 2.0  # standard deviations of the series that the first level may lie from the first value
SHORT = 5  # values below which the last one is repeated


def fit(panel: Panel, season: tuple[int, ...], seed: int = 0, *, dynamic: bool = True) -> State:
    """Smoothing, share of the line and first level of each series, and its states at the end."""
    form = "dynamic" if dynamic else "standard"
    return in_blocks(lambda block: _fit(block, season, form, GRID, search.minimise), panel, engine.processes)


def adopt(state: Mapping[str, Any], panel: Panel) -> State:
    """The state of other series: what the known ones have for parameters tells where to look, and not for long."""
    season = [one["factors"].shape[1] for one in decomposition.taken(state)]
    form = "standard" if "standard" in state["form"] else "dynamic"
    grid = np.concatenate([GRID, search.usual(state["parameters"])])
    return in_blocks(lambda block: _fit(block, season, form, grid, search.glance), panel)


def _fit(panel: Panel, season: Sequence[int], form: str, grid: Floats, find: search.Find) -> State:
    adjusted, seasons = decomposition.take_off(panel.values, season)
    first, size = starts(adjusted), level(adjusted)
    scaled = adjusted / size[:, None]
    opening = leading(scaled, first, 1)[:, 0]
    line = _line(scaled, first)
    columns, step = scaled.T[:, :, None], STEPS[form]

    def loss(points: Floats, rows: Any) -> Floats:
        parameters = points.transpose(2, 0, 1)
        states = _begin(form, parameters, opening[rows], line[:, rows])
        return recursion.squares(step, columns[:, rows], first[rows] + 1, parameters, states)

    best = _search(loss, scaled, opening, grid, find)
    parameters = best.T[:, :, None]
    states = _begin(form, parameters, opening, line)
    recursion.settled(step, columns, first + 1, parameters, states)
    forms = np.full(len(scaled), form, "U8")
    short = lengths(adjusted) < SHORT
    forms[short] = "naive"
    states[0][short] = filled(scaled)[short, -1:] if scaled.shape[1] else np.nan
    return {
        "form": forms,
        "parameters": best,
        "size": size,
        "column": scaled.shape[1],
        **recursion.stored(states),
        **decomposition.stored(seasons),
    }


def _search(loss: search.Loss, scaled: Floats, opening: Floats, grid: Floats, find: search.Find) -> Floats:
    """The best parameters (series, 3)."""
    there = ~np.isnan(scaled)
    spread = np.sqrt(np.where(there, (scaled - 1) ** 2, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1))
    centre = np.nan_to_num(opening)
    grid = np.repeat(grid[None], len(scaled), axis=0)
    grid[:, :, 2] = centre[:, None]
    low = np.stack([np.full(len(scaled), SMOOTHING[0]), np.zeros(len(scaled)), centre - REACH * spread], axis=1)
    high = np.stack([np.full(len(scaled), SMOOTHING[1]), np.ones(len(scaled)), centre + REACH * spread], axis=1)
    return find(loss, grid, low, high)[0]


def _line(scaled: Floats, first: Ints) -> Floats:
    """Intercept and slope (2, series) of the least-squares line over 1, 2, … from the first value on."""
    whole = filled(scaled)
    there = ~np.isnan(whole)
    time = np.where(there, np.arange(scaled.shape[1]) - first[:, None] + 1.0, 0.0)
    count = np.maximum(there.sum(axis=1), 1)
    middle, mean = time.sum(axis=1) / count, np.where(there, whole, 0.0).sum(axis=1) / count
    apart = np.where(there, time - middle[:, None], 0.0)
    slope = (apart * np.nan_to_num(whole)).sum(axis=1) / np.maximum((apart**2).sum(axis=1), 1.0)
    return np.stack([mean - slope * middle, slope])


def _begin(form: str, parameters: Floats, opening: Floats, line: Floats) -> States:
    """States after the first value: level, mean, slope and intercept of the line, (1 - smoothing)^values, values."""
    smoothing, _, before = parameters
    one = opening[:, None]
    each = np.broadcast_to(one, smoothing.shape)
    intercept, slope = (each.copy(), np.zeros_like(each)) if form == "dynamic" else _wide(line, smoothing.shape)
    return (
        smoothing * one + (1 - smoothing) * before, each.copy(), slope, intercept, 1 - smoothing, np.ones(each.shape)
    )  # fmt: skip


def _wide(line: Floats, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    return np.broadcast_to(line[0][:, None], shape).copy(), np.broadcast_to(line[1][:, None], shape).copy()


def _standard(parameters: Floats, states: States, value: Floats, column: int) -> Floats:
    """One column with a line that stays."""
    smoothing, share, _ = parameters
    level, _, slope, intercept, decay, _ = states
    rest = 1 - smoothing
    mean = level + share * (decay * intercept + (1 - decay * rest) / smoothing * slope)
    value = known(value, mean)
    level *= rest
    level += smoothing * value
    decay *= rest
    return np.asarray(mean)


def _dynamic(parameters: Floats, states: States, value: Floats, column: int) -> Floats:
    """One column, and the line learns from it."""
    mean = _standard(parameters, states, value, column)
    _, middle, slope, intercept, _, count = states
    value = known(value, mean)
    count += 1
    slope *= count - 2
    slope += 6 * (value - middle) / count
    slope /= count + 1
    middle += (value - middle) / count
    np.subtract(middle, slope * (count + 1) / 2, out=intercept)
    return mean


STEPS: Mapping[str, recursion.Step] = {"standard": _standard, "dynamic": _dynamic, "naive": recursion.naive}


def forecast(state: Mapping[str, Any], steps: int) -> Floats:
    """Forecasts (series, steps)."""
    return recursion.forecast(state, steps, STEPS)


def update(state: Mapping[str, Any], values: Floats) -> State:
    """The state after `values` (series, k)."""
    return recursion.update(state, values, STEPS)
