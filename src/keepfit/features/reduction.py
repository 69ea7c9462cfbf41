"""Truncated SVD of sparse features: the part of `features.text` that needs scikit-learn to be fitted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from keepfit.features.values import Sparse


def truncated_svd(matrix: Sparse, size: int, seed: int) -> NDArray[np.float32]:
    """The first `size` right singular vectors (size, width), by Halko, Martinsson and Tropp's randomised method."""
    rows = sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(len(matrix.indptr) - 1, matrix.width))
    count = min(size, *rows.shape)
    if not count:
        return np.zeros((0, matrix.width), np.float32)
    _, _, components = randomized_svd(rows, n_components=count, n_iter=4, random_state=seed)
    return np.ascontiguousarray(components, np.float32)
