"""A row of a request means what the same row of a frame means."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit import features
from keepfit.data.conform import conform
from keepfit.data.rows import Table
from keepfit.errors import DataError
from keepfit.features.frame import from_frame
from keepfit.features.rows import FEW, PLAIN, _each, from_rows, levels, reader, remembered
from keepfit.features.values import Coded, Documents, Tokens
from keepfit.types import Column, Schema

TOKENS = ("?", "NA")
SCHEMA = Schema(
    (
        Column("n", "number", tokens=TOKENS),
        Column("c", "category", tokens=TOKENS),
        Column("d", "date", tokens=TOKENS, formats=("%d/%m/%Y",)),
        Column("t", "text", tokens=TOKENS),
    ),
    "regression",
)
WORDS = st.sampled_from(
    ["", " ", "?", "NA", "a", " a ", "A", "true", "7", "7.0", " 7.5", "1e3", "x <b>y</b>!", "é", "0012"]
)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
WHOLE = st.integers(-(2**62), 2**62)
DAYS = st.dates(date(1700, 1, 1), date(2200, 1, 1))
MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))
DATES = st.one_of(DAYS.map(str), DAYS.map(lambda d: d.strftime("%d/%m/%Y")), MOMENTS.map(str), WORDS)


def columns_of(*kinds):
    """Frames of one kind of value a column, as sources bring them."""
    return st.one_of(*(st.lists(st.one_of(st.none(), kind), min_size=1, max_size=8) for kind in kinds))


def same(one, two):
    """Whether two columns of values are the same, whatever the order of their levels or words."""
    if isinstance(one, Coded):
        return decoded(one) == decoded(two)
    if isinstance(one, (Documents, Tokens)):
        return documents(one) == documents(two)
    return np.allclose(one, two, rtol=1e-15, atol=0, equal_nan=True)  # a second's last bit may round either way


def decoded(column):
    return [column.levels[code] if code >= 0 else None for code in column.codes]


def documents(column):
    column = column.tokens if isinstance(column, Documents) else column
    pairs = zip(column.starts, column.lengths, strict=True)
    return [[column.words[i] for i in column.ids[start : start + length]] for start, length in pairs]


def agree(name, values):
    schema = Schema((SCHEMA[name],), "regression")
    frame = pl.DataFrame({name: values}, strict=False)
    typed, bad = conform(frame, schema)
    whole = from_frame(typed, schema)
    rows = frame.to_dicts()
    read, problems = from_rows(rows, schema)
    assert same(whole.values[name], read.values[name])
    assert [(p.row, p.problem) for p in problems] == [(p.row, p.problem) for p in bad]
    for i, row in enumerate(rows):  # and each row alone
        alone, _ = from_rows([row], schema)
        assert same(alone.values[name], whole.values[name][np.array([i])])


@given(columns_of(NUMBERS, WHOLE, st.booleans(), WORDS, NUMBERS.map(str), WHOLE.map(str)))
def test_numbers(values):
    agree("n", values)


@given(columns_of(WORDS, st.text(max_size=5), st.booleans(), WHOLE, NUMBERS, DAYS))
def test_categories(values):
    agree("c", values)


@given(columns_of(DATES, DAYS, MOMENTS))
def test_dates(values):
    agree("d", values)


@given(columns_of(WORDS, st.text(max_size=20), WHOLE, st.booleans()))
def test_texts(values):
    agree("t", values)


def test_all_problems_of_all_rows_are_told_at_once():
    rows = [{"n": "old", "c": "a", "d": "1.5", "t": "x"}, {"n": 1, "c": [1], "d": None}, "no row"]
    columns, problems = from_rows(rows, SCHEMA)
    assert [(p.row, p.column, p.problem) for p in problems] == [
        (0, "d", "not a date: '1.5'"),
        (0, "n", "not a number: 'old'"),
        (1, "c", "not a category: [1]"),
        (1, "t", "is not there; send null if the value is unknown"),
        (2, "", "not an object with the columns as keys, but str"),
    ]
    assert columns.rows == 3
    assert math.isnan(columns.values["n"][0])


def test_columns_that_hooks_make_are_not_asked_for():
    schema = Schema((Column("n", "number"), Column("made", "number", hook="made")), "regression")
    columns, problems = from_rows([{"n": 1}], schema)
    assert list(columns.values) == ["n"]
    assert problems == []


def test_a_frame_without_a_column():
    with pytest.raises(DataError, match=r"no column 'c', 'd', 't', which the model needs. It has: n."):
        from_frame(pl.DataFrame({"n": [1.0]}), SCHEMA)


def test_no_rows():
    columns, problems = from_rows([], SCHEMA)
    assert (columns.rows, problems) == (0, [])
    assert len(columns.values["c"]) == len(columns.values["t"]) == len(columns.values["n"]) == 0


def test_numbers_without_gaps_share_the_memory_of_the_frame():
    frame = pl.DataFrame({"n": [1.0, 2.0]})
    values = from_frame(frame, Schema((Column("n", "number"),), "regression")).values["n"]
    assert not values.flags.owndata


def test_features_of_a_row_are_those_of_the_frame():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "n": [None if i % 7 == 0 else str(v) for i, v in enumerate(rng.normal(size=60))],
            "c": rng.choice(["a", "b", "c", "?"], 60).tolist(),
            "d": [f"{1 + i % 28:02}/0{1 + i % 9}/2014" for i in range(60)],
            "t": rng.choice(["so good!", "so bad", "not good <br/> at all", ""], 60).tolist(),
        }
    )
    typed, _ = conform(frame, SCHEMA)
    columns = from_frame(typed, SCHEMA)
    y = rng.normal(size=60)
    linear = {"number": {"impute": "median", "scale": True, "flag": True, "bins": 4}}
    linear["date"] = linear["number"]
    tree = {"category": {"encode": "codes"}, "text": {"svd": 3}}
    read = reader(SCHEMA)
    for options in (linear, tree):
        state = features.fit(columns, SCHEMA, y, options)
        whole = dense(features.apply(state, columns))
        serve = features.compiled(state)
        for i, row in enumerate(frame.to_dicts()):
            one, problems = read([row])
            assert problems == []
            np.testing.assert_allclose(dense(serve(one))[0], whole[i], rtol=1e-6, atol=1e-6)


def dense(matrix):
    if not isinstance(matrix, features.Sparse):
        return matrix
    full = np.zeros((len(matrix.indptr) - 1, matrix.width), np.float32)
    full[np.repeat(np.arange(len(full)), np.diff(matrix.indptr)), matrix.indices] = matrix.data
    return full


# --- whole columns at once, and value by value ---------------------------------------------------

ODD = st.sampled_from(
    [
        True, False, math.nan, math.inf, -math.inf, 10**400, -(10**400), 2**63, 2**1023, -0.0, 5e-324, 1e308,
        Decimal("1.5"), Decimal("NaN"), Decimal("1e400"), np.float64(2.5), np.float32(0.1), np.int64(7), np.bool_(True),
        np.str_(" a "), np.float64("nan"), "\u2003 7 \t", "\x1f8", "1_000", "١٢", "-7.0", "-0.0", "1e400", "nan", "inf",
        "Infinity", "-999", "+5", ".5", "5.", "0x10", "TRUE", "a" * 300, "\n", [1], {"a": 1}, b"7", object, 1j,
        date(2020, 1, 2), datetime(2020, 1, 2, 3), float, "2020-01-02", "20200102", 1577923200,
    ]
)  # fmt: skip
VALUES = st.one_of(st.none(), NUMBERS, WHOLE, WORDS, st.text(max_size=4), DATES, MOMENTS, ODD)
KINDS = st.one_of(
    *(st.lists(kind, min_size=1, max_size=6) for kind in (VALUES, NUMBERS, WHOLE, WORDS, NUMBERS.map(str)))
)
COLUMNS = (
    *SCHEMA.columns,
    Column("n", "number", tokens=("-999", "")),
    Column("d", "date", formats=("epoch",)),
    Column("c", "category"),
)
READERS = [reader(Schema((column,), "regression")) for column in COLUMNS]  # kept, so that they remember


@pytest.mark.parametrize("place", range(len(COLUMNS)))
@given(st.lists(KINDS, min_size=1, max_size=3))
def test_a_column_read_at_once_is_what_its_values_are_one_by_one(place, requests):
    column = COLUMNS[place]
    for values in requests:
        rows = [{column.name: value} for value in values]
        found, problems = READERS[place](rows)
        expected_problems = []
        expected = _each(rows, column, expected_problems)
        assert problems == expected_problems
        exactly(found.values[column.name], expected)


@pytest.mark.parametrize("place", range(len(COLUMNS)))
@given(KINDS, st.booleans())
def test_many_values_at_once_are_what_they_are_one_by_one(place, some, table):
    column, values = COLUMNS[place], some * FEW
    plain = column.role == "number" and {*map(type, values)} <= PLAIN and math.inf not in map(abs, filter(None, values))
    rows = [{column.name: value} for value in values]
    asked = Table({column.name: values}, frozenset([column.name] * plain)) if table else rows
    found, problems = READERS[place](asked)
    expected_problems = []
    expected = _each(rows, column, expected_problems)
    assert problems == expected_problems
    exactly(found.values[column.name], expected)


def exactly(one, two):
    if isinstance(one, (Coded, Documents, Tokens)):
        assert same(one, two)
    else:
        assert one.dtype == two.dtype == np.float64
        assert one.tobytes() == two.tobytes() or np.array_equal(one, two, equal_nan=True)


@pytest.mark.parametrize("place", range(len(COLUMNS)))
def test_rows_of_another_shape_among_good_ones(place):
    name = COLUMNS[place].name
    for bad in ({}, "no row", None, 7, [1, 2], {"other": 1}):
        _, problems = READERS[place]([{name: None}, bad])
        assert [problem.row for problem in problems] == [1]


def test_what_is_remembered_is_bounded():
    asked = []
    look = remembered(lambda value: asked.append(value) or value, kept=3)
    for text in ["a", "b", "c", "a", "d", "a", "x" * 300, "x" * 300, 1, 1]:
        look(text)
    assert asked == ["a", "b", "c", "d", "a", "x" * 300, "x" * 300, 1, 1]


def test_levels_that_columns_share_are_bounded():
    read = levels(str.strip, kept=3)
    for text in "abcdefgabcadd":
        for values in ([text, f" {text} "], [text, text]):
            column = read(values)
            assert decoded(column) == [text, text]
            assert len(column.levels) <= 3
    assert read(["d", "d"]).levels is read([" d ", "d"]).levels
