"""keepfit's own protocol: `POST /predict`, one JSON object or a list of them, keys = columns.

A column of files (pictures) takes base64 text; a form with files, or one file alone, does too (`forms`).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat, starmap
from typing import Any

import msgspec

from keepfit.data.rows import lists_of
from keepfit.deployment.protocols import Answered, Asked, Reply, beside, forms, said, tables
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
    if not body.startswith((b"{", b"[")):
        rows = forms.rows(body, headers.get("content-type", ""), schema)
        if rows is not None:
            return Asked(rows, len(rows) == 1)
    known = tables.known(schema)
    wrapped = known.files and forms.WRAPPED in body
    if len(body) > tables.SHORT and body.startswith(b"[") and not wrapped:
        table = tables.objects(body, known)
        if table:
            return Asked(table, False)
    value = parsed(body)
    if type(value) is dict:
        return Asked(forms.plain([value], schema) if wrapped else (value,), True)
    if type(value) is not list:
        raise RequestError(400, "not_rows", "Send one JSON object with the columns as keys, or a list of them.")
    if not value:
        raise RequestError(400, "no_rows", "The list is empty. Send at least one object with the columns as keys.")
    return Asked(forms.plain(value, schema) if wrapped else value, False)


class Model(msgspec.Struct, gc=False):
    """Which model answered."""

    name: str
    version: str


class Labelled(msgspec.Struct, gc=False):
    """One answer of a classifier; `probabilities` is written as an object with the classes as keys."""

    id: str
    prediction: str
    confidence: float
    probabilities: Any


class Valued(msgspec.Struct, gc=False):
    """One answer of a regression."""

    id: str
    prediction: float


class Spanned(msgspec.Struct, gc=False):
    """The same with the interval's ends."""

    id: str
    prediction: float
    interval: tuple[float, float]


class Answers(msgspec.Struct, gc=False, omit_defaults=True):
    """The body of an answer."""

    predictions: list[Any]
    model: Model
    notes: Sequence[Any] = ()


def encode(asked: Asked, answered: Answered) -> Reply:
    """{"predictions": [{"id", "prediction", …}], "model": {"name", "version"}}, and "notes" where there are any."""
    told = Answers(answers(asked, answered), Model(answered.name, answered.version))
    if asked.notes:
        told.notes = noted(asked)
    return Reply(encode_json(told))


def noted(asked: Asked) -> list[dict[str, Any]]:
    """[{"series", "periods", "problem"}]"""
    return [note._asdict() for note in asked.notes]


def answers(asked: Asked, answered: Answered) -> list[Any]:
    """What is written for each row."""
    return ahead(asked, answered) if answered.keys else predictions(answered)


def ahead(asked: Asked, answered: Answered) -> list[Any]:
    """What is written for each row of a forecast: id, series and time as they were asked for, step, value, interval."""
    found = answered.said or said(answered.output, answered.classes)
    made = _placed(answered.keys, found.low is not None)
    steps = repeat(None) if found.step is None else [*map(round, found.step)]
    keys = lists_of(answered.keys)(asked.rows)
    interval = [zip(found.low, found.high, strict=True)] if found.low is not None and found.high is not None else []
    return [*map(made, answered.ids, *keys, steps, found.values, *interval)]


@functools.lru_cache(16)
def _placed(keys: tuple[str, ...], interval: bool) -> Callable[..., Any]:
    """The struct of a row of a forecast. Names that it has of its own go before the columns'."""
    fields: list[tuple[str, Any]] = [("id", str), *((f"column_{k}", Any) for k in range(len(keys)))]
    fields += [("step", Any), ("prediction", float), *([("interval", Any)] if interval else [])]
    names = {f"column_{k}": name for k, name in enumerate(beside(keys))}
    return msgspec.defstruct("Placed", fields, rename=names, gc=False)


def predictions(answered: Answered) -> list[Any]:
    """What is written for each row: id, prediction, and confidence with probabilities, or the interval."""
    found = answered.said or said(answered.output, answered.classes)
    if found.chances is not None:
        named = written(answered.classes)
        return [*map(Labelled, answered.ids, found.values, found.sure or (), starmap(named, found.chances))]
    if found.low is None or found.high is None:
        return [*map(Valued, answered.ids, found.values)]
    return [*map(Spanned, answered.ids, found.values, zip(found.low, found.high, strict=True))]


@functools.lru_cache(16)
def written(names: tuple[str, ...]) -> Callable[..., Any]:
    """The function from values to what is written of them: an object with these keys.

    A struct is written in half of the time of a dict; its keys must be such as JSON need not escape.

    >>> encode_json(written(("no", "yes"))(0.25, 0.75)), encode_json(written(("a\\n",))(1.0))
    (b'{"no":0.25,"yes":0.75}', b'{"a\\\\n":1.0}')
    """
    if any(tables.ESCAPED.search(name) for name in names):
        return lambda *row: dict(zip(names, row, strict=True))
    fields = {f"key_{k}": name for k, name in enumerate(names)}
    return msgspec.defstruct("Written", [(field, Any) for field in fields], rename=fields, gc=False)


def error(fault: RequestError) -> bytes:
    """{"error": {"code", "message", "details": [{"row", "column", "problem"}]}}"""
    told = {"code": fault.code, "message": fault.message, "details": list(fault.details)}
    return encode_json({"error": told})
