"""Columns from a polars frame that `data` has conformed to its schema: for training and batch.

A conformed frame (`data.conform`) has Float64 numbers and dates and String categories and texts, as
`data.parse` reads them; nothing is parsed here. Equal values give what `features.rows` makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.errors import DataError
from keepfit.features.values import Coded, Columns, Documents, Pictures, Tokens, documents
from keepfit.types import Schema


def from_frame(frame: pl.DataFrame, schema: Schema) -> Columns:
    """The values of `schema.features` in a conformed frame, to learn from. Raises DataError for columns that are
    not there."""
    return _columns(frame, schema, ARRAYS)


def asked(frame: pl.DataFrame, schema: Schema) -> Columns:
    """The same to be asked about once, with texts as Documents. Raises DataError as `from_frame`."""
    return _columns(frame, schema, {**ARRAYS, "text": lambda column: Documents(column.to_list())})


def watched(frame: pl.DataFrame, columns: Columns) -> Columns:
    """What `from_frame` made of the frame, with the texts themselves beside their words: for `features.watch`."""
    texts = {
        name: documents(frame[name].to_list(), of) for name, of in columns.values.items() if isinstance(of, Tokens)
    }
    return Columns({**columns.values, **texts}, len(columns))


def _columns(frame: pl.DataFrame, schema: Schema, arrays: Mapping[str, Callable[[pl.Series], Any]]) -> Columns:
    absent = [column.name for column in schema.features if column.name not in frame.columns]
    if absent:
        shown = ", ".join(f"'{name}'" for name in absent)
        raise DataError(f"The data has no column {shown}, which the model needs. It has: {', '.join(frame.columns)}.")
    values = {column.name: arrays[column.role](frame[column.name]) for column in schema.features}
    return Columns(values, frame.height)


def numbers(column: pl.Series) -> NDArray[np.float64]:
    """(n,) float64, null = NaN; shares the memory of a column without nulls."""
    return (column.fill_null(float("nan")) if column.null_count() else column).to_numpy()


def coded(column: pl.Series) -> Coded:
    """Codes into the levels that occur, in alphabetical order; null = -1."""
    levels = column.drop_nulls().unique().sort()
    if not len(levels):
        return Coded(np.full(len(column), -1, np.int32), [])
    codes = column.cast(pl.Enum(levels)).to_physical().cast(pl.Int32)
    return Coded(codes.fill_null(-1).to_numpy(), levels.to_list())


# role → the values of one column
ARRAYS: Mapping[str, Callable[[pl.Series], Any]] = {
    "number": numbers,
    "date": numbers,  # conformed to seconds since 1970 UTC
    "category": coded,
    "text": lambda column: Documents(column.to_list()).tokens,
    "image": lambda column: Pictures(column.to_list()),
    "series": coded,
    "moment": numbers,  # conformed to seconds since 1970 UTC, or numbers
    "past": numbers,
}
