"""Pictures of forecasts: some series with what was forecast and what came, and errors by the step ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.data import rhythm as calendar
from keepfit.models import metrics
from keepfit.models.fitted import Output
from keepfit.models.plots import COLOURS, SOFT, WIDE, Axes, Line, chart, room, ticks
from keepfit.models.series.judged import named
from keepfit.types import Rhythm, Schema

SERIES = (0.5, 0.9, 0.1)  # shares of the series that are forecast better than those that are drawn
SEASONS = 3  # of history that are drawn at least, and
HORIZONS = 3  # as many horizons
MARKS = 6  # times on the axis


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
        rank = int(np.flatnonzero(order == at)[0]) + 1
        title = f"{names[at]}: MASE {each[at]:.3g}" + (
            f", {rank:,} of {len(order):,} from the best" if len(order) > 1 else ""
        )
        yield f"series_{number + 1}", _series(y, output, schema, mine, asked, np.flatnonzero(place == at), title)
    if given.ahead is not None and given.ahead.step.max(initial=0) > 1:
        yield "steps_ahead", _by_step(given)


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
    at = calendar.periods(schema.rhythm, times)
    ahead = at[len(past) :]
    lines = [Line(at, values, "observed", SOFT), Line(ahead, output.values[rows], "forecast", COLOURS[0], "marked")]
    if output.low is not None and output.high is not None:
        edge = np.concatenate([output.low[rows], output.high[rows][::-1]])
        lines = [Line(np.concatenate([ahead, ahead[::-1]]), edge, "interval", COLOURS[0], "band"), *lines]
    tops = np.concatenate([line.y for line in lines])
    places = at[np.unique(np.linspace(0, len(at) - 1, MARKS).round().astype(np.intp))]
    marks = [*zip(places.tolist(), when(schema.rhythm, places), strict=True)]
    axes = Axes(room(at), room(tops[np.isfinite(tops)]), time, str(schema.target), title, marks, WIDE)
    return chart(axes, lines)


def when(rhythm: Rhythm, periods: NDArray[Any]) -> list[str]:
    """Periods as short as an axis needs them.

    >>> told = [when(Rhythm("t", every, 0.0, 1), np.array([30])) for every in ("1y", "1mo", "1d", "1h", "1i")]
    >>> [text for [text] in told]
    ['2000', '1972-07', '1970-01-31', '01-02 06:00', '30']
    """
    texts = [str(text) for text in calendar.written(rhythm, periods.astype(np.int64))]
    if not calendar.dated(rhythm.frequency):
        return texts
    days = calendar.length(rhythm.frequency) / calendar.DAY
    if days < 1:
        return [f"{text[5:10]} {text[11:16]}" for text in texts]
    return [text[: 4 if days > 360 else 7 if days > 27 else 10] for text in texts]


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
    marks = [(tick, f"{tick:g}") for tick in ticks(float(there.min()), float(there.max())) if tick.is_integer()]
    across = room(there.astype(float))
    axes = Axes(across, (0.0, 1.05 * top), "steps ahead", "in scales", "Errors by step ahead", marks, WIDE)
    return chart(axes, lines)
