"""Pictures of forecasts: some series with what was forecast and what came, and errors by the step ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.models import metrics
from keepfit.models.fitted import Output
from keepfit.models.plots import COLOURS, SOFT, Axes, Line, chart, room
from keepfit.models.series.judged import named
from keepfit.types import Schema

SERIES = (0.5, 0.9, 0.1)  # shares of the series that are forecast better than those that are drawn
SEASONS = 3  # of history that are drawn at least, and
HORIZONS = 3  # as many horizons


def draw(
    y: NDArray[Any], output: Output, schema: Schema, known: pl.DataFrame, asked: pl.DataFrame
) -> Iterator[tuple[str, str]]:
    """Names and SVGs. `known` and `asked` are the conformed training and test rows."""
    names, place = named(asked, schema)
    given = metrics.answers(y, output, ())
    each = np.bincount(place, np.abs(given.picked - given.truth)) / np.bincount(place)
    order = np.argsort(each, kind="stable")
    chosen = dict.fromkeys(int(order[round(share * (len(order) - 1))]) for share in SERIES)
    before, owner = named(known, schema)
    for number, at in enumerate(chosen):
        mine = known.filter(owner == before.index(names[at])) if names[at] in before else known.clear()
        title = f"{names[at]}: MASE {each[at]:.3g}"
        yield f"series_{number + 1}", _series(y, output, schema, mine, asked, np.flatnonzero(place == at), title)
    if given.ahead is not None and given.ahead.step.max(initial=0) > 1:
        yield "by_step", _by_step(given)


def _series(
    y: NDArray[Any], output: Output, schema: Schema, known: pl.DataFrame, asked: pl.DataFrame, rows: NDArray[np.intp],
    title: str,
) -> str:  # fmt: skip
    """One series: its last seasons, what came then, what was forecast and between which ends."""
    assert schema.rhythm is not None
    time = schema.rhythm.time
    rows = rows[np.argsort(asked[time].to_numpy()[rows], kind="stable")]
    shown = max(SEASONS * max(schema.rhythm.season, default=1), HORIZONS * len(rows))
    past = known.sort(time).tail(shown)
    times = np.concatenate([past[time].to_numpy(), asked[time].to_numpy()[rows]])
    values = np.concatenate([past[str(schema.target)].to_numpy(), y[rows]])
    at = _counted(times, schema)
    ahead = at[len(past) :]
    lines = [Line(at, values, "observed", SOFT), Line(ahead, output.values[rows], "forecast", COLOURS[0])]
    if output.low is not None and output.high is not None:
        ends = [Line(ahead, end[rows], "", COLOURS[0], "dotted") for end in (output.low, output.high)]
        lines = [*ends, *lines]
    tops = np.concatenate([line.y for line in lines])
    axes = Axes(room(at), room(tops[np.isfinite(tops)]), _across(schema), str(schema.target), title)
    return chart(axes, lines)


def _counted(times: NDArray[Any], schema: Schema) -> NDArray[np.float64]:
    """Times as what stands on the axis: years, or the number."""
    assert schema.rhythm is not None
    return times / (365.2425 * 86400) + 1970 if schema[schema.rhythm.time].dated else times


def _across(schema: Schema) -> str:
    assert schema.rhythm is not None
    return "year" if schema[schema.rhythm.time].dated else schema.rhythm.time


def _by_step(given: metrics.Answers) -> str:
    """The mean absolute scaled error of each step, beside half the width of the interval."""
    assert given.ahead is not None
    step = given.ahead.step.astype(np.intp)
    counts = np.bincount(step)
    there = np.flatnonzero(counts)
    error = np.bincount(step, np.abs(given.picked - given.truth))[there] / counts[there]
    lines = [Line(there.astype(float), error, "mean error", COLOURS[0], "marked")]
    if given.low is not None and given.high is not None:
        half = np.bincount(step, (given.high - given.low) / 2)[there] / counts[there]
        lines.append(Line(there.astype(float), half, "half interval", SOFT, "dotted"))
    top = max(float(line.y.max()) for line in lines)
    axes = Axes(room(there.astype(float)), (0.0, 1.05 * top), "steps ahead", "in scales", "Errors by step ahead")
    return chart(axes, lines)
