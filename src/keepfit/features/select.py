"""Choosing among features, learned from the rows and the target of one fold.

    none                 all features stay
    auto                 constant and duplicate ones go; with very many, the most informative stay
    mutual_information   those that tell something about the target (`keep`: so many, or this share)
    importance           those that a forest of extremely randomised trees uses
    pca                  standardised principal components instead (`keep`: so many, or this share of variance)

Of the terms of a text, which are a `Sparse` matrix, only mutual_information chooses; numbers and
categories beside a text stay. `METHODS` names functions of `features.selection`, which fit; what
is needed to apply a choice is here and in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.extras import pick
from keepfit.features.sparse import take
from keepfit.features.values import Sparse

Matrix = NDArray[np.float32] | Sparse
State = dict[str, Any]
METHODS: dict[str, str] = {
    "none": "keepfit.features.selection:none",
    "auto": "keepfit.features.selection:auto",
    "mutual_information": "keepfit.features.selection:mutual_information",
    "importance": "keepfit.features.selection:importance",
    "pca": "keepfit.features.selection:pca",
}


def fit(
    matrix: Matrix,
    target: NDArray[np.float64] | None,
    select: Mapping[str, Any],
    classification: bool,
    terms_from: int,
    seed: int,
) -> State | None:
    """`{"keep": places}`, `{"fill", "scale", "components"}`, or None when all features stay.

    Args:
        matrix: (n, width), of the training rows.
        target: (n, k) of `features.targets`.
        select: "method" is a key of METHODS; "keep" a count (int), a share (float) or None.
        terms_from: the column of a Sparse matrix where the terms of texts begin.
    """
    method = pick(METHODS, select.get("method", "auto"), "features.select")
    found: State | None = method(matrix, target, select.get("keep"), classification, terms_from, seed)
    return found


def width(state: State) -> int:
    """Number of features that are left."""
    return len(state["components"] if "components" in state else state["keep"])


def compiled(state: State) -> Callable[[Any], Any]:
    """The function from all features to the chosen ones."""
    if "components" not in state:
        keep = state["keep"]
        return lambda matrix: take(matrix, keep) if isinstance(matrix, Sparse) else matrix[:, keep]
    fill, scale, components = state["fill"], state["scale"], np.ascontiguousarray(state["components"].T)

    def project(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        centred = matrix - fill
        np.nan_to_num(centred, copy=False, nan=0.0)
        centred *= scale
        return np.asarray(centred @ components, np.float32)

    return project


def names(state: State, found: list[str]) -> list[str]:
    """Names of the chosen ones among the features `found`."""
    if "components" in state:
        return [f"component {i}" for i in range(width(state))]
    return [found[place] for place in state["keep"]]
