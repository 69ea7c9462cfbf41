"""Scores from the tables of bit masks (`deployment.tree_tables`), in numpy.

A single row looks up one entry for each axis. For many rows, axes of few bins are taken together first: a
table with a row for each pair of their bins is one look-up in place of two. Bins of thresholds are found by
counting those below the value, all values at once: no branch, so for as few as there mostly are it is faster
than a search. Every way sums the same leaves in the same order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.deployment.tree_tables import HOLED, SET, ZERO, Axis, Floats, Tables

Matrix = NDArray[np.float32]
Places = NDArray[np.intp]
CELLS = 200_000  # of the tables of axes that are taken together: 800 kB with 32-bit masks
BLOCK = 20_000  # masks worked on at once: they stay in the processor's cache
SHARE = 2_048  # rows that are worth a thread
COUNTED = 128  # up to so many thresholds are counted, more are searched (as uint8: at most 255)


class Joint(NamedTuple):
    """Axes taken together. The row of a group's table in `masks` is the sum of its axes' bins, each times its
    step; a group's axes stand together, from its place in `first` on."""

    axes: tuple[Axis, ...]
    steps: Places  # (axes, 1)
    first: Places  # (groups,)
    masks: tuple[NDArray[Any], ...]


def scorer(found: Tables, threads: int = 1) -> Callable[[Matrix], Floats]:
    """The function from a matrix (rows, width) to raw scores (rows, outputs) float64."""
    alone, some = _one(found), _many(found)

    def score(matrix: Matrix) -> Floats:
        if len(matrix) == 1:
            return alone(matrix)
        scores = np.empty((len(matrix), len(found.first)))
        step = max(-(-len(matrix) // threads), SHARE)
        parts = [(matrix[at : at + step], scores[at : at + step]) for at in range(0, len(matrix), step)]
        if len(parts) < 2:
            for part in parts:
                some(*part)
            return scores
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(some, *part) for part in parts]:
                done.result()
        return scores

    return score


def _many(found: Tables) -> Callable[[Matrix, Floats], None]:
    """The function that fills the scores (rows, outputs) of a matrix's rows."""
    joint = _joint(found)
    bins, (start, *others) = _bins(joint), joint.masks
    trees = found.masks.shape[1]
    block = max(BLOCK // trees, 1)

    def fill(matrix: Matrix, scores: Floats) -> None:
        places = np.add.reduceat(bins(matrix), joint.first, axis=0)
        size = (min(block, len(matrix)), trees)
        left, entry = np.empty(size, found.masks.dtype), np.empty(size, found.masks.dtype)
        exponent, values = np.empty(size, f"f{found.bits // 8}"), np.empty(size)
        for at in range(0, len(matrix), block):
            first, *more = places[:, at : at + block]
            rows = len(first)
            mine, other = left[:rows], entry[:rows]
            start.take(first, 0, mine, "clip")
            for table, place in zip(others, more, strict=True):
                table.take(place, 0, other, "clip")
                np.bitwise_and(mine, other, mine)
            found.leaves.take(_leaf(found, mine, exponent[:rows]), None, values[:rows], "clip")
            np.add.reduceat(values[:rows], found.first, axis=1, out=scores[at : at + rows])

    return fill


def _joint(found: Tables) -> Joint:
    """The two smallest tables are made one as long as all of them have room."""
    groups = [([axis], found.masks[axis.start : axis.start + axis.bins]) for axis in found.axes]
    trees = found.masks.shape[1]
    while len(groups) > 1:
        groups.sort(key=lambda group: len(group[1]))
        (axes, one), (more, other), *rest = groups
        if (len(one) * len(other) + sum(len(table) for _, table in rest)) * trees > CELLS:
            break
        groups = [*rest, (axes + more, (one[:, None] & other).reshape(-1, trees))]
    steps = [step for axes, _ in groups for step in _steps(axes)]
    first = np.cumsum([0] + [len(axes) for axes, _ in groups])[:-1]
    axes = [axis for group, _ in groups for axis in group]
    return Joint(tuple(axes), np.array(steps, np.intp)[:, None], first, tuple(table for _, table in groups))


def _steps(axes: Sequence[Axis]) -> list[int]:
    """How far apart in their common table the bins of each axis are; those of the last one are neighbours."""
    steps = [1]
    for axis in axes[:0:-1]:
        steps.append(steps[-1] * axis.bins)
    return steps[::-1]


def _bins(joint: Joint) -> Callable[[Matrix], Places]:
    """The function from a matrix to the bins of each axis, times its step, (axes, rows)."""
    plan = [(k, axis.column, _below(axis.grid), axis) for k, axis in enumerate(joint.axes) if axis.way != SET]
    coded = [k for k, axis in enumerate(joint.axes) if axis.way == SET]
    inside, columns = _inside([joint.axes[k] for k in coded]), [joint.axes[k].column for k in coded]

    def bins(matrix: Matrix) -> Places:
        values = np.ascontiguousarray(matrix.T)
        gone = np.isnan(values)
        holes = np.asarray(gone.any(axis=1)).tolist()
        found = np.empty((len(joint.axes), len(matrix)), np.intp)
        for k, column, below, axis in plan:
            found[k] = below(values[column])
            if axis.way == HOLED:
                found[k][gone[column] | (np.abs(values[column]) <= ZERO)] = axis.missing
            elif holes[column]:
                found[k][gone[column]] = axis.missing
        if coded:
            found[coded] = inside(values[columns], gone[columns])
        found *= joint.steps
        return found

    return bins


def _below(grid: Floats) -> Callable[[Matrix], NDArray[Any]]:
    """The function from float32 values to how many of the thresholds are below each: x <= t goes with t."""
    with np.errstate(over="ignore"):
        near = grid.astype(np.float32)
    down = np.where(near > grid, np.nextafter(near, np.float32(-np.inf)), near)  # the same to all of float32
    if len(grid) > COUNTED:
        return down.searchsorted
    edges = down[:, None]
    return lambda values: np.add.reduce(np.greater(values, edges).view(np.uint8), axis=0, dtype=np.uint8)


def _inside(axes: Sequence[Axis]) -> Callable[[Matrix, NDArray[np.bool_]], Places]:
    """The function from codes (axes, rows), and which are NaN, to their bins: places in the grids, all looked up
    in one table."""
    top = int(max((axis.grid[-1] for axis in axes), default=0))
    table = np.full((len(axes), top + 1), -1, np.intp)
    for row, axis in zip(table, axes, strict=True):
        row[:] = len(axis.grid)
        row[axis.grid.astype(np.intp)] = np.arange(len(axis.grid))
    flat, starts = table.ravel(), np.arange(0, table.size, top + 1)[:, None]
    none, missing = (np.array([[len(axis.grid) + more] for axis in axes], np.intp) for more in (0, 1))

    def inside(codes: Matrix, gone: NDArray[np.bool_]) -> Places:
        whole = np.fmax(np.fmin(codes, top), 0).astype(np.intp)
        found = flat.take(whole + starts)
        odd = whole != codes  # no code that was known, or NaN
        return np.where(odd, np.where(gone, missing, none), found) if odd.any() else found

    return inside


def _leaf(found: Tables, left: NDArray[Any], exponent: NDArray[Any]) -> NDArray[Any]:
    """The places of the leaves; the number of the one bit that is left is the exponent of the mask as a float."""
    np.copyto(exponent, left, casting="unsafe")
    places = exponent.view(f"i{found.bits // 8}")
    mantissa, bias = (23, 127) if found.bits == 32 else (52, 1023)
    np.right_shift(places, mantissa, out=places)
    places += np.arange(-bias, left.shape[-1] * found.bits - bias, found.bits, dtype=places.dtype)
    return places


def _one(found: Tables) -> Callable[[Matrix], Floats]:
    """The same for a single row, without numpy where a value is looked up."""
    plan = [(a.column, a.way, a.grid.tolist(), len(a.grid), a.start) for a in found.axes]
    exponent = np.empty((1, found.masks.shape[1]), f"f{found.bits // 8}")

    def bins(row: list[float]) -> Iterator[int]:
        for column, way, grid, end, start in plan:
            value = row[column]
            place = bisect_left(grid, value)
            if value != value or (way == HOLED and abs(value) <= ZERO):
                place = end + 1
            elif way == SET and (place == end or grid[place] != value):
                place = end
            yield start + place

    def score(matrix: Matrix) -> Floats:
        left = np.bitwise_and.reduce(found.masks[[*bins(matrix[0].tolist())]], axis=0)
        leaf = _leaf(found, left[None], np.empty_like(exponent))
        scores: Floats = np.add.reduceat(found.leaves[leaf], found.first, axis=1)
        return scores

    return score
