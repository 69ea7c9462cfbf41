"""Vertex AI's protocol."""

from __future__ import annotations

import json

import pytest

from keepfit.deployment.protocols import vertex
from keepfit.errors import RequestError
from keepfit.types import Column, Schema
from tests.deployment.protocols import requests


def test_objects_lists_and_values_alone():
    def rows(instances, schema=requests.SCHEMA):
        return vertex.decode(requests.json_of({"instances": instances, "parameters": {"x": 1}}), {}, schema).rows

    assert rows([{"age": 1}]) == [{"age": 1}]
    assert rows([[1, "a", "b"]]) == [{"age": 1, "plan": "a", "note": "b"}]
    assert rows(["good", "bad"], Schema((Column("review", "text"),), "regression")) == [
        {"review": "good"},
        {"review": "bad"},
    ]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([1], "Send a JSON object with 'instances'"),
        ({"inputs": []}, "Send a JSON object with 'instances'"),
        ({"instances": []}, "instances is empty. Send at least one row."),
        ({"instances": {"age": [1]}}, "instances must be a list of rows, not an object."),
        ({"instances": "x"}, "instances must be a list of rows, not a text."),
        ({"instances": [[1]]}, "Each row of instances must have 3 values"),
    ],
)
def test_errors(body, told):
    with pytest.raises(RequestError, match=told) as found:
        vertex.decode(requests.json_of(body), {}, requests.SCHEMA)
    assert json.loads(vertex.error(found.value))["error"]["message"] == found.value.message


def test_answers_are_keepfits_own():
    asked = vertex.decode(b'{"instances": [{}, {}]}', {}, requests.SCHEMA)
    told = json.loads(vertex.encode(asked, requests.answered()).body)
    assert told["predictions"][0] == {
        "id": "id.0", "prediction": "no", "confidence": 0.75, "probabilities": {"no": 0.75, "yes": 0.25},
    }  # fmt: skip
    assert set(told) == {"predictions"}
