"""The OpenAPI document of a model: valid, and exact about rows and answers."""

from __future__ import annotations

import base64
import json

import jsonschema
import numpy as np
import pytest

from keepfit.data import pictures
from keepfit.deployment import openapi, openapi_schemas
from keepfit.deployment.protocols import Answered, native, scoring, v2
from keepfit.errors import RequestError
from keepfit.features.rows import from_rows
from keepfit.models.fitted import Ahead, Output
from keepfit.types import Column, Rhythm, Schema
from tests.deployment.protocols import requests

SCHEMA = Schema(
    (
        Column("age", "number", "int", low=17, high=90, example="39"),
        Column("weight", "number", "float", missing=0.25, example="nonsense"),
        Column("plan", "category", levels=tuple(f"level {k}" for k in range(30))),
        Column("code", "category", "int", levels=("98178", "1")),
        Column("member", "category", "bool", levels=("true", "false")),
        Column("since", "date", "date", example="2020-01-02"),
        Column("day", "date", "int", formats=("%Y%m%d",), example="20200102"),
        Column("note </script>", "text"),
        Column("id", "id"),
        Column("y", "target"),
    ),
    "classification",
    "y",
    ("no", "yes"),
)


@pytest.mark.parametrize("schema", [SCHEMA, requests.SCHEMA, requests.VALUES])
@pytest.mark.parametrize("options", [{}, {"strict": True, "secured": True, "routes": ["/v1/x:predict"]}])
def test_it_is_openapi(schema, options):
    validator = pytest.importorskip("openapi_spec_validator").OpenAPIV31SpecValidator
    document = json.loads(json.dumps(openapi.document(schema, "a model/of ours", "3", **options)))
    validator(document).validate()
    ids = [operation.get("operationId") for methods in document["paths"].values() for operation in methods.values()]
    assert {"predict", "feedback", "invocations", "infer"} <= set(ids)


def test_rows_are_described_as_they_are_read():
    told = openapi_schemas.row(SCHEMA)
    properties = told["properties"]
    assert list(properties) == told["required"] == [c.name for c in SCHEMA.inputs]
    assert properties["age"]["description"] == "Number. In training from 17 to 90."
    assert properties["age"]["x-range"] == [17, 90]
    assert "minimum" not in properties["age"]  # outside of it is answered too
    assert properties["weight"]["description"] == "Number. Unknown in 25.0% of the training rows: null."
    assert "enum" not in properties["plan"]
    assert "30 levels in training; the first 20 are examples." in properties["plan"]["description"]
    assert len(properties["plan"]["examples"]) == 20
    assert properties["code"]["examples"] == [98178, 1]
    assert properties["member"]["examples"] == [True, False]
    assert properties["day"]["description"] == "Date or time, ISO 8601 or %Y%m%d; UTC where it names no zone."
    assert told["additionalProperties"] is True
    assert openapi_schemas.row(SCHEMA, strict=True)["additionalProperties"] is False


@pytest.mark.parametrize("schema", [SCHEMA, requests.SCHEMA, requests.VALUES])
def test_examples_can_be_sent_as_they_are(schema):
    """Each example is valid by its own schema, and is read without a problem."""
    document = openapi.document(schema, "small", "3")
    found = {}
    decoders = {"/predict": native.decode, "/invocations": scoring.decode, "/v2/models/small/infer": v2.decode}
    for path, decode in decoders.items():
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        jsonschema.validate(content["example"], {**content["schema"], "components": document["components"]})
        asked = decode(json.dumps(content["example"]).encode(), {}, schema)
        _, found[path] = from_rows(asked.rows, schema)
    assert [path for path, problems in found.items() if problems] == []


def valid(document, path, body, status="200"):
    content = document["paths"][path]["post"]["responses"][status]["content"]["application/json"]
    jsonschema.validate(json.loads(body), {**content["schema"], "components": document["components"]})


@pytest.mark.parametrize("values", [False, True])
def test_answers_and_errors_are_described_as_they_are(values):
    schema = requests.VALUES if values else requests.SCHEMA
    document, made = openapi.document(schema, "small", "3"), requests.answered(values=values)
    asked = native.decode(b"[{}, {}]", {}, schema)
    valid(document, "/predict", native.encode(asked, made).body)
    for method in ("predict", "all", *(() if values else ("predict_proba",))):
        body = {"inputs": [[1, 2, 3]] * 2, "params": {"method": method}}
        asked = scoring.decode(json.dumps(body).encode(), {}, schema)
        valid(document, "/invocations", scoring.encode(asked, made).body)
    asked = v2.decode(*requests.v2_body([{"age": 1, "plan": "a", "note": "b"}] * 2), schema)
    valid(document, "/v2/models/small/infer", v2.encode(asked, made).body)
    fault = RequestError(422, "bad_values", "No.", [{"row": 0, "column": "age", "problem": "infinite"}])
    for path, protocol in (("/predict", native), ("/invocations", scoring), ("/v2/models/small/infer", v2)):
        valid(document, path, protocol.error(fault), "422")


def test_an_answer_that_is_not_finite_is_null():
    output = Output(np.array([np.inf]), None, np.array([0.0]), np.array([np.inf]))
    body = native.encode(native.decode(b"{}", {}, requests.VALUES), Answered(["a"], output, (), "small", "3")).body
    valid(openapi.document(requests.VALUES, "small", "3"), "/predict", body)
    assert json.loads(body)["predictions"][0]["prediction"] is None


def test_who_may_ask():
    def security(**options):
        document = openapi.document(SCHEMA, "small", "3", **options)
        return document["security"], document["paths"]["/health"]["get"]["security"]

    assert security() == ([{}, {"bearer": []}, {"apiKey": []}], [{}])
    assert security(secured=True) == ([{"bearer": []}, {"apiKey": []}], [{}])


PICTURES = Schema((Column("photo", "image", example="JPEG"), Column("age", "number"), Column("y", "target")), "none")


def test_pictures_and_forms():
    pytest.importorskip("openapi_spec_validator").OpenAPIV31SpecValidator(
        json.loads(json.dumps(openapi.document(PICTURES, "small", "3")))
    ).validate()
    document = openapi.document(PICTURES, "small", "3")
    photo = document["components"]["schemas"]["Row"]["properties"]["photo"]
    assert (photo["contentEncoding"], photo["x-role"]) == ("base64", "image")
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert sorted(content) == ["application/json", "multipart/form-data"]
    assert content["multipart/form-data"]["schema"]["required"] == ["photo", "age"]
    assert pictures.look(base64.b64decode(photo["examples"][0])).width == 8
    alone = Schema(PICTURES.columns[:1], "none")
    for path in ("/predict", "/invocations"):
        assert "image/*" in openapi.document(alone, "s", "3")["paths"][path]["post"]["requestBody"]["content"]
        assert (
            "image/*"
            not in openapi.document(requests.SCHEMA, "s", "3")["paths"][path]["post"]["requestBody"]["content"]
        )


FORECAST = Schema(
    (
        Column("shop", "series", example="north"),
        Column("step", "moment", "date", example="2024-01-31"),
        Column("sold", "past", "float", example="5.5"),
    ),
    "forecast",
    "sold",
    rhythm=Rhythm("step", "1d", 0.0, 7, ("shop",)),
)


def test_a_forecast_is_asked_by_a_horizon_or_by_rows():
    document = json.loads(json.dumps(openapi.document(FORECAST, "small", "3")))
    pytest.importorskip("openapi_spec_validator").OpenAPIV31SpecValidator(document).validate()
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert content["example"] == {"horizon": 7}
    body = {**content["schema"], "components": document["components"]}
    row = {"shop": "west", "step": "2024-02-01"}
    good = [
        {"horizon": 7, "series": "north"},
        {"horizon": 7, "series": [{"shop": "north"}], "history": [{**row, "sold": 3}]},
        row,
        [{**row, "sold": None}, {"horizon": 1}],
    ]
    for value in good:
        jsonschema.validate(value, body)
    for value in ({"horizon": 0}, {"horizon": 71}, {"series": "north"}, {"horizon": 1, "weather": "fine"}, []):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, body)


def test_the_answer_of_a_forecast_says_of_which_series_and_time_it_is():
    document = openapi.document(FORECAST, "small", "3")
    ahead = Ahead(np.array([1.0]), np.array([2.0]))
    output = Output(np.array([4.0]), None, np.array([3.0]), np.array([5.0]), ahead=ahead)
    asked = native.decode(b'{"shop": "north", "step": "2024-02-02"}', {}, FORECAST)
    body = native.encode(asked, Answered(["a"], output, (), "small", "3", None, ("shop", "step"))).body
    valid(document, "/predict", body)
    told = json.loads(body)["predictions"][0]
    assert (told["shop"], told["step_"], told["step"]) == ("north", "2024-02-02", 2)
    assert set(document["components"]["schemas"]["Prediction"]["required"]) == set(told) - {"interval"}


def test_feedback_of_a_forecast_is_told_by_series_and_time_too():
    document = json.loads(json.dumps(openapi.document(FORECAST, "shops", "1")))
    content = document["paths"]["/feedback"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    body = {**content, "components": document["components"]}
    row = {"shop": "west", "step": "2024-02-01", "sold": 3}
    for value in (row, {"id": "a", "label": 3}, [row, {"id": "a", "label": 3}], {**row, "confirmed": True}):
        jsonschema.validate(value, body)
    for value in ({**row, "sold": None}, {"shop": "west", "sold": 3}, [{"id": "a"}], {**row, "confirmed": "yes"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, body)
