"""The Open Inference Protocol, V2, over REST: what KServe, Triton and MLServer speak.

A request has one tensor a column, of shape [rows] or [rows, 1] and of any datatype that the column's
values can be read from; or a single tensor of shape [rows, columns] with the model's columns in order.
Tensors may be binary (the extension that Triton's clients use by default); a picture is a BYTES element:
the file's bytes in a binary tensor, base64 text in JSON. The outputs are

    prediction      BYTES (the label) or FP64             [rows]
    confidence      FP64, for classes                     [rows]
    probabilities   FP64, for classes, in their order     [rows, classes]
    interval        FP64, where the model has one         [rows, 2]
    prediction_id   BYTES, to send feedback with          [rows]

and of a forecast, before these, what it is of: a BYTES tensor for each column of the series and for the time, as they
were sent, and `step` (INT64). `{"horizon": 12}` is an INT64 tensor called horizon, of shape [1]. What is to be told
beside the answers is the parameter `notes`, a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keepfit.deployment.protocols import Answered, Asked, Reply, beside, forms, keys, placed, shapes, tensors
from keepfit.deployment.protocols.native import encode_json, parsed_python
from keepfit.deployment.protocols.shapes import Row, fault
from keepfit.errors import RequestError
from keepfit.types import Column, Schema

HEADER = "inference-header-content-length"
BINARY = "application/octet-stream"
EXTENSIONS = ("binary_tensor_data",)


class Context(NamedTuple):
    """The id to echo; which outputs are wanted (none: all) and how; whether the others are binary."""

    id: str | None = None
    outputs: tuple[tuple[str, bool], ...] = ()
    binary: bool = False


class Made(NamedTuple):
    """One output: its elements row by row."""

    datatype: str
    shape: list[int]
    values: list[Any]


def decode(body: bytes, headers: Mapping[str, str], schema: Schema) -> Asked:
    """The rows of an infer request. Raises RequestError (400)."""
    head, take, done = tensors.parts(body, headers.get(HEADER))
    value = parsed_python(head)
    if type(value) is not dict or type(value.get("inputs")) is not list:
        raise fault("Send a JSON object with 'inputs': a list of tensors, one a column.", "not_rows")
    if not value["inputs"]:
        raise fault(f"'inputs' is empty. The model needs {shapes.listed(shapes.inputs(schema))}.", "no_rows")
    shapes.room(len(value["inputs"]), schema)
    files = forms.files(schema)
    found = [tensors.read(given, take, files) for given in value["inputs"]]
    done()
    return Asked(_rows(found, schema), _context(value, schema))


def _rows(found: list[tensors.Tensor], schema: Schema) -> list[Row]:
    names = [tensor.name for tensor in found]
    shapes.different(names, "inputs")
    if len(found) == 1 and len(found[0].shape) == 2 and found[0].shape[1] != 1:
        return _matrix(found[0], schema)
    wide = [tensor for tensor in found if tensor.shape[1:] not in ((), (1,))]
    if wide:
        told = f"has the shape {list(wide[0].shape)}"
        raise fault(f"input '{wide[0].name}' {told}; a column must be [rows] or [rows, 1].")
    if len({tensor.shape[0] for tensor in found}) > 1:
        counts = ", ".join(f"'{tensor.name}' {tensor.shape[0]:,}" for tensor in found[:10])
        raise fault(f"The inputs have different numbers of rows: {counts}.")
    if not found[0].shape[0]:
        raise fault("The inputs have no rows. Send at least one.", "no_rows")
    return [dict(zip(names, row, strict=True)) for row in zip(*(t.values for t in found), strict=True)]


def _matrix(tensor: tensors.Tensor, schema: Schema) -> list[Row]:
    """Rows of the one tensor that has all columns."""
    names, (count, width) = shapes.inputs(schema), tensor.shape
    if width != len(names):
        raise fault(f"input '{tensor.name}' has {width:,} columns; the model needs {shapes.listed(names)}.")
    if not count:
        raise fault("The inputs have no rows. Send at least one.", "no_rows")
    values = tensor.values
    return [dict(zip(names, values[k : k + width], strict=True)) for k in range(0, len(values), width)]


def _context(value: Mapping[str, Any], schema: Schema) -> Context:
    name, wanted = value.get("id"), value.get("outputs")
    if name is not None and type(name) is not str:
        raise fault("'id' must be a text.")
    parameters = value.get("parameters") or {}
    if type(parameters) is not dict:
        raise fault("'parameters' must be an object.")
    binary = parameters.get("binary_data_output") is True
    if wanted is None:
        return Context(name, (), binary)
    if type(wanted) is not list:
        raise fault("'outputs' must be a list of objects with 'name'.")
    known = _known(schema)
    return Context(name, tuple(_output(entry, known, binary) for entry in wanted[: len(known) + 1]), binary)


def _known(schema: Schema) -> tuple[str, ...]:
    if schema.classes:
        return ("prediction", "confidence", "probabilities", "prediction_id")
    ahead = (*beside(keys(schema)), "step") if schema.rhythm else ()
    return (*ahead, "prediction", "interval", "prediction_id")


def _output(entry: Any, known: tuple[str, ...], binary: bool) -> tuple[str, bool]:
    name = entry.get("name") if type(entry) is dict else None
    if name not in known:
        raise fault(f"Each of 'outputs' must have a 'name' of these: {', '.join(known)}.", "unknown_output")
    parameters = entry.get("parameters") or {}
    if type(parameters) is not dict:
        raise fault(f"output '{name}': 'parameters' must be an object.")
    for other in ("classification", "shared_memory_region"):
        if other in parameters:
            raise fault(f"output '{name}': '{other}' is not supported.", "unsupported")
    return str(name), parameters.get("binary_data", binary) is True


def encode(asked: Asked, answered: Answered) -> Reply:
    """The infer response: outputs as JSON, or as binary where that was asked for."""
    context: Context = asked.context
    made = _placed(asked, answered) | _made(answered)
    wanted = context.outputs or tuple((name, context.binary) for name in made)
    chosen = [(name, made[name], binary) for name, binary in wanted if name in made]
    told: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, (datatype, shape, values), binary in chosen:
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        if binary:
            raw.append(tensors.packed(values, datatype))
            output["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            output["data"] = values
        told.append(output)
    head: dict[str, Any] = {"model_name": answered.name, "model_version": answered.version, "outputs": told}
    if asked.notes:  # a parameter is no list, by the protocol
        head["parameters"] = {"notes": " ".join(f"{note.problem}." for note in asked.notes)}
    text = encode_json(head if context.id is None else {**head, "id": context.id})
    if not any(binary for _, _, binary in chosen):
        return Reply(text)
    return Reply(b"".join([text, *raw]), BINARY, {"Inference-Header-Content-Length": str(len(text))})


def _placed(asked: Asked, answered: Answered) -> dict[str, Made]:
    """The outputs that say which rows of a forecast are answered."""
    found = placed(asked, answered)
    step = found.pop("step", None)
    made = {name: Made("BYTES", [len(values)], [*map(str, values)]) for name, values in found.items()}
    return made if step is None else {**made, "step": Made("INT64", [len(step)], [*step])}


def _made(answered: Answered) -> dict[str, Made]:
    """All outputs that there are."""
    output, count = answered.output, len(answered.output)
    values = output.values.tolist()
    ids = Made("BYTES", [count], list(answered.ids))
    if output.probabilities is None:
        found = {"prediction": Made("FP64", [count], values)}
        if output.low is not None and output.high is not None:
            ends = [end for pair in zip(output.low.tolist(), output.high.tolist(), strict=True) for end in pair]
            found["interval"] = Made("FP64", [count, 2], ends)
        return {**found, "prediction_id": ids}
    classes = answered.classes
    chances = output.probabilities.tolist()
    confidence = [row[classes.index(value)] for row, value in zip(chances, values, strict=True)]
    return {
        "prediction": Made("BYTES", [count], values),
        "confidence": Made("FP64", [count], confidence),
        "probabilities": Made("FP64", [count, len(classes)], [chance for row in chances for chance in row]),
        "prediction_id": ids,
    }


def error(fault: RequestError) -> bytes:
    """The protocol's {"error": "…"}, a text; keepfit's code and details beside it."""
    return encode_json({"error": shapes.sentence(fault), "code": fault.code, "details": list(fault.details)})


# --- documents -------------------------------------------------------------------------------------


def server_metadata(version: str) -> dict[str, Any]:
    """The answer to `GET /v2`."""
    return {"name": "keepfit", "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(schema: Schema, name: str, version: str, interval: bool = False) -> dict[str, Any]:
    """The answer to `GET /v2/models/NAME`: a tensor for each column; -1 is any number of rows.

    `interval`: whether the model (of values) gives one. The datatype of an input is the one that
    loses nothing; a client may send any that the column's values can be read from.
    """
    inputs = [{"name": c.name, "datatype": datatype(c), "shape": [-1]} for c in schema.inputs]
    outputs: list[dict[str, Any]] = [{"name": n, "datatype": "BYTES", "shape": [-1]} for n in beside(keys(schema))]
    if schema.rhythm:
        outputs.append({"name": "step", "datatype": "INT64", "shape": [-1]})
    outputs.append({"name": "prediction", "datatype": "BYTES" if schema.classes else "FP64", "shape": [-1]})
    if schema.classes:
        outputs.append({"name": "confidence", "datatype": "FP64", "shape": [-1]})
        chances = {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(schema.classes)]}
        outputs.append({**chances, "parameters": {"classes": list(schema.classes)}})
    elif interval:
        outputs.append({"name": "interval", "datatype": "FP64", "shape": [-1, 2]})
    outputs.append({"name": "prediction_id", "datatype": "BYTES", "shape": [-1]})
    return {"name": name, "versions": [version], "platform": "keepfit", "inputs": inputs, "outputs": outputs}


def datatype(column: Column) -> str:
    """The datatype that a column's values are sent in without loss; FP64 and BYTES can be missing (NaN, "").

    >>> datatype(Column("age", "number", "int")), datatype(Column("age", "number", "int", missing=0.1))
    ('INT64', 'FP64')
    """
    if column.role == "past":  # left out in rows to forecast
        return "FP64"
    kinds = {"int": "INT64", "float": "FP64", "bool": "BOOL"}
    kind = kinds.get(column.dtype, "BYTES") if column.role in ("number", "category") else "BYTES"
    if not column.missing or kind in ("FP64", "BYTES"):
        return kind
    return "FP64" if column.role == "number" else "BYTES"
