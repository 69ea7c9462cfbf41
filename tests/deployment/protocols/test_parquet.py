"""Parquet files as bodies, hostile ones too."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from keepfit.deployment.protocols import parquet
from keepfit.errors import RequestError
from keepfit.features.rows import from_rows
from keepfit.types import Column, Schema
from tests.deployment.protocols import requests


def body(table, **options):
    sink = io.BytesIO()
    pa.parquet.write_table(table, sink, **options)
    return sink.getvalue()


def test_types_of_all_kinds():
    roles = {"n": "number", "when": "date", "day": "date", "c": "category"}
    schema = Schema(tuple(Column(name, role) for name, role in roles.items()), "regression")
    when = pa.array([1_600_000_000_123_456_789, None], pa.timestamp("ns", tz="Europe/Berlin"))
    table = pa.table({
        "n": pa.array([Decimal("1.5"), None]), "when": when, "day": pa.array([dt.date(2020, 1, 2), None]),
        "c": pa.array(["a", None]).dictionary_encode(),
    })  # fmt: skip
    columns, problems = from_rows(parquet.rows(body(table), schema), schema)
    assert problems == []
    np.testing.assert_allclose(columns.values["n"], [1.5, np.nan])
    np.testing.assert_allclose(columns.values["when"], [1_600_000_000.123456, np.nan], rtol=0, atol=1e-5)
    assert columns.values["day"][0] == dt.datetime(2020, 1, 2, tzinfo=dt.UTC).timestamp()
    assert columns.values["c"].codes.tolist() == [0, -1]


def test_the_index_of_pandas_is_left_out():
    frame, sink = pd.DataFrame({"age": [1.0, 2.0]}, index=[5, 7]), io.BytesIO()
    frame.to_parquet(sink)
    assert parquet.rows(sink.getvalue(), requests.SCHEMA) == [{"age": 1.0}, {"age": 2.0}]


def many(names):
    return pa.Table.from_arrays([pa.array([1])] * len(names), names=names)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "The body is not a Parquet file that can be read: "),
        (b"PAR1" + b"\xff" * 200 + b"PAR1", "The body is not a Parquet file that can be read: "),
        (requests.as_parquet([{"age": 1, "plan": "a", "note": "b"}])[:-20], "The body is not a Parquet file"),
        (body(pa.table({"age": pa.array([], pa.float64())})), "The Parquet file has no rows"),
        (body(many(["age", "age"])), "Columns stand twice in the Parquet file: age"),
        (body(many([f"c{k}" for k in range(10_005)])), "10,005 columns are more than the 10,004"),
    ],
)
def test_errors(content, told):
    with pytest.raises(RequestError, match=told) as found:
        parquet.rows(content, requests.SCHEMA)
    assert found.value.status == 400


def test_bombs():
    rows = pa.table({"age": np.zeros(3_000_000)})  # a few kilobytes on the wire
    packed = body(rows, compression="zstd")
    assert len(packed) < 50_000
    with pytest.raises(
        RequestError, match=r"has 3,000,000 rows and .* MB unpacked; a request may have 1,000,000"
    ) as found:
        parquet.rows(packed, requests.SCHEMA)
    assert found.value.status == 413
    text = body(pa.table({"note": ["x" * 400_000_000]}), compression="zstd", use_dictionary=False)
    assert len(text) < 1_000_000
    with pytest.raises(RequestError, match=r"has 1 rows and .* MB unpacked"):
        parquet.rows(text, requests.SCHEMA)


def test_damaged_bytes_bring_nothing_but_a_request_error():
    good = requests.as_parquet([{"age": 1.5, "plan": "a", "note": "b"}] * 50, compression="snappy")
    draw = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(good)
        for place in draw.integers(0, len(good), 3):
            damaged[place] = draw.integers(256)
        with contextlib.suppress(RequestError):
            parquet.rows(bytes(damaged), requests.SCHEMA)
