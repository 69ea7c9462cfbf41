"""Model files of kind `python`: a fitted estimator, rebuilt by skops from data and trusted types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from keepfit.features.values import Sparse
from keepfit.models import objects
from keepfit.models.fitted import Floats
from keepfit.models.tasks import task
from keepfit.types import Schema


def load(path: Path, schema: Schema, trusted: Sequence[str] = (), threads: int = 1) -> Any:
    """The function from a matrix to scores (rows, classes), or (rows, 1) for values."""
    estimator = objects.load(path, trusted)
    scores, count = task(schema).scores, len(schema.classes)

    def predict(matrix: Any) -> Floats:
        found = np.asarray(scores(estimator, _given(matrix), count), np.float64)
        return found if count else found.reshape(-1, 1)

    return predict


def _given(matrix: Any) -> Any:
    """What estimators take: dense, or scipy's compressed rows."""
    if not isinstance(matrix, Sparse):
        return matrix
    return csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(len(matrix.indptr) - 1, matrix.width))
