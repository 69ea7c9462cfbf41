"""Pictures and a backbone for tests."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from keepfit.data import pictures

random = np.random.default_rng(0)


def colours(count: int, side: int = 24) -> list[bytes]:
    """Noisy pictures with a colour of their own each."""
    made = random.integers(0, 60, (count, side, side + 4, 3)) + random.integers(0, 190, (count, 1, 1, 3))
    return [pictures.encoded(one.astype(np.uint8)) for one in made]


def jpeg(data: bytes) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pictures.pixels(data, 240, 200)).save(file, "JPEG", quality=95)
    return file.getvalue()


def backbone(side: int = 8, layout: str = "NCHW", batch: int = 0, number: str = "float32") -> dict[str, Any]:
    """A graph that gives the means of the left and of the right half of each colour, (n, 6)."""
    shape = [batch or "n", 3, side, side] if layout == "NCHW" else [batch or "n", side, side, 3]
    kind = TensorProto.FLOAT if number == "float32" else TensorProto.UINT8
    given, made = helper.make_tensor_value_info("x", kind, shape), helper.make_tensor_value_info("f", 1, [None, 6])
    nodes = [helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT)]
    order = [0, 1, 2, 3] if layout == "NCHW" else [0, 3, 1, 2]
    nodes += [
        helper.make_node("Transpose", ["float"], ["first"], perm=order),
        helper.make_node("AveragePool", ["first"], ["halves"], kernel_shape=[side, side // 2], strides=[1, side // 2]),
        helper.make_node("Flatten", ["halves"], ["f"], axis=1),
    ]
    graph = helper.make_graph(nodes, "means", [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return {
        "graph": np.frombuffer(model.SerializeToString(), np.uint8), "name": "means", "layout": layout,
        "colours": "RGB", "number": number, "batch": batch, "input": "x", "output": "f", "height": side,
        "width": side, "frame": [side, side], "how": "squash",
        "factor": np.full(3, 1 / 255, np.float32), "shift": np.zeros(3, np.float32),
    }  # fmt: skip
