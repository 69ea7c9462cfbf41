"""Model files that numpy alone computes, as npz.

linear   coef (outputs, features), intercept (outputs,)
layers   coef_0 (features, width of the first layer), intercept_0, coef_1, …; activation, by name, between layers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import BundleError
from keepfit.features.values import Sparse
from keepfit.models.calibrate import sigmoid
from keepfit.models.fitted import Floats
from keepfit.types import Schema

BLOCK = 2_000  # rows of one product


def coefficients(path: Path) -> tuple[NDArray[Any], Floats]:
    """Coefficients (outputs, features) in the type they were learned in, and intercepts (outputs,)."""
    stored = _arrays(path)
    return stored["coef"], np.asarray(stored["intercept"], np.float64)


def load(path: Path, schema: Schema, trusted: Sequence[str] = (), threads: int = 1) -> Any:
    """The function from a matrix to scores (rows, outputs)."""
    learned, intercept = coefficients(path)
    if not learned.size:
        return lambda matrix: np.tile(intercept, (_rows(matrix), 1))
    weights = np.ascontiguousarray(learned.T)  # in the type they were learned in
    if weights.shape[1] == 1:
        weights = weights[:, 0]  # a vector is faster than a matrix of one column

    def scores(matrix: NDArray[np.float32] | Sparse) -> Floats:
        if isinstance(matrix, Sparse):
            return sparse_product(matrix, learned) + intercept
        product = _product(matrix, weights)
        return np.asarray((product[:, None] if product.ndim == 1 else product) + intercept)

    return scores


def _product(matrix: NDArray[np.float32], weights: NDArray[Any]) -> NDArray[Any]:
    """`matrix @ weights` in blocks of rows: large ones would wake BLAS's threads, which costs more than it brings."""
    if len(matrix) <= BLOCK:
        return np.asarray(matrix @ weights)
    return np.concatenate([matrix[at : at + BLOCK] @ weights for at in range(0, len(matrix), BLOCK)])


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise BundleError(
            f"{path} holds no model that can be read ({error}). Copy the bundle again, or package the model again."
        ) from error


def _rows(matrix: NDArray[np.float32] | Sparse) -> int:
    return len(matrix.indptr) - 1 if isinstance(matrix, Sparse) else len(matrix)


def sparse_product(matrix: Sparse, coefficients: NDArray[Any]) -> Floats:
    """`matrix @ coefficients.T` in float64, for coefficients (outputs, width).

    >>> rows = Sparse(np.array([2, 3], np.float32), np.array([0, 1], np.int32), np.array([0, 0, 2]), 2)
    >>> sparse_product(rows, np.array([[1.0, 10.0]])).tolist()
    [[0.0], [32.0]]
    """
    product = np.zeros((len(matrix.indptr) - 1, len(coefficients)))
    full = np.flatnonzero(np.diff(matrix.indptr))  # reduceat has no empty runs
    if len(full):
        starts = matrix.indptr[full]
        for k, row in enumerate(coefficients):
            terms = row[matrix.indices].astype(np.float64) * matrix.data
            product[full, k] = np.add.reduceat(terms, starts)
    return product


ACTIVATIONS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "identity": lambda values: values,
    "logistic": lambda values: np.asarray(sigmoid(values), values.dtype),
    "relu": lambda values: np.maximum(values, 0),
    "tanh": np.tanh,
}


def layers(path: Path, schema: Schema, trusted: Sequence[str] = (), threads: int = 1) -> Any:
    """The function from a matrix to the last layer's sums (rows, outputs) of a feed-forward network."""
    stored = _arrays(path)
    count = sum(name.startswith("coef_") for name in stored)
    steps = [(stored[f"coef_{k}"], stored[f"intercept_{k}"]) for k in range(count)]
    activation = ACTIVATIONS[str(stored["activation"])]
    first = np.ascontiguousarray(steps[0][0].T)

    def scores(matrix: NDArray[np.float32] | Sparse) -> Floats:
        coefficients, intercept = steps[0]
        product = sparse_product(matrix, first) if isinstance(matrix, Sparse) else matrix @ coefficients
        values = product + intercept
        for coefficients, intercept in steps[1:]:
            values = activation(values) @ coefficients + intercept
        return np.asarray(values)

    return scores
