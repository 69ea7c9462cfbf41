"""Vertex AI's protocol for containers: {"instances": […], "parameters": …} → {"predictions": […]}.

An instance is an object with the columns as keys, a list of values in the order of the model's
columns, or, for a model of one column, the value itself; files are base64 text or {"b64": text}.
`parameters` are left alone. Vertex AI takes a prediction of any JSON type; each is the object of
keepfit's own protocol, so that the `id` for feedback, the confidence and the probabilities are there.
"""

from __future__ import annotations

from collections.abc import Mapping

from keepfit.deployment.protocols import Answered, Asked, Reply, forms, native, shapes
from keepfit.deployment.protocols.native import answers, encode_json, error
from keepfit.deployment.protocols.shapes import fault
from keepfit.types import Schema

__all__ = ["decode", "encode", "error"]


def decode(body: bytes, headers: Mapping[str, str], schema: Schema) -> Asked:
    """The rows of `instances`. Raises RequestError (400)."""
    value = native.parsed_python(body)
    if type(value) is not dict or "instances" not in value:
        raise fault("Send a JSON object with 'instances': a list of objects with the columns as keys.", "not_rows")
    instances = value["instances"]
    if type(instances) is not list:
        raise shapes.none_or_no_list(instances, "instances")
    return Asked(forms.plain(shapes.from_any(instances, schema, "instances"), schema))


def encode(asked: Asked, answered: Answered) -> Reply:
    """{"predictions": [{"id", "prediction", …}]}"""
    return Reply(encode_json({"predictions": answers(asked, answered)}))
