"""Scores from the tables of bit masks (`deployment.tree_tables`), in numpy.

A single row looks up one entry for each axis. For many rows, axes of few bins are taken together first: a
table with a row for each pair of their bins is one look-up in place of two. Bins of thresholds are found by
counting those below the value, all values at once: no branch, so for as few as there mostly are it is faster
than a search. Every way sums the same leaves in the same order.
"""

from __future__ import annotations

import threading
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


class Ready(NamedTuple):
    """Tables, their axes as parts of common ones, and these."""

    tables: Tables
    parts: tuple[Part, ...]
    common: tuple[NDArray[Any], ...]


def ready(found: Tables) -> Ready:
    """The two smallest tables are made one as long as all of them have room."""
    groups = [([axis], found.masks[axis.start : axis.start + axis.bins]) for axis in found.axes]
    trees = found.masks.shape[1]
    while len(groups) > 1:
        groups.sort(key=lambda group: len(group[1]))
        (axes, one), (more, other), *rest = groups
        if (len(one) * len(other) + sum(len(table) for _, table in rest)) * trees > CELLS:
            break
        groups = [*rest, (axes + more, (one[:, None] & other).reshape(-1, trees))]
    parts = [part for group, (axes, _) in enumerate(groups) for part in _stepped(axes, group)]
    return Ready(found, tuple(parts), tuple(table for _, table in groups))


def _stepped(axes: Sequence[Axis], group: int) -> Iterator[Part]:
    """The axes of a common table; the bins of the last one are neighbours in it."""
    step = 1
    for axis in reversed(axes):
        yield Part(axis, group, step)
        step *= axis.bins


def scorer(trees: Ready, threads: int = 1) -> Callable[[Matrix], Floats]:
    """The function from a matrix (rows, width) to raw scores (rows, outputs) float64."""
    one, some = _one(trees.tables), _many(trees)

    def score(matrix: Matrix) -> Floats:
        if len(matrix) == 1:
            return one(matrix)
        scores = np.empty((len(matrix), len(trees.tables.first)))
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


# --- many rows ------------------------------------------------------------------------------------


def _many(trees: Ready) -> Callable[[Matrix, Floats], None]:
    """The function that fills the scores (rows, outputs) of a matrix's rows."""
    coded = [part for part in trees.parts if part.axis.way == SET]
    columns, add_codes = [part.axis.column for part in coded], _codes(coded)
    add, fill = thresholds([part for part in trees.parts if part.axis.way != SET]), leaves(trees)

    def many(matrix: Matrix, scores: Floats) -> None:
        values = np.ascontiguousarray(matrix.T)
        places = np.zeros((len(trees.common), len(matrix)), np.intp)
        add(values, places)
        if coded:
            add_codes(values[columns], places)
        fill(places, scores)

    return many


def leaves(trees: Ready) -> Callable[[Places, Floats], None]:
    """The function that fills the scores (rows, outputs) of rows whose places in the common tables are known."""
    found, (start, *others) = trees.tables, trees.common
    count = found.masks.shape[1]
    block = max(BLOCK // count, 1)
    kinds = (found.masks.dtype, found.masks.dtype, f"f{found.bits // 8}", np.float64)
    kept = threading.local()  # memory that is given back after each batch has to be asked of the system again

    def fill(places: Places, scores: Floats) -> None:
        if not hasattr(kept, "room"):
            kept.room = [np.empty((block, count), kind) for kind in kinds]
        left, entry, exponent, values = kept.room
        for at in range(0, len(scores), block):
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


def thresholds(parts: Sequence[Part]) -> Callable[[Matrix, Places], None]:
    """The function that adds to the places what columns (width, rows) say to axes with thresholds."""
    asked = [(part, part.axis.column, _below(part.axis.grid)) for part in parts]

    def add(values: Matrix, places: Places) -> None:
        gone = np.isnan(values)
        holes = np.asarray(gone.any(axis=1)).tolist()
        for (axis, group, step), column, below in asked:
            found = below(values[column])
            if axis.way == HOLED:
                found = np.where(gone[column] | (np.abs(values[column]) <= ZERO), axis.missing, found)
            elif holes[column]:
                found = np.where(gone[column], axis.missing, found)
            places[group] += np.multiply(found, step, dtype=np.intp)

    return add


def _below(grid: Floats) -> Callable[[Matrix], NDArray[Any]]:
    """The function from float32 values to how many of the thresholds are below each: x <= t goes with t."""
    with np.errstate(over="ignore"):
        near = grid.astype(np.float32)
    down = np.where(near > grid, np.nextafter(near, np.float32(-np.inf)), near)  # the same to all of float32
    if len(grid) > COUNTED:
        return down.searchsorted
    edges = down[:, None]
    return lambda values: np.add.reduce(np.greater(values, edges).view(np.uint8), axis=0, dtype=np.uint8)


def _codes(parts: Sequence[Part]) -> Callable[[Matrix, Places], None]:
    """The function that adds to the places what codes (axes, rows) stand for: the place in the grid, looked up."""
    top = max((int(part.axis.grid[-1]) for part in parts), default=0) + 2
    tables = []
    for axis, _, step in parts:
        table = np.full(top + 1, len(axis.grid))  # top - 1 stands for all that are unknown or no codes
        table[axis.grid.astype(np.intp)] = np.arange(len(axis.grid))
        table[top] = axis.missing
        tables.append(table * step)

    def add(codes: Matrix, places: Places) -> None:
        near = np.fmin(np.minimum(codes, top - 1), top)  # NaN becomes the top
        whole = np.maximum(near, 0).astype(np.intp)
        odd = whole != near
        if odd.any():
            whole[odd] = top - 1
        for row, table, (_, group, _) in zip(whole, tables, parts, strict=True):
            places[group] += table.take(row)

    return add


def _leaf(found: Tables, left: NDArray[Any], exponent: NDArray[Any]) -> NDArray[Any]:
    """The places of the leaves; the number of the one bit that is left is the exponent of the mask as a float."""
    np.copyto(exponent, left, casting="unsafe")
    places = exponent.view(f"i{found.bits // 8}")
    mantissa, bias = (23, 127) if found.bits == 32 else (52, 1023)
    np.right_shift(places, mantissa, out=places)
    places += np.arange(-bias, left.shape[-1] * found.bits - bias, found.bits, dtype=places.dtype)
    return places


# --- one row --------------------------------------------------------------------------------------


def _one(found: Tables) -> Callable[[Matrix], Floats]:
    """The function from a matrix of one row to its scores."""
    plan, scores = [(axis.column, bins(axis)) for axis in found.axes], alone(found)

    def score(matrix: Matrix) -> Floats:
        row = matrix[0].tolist()
        return scores([find(row[column]) for column, find in plan])

    return score


def bins(axis: Axis) -> Callable[[float], int]:
    """The function from a value to the place of its bin among those of all axes, without numpy."""
    grid, end, start, way = axis.grid.tolist(), len(axis.grid), axis.start, axis.way

    def find(value: float) -> int:
        place = bisect_left(grid, value)
        if value != value or (way == HOLED and abs(value) <= ZERO):
            place = end + 1
        elif way == SET and (place == end or grid[place] != value):
            place = end
        return start + place

    return find


def alone(found: Tables) -> Callable[[Sequence[int]], Floats]:
    """The function from the places of a row's bins to its scores (1, outputs)."""
    exponent = np.empty((1, found.masks.shape[1]), f"f{found.bits // 8}")

    def score(places: Sequence[int]) -> Floats:
        left = np.bitwise_and.reduce(found.masks[places], axis=0)
        leaf = _leaf(found, left[None], np.empty_like(exponent))
        scores: Floats = np.add.reduceat(found.leaves[leaf], found.first, axis=1)
        return scores

    return score
