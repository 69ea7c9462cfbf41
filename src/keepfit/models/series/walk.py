"""Boosted trees as plain arrays that numpy walks down, so that a kept state needs nothing else to forecast.

All nodes of all trees stand in one row of arrays; a leaf leads to itself. `root` are the first nodes,
`feature`, `threshold`, `missing` (whether NaN goes to `yes`), `yes` and `no` say where a row goes, `value`
is what a leaf adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit import engine
from keepfit.extras import load
from keepfit.models.series.panel import Floats

Nodes = Mapping[str, NDArray[Any]]
ROWS = 256  # that walk at once: their places stay in the processor's cache
DTYPES = {
    "feature": np.int32, "threshold": np.float64, "missing": np.bool_, "yes": np.int32, "no": np.int32,
    "value": np.float64, "root": np.int32,
}  # fmt: skip
NONE: Nodes = {name: np.empty(0, dtype) for name, dtype in DTYPES.items()}


def grown(matrix: NDArray[np.float32], target: Floats, options: Mapping[str, Any], seed: int) -> Nodes:
    """The nodes of LightGBM's trees on features (n, k) and target (n,)."""
    boosting, trees = (load(f"keepfit.models.{name}", "model.type") for name in ("boosting", "trees"))
    fixed = {"n_jobs": 1, "deterministic": True, "force_row_wise": True, "verbose": -1, "random_state": seed}
    estimator = load("lightgbm:LGBMRegressor", "model.type")(**fixed, **options)
    boosting.fit(estimator, matrix, target, None, (), engine.asked(), float("inf"))
    return nodes(trees.read(estimator))


def nodes(forest: Any) -> Nodes:
    """The nodes of a `Forest` with one output; no sets, no zero as missing."""
    parts: list[dict[str, NDArray[Any]]] = []
    start = 0
    for tree in forest.trees:
        inner, leaves = len(tree.feature), len(tree.leaves)
        itself = start + inner + np.arange(leaves)
        sides = (np.where(side < 0, ~side + inner, side) + start for side in (tree.yes, tree.no))
        yes, no = (np.concatenate([side, itself]) for side in sides)
        padded = {"feature": tree.feature, "threshold": tree.threshold, "missing": tree.missing}
        filled = {name: np.concatenate([values, np.zeros(leaves, values.dtype)]) for name, values in padded.items()}
        value = np.concatenate([np.zeros(inner), tree.leaves])
        parts.append({**filled, "yes": yes, "no": no, "value": value, "root": np.array([start])})
        start += inner + leaves
    return {name: np.concatenate([part[name] for part in parts]).astype(dtype) for name, dtype in DTYPES.items()}


def scores(given: Nodes, matrix: NDArray[np.float32]) -> Floats:
    """The sum (n,) of the leaves that rows (n, k) fall into."""
    result = np.empty(len(matrix))
    for at in range(0, len(matrix), ROWS):
        engine.look()
        result[at : at + ROWS] = _scores(given, matrix[at : at + ROWS])
    return result


def _scores(given: Nodes, matrix: NDArray[np.float32]) -> Floats:
    rows = np.arange(len(matrix))[:, None] * matrix.shape[1]
    flat, holes = matrix.ravel(), bool(np.isnan(matrix).any())
    place = np.broadcast_to(given["root"], (len(matrix), len(given["root"])))
    while True:
        value = flat.take(given["feature"].take(place) + rows)
        yes = value <= given["threshold"].take(place)
        if holes:
            yes |= given["missing"].take(place) & np.isnan(value)
        after = np.where(yes, given["yes"].take(place), given["no"].take(place))
        if np.array_equal(after, place):
            return np.asarray(given["value"].take(place).sum(axis=1))
        place = after
