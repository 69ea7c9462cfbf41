"""What a memory answers to rows: forecasts from its table, or computed where rows bring covariates or ask far ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.models.series.memory import FARTHEST, PLAIN, Memory, covariates_of, exact, observe, observed
from keepfit.models.series.panel import Floats, Ints


def answers(memory: Memory, matrix: NDArray[Any]) -> Floats:
    """(n, 2 + models): of each row the scale of its series, the step, and the forecast of each model.

    Observed rows answer themselves (step 0) and move the states of their series for this call. Rows in the
    known past answer what was observed then. NaN where nothing is known: an unknown series without
    observations, a period before the history, a gap in it, more than ten horizons ahead.
    """
    rows = exact(matrix)
    told = np.isfinite(rows[:, 2])
    if not told.any():
        return _looked_up(memory, rows)
    fresh = observe(memory, rows[observed(rows)])
    theirs = fresh.places(rows[:, 0]) >= 0
    found = np.empty((len(rows), 2 + len(memory.about.models)))
    found[theirs], found[~theirs] = _looked_up(fresh, rows[theirs]), _looked_up(memory, rows[~theirs])
    found[told, 1], found[told, 2:] = 0.0, rows[told, 2:3]
    return found


def _looked_up(memory: Memory, rows: Floats) -> Floats:
    found = np.full((len(rows), 2 + len(memory.about.models)), np.nan)
    if not len(memory.numbers):
        return found
    places = memory.places(rows[:, 0])
    steps = rows[:, 1] - memory.ends[places]
    horizon = 0 if memory.about.looks(rows.shape[1]) else memory.about.horizon  # of the table
    with np.errstate(invalid="ignore"):
        near = (places >= 0) & (steps >= 1) & (steps <= horizon)
    if near.all():
        at = steps.astype(np.int64) - 1
        found[:, 0], found[:, 1], found[:, 2:] = memory.scales[places], steps, memory.table[places, at]
        return found
    found[places >= 0, 0] = memory.scales[places[places >= 0]]
    known = np.flatnonzero((places >= 0) & np.isfinite(steps))
    found[known, 1] = np.maximum(steps[known], 0)
    at = np.flatnonzero(near)
    found[at, 2:] = memory.table[places[at], steps[at].astype(np.int64) - 1]
    _past(memory, places, steps, known[steps[known] < 1], found)
    far = (steps[known] > horizon) & (steps[known] <= FARTHEST * memory.about.horizon)
    _far(memory, places, steps, known[far & (steps[known] >= 1)], rows, found)
    return found


def _past(memory: Memory, places: Ints, steps: Floats, rows: NDArray[np.intp], found: Floats) -> None:
    column = memory.history.shape[1] - 1 + steps[rows]
    rows, column = rows[column >= 0], column[column >= 0].astype(np.int64)
    found[rows, 2:] = memory.history[places[rows], column][:, None]


def _far(
    memory: Memory, places: Ints, steps: Floats, rows: NDArray[np.intp], matrix: Floats, found: Floats
) -> None:  # fmt: skip
    """What is not in the table is computed for the series that ask for it.

    Rows that ask for one series and step again, as those do that compare what covariates would bring, are another
    course of things: all second ones belong together, all third ones. Where a course has no row for a step, it is
    that of the first.
    """
    if not len(rows):
        return
    step = steps[rows].astype(np.int64) - 1
    last = int(step.max()) + 1
    same = places[rows] * last + step if matrix.shape[1] > PLAIN else rows
    course = _before(same)
    courses = int(course.max()) + 1
    asked, row = np.unique(places[rows] * courses + course, return_inverse=True)
    outside = covariates_of(matrix[rows], row, step, (len(asked), last))
    if outside is not None and courses > 1:
        given = np.zeros((len(asked), last), bool)
        given[row, step] = True
        first = np.searchsorted(asked, asked - asked % courses)
        outside = np.where(given[:, :, None], outside, outside[first])
    found[rows, 2:] = memory.ahead(asked // courses, last, outside)[row, step]


def _before(keys: Ints) -> Ints:
    """How often each key (n,) came before.

    >>> _before(np.array([7, 5, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(keys, kind="stable")
    found = np.empty_like(keys)
    found[order] = np.arange(len(keys)) - np.searchsorted(keys[order], keys[order])
    return found
