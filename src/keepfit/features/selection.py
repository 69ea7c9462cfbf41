"""How features are chosen (see `features.select`): the functions that look at the target."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from keepfit.features.values import Sparse

Dense = NDArray[np.float32]
Matrix = Dense | Sparse
State = dict[str, Any]
MANY = 200  # features; more than this and than a tenth of the rows is "very many"
BINS = 16  # of a number, for mutual information
ROWS = 20_000  # so many rows are looked at, evenly spaced: enough to rank features
EXPLAINED = 0.99  # of importance or variance, when `keep` is not given
UNLIKELY = 2.326  # normal quantile of 99 %: what one useless feature in a hundred reaches by chance


def none(matrix: Matrix, target: Any, keep: Any, classification: bool, terms_from: int, seed: int) -> State | None:
    """All features stay."""
    return None


def auto(matrix: Matrix, target: Any, keep: Any, classification: bool, terms_from: int, seed: int) -> State | None:
    """Constant and duplicate features go; of very many, the most informative stay."""
    if isinstance(matrix, Sparse):
        return None
    useful = distinct(matrix)
    most = count(keep, matrix.shape[1]) if keep is not None else max(MANY, len(matrix) // 10)
    if target is not None and len(useful) > most:
        informative, _ = information(matrix[:, useful], target, classification)
        useful = np.sort(useful[np.argsort(-informative, kind="stable")[:most]])
    return {"keep": useful} if 0 < len(useful) < matrix.shape[1] else None


def distinct(matrix: Dense) -> NDArray[np.int64]:
    """Columns that vary and are not the same as an earlier one."""
    few = matrix[:: max(len(matrix) // 1000, 1)]  # what varies or differs here does so in all rows
    same = np.flatnonzero(((few == few[:1]) | np.isnan(few)).all(axis=0))
    constant = {place for place in same.tolist() if _constant(matrix[:, place])}
    alike: dict[bytes, list[int]] = {}
    for place, column in enumerate(np.ascontiguousarray(few.T)):
        if place not in constant:
            alike.setdefault(column.tobytes(), []).append(place)
    kept: list[int] = []
    for places in alike.values():
        if len(places) > 1:
            places = list({matrix[:, place].tobytes(): place for place in reversed(places)}.values())
        kept += places
    return np.array(sorted(kept), np.int64)


def _constant(column: Dense) -> bool:
    known = column[~np.isnan(column)]
    return not len(known) or (len(known) == len(column) and bool((known == known[0]).all()))


def count(keep: float, width: int) -> int:
    """How many features `keep` means: a count (int) or a share (float), at least one.

    >>> count(3, 10), count(0.25, 10), count(99, 10)
    (3, 2, 10)
    """
    wanted = keep if isinstance(keep, int) else round(keep * width)
    return int(min(max(wanted, 1), width))


def mutual_information(
    matrix: Matrix, target: Any, keep: Any, classification: bool, terms_from: int, seed: int
) -> State | None:
    """The features that tell most about the target; without `keep`, all that beat chance at 1 %."""
    if target is None:
        return None
    if isinstance(matrix, Sparse):
        told, unlikely = term_information(matrix, target, classification)
        told[:terms_from] = np.inf  # numbers and categories beside a text stay
        return _best(told, keep, int((told > unlikely).sum()))
    told, chance = information(matrix, target, classification)
    return _best(told, keep, int((told > chance).sum()))


def _best(score: NDArray[np.float64], keep: Any, default: int) -> State | None:
    size = max(default, 1) if keep is None else count(keep, len(score))
    if size >= len(score):
        return None
    return {"keep": np.sort(np.argsort(-score, kind="stable")[:size])}


def information(matrix: Dense, target: Any, classification: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mutual information of each column with the target in nats, by counting in quantile bins, and
    what a useless column stays below in 99 of 100 cases (2n MI is chi-squared then)."""
    some = np.unique(np.linspace(0, len(matrix) - 1, min(len(matrix), ROWS)).astype(np.int64))
    classes = _classes(target, classification, BINS)[some]
    size = int(classes.max(initial=0)) + 1
    told, chance = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1])
    for place in range(matrix.shape[1]):
        bins = _bins(matrix[some, place], BINS)
        width = int(bins.max(initial=0)) + 1
        table = np.bincount(bins * size + classes, minlength=width * size).reshape(width, size)
        told[place] = _nats(table)
        used_bins, used_classes = np.count_nonzero(table.sum(1)), np.count_nonzero(table.sum(0))
        chance[place] = _quantile(max((used_bins - 1) * (used_classes - 1), 1)) / (2 * max(len(some), 1))
    return told, chance


def _classes(target: NDArray[np.float64], classification: bool, bins: int) -> NDArray[np.int64]:
    if not classification:
        return _bins(target[:, 0], bins)
    return target.argmax(axis=1) if target.shape[1] > 1 else target[:, 0].astype(np.int64)


def _bins(values: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Quantile bin of each value; missing ones have the last bin to themselves."""
    known = values[~np.isnan(values)]
    edges = np.unique(np.quantile(known, np.arange(1, most) / most, method="higher")) if len(known) else known
    found = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), len(edges) + 1, found)


def _nats(table: NDArray[Any]) -> float:
    share = table / max(table.sum(), 1)
    expected = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    there = share > 0
    return float((share[there] * np.log(share[there] / expected[there])).sum())


def _quantile(freedom: Any) -> float:
    """The 99 % quantile of chi-squared, by Wilson and Hilferty's cube."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + UNLIKELY * part**0.5) ** 3)


def term_information(matrix: Sparse, target: Any, classification: bool) -> tuple[NDArray[np.float64], float]:
    """Mutual information of "the document has the term" with the target, for each term."""
    classes = _classes(target, classification, 4)
    size, total = int(classes.max(initial=0)) + 1, max(len(classes), 1)
    owner = np.repeat(classes, np.diff(matrix.indptr))
    having = np.bincount(owner * matrix.width + matrix.indices, minlength=size * matrix.width)
    having = having.reshape(size, matrix.width)
    rows = np.bincount(classes, minlength=size)[:, None]
    told: NDArray[np.float64] = np.zeros(matrix.width)
    for cell, column in ((having, having.sum(0)), (rows - having, total - having.sum(0))):
        with np.errstate(divide="ignore", invalid="ignore"):
            part = cell / total * np.log(cell * total / (rows * column))
        told += np.nan_to_num(part, nan=0.0).sum(axis=0)
    return told, _quantile(max(size - 1, 1)) / (2 * total)


def importance(
    matrix: Matrix, target: Any, keep: Any, classification: bool, terms_from: int, seed: int
) -> State | None:
    """The features a forest uses; without `keep`, the fewest that make up 99 % of all importance."""
    if isinstance(matrix, Sparse) or target is None or not matrix.shape[1]:
        return None
    some = np.unique(np.linspace(0, len(matrix) - 1, min(len(matrix), ROWS)).astype(np.int64))
    forest = ExtraTreesClassifier if classification else ExtraTreesRegressor
    answer = _classes(target, True, 0) if classification else target[:, 0]
    model = forest(n_estimators=100, min_samples_leaf=3, max_features=0.5, random_state=seed, n_jobs=1)
    score = model.fit(matrix[some], answer[some]).feature_importances_
    shares = np.sort(score)[::-1].cumsum()
    return _best(score, keep, int(np.searchsorted(shares, EXPLAINED * shares[-1])) + 1)


def pca(matrix: Matrix, target: Any, keep: Any, classification: bool, terms_from: int, seed: int) -> State | None:
    """Principal components of the standardised features; without `keep`, 99 % of the variance."""
    if isinstance(matrix, Sparse) or not matrix.size:
        return None
    known = ~np.isnan(matrix)
    seen = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, matrix, 0.0).astype(np.float64)
    fill = values.sum(axis=0) / seen
    values = np.where(known, values - fill, 0.0)
    deviation = np.sqrt((values**2).mean(axis=0))
    scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1.0), 0.0)
    variance, components = _components(values * scale)
    size = int(np.searchsorted(variance.cumsum(), (keep or EXPLAINED) * variance.sum() * (1 - 1e-9))) + 1
    if isinstance(keep, int):
        size = count(keep, len(variance))
    parts = {"fill": fill, "scale": scale, "components": components[:size]}
    return {name: np.asarray(value, np.float32) for name, value in parts.items()}


def _components(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances, falling, and unit vectors (k, width); the largest entry of each is positive."""
    if values.shape[1] <= len(values):
        variance, vectors = np.linalg.eigh(values.T @ values)
        variance, vectors = np.maximum(variance[::-1], 0), vectors.T[::-1]
    else:
        _, deviation, vectors = np.linalg.svd(values, full_matrices=False)
        variance = deviation**2
    largest = np.abs(vectors).argmax(axis=1)
    return variance, vectors * np.sign(vectors[np.arange(len(vectors)), largest])[:, None]
