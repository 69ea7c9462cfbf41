"""JSON Schemas (2020-12, as in OpenAPI 3.1) of a model's rows and answers, and of every error body.

What training saw (a number's range, a category's levels) is told as description and examples and never
as a limit: a value outside is answered too.

>>> from keepfit.types import Column, Schema
>>> schema = Schema((Column("age", "number", "int", low=18, high=90), Column("y", "target")), "regression", "y")
>>> row(schema)["properties"]["age"]["description"]
'Number. In training from 18 to 90.'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keepfit.data import observations
from keepfit.deployment import wishes
from keepfit.deployment.protocols import beside, keys
from keepfit.types import Column, Schema

Json = dict[str, Any]
LEVELS = 20  # of a category that are shown
SHORT = 200  # characters of an example
NUMBER: Json = {"type": ["number", "null"]}  # null: not finite
TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def listing(items: Json, least: int = 0) -> Json:
    return {"type": "array", "items": items, **({"minItems": least} if least else {})}


def record(properties: Mapping[str, Json], required: tuple[str, ...] | None = None, **more: Any) -> Json:
    """An object; all properties are required unless `required` says which."""
    names = list(properties if required is None else required)
    return {"type": "object", "properties": dict(properties), **({"required": names} if names else {}), **more}


# --- rows -----------------------------------------------------------------------------------------


def row(schema: Schema, strict: bool = False) -> Json:
    """One row: an object with the columns as keys. `strict`: no others."""
    properties = {column.name: value(column) for column in schema.inputs}
    example = {column.name: sample(column) for column in schema.inputs}
    return record(properties, needed(schema), additionalProperties=not strict, examples=[example])


def needed(schema: Schema) -> tuple[str, ...]:
    """The columns that every row must have: what was observed may be left out."""
    return tuple(column.name for column in schema.required)


def value(column: Column) -> Json:
    """What one column's values are. `x-role` and `x-range` are for programs that make a form."""
    kind = KINDS.get(column.role, _text)(column)
    told = f" Unknown in {column.missing:.1%} of the training rows: null." if column.missing else ""
    return {**kind, "description": kind["description"] + told, "x-role": column.role}


def _number(column: Column) -> Json:
    seen = f" In training from {column.low:g} to {column.high:g}." if _ranged(column) else ""
    span = {"x-range": [column.low, column.high]} if _ranged(column) else {}
    return {"type": ["number", "null"], "description": f"Number.{seen}", "examples": [sample(column)], **span}


def _ranged(column: Column) -> bool:
    return column.low is not None and column.high is not None


def _category(column: Column) -> Json:
    shown = [_typed(column, level) for level in column.levels[:LEVELS]]
    more = f" {len(column.levels):,} levels in training; the first {LEVELS} are examples." if (
        len(column.levels) > LEVELS) else ""  # fmt: skip
    told = f"Category.{more} A level that training has not seen is answered too."
    kinds = ["string", "number", "boolean", "null"]
    return {"type": kinds, "description": told, "examples": shown or [sample(column)]}


def _date(column: Column) -> Json:
    forms = ", ".join(column.formats)
    told = f"Date or time, ISO 8601{f' or {forms}' if forms else ''}; UTC where it names no zone."
    kinds = ["string", "number", "null"] if column.formats else ["string", "null"]
    return {"type": kinds, "description": told, "examples": [sample(column)]}


def _series(column: Column) -> Json:
    told = "Name of the series. One that is not known needs rows that were observed."
    return {"type": ["string", "number", "null"], "description": told, "examples": [sample(column)]}


def _moment(column: Column) -> Json:
    if column.dated:
        return _date(column)
    return {"type": ["number", "null"], "description": "Time, a number.", "examples": [sample(column)]}


def _past(column: Column) -> Json:
    told = "The value, in rows that were observed; left out or null in rows to forecast."
    return {"type": ["number", "null"], "description": told, "examples": [None]}


def _text(column: Column) -> Json:
    return {"type": ["string", "null"], "description": "Text.", "examples": [sample(column)]}


def _image(column: Column) -> Json:
    told = "Picture: the bytes of its file as base64 text, or a data: URL."
    file = {"contentEncoding": "base64", "contentMediaType": "image/*"}
    return {"type": ["string", "null"], "description": told, "examples": [sample(column)], **file}


def form(schema: Schema) -> Json:
    """A row as the parts of a form; of several files of a column each is a row, and then of other parts too."""
    found: dict[str, Json] = {}
    for column in schema.inputs:
        one = PARTS.get(column.role, {**TEXT, "description": value(column)["description"]})
        found[column.name] = {"anyOf": [one, listing(one, 1)]}
    return record(found)


KINDS: Mapping[str, Callable[[Column], Json]] = {
    "series": _series,
    "moment": _moment,
    "past": _past,
    "number": _number,
    "category": _category,
    "date": _date,
    "text": _text,
    "image": _image,
}
# role → what a part of a form is, where it is no text
PARTS: Mapping[str, Json] = {"image": {**TEXT, "contentMediaType": "image/*", "description": "A picture's file."}}
# role → a value that any of its columns may have: a PNG of 8 x 8 grey pixels
ANY: Mapping[str, str] = {
    "image": "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg=="
}


def sample(column: Column) -> Any:
    """A value that the column may have, as JSON."""
    if column.role == "past":
        return None
    if column.role == "number" or (column.role == "moment" and not column.dated):
        return _typed(column, column.example, column.low if column.low is not None else 0)
    if column.role == "category":
        return _typed(column, column.levels[0] if column.levels else column.example)
    if column.dated:
        return column.example or "2026-01-31"
    return ANY.get(column.role) or column.example[:SHORT] or "some text"


def _typed(column: Column, text: str, otherwise: Any = None) -> Any:
    """A value that the schema keeps as text, in the column's own type.

    >>> _typed(Column("n", "category", "int"), "41"), _typed(Column("n", "category", "bool"), "true")
    (41, True)
    """
    fallback = text if otherwise is None else otherwise
    try:
        found = float(text) if column.role in ("number", "moment") or column.dtype in ("int", "float") else None
    except ValueError:
        return fallback
    if found is None:
        return text == "true" if column.dtype == "bool" and text in ("true", "false") else fallback
    return int(found) if found.is_integer() and abs(found) < 2**53 else found if abs(found) < float("inf") else fallback


# --- answers --------------------------------------------------------------------------------------


def prediction(schema: Schema) -> Json:
    """One answer of keepfit's own protocol."""
    return ANSWERS.get(schema.task, _answer)(schema)


def _answer(schema: Schema) -> Json:
    told: dict[str, Json] = {"id": {**TEXT, "description": "Send feedback with it."}}
    if schema.classes:
        chance = {"type": "number", "minimum": 0, "maximum": 1}
        told["prediction"] = {"type": "string", "enum": list(schema.classes)}
        told["confidence"] = {**chance, "description": "The probability of the predicted class."}
        told["probabilities"] = record(dict.fromkeys(schema.classes, chance))
        return record(told)
    told["prediction"] = NUMBER
    interval = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}
    return record({**told, "interval": interval}, ("id", "prediction"))


def _forecast(schema: Schema) -> Json:
    """The same of a forecast: with what says of which series and time it is."""
    plain, told = _answer(schema), _placed(schema)
    return {**plain, "properties": {**told, **plain["properties"]}, "required": [*plain["required"], *told]}


def _placed(schema: Schema) -> dict[str, Json]:
    """What says which row of a forecast is answered. A key is given back as it was sent."""
    names = keys(schema)
    told = {own: value(schema[name])["description"] for own, name in zip(beside(names), names, strict=True)}
    step = {"type": ["integer", "null"], "description": "Periods after the last observation; 0 for what is past."}
    return {**{own: {"description": about} for own, about in told.items()}, "step": step}


def _wish(schema: Schema) -> Json:
    """What a forecast may be asked by instead of rows."""
    rhythm = schema.rhythm
    assert rhythm is not None
    most = wishes.FARTHEST * rhythm.horizon
    horizon = {"type": "integer", "minimum": 1, "maximum": most, "description": "Periods ahead.", "examples": [1]}
    one = record({name: value(schema[name]) for name in rhythm.series})
    series = {"anyOf": [one, TEXT, listing({"anyOf": [one, TEXT]}, 1)], "description": "Default: all that are known."}
    history = {**listing(ref("Row")), "description": "Rows that were observed, of series that are known or new."}
    told: dict[str, Json] = {
        wishes.HORIZON: horizon,
        **({wishes.SERIES: series} if rhythm.series else {}),
        wishes.HISTORY: history,
    }
    return record(told, (wishes.HORIZON,), additionalProperties=False)


def asked(schema: Schema) -> tuple[list[str], Any]:
    """The names of the schemas that an object of a request may have, and an example of a request."""
    if schema.task in WISHES and schema.rhythm:
        return ["Row", "Wish"], {wishes.HORIZON: schema.rhythm.horizon}
    return ["Row"], {column.name: sample(column) for column in schema.inputs}


def _observation(schema: Schema) -> Json:
    """What was observed of a series: its columns, the time, the target."""
    rhythm = schema.rhythm
    assert rhythm is not None
    names = (*rhythm.series, rhythm.time)
    told = {column.name: value(column) for column in schema.inputs}
    told[str(schema.target)] = {"type": "number", "description": "What was observed."}
    sure = "Go on from this value though it is far from what was forecast."
    keys = {observations.CONFIRMED: {"type": "boolean", "description": sure}}
    about = "What was observed; of several of a series and time the last counts."
    return record({**keys, **told}, (*names, str(schema.target)), description=about)


def notes(schema: Schema) -> dict[str, Json]:
    """What may stand beside the answers to a forecast."""
    if schema.rhythm is None:
        return {}
    series = record(dict.fromkeys(schema.rhythm.series, TEXT), (), description="Empty: several, or the only one.")
    told = "What of the rows that were observed was not taken: it says otherwise than what is known of its periods."
    return {"notes": {**listing(record({"series": series, "periods": COUNT, "problem": TEXT})), "description": told}}


def observed(schema: Schema) -> list[str]:
    """The names of the schemas that an entry of the feedback may have beside Feedback."""
    return ["Observation"] if schema.task in OBSERVED and schema.rhythm else []


# task → one answer, where it has more than the others
ANSWERS: Mapping[str, Callable[[Schema], Json]] = {"forecast": _forecast}
# task → what may be asked instead of rows
WISHES: Mapping[str, Callable[[Schema], Json]] = {"forecast": _wish}
# task → what may be observed, and told without a prediction's id
OBSERVED: Mapping[str, Callable[[Schema], Json]] = {"forecast": _observation}


def scored(schema: Schema) -> Json:
    """One answer of MLflow's protocol: the prediction, or the columns that params.method asked for."""
    if schema.task in SCORED and schema.rhythm:
        return SCORED[schema.task](schema)
    label: Json = {"type": "string", "enum": list(schema.classes)} if schema.classes else NUMBER
    return record({"prediction": label}, (), description="With params.method, its columns.")


def _scored_ahead(schema: Schema) -> Json:
    """The same of a forecast."""
    ends = dict.fromkeys(("prediction_low", "prediction_high"), NUMBER)
    told = {**_placed(schema), "prediction": NUMBER}
    return record({**told, **ends}, tuple(told))


# task → one answer of MLflow's protocol, where it has more than the others
SCORED: Mapping[str, Callable[[Schema], Json]] = {"forecast": _scored_ahead}


def _tensor(data: bool) -> Json:
    shape = listing({"type": "integer", "minimum": 0}, 1)
    size = record({"binary_data_size": COUNT}, ())
    told = {"name": TEXT, "shape": shape, "datatype": TEXT, "parameters": size, "data": {"type": "array"}}
    return record(told, ("name", "shape", "datatype", "data") if data else ("name", "shape", "datatype"))


def components(schema: Schema, strict: bool = False) -> dict[str, Json]:
    """All schemas by name."""
    fault = record({"row": {"type": ["integer", "null"]}, "column": TEXT, "problem": TEXT}, ())
    told = record({"code": TEXT, "message": TEXT, "details": listing(fault)})
    label: Json = {"type": "string", "enum": list(schema.classes)} if schema.classes else {"type": "number"}
    columns = {column.name: listing(value(column)) for column in schema.inputs}
    invalid = record({"row": COUNT, "problem": TEXT, "id": {"type": ["string", "null"]}, "column": TEXT})
    return {
        "Row": row(schema, strict),
        **({"Wish": WISHES[schema.task](schema)} if schema.task in WISHES and schema.rhythm else {}),
        "Prediction": prediction(schema),
        "Predictions": record(
            {
                "predictions": listing(ref("Prediction"), 1), "model": record({"name": TEXT, "version": TEXT}),
                **notes(schema),
            },
            ("predictions", "model"),
        ),
        "Columns": record(columns, ()),
        "Split": record(
            {"columns": listing(TEXT, 1), "data": listing({"type": "array"}, 1), "index": {"type": "array"}},
            ("columns", "data"),
        ),
        "Scored": scored(schema),
        "Tensor": _tensor(False),
        "Feedback": record({"id": TEXT, "label": label}),
        **{name: OBSERVED[schema.task](schema) for name in observed(schema)},
        "FeedbackReport": record(
            {
                "accepted": COUNT, "repeated": COUNT, "unknown": listing(TEXT), "expired": listing(TEXT),
                "invalid": listing(invalid), "held_back": listing(invalid),
            },
            ("accepted", "repeated", "unknown"),
        ),
        "Error": record({"error": told}),
        "MlflowError": record({"error_code": TEXT, "message": TEXT, "error": told}),
        "V2Error": record({"error": TEXT, "code": TEXT, "details": listing(fault)}, ("error",)),
    }  # fmt: skip
