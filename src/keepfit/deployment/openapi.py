"""The OpenAPI 3.1 document of a served model: every route, with the exact schema of its rows and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from keepfit.deployment.docs import asking, page
from keepfit.deployment.openapi_schemas import (
    COUNT,
    TEXT,
    Json,
    asked,
    components,
    form,
    listing,
    needed,
    notes,
    observed,
    record,
    ref,
    sample,
)  # fmt: skip
from keepfit.deployment.protocols import forms, v2
from keepfit.types import Schema

__all__ = ["asking", "document", "page"]

JSON, CSV, PARQUET, LINES = "application/json", "text/csv", "application/x-parquet", "application/jsonlines"
# What may go wrong with any request that brings a body, by status.
FAULTS: Mapping[int, str] = {
    400: "The body is not what its Content-Type says, or has no rows.",
    401: "An API key is needed, and none or another was sent.",
    405: "This path answers another method.",
    408: "The request did not arrive in time.",
    413: "The body or the number of rows is over the limit.",
    415: "The Content-Type or Content-Encoding is not read here.",
    422: "Values cannot be read as the model's columns need; each is named with row and column.",
    431: "The head of the request is too large.",
    500: "A fault of the server; its log has it under the request id.",
    503: "There is no model, or the queue is full: ask again after Retry-After.",
}
EARLY = (408, 413, 431, 503)  # also told by the connection
V2 = "V2Error"
OPEN: list[Json] = [{}]  # security of what anyone may ask
SECURITY: list[Json] = [{"bearer": []}, {"apiKey": []}]


def document(
    schema: Schema, name: str, version: str, *, strict: bool = False, secured: bool = False, routes: Sequence[str] = ()
) -> dict[str, Any]:
    """The document of one version of a model.

    Args:
        strict: columns that the model does not know are refused (serving.extra_columns).
        secured: API keys are set, so that nothing but health is answered without one.
        routes: further paths of predictions in Vertex AI's protocol (deployment.platforms).
    """
    task = f"predicts {schema.target or 'a value'}" + (f": {', '.join(schema.classes)}" if schema.classes else "")
    paths = {**_predictions(schema, strict), **_inference(schema, name), **_service()}
    paths.update({path: _vertex(schema) for path in routes})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": version,
            "description": f"The model {name}, version {version}, {task}. Served by keepfit.",
        },
        "servers": [{"url": "/"}],
        "security": SECURITY if secured else [{}, *SECURITY],
        "paths": paths,
        "components": {
            "schemas": components(schema, strict),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


# --- parts of an operation ------------------------------------------------------------------------


def _content(schema: Json, kind: str = JSON) -> Json:
    return {kind: {"schema": schema}}


def _faults(form: str, *statuses: int) -> Json:
    """Responses by status. What is refused before its route is known is told in keepfit's own form."""
    known, early = ref(form), {"anyOf": [ref(form), ref("Error")]}
    return {
        str(status): {"description": FAULTS[status], "content": _content(early if status in EARLY else known)}
        for status in statuses or FAULTS
    }


def _asks(summary: str, content: Json, answers: Json, form: str = "Error", **more: Any) -> Json:
    """An operation that takes a body."""
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "Answered.", "content": answers}, **_faults(form)},
        **more,
    }


def _tells(summary: str, schema: Json, kind: str = JSON, anyone: bool = False, form: str = "Error") -> Json:
    """An operation without a body. `anyone`: no key is needed."""
    faults = _faults(form, 405, 408, 431, 500, 503) | ({} if anyone else _faults(form, 401))
    return {
        "summary": summary,
        "responses": {"200": {"description": "Answered.", "content": _content(schema, kind)}, **faults},
        **({"security": OPEN} if anyone else {}),
    }


# --- routes ---------------------------------------------------------------------------------------


def _predictions(schema: Schema, strict: bool) -> dict[str, Json]:
    names, example = asked(schema)
    objects = [ref(name) for name in names]
    rows = {"anyOf": [*objects, listing(objects[0] if len(objects) == 1 else {"anyOf": objects}, 1)]}
    label: Any = schema.classes[0] if schema.classes else 1.5
    entry = {"schema": rows, "example": example}
    told = {"schema": _told(schema), "example": {"id": "the id of a prediction", "label": label}}
    report = _content(ref("FeedbackReport"))
    by = " or by series and time" if observed(schema) else ""
    feedback = _asks(f"What was true, by the id of a prediction{by}", {JSON: told}, report, operationId="feedback")
    feedback["responses"]["422"]["description"] = f"None of them is a label of a prediction{by}; each is named."
    return {
        "/predict": {
            "post": _asks(
                "Predict one row or many",
                {JSON: entry, **_files(schema)},
                _content(ref("Predictions")),
                operationId="predict",
            )
        },
        "/feedback": {"post": feedback},
        "/invocations": {"post": _scoring(schema)},
    }


def _told(schema: Schema) -> Json:
    """One entry of the feedback, or a list of them."""
    entries = [ref(name) for name in ("Feedback", *observed(schema))]
    entry = entries[0] if len(entries) == 1 else {"anyOf": entries}
    return {"anyOf": [*entries, listing(entry)]}


def _files(schema: Schema) -> Json:
    """The bodies that are files, or forms with files, where the model has columns of them."""
    names = forms.files(schema)
    found = _content(form(schema), forms.FORM) if names else {}
    return found | (_content({}, "image/*") if len(names) == len(schema.inputs) == 1 else {})


def _scoring(schema: Schema) -> Json:
    """MLflow's protocol, and SageMaker's."""
    method = {"type": "string", "enum": ["predict", "predict_proba", "all"] if schema.classes else ["predict", "all"]}
    params = {"params": record({"method": method}, ())}
    objects, columns = listing(ref("Row"), 1), ref("Columns")
    forms = {
        "dataframe_split": ref("Split"),
        "dataframe_records": objects,
        "instances": {"anyOf": [objects, listing({"type": "array"}, 1), columns]},
        "inputs": {"anyOf": [columns, objects, listing({"type": "array"}, 1)]},
    }
    body = {"oneOf": [record({name: form, **params}, (name,)) for name, form in forms.items()]}
    names = [*needed(schema)]
    values = [sample(schema[name]) for name in names]
    split = {"dataframe_split": {"columns": names, "data": [values]}}
    binary = {"type": "string", "contentMediaType": PARQUET}
    content = {
        JSON: {"schema": body, "example": split},
        CSV: {"schema": {**TEXT, "description": "A header row and rows, or rows in the columns' order."}},
        LINES: {"schema": {**TEXT, "description": "An object in each line."}},
        PARQUET: {"schema": binary},
        **_files(schema),
    }
    scored = record({"predictions": listing(ref("Scored"), 1), **notes(schema)}, ("predictions",))
    answers = {JSON: {"schema": scored}, CSV: {"schema": TEXT}}
    return _asks("MLflow's scoring protocol; SageMaker", content, answers, "MlflowError", operationId="invocations")


def _vertex(schema: Schema) -> Json:
    body = record({"instances": listing(ref("Row"), 1), "parameters": {}}, ("instances",))
    answers = _content(record({"predictions": listing(ref("Prediction"), 1)}))
    return {"post": _asks("Vertex AI's protocol", _content(body), answers)}


def _inference(schema: Schema, name: str) -> dict[str, Json]:
    """The Open Inference Protocol. The model's name stands in the paths: there is one."""
    tensors = [
        {"name": c.name, "shape": [1], "datatype": v2.datatype(c), "data": [_fit(v2.datatype(c), sample(c))]}
        for c in map(schema.__getitem__, needed(schema))
    ]
    outputs = listing(record({"name": TEXT}))
    body = record({"id": TEXT, "inputs": listing(ref("Tensor"), 1), "outputs": outputs}, ("inputs",))
    told = {"model_name": TEXT, "model_version": TEXT, "outputs": listing(ref("Tensor"))}
    more = {"parameters": record({"notes": TEXT}, ())} if schema.rhythm else {}
    answer = record({**told, "id": TEXT, **more}, tuple(told))
    infer = _asks(
        "Open Inference Protocol", {JSON: {"schema": body, "example": {"inputs": tensors}}},
        {**_content(answer), "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        V2, operationId="infer",
    )  # fmt: skip
    flag = {"type": "boolean"}
    live = record({"live": flag})
    metadata = record({"name": TEXT, "versions": listing(TEXT), "platform": TEXT, "inputs": {}, "outputs": {}})
    ready, about = record({"name": TEXT, "ready": flag}), record({"name": TEXT, "version": TEXT})
    model = f"/v2/models/{quote(name, safe='')}"
    return {
        f"{model}/infer": {"post": infer},
        model: {"get": _tells("The model's tensors", metadata, form=V2)},
        f"{model}/ready": {"get": _tells("Whether the model answers", ready, anyone=True, form=V2)},
        "/v2": {"get": _tells("Name, version and extensions of the server", about, anyone=True, form=V2)},
        "/v2/health/live": {"get": _tells("Open Inference Protocol: alive", live, anyone=True, form=V2)},
        "/v2/health/ready": {"get": _ready("Open Inference Protocol: ready", record({"ready": flag}), form=V2)},
    }


def _fit(datatype: str, value: Any) -> Any:
    return str(value) if datatype == "BYTES" else value


def _ready(summary: str, schema: Json, kind: str = JSON, form: str = "Error") -> Json:
    """A question that is answered with 200 or 503 in one form."""
    asked = _tells(summary, schema, kind, anyone=True, form=form)
    told = _content(schema, kind) | ({} if kind == JSON else _content(ref("Error")))
    asked["responses"]["503"] = {"description": "There is no model.", "content": told}
    return asked


def _service() -> dict[str, Json]:
    state = record({"status": {"type": "string", "enum": ["ready", "no_model"]}})
    batch = record({"MaxConcurrentTransforms": COUNT, "BatchStrategy": TEXT, "MaxPayloadInMB": COUNT})
    plain = "text/plain; charset=utf-8"
    return {
        "/health": {"get": _tells("Alive", record({"status": {"const": "ok"}}), anyone=True)},
        "/ready": {"get": _ready("Whether there is a model, which one, and what was refused", state)},
        "/ping": {"get": _ready("SageMaker: whether requests may come", TEXT, plain)},
        "/version": {"get": _tells("keepfit's version", TEXT, plain, anyone=True)},
        "/metrics": {"get": _tells("Prometheus", TEXT, "text/plain")},
        "/execution-parameters": {"get": _tells("SageMaker: how a batch transform asks", batch, anyone=True)},
        "/openapi.json": {"get": _tells("This document", {"type": "object"})},
        "/docs": {"get": _tells("This document, for people", TEXT, "text/html; charset=utf-8")},
    }
