"""Columns from Arrow arrays, such as the batches of a Parquet file: for counting many rows in little memory.

Values mean what `data.parse` says they mean, as in `features.frame` and `features.rows`; what makes no
sense is missing. Each distinct value is read once, so files should be opened with strings as
dictionaries. Neither polars nor pandas (which pyarrow's own `to_numpy` imports) is needed.

>>> from keepfit.types import Column
>>> schema = Schema((Column("age", "number"), Column("plan", "category", tokens=("?",))), "regression")
>>> columns = from_arrow({"age": pa.array(["41", "old"]), "plan": pa.array([" pro", "?"])}, 2, schema)
>>> columns.values["age"].tolist(), columns.values["plan"].codes.tolist(), columns.values["plan"].levels
([41.0, nan], [0, -1], ['pro'])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from keepfit.data.parse import LARGEST, LOCAL, PARSE
from keepfit.errors import DataError
from keepfit.features.values import Coded, Columns, Documents, Pictures
from keepfit.types import Column, Schema

Floats = NDArray[np.float64]
NUMBERS: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name) for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    **{"halffloat": np.dtype("float16"), "float": np.dtype("float32"), "double": np.dtype("float64")},
}
SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def from_arrow(arrays: Mapping[str, pa.Array], rows: int, schema: Schema) -> Columns:
    """The values of those `schema.features` that are there. Raises DataError for cells that hold several values."""
    there = [column for column in schema.features if column.name in arrays]
    return Columns({column.name: ARRAYS[column.role](arrays[column.name], column) for column in there}, rows)


def numbers(array: pa.Array, column: Column) -> Floats:
    """(n,) float64; missing values, infinities and what is no number are NaN."""
    dtype = NUMBERS.get(str(array.type))
    if dtype is None:
        return _looked_up(array, column)
    found = _buffer(array, dtype).astype(np.float64)
    if array.null_count:
        found[_gone(array)] = np.nan
    if dtype.kind == "f":
        found[np.isinf(found)] = np.nan
    return found


def seconds(array: pa.Array, column: Column) -> Floats:
    """(n,) seconds since 1970 UTC; a timestamp without a zone is UTC."""
    if not pa.types.is_timestamp(array.type):
        return numbers(array, column) if column.role == "time" and column.dtype != "date" else _looked_up(array, column)
    found = _buffer(array, np.dtype("int64")) / SECOND[array.type.unit]
    if array.null_count:
        found[_gone(array)] = np.nan
    return np.asarray(found)


def moments(array: pa.Array, column: Column) -> Floats:
    """(n,) times of a forecast's rows: seconds since 1970 UTC, or the number. See `parse.moment`."""
    if column.dtype != "date":
        return numbers(array, column)
    return _looked_up(array, column) if LOCAL in column.formats else seconds(array, column)


def coded(array: pa.Array, column: Column) -> Coded:
    """Codes into the levels in the order of the dictionary."""
    values, codes = factored(array)
    read = _read(values, column)
    levels = list(dict.fromkeys(level for level in read if level is not None))
    place = {level: code for code, level in enumerate(levels)}
    table = np.array([*(-1 if level is None else place[level] for level in read), -1], np.int32)
    return Coded(table[codes], levels)


def factored(array: pa.Array) -> tuple[list[Any], NDArray[np.int32]]:
    """Different values, and for each row which of them it has, or -1."""
    if not pa.types.is_dictionary(array.type):
        try:
            array = array.dictionary_encode()
        except pa.ArrowNotImplementedError as error:
            raise DataError(f"Cells hold {array.type}, where one number, text or date is needed: {error}.") from error
    codes = _buffer(array.indices, NUMBERS[str(array.type.index_type)]).astype(np.int32)
    if array.null_count:
        codes[_gone(array)] = -1
    return array.dictionary.to_pylist(), codes


def _looked_up(array: pa.Array, column: Column) -> Floats:
    values, codes = factored(array)
    read = [np.nan if value is None else value for value in _read(values, column)]
    return np.array([*read, np.nan], np.float64)[codes]


def _past(array: pa.Array, column: Column) -> Floats:
    found = numbers(array, column)
    return np.where(np.abs(found) > LARGEST, np.nan, found)


def _documents(array: pa.Array, column: Column) -> Documents:
    return Documents(_read(array.to_pylist(), column))


def _read(values: Sequence[Any], column: Column) -> list[Any]:
    """What `data.parse` makes of values."""
    role = column.role if column.role != "time" else "date" if column.dtype == "date" else "number"
    parse = PARSE[role]
    found = []
    for value in values:
        try:
            found.append(parse(value, column))
        except (ValueError, OverflowError):
            found.append(None)
    return found


def _buffer(array: pa.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The values of a primitive array, whatever stands where they are missing."""
    if not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(array.buffers()[1], dtype, len(array) + array.offset)[array.offset :]


def _gone(array: pa.Array) -> NDArray[np.bool_]:
    """Where values are missing."""
    if array.null_count == len(array) or not len(array):
        return np.ones(len(array), bool)
    bits = np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), bitorder="little")
    return np.asarray(bits[array.offset : array.offset + len(array)] == 0)


# role → the values of one column
ARRAYS: Mapping[str, Callable[[pa.Array, Column], Any]] = {
    "number": numbers,
    "date": seconds,
    "time": seconds,
    "category": coded,
    "text": _documents,
    "series": coded,
    "moment": moments,
    "past": _past,
    "image": lambda array, column: Pictures(_read(array.to_pylist(), column)),
}
