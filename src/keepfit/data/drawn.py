"""The card of one column in the profile: its distribution, coloured by the target, and its figures.

Numbers, dates, the lengths of texts and the sizes of pictures are drawn as a histogram, categories as bars. For up to
four classes the bars are stacked by class; for a numeric target a line shows its mean.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.data import gallery
from keepfit.data.charts import COLOURS, bars, escape, histogram
from keepfit.types import Column, Schema

BINS = 30
LEVELS = 8
LARGEST = 1e100
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Floats = NDArray[np.float64]
Groups = NDArray[np.intp]


def card(series: pl.Series, column: Column, schema: Schema, target: pl.Series | None, score: float | None) -> str:
    """One column as HTML; `series` is conformed, `target` is its rows' target, if there is one."""
    series = gallery.sides(series) if series.dtype == pl.Binary else series
    told = f" · tells the target {score:.3f}" if score is not None else ""
    figures, chart = (
        _categories(series, schema, target)
        if _is_category(series, column)
        else _numbers(series, column, schema, target)
    )
    return (
        f"<div class='card'><span class='role'>{escape(column.role)}</span><h3>{escape(column.name)}</h3>"
        f"<p class='soft'>{figures}; {column.missing:.1%} missing{told}</p>{chart}</div>"
    )


def key(schema: Schema) -> str:
    """What the colours of the charts mean."""
    if schema.task == "regression":
        name = escape(schema.target or "", 40)
        return f"<p class='key'><span><i style='background:var(--c1)'></i>mean of {name}, low to high</span></p>"
    classes = schema.classes if len(schema.classes) <= COLOURS else ()
    marks = (
        f"<span><i style='background:var(--c{i})'></i>{escape(label, 40)}</span>" for i, label in enumerate(classes)
    )
    return f"<p class='key'>{''.join(marks)}</p>" if classes else ""


def _is_category(series: pl.Series, column: Column) -> bool:
    return series.dtype == pl.String and column.role != "text"


def _categories(series: pl.Series, schema: Schema, target: pl.Series | None) -> tuple[str, str]:
    known = series.drop_nulls()
    counted = known.value_counts(sort=True, name="count")
    top = [str(level) for level in counted[series.name].head(LEVELS)]
    rest = len(counted) - len(top)
    labels = [*top, f"{rest:,} others"] if rest else top
    place = series.replace_strict(top, range(len(top)), default=len(top), return_dtype=pl.Int64)
    groups = place.set(series.is_null(), -1).to_numpy().astype(np.intp)
    counts = _stacked(groups, len(labels), schema, target)
    shares = counts.sum(axis=0) / max(1, len(known))
    return f"{len(counted):,} levels", bars(labels, counts, [f"{share:.1%}" for share in shares])


def _numbers(series: pl.Series, column: Column, schema: Schema, target: pl.Series | None) -> tuple[str, str]:
    counted = (series.str.count_matches(r"\S+") if column.role == "text" else series).cast(pl.Float64)
    # Clipped, because the square of a number near the end of float64 is infinite.
    values = np.clip(counted.fill_null(float("nan")).to_numpy(), -LARGEST, LARGEST)
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return "no values", ""
    low, high = _range(known)
    whole = bool((known == np.floor(known)).all())
    count = int(high - low) + 1 if whole and high - low < BINS else BINS if high > low else 1
    clipped = np.clip(np.where(np.isnan(values), low, values), low, high)
    groups = np.minimum(((clipped - low) / max(high - low, 1e-300) * count).astype(np.intp), count - 1)
    groups[np.isnan(values)] = -1
    left = ("≤ " if known.min() < low else "") + _shown(low, column)
    right = ("≥ " if known.max() > high else "") + _shown(high, column)
    line = _means(groups, count, target) if schema.task == "regression" and target is not None else None
    return _figures(known, column), histogram(_stacked(groups, count, schema, target), left, right, line)


def _range(known: Floats) -> tuple[float, float]:
    """The range that is drawn: without the outermost half percent where that is most of it."""
    low, high = float(known.min()), float(known.max())
    inner = np.quantile(known, [0.005, 0.995])
    if inner[1] > inner[0] and high - low > 3 * (inner[1] - inner[0]):
        return float(inner[0]), float(inner[1])
    return low, high


def _figures(known: Floats, column: Column) -> str:
    if column.dtype == "date" and column.role != "target":
        return f"{day(known.min())} to {day(known.max())}"
    if column.role == "text":
        return f"{np.median(known):,.0f} words in the median, at most {known.max():,.0f}"
    if column.role == "image":
        return (
            f"{np.median(known):,.0f} pixels on the longer side in the median, {known.min():,.0f} to {known.max():,.0f}"
        )
    return f"mean {figure(known.mean())}, median {figure(np.median(known))}, deviation {figure(known.std())}"


def figure(value: float) -> str:
    """A number as people write it.

    >>> figure(540088.14), figure(2015.0), figure(0.0123456), figure(3e12)
    ('540,088', '2015', '0.01235', '3e+12')
    """
    if 10_000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4f}".rstrip("0").rstrip(".") if value == round(value) and abs(value) < 1e9 else f"{value:.4g}"


def _shown(value: float, column: Column) -> str:
    return day(value) if column.dtype == "date" else figure(value)


def day(seconds: float) -> str:
    """Seconds since 1970 as a date; numbers that are no date stay as they are.

    >>> day(1413158400.0), day(1e300)
    ('2014-10-13', '1e+300')
    """
    try:
        moment = EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return f"{seconds:g}"
    return moment.strftime("%Y-%m-%d" if seconds % 86400 == 0 else "%Y-%m-%d %H:%M")


def _stacked(groups: Groups, size: int, schema: Schema, target: pl.Series | None) -> NDArray[np.int64]:
    """Counts of each group, one row for each class where there are few; missing values are not counted."""
    there = groups >= 0
    if schema.task != "classification" or target is None or not 2 <= len(schema.classes) <= COLOURS:
        return np.bincount(groups[there], minlength=size)[None, :]
    labels = [(target == label).fill_null(False).to_numpy() & there for label in schema.classes]
    return np.stack([np.bincount(groups[rows], minlength=size) for rows in labels])


def _means(groups: Groups, size: int, target: pl.Series) -> Floats:
    """Mean rank of the target in each group, between 0 and 1; NaN where there are too few rows."""
    ranks = (target.rank() / max(1, len(target))).fill_null(0.5).to_numpy()
    there = groups >= 0
    counts = np.bincount(groups[there], minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.bincount(groups[there], ranks[there], size) / counts
    return np.where(counts >= 5, means, np.nan)
