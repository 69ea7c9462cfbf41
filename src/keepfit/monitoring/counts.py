"""Live rows as integer counts in the cells of the reference's signals.

`counter` makes the function from some rows to their Counts. Counts of any rows are added up by
`merge`: of processes, replicas, files, time slices. Both take memory that does not depend on how many
rows there were. `keepfit.monitoring.files` counts a file, `keepfit.monitoring.slices` the prediction log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit import features
from keepfit.features.values import Coded, Columns
from keepfit.monitoring import signals, sketch
from keepfit.monitoring.reference import Reference
from keepfit.monitoring.signals import Floats, Longs, Signal
from keepfit.types import Schema

Rows = Callable[[Columns, Mapping[str, Any], Floats | None], "Counts"]


@dataclass(frozen=True)
class Counts:
    """What was counted of some rows.

    `cells`: signal's name → rows in each of its cells; a signal that the rows do not tell (a redacted
    column) is absent. Each row is in exactly one cell of each signal. `sketch`: the smallest hashes of
    the rows (`keepfit.monitoring.sketch.distinct` estimates from it how many differ). `first`, `last`:
    seconds since 1970 UTC of the earliest and the latest row, None where rows have no time.
    """

    rows: int
    cells: Mapping[str, Longs]
    sketch: NDArray[np.uint64]
    first: float | None = None
    last: float | None = None


NONE = Counts(0, {}, np.empty(0, np.uint64))


def merge(one: Counts, other: Counts) -> Counts:
    """The counts of the rows of both. A signal that only one of two sides with rows tells is left out:
    its cells would not add up to the rows."""
    if not one.rows or not other.rows:
        return one if one.rows else other
    cells = {name: count + other.cells[name] for name, count in one.cells.items() if name in other.cells}
    ends = [[end for end in pair if end is not None] for pair in ((one.first, other.first), (one.last, other.last))]
    first, last = min(ends[0], default=None), max(ends[1], default=None)
    return Counts(one.rows + other.rows, cells, sketch.smallest(other.sketch, one.sketch), first, last)


def total(parts: Iterable[Counts]) -> Counts:
    """The counts of all rows of all parts."""
    found = NONE
    for part in parts:
        found = merge(found, part)
    return found


# --- rows -----------------------------------------------------------------------------------------


def counter(reference: Reference, schema: Schema, clock: str | None = None) -> Rows:
    """The function (columns, what the model said, times) → Counts.

    Columns are inputs as in `features.values`, texts as Documents; what the model said is that of
    `reference.said`, {} where it was not asked; times are (n,) seconds since 1970 UTC, or None.
    `clock` is the column that tells the time: it goes on, and is no signal.
    """
    watched = {column.name for column in schema.inputs}
    places = {signal.name: _placer(signal) for signal in reference.signals if signal.column in watched - {clock} | {""}}
    told = {signal.column for signal in reference.signals}  # an old reference tells nothing of texts

    def count(columns: Columns, said: Mapping[str, Any], times: Floats | None = None) -> Counts:
        inputs = {name: values for name, values in columns.values.items() if name in watched}
        asked = {name: values for name, values in inputs.items() if name in told}
        found, _ = features.watch(Columns(asked, len(columns)), schema, reference.memory)
        values = {**said, **{_name(column, part): of for column, its in found.items() for part, of in its.items()}}
        cells = {name: place(values[name]) for name, place in places.items() if name in values}
        hashed = sketch.smallest(sketch.hashed(inputs, len(columns)))
        if times is None or not len(times):
            return Counts(len(columns), cells, hashed)
        return Counts(len(columns), cells, hashed, float(times.min()), float(times.max()))

    return count


def _name(column: str, part: str) -> str:
    return f"{column}: {part}" if part else column


def _placer(signal: Signal) -> Callable[[Any], Longs]:
    """The function from values to the rows in each cell."""
    size = len(signal.cells)
    if signal.kind == "ordered":
        return lambda values: np.bincount(signals.place(signal, values), minlength=size)
    kept: tuple[list[str], Any] = ([], signals.table(signal, []))

    def count(values: Coded) -> Longs:
        nonlocal kept
        if kept[0] != values.levels:  # most batches have the levels of the one before
            kept = values.levels, signals.table(signal, values.levels)
        rows = np.bincount(values.codes + 1, minlength=len(values.levels) + 1)
        found = np.zeros(size, np.int64)
        np.add.at(found, np.roll(kept[1], 1), rows)
        return found

    return count


# --- as JSON --------------------------------------------------------------------------------------


def plain(counts: Counts) -> dict[str, Any]:
    """Counts as lists, strings and numbers."""
    cells = {name: count.tolist() for name, count in counts.cells.items()}
    ends = {"first": counts.first, "last": counts.last}
    return {"rows": counts.rows, "cells": cells, "sketch": sketch.packed(counts.sketch), **ends}


def read(told: Mapping[str, Any]) -> Counts:
    """Counts from what `plain` made of them."""
    cells = {name: np.array(count, np.int64) for name, count in told["cells"].items()}
    return Counts(told["rows"], cells, sketch.unpacked(told["sketch"]), told["first"], told["last"])
