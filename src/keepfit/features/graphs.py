"""ONNX graphs of pictures, opened by onnxruntime once for each process.

A graph is its file as an array of bytes, uint8 (length,): so it is a part of a state like any other array.
Opened graphs are found again by their hash and threads; the few used last stay open.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit import engine
from keepfit.errors import ModelError

Graph = NDArray[np.uint8]
OPEN = 4  # graphs that stay open
_opened: dict[tuple[str, int], Any] = {}
_lock = threading.Lock()


class Port(NamedTuple):
    """An input or output: its name, sizes (a text or None where a size is free) and onnxruntime's type."""

    name: str
    shape: tuple[int | str | None, ...]
    type: str


def digest(graph: Graph) -> str:
    """What a graph is found by again: the sha256 of its bytes, in hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(graph).data).hexdigest()


def session(graph: Graph, threads: int = 0) -> Any:
    """The opened graph, onnxruntime's InferenceSession; a call takes so many threads, 0: all cores.

    Raises ModelError for bytes that onnxruntime cannot open.
    """
    key = digest(graph), threads or engine.cores()
    with _lock:
        found = _opened.pop(key, None) or opened(graph, threads)
        _opened[key] = found  # last, as the one used last
        while len(_opened) > OPEN:
            del _opened[next(iter(_opened))]
    return found


def opened(graph: Graph, threads: int = 0) -> Any:
    """The graph opened anew, for one use. Threads and errors as of `session`."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as reasons

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or engine.cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # no processor is burnt in waiting
    kinds = (reasons.Fail, reasons.InvalidArgument, reasons.InvalidGraph, reasons.InvalidProtobuf)
    try:
        return onnxruntime.InferenceSession(graph.tobytes(), options, providers=["CPUExecutionProvider"])
    except (*kinds, reasons.NotImplemented, reasons.RuntimeException) as error:
        told = " ".join(str(error).split())
        raise ModelError(f"The graph cannot be opened by onnxruntime {onnxruntime.__version__}: {told}") from error


def ports(graph: Graph) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Inputs and outputs of a graph. Raises ModelError as `session`."""
    found = session(graph)
    told = [
        tuple(Port(p.name, tuple(p.shape), p.type) for p in some) for some in (found.get_inputs(), found.get_outputs())
    ]
    return told[0], told[1]
