"""keepfit's own protocol: `POST /predict`, one JSON object or a list of them, keys = columns.

A column of files (pictures) takes base64 text; a form with files, or one file alone, does too (`forms`).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat, starmap
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

from keepfit.data.rows import Table, lists_of
from keepfit.deployment.protocols import Answered, Asked, Reply, beside, forms, said
from keepfit.errors import RequestError
from keepfit.types import Column, Schema

decode_json = msgspec.json.Decoder().decode
encode_json = msgspec.json.Encoder().encode
SPECIAL = re.compile(rb"NaN|Infinity|[0-9][eE]\+?[0-9]{3}")  # what JSON has no numbers for
KEPT = 16  # schemas
SHORT = 2_000  # bytes; of so few rows it does not matter how they are read
ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')  # what is not written as it is


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
    known = _known(schema)
    wrapped = known.files and forms.WRAPPED in body
    if len(body) > SHORT and body.startswith(b"[") and not wrapped:
        table = _table(body, known)
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


def _table(body: bytes, known: Known) -> Table | None:
    """A list of objects that all have the same columns, those of the model; None for anything else.

    Read so, a batch costs half of what its objects would.
    """
    rows, numbers = _read(known.expected, body), known.numbers
    if rows is None:
        rows, numbers = _read(known.any, body), frozenset()
    if not rows:
        return None
    columns = dict(zip(known.names, zip(*map(astuple, rows), strict=True), strict=True))
    for name in [name for name in known.free if UNSET in columns[name]]:
        if columns.pop(name).count(UNSET) < len(rows):  # only some rows have it
            return None
    return Table(columns, numbers)


def _read(read: Read | None, body: bytes) -> list[Any] | None:
    try:
        return read(body) if read else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


Read = Callable[[bytes], list[Any]]


class Known(NamedTuple):
    """What reading bodies needs of a schema: all columns, those that may be left out, whether some are files, and
    functions from a body to its rows: of the kinds of values that are `expected`, and of `any`."""

    schema: Schema
    names: tuple[str, ...]
    free: tuple[str, ...]
    files: bool
    numbers: frozenset[str]
    expected: Read | None
    any: Read | None


KNOWN: dict[int, Known] = {}  # by the schema's id; a schema is here as long as its id


def _known(schema: Schema) -> Known:
    """Worked out once: a server has few schemas, and to hash one takes longer than to look at a batch's columns."""
    found = KNOWN.get(id(schema))
    if found is None:
        if len(KNOWN) >= KEPT:
            KNOWN.clear()
        names, needed = tuple(c.name for c in schema.columns), frozenset(c.name for c in schema.inputs)
        free = tuple(name for name in names if name not in needed)
        numbers = frozenset(c.name for c in schema.columns if c.role == "number")
        expected = _rows(names, free, [*map(_kind, schema.columns)])
        whatever = _rows(names, free, [Any] * len(names))
        files = bool(forms.files(schema))
        found = KNOWN[id(schema)] = Known(schema, names, free, files, numbers, expected, whatever)
    return found


def _kind(column: Column) -> Any:
    """What a column's values are expected to be. Of texts that are expected none is made anew for each row."""
    if column.role == "number":
        return int | float | None
    whole = column.role == "category" and 0 < column.distinct == len(column.levels)
    return Literal[(*column.levels, *column.tokens, None)] if whole else Any


def _rows(columns: Sequence[str], free: Sequence[str], kinds: Sequence[Any]) -> Read | None:
    """The function from a body to its rows as structs with a field for each column, of its kind; None where JSON
    escapes a name. It raises for rows with values of other kinds."""
    if any(ESCAPED.search(name) for name in columns):
        return None
    fields = {f"column_{k}": name for k, name in enumerate(columns)}
    told = [
        (field, kind, UNSET) if name in free else (field, kind)
        for (field, name), kind in zip(fields.items(), kinds, strict=True)
    ]
    made = msgspec.defstruct("Row", told, rename=fields, kw_only=True, forbid_unknown_fields=True, gc=False)
    read: Read = msgspec.json.Decoder(list[made]).decode  # type: ignore[valid-type]
    return read


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


class Answers(msgspec.Struct, gc=False):
    """The body of an answer."""

    predictions: list[Any]
    model: Model


def encode(asked: Asked, answered: Answered) -> Reply:
    """{"predictions": [{"id", "prediction", …}], "model": {"name", "version"}}"""
    return Reply(encode_json(Answers(answers(asked, answered), Model(answered.name, answered.version))))


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
        named = chances(answered.classes)
        return [*map(Labelled, answered.ids, found.values, found.sure or (), starmap(named, found.chances))]
    if found.low is None or found.high is None:
        return [*map(Valued, answered.ids, found.values)]
    return [*map(Spanned, answered.ids, found.values, zip(found.low, found.high, strict=True))]


@functools.lru_cache(16)
def chances(classes: tuple[str, ...]) -> Callable[..., Any]:
    """The function from a row's probabilities to what is written of them.

    A struct is written in half of the time of a dict; its keys must be such as JSON need not escape.

    >>> encode_json(chances(("no", "yes"))(0.25, 0.75)), encode_json(chances(("a\\n",))(1.0))
    (b'{"no":0.25,"yes":0.75}', b'{"a\\\\n":1.0}')
    """
    if any(ESCAPED.search(name) for name in classes):
        return lambda *row: dict(zip(classes, row, strict=True))
    fields = {f"class_{k}": name for k, name in enumerate(classes)}
    return msgspec.defstruct("Probabilities", [(field, float) for field in fields], rename=fields, gc=False)


def error(fault: RequestError) -> bytes:
    """{"error": {"code", "message", "details": [{"row", "column", "problem"}]}}"""
    told = {"code": fault.code, "message": fault.message, "details": list(fault.details)}
    return encode_json({"error": told})
