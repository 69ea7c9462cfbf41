"""The series of a forecast in the profile: some of them over time, from the lowest level to the highest."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.data import rhythm as calendar
from keepfit.data import series
from keepfit.data.charts import escape, line
from keepfit.data.drawn import figure
from keepfit.types import Rhythm, Schema

SHOWN = 12  # series that are drawn
Floats = NDArray[np.float64]


def shown(frame: pl.DataFrame, schema: Schema, most: int = SHOWN) -> str:
    """A card for each of up to `most` series of a conformed frame; nothing for a task without series."""
    if schema.rhythm is None or schema.target is None or not {schema.target, schema.rhythm.time} <= {*frame.columns}:
        return ""
    found, rows = series.grid(frame, schema), series.order(frame, schema)
    values = frame[schema.target].cast(pl.Float64).fill_null(float("nan")).to_numpy()[rows]
    rows, values = rows[np.isfinite(values)], values[np.isfinite(values)]
    if not len(rows):
        return ""
    numbers, periods = found.numbers[rows], found.periods[rows]
    counts = np.bincount(numbers, minlength=len(found.names))
    ends, sums = np.cumsum(counts), np.asarray(np.bincount(numbers, values, len(counts)), np.float64)
    cards = [
        _card(found.names[at], schema.rhythm, *(part[ends[at] - counts[at] : ends[at]] for part in (periods, values)))
        for at in _picked(sums, counts, most)
    ]
    return f"{_told(schema.rhythm, counts[counts > 0], periods, len(cards))}<div class='cards'>{''.join(cards)}</div>"


def _picked(sums: Floats, counts: NDArray[np.int64], most: int) -> list[int]:
    """Series with a value, evenly spread over the order of their means.

    >>> _picked(np.array([5.0, 0.0, 1.0, 6.0]), np.array([1, 0, 1, 2]), 2)
    [2, 0]
    """
    there = np.flatnonzero(counts)
    ranked = there[np.argsort(sums[there] / counts[there], kind="stable")]
    places = np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int)
    return [int(ranked[place]) for place in places]


def _told(rhythm: Rhythm, counts: NDArray[np.int64], periods: Floats, drawn: int) -> str:
    first, last = calendar.written(rhythm, np.array([periods.min(), periods.max()]))
    least, most = counts.min(), counts.max()
    size = f"{least:,} to {most:,}" if least < most else f"{most:,}"
    season = f"season {' and '.join(map(str, rhythm.season))}" if rhythm.season else "no season"
    some = f" {drawn} of them, from the lowest level to the highest:" if drawn < len(counts) else ""
    return (
        f"<p class='soft'>{len(counts):,} series of {size} values, {escape(first)} to {escape(last)}; "
        f"frequency {escape(calendar.named(rhythm))}, {season}.{some}</p>"
    )


def _card(name: str, rhythm: Rhythm, periods: Floats, values: Floats) -> str:
    first, last = (str(time) for time in calendar.written(rhythm, periods[[0, -1]]))
    missing = int(periods[-1] - periods[0]) + 1 - len(periods)
    gaps = f", {missing:,} missing" if missing else ""
    ends = f"{figure(float(values.min()))} to {figure(float(values.max()))}"
    figures = f"{len(values):,} values{gaps}; mean {figure(float(values.mean()))}, {ends}"
    return (
        f"<div class='card'><h3>{escape(name) or 'The series'}</h3><p class='soft'>{figures}</p>"
        f"{line(periods, values, first, last)}</div>"
    )
