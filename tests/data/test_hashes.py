"""Rows have the same number wherever and whenever it is computed."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from keepfit.data import hashes

GOLDEN = [5045703474852206150, 12187500403219331715, 17751234875893686993]


def test_the_numbers_never_change() -> None:
    """They decide which rows are test rows: a new version must not move them."""
    frame = pl.DataFrame({"a": [1.5, None, -0.0], "b": ["x", None, "é"]})
    assert hashes.rows(frame, seed=42).tolist() == GOLDEN


@given(
    st.lists(st.tuples(st.none() | st.integers(-3, 3), st.none() | st.text("ab", max_size=2)), min_size=1, max_size=30)
)
def test_equal_rows_and_only_they_have_equal_numbers(rows: list[tuple[int | None, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    found = hashes.rows(frame)
    seen = [row in rows[:at] for at, row in enumerate(rows)]
    assert hashes.repeated(found).tolist() == seen
    assert (hashes.rows(frame.reverse()) == found[::-1]).all()
    assert (hashes.rows(frame.select("b", "a").with_columns(pl.col("a").cast(pl.Float64))) == found).all()


def test_columns_and_seeds_count() -> None:
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})
    first, second = hashes.rows(frame)
    assert first != second  # the same values in other columns
    assert (hashes.rows(frame, seed=1) != hashes.rows(frame)).all()


def test_bits_are_spread() -> None:
    found = hashes.rows(pl.DataFrame({"a": np.arange(100_000)})).astype(float) / 2**64
    counts, _ = np.histogram(found, bins=20, range=(0, 1))
    assert abs(counts - 5000).max() < 400
