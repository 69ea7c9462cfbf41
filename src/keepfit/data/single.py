"""How well one column alone tells the target: 0 not at all, 1 perfectly.

Each column is cut into groups (levels, or up to 64 quantile bins of numbers; missing values are a
group of their own). The target's mean in each group of one half of the rows is the prediction for
the other half, and the other way round, so a column that is different in each row scores nothing.
For classes the score is the Gini coefficient 2·AUC − 1, averaged over one-against-rest by the size
of the classes; for regression it is R² on the ranks of the target, which heavy tails cannot spoil.

>>> frame = pl.DataFrame({"stars": [1.0, 9.0] * 50, "noise": range(100), "y": ["bad", "good"] * 50})
>>> schema = Schema((Column("stars", "number"), Column("noise", "number"), Column("y", "target")),
...                 "classification", "y", ("bad", "good"))
>>> {name: round(score, 2) for name, score in scores(frame, schema).items()}
{'stars': 1.0, 'noise': 0.0}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.data import hashes
from keepfit.types import Column, Schema

BINS = 64
ROWS = 10_000  # more rows move a score by less than 0.01
PRIOR = 0.2  # rows; little enough that a perfect column scores nearly 1
FEWEST = 60  # rows below which a score is luck
CLASSES = 20  # the most frequent ones are looked at

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Judge = Callable[[Codes, Floats, NDArray[np.bool_], int], float]


def scores(frame: pl.DataFrame, schema: Schema, roles: tuple[str, ...] | None = None) -> Mapping[str, float]:
    """Column → score, for the features (or the columns of `roles`) of a conformed frame.

    Texts are judged by their length alone, pictures by how many bytes they have. Up to 10,000 rows,
    chosen by their values, are looked at; nothing is scored on fewer than 60 rows with a target.
    """
    if schema.target is None:
        return {}
    known = frame.filter(pl.col(schema.target).is_not_null())
    if len(known) < FEWEST:
        return {}
    there = set(frame.columns)
    columns = [c for c in schema.columns if c.role in roles] if roles else schema.features
    wanted = [c for c in columns if c.name in there and c.name != schema.target]
    some = _sample(known)
    half = _halves(len(some))
    targets = _targets(some[schema.target], schema)
    judge = _gini if schema.task == "classification" else _ranks_r2
    return {c.name: _score(codes(some[c.name], c), targets, half, judge) for c in wanted}


def _sample(frame: pl.DataFrame) -> pl.DataFrame:
    if len(frame) <= ROWS:
        return frame
    return frame.gather(np.sort(np.argsort(hashes.mix(np.arange(len(frame), dtype=np.uint64)))[:ROWS]))


def _halves(rows: int) -> NDArray[np.bool_]:
    """The same halves each time, without a pattern that the order of the rows could share."""
    return np.asarray(hashes.mix(np.arange(rows, dtype=np.uint64)) % np.uint64(2) == 0)


def _targets(target: pl.Series, schema: Schema) -> Floats:
    """One column for each class (1 or 0), or the ranks between 0 and 1; shape (rows, columns)."""
    if schema.task != "classification":
        ranks: Floats = (target.rank("average") / len(target)).to_numpy()
        return ranks[:, None]
    common = target.value_counts(sort=True)[schema.target or ""].head(CLASSES).sort().to_list()
    classes = common[1:] if len(schema.classes) == 2 and len(common) == 2 else common
    return np.column_stack([(target == label).cast(pl.Float64).to_numpy() for label in classes])


def codes(series: pl.Series, column: Column) -> Codes:
    """The group of each row, from 0; the group of missing values is the last."""
    if series.dtype == pl.Binary:
        series = series.bin.size().cast(pl.Float64)
    if series.dtype == pl.String and column.role == "text":
        series = series.str.len_chars().cast(pl.Float64)
    if series.dtype == pl.String:
        if column.role == "id":
            return _bins(series.rank("dense").cast(pl.Float64))  # ids in the order of the alphabet
        return series.rank("dense").cast(pl.Int64).fill_null(series.n_unique() + 1).to_numpy()
    return _bins(series.cast(pl.Float64))


def _bins(series: pl.Series) -> Codes:
    values = series.to_numpy()
    known = values[~np.isnan(values)]
    if len(known) == 0:
        return np.zeros(len(values), dtype=np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, min(BINS, max(2, len(known) // 10)) + 1)[1:-1]))
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))


def _score(groups: Codes, targets: Floats, half: NDArray[np.bool_], judge: Judge) -> float:
    size = int(groups.max()) + 1
    judged = [judge(groups, targets, learn, size) for learn in (half, ~half)]
    return float(np.clip(np.mean(judged), 0, 1))


def _means(groups: Codes, target: Floats, size: int) -> Floats:
    """Mean target of each group, drawn towards the overall mean as by a fifth of a row."""
    counts = np.bincount(groups, minlength=size)
    means: Floats = (np.bincount(groups, target, size) + PRIOR * target.mean()) / (counts + PRIOR)
    return means


def _gini(groups: Codes, targets: Floats, learn: NDArray[np.bool_], size: int) -> float:
    """2·AUC − 1 on the rows that were not learned from, averaged over the classes."""
    found, weights = [], []
    for target in targets.T:
        means = _means(groups[learn], target[learn], size)
        order, held = np.argsort(means, kind="stable"), target[~learn]
        positive = np.bincount(groups[~learn], held, size)[order]
        negative = np.bincount(groups[~learn], 1 - held, size)[order]
        ties = np.concatenate([[0], np.cumsum(np.diff(means[order]) > 0)]).astype(np.int64)
        positive, negative = np.bincount(ties, positive), np.bincount(ties, negative)
        pairs = positive.sum() * negative.sum()
        if pairs > 0:
            below = np.cumsum(negative) - negative
            found.append(2 * float((positive * (below + negative / 2)).sum() / pairs) - 1)
            weights.append(float(positive.sum()))
    return float(np.average(found, weights=weights)) if found else 0.0


def _ranks_r2(groups: Codes, targets: Floats, learn: NDArray[np.bool_], size: int) -> float:
    """R² of the ranks on the rows that were not learned from."""
    ranks = targets[:, 0]
    predicted = _means(groups[learn], ranks[learn], size)[groups[~learn]]
    held = ranks[~learn]
    spread = float(((held - held.mean()) ** 2).sum())
    return 1 - float(((held - predicted) ** 2).sum()) / spread if spread > 0 else 0.0
