"""Frames take the types of their schema; what cannot be read is named, never guessed."""

from __future__ import annotations

import math
import time
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit.config import Data
from keepfit.data import parse
from keepfit.data.conform import conform, labelled
from keepfit.data.parse import Problem
from keepfit.data.schema import infer
from keepfit.errors import DataError
from keepfit.types import Column, Schema

TOKENS = ("", "?", "NA")


def one(role: str, values: object, dtype: object = None, **more: object) -> tuple[list[object], list[Problem]]:
    """A single column conformed."""
    column = Column("x", role, tokens=TOKENS, **more)  # type: ignore[arg-type]
    frame, problems = conform(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}), Schema((column,), "regression"))  # type: ignore[arg-type]
    return frame["x"].to_list(), problems


def test_numbers() -> None:
    read, problems = one("number", [" 1.5", "?", "", None, "1,000", "inf", "nan", "True", "1e3"])
    assert read == [1.5, None, None, None, None, None, None, 1.0, 1000.0]
    assert problems == [Problem(4, "x", "not a number: '1,000'"), Problem(5, "x", "infinite")]


def test_typed_numbers() -> None:
    assert one("number", [1, None, 3]) == ([1.0, None, 3.0], [])
    assert one("number", [True, False]) == ([1.0, 0.0], [])
    read, problems = one("number", [1.0, math.nan, math.inf, None])
    assert read == [1.0, None, None, None]
    assert problems == [Problem(2, "x", "infinite")]
    read, problems = one("number", [date(2020, 1, 1), None])
    assert read == [None, None]
    assert [p.row for p in problems] == [0]


@pytest.mark.parametrize("values", [["1", "-1e31", "1e30"], [1.0, -1e31, 1e30], [1, -(10**31), 10**30]])
def test_observations_that_no_model_can_square_are_problems(values: list[object]) -> None:
    frame = pl.DataFrame({"sold": pl.Series(values, strict=False)})
    typed, problems = conform(frame, Schema((Column("sold", "past"),), "forecast"))
    assert typed["sold"].to_list() == [1.0, None, 1e30]
    assert [(p.row, p.problem) for p in problems] == [(1, "beyond 1e30: use a larger unit")]


def test_lists_are_problems_and_not_crashes() -> None:
    for role in ("number", "category", "text", "date"):
        read, problems = one(role, [[1], [2]])
        assert read == [None, None]
        assert [p.row for p in problems] == [0, 1]


def test_typed_numbers_of_the_right_type_are_not_touched() -> None:
    frame = pl.DataFrame({f"x{i}": np.random.default_rng(i).normal(size=1_000_000) for i in range(5)})
    schema = Schema(tuple(Column(name, "number") for name in frame.columns), "regression")
    start = time.process_time()
    read, problems = conform(frame, schema)
    assert time.process_time() - start < 1.0
    assert read.equals(frame)
    assert problems == []


def test_categories() -> None:
    assert one("category", [" a", "?", "1.0", "TRUE", None, "00123"]) == (["a", None, "1", "true", None, "00123"], [])
    assert one("category", [98178, None]) == (["98178", None], [])
    assert one("category", [98178.0, 0.5, math.nan]) == (["98178", "0.5", None], [])
    assert one("category", [True, None]) == (["true", None], [])
    assert one("category", ["a ", "b"], pl.Categorical) == (["a", "b"], [])
    assert one("category", [math.inf])[1] == [Problem(0, "x", "infinite")]
    assert one("category", [None, None], pl.Null) == ([None, None], [])


def test_texts_are_untouched() -> None:
    assert one("text", ["  two  words ", " ", "NA", None]) == (["  two  words ", None, None, None], [])


def test_dates() -> None:
    read, problems = one(
        "date", ["13/10/2014", "2014-10-13", "20141013T000000", "?", "soon", None, "2/1/1970"], formats=("%d/%m/%Y",)
    )
    assert read == [1413158400.0] * 3 + [None, None, None, 86400.0]
    assert problems == [Problem(4, "x", "not a date: 'soon'")]
    assert one("date", [date(1970, 1, 2), None]) == ([86400.0, None], [])
    assert one("date", [datetime(1970, 1, 1, 0, 0, 1, 500_000)]) == ([1.5], [])
    assert one("date", [1413158400, None], formats=("epoch",)) == ([1413158400.0, None], [])
    assert one("date", ["1413158400000"], formats=("epoch_ms",)) == ([1413158400.0], [])
    assert one("date", [20141013], formats=("%Y%m%d",)) == ([1413158400.0], [])
    assert one("date", [5])[1] == [Problem(0, "x", "not a date: '5'")]
    zoned = pl.Series([datetime(1970, 1, 1, 1)]).dt.replace_time_zone("Europe/Berlin")
    assert one("date", zoned) == ([0.0], [])
    named = ["1970-01-01 01:00 Europe/Berlin", " 1970-01-02T01:00[Europe/Berlin]", "1970-01-01 01:00 Europe/Berlino"]
    read, problems = one("date", named)
    assert read == [0.0, 86400.0, None]
    assert [problem.row for problem in problems] == [2]


def test_all_absent_inputs_are_named_at_once() -> None:
    schema = Schema(
        (
            Column("age", "number"),
            Column("plan", "category"),
            Column("key", "id"),
            Column("made", "number", hook="made"),
            Column("y", "target"),
        ),
        "regression",
        "y",
    )
    with pytest.raises(DataError) as caught:
        conform(pl.DataFrame({"agee": [1], "z": [2]}), schema)
    assert str(caught.value) == (
        "The data lack 2 columns that the model is made for: 'age' (Did you mean 'agee'?), 'plan'. They have: agee, z"
    )


def test_only_known_columns_stay() -> None:
    schema = Schema((Column("age", "number"), Column("junk", "ignore"), Column("y", "target")), "regression", "y")
    frame, _ = conform(pl.DataFrame({"junk": [1], "new": [2], "age": [3]}), schema)
    assert frame.columns == ["age"]


def test_labels_with_stray_dots_are_their_class_and_unknown_ones_are_problems() -> None:
    schema = Schema((Column("y", "target"),), "classification", "y", classes=("<=50K", ">50K"))
    frame, problems = conform(pl.DataFrame({"y": [" >50K.", "<=50K", "rich", None]}), schema)
    assert frame["y"].to_list() == [">50K", "<=50K", None, None]
    assert problems == [Problem(2, "y", "unknown label 'rich'")]
    assert labelled(frame, schema).height == 2


def meant(role: str, value: object, column: Column) -> tuple[object, str | None]:
    try:
        return parse.PARSE[role](value, column), None
    except ValueError as error:
        return None, str(error)


ODD = st.text(alphabet="0123456789.+-eE_ ?NAinfTrue/:", max_size=10) | st.sampled_from([*TOKENS, "2014-01-02", "1e999"])


@given(st.lists(st.none() | ODD, min_size=1, max_size=8), st.sampled_from(["number", "category", "text", "date"]))
def test_a_column_is_read_as_its_single_values_are(values: list[str | None], role: str) -> None:
    column = Column("x", role, tokens=TOKENS, formats=("%d/%m/%Y",) if role == "date" else ())
    frame, problems = conform(pl.DataFrame({"x": pl.Series(values, dtype=pl.String)}), Schema((column,), "regression"))
    reasons = {problem.row: problem.problem for problem in problems}
    for row, value in enumerate(values):
        meaning, reason = meant(role, value, column)
        assert (frame["x"][row], reasons.get(row)) == (meaning, reason)
    assert conform(frame, Schema((Column("x", role, tokens=TOKENS),), "regression"))[0].equals(frame)


FRAMES = st.lists(
    st.tuples(st.none() | st.floats(allow_nan=False), st.none() | st.integers(), st.none() | st.booleans(),
              st.none() | st.text(max_size=4), st.none() | st.dates()),
    min_size=10, max_size=30,
)  # fmt: skip


@given(FRAMES, st.booleans())
def test_whatever_is_inferred_can_be_conformed_and_again(rows: list[tuple[object, ...]], as_text: bool) -> None:
    types = {"f": pl.Float64, "i": pl.Int128, "b": pl.Boolean, "s": pl.String, "d": pl.Date}
    frame = pl.DataFrame(rows, schema=types, orient="row")
    frame = frame.with_columns(pl.Series("y", ["a", "b"] * len(frame)).head(len(frame)))
    if as_text:
        frame = frame.select(pl.all().cast(pl.String))
    schema = infer(frame, Data(source="x", target="y"))  # type: ignore[call-arg]
    once, _ = conform(frame, schema)
    again, problems = conform(once, schema)
    assert len(once) == len(frame)
    if not any(c.formats for c in schema.columns):
        assert again.equals(once)
        assert problems == []


def test_telco(shared_data: object) -> None:
    frame = pl.read_csv(f"{shared_data}/telco_churn/Telco-Customer-Churn.csv", infer_schema=False)
    schema = infer(frame, Data(source="x", target="Churn"))  # type: ignore[call-arg]
    read, problems = conform(frame, schema)
    assert problems == []
    assert read["TotalCharges"].null_count() == 11
    assert read["TotalCharges"].dtype == pl.Float64
    assert read.columns == frame.columns
