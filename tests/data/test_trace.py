"""A model knows which rows it was trained on, from a sample where there are many."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from keepfit.data import trace
from keepfit.types import Column, Schema

SCHEMA = Schema((Column("a", "number"), Column("b", "category"), Column("y", "target")), "regression", "y")


def frame(start: int, end: int) -> pl.DataFrame:
    numbers = np.arange(start, end)
    return pl.DataFrame({"a": numbers / 3, "b": [f"level {n % 7}" for n in numbers], "y": numbers * 1.0})


def test_few_rows_are_told_exactly_whatever_their_order_and_target() -> None:
    kept = trace.trace(frame(0, 100), SCHEMA)
    asked = frame(80, 130).reverse().with_columns(y=pl.lit(0.0)).select("b", "y", "a")
    assert trace.known(kept, asked, SCHEMA) == (20, 50)
    assert trace.known(kept, frame(100, 130), SCHEMA) == (0, 30)


def test_of_many_rows_a_sample_tells_the_share() -> None:
    kept = trace.trace(frame(0, 40_000), SCHEMA, most=5_000)
    assert len(kept) == 5_000
    again, asked = trace.known(kept, frame(35_000, 55_000), SCHEMA, most=5_000)
    assert 2_000 < asked < 3_000  # an eighth of 20,000
    assert again / asked == pytest.approx(0.25, abs=0.03)
