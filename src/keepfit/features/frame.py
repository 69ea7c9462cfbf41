"""Columns from a polars frame that `data` has conformed to its schema: for training and batch.

A conformed frame has float64 numbers, dates, and texts as `data.parse` writes them; nothing is
parsed here. Equal values give what `features.rows` makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.errors import DataError
from keepfit.features.text import tokens
from keepfit.features.values import Coded, Columns, Tokens
from keepfit.types import Schema


def from_frame(frame: pl.DataFrame, schema: Schema) -> Columns:
    """The values of `schema.features` in a conformed frame. Raises DataError for columns that are not there."""
    absent = [column.name for column in schema.features if column.name not in frame.columns]
    if absent:
        shown = ", ".join(f"'{name}'" for name in absent)
        raise DataError(f"The data has no column {shown}, which the model needs. It has: {', '.join(frame.columns)}.")
    values = {column.name: ARRAYS[column.role](frame[column.name]) for column in schema.features}
    return Columns(values, frame.height)


def numbers(column: pl.Series) -> NDArray[np.float64]:
    """(n,) float64, null = NaN; shares the memory of a float64 column without nulls."""
    typed = column if column.dtype == pl.Float64 else column.cast(pl.Float64)
    return (typed.fill_null(float("nan")) if typed.null_count() else typed).to_numpy()


def dates(column: pl.Series) -> NDArray[np.float64]:
    """(n,) float64 seconds since 1970 UTC, null = NaN."""
    if not column.dtype.is_temporal():
        return numbers(column)
    micro = column.cast(pl.Datetime("us")).dt.epoch("us")
    return numbers(micro) / 1e6


def coded(column: pl.Series) -> Coded:
    """Codes into the levels that occur, in alphabetical order; null = -1."""
    texts = column if column.dtype == pl.String else column.cast(pl.String)
    levels = texts.drop_nulls().unique().sort()
    if not len(levels):
        return Coded(np.full(len(column), -1, np.int32), [])
    codes = texts.cast(pl.Enum(levels)).to_physical().cast(pl.Int32)
    return Coded(codes.fill_null(-1).to_numpy(), levels.to_list())


def texts(column: pl.Series) -> Tokens:
    """Documents as word ids; null is an empty document."""
    return tokens(column if column.dtype == pl.String else column.cast(pl.String))


# role → the values of one column
ARRAYS: Mapping[str, Callable[[pl.Series], Any]] = {
    "number": numbers,
    "date": dates,
    "category": coded,
    "text": texts,
}
