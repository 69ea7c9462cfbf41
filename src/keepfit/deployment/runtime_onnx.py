"""Model files of kind `onnx`: one session, input `features`, output `scores`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf

from keepfit.errors import BundleError
from keepfit.features import sparse
from keepfit.models.fitted import Floats
from keepfit.types import Schema

BLOCK = 10_000  # rows a call: larger ones leave the processor's cache
PICTURES = 128  # rows a call of a network: what its layers pass on is much larger than its input
CELLS = 400_000  # and so many numbers in them, where a row has very many


def load(path: Path, schema: Schema, trusted: Sequence[str] = (), threads: int = 1) -> Any:
    """The function from a matrix to scores (rows, outputs), for graphs of one or two nodes."""
    # nothing to gain there, and a large forest opens a third faster
    return _scores(path, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, BLOCK, threads)


def network(path: Path, schema: Schema, trusted: Sequence[str] = (), threads: int = 1) -> Any:
    """The function from a matrix to scores (rows, outputs), for graphs of many layers."""
    return _scores(path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, PICTURES, threads)


def _scores(path: Path, level: Any, size: int, threads: int) -> Any:
    """The function of `path`, asked for `size` rows at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = level
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf) as error:
        raise BundleError(f"{path} cannot be opened by onnxruntime {onnxruntime.__version__}: {error}") from error
    run, wanted = session.run, ["scores"]
    columns = session.get_inputs()[0].shape[1]
    if size == PICTURES and isinstance(columns, int):
        size = max(1, min(size, CELLS // columns))

    def block(matrix: Any) -> Floats:
        return np.asarray(run(wanted, {"features": matrix})[0], np.float64)

    def scores(matrix: Any) -> Floats:
        if len(matrix) <= size:
            return block(matrix)
        return np.concatenate([block(matrix[at : at + size]) for at in range(0, len(matrix), size)])

    return lambda matrix: sparse.pieces(matrix, scores)
