"""What all protocols share: the same rows however they are sent, and no fault but RequestError."""

from __future__ import annotations

import json
import math

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepfit.deployment import openapi
from keepfit.deployment.protocols import PROTOCOLS, Answered, Asked, Note, keys, native, scoring, v2, vertex
from keepfit.errors import RequestError
from keepfit.extras import load
from keepfit.features.rows import from_rows
from keepfit.models.fitted import Ahead, Output
from keepfit.types import Column, Rhythm, Schema
from tests.deployment.protocols import requests
from tests.deployment.protocols.requests import json_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROW = st.fixed_dictionaries(
    {
        "age": st.none() | st.floats(-1e9, 1e9),
        "plan": st.none() | st.sampled_from(["free", "pro", "new", "a,b", 'say "x"', "ü\nö"]),
        "note": st.none() | TEXTS,
    }
)
ALL = {name: load(target, "the protocol") for name, target in PROTOCOLS.items()}
KINDS = ["application/json", "text/csv", "application/x-parquet", "application/jsonlines", "application/octet-stream"]
KEYS = {"inputs", "instances", "dataframe_split", "dataframe_records", "columns", "data", "params", "method", "name"}
KEYS |= {"shape", "datatype", "parameters", "binary_data_size", "outputs", "id", "age", "plan", "note"}
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(sorted(KEYS)),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(st.lists(ROW, min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_the_same_rows_however_they_are_sent(rows):
    for decode, body, headers in requests.everyway(rows).values():
        assert [dict(row) for row in decode(body, headers, requests.SCHEMA).rows] == rows
    assert native.decode(json.dumps(rows).encode(), {}, requests.SCHEMA).rows == rows


@given(st.lists(ROW, min_size=1, max_size=5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_csv_means_the_same(rows, header):
    rows = [{**row, "note": (row["note"] or "").replace("\r", "").replace("\0", "") or None} for row in rows]
    asked = ALL["mlflow"].decode(requests.as_csv(rows, header), {"content-type": "text/csv"}, requests.SCHEMA)
    found, problems = from_rows(asked.rows, requests.SCHEMA)
    wanted, _ = from_rows(rows, requests.SCHEMA)
    assert problems == []
    np.testing.assert_array_equal(found.values["age"], wanted.values["age"])
    assert levels(found.values["plan"]) == levels(wanted.values["plan"])


def levels(coded):
    return [coded.levels[code] if code >= 0 else None for code in coded.codes]


@pytest.mark.parametrize("name", PROTOCOLS)
@given(body=st.binary(max_size=200) | JSONS.map(lambda value: json.dumps(value).encode()), kind=st.sampled_from(KINDS))
@settings(max_examples=150, deadline=None)
def test_nothing_but_a_request_error(name, body, kind):
    headers = {"content-type": kind, "accept": "text/csv;q=x"}
    for schema in (requests.SCHEMA, requests.VALUES):
        rows, fault = outcome(ALL[name], body, headers, schema)
        if fault:
            assert 400 <= fault.status < 500
            assert json.loads(ALL[name].error(fault))["error"]
        else:
            assert len(rows) > 0
            from_rows(rows, schema)  # what is wrong with the values is told there, and nothing raises


def outcome(protocol, body, headers, schema):
    try:
        return protocol.decode(body, headers, schema).rows, None
    except RequestError as fault:
        return None, fault


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"instances":' * 100_000,
        b'{"inputs":[' * 50_000,
        b"[NaN" + b"[" * 200_000,
        b"\xff\xfe\x00",
        b"",
    ],
)
def test_deep_nesting_and_no_text(name, body):
    with pytest.raises(RequestError, match=r"(?i)nested too deeply|not valid JSON") as told:
        ALL[name].decode(body, {}, requests.SCHEMA)
    assert (told.value.status, told.value.code) == (400, "not_json")


def test_python_numbers():
    found = native.parsed_python(b"[NaN, -Infinity, 1e999, 2]")
    assert math.isnan(found[0])
    assert found[1:] == [-math.inf, math.inf, 2]
    assert native.parsed_python(b'"NaN \xc3\xbc"') == "NaN ü"
    for body in (b"[NaN", b'"NaN \xff"', b"[NaN, " + b"1" * 5000 + b"]", b"nan"):
        with pytest.raises(RequestError, match="The body is not valid JSON: "):
            native.parsed_python(body)
    with pytest.raises(RequestError, match="not valid JSON"):
        native.decode(b'{"age": NaN}', {}, requests.SCHEMA)


# --- forecasts ----------------------------------------------------------------------------------------

OWN = Schema(
    (Column("step", "series"), Column("id", "moment", "date"), Column("y", "past", "int")),
    "forecast",
    "y",
    rhythm=Rhythm("id", "1d", 0.0, 7, ("step",)),
)


def told_ahead(protocol, notes=()):
    """The answer to one row of a forecast whose columns are called as an answer's own."""
    output = Output(np.array([4.0]), None, np.array([3.0]), np.array([5.0]), ahead=Ahead(np.ones(1), np.full(1, 2.0)))
    answered = Answered(["a"], output, (), "small", "3", None, keys(OWN))
    context = {scoring: scoring.Context(), v2: v2.Context()}.get(protocol)
    return json.loads(protocol.encode(Asked([{"step": "x", "id": "2024-02-02"}], context, (), notes), answered).body)


def test_every_protocol_says_what_a_forecast_is_of():
    wanted = {"step_": "x", "id_": "2024-02-02", "step": 2, "prediction": 4.0}
    for protocol in (native, vertex):
        [one] = told_ahead(protocol)["predictions"]
        assert one == {"id": "a", **wanted, "interval": [3.0, 5.0]}
    [one] = told_ahead(scoring)["predictions"]
    assert [*one.items()] == [*wanted.items(), ("prediction_low", 3.0), ("prediction_high", 5.0)]
    outputs = told_ahead(v2)["outputs"]
    assert {o["name"]: o["data"] for o in outputs} == {
        **{name: [value] for name, value in wanted.items()}, "interval": [3.0, 5.0], "prediction_id": ["a"],
    }  # fmt: skip
    metadata = v2.model_metadata(OWN, "small", "3", True)
    assert [(o["name"], o["datatype"]) for o in metadata["outputs"]] == [(o["name"], o["datatype"]) for o in outputs]
    assert {i["name"]: i["datatype"] for i in metadata["inputs"]}["y"] == "FP64"  # null in what is asked


def test_notes_stand_beside_the_answers_where_there_is_a_place():
    notes = [Note({"step": "x"}, 2, "'y' of 2 periods"), Note({}, 3, "3 values")]
    wanted = [{"series": {"step": "x"}, "periods": 2, "problem": "'y' of 2 periods"}]
    wanted += [{"series": {}, "periods": 3, "problem": "3 values"}]
    for protocol in (native, scoring):
        assert told_ahead(protocol, notes) == {**told_ahead(protocol), "notes": wanted}
    parameters = {"notes": "'y' of 2 periods. 3 values."}
    assert told_ahead(v2, notes) == {**told_ahead(v2), "parameters": parameters}
    assert told_ahead(vertex, notes) == told_ahead(vertex)
    document = json.loads(json.dumps(openapi.document(OWN, "small", "3")))
    for protocol, path in ((native, "/predict"), (scoring, "/invocations"), (v2, "/v2/models/small/infer")):
        content = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        described = {**content, "components": document["components"]}
        jsonschema.validate(told_ahead(protocol, notes), described)
        jsonschema.validate(told_ahead(protocol), described)


def test_a_wish_of_v2_and_of_mlflows_frames():
    body = {"inputs": [{"name": "horizon", "shape": [1], "datatype": "INT64", "data": [2]}]}
    assert v2.decode(json_of(body), {}, OWN).rows == [{"horizon": 2}]
    split = {"dataframe_split": {"columns": ["horizon"], "data": [[2]]}}
    assert scoring.decode(json_of(split), {}, OWN).rows == [{"horizon": 2}]
    wanted = {**body, "outputs": [{"name": "step_"}, {"name": "prediction"}]}
    assert v2.decode(json_of(wanted), {}, OWN).context.outputs == (("step_", False), ("prediction", False))
