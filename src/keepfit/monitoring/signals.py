"""Signals: one value a row, counted in cells that training settled.

    ordered   missing | below | bins, quantiles of the training rows | above
    nominal   missing | levels, the most frequent first | rare: known, but not listed | unseen

A bin has its lower edge and not its upper one. A value that fills a bin of its own has one; the edge
after it is the next number that a float64 can hold.

The counts of the reference say what a *new* row of the same kind does: each training row is counted as
if the signal had been learned from all the others. So the smallest and the largest value count as
outside the range where no other row has them, and a level that one row has counts as unseen (Good and
Turing's estimate of what was not seen yet). Live rows can then be compared with them one to one.

>>> signal = learn("age", "age", "", np.array([31.0, 40.0, 52.0, 52.0, np.nan]))
>>> dict(zip(signal.cells, signal.counts.tolist(), strict=True))
{'missing': 1, 'below 31': 1, '31 to 40': 0, '40 to 52': 1, '52': 2, 'above 52': 0}
>>> place(signal, np.array([np.nan, 30.0, 45.0, 99.0])).tolist()
[0, 1, 3, 5]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keepfit.features.known import MOST, hashes, packed, unpacked, within
from keepfit.features.number import knots
from keepfit.features.values import Coded

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]
Values = Floats | Coded
BINS = 16
TINY, LARGEST = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)
ROWS = 20  # training rows that make a bin worth having
LEVELS = 50  # of a category that have a cell of their own


@dataclass(frozen=True)
class Signal:
    """One value a row, and how the training rows are spread over its cells.

    `column` is the input it comes from, "" for what the model says ("prediction", "confidence");
    `part` is what of it is looked at, "" for the value itself. `name` is unique: "age",
    "review: length". `edges` (k + 1 of k bins) are those of an ordered signal, `levels` those of a
    nominal one. `counts` and `moves` have one entry a cell. `moves` is the mean model output of the
    test rows in the cell less that of all: the probability of the second of two classes, of the
    predicted one of more, or the predicted number; 0 where no test row tells. `rare` are the hashes of
    levels that are known and have no cell; None: any unlisted level counts as rare (an old reference).
    `steady` is False where values follow the calendar, so that their change alone is no news.
    """

    name: str
    column: str
    part: str
    kind: Literal["ordered", "nominal"]
    edges: Floats
    levels: tuple[str, ...]
    counts: Longs
    moves: Floats
    rare: NDArray[np.uint32] | None = None
    steady: bool = True

    @cached_property
    def cells(self) -> tuple[str, ...]:
        """The labels of all cells: the first is "missing"; see the module for the order."""
        if self.kind == "nominal":
            return ("missing", *self.levels, "rare", "unseen")
        edges = self.edges
        shown = np.where(edges[1:] == after(edges[:-1]), edges[:-1], edges[1:])
        bins = map(_label, edges[:-1].tolist(), edges[1:].tolist(), [edges[0], *shown[:-1]])
        return ("missing", f"below {edges[0]:.6g}", *bins, f"above {before(edges[-1]):.6g}")


def _label(low: float, high: float, shown: float) -> str:
    """A bin from `low` to under `high`; `shown` is what `low` looks like."""
    if high == after(low) or (low.is_integer() and high == low + 1):
        return f"{low:.6g}"
    return f"{shown:.6g} to {high:.6g}"


def after(value: Floats | float) -> Any:
    """The next larger float64; of 0 the smallest that keeps all its digits."""
    return np.where(value == 0, TINY, np.nextafter(value, np.inf))


def before(value: Floats | float) -> Any:
    """The number that `value` is after."""
    return np.where(value == TINY, 0.0, np.nextafter(value, -np.inf))


# --- learning -------------------------------------------------------------------------------------


def learn(name: str, column: str, part: str, values: Values, steady: bool = True) -> Signal:
    """The signal of training rows: (n,) float64, NaN = missing, or Coded. Its `moves` are 0."""
    if isinstance(values, Coded):
        return _nominal(name, column, part, values, steady)
    return _ordered(name, column, part, values, steady)


def _ordered(name: str, column: str, part: str, values: Floats, steady: bool) -> Signal:
    finite = values[np.abs(values) < LARGEST]  # after the largest there is no number for an edge
    edges = cut(finite)
    made = empty(Signal(name, column, part, "ordered", edges, (), np.empty(0, np.int64), np.empty(0), None, steady))
    counts = np.bincount(place(made, values), minlength=len(made.cells))
    if len(finite):
        ends = (finite == finite.min()).sum(), (finite == finite.max()).sum()
        for alone, inside, outside in ((ends[0] == 1, 2, 1), (ends[1] == 1, -2, -1)):
            if alone and counts[inside]:  # one row alone makes a constant both ends, and is counted once
                counts[inside] -= 1
                counts[outside] += 1
    return with_counts(made, counts)


def cut(finite: Floats, bins: int = BINS) -> Floats:
    """Ascending edges of bins that have a row each; one bin at 0 where there is no value.

    >>> cut(np.repeat([0.0, 1.0], [5, 3])).tolist()
    [0.0, 1.0, 1.0000000000000002]
    >>> edges = cut(np.r_[np.zeros(500), np.arange(1, 501)], 4)
    >>> edges.tolist(), np.histogram(np.r_[np.zeros(500), np.arange(1, 501)], edges)[0].tolist()
    ([0.0, 2.2250738585072014e-308, 167.0, 334.0, 500.00000000000006], [500, 166, 167, 167])
    """
    distinct, counts = np.unique(finite, return_counts=True)
    if not len(distinct):
        return np.array([0.0, after(0.0)])
    last = after(distinct[-1:])
    bins = min(bins, max(3, len(finite) // ROWS))
    if len(distinct) <= bins:
        return np.concatenate([distinct, last])
    heavy = distinct[counts > len(finite) / bins]
    edges = np.unique(np.r_[knots(finite, bins)[:-1], heavy, after(heavy), last])
    held = np.add.reduceat(counts, np.searchsorted(distinct, edges[:-1])) * _any(distinct, edges)
    return np.asarray(edges[np.r_[held > 0, True]], np.float64)


def _any(distinct: Floats, edges: Floats) -> NDArray[np.bool_]:
    """Which bins have a value at all: `reduceat` gives empty ones their neighbour's."""
    places = np.searchsorted(distinct, edges)
    return np.asarray(places[1:] > places[:-1])


def _nominal(name: str, column: str, part: str, values: Coded, steady: bool) -> Signal:
    size = len(values.levels)
    rows = np.bincount(np.where(values.codes < 0, size, values.codes), minlength=size + 1)
    order = sorted(np.flatnonzero(rows[:-1]).tolist(), key=lambda code: (-rows[code], values.levels[code]))
    listed, rest = order[:LEVELS], order[LEVELS:]
    rare = np.sort(hashes([values.levels[code] for code in rest[:MOST]]))
    levels = tuple(values.levels[code] for code in listed)
    seen = [int(rows[code]) if rows[code] > 1 else 0 for code in listed]
    least = 1 if len(rest) <= MOST else int(rows[rest[MOST - 1]])  # rows without which a level is unknown
    known = int(sum(rows[code] for code in rest if rows[code] > least))
    counts = np.array([rows[-1], *seen, known, len(values) - int(rows[-1]) - sum(seen) - known], np.int64)
    return Signal(name, column, part, "nominal", np.empty(0), levels, counts, np.zeros(len(counts)), rare, steady)


def fixed(name: str, levels: Sequence[str], values: Coded) -> Signal:
    """A nominal signal of the model whose levels are settled: its classes."""
    made = Signal(name, "", "", "nominal", np.empty(0), tuple(levels), np.empty(0, np.int64), np.empty(0), hashes(()))
    return with_counts(made, np.bincount(place(made, values), minlength=len(made.cells)))


def empty(signal: Signal) -> Signal:
    """The signal with no row in any cell."""
    return with_counts(signal, np.zeros(len(signal.cells), np.int64))


def with_counts(signal: Signal, counts: Longs) -> Signal:
    """The signal with other counts; moves that do not fit them become 0."""
    moves = signal.moves if len(signal.moves) == len(counts) else np.zeros(len(counts))
    return replace(signal, counts=np.asarray(counts, np.int64), moves=moves)


# --- counting -------------------------------------------------------------------------------------


def place(signal: Signal, values: Values) -> NDArray[np.intp]:
    """The cell of each row: (n,) indices into `signal.cells`."""
    if isinstance(values, Coded):
        return table(signal, values.levels)[values.codes]
    found = np.searchsorted(signal.edges, values, side="right") + 1
    found[np.isnan(values)] = 0
    return found


def table(signal: Signal, levels: Sequence[str]) -> NDArray[np.intp]:
    """The cell of each of `levels` of a nominal signal, and last that of a missing value (code -1)."""
    index = {level: cell for cell, level in enumerate(signal.levels, 1)}
    rare = len(signal.levels) + 1
    found = np.array([index.get(level, rare + 1) for level in levels] + [0], np.intp)
    others = np.flatnonzero(found == rare + 1)
    if signal.rare is None:
        found[others] = rare
    elif len(others):
        found[others] -= within(hashes([levels[other] for other in others.tolist()]), signal.rare)
    return found


# --- as JSON --------------------------------------------------------------------------------------


def plain(signal: Signal) -> dict[str, Any]:
    """The signal as lists, strings and numbers."""
    told: dict[str, Any] = {key: getattr(signal, key) for key in ("name", "column", "part", "kind", "steady")}
    told["edges" if signal.kind == "ordered" else "levels"] = (
        signal.edges.tolist() if signal.kind == "ordered" else list(signal.levels)
    )
    if signal.rare is not None:
        told["rare"] = packed(signal.rare)
    return told | {"counts": signal.counts.tolist(), "moves": signal.moves.tolist()}


def read(told: Mapping[str, Any]) -> Signal:
    """A signal from what `plain` made of it."""
    return Signal(
        told["name"],
        told["column"],
        told["part"],
        told["kind"],
        np.array(told.get("edges", ()), np.float64),
        tuple(told.get("levels", ())),
        np.array(told["counts"], np.int64),
        np.array(told["moves"], np.float64),
        unpacked(told["rare"]) if "rare" in told else None,
        told["steady"],
    )
