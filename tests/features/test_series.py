"""The block of a forecast's rows: number of the series, period and past, the same from frames, requests and Arrow."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from keepfit import features
from keepfit.data.conform import asking, conform
from keepfit.errors import ModelError
from keepfit.features.arrow import from_arrow
from keepfit.features.frame import from_frame
from keepfit.features.rows import from_rows
from keepfit.features.series import watch
from keepfit.features.values import Coded, Columns
from keepfit.types import Column, Rhythm, Schema

DAY = 86400.0
COLUMNS = (
    Column("price", "number", "float"),
    Column("sold", "past", "float", tokens=("?",)),
    Column("day", "moment", "date", formats=("%d.%m.%Y",)),
    Column("item", "series"),
    Column("shop", "series"),
)
SCHEMA = Schema(COLUMNS, "forecast", "sold", rhythm=Rhythm("day", "1d", 0.0, 3, ("shop", "item"), (7,)))
PAST = replace(SCHEMA, rhythm=replace(SCHEMA.rhythm, past=("price",)))
FRAME = pl.DataFrame(
    {
        "shop": ["n", "n", "s", "n"],
        "item": ["x", "y", "x", "x"],
        "day": ["01.01.1970", "01.01.1970", "02.01.1970", "03.01.1970"],
        "sold": [5.0, None, 7.0, 8.0],
        "price": [1.0, 2.0, 3.0, 4.0],
    }
)
EXPECTED = [[0, 0, 5, 1], [1, 0, np.nan, 2], [2, 1, 7, 3], [0, 2, 8, 4]]


def learned() -> tuple[features.State, np.ndarray]:
    state, matrix = features.fit_apply(from_frame(conform(FRAME, SCHEMA)[0], SCHEMA), SCHEMA, None)
    assert isinstance(matrix, np.ndarray)
    return state, matrix


def test_the_block_comes_first_and_in_this_order():
    state, matrix = learned()
    np.testing.assert_array_equal(matrix[:, :4], np.array(EXPECTED, np.float32))
    assert features.names(state)[:4] == ["number of shop, item", "period of day", "sold", "price"]
    assert matrix.dtype == np.float32


def test_frames_requests_and_arrow_agree():
    state, _ = learned()
    rows = [
        {"shop": "n", "item": "x", "day": "1970-01-01", "sold": 5, "price": 1},
        {"shop": "n", "item": "y", "day": "01.01.1970", "sold": "?", "price": 2},
        {"shop": "s", "item": "x", "day": dt.date(1970, 1, 2), "sold": "7", "price": 3},
        {"shop": "n", "item": "x", "day": dt.datetime(1970, 1, 3), "sold": 8.0, "price": 4},
    ]
    columns, problems = from_rows(rows, SCHEMA)
    assert problems == []
    expected = np.array(EXPECTED, np.float32)
    np.testing.assert_array_equal(features.apply(state, columns), expected)
    arrays = {name: pa.array(FRAME[name].to_list()) for name in FRAME.columns}
    np.testing.assert_array_equal(features.apply(state, from_arrow(arrays, 4, SCHEMA)), expected)


def test_days_of_rest_have_no_period():
    business = replace(SCHEMA, rhythm=replace(SCHEMA.rhythm, frequency="1b", origin=4 * 86400.0))
    state, _ = features.fit_apply(from_frame(conform(FRAME, business)[0], business), business, None)
    days = ["1970-01-09", "1970-01-10", "1970-01-11", "1970-01-12"]
    columns, problems = from_rows([{"shop": "n", "item": "x", "day": day, "price": 1} for day in days], business)
    assert problems == []
    np.testing.assert_array_equal(features.apply(state, columns)[:, 1], np.float32([4, np.nan, np.nan, 5]))


@pytest.mark.parametrize("sold", [1e31, "-1e31", 10**400])
def test_values_that_are_too_large_are_told_and_count_as_missing(sold: object):
    state, _ = learned()
    row = {"shop": "n", "item": "x", "day": "1970-01-01", "sold": sold, "price": 1}
    for rows in ([row], [row] * 30):
        columns, problems = from_rows(rows, SCHEMA)
        assert [problem.column for problem in problems] == ["sold"] * len(rows)
        assert np.isnan(features.apply(state, columns)[:, 2]).all()
    arrays = {"shop": ["n"], "item": ["x"], "day": ["01.01.1970"], "sold": [9e99], "price": [1]}
    columns = from_arrow({name: pa.array(values) for name, values in arrays.items()}, 1, SCHEMA)
    assert np.isnan(features.apply(state, columns)[0, 2])


def test_the_past_may_be_left_out():
    rows = [
        {"shop": "n", "item": "x", "day": "05.01.1970", "price": 1.0},
        {"shop": "n", "item": "x", "day": "x", "price": 1},
    ]
    columns, problems = from_rows(rows, SCHEMA)
    assert [(p.row, p.column, p.problem) for p in problems] == [(1, "day", "not a date: 'x'")]
    assert np.isnan(columns.values["sold"]).all()
    mixed, problems = from_rows([rows[0], {**rows[0], "sold": 3.0}], SCHEMA)
    assert problems == []
    assert mixed.values["sold"].tolist()[1] == 3.0
    typed, _ = conform(FRAME.drop("sold"), SCHEMA)
    assert typed["sold"].null_count() == 4
    assert asking(conform(FRAME, SCHEMA)[0], SCHEMA)["sold"].null_count() == 4
    state, _ = learned()
    assert np.isnan(np.asarray(features.apply(state, from_frame(typed, SCHEMA)))[:, 2]).all()


@pytest.mark.parametrize("rows", [[5], [None], ["day"], [{}], [{"day": "05.01.1970"}]])
def test_what_is_no_row_or_lacks_its_place_is_told(rows):
    _, problems = from_rows(rows, SCHEMA)
    assert problems


def test_unknown_series_are_numbered_on_in_the_order_they_come():
    state, _ = learned()
    shops = Coded(np.array([2, 0, 2, -1, 1], np.int32), ["n", "s", "new"])
    items = Coded(np.array([1, 1, 0, 1, 1], np.int32), ["y", "x"])
    columns = Columns({"shop": shops, "item": items, "day": np.zeros(5), "price": np.zeros(5)}, 5)
    assert np.asarray(features.apply(state, columns))[:, 0].tolist() == [3, 0, 4, 5, 2]


def test_one_series_has_number_0():
    schema = Schema(
        (Column("t", "moment", "int"), Column("y", "past", "float")), "forecast", "y", rhythm=Rhythm("t", "1i", 1.0, 2)
    )
    columns, problems = from_rows([{"t": 1, "y": 3.5}, {"t": "2"}, {"t": None}], schema)
    assert problems == []
    state, matrix = features.fit_apply(columns, schema, None)
    np.testing.assert_array_equal(matrix, np.array([[0, 0, 3.5], [0, 1, np.nan], [0, np.nan, np.nan]], np.float32))
    assert features.names(state) == ["number of the series", "period of t", "y"]


def test_the_state_comes_back_from_the_disk(tmp_path: Path):
    state, matrix = learned()
    features.save(state, tmp_path)
    again = features.load(tmp_path)
    np.testing.assert_array_equal(features.apply(again, from_frame(conform(FRAME, SCHEMA)[0], SCHEMA)), matrix)
    assert features.names(again) == features.names(state)


def test_a_schema_without_a_rhythm_is_told():
    bare = Schema(COLUMNS, "forecast", "sold")
    with pytest.raises(ModelError, match="has no rhythm"):
        features.fit(from_frame(conform(FRAME, SCHEMA)[0], SCHEMA), bare, None)


def test_a_level_that_trends_and_a_choice_of_series_are_no_signals():
    columns = from_frame(conform(FRAME, SCHEMA)[0], SCHEMA)
    signals, memory = features.watch(columns, SCHEMA)
    assert {name: list(found) for name, found in signals.items()} == {
        "price": [""], "sold": [], "day": [], "item": ["name"], "shop": ["name"],
    }  # fmt: skip
    later, _ = watch(Coded(np.array([0, 1], np.int32), ["n", "west"]), memory["shop"])
    assert later["name"].codes.tolist() == [0, 1]
    assert not features.steady("past")


def test_many_series_are_placed_quickly():
    count = 20_000
    shops = Coded(np.repeat(np.arange(count, dtype=np.int32), 3), [f"shop {n}" for n in range(count)])
    schema = Schema(
        (Column("shop", "series"), Column("t", "moment", "int"), Column("y", "past")), "forecast", "y",
        rhythm=Rhythm("t", "1i", 0.0, 2, ("shop",)),
    )  # fmt: skip
    columns = Columns({"shop": shops, "t": np.tile(np.arange(3.0), count), "y": np.zeros(3 * count)}, 3 * count)
    _, matrix = features.fit_apply(columns, schema, None)
    np.testing.assert_array_equal(np.asarray(matrix)[:, 0], np.repeat(np.arange(count), 3))


def test_columns_of_the_past_come_last_and_may_be_left_out_of_requests() -> None:
    schema = replace(PAST, columns=(*COLUMNS, Column("rank", "category", levels=("hi", "lo"))))
    frame = FRAME.with_columns(rank=pl.Series(["hi", "lo", "hi", "lo"]))
    state, matrix = features.fit_apply(from_frame(conform(frame, schema)[0], schema), schema, None)
    assert features.names(state)[-1] == "price"
    assert state["past"] == 1
    assert matrix[:, -1].tolist() == [1.0, 2.0, 3.0, 4.0]
    columns, problems = from_rows([{"shop": "n", "item": "x", "day": "04.01.1970", "rank": "lo"}], schema)
    assert not problems
    assert np.isnan(features.apply(state, columns)[0, -1])
    assert from_rows([{"shop": "n", "item": "x", "day": "04.01.1970"}], schema)[1][0].column == "rank"
    assert "past" not in features.fit(from_frame(conform(FRAME, SCHEMA)[0], SCHEMA), SCHEMA, None)
