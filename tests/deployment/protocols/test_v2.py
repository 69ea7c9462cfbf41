"""The Open Inference Protocol: tensors in JSON and binary, its documents and its errors."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from keepfit.deployment.protocols import tensors, v2
from keepfit.errors import RequestError
from keepfit.types import Column, Schema
from tests.deployment.protocols import requests

ROWS = [{"age": 41.0, "plan": "pro", "note": "ü"}, {"age": 7.5, "plan": "new", "note": ""}]


def one(shape=(2,), datatype="FP64", name="age", **rest):
    return {"name": name, "shape": list(shape), "datatype": datatype, **rest}


def ask(*inputs, raw=b"", schema=requests.SCHEMA, **more):
    head = requests.json_of({"inputs": list(inputs), **more})
    return v2.decode(head + raw, {v2.HEADER: str(len(head))} if raw else {}, schema)


def test_shapes_and_datatypes():
    assert ask(one(data=[1, 2.5])).rows == [{"age": 1}, {"age": 2.5}]
    assert ask(one((2, 1), data=[[1], [2]])).rows == ask(one((2, 1), data=[1, 2])).rows == [{"age": 1}, {"age": 2}]
    assert ask(one(datatype="INT8", data=[-128, None])).rows == [{"age": -128}, {"age": None}]
    assert ask(one(datatype="BOOL", data=[True, False])).rows == [{"age": True}, {"age": False}]
    assert ask(one(datatype="BYTES", data=["a", "ü"])).rows == [{"age": "a"}, {"age": "ü"}]
    assert ask(one(datatype="BYTES", data=["a"], shape=[1], parameters={"content_type": "str"})).rows == [{"age": "a"}]


def test_one_matrix_with_all_columns():
    numbers = Schema((Column("a", "number"), Column("b", "number")), "regression")
    wanted = [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    assert ask(one((2, 2), name="input-0", data=[[1, 2], [3, 4]]), schema=numbers).rows == wanted
    assert ask(one((2, 2), name="x", data=[1, 2, 3, 4]), schema=numbers).rows == wanted
    raw = np.array([[1, 2], [3, 4]], "<f4").tobytes()
    binary = one((2, 2), "FP32", "x", parameters={"binary_data_size": 16})
    assert ask(binary, raw=raw, schema=numbers).rows == wanted
    with pytest.raises(RequestError, match="input 'x' has 2 columns; the model needs age, plan, note"):
        ask(one((2, 2), name="x", data=[1, 2, 3, 4]))


@pytest.mark.parametrize("datatype", [name for name in tensors.NUMPY if name != "BF16"])
def test_binary_numbers(datatype):
    values = np.array([0, 1, 1], tensors.NUMPY[datatype])
    given = one((3,), datatype, parameters={"binary_data_size": values.nbytes})
    found = [row["age"] for row in ask(given, raw=values.tobytes()).rows]
    assert found == [0, 1, 1]
    assert {type(value) for value in found} == {float if "F" in datatype else bool if datatype == "BOOL" else int}


def test_binary_bfloat16_and_missing_values():
    raw = struct.pack("<HH", 0x3F80, 0xC020)
    assert ask(one(datatype="BF16", parameters={"binary_data_size": 4}), raw=raw).rows == [{"age": 1.0}, {"age": -2.5}]
    raw = np.array([np.nan, np.inf]).tobytes()
    found = ask(one(parameters={"binary_data_size": 16}), raw=raw).rows
    assert np.isnan(found[0]["age"])
    assert found[1]["age"] == np.inf  # told when it is read


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (3, "Each input must be an object with 'name', 'shape', 'datatype' and 'data'."),
        (one(name=None), "Each input must be an object with 'name'"),
        (one(datatype="STRING", data=[1, 2]), "input 'age': the datatype must be one of BOOL, UINT8"),
        (one(datatype=["FP64"], data=[1, 2]), "the datatype must be one of"),
        (one(shape=[-1], data=[1]), "'shape' must be a list of whole numbers, 0 or more"),
        (one(shape=[True], data=[1]), "'shape' must be a list of whole numbers"),
        ({**one(data=[1]), "shape": 1}, "'shape' must be a list"),
        (one(shape=[], data=[1]), r"the shape must be \[rows\] or \[rows, 1\], not 0 dimensions"),
        (one(shape=[1, 1, 1], data=[1]), "not 3 dimensions"),
        (one(shape=[10**18], data=[1]), "'data' has 1 elements, its shape .* says 1,000,000,000,000,000,000"),
        (one(shape=[2**62, 2**62], data=[1]), "'data' has 1 elements"),
        (one(shape=[0], data=[]), "The inputs have no rows"),
        (one(shape=[0, 3], data=[]), "The inputs have no rows"),
        (one(shape=[2, 1], data=[[1], [1, 2]]), "each row of 'data' must be a list of 1 values"),
        (one(shape=[2, 1], data=[[1], 2]), "each row of 'data' must be a list of 1 values"),
        (one(data={"a": 1}), "'data' must be a list"),
        (one(), "input 'age' has neither 'data' nor a 'binary_data_size'"),
        (one(data=[1, "2"]), "element 1 of 'data' is no FP64"),
        (one(data=[1, True]), "element 1 of 'data' is no FP64"),
        (one(datatype="INT64", data=[1, 2.0]), "element 1 of 'data' is no INT64"),
        (one(datatype="UINT8", data=[0, 256]), "element 1 of 'data' does not fit UINT8"),
        (one(datatype="UINT8", data=[-1, 0]), "element 0 of 'data' does not fit UINT8"),
        (one(datatype="BYTES", data=["a", [1]]), "element 1 of 'data' is no BYTES"),
        (one(data=[1, 2], parameters=3), "'parameters' must be an object"),
        (one(parameters={"shared_memory_region": "x"}), "shared memory is not supported"),
        (one(parameters={"binary_data_size": -1}), "'binary_data_size' must be a number of bytes, 0 or more"),
        (one(parameters={"binary_data_size": "8"}), "'binary_data_size' must be a number of bytes"),
        (one(parameters={"binary_data_size": 16}), "'binary_data_size' is 16, but 0 bytes of binary data are left"),
        (one(parameters={"binary_data_size": 10**30}), "'binary_data_size' is 1,0.* but 0 bytes"),
    ],
)
def test_tensors_that_are_none(given, told):
    with pytest.raises(RequestError, match=told) as found:
        ask(given)
    assert found.value.status == 400


@pytest.mark.parametrize(
    ("given", "raw", "told"),
    [
        (
            one(parameters={"binary_data_size": 8}),
            b"x" * 8,
            "2 elements of FP64 are 16 bytes, 'binary_data_size' says 8",
        ),
        (one(parameters={"binary_data_size": 16}), b"x" * 17, "1 bytes of binary data belong to no input"),
        (one((1,), "BYTES", parameters={"binary_data_size": 3}), b"abc", "longer than the binary data that is left"),
        (one((1,), "BYTES", parameters={"binary_data_size": 5}), b"\xff\xff\xff\xffa", "longer than the binary data"),
        (
            one((1,), "BYTES", parameters={"binary_data_size": 5}),
            b"\x01\0\0\0\xff",
            r"element 0 is not UTF-8 text \(byte 0\)",
        ),
        (one((2,), "BYTES", parameters={"binary_data_size": 5}), b"\x01\0\0\0a", "has 1 elements, its shape says 2"),
        (
            one((1,), "BYTES", parameters={"binary_data_size": 4000}),
            b"\0" * 4000,
            "has more than 1 elements, its shape says 1",
        ),
    ],
)
def test_binary_data_that_lie(given, raw, told):
    with pytest.raises(RequestError, match=told):
        ask(given, raw=raw)


@pytest.mark.parametrize("header", ["-1", "x", "99999", "1e2", "²", "9" * 5000])
def test_a_header_that_lies(header):
    with pytest.raises(RequestError, match="Inference-Header-Content-Length must be a number of bytes up to 12"):
        v2.decode(b'{"inputs":1}', {v2.HEADER: header}, requests.SCHEMA)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "Send a JSON object with 'inputs': a list of tensors, one a column"),
        ({"inputs": {}}, "Send a JSON object with 'inputs'"),
        ({"inputs": []}, "'inputs' is empty. The model needs age, plan, note"),
        ({"inputs": [one(data=[1, 2]), one(data=[1, 2])]}, "Columns stand twice in inputs: age"),
        (
            {"inputs": [one(data=[1, 2]), one([1], name="plan", data=[1])]},
            "different numbers of rows: 'age' 2, 'plan' 1",
        ),
        ({"inputs": [one(data=[1, 2]), one([1, 2], name="plan", data=[1, 2])]}, r"input 'plan' has the shape \[1, 2\]"),
        ({"inputs": [one(data=[1, 2])], "id": 7}, "'id' must be a text"),
        ({"inputs": [one(data=[1, 2])], "parameters": [1]}, "'parameters' must be an object"),
        ({"inputs": [one(data=[1, 2])], "outputs": {}}, "'outputs' must be a list of objects with 'name'"),
        (
            {"inputs": [one(data=[1, 2])], "outputs": [{"name": "x"}]},
            "prediction, confidence, probabilities, prediction_id",
        ),
        ({"inputs": [one(data=[1, 2])], "outputs": ["prediction"]}, "Each of 'outputs' must have a 'name'"),
        (
            {"inputs": [one(data=[1, 2])], "outputs": [{"name": "prediction", "parameters": {"classification": 2}}]},
            "output 'prediction': 'classification' is not supported",
        ),
        (
            {"inputs": [one(data=[1, 2])], "outputs": [{"name": "prediction", "parameters": "x"}]},
            "output 'prediction': 'parameters' must be an object",
        ),
    ],
)
def test_requests_that_are_none(body, told):
    with pytest.raises(RequestError, match=told):
        v2.decode(requests.json_of(body), {}, requests.SCHEMA)


def test_far_too_many_tensors():
    with pytest.raises(RequestError, match="20,000 columns are more than the 10,004"):
        v2.decode(requests.json_of({"inputs": [0] * 20_000}), {}, requests.SCHEMA)


def answer(values=False, **more):
    asked = ask(one(data=[1, 2]), schema=requests.VALUES if values else requests.SCHEMA, **more)
    return v2.encode(asked, requests.answered(values=values))


def test_all_outputs_and_the_id():
    told = json.loads(answer(id="mine").body)
    assert (told["model_name"], told["model_version"], told["id"]) == ("small", "3", "mine")
    assert told["outputs"] == [
        {"name": "prediction", "datatype": "BYTES", "shape": [2], "data": ["no", "yes"]},
        {"name": "confidence", "datatype": "FP64", "shape": [2], "data": [0.75, 0.875]},
        {"name": "probabilities", "datatype": "FP64", "shape": [2, 2], "data": [0.75, 0.25, 0.125, 0.875]},
        {"name": "prediction_id", "datatype": "BYTES", "shape": [2], "data": ["id.0", "id.1"]},
    ]
    values = json.loads(answer(values=True).body)
    assert "id" not in values
    assert [(o["name"], o["shape"], o["data"]) for o in values["outputs"]] == [
        ("prediction", [2], [0.5, 1.5]),
        ("interval", [2, 2], [-0.5, 1.5, 0.5, 2.5]),
        ("prediction_id", [2], ["id.0", "id.1"]),
    ]


def test_chosen_outputs_some_of_them_binary():
    wanted = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "prediction"}]
    reply = answer(outputs=wanted)
    size = int(reply.headers["Inference-Header-Content-Length"])
    told = json.loads(reply.body[:size])["outputs"]
    assert told[0] == {
        "name": "probabilities",
        "datatype": "FP64",
        "shape": [2, 2],
        "parameters": {"binary_data_size": 32},
    }
    assert told[1]["data"] == ["no", "yes"]
    assert np.frombuffer(reply.body[size:]).tolist() == [0.75, 0.25, 0.125, 0.875]
    assert reply.content_type == "application/octet-stream"
    assert len(json.loads(answer(outputs=[]).body)["outputs"]) == 4  # none chosen: all


def test_tritons_client_reads_what_it_asked_for():
    client = pytest.importorskip("tritonclient.http")
    given = [client.InferInput(name, [2], kind) for name, kind in (("age", "FP64"), ("plan", "BYTES"))]
    given[0].set_data_from_numpy(np.array([1.5, np.nan]))
    given[1].set_data_from_numpy(np.array(["pro", "ü"], object))
    body, size = client.InferenceServerClient.generate_request_body(given, request_id="7")
    asked = v2.decode(body, {v2.HEADER: str(size)}, requests.SCHEMA)
    assert [row["plan"] for row in asked.rows] == ["pro", "ü"]
    assert asked.rows[0]["age"] == 1.5
    reply = v2.encode(asked, requests.answered())
    length = int(reply.headers["Inference-Header-Content-Length"])
    found = client.InferenceServerClient.parse_response_body(reply.body, header_length=length)
    assert found.get_response()["id"] == "7"
    assert found.as_numpy("prediction").tolist() == [b"no", b"yes"]
    assert found.as_numpy("probabilities").tolist() == [[0.75, 0.25], [0.125, 0.875]]


def test_errors_are_a_text():
    details = [{"row": 0, "column": "age", "problem": "infinite"}]
    told = json.loads(v2.error(RequestError(422, "bad_values", "1 value cannot be read.", details)))
    assert told["error"] == "1 value cannot be read. Row 0, column 'age': infinite."
    assert (told["code"], told["details"]) == ("bad_values", details)


def test_documents():
    columns = (
        Column("age", "number", "int"),
        Column("height", "number", "int", missing=0.1),
        Column("plan", "category"),
        Column("code", "category", "int", missing=0.1),
        Column("member", "category", "bool"),
        Column("since", "date", "int", formats=("%Y%m%d",)),
        Column("y", "target"),
    )
    told = v2.model_metadata(Schema(columns, "classification", "y", ("no", "yes")), "small", "3")
    assert (told["name"], told["versions"], told["platform"]) == ("small", ["3"], "keepfit")
    assert [i["datatype"] for i in told["inputs"]] == ["INT64", "FP64", "BYTES", "BYTES", "BOOL", "BYTES"]
    assert all(i["shape"] == [-1] for i in told["inputs"])
    assert [o["name"] for o in told["outputs"]] == ["prediction", "confidence", "probabilities", "prediction_id"]
    assert told["outputs"][2]["parameters"] == {"classes": ["no", "yes"]}
    values = v2.model_metadata(requests.VALUES, "small", "3", interval=True)["outputs"]
    assert [(o["name"], o["datatype"], o["shape"]) for o in values] == [
        ("prediction", "FP64", [-1]), ("interval", "FP64", [-1, 2]), ("prediction_id", "BYTES", [-1]),
    ]  # fmt: skip
    assert v2.server_metadata("1.0") == {"name": "keepfit", "version": "1.0", "extensions": ["binary_tensor_data"]}
