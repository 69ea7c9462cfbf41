"""How good the model is on the test rows: metrics with intervals, beside the baseline, and by slice.

`evaluate` gives plain values, ready for JSON:

    metrics    name → {"value", "low", "high", "baseline"}; None where a metric is not defined
    slices     the weakest groups of rows, weakest first, each with its own value and interval
    confusion  {"classes", "counts"}: counts[i][j] rows of class i were predicted as class j
    by_step, series   of a forecast, see `keepfit.models.series.judged`
    rows, confidence, resamples
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit import config
from keepfit.errors import ConfigError
from keepfit.extras import nearest
from keepfit.models import bootstrap, metrics
from keepfit.models.fitted import Floats, Output
from keepfit.models.series import judged as forecasts
from keepfit.types import Schema

SLICE_ROWS = 30  # a smaller slice tells more about its few rows than about the model
SHOWN = 10  # slices that are named
LEVELS = 20  # levels of a category that is sliced by default
QUARTERS = (0.25, 0.5, 0.75)
FEW_SERIES = 20  # fewer are cut into blocks
UNITS = ("series", "group")  # roles whose values rows may have in common
SURE = 2.0  # standard errors by which a slice must be worse than all rows


def evaluate(
    y: NDArray[Any],
    output: Output,
    schema: Schema,
    trivial: Output,
    frame: pl.DataFrame,
    settings: config.Evaluation,
    seed: int,
) -> dict[str, Any]:
    """The evaluation of `output` against the truth `y` (n,) of the n test rows in `frame`.

    `trivial` is what the trivial baseline answers for them, see `tasks.baseline`. Raises ConfigError for
    a column of `evaluation.slices` that the frame lacks.
    """
    given = metrics.answers(y, output, schema.classes)
    names = metrics.available(given)
    plain = metrics.point(y, output, schema.classes, names)
    found = {name: groups(frame, name, schema) for name in columns(frame, schema, settings.slices)}
    weak = slices(given, found)
    # the rows are drawn once, for all metrics and all slices
    asked = [*(partial(metrics.METRICS[name].function, given) for name in names), partial(_means, given, weak)]
    *drawn, parts = bootstrap.resample(asked, len(y), settings.bootstrap, seed, together(frame, schema))
    known = metrics.available(metrics.answers(y, trivial, schema.classes))
    beside = metrics.point(y, trivial, schema.classes, known)
    judged = {}
    for (name, value), resampled in zip(plain.items(), drawn, strict=True):
        low, high = bootstrap.interval(resampled, settings.confidence)
        row = {"value": value, "low": low, "high": high, "baseline": beside.get(name, math.nan)}
        judged[name] = {key: _number(v) for key, v in row.items()}
    return {
        "metrics": judged,
        "slices": [_slice(given, one, part, settings.confidence) for one, part in zip(weak, parts.T, strict=True)],
        "confusion": None,
        **DETAILS[schema.task](y, output, trivial, frame, schema),
        "rows": len(y),
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def together(frame: pl.DataFrame, schema: Schema) -> NDArray[np.intp] | None:
    """(n,) which rows belong together, numbers from 0 on: those of a series, or of a `data.group`.

    What one of them tells, the others tell in part: a bootstrap draws them as one. Where there are few series,
    each is cut into blocks of rows that follow each other (Künsch, The jackknife and the bootstrap for general
    stationary observations, Ann Stat 17, 1989), as long as the cube root of their number. None where each row
    stands alone.
    """
    names = [name for role in UNITS for name in schema.role(role) if name in frame.columns]
    clock = [name for name in schema.role("moment") if name in frame.columns]
    if not (names or clock):
        return None
    whole = np.zeros(frame.height, np.intp)
    if names:
        whole = frame.select(pl.struct(names).rank("dense")).to_series().to_numpy().astype(np.intp) - 1
    if not clock or whole.max(initial=0) + 1 >= FEW_SERIES:
        return whole
    return _blocks(whole, frame[clock[0]].to_numpy())


def _blocks(series: NDArray[np.intp], moments: Floats) -> NDArray[np.intp]:
    """(n,) the number of each row's block.

    >>> _blocks(np.array([0, 0, 1, 0, 1, 0, 0, 0, 0, 0]), np.arange(10.0)).tolist()
    [0, 0, 4, 1, 5, 1, 2, 2, 3, 3]
    """
    order = np.lexsort((moments, series))
    counts = np.bincount(series)
    place = np.empty(len(series), np.intp)
    place[order] = np.arange(len(series)) - np.repeat(np.cumsum(counts) - counts, counts)
    length = np.maximum(np.round(counts ** (1 / 3)), 1).astype(np.intp)
    block = series * len(series) + place // length[series]
    return np.asarray(np.unique(block, return_inverse=True)[1], np.intp)


def confusion(y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> dict[str, Any]:
    """Rows of each true class (rows) by predicted class (columns).

    >>> confusion(np.array(["a", "b"], object), Output(np.array(["a", "a"], object)), ("a", "b"))["counts"]
    [[1, 0], [1, 0]]
    """
    true, picked = metrics.codes(np.asarray(y, object), classes), metrics.codes(output.values, classes)
    known = true >= 0
    counts = np.bincount(true[known] * len(classes) + picked[known], minlength=len(classes) ** 2)
    return {"classes": list(classes), "counts": counts.reshape(len(classes), -1).tolist()}


# task → what it tells beside metrics and slices
DETAILS: Mapping[str, Callable[[NDArray[Any], Output, Output, pl.DataFrame, Schema], dict[str, Any]]] = {
    "classification": lambda y, output, trivial, frame, schema: {"confusion": confusion(y, output, schema.classes)},
    "regression": lambda y, output, trivial, frame, schema: {},
    "forecast": forecasts.detail,
}


# --- slices ---------------------------------------------------------------------------------------


def columns(frame: pl.DataFrame, schema: Schema, asked: Sequence[str] | None) -> list[str]:
    """The columns to slice by: those asked for, or categories with few levels, numbers and dates."""
    if asked is None:
        kinds = {c.name for c in schema.features if c.role in ("number", "date")}
        kinds |= {c.name for c in schema.features if c.role == "category" and c.distinct <= LEVELS}
        return [name for name in frame.columns if name in kinds]
    for name in asked:
        if name not in frame.columns:
            near = nearest(name, frame.columns)
            raise ConfigError(f"evaluation.slices: no column '{name}'. {near}Known: {', '.join(frame.columns)}")
    return list(asked)


def groups(frame: pl.DataFrame, name: str, schema: Schema) -> NDArray[Any]:
    """Each row's group by one column, as text (n,): its value, or the quarter that its number is in."""
    column = frame[name]
    numeric = column.dtype.is_numeric() or column.dtype.is_temporal()
    if not numeric or column.n_unique() <= len(QUARTERS) + 1:
        return np.array(column.cast(pl.String).fill_null("(missing)").to_list(), object)
    return _quarters(column)


def _quarters(column: pl.Series) -> NDArray[Any]:
    """Quarters of a number or date, named by their range."""
    values = column.to_physical().cast(pl.Float64).to_numpy()
    known = np.isfinite(values)
    ordered = column.drop_nulls().sort()
    at = sorted({int(share * (len(ordered) - 1)) for share in QUARTERS})
    edges = list(dict.fromkeys(ordered[place] for place in at))
    cuts = pl.Series(edges).to_physical().cast(pl.Float64).to_numpy()
    texts = [f"{edge:.6g}" if isinstance(edge, float) else str(edge) for edge in edges]
    titles = [f"<= {texts[0]}", *(f"> {a}, <= {b}" for a, b in itertools.pairwise(texts)), f"> {texts[-1]}"]
    named = np.array([*titles, "(missing)"], object)
    place = np.where(known, np.searchsorted(cuts, np.where(known, values, 0.0), side="left"), len(titles))
    return np.asarray(named[place])


class Slice(NamedTuple):
    """A group of rows by one column."""

    column: str
    group: str
    rows: NDArray[np.intp]


def slices(given: metrics.Answers, found: Mapping[str, NDArray[Any]]) -> list[Slice]:
    """The groups of at least 30 rows where the model is surely worse than on all rows, worst first.

    `found` has each row's group by column (n,). Surely is by two standard errors, of the share of wrong
    labels or of the squared error. With nothing surely worse the list is empty.
    """
    lost = _losses(given)
    worse = []
    for column, group in found.items():
        labels, place, counts = np.unique(group.astype(str), return_inverse=True, return_counts=True)
        mean = np.bincount(place, lost) / counts
        spread = np.sqrt(np.maximum(np.bincount(place, lost**2) / counts - mean**2, 0.0) + 1e-12 * lost.var() + 1e-300)
        sure = (mean - lost.mean()) / (spread / np.sqrt(counts))
        worse += [
            (float(sure[k]), Slice(column, str(labels[k]), np.flatnonzero(place == k)))
            for k in np.flatnonzero((counts >= SLICE_ROWS) & (counts < len(lost)) & (sure > SURE))
        ]
    worse.sort(key=lambda one: (-one[0], one[1].column, one[1].group))
    return [part for _, part in worse[:SHOWN]]


def _losses(given: metrics.Answers) -> Floats:
    """What each row adds: 1 for a wrong label, or the squared error."""
    return np.asarray(given.truth != given.picked if given.count else (given.truth - given.picked) ** 2, np.float64)


def _means(given: metrics.Answers, parts: Sequence[Slice], weights: Floats) -> Floats:
    """Accuracy or root mean squared error of each slice (k, slices); NaN where none of its rows was drawn."""
    inside = np.zeros((len(given.truth), len(parts)), weights.dtype)
    for number, part in enumerate(parts):
        inside[part.rows, number] = 1
    total = weights @ inside
    lost = weights @ (inside * _losses(given).astype(weights.dtype)[:, None])
    mean = np.divide(lost, total, out=np.full_like(total, np.nan), where=total > 0)
    return 1 - mean if given.count else np.sqrt(mean)


def _slice(given: metrics.Answers, one: Slice, drawn: Floats, confidence: float) -> dict[str, Any]:
    low, high = bootstrap.interval(drawn, confidence)
    value = _means(given, [one], np.ones((1, len(given.truth))))[0, 0]
    name = "accuracy" if given.count else "rmsse" if given.ahead else "rmse"
    shown = {"metric": name, "value": float(value), "low": low, "high": high}
    return {"column": one.column, "group": one.group, "rows": len(one.rows), **shown}
