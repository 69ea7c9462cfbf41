"""The public edge for frames: pandas, Arrow, dicts, numpy and polars in, the same kind out.

Inside keepfit there is one kind of frame, polars', with one plain value in a cell: numbers, strings,
booleans, dates. `tidy` brings every frame there, and `stack` puts frames of the same columns under
each other. Columns that mix types become strings, so that nothing is lost before the schema has said
what the column is.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from keepfit.errors import DataError

NONE = ("NAType", "NaTType")  # what pandas has for None
NESTED = (pl.List, pl.Array, pl.Struct)
FILE = {"bytes", "path"}
TEMPORAL = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)


def to_polars(frame: Any, where: str = "the frame") -> pl.DataFrame:
    """Any frame people use, as a polars frame with one plain value in a cell.

    Takes polars (eager and lazy), pandas (the index is dropped), everything with the Arrow interface
    (pyarrow, DuckDB, …), a dict of columns, a dict of single values (one row), a list of dicts (rows)
    and numpy's structured arrays. NaN becomes null; columns of mixed types become strings. `where`
    says in errors whose frame it is. Raises DataError for anything else, for duplicate column names,
    columns of different lengths and cells that hold several values.

    >>> to_polars({"age": [31, float("nan")], "plan": ["basic", 7]}).to_dict(as_series=False)
    {'age': [31, None], 'plan': ['basic', '7']}
    """
    return stack([tidy(_read(frame, where), where)])


def _read(frame: Any, where: str) -> pl.DataFrame:
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, Mapping):
        return _from_dict(frame, where)
    if isinstance(frame, list) and all(isinstance(row, Mapping) for row in frame):
        return from_rows(frame)
    if isinstance(frame, np.ndarray) and frame.dtype.names:
        return pl.DataFrame({name: _from_array(frame[name]) for name in frame.dtype.names})
    if _is_pandas(frame):
        return _from_pandas(frame, where)
    if hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "__arrow_c_array__"):
        unique(frame.schema.names if hasattr(frame, "schema") else (), where)
        return pl.DataFrame(frame)
    raise DataError(
        f"{where} is a {type(frame).__module__}.{type(frame).__qualname__}, which is no frame. "
        "Known: pandas, polars and Arrow frames, a dict of columns, a list of dicts, a structured array."
    )


def like(result: pl.DataFrame, original: Any) -> Any:
    """`result` as the kind of frame that `original` is; pandas rows keep their index labels.

    >>> like(pl.DataFrame({"prediction": ["yes"]}), {"age": [31]})
    {'prediction': ['yes']}
    """
    if _is_pandas(original):
        made = result.to_pandas()
        return made.set_axis(original.index, axis=0) if len(made) == len(original) else made
    if isinstance(original, pl.LazyFrame):
        return result.lazy()
    if isinstance(original, Mapping):
        return result.to_dict(as_series=False)
    if isinstance(original, list):
        return result.to_dicts()
    if isinstance(original, np.ndarray):
        return result.to_numpy(structured=True)
    if type(original).__module__.partition(".")[0] == "pyarrow":
        return result.to_arrow(compat_level=pl.CompatLevel.oldest())  # strings as every reader knows them
    return result


def tidy(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """The frame with one plain value in a cell; raises DataError for nested columns.

    Structs of the bytes and the path of a file (as in Hugging Face's data sets of pictures) are their bytes.
    """
    frame = frame.with_columns(pl.col(name).struct.field("bytes").alias(name) for name in _files(frame))
    nested = {name: dtype for name, dtype in frame.schema.items() if isinstance(dtype, NESTED)}
    if nested:
        shown = ", ".join(f"'{name}' ({dtype})" for name, dtype in list(nested.items())[:8])
        raise DataError(
            f"{where}: a cell must hold one number, text, date or boolean, but these columns hold more: {shown}. "
            "Take them apart or leave them out before: in data.query, or in a function (data.source: python:…)."
        )
    return frame.with_columns(_plain(frame[name]) for name in frame.columns)


def _files(frame: pl.DataFrame) -> list[str]:
    """The columns that hold a file in a cell: {bytes, path}."""
    structs = {name: dict(dtype) for name, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)}
    return [name for name, fields in structs.items() if fields.get("bytes") == pl.Binary and set(fields) <= FILE]


def _plain(column: pl.Series) -> pl.Series:
    dtype = column.dtype
    if dtype in (pl.Float32, pl.Float64):
        return column.fill_nan(None)
    if dtype == pl.Object:
        return series(column.name, column.to_list())
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return column.dt.convert_time_zone("UTC")  # the same instant, whatever the zone of the sender
    if isinstance(dtype, pl.Decimal):
        return column.cast(pl.Float64)
    if isinstance(dtype, (pl.Categorical, pl.Enum)) or dtype in (pl.Int128, pl.Time):
        return column.cast(pl.String)
    return column


def stack(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Frames under each other, with the columns of all and the types of `common`.

    >>> stack([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2.5]})])["a"].to_list()
    [1.0, 2.5]
    >>> stack([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": ["x"], "b": [2]})]).rows()
    [('1', None), ('x', 2)]
    """
    types = common([frame.schema for frame in frames])
    return pl.concat([fit(frame, types) for frame in frames])


def common(schemas: Sequence[Mapping[str, pl.DataType]]) -> dict[str, pl.DataType]:
    """The columns of all, each with the type that holds every value: the wider number, else strings.

    A column without any value is one of strings.
    """
    names = dict.fromkeys(name for schema in schemas for name in schema)
    return {name: _common({schema[name] for schema in schemas if name in schema}) for name in names}


def fit(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The frame with exactly these columns and types; a column that it lacks is null."""
    lacking = [pl.lit(None).alias(name) for name in types if name not in frame.columns]
    return frame.with_columns(lacking).select(pl.col(name).cast(dtype) for name, dtype in types.items())


def _common(types: Iterable[pl.DataType]) -> pl.DataType:
    kinds = [dtype for dtype in types if dtype != pl.Null]
    if len(kinds) < 2:
        return kinds[0] if kinds else pl.String()
    if all(dtype.is_numeric() for dtype in kinds):
        return pl.Int64() if all(dtype.is_integer() and dtype != pl.UInt64 for dtype in kinds) else pl.Float64()
    if all(dtype == pl.Date or (isinstance(dtype, pl.Datetime) and not dtype.time_zone) for dtype in kinds):
        return pl.Datetime("us")
    return pl.String()


def series(name: str, values: Sequence[Any]) -> pl.Series:
    """A column from Python values; a mixture of types becomes strings.

    >>> series("a", [1, 2.5, None]).to_list(), series("a", [1, "x", True]).to_list()
    ([1.0, 2.5, None], ['1', 'x', 'True'])
    """
    cells = [_cell(value) for value in values]
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds == {int, float}:
        cells, kinds = [None if cell is None else float(cell) for cell in cells], {float}
    if kinds == {bytes}:
        return pl.Series(name, cells, dtype=pl.Binary)
    if kinds == {dict} and all(cell is None or set(cell) <= FILE for cell in cells):
        return pl.Series(name, cells, dtype=pl.Struct({"bytes": pl.Binary, "path": pl.String}))
    if kinds & {list, dict, bytes}:  # whatever is inside: `tidy` refuses it and names the column
        return pl.Series(name, [None if cell is None else [str(cell)] for cell in cells])
    zones = {cell.tzinfo is None for cell in cells if isinstance(cell, datetime.datetime)}
    known = all(kind in (bool, int, float, str) or issubclass(kind, TEMPORAL) for kind in kinds)
    if known and len(kinds) < 2 and len(zones) < 2:
        try:
            return pl.Series(name, cells, dtype=None if kinds else pl.Null)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            pass  # dates in several zones, integers beyond 128 bits: strings, like other mixtures
    return pl.Series(name, [None if cell is None else str(cell) for cell in cells], dtype=pl.String)


def _cell(value: Any) -> Any:
    """One value as Python has it: None for every kind of missing, lists for every kind of sequence."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, (tuple, set, frozenset, np.ndarray)):
        return list(value)
    return None if type(value).__name__ in NONE else value


def from_rows(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as dicts, in columns; a key that a row lacks is null there.

    >>> from_rows([{"a": 1}, {"a": 2, "b": "x"}]).to_dict(as_series=False)
    {'a': [1, 2], 'b': [None, 'x']}
    """
    names = dict.fromkeys(str(name) for row in rows for name in row)
    return pl.DataFrame([series(name, [row.get(name) for row in rows]) for name in names])


def unique(names: Iterable[str], where: str) -> None:
    """Raises DataError when a column name stands twice."""
    twins = [f"'{name}'" for name, count in Counter(names).items() if count > 1]
    if twins:
        raise DataError(f"{where}: duplicate column names: {', '.join(twins[:8])}. Rename them.")


def _from_dict(frame: Mapping[Any, Any], where: str) -> pl.DataFrame:
    single = (str, bytes, bool, int, float, Decimal, type(None), *TEMPORAL)
    if frame and all(isinstance(value, (*single, np.generic)) for value in frame.values()):
        return from_rows([{str(name): value for name, value in frame.items()}])
    wrong = [f"'{name}'" for name, values in frame.items() if isinstance(values, single)]
    if wrong:
        raise DataError(
            f"{where}: {', '.join(wrong[:8])} holds one value while other columns hold many. Give each a list."
        )
    unique((str(name) for name in frame), where)
    columns = {str(name): _from_values(str(name), values) for name, values in frame.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{where}: columns of different lengths: {lengths}. Every column needs a value in each row.")
    return pl.DataFrame(columns)


def _from_values(name: str, values: Any) -> pl.Series:
    if isinstance(values, pl.Series):
        return values.alias(name)
    if isinstance(values, np.ndarray):
        return _from_array(values).alias(name)
    return series(name, list(values))


def _from_array(values: np.ndarray[Any, Any]) -> pl.Series:
    if values.dtype.kind == "S":
        values = values.astype(str)
    return series("", values.tolist()) if values.dtype.kind == "O" else pl.Series(values)


def _is_pandas(frame: Any) -> bool:
    return type(frame).__module__.partition(".")[0] == "pandas" and hasattr(frame, "columns")


def _from_pandas(frame: Any, where: str) -> pl.DataFrame:
    """By its dtypes, not through pandas' own Arrow table, which refuses columns of mixed types."""
    names = [str(name) for name in frame.columns]
    unique(names, where)
    return pl.DataFrame([_from_pandas_column(name, frame.iloc[:, n]) for n, name in enumerate(names)])


def _from_pandas_column(name: str, column: Any) -> pl.Series:
    dtype = column.dtype.categories.dtype if column.dtype.name == "category" else column.dtype
    if dtype.name == "object" or dtype.name.startswith("Sparse"):
        return series(name, column.tolist())
    if dtype.name.startswith(("period", "interval", "complex")):
        return series(name, [None if gone else str(v) for v, gone in zip(column, column.isna(), strict=True)])
    made: pl.Series = pl.from_pandas(column.reset_index(drop=True), nan_to_null=True)
    return made.alias(name)
