"""keepfit's own protocol."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepfit.deployment.protocols import Answered, native
from keepfit.errors import RequestError
from keepfit.models.fitted import Output
from tests.deployment.protocols import requests


def test_one_object_or_a_list():
    assert native.decode(b'{"age": 1}', {}, requests.SCHEMA) == (({"age": 1},), True)
    assert native.decode(b'[{"age": 1}, 2]', {}, requests.SCHEMA) == ([{"age": 1}, 2], False)


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b"3", "not_rows", "Send one JSON object with the columns as keys, or a list of them."),
        (b"[]", "no_rows", "The list is empty. Send at least one object"),
        (b'{"age": Infinity}', "not_json", "The body is not valid JSON"),
        (b'{"age": 1e400}', "not_json", "Number out of range"),
        (b'{"age": "\xff"}', "not_json", "The body is not valid JSON"),
    ],
)
def test_errors(body, code, told):
    with pytest.raises(RequestError, match=told) as found:
        native.decode(body, {}, requests.SCHEMA)
    assert json.loads(native.error(found.value))["error"]["code"] == code


def test_answers():
    asked = native.decode(b"[{}, {}]", {}, requests.SCHEMA)
    assert json.loads(native.encode(asked, requests.answered()).body) == {
        "predictions": [
            {"id": "id.0", "prediction": "no", "confidence": 0.75, "probabilities": {"no": 0.75, "yes": 0.25}},
            {"id": "id.1", "prediction": "yes", "confidence": 0.875, "probabilities": {"no": 0.125, "yes": 0.875}},
        ],
        "model": {"name": "small", "version": "3"},
    }
    values = requests.answered(values=True)
    assert json.loads(native.encode(asked, values).body)["predictions"][0] == {
        "id": "id.0", "prediction": 0.5, "interval": [-0.5, 1.5],
    }  # fmt: skip
    bare = Answered(values.ids, Output(values.output.values), (), "small", "3")
    assert json.loads(native.encode(asked, bare).body)["predictions"][1] == {"id": "id.1", "prediction": 1.5}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=5, unique=True))
@settings(max_examples=100, deadline=None)
def test_classes_of_any_name(names):
    classes = tuple(sorted(names))
    row = np.linspace(0, 1, len(classes))
    output = Output(np.array([classes[-1]], object), row[None])
    body = native.encode(native.Asked([{}]), Answered(["a"], output, classes, 'm"', "3")).body
    (told,) = json.loads(body)["predictions"]
    assert told["probabilities"] == dict(zip(classes, row, strict=True))
    assert told["confidence"] == row[-1]
