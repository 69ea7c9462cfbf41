"""Model files of kind `onnx`: by tables where they hold trees that fit, by onnxruntime otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keepfit.deployment import onnx_file, tree_scores, tree_tables
from keepfit.extras import load as load_target
from keepfit.features import sparse
from keepfit.features.values import Sparse
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
    score = tree_scores.scorer(found, threads)
    return lambda matrix: sparse.pieces(matrix, score) if isinstance(matrix, Sparse) else score(matrix)
