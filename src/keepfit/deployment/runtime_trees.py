"""Model files of kind `onnx`: by tables where they hold trees that fit, by onnxruntime otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.deployment import onnx_file, tree_scores, tree_tables
from keepfit.extras import load as load_target
from keepfit.features import sparse
from keepfit.features.values import Sparse
from keepfit.models.fitted import Floats
from keepfit.types import Schema

LARGEST = 8_000_000  # bytes of a file: about 200,000 splits, more than the tables take
OTHER = "keepfit.deployment.runtime_onnx:load"


def load(path: Path, schema: Schema, trusted: Sequence[str] = (), threads: int = 1) -> Any:
    """The function from a matrix to scores (rows, outputs). Raises BundleError for a file that cannot be opened."""
    try:
        found = tree_tables.tables(onnx_file.read(path)) if path.stat().st_size <= LARGEST else None
    except ValueError:  # of another form, or damaged: onnxruntime can tell
        found = None
    if found is None:
        return load_target(OTHER, "model.type")(path, schema, trusted, threads)
    trees = tree_scores.ready(found)
    return Trees(trees, tree_scores.scorer(trees, threads))


@dataclass(frozen=True)
class Trees:
    """A function from a matrix to scores that shows its tables (see `tree_rows`)."""

    trees: tree_scores.Ready
    score: Callable[[NDArray[np.float32]], Floats]

    def __call__(self, matrix: NDArray[np.float32] | Sparse) -> Floats:
        return np.asarray(sparse.pieces(matrix, self.score)) if isinstance(matrix, Sparse) else self.score(matrix)
