"""Searching for the parameters of thousands of series at once.

Nelder and Mead, "A simplex method for function minimization", The Computer Journal 7, 1965: each
series has a simplex of its own, and one call of the loss serves the trial points of all of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit import engine
from keepfit.models.series.panel import Floats

# loss(points (series, candidates, parameters), rows (series,)) -> (series, candidates); rows says which series
Loss = Callable[[Floats, NDArray[np.intp]], Floats]
# Find(loss, grid, low, high) -> parameters, loss: `minimise` or `glance`
Find = Callable[[Loss, Floats, Floats, Floats], tuple[Floats, Floats]]
REFLECT, EXPAND, OUTSIDE, INSIDE, SHRINK = range(5)
MOVES = np.array([1.0, 2.0, 0.5, -0.5])[:, None]  # along the way from the worst point through the centre
LOOK = 8  # steps between two looks at which series are done
REACHES = (0.3, 0.1, 0.03)  # of the range between the bounds: how far the clouds of `glance` go
CLOUD = 96  # points of a cloud
SHOWN = 40  # parameters of other series that are tried


def minimise(
    loss: Loss, grid: Floats, low: Floats, high: Floats, steps: int = 30, tolerance: float = 3e-4
) -> tuple[Floats, Floats]:
    """The best parameters of each series (series, d), and their loss (series,).

    Args:
        grid: (series, candidates, d) points to begin with; the best of each series is refined.
        low, high: (series, d) or (d,) bounds.
        tolerance: relative difference of the losses in a simplex that ends the search of a series.
    """
    every = np.arange(len(grid))
    low, high = (np.broadcast_to(bound, (len(grid), grid.shape[2])) for bound in (low, high))
    first = _finite(loss(grid, every))
    best = grid[every, first.argmin(axis=1)]
    simplex = _around(best, low, high)
    values = np.concatenate([first.min(axis=1)[:, None], _finite(loss(simplex[:, 1:], every))], axis=1)
    rows = every
    for step in range(steps):
        engine.look()
        if step % LOOK == 0:
            rows = rows[_open(values[rows], tolerance)]
        if not len(rows):
            break
        simplex[rows], values[rows] = _step(loss, simplex[rows], values[rows], rows, low[rows], high[rows])
    chosen = values.argmin(axis=1)
    return simplex[every, chosen], values[every, chosen]


def glance(
    loss: Loss, grid: Floats, low: Floats, high: Floats, reaches: Sequence[float] = REACHES
) -> tuple[Floats, Floats]:
    """About what `minimise` finds, in a call of the loss and one more for each of `reaches`.

    The best of the grid, then the best of a cloud around it, and so on. A call costs little more for a hundred
    points than for one where there are few series, so this takes a tenth of the time then.
    """
    every = np.arange(len(grid))
    low, high = (np.broadcast_to(bound, (len(grid), grid.shape[2])) for bound in (low, high))
    values = _finite(loss(grid, every))
    best = grid[every, values.argmin(axis=1)]
    for reach in reaches:
        points = best[:, None] + reach * (high - low)[:, None] * _cloud(grid.shape[2])
        points = np.clip(points, low[:, None], high[:, None])
        values = _finite(loss(points, every))
        best = points[every, values.argmin(axis=1)]
    return best, values.min(axis=1)


@functools.cache
def _cloud(d: int) -> Floats:
    """Points (CLOUD, d) around zero, the first of them zero; most differ from it in some parameters only."""
    draw = np.random.default_rng(0)
    points = draw.normal(size=(CLOUD, d)) * (draw.random((CLOUD, d)) < 0.6)
    points[0] = 0.0
    return points


def usual(parameters: Floats) -> Floats:
    """Some of the parameters (series, d) that were found for many series, as a grid."""
    there = parameters[np.isfinite(parameters).all(axis=1)]
    return there[np.unique(np.linspace(0, len(there) - 1, SHOWN).astype(np.intp))] if len(there) else there


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, 1e300)


def _open(values: Floats, tolerance: float) -> Any:
    smallest = values.min(axis=1)
    return values.max(axis=1) - smallest > tolerance * np.abs(smallest) + 1e-300


def _around(best: Floats, low: Floats, high: Floats) -> Floats:
    """A simplex (series, d + 1, d): each point and its neighbours a tenth of the range away, inwards."""
    d = best.shape[1]
    step = 0.1 * (high - low)
    step = np.where(best + step > high, -step, step)
    return np.concatenate([best[:, None], best[:, None] + step[:, :, None] * np.eye(d)], axis=1)


def _step(
    loss: Loss, simplex: Floats, values: Floats, rows: NDArray[np.intp], low: Floats, high: Floats
) -> tuple[Floats, Floats]:
    """One step of every simplex. All four moves are tried in one call; which counts is decided afterwards."""
    order = values.argsort(axis=1)
    simplex = np.take_along_axis(simplex, order[:, :, None], axis=1)
    values = np.take_along_axis(values, order, axis=1)
    centre = simplex[:, :-1].mean(axis=1)
    points = centre[:, None] + MOVES * (centre - simplex[:, -1])[:, None]
    points = np.clip(points, low[:, None], high[:, None])
    found = _finite(loss(points, rows))
    move = _moves(found, values)
    at = np.flatnonzero(move != SHRINK)
    simplex[at, -1], values[at, -1] = points[at, move[at]], found[at, move[at]]
    at = np.flatnonzero(move == SHRINK)
    if len(at):
        simplex[at, 1:] = (simplex[at, :1] + simplex[at, 1:]) / 2
        values[at, 1:] = _finite(loss(simplex[at, 1:], rows[at]))
    return simplex, values


def _moves(found: Floats, values: Floats) -> NDArray[np.intp]:
    """Which move each simplex takes."""
    reflected = found[:, REFLECT]
    far = np.where(found[:, EXPAND] < reflected, EXPAND, REFLECT)
    outside = np.where(found[:, OUTSIDE] <= reflected, OUTSIDE, SHRINK)
    inside = np.where(found[:, INSIDE] < values[:, -1], INSIDE, SHRINK)
    near = np.where(reflected < values[:, -1], outside, inside)
    return np.where(reflected < values[:, 0], far, np.where(reflected < values[:, -2], REFLECT, near))
