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


class Part(NamedTuple):
    """An axis among those that are taken together: the row of their common table `group` is the sum of each
    one's bin times its step."""

    axis: Axis
    group: int
    step: int


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
    parts, tables = _joint(found)
    find, (start, *others) = _places(parts, len(tables)), tables
    trees = found.masks.shape[1]
    block = max(BLOCK // trees, 1)

    def fill(matrix: Matrix, scores: Floats) -> None:
        places = find(matrix)
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


def _joint(found: Tables) -> tuple[list[Part], list[NDArray[Any]]]:
    """All axes, and their common tables: the two smallest ones are made one as long as all of them have room."""
    groups = [([axis], found.masks[axis.start : axis.start + axis.bins]) for axis in found.axes]
    trees = found.masks.shape[1]
    while len(groups) > 1:
        groups.sort(key=lambda group: len(group[1]))
        (axes, one), (more, other), *rest = groups
        if (len(one) * len(other) + sum(len(table) for _, table in rest)) * trees > CELLS:
            break
        groups = [*rest, (axes + more, (one[:, None] & other).reshape(-1, trees))]
    parts = [part for group, (axes, _) in enumerate(groups) for part in _stepped(axes, group)]
    return parts, [table for _, table in groups]


def _stepped(axes: Sequence[Axis], group: int) -> Iterator[Part]:
    """The axes of a common table; the bins of the last one are neighbours in it."""
    step = 1
    for axis in reversed(axes):
        yield Part(axis, group, step)
        step *= axis.bins


def _places(parts: Sequence[Part], groups: int) -> Callable[[Matrix], Places]:
    """The function from a matrix to the places in the common tables, (groups, rows)."""
    asked = [(part, _below(part.axis.grid)) for part in parts if part.axis.way != SET]
    coded = [part for part in parts if part.axis.way == SET]
    columns, add_coded = [part.axis.column for part in coded], _coded(coded)

    def places(matrix: Matrix) -> Places:
        values = np.ascontiguousarray(matrix.T)
        gone = np.isnan(values)
        holes = np.asarray(gone.any(axis=1)).tolist()
        found = np.zeros((groups, len(matrix)), np.intp)
        for (axis, group, step), below in asked:
            bins, column = below(values[axis.column]), axis.column
            if axis.way == HOLED:
                bins = np.where(gone[column] | (np.abs(values[column]) <= ZERO), axis.missing, bins)
            elif holes[column]:
                bins = np.where(gone[column], axis.missing, bins)
            found[group] += np.multiply(bins, step, dtype=np.intp)
        if coded:
            add_coded(values[columns], found)
        return found

    return places


def _below(grid: Floats) -> Callable[[Matrix], NDArray[Any]]:
    """The function from float32 values to how many of the thresholds are below each: x <= t goes with t."""
    with np.errstate(over="ignore"):
        near = grid.astype(np.float32)
    down = np.where(near > grid, np.nextafter(near, np.float32(-np.inf)), near)  # the same to all of float32
    if len(grid) > COUNTED:
        return down.searchsorted
    edges = down[:, None]
    return lambda values: np.add.reduce(np.greater(values, edges).view(np.uint8), axis=0, dtype=np.uint8)


def _coded(parts: Sequence[Part]) -> Callable[[Matrix, Places], None]:
    """The function that adds to the places what codes (axes, rows) stand for: the place in the grid, looked up."""
    top = max((int(part.axis.grid[-1]) for part in parts), default=0) + 2
    tables = []
    for axis, _, step in parts:
        table = np.full(top + 1, len(axis.grid))  # top - 1 stands for all that are unknown or no codes
        table[axis.grid.astype(np.intp)] = np.arange(len(axis.grid))
        table[top] = axis.missing
        tables.append(table * step)

    def add(codes: Matrix, found: Places) -> None:
        near = np.fmin(np.minimum(codes, top - 1), top)  # NaN becomes the top
        whole = np.maximum(near, 0).astype(np.intp)
        odd = whole != near
        if odd.any():
            whole[odd] = top - 1
        for row, table, (_, group, _) in zip(whole, tables, parts, strict=True):
            found[group] += table.take(row)

    return add


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
