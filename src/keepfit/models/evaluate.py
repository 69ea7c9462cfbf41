"""How good the model is on the test rows: each metric with an interval, beside the trivial baseline,
and the slices of the rows for which it is worst.

Intervals are percentiles of a bootstrap over rows (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 13).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Evaluation
from keepfit.errors import ConfigError
from keepfit.extras import nearest
from keepfit.models import metrics
from keepfit.models.fitted import Output
from keepfit.types import Column, Schema

SMALLEST = 30  # rows of a slice: fewer tell more about themselves than about the model
MOST_LEVELS = 20  # of a category that rows are sliced by
COLUMNS = 40  # that rows are sliced by unless the config names them
SHOWN = 10  # worst slices that are kept
QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
MISSING = "(missing)"


def evaluate(
    y: NDArray[Any],
    output: Output,
    baseline: Output,
    frame: pl.DataFrame,
    schema: Schema,
    settings: Evaluation,
    metric: str,
    seed: int = 0,
) -> dict[str, Any]:
    """The evaluation as plain values.

    Args:
        y: (n,) true labels as text, or values. output, baseline: answers for the same rows.
        frame: the rows as a conformed frame, for the slices.
        metric: the one that slices are compared by.

    Gives `rows`, `confidence`, `metrics` (name → value, low, high, baseline), `slices` (worst first:
    slice, rows, metric, value, low, high) and for classes `confusion` (true label → predicted → rows).
    """
    drawn = metrics.samples(y, output, schema.classes, None, settings.bootstrap, seed)
    value = metrics.point(y, output, schema.classes)
    trivial = metrics.point(y, baseline, schema.classes)
    told = {name: _told(value[name], drawn[name], settings.confidence, trivial.get(name)) for name in value}
    found = {
        "rows": len(y),
        "confidence": settings.confidence,
        "metrics": told,
        "slices": worst(y, output, frame, schema, settings, metric, seed),
    }
    return {**found, "confusion": confusion(y, output, schema.classes)} if schema.classes else found


def _told(value: float, drawn: NDArray[Any], confidence: float, baseline: float | None) -> dict[str, float | None]:
    low, high = metrics.interval(drawn, confidence)
    numbers = {"value": value, "low": low, "high": high, "baseline": baseline}
    return {name: None if x is None or not np.isfinite(x) else float(x) for name, x in numbers.items()}


def confusion(y: NDArray[Any], output: Output, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Rows by true and predicted label.

    >>> truth, said = np.array(["a", "b", "b"], object), Output(np.array(["a", "a", "b"], object))
    >>> confusion(truth, said, ("a", "b"))
    {'a': {'a': 1, 'b': 0}, 'b': {'a': 1, 'b': 1}}
    """
    counts = np.zeros((len(classes) + 1, len(classes)), np.int64)  # the last row: labels that are no class
    np.add.at(counts, (metrics.codes(y, classes), metrics.codes(output.values, classes)), 1)
    return {true: dict(zip(classes, map(int, row), strict=True)) for true, row in zip(classes, counts, strict=False)}


def worst(
    y: NDArray[Any], output: Output, frame: pl.DataFrame, schema: Schema, settings: Evaluation, metric: str, seed: int
) -> list[dict[str, Any]]:
    """The slices with the worst `metric`, each with its interval."""
    parts = []
    for name in _sliced_by(schema, frame, settings):
        group = groups(frame, schema[name])
        for label in np.unique(group[group != ""]):
            inside = group == label
            if SMALLEST <= int(inside.sum()) < len(y):
                value = metrics.point(y[inside], output[inside], schema.classes, [metric])[metric]
                parts.append((value, f"{name}: {label}", inside))
    sign = metrics.METRICS[metric].sign
    parts = sorted((part for part in parts if np.isfinite(part[0])), key=lambda part: sign * part[0])[:SHOWN]
    return [_slice(y, output, schema, settings, metric, seed, *part) for part in parts]


def _slice(
    y: NDArray[Any], output: Output, schema: Schema, settings: Evaluation, metric: str, seed: int,
    value: float, name: str, inside: NDArray[np.bool_],
) -> dict[str, Any]:  # fmt: skip
    drawn = metrics.samples(y[inside], output[inside], schema.classes, [metric], settings.bootstrap, seed)[metric]
    told = _told(value, drawn, settings.confidence, None)
    return {
        "slice": name,
        "rows": int(inside.sum()),
        "metric": metric,
        **{k: told[k] for k in ("value", "low", "high")},
    }


def _sliced_by(schema: Schema, frame: pl.DataFrame, settings: Evaluation) -> list[str]:
    """The columns of `evaluation.slices`, or categories of few levels and numbers."""
    possible = [c.name for c in schema.columns if c.role in GROUPS and c.name in frame.columns]
    if settings.slices is None:
        return [name for name in possible if len(schema[name].levels) <= MOST_LEVELS][:COLUMNS]
    for name in settings.slices:
        if name not in possible:
            known = f"{nearest(name, possible)}Known: {', '.join(possible)}"
            raise ConfigError(f"evaluation.slices: rows cannot be sliced by '{name}'. {known}")
    return list(settings.slices)


def groups(frame: pl.DataFrame, column: Column) -> NDArray[Any]:
    """The slice that each row of a conformed frame belongs to, (n,) text; "" for none."""
    found: NDArray[Any] = GROUPS[column.role](frame[column.name])
    return found


def _levels(values: pl.Series) -> NDArray[Any]:
    return np.array(values.cast(pl.String).fill_null(MISSING).to_list(), dtype=object)


def _quarters(values: pl.Series) -> NDArray[Any]:
    """Quarters of the known values; ties make some of them empty, which are then left out."""
    known = values.drop_nulls().to_numpy()
    if not len(known):
        return np.full(len(values), MISSING, dtype=object)
    edges = np.quantile(known, [0.25, 0.5, 0.75])
    numbers = values.fill_null(float("nan")).to_numpy()
    names = np.array(QUARTERS, dtype=object)[np.searchsorted(edges, numbers, side="left").clip(0, 3)]
    return np.where(np.isnan(numbers), MISSING, names)


GROUPS = {"category": _levels, "number": _quarters, "group": _levels}
