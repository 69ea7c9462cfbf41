"""keepfit's own protocol."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepfit.data.rows import Table
from keepfit.deployment.protocols import Answered, native, tables
from keepfit.errors import RequestError
from keepfit.models.fitted import Output
from keepfit.types import Column, Schema
from tests.deployment.protocols import requests


def test_one_object_or_a_list():
    assert native.decode(b'{"age": 1}', {}, requests.SCHEMA)[:2] == (({"age": 1},), True)
    assert native.decode(b'[{"age": 1}, 2]', {}, requests.SCHEMA)[:2] == ([{"age": 1}, 2], False)


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


# --- many rows ------------------------------------------------------------------------------------

IDS = Schema((Column("key", "id"), Column("age", "number"), Column("plan", "category"), Column("y", "target")), "none")
PLAN = Column("plan", "category", distinct=2, levels=("pro", "basic ü"), tokens=("?", "pro"))
LEVELS = Schema((*IDS.columns[:2], PLAN, IDS.columns[3]), "none")
GOOD = [{"age": 30 + n, "plan": [None, "pro", "basic ü", 1.5, True][n % 5]} for n in range(200)]


KNOWN = [{"age": n, "plan": [None, "pro", "basic ü", "?"][n % 4]} for n in range(200)]


@pytest.mark.parametrize("schema", [IDS, LEVELS], ids=["texts", "levels"])
@pytest.mark.parametrize(
    "rows",
    [
        GOOD,
        KNOWN,
        [*KNOWN, {"age": 1, "plan": "never seen"}],
        [{"plan": row["plan"], "age": [row["age"]]} for row in GOOD],
        [{**row, "key": n} for n, row in enumerate(GOOD)],
        [*GOOD, {**GOOD[0], "key": "of one row alone"}],
        [{**GOOD[0], "key": "of one row alone"}, *GOOD],
        [{**row, "y": None} for row in GOOD],
        [*GOOD, {**GOOD[0], "other": 1}],
        [*GOOD, {"age": 1}],
        [*GOOD, 7],
        [*GOOD, {**GOOD[0], "age": 10**400}],
    ],
)
def test_many_rows_are_what_each_of_them_is(rows: list[Any], schema: Schema) -> None:
    body = json.dumps(rows).encode()
    assert len(body) > tables.SHORT
    asked = native.decode(body, {}, schema)
    assert [*asked.rows] == json.loads(body)
    assert asked.context is False


def test_many_rows_are_columns_where_they_are_alike() -> None:
    assert type(native.decode(json.dumps(GOOD).encode(), {}, IDS).rows) is Table
    assert type(native.decode(json.dumps([*GOOD, {"age": 1}]).encode(), {}, IDS).rows) is list


def test_levels_that_are_known_are_not_made_anew() -> None:
    table = native.decode(json.dumps(KNOWN).encode(), {}, LEVELS).rows
    assert type(table) is Table
    assert len({*map(id, table.columns["plan"])}) == 4


@pytest.mark.parametrize("value", [7, 7.5, None, 10**25, "7", True, [1]])
def test_columns_are_known_to_hold_numbers_where_each_value_is_one(value: Any) -> None:
    rows = [*KNOWN, {"age": value, "plan": "pro"}]
    table = native.decode(json.dumps(rows).encode(), {}, LEVELS).rows
    assert type(table) is Table
    kinds = {*map(type, table.columns["age"])}
    assert table.numbers == ({"age"} if kinds <= {int, float, type(None)} else set())
    assert [*table] == rows


def test_schemas_are_forgotten_when_there_are_many() -> None:
    for _ in range(3 * tables.KEPT):
        schema = Schema((Column("age", "number"),), "none")
        assert native.decode(b'{"age": 1}', {}, schema)[0] == ({"age": 1},)
    assert len(tables.KNOWN) <= tables.KEPT


@pytest.mark.parametrize("end", [b"", b"] x", b', {"age": NaN}]', b', "\xff"]', b"," + b"[" * 100_000], ids=len)
def test_many_rows_that_are_no_json(end: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        native.decode(json.dumps(GOOD).encode()[:-1] + end, {}, IDS)
    assert (caught.value.status, caught.value.code) == (400, "not_json")
