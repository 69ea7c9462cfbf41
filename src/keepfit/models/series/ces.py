"""Complex exponential smoothing: the level and what is not seen of it as one complex number.

Svetunkov, Kourentzes, Ord, "Complex exponential smoothing", Naval Research Logistics 69, 2022. The
smoothing parameter is complex, so that one model follows series with a trend and without, and nothing
has to be chosen. The season is taken off before: that was closer on monthly series, at every origin
tried, than the paper's forms with a season of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keepfit import engine
from keepfit.models.series import decomposition, recursion, search
from keepfit.models.series.panel import Floats, Panel, State, filled, in_blocks, leading, level, starts
from keepfit.models.series.recursion import States, known

DEFAULTS: Mapping[str, Any] = {}
LOW, HIGH = np.array([0.01, 0.01]), np.array([1.8, 1.9])  # real and imaginary part of the smoothing
GRID = np.array([
    [1.3, 1.0], [0.5, 1.0], [0.1, 1.0], [0.9, 1.0], [1.5, 1.05], [1.0, 0.8], [0.3, 1.02], [0.7, 0.95], [1.7, 1.1],
])  # fmt: skip
OPENING = 10  # values whose mean the level begins with
SHADE = 1.1  # what that is divided by to begin what is not seen
SHORT = 8  # values below which the last one is repeated


def fit(panel: Panel, season: tuple[int, ...], seed: int = 0) -> State:
    """The smoothing of each series, and its states at the end."""
    return in_blocks(lambda block: _fit(block, season, GRID, search.minimise), panel, engine.processes)


def adopt(state: Mapping[str, Any], panel: Panel) -> State:
    """The state of other series: the smoothing of the known ones tells where to look, and not for long."""
    season = [one["factors"].shape[1] for one in decomposition.taken(state)]
    grid = np.concatenate([GRID, search.usual(state["parameters"])])
    return in_blocks(lambda block: _fit(block, season, grid, search.glance), panel)


def _fit(panel: Panel, season: Sequence[int], grid: Floats, find: search.Find) -> State:
    adjusted, seasons = decomposition.take_off(panel.values, season)
    size, first = level(adjusted), starts(adjusted)
    scaled = adjusted / size[:, None]
    opening = _opening(scaled)
    columns = scaled.T[:, :, None]

    def loss(points: Floats, rows: Any) -> Floats:
        parameters = points.transpose(2, 0, 1)
        states = _begin(opening[rows], points.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            return recursion.squares(_step, columns[:, rows], first[rows], parameters, states)

    best, _ = find(loss, np.repeat(grid[None], len(scaled), axis=0), LOW, HIGH)
    states = _begin(opening, 1)
    recursion.settled(_step, columns, first, best.T[:, :, None], states)
    short = (~np.isnan(adjusted)).sum(axis=1) < SHORT
    states[0][short] = filled(scaled)[short, -1:] if scaled.shape[1] else np.nan
    return {
        "form": np.where(short, "naive", "complex"),
        "parameters": best,
        "size": size,
        "column": scaled.shape[1],
        **recursion.stored(states),
        **decomposition.stored(seasons),
    }


def _opening(scaled: Floats) -> Floats:
    """The mean of the first values (series,)."""
    start = leading(scaled, starts(scaled), OPENING) if scaled.shape[1] else np.full((len(scaled), 1), np.nan)
    there = ~np.isnan(start)
    return np.asarray(np.where(there, start, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1))


def _begin(opening: Floats, candidates: int) -> States:
    level = np.repeat(opening[:, None], candidates, axis=1)
    return level, level / SHADE


def _step(parameters: Floats, states: States, value: Floats, column: int) -> Floats:
    """One column: its forecast, and the complex level after it."""
    (real, imaginary), (level, shade) = parameters, states
    mean = level.copy()
    error = known(value, mean) - mean
    level -= (1 - imaginary) * shade
    level += (real - imaginary) * error
    shade *= 1 - real
    shade += mean
    shade += (real + imaginary) * error
    return np.asarray(mean)


STEPS: Mapping[str, recursion.Step] = {"complex": _step, "naive": recursion.naive}


def forecast(state: Mapping[str, Any], steps: int) -> Floats:
    """Forecasts (series, steps)."""
    return recursion.forecast(state, steps, STEPS)


def update(state: Mapping[str, Any], values: Floats) -> State:
    """The state after `values` (series, k)."""
    return recursion.update(state, values, STEPS)
