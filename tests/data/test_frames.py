"""Frames of every kind in, the same kind out."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from keepfit.data.read import like, to_polars
from keepfit.errors import DataError


def values(frame: Any) -> dict[str, list[Any]]:
    return to_polars(frame).to_dict(as_series=False)


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
        pl.LazyFrame({"a": [1, 2], "b": ["x", None]}),
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=[7, 3]),
        pa.table({"a": [1, 2], "b": ["x", None]}),
        pa.record_batch({"a": [1, 2], "b": ["x", None]}),
        {"a": [1, 2], "b": ("x", None)},
        {"a": np.array([1, 2]), "b": pd.Series(["x", None])},
        [{"a": 1, "b": "x"}, {"a": 2}],
    ],
)
def test_kinds_of_frames(frame: Any) -> None:
    assert values(frame) == {"a": [1, 2], "b": ["x", None]}


def test_one_row_as_a_dict_of_values() -> None:
    assert values({"a": 1, "b": "x", "c": None}) == {"a": [1], "b": ["x"], "c": [None]}


def test_structured_arrays() -> None:
    rows = np.array([(1, b"x", 2.5), (2, b"", np.nan)], dtype=[("a", int), ("b", "S3"), ("c", float)])
    assert values(rows) == {"a": [1, 2], "b": ["x", ""], "c": [2.5, None]}


def test_pandas_types() -> None:
    frame = pd.DataFrame(
        {
            "numbers": pd.Categorical([1, 2, None]),
            "plans": pd.Categorical(["x", None, "y"]),
            "month": pd.period_range("2020-01", periods=3, freq="M"),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "text": pd.array(["a", None, "b"], dtype="string"),
            "when": pd.date_range("2020-01-01", periods=3, tz="Europe/Berlin"),
            "float": [1.0, np.nan, 2.0],
            "truth": [True, None, False],
            "mixed": [1, "x", None],
            "day": [datetime.date(2020, 1, 1), None, pd.NaT],
            "money": [Decimal("1.5"), 2, pd.NA],
            "sparse": pd.arrays.SparseArray([0, 0, 1]),
            7: [0, 1, 2],
        },
        index=["x", "y", "z"],
    )
    first = datetime.datetime(2019, 12, 31, 23, tzinfo=datetime.UTC)
    midnights = [first + datetime.timedelta(days=days) for days in range(3)]
    assert values(frame) == {
        "numbers": [1, 2, None],
        "plans": ["x", None, "y"],
        "month": ["2020-01", "2020-02", "2020-03"],
        "nullable": [1, None, 3],
        "text": ["a", None, "b"],
        "when": midnights,
        "float": [1.0, None, 2.0],
        "truth": [True, None, False],
        "mixed": ["1", "x", None],
        "day": [datetime.date(2020, 1, 1), None, None],
        "money": [1.5, 2.0, None],
        "sparse": [0, 0, 1],
        "7": [0, 1, 2],
    }


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1, 2.5, None], [1.0, 2.5, None]),
        ([1, True], ["1", "True"]),
        ([2**70, 1], [str(2**70), "1"]),
        ([float("nan"), "x"], [None, "x"]),
        ([None, None], [None, None]),
        ([datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)], None),
        ([Decimal("NaN"), Decimal("0.1")], [None, 0.1]),
        ([np.float32(0.5), np.int64(2)], [0.5, 2.0]),
    ],
)
def test_python_values(column: list[Any], expected: list[Any] | None) -> None:
    found = values({"a": column})["a"]
    assert found == (expected if expected is not None else [str(value) for value in column])


def test_one_plain_value_in_a_cell() -> None:
    frame = pl.DataFrame(
        {"a": [Decimal("1.50")], "b": ["x"], "c": [None], "d": [float("nan")]},
        schema={"a": pl.Decimal(10, 2), "b": pl.Categorical, "c": pl.Null, "d": pl.Float32},
    )
    made = to_polars(frame)
    assert made.rows() == [(1.5, "x", None, None)]
    assert made.dtypes == [pl.Float64, pl.String, pl.String, pl.Float32]


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (3, "the frame is a builtins.int, which is no frame. Known: pandas, polars and Arrow frames"),
        (np.zeros((2, 2)), "is a numpy.ndarray, which is no frame"),
        ({"a": [1], "b": [1, 2]}, r"columns of different lengths: \{'a': 1, 'b': 2\}"),
        ({"a": [1, 2], "b": 2}, "'b' holds one value while other columns hold many. Give each a list"),
        ({"a": [[1], [2]], "b": [1, 2]}, r"these columns hold more: 'a' \(List"),
        ({"a": [{"x": 1}]}, r"these columns hold more: 'a' \(List"),
        ({"a": [b"x", 7]}, "these columns hold more: 'a'"),
        (pl.DataFrame({"a": [{"x": 1}]}), r"'a' \(Struct"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "duplicate column names: 'a'"),
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "duplicate column names: 'a'"),
    ],
)
def test_what_is_no_table(frame: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        to_polars(frame)


def test_the_same_kind_comes_back() -> None:
    result = pl.DataFrame({"p": ["x", "y"]})
    back = like(result, pd.DataFrame({"a": [1, 2]}, index=[7, 3]))
    assert isinstance(back, pd.DataFrame)
    assert list(back.index) == [7, 3]
    assert back["p"].tolist() == ["x", "y"]
    assert len(like(result, pd.DataFrame({"a": [1]}))) == 2  # rows were added: no labels to keep
    assert like(result, pa.table({"a": [1]})).equals(pa.table({"p": pa.array(["x", "y"], pa.large_string())}))
    assert like(result, {"a": [1]}) == {"p": ["x", "y"]}
    assert like(result, [{"a": 1}]) == [{"p": "x"}, {"p": "y"}]
    assert like(result, np.zeros(1, dtype=[("a", int)]))["p"].tolist() == ["x", "y"]
    assert like(result, pl.LazyFrame({"a": [1]})).collect().equals(result)
    assert like(result, pl.DataFrame({"a": [1]})) is result
