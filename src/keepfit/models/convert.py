"""Estimators without an exporter of our own: scikit-learn to ONNX by skl2onnx, on a float32 matrix.

The only file with skl2onnx. Its converters are not taken on trust: the parity check decides
whether the result is used.
"""

from __future__ import annotations

import warnings
from typing import Any

import onnx
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator

from keepfit.errors import ModelError

OPSETS = {"": 20, "ai.onnx.ml": 3}


def convert(estimator: Any, width: int, classes: bool) -> onnx.ModelProto:
    """The estimator as ONNX: input `features` (rows, width), output `scores`.

    `scores` are probabilities (rows, classes) or values (rows, 1), float32. Raises ModelError if
    there is no converter.
    """
    if classes and not hasattr(estimator, "predict_proba"):
        raise ModelError(f"{type(estimator).__name__} gives no probabilities.")
    options = {id(estimator): {"zipmap": False}} if classes else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = skl2onnx.to_onnx(
                estimator,
                initial_types=[("features", FloatTensorType([None, width]))],
                options=options,
                target_opset=OPSETS,
            )
    except (MissingConverter, MissingShapeCalculator, NotImplementedError, NameError, RuntimeError) as error:
        raise ModelError(f"{type(estimator).__name__} has no ONNX converter.") from error
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        # a converter that meets what it was not written for fails in any of these ways
        raise ModelError(f"{type(estimator).__name__} cannot be converted to ONNX: {error}") from error
    return _named(model, "probabilities" if classes else None)


def _named(model: onnx.ModelProto, name: str | None) -> onnx.ModelProto:
    """The model with one output, `scores`."""
    outputs = {output.name: output for output in model.graph.output}
    kept = outputs.get(name) if name else next(iter(outputs.values()))
    if kept is None:
        raise ModelError(f"ONNX: no output '{name}' among {', '.join(outputs)}")
    model.graph.node.append(onnx.helper.make_node("Identity", [kept.name], ["scores"]))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, None))
    return model
