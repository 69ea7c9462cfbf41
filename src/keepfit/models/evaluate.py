"""How good the model is on the test rows: metrics with intervals, beside the baseline, and by slice.

`evaluate` gives plain values, ready for JSON:

    metrics    name → {"value", "low", "high", "baseline"}; None where a metric is not defined
    slices     the weakest groups of rows, weakest first, each with its own value and interval
    confusion  {"classes", "counts"}: counts[i][j] rows of class i were predicted as class j
    rows, confidence, resamples
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit import config
from keepfit.errors import ConfigError
from keepfit.extras import nearest
from keepfit.models import metrics, tasks
from keepfit.models.fitted import Floats, Output
from keepfit.types import Schema

SLICE_ROWS = 30  # a smaller slice tells more about its few rows than about the model
SHOWN = 10  # slices that are named
LEVELS = 20  # levels of a category that is sliced by default
QUARTERS = (0.25, 0.5, 0.75)
SURE = 2.0  # standard errors by which a slice must be worse than all rows


def evaluate(
    y: NDArray[Any],
    output: Output,
    schema: Schema,
    trained: NDArray[Any],
    frame: pl.DataFrame,
    settings: config.Evaluation,
    seed: int,
) -> dict[str, Any]:
    """The evaluation of `output` against the truth `y` (n,) of the n test rows in `frame`.

    `trained` is the target of the training rows: the trivial baseline learns from it. Raises
    ConfigError for a column of `evaluation.slices` that the frame lacks.
    """
    given = metrics.available(metrics.answers(y, output, schema.classes))
    plain = metrics.point(y, output, schema.classes, given)
    drawn = metrics.samples(y, output, schema.classes, given, settings.bootstrap, seed)
    trivial = baseline(trained, y, schema)
    known = metrics.available(metrics.answers(y, trivial, schema.classes))
    beside = metrics.point(y, trivial, schema.classes, known)
    judged = {}
    for name, value in plain.items():
        low, high = metrics.interval(drawn[name], settings.confidence)
        row = {"value": value, "low": low, "high": high, "baseline": beside.get(name, math.nan)}
        judged[name] = {key: _number(v) for key, v in row.items()}
    found = {name: groups(frame, name, schema) for name in columns(frame, schema, settings.slices)}
    return {
        "metrics": judged,
        "slices": slices(y, output, schema.classes, found, settings, seed),
        "confusion": confusion(y, output, schema.classes) if schema.classes else None,
        "rows": len(y),
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def baseline(trained: NDArray[Any], y: NDArray[Any], schema: Schema) -> Output:
    """What the trivial baseline, learned from the training target, answers for the rows of `y`."""
    return tasks.baseline(trained, schema, len(y))


def confusion(y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> dict[str, Any]:
    """Rows of each true class (rows) by predicted class (columns).

    >>> confusion(np.array(["a", "b"], object), Output(np.array(["a", "a"], object)), ("a", "b"))["counts"]
    [[1, 0], [1, 0]]
    """
    true, picked = metrics.codes(np.asarray(y, object), classes), metrics.codes(output.values, classes)
    known = true >= 0
    counts = np.bincount(true[known] * len(classes) + picked[known], minlength=len(classes) ** 2)
    return {"classes": list(classes), "counts": counts.reshape(len(classes), -1).tolist()}


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


def slices(
    y: NDArray[Any],
    output: Output,
    classes: tuple[str, ...],
    found: Mapping[str, NDArray[Any]],
    settings: config.Evaluation,
    seed: int,
) -> list[dict[str, Any]]:
    """The groups of at least 30 rows where the model is surely worse than on all rows, worst first.

    Surely is by two standard errors; the value is accuracy, or the root mean squared error. With
    nothing surely worse the list is empty.
    """
    name = "accuracy" if classes else "rmse"
    lost = _losses(y, output, classes)
    worse = []
    for column, group in found.items():
        labels, place, counts = np.unique(group.astype(str), return_inverse=True, return_counts=True)
        mean = np.bincount(place, lost) / counts
        spread = np.sqrt(np.maximum(np.bincount(place, lost**2) / counts - mean**2, 0.0) + 1e-12 * lost.var() + 1e-300)
        sure = (mean - lost.mean()) / (spread / np.sqrt(counts))
        worse += [
            (float(sure[k]), column, str(labels[k]), np.flatnonzero(place == k))
            for k in np.flatnonzero((counts >= SLICE_ROWS) & (counts < len(y)) & (sure > SURE))
        ]
    worse.sort(key=lambda one: (-one[0], one[1], one[2]))
    return [_slice(y, output, classes, name, one[1:], settings, seed) for one in worse[:SHOWN]]


def _losses(y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> Floats:
    """What each row adds: 1 for a wrong label, or the squared error."""
    given = metrics.answers(y, output, classes)
    return np.asarray(given.truth != given.picked if classes else (given.truth - given.picked) ** 2, np.float64)


def _slice(
    y: NDArray[Any],
    output: Output,
    classes: tuple[str, ...],
    name: str,
    one: tuple[str, str, NDArray[np.intp]],
    settings: config.Evaluation,
    seed: int,
) -> dict[str, Any]:
    column, group, rows = one
    part = output[rows]
    drawn = metrics.samples(y[rows], part, classes, [name], settings.bootstrap, seed)[name]
    low, high = metrics.interval(drawn, settings.confidence)
    value = metrics.point(y[rows], part, classes, [name])[name]
    return {
        "column": column,
        "group": group,
        "rows": len(rows),
        "metric": name,
        "value": value,
        "low": low,
        "high": high,
    }
