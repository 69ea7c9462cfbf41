"""keepfit's own protocol: `POST /predict`, one JSON object or a list of them, keys = columns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from keepfit.deployment.protocols import Answered, Asked, Reply
from keepfit.errors import RequestError
from keepfit.types import Schema

decode_json = msgspec.json.Decoder().decode
encode_json = msgspec.json.Encoder().encode
SPECIAL = re.compile(rb"NaN|Infinity|[0-9][eE]\+?[0-9]{3}")  # what JSON has no numbers for


def parsed(body: bytes) -> Any:
    """The value of a JSON body. Raises RequestError for what is not JSON (NaN and Infinity are not)."""
    try:
        return decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, "not_json", f"The body is not valid JSON: {error}") from None
    except RecursionError:
        raise RequestError(400, "not_json", "The body is nested too deeply.") from None


def parsed_python(body: bytes) -> Any:
    """`parsed`, but for the NaN and Infinity that Python's json module and its kin write.

    A number that is too large for a float is Infinity, as in Python. Raises RequestError.

    >>> parsed_python(b"[NaN, 1e400, 2]")
    [nan, inf, 2]
    """
    try:
        return decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if not SPECIAL.search(body):
            return parsed(body)  # tells what is wrong
    try:
        return json.loads(body)
    except RecursionError:
        raise RequestError(400, "not_json", "The body is nested too deeply.") from None
    except ValueError as error:  # and of it: JSONDecodeError, UnicodeDecodeError, too many digits
        raise RequestError(400, "not_json", f"The body is not valid JSON: {error}") from None


def decode(body: bytes, headers: Mapping[str, str], schema: Schema) -> Asked:
    """The rows of an object or a list of objects; the context says whether it was one object."""
    value = parsed(body)
    if type(value) is dict:
        return Asked((value,), True)
    if type(value) is not list:
        raise RequestError(400, "not_rows", "Send one JSON object with the columns as keys, or a list of them.")
    if not value:
        raise RequestError(400, "no_rows", "The list is empty. Send at least one object with the columns as keys.")
    return Asked(value, False)


def encode(asked: Asked, answered: Answered) -> Reply:
    """{"predictions": [{"id", "prediction", …}], "model": {"name", "version"}}"""
    model = {"name": answered.name, "version": answered.version}
    return Reply(encode_json({"predictions": predictions(answered), "model": model}))


def predictions(answered: Answered) -> list[dict[str, Any]]:
    """One plain value a row: id, prediction, and confidence with probabilities, or the interval."""
    output, classes = answered.output, answered.classes
    values = output.values.tolist()
    if output.probabilities is not None:
        rows = output.probabilities.tolist()
        return [
            {"id": key, "prediction": value, "confidence": row[classes.index(value)],
             "probabilities": dict(zip(classes, row, strict=True))}
            for key, value, row in zip(answered.ids, values, rows, strict=True)
        ]  # fmt: skip
    if output.low is None or output.high is None:
        return [{"id": key, "prediction": value} for key, value in zip(answered.ids, values, strict=True)]
    ends = np.stack([output.low, output.high], axis=1).tolist()
    return [
        {"id": key, "prediction": value, "interval": pair}
        for key, value, pair in zip(answered.ids, values, ends, strict=True)
    ]


def error(fault: RequestError) -> bytes:
    """{"error": {"code", "message", "details": [{"row", "column", "problem"}]}}"""
    told = {"code": fault.code, "message": fault.message, "details": list(fault.details)}
    return encode_json({"error": told})
