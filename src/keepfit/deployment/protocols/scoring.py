"""MLflow's scoring protocol, `POST /invocations`, and with it SageMaker's.

A request is what `mlflow models serve` takes, by its Content-Type:

    application/json      {"dataframe_split" | "dataframe_records" | "instances" | "inputs": …, "params": …}
    text/csv              a header row and rows; without a header (as in SageMaker's batch transform),
                          the values stand in the order of the model's columns
    application/x-parquet (and its other names) a Parquet file
    application/jsonlines an object in each line (SageMaker)
    image/…, multipart/form-data, application/octet-stream   pictures, see `forms`

The answer is what MLflow gives for the model that keepfit registers: {"predictions": [{"prediction": …}]},
or, with params {"method": "predict_proba"} or {"method": "all"}, the columns of those (deployment.pyfunc). Forecasts
have all columns with any method: those of the series, the time, step, prediction, prediction_low and prediction_high.
`Accept: text/csv` and `application/jsonlines` are honoured; CSV has a header unless the request had none.
Errors carry MLflow's keys beside keepfit's. NaN and Infinity are read, because MLflow's client writes them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from keepfit.deployment.protocols import JSON, Answered, Asked, Reply, forms, placed, shapes, tables
from keepfit.deployment.protocols.native import encode_json, noted, parsed_python, written
from keepfit.deployment.protocols.shapes import Row, fault
from keepfit.errors import RequestError
from keepfit.extras import load
from keepfit.types import Schema

CSV, LINES = "text/csv", "application/jsonlines"
METHODS = ("predict", "predict_proba", "all")  # of params, as in deployment.pyfunc
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# Names of charsets that a body may have. A table, because Python's own look-up keeps every name it was asked for.
CHARSETS: Mapping[str, str] = {
    "utf-8": "utf-8-sig", "utf8": "utf-8-sig", "us-ascii": "ascii", "ascii": "ascii", "utf-16": "utf-16",
    "iso-8859-1": "latin-1", "latin-1": "latin-1", "latin1": "latin-1", "iso-8859-15": "iso-8859-15",
    "windows-1252": "cp1252", "cp1252": "cp1252",
}  # fmt: skip
# status → MLflow's error_code
CODES: Mapping[int, str] = {
    401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "ENDPOINT_NOT_FOUND", 429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


class Context(NamedTuple):
    """What the answer must look like."""

    method: str = "predict"
    form: str = JSON
    header: bool = True


def decode(body: bytes, headers: Mapping[str, str], schema: Schema) -> Asked:
    """The rows of a body by its Content-Type (none: JSON). Raises RequestError (400, 415)."""
    told = headers.get("content-type", JSON)
    kind, charset = content_type(told)
    form = accepted(headers.get("accept", ""))
    read = BODIES.get(kind)
    if read is None or (kind == forms.BYTES and not body.startswith(b"PAR1")):
        rows = forms.rows(body, told, schema)
        if rows is not None:
            return Asked(rows, Context(form=form))
        known = "application/json, text/csv, application/x-parquet, application/jsonlines"
        raise RequestError(415, "unknown_content_type", f"Content-Type '{kind[:80]}' is not read here. Known: {known}.")
    return read(body, charset, schema, form)


def content_type(header: str) -> tuple[str, str]:
    """The media type and the charset (utf-8 by default) of a Content-Type. Raises RequestError (415).

    >>> content_type('text/csv; header=present; charset="UTF-8"')
    ('text/csv', 'utf-8-sig')
    """
    kind, *parameters = header.split(";")
    charset = "utf-8"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    if charset not in CHARSETS:
        raise RequestError(415, "unknown_charset", f"The charset '{charset[:40]}' is not read here. Send UTF-8.")
    return kind.strip().lower() or JSON, CHARSETS[charset]


def accepted(header: str) -> str:
    """The form that an Accept header likes best of those that there are; JSON where it names none.

    >>> accepted("text/html, text/csv;q=0.9, application/json;q=0.5"), accepted("*/*"), accepted("image/png")
    ('text/csv', 'application/json', 'application/json')
    """
    best, most = JSON, 0.0
    for part in header.split(",") if header else ():
        kind, *parameters = part.split(";")
        quality = QUALITY.search(";".join(parameters))
        weight = float(quality[1]) if quality else 1.0
        form = FORMS_OF_ANSWERS.get(kind.strip().lower())
        if form and weight > most:
            best, most = form, weight
    return best


QUALITY = re.compile(r"(?:^|;)\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*(?:;|$)")
FORMS_OF_ANSWERS: Mapping[str, str] = {
    "*/*": JSON, "application/*": JSON, JSON: JSON, CSV: CSV, "text/*": CSV, "application/csv": CSV,
    LINES: LINES, "application/x-jsonlines": LINES, "application/x-ndjson": LINES,
}  # fmt: skip


# --- bodies ---------------------------------------------------------------------------------------


def _json(body: bytes, charset: str, schema: Schema, form: str) -> Asked:
    if charset != "utf-8-sig":
        body = _text(body, charset).encode()
    known = tables.known(schema)
    quick = tables.split(body, known) if len(body) > tables.SHORT and not known.files else None
    if quick:
        return Asked(quick[0], Context(_method(quick[1], schema), form))
    value = parsed_python(body.removeprefix(b"\xef\xbb\xbf"))
    if type(value) is not dict or sum(name in value for name in FORMS) != 1:
        raise fault(f"Send a JSON object with exactly one of {', '.join(FORMS)}.", "not_rows")
    method = _method(value.get("params"), schema)
    name = next(name for name in FORMS if name in value)
    if name == "dataframe_split":
        rows = _split(value[name], schema)
    elif name == "dataframe_records":
        rows = _records(value[name], schema)
    else:
        rows = shapes.from_any(value[name], schema, name)
    return Asked(forms.plain(rows, schema), Context(method, form))


def _method(params: Any, schema: Schema) -> str:
    """What is asked for. Other params are left alone, as MLflow does with those that a model does not know."""
    if params is None:
        return "predict"
    if type(params) is not dict:
        raise fault("'params' must be an object.", "bad_params")
    method = params.get("method", "predict")
    if method not in METHODS:
        raise fault(f"params.method must be one of {', '.join(METHODS)}.", "bad_params")
    if method == "predict_proba" and not schema.classes:
        raise fault("params.method: 'predict_proba' is for classes; this model predicts a value.", "bad_params")
    return str(method)


def _split(given: Any, schema: Schema) -> list[Row]:
    """Rows of pandas' orient `split`: columns, data, and an index that is not looked at."""
    if type(given) is not dict or "data" not in given or given.keys() - {"columns", "data", "index"}:
        raise fault("'dataframe_split' must be an object with 'columns' and 'data' (and 'index').")
    columns = given.get("columns")
    where = "dataframe_split.columns"
    names = shapes.inputs(schema) if columns is None else shapes.names(columns, schema, where)
    return shapes.from_lists(given["data"], names, "dataframe_split.data")


def _records(given: Any, schema: Schema) -> list[Row]:
    """Rows of pandas' orient `records`: a key that only some of them have is missing in the others."""
    if type(given) is not list or not given:
        raise shapes.none_or_no_list(given, "dataframe_records")
    rows = shapes.from_objects(given, schema, "dataframe_records")
    first = rows[0].keys()
    if all(row.keys() == first for row in rows):
        return rows
    known = dict.fromkeys(column.name for column in schema.inputs if any(column.name in row for row in rows))
    return [{**known, **row} for row in rows]


def _text(body: bytes, charset: str) -> str:
    try:
        return body.decode(charset)
    except UnicodeDecodeError as error:
        raise fault(f"The body is not {charset.removesuffix('-sig')} text (byte {error.start}).", "not_text") from None


def _csv(body: bytes, charset: str, schema: Schema, form: str) -> Asked:
    reader = csv.reader(io.StringIO(_text(body, charset), newline=""), strict=True)
    try:
        lines = [line for line in reader if line]
    except csv.Error as error:
        raise fault(f"The body is not CSV: line {reader.line_num:,}: {error}.", "not_csv") from None
    columns = shapes.inputs(schema)
    header = bool(lines) and is_header(lines[0], schema)
    if header:
        columns = [name.strip() for name in lines[0]]
        shapes.room(len(columns), schema)
        shapes.different(columns, "the header")
    elif lines and len(lines[0]) != len(columns):
        told = f"its {len(lines[0]):,} cells are neither the columns' names nor a value for each of {len(columns):,}"
        raise fault(f"The first line is no header: {told}: {shapes.listed(columns)}.", "no_header")
    rows = shapes.from_lists([*lines[1:]] if header else lines, columns, "the CSV")
    return Asked(rows, Context(form=form, header=header))


def is_header(cells: Sequence[str], schema: Schema) -> bool:
    """Whether the first line of a CSV names columns: more than half of its cells are columns of the model.

    >>> from keepfit.types import Column
    >>> schema = Schema((Column("age", "number"), Column("plan", "category")), "regression")
    >>> is_header(["id", "plan", "age"], schema), is_header(["41", "plan"], schema)
    (True, False)
    """
    known = {column.name for column in schema.columns}
    return 2 * sum(cell.strip() in known for cell in cells) > len(cells)


def _parquet(body: bytes, charset: str, schema: Schema, form: str) -> Asked:
    read: Callable[[bytes, Schema], list[Row]] = load("keepfit.deployment.protocols.parquet:rows", "Parquet")
    return Asked(read(body, schema), Context(form=form))


def _lines(body: bytes, charset: str, schema: Schema, form: str) -> Asked:
    lines = [line for line in _text(body, charset).splitlines() if line.strip()]
    if not lines:
        raise fault("The body has no lines. Send a JSON object in each.", "no_rows")
    rows = [parsed_python(line.encode()) for line in lines]
    return Asked(forms.plain(shapes.from_any(rows, schema, "the body"), schema), Context(form=form))


BODIES: Mapping[str, Callable[[bytes, str, Schema, str], Asked]] = {
    JSON: _json,
    CSV: _csv,
    "application/csv": _csv,
    LINES: _lines,
    "application/x-jsonlines": _lines,
    "application/x-ndjson": _lines,
    "application/x-parquet": _parquet,
    "application/parquet": _parquet,
    "application/vnd.apache.parquet": _parquet,
    "application/octet-stream": _parquet,
}


# --- answers ---------------------------------------------------------------------------------------


def encode(asked: Asked, answered: Answered) -> Reply:
    """The predictions in the form that was asked for."""
    context: Context = asked.context
    columns = _columns(asked, answered, context.method)
    if context.form == CSV:
        return Reply(_written(columns, context.header), "text/csv; charset=utf-8")
    rows = [*map(written(tuple(columns)), *columns.values())]
    if context.form == LINES:
        return Reply(b"".join(encode_json(row) + b"\n" for row in rows), LINES)
    return Reply(encode_json({"predictions": rows, **({"notes": noted(asked)} if asked.notes else {})}))


def _columns(asked: Asked, answered: Answered, method: str) -> dict[str, Sequence[Any]]:
    """What deployment.pyfunc gives: name → the rows' values."""
    output, classes = answered.output, answered.classes
    prediction = {**placed(asked, answered), "prediction": output.values.tolist()}
    if method == "predict" and not answered.keys:
        return prediction
    if output.probabilities is None:
        ends = {"prediction_low": output.low, "prediction_high": output.high}
        return prediction | {name: end.tolist() for name, end in ends.items() if end is not None}
    chances = output.probabilities.T.tolist()
    if method == "predict_proba":
        return dict(zip(classes, chances, strict=True))
    place = {name: k for k, name in enumerate(classes)}
    confidence = [chances[place[value]][row] for row, value in enumerate(prediction["prediction"])]
    each = {f"probability_{name}": chances[k] for name, k in place.items()}
    return {**prediction, "confidence": confidence, **each}


def _written(columns: Mapping[str, Sequence[Any]], header: bool) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def error(fault: RequestError) -> bytes:
    """MLflow's {"error_code", "message"} and keepfit's {"error": …} in one object.

    MLflow has one text only, so that the first faults of values are in it.
    """
    told = {"code": fault.code, "message": fault.message, "details": list(fault.details)}
    code = CODES.get(fault.status, "BAD_REQUEST")
    return encode_json({"error_code": code, "message": shapes.sentence(fault), "error": told})
