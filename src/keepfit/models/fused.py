"""Backbone and head as one ONNX graph, for tools that know nothing of keepfit: pixels in, probabilities out.

    pictures        uint8 (n, height, width, colours): decoded, upright, brought to that size (see below)
    probabilities   float32 (n, classes), in the order of `classes`; or value, float32 (n,), of a regression

The graph's metadata has `classes` (JSON), and how the size is reached, antialiased bilinear: `how` is "squash" or
"crop" (the largest middle part of the frame's shape) to `frame` (JSON: height, width), whose middle is the picture.
A model has this form where its one member is linear or a small network (`export.ARRAYS`) on one column of
pictures. The bundle itself does not use the graph: it answers what the bundle answers, or it is not written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from keepfit import durable
from keepfit.data import pictures as codec
from keepfit.features import graphs
from keepfit.features.image import LENGTH
from keepfit.features.values import Columns
from keepfit.models import parity
from keepfit.models.export import ARRAYS, stored_as
from keepfit.models.fitted import Fitted, Output

OPSETS = range(13, 24)
ROWS, BATCH = 50, 8  # pictures on which it is compared, and at once
PREFIX = "backbone/"
Step = tuple[str, Sequence[Any], Mapping[str, Any]]  # kind of node, constants after its input, attributes
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}


def write(fitted: Fitted, columns: Columns, expected: Output, path: Path) -> Path | None:
    """Write the graph of a model that answers `expected` for `columns`; None where it has no such form.

    It is run on some of the pictures first, and not written where it says something else.
    """
    model = graph(fitted)
    if model is None:
        return None
    data = model.SerializeToString()
    state = fitted.members[0].features["blocks"][0]["state"]
    there, seen = _some(columns.values[state["columns"][0]].data, state["lens"])
    if not len(there):
        return None
    run = graphs.opened(np.frombuffer(data, np.uint8)).run
    said = np.concatenate([run(None, {"pictures": seen[at : at + BATCH]})[0] for at in range(0, len(seen), BATCH)])
    known = expected[there]
    wanted = known.values.astype(np.float64) if known.probabilities is None else known.probabilities
    size = np.maximum(np.abs(wanted), np.median(np.abs(wanted))) if known.probabilities is None else 1.0
    if not float((np.abs(said - wanted) / size).max()) <= parity.LIMIT:
        return None
    durable.write_bytes(path, data)
    return path


def _some(data: Sequence[bytes | None], lens: Mapping[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Places of pictures that can be seen, and their pixels as the graph takes them."""
    taken = _taken(lens)
    places: list[int] = []
    seen: list[NDArray[np.uint8]] = []
    for place, one in enumerate(data):
        if one is None or len(seen) == ROWS:
            continue
        try:
            seen.append(codec.pixels(one, taken.width, taken.height, taken.colours, taken.how, taken.part))
            places.append(place)
        except ValueError:
            continue
    return np.array(places, np.int64), np.array(seen, np.uint8)


class _Taken(NamedTuple):
    """The pictures that a graph takes: their size, and how they are brought to it."""

    height: int
    width: int
    colours: str
    how: str
    frame: tuple[int, int]

    @property
    def part(self) -> tuple[float, float]:
        return self.width / self.frame[1], self.height / self.frame[0]


def _taken(lens: Mapping[str, Any]) -> _Taken:
    found = lens["backbone"] or lens
    height, width = found["height"], found["width"]
    frame = found.get("frame", (height, width))
    return _Taken(height, width, found["colours"], found["how"], (frame[0], frame[1]))


def graph(fitted: Fitted) -> Any:
    """The model as an ONNX model; None where it has another form than the module says."""
    head, state = _head(fitted), _pictured(fitted)
    if head is None or state is None:
        return None
    lens = state["lens"]
    backbone = onnx.load_from_string(lens["backbone"]["graph"].tobytes()) if lens["backbone"] else None
    drawing = _Drawing([], [])
    taken = _taken(lens)
    value = _to_backbone(drawing, lens) if backbone else _to_matrix(drawing, lens)
    if backbone:
        backbone = compose.add_prefix(backbone, PREFIX)
        drawing.node("Identity", [value], PREFIX + lens["backbone"]["input"])
        drawing.nodes.extend(backbone.graph.node)
        drawing.constants.extend(backbone.graph.initializer)
        value = _from_backbone(drawing, lens, state["normalise"], len(head[0].weights))
    for layer in head:
        value = drawing.chain(value, ("Gemm", [layer.weights, layer.bias], {}), *layer.after)
    name = _named(drawing, value, fitted)
    return _model(drawing, name, taken, fitted, backbone)


class Layer(NamedTuple):
    """weights (inputs, outputs) and bias (outputs,), float32; `after`: steps that come then."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    after: tuple[Step, ...] = ()


class _Drawing(NamedTuple):
    """Nodes and constants of a graph that is being drawn."""

    nodes: list[Any]
    constants: list[Any]

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, array: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(array), f"c{len(self.constants)}"))
        return str(self.constants[-1].name)

    def chain(self, value: str, *steps: Step) -> str:
        """Steps one after the other, each on what the one before gave."""
        for kind, constants, attributes in steps:
            value = self.node(kind, [value, *map(self.constant, constants)], **attributes)
        return value


# --- which models, and what of them ----------------------------------------------------------------


def _pictured(fitted: Fitted) -> Mapping[str, Any] | None:
    """The state of the one column of pictures that all features come from; None if there is more to them."""
    state = fitted.members[0].features
    if state["select"] or [block["role"] for block in state["blocks"]] != ["image"]:
        return None
    found: Mapping[str, Any] = state["blocks"][0]["state"]
    backbone = found["lens"]["backbone"]
    plain = len(found["columns"]) == 1 and "components" not in found["parts"][0]
    return found if plain and (not backbone or _simple(backbone)) else None


def _simple(backbone: Mapping[str, Any]) -> bool:
    """Whether a graph takes any number of pictures and gives a row, or one value a channel and place, of each."""
    rank = {port.name: len(port.shape) for port in graphs.ports(backbone["graph"])[1]}[backbone["output"]]
    model = onnx.load_from_string(backbone["graph"].tobytes())
    known = [one.version for one in model.opset_import if not one.domain]
    return (
        not backbone["batch"]
        and known[:1] != []
        and known[0] in OPSETS
        and (rank == 2 or (rank == 4 and backbone["layout"] == "NCHW"))
    )


def _head(fitted: Fitted) -> list[Layer] | None:
    """The layers from features to the answer, calibration included; None for an estimator of another kind."""
    member = fitted.members[0]
    how = stored_as(member.estimator)
    whole = len(getattr(member.estimator, "classes_", fitted.classes)) == len(fitted.classes)
    if len(fitted.members) != 1 or how not in ("linear", "layers") or member.link != "identity" or not whole:
        return None
    stored = ARRAYS[how](member.estimator, fitted.classes)
    arrays = stored.arrays
    last = END.get((stored.score, fitted.calibration.get("method", "none")))
    if last is None:
        return None
    if how == "linear":
        weights, biases, between = [arrays["coef"].T], [arrays["intercept"]], ""
    else:
        count = sum(key.startswith("coef_") for key in arrays)
        weights, biases = ([arrays[f"{name}_{k}"] for k in range(count)] for name in ("coef", "intercept"))
        between = ACTIVATIONS.get(str(arrays["activation"]), "")
    missing = fitted.members[0].features["blocks"][0]["state"]["parts"][0]["flag"]
    weights[0] = weights[0][: len(weights[0]) - missing]  # a picture that is there is not missing
    hidden: tuple[Step, ...] = ((between, [], {}),) if between else ()
    inner = [Layer(_single(w), _single(b), hidden) for w, b in zip(weights[:-1], biases[:-1], strict=True)]
    return [*inner, Layer(_single(weights[-1]), _single(biases[-1]), last(fitted.calibration))]


def _single(array: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, np.float32)


def _scaled(scale: float, offset: float, kind: str) -> tuple[Step, ...]:
    """Probabilities of scaled margins."""
    end: Step = (kind, [], {"axis": 1} if kind == "Softmax" else {})
    return (("Mul", [np.float32(scale)], {}), ("Add", [np.float32(offset)], {}), end)


# (score of the model file, method of the calibration) → steps after the last layer
END: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], tuple[Step, ...]]] = {
    ("identity", "none"): lambda _: (),
    ("sigmoid", "none"): lambda _: (("Sigmoid", [], {}),),
    ("sigmoid", "sigmoid"): lambda found: _scaled(found["slope"], found["offset"], "Sigmoid"),
    ("softmax", "none"): lambda _: (("Softmax", [], {"axis": 1}),),
    ("softmax", "temperature"): lambda found: _scaled(found["scale"], 0.0, "Softmax"),
}


# --- drawing ---------------------------------------------------------------------------------------


def _to_matrix(drawing: _Drawing, lens: Mapping[str, Any]) -> str:
    """Pixels, 0 to 1, line by line."""
    cells = lens["height"] * lens["width"] * len(lens["colours"])
    return drawing.chain(
        "pictures",
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Mul", [np.float32(1 / 255)], {}),
        ("Reshape", [np.array([-1, cells])], {}),
    )


def _to_backbone(drawing: _Drawing, lens: Mapping[str, Any]) -> str:
    """The pictures as the backbone takes them, and below them their mirror images."""
    found = lens["backbone"]
    steps: list[Step] = []
    if found["number"] != "uint8":
        steps += [
            ("Cast", [], {"to": TensorProto.FLOAT}),
            ("Mul", [found["factor"]], {}),
            ("Add", [found["shift"]], {}),
        ]
    if found["layout"] == "NCHW":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    value = drawing.chain("pictures", *steps)
    if not lens["mirror"]:
        return value
    side = 3 if found["layout"] == "NCHW" else 2
    backwards = [np.array([-1]), np.array([np.iinfo(np.int64).min]), np.array([side]), np.array([-1])]
    return drawing.node("Concat", [value, drawing.chain(value, ("Slice", backwards, {}))], axis=0)


def _from_backbone(drawing: _Drawing, lens: Mapping[str, Any], normalise: bool, width: int) -> str:
    """What the backbone gives as rows, the views of a picture averaged, at one length."""
    found = lens["backbone"]
    value: str = PREFIX + found["output"]
    rank = {port.name: len(port.shape) for port in graphs.ports(found["graph"])[1]}[found["output"]]
    if rank == 4:
        value = drawing.chain(value, ("GlobalAveragePool", [], {}), ("Flatten", [], {"axis": 1}))
    if lens["mirror"]:
        value = drawing.chain(value, ("Reshape", [np.array([2, -1, width])], {}))
        views = [drawing.chain(value, ("Gather", [np.int64(k)], {"axis": 0})) for k in range(2)]
        value = drawing.chain(drawing.node("Add", views), ("Mul", [np.float32(0.5)], {}))
    if normalise:
        value = drawing.chain(value, ("LpNormalization", [], {"axis": 1, "p": 2}), ("Mul", [np.float32(LENGTH)], {}))
    return value


def _named(drawing: _Drawing, value: str, fitted: Fitted) -> str:
    """The answer under its name: of two classes both, of a regression a value a row."""
    if not fitted.classes:
        return drawing.node("Reshape", [value, drawing.constant(np.array([-1]))], "value")
    if len(fitted.classes) > 2:
        return drawing.node("Identity", [value], "probabilities")
    other = drawing.node("Sub", [drawing.constant(np.float32(1)), value])
    return drawing.node("Concat", [other, value], "probabilities", axis=1)


def _model(drawing: _Drawing, name: str, taken: _Taken, fitted: Fitted, backbone: Any) -> Any:
    shape = ["n", taken.height, taken.width, 3 if taken.colours == "RGB" else 1]
    given = helper.make_tensor_value_info("pictures", TensorProto.UINT8, shape)
    answer = ["n", len(fitted.classes)] if fitted.classes else ["n"]
    made = helper.make_tensor_value_info(name, TensorProto.FLOAT, answer)
    drawn = helper.make_graph(drawing.nodes, "keepfit", [given], [made], drawing.constants)
    opsets = backbone.opset_import if backbone else [helper.make_opsetid("", OPSETS[0])]
    model = helper.make_model(drawn, opset_imports=opsets, ir_version=backbone.ir_version if backbone else 8)
    if backbone:
        model.functions.extend(backbone.functions)
    told = {"classes": json.dumps(list(fitted.classes)), "how": taken.how, "frame": json.dumps(taken.frame)}
    helper.set_model_props(model, told)
    return model
