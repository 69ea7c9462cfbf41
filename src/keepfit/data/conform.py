"""A frame in the canonical types of its Schema, and the cells that could not be read.

    role                 column of the result
    number, past         Float64, finite
    date                 Float64, seconds since 1970 UTC
    moment               Float64, as date or number
    category, id, group  String, the level's canonical text; series too
    text                 String, untouched
    image                Binary, the bytes of a picture whose header makes sense
    time                 Float64, as date or number
    target               String, one of the classes; Float64 for regression

Missing values are null in all of them. Only values that are not yet of their type are looked at:
common shapes a column at a time, every other distinct value once by `keepfit.data.parse`, so that
training, batch and serving read the same value alike. Conforming twice changes nothing, except
for dates that are written as a number (`epoch`), which a second pass would take for seconds.

>>> from keepfit.types import Column, Schema
>>> schema = Schema((Column("age", "number"), Column("plan", "category", tokens=("?",))), "regression")
>>> frame, problems = conform(pl.DataFrame({"age": [" 41", "old"], "plan": [" pro", "?"]}), schema)
>>> frame.rows(), problems
([(41.0, 'pro'), (None, None)], [Problem(row=1, column='age', problem="not a number: 'old'")])
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from keepfit.data import dates, gallery, parse, zones
from keepfit.data.parse import Problem
from keepfit.errors import DataError
from keepfit.extras import nearest
from keepfit.types import Column, Schema

# The series in its canonical type, and for each row that could not be read the reason.
Read = tuple[pl.Series, dict[int, str]]
WRITTEN = (pl.String, pl.Categorical, pl.Enum)
WRITTEN_OFFSET = r"(?P<digit>\d)\s*(Z|[+-]\d{2}(:?\d{2})?)$"  # as parse.OFFSET


def conform(frame: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, list[Problem]]:
    """`frame` with the columns of `schema` in their canonical types, and what could not be read.

    Cells that could not be read are null and one Problem each, in the order of the rows. Columns
    that the schema does not know or ignores are left out. Raises DataError naming all input
    columns that are absent; ids, groups and the target may be absent. What only observations tell (the past of a
    forecast) is then null in all rows.
    """
    _complete(frame, schema)
    there = set(frame.columns)
    columns: list[pl.Series] = []
    problems: list[Problem] = []
    for column in schema.columns:
        if column.role == "ignore" or column.name not in there:
            continue
        read, bad = _read(frame[column.name], column, schema)
        columns.append(read.alias(column.name))
        problems += [Problem(row, column.name, reason) for row, reason in bad.items()]
    typed = pl.DataFrame(columns)
    unknown = [c for c in schema.inputs if c not in schema.required and c.name not in there]
    typed = typed.with_columns(pl.lit(None, TYPES.get(_reader(c, schema), pl.String)).alias(c.name) for c in unknown)
    return typed, sorted(problems, key=lambda problem: problem.row)


def labelled(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The rows of a conformed frame whose target is known."""
    return frame if schema.target is None else frame.filter(pl.col(schema.target).is_not_null())


def asking(typed: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The rows of a conformed frame as they are asked about: where the target is an input too, it is not known."""
    if not schema.observes:
        return typed
    return typed.with_columns(pl.lit(None, pl.Float64).alias(str(schema.target)))


def _complete(frame: pl.DataFrame, schema: Schema) -> None:
    absent = [column.name for column in schema.required if column.name not in frame.columns]
    if not absent:
        return
    near = [f"'{name}' ({hint.strip()})" if (hint := nearest(name, frame.columns)) else f"'{name}'" for name in absent]
    what = "1 column" if len(absent) == 1 else f"{len(absent)} columns"
    shown = ", ".join(frame.columns[:30]) + (", …" if len(frame.columns) > 30 else "")
    raise DataError(f"The data lack {what} that the model is made for: {', '.join(near)}. They have: {shown}")


def _read(series: pl.Series, column: Column, schema: Schema) -> Read:
    if series.null_count() == len(series):
        return pl.Series(series.name, [None] * len(series), dtype=TYPES.get(_reader(column, schema), pl.String)), {}
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        series = series.cast(pl.String)
    read, bad = _reader(column, schema)(series, column)
    if column.role == "target" and schema.task == "classification":
        return _classes(read, bad, schema)
    return read, bad


def _reader(column: Column, schema: Schema) -> Callable[[pl.Series, Column], Read]:
    if column.role == "target":
        return levels if schema.task == "classification" else numbers
    if column.role == "time":
        return _dates if column.dtype == "date" else numbers
    return READERS.get(column.role, levels)


def _classes(read: pl.Series, bad: dict[int, str], schema: Schema) -> Read:
    labels = read.drop_nulls().unique().to_list()
    known = parse.reconcile(labels, schema.classes)
    for label in set(labels) - set(known):
        bad.update(dict.fromkeys(_rows(read == label), f"unknown label {parse.shown(label)}"))
    return _mapped(read, known, pl.String), bad


def numbers(series: pl.Series, column: Column) -> Read:
    """A series of any type as finite Float64."""
    if series.dtype == pl.String:
        return _written_numbers(series, column)
    if not (series.dtype.is_numeric() or series.dtype == pl.Boolean):
        return _one_by_one(series, lambda value: parse.number(value, column.tokens), pl.Float64)
    values = series.cast(pl.Float64).fill_nan(None)
    infinite = values.is_infinite()
    if not infinite.any():
        return values, {}
    return values.set(infinite.fill_null(False), None), dict.fromkeys(_rows(infinite), "infinite")


def _past(series: pl.Series, column: Column) -> Read:
    """Observations: finite Float64 that is not too large."""
    read, bad = numbers(series, column)
    large = (read.abs() > parse.LARGEST).fill_null(False)
    if not large.any():
        return read, bad
    _, told = _one_by_one(read.filter(large), lambda value: parse.past(value), pl.Float64)
    rows = _rows(large)
    return read.set(large, None), bad | {rows[at]: reason for at, reason in told.items()}


def _written_numbers(series: pl.Series, column: Column) -> Read:
    if not any(_readable(token) for token in column.tokens):  # else a number may mean "missing"
        values = series.cast(pl.Float64, strict=False)
        if values.null_count() == series.null_count() and values.is_finite().all():
            return values, {}  # plain numbers, as nearly always
    text = pl.col("text")
    table = (
        pl.LazyFrame({"text": series.str.strip_chars()})
        .with_columns(value=text.cast(pl.Float64, strict=False), gone=text.is_in(["", *column.tokens]))
        .with_columns(value=pl.when(~pl.col("gone") & pl.col("value").is_finite()).then("value"))
        .collect()
    )
    odd = table["value"].is_null() & table["text"].is_not_null() & ~table["gone"]
    return _rest(series, table["value"], odd, lambda value: parse.number(value, column.tokens))


def _readable(token: str) -> bool:
    try:
        return math.isfinite(float(token))
    except ValueError:
        return False


def _dates(series: pl.Series, column: Column) -> Read:
    if series.dtype in (pl.Date, pl.Datetime):
        return (series.cast(pl.Datetime("us")).dt.epoch("us") / 1e6).cast(pl.Float64), {}
    if series.dtype == pl.Float64 and not column.formats:
        return numbers(series, column)
    if series.dtype.is_integer():
        if len(column.formats) == 1 and column.formats[0] in parse.EPOCHS:
            return numbers(series * parse.EPOCHS[column.formats[0]], column)
        return _one_by_one(series, lambda value: parse.date(value, column.formats, column.tokens), pl.Float64)
    if series.dtype != pl.String:
        return _one_by_one(series, lambda value: parse.date(value, column.formats, column.tokens), pl.Float64)
    text = series.str.strip_chars()
    gone = text.is_in(["", *column.tokens])
    read = dates.seconds(text, column.formats)
    if gone.any():
        read = read.set(gone.fill_null(False), None)
    odd = read.is_null() & text.is_not_null() & ~gone
    return _rest(series, read, odd, lambda value: parse.date(value, column.formats, column.tokens))


def levels(series: pl.Series, column: Column) -> Read:
    """A series of any type as the canonical texts of levels."""
    if series.dtype.is_integer() or series.dtype == pl.Boolean:
        return series.cast(pl.String), {}
    return _one_by_one(series, lambda value: parse.level(value, column.tokens), pl.String)


def texts(series: pl.Series, column: Column) -> Read:
    """A series of any type as texts; those that are texts already stay as they are."""
    if series.dtype != pl.String:
        return levels(series, column)
    gone = series.str.strip_chars().is_in(["", *column.tokens])
    return (series.set(gone.fill_null(False), None) if gone.any() else series), {}


def moments(series: pl.Series, column: Column) -> Read:
    """The times of a forecast's rows as Float64; see `parse.moment`."""
    if column.dtype != "date":
        return numbers(series, column)
    if parse.LOCAL in column.formats and isinstance(series.dtype, pl.Datetime):
        series = series.dt.replace_time_zone(None)
    if parse.LOCAL in column.formats and series.dtype == pl.String:
        clock = series.str.contains(":", literal=True)
        bare = series.str.strip_chars().str.replace(zones.END, "").str.replace(WRITTEN_OFFSET, "${digit}")
        series = bare.zip_with(clock.fill_null(False), series)
    return _dates(series, dataclasses.replace(column, formats=parse.strptimes(column)))


def images(series: pl.Series, column: Column) -> Read:
    """A series of bytes, of base64 or of data: URLs as the bytes of pictures."""
    if series.dtype != pl.Binary:
        return _one_by_one(series, lambda value: parse.PARSE["image"](value, column), pl.Binary)
    bad = {row: found for row, found in enumerate(gallery.facts(series)) if isinstance(found, str)}
    return (gallery.without(series, list(bad)) if bad else series), bad


READERS: Mapping[str, Callable[[pl.Series, Column], Read]] = {
    "number": numbers,
    "date": _dates,
    "category": levels,
    "text": texts,
    "image": images,
    "moment": moments,
    "past": _past,
}


# reader → the type of what it reads, where it is no text
TYPES: Mapping[Callable[[pl.Series, Column], Read], Any] = {
    numbers: pl.Float64,
    _past: pl.Float64,
    _dates: pl.Float64,
    moments: pl.Float64,
    images: pl.Binary,
}


def _rest(series: pl.Series, read: pl.Series, odd: pl.Series, meaning: Callable[[Any], float | None]) -> Read:
    """`read` completed by the scalar function for the rows where `odd` is true."""
    if not odd.any():
        return read, {}
    rows = _rows(odd)
    found, bad = _one_by_one(series.gather(rows), meaning, pl.Float64)
    return read.scatter(rows, found), {rows[at]: reason for at, reason in bad.items()}


def _one_by_one(series: pl.Series, meaning: Callable[[Any], Any], dtype: Any) -> Read:
    """Each distinct value once through `meaning`."""
    if series.dtype.is_nested() or series.dtype in (pl.Object, pl.Duration):
        return _unhashable(series, meaning, dtype)
    meanings: dict[Any, Any] = {}
    reasons: dict[Any, str] = {}
    for value in series.drop_nulls().unique().to_list():
        try:
            meanings[value] = meaning(value)
        except ValueError as error:
            reasons[value] = str(error)
    bad: dict[int, str] = {}
    if reasons:
        wrong = pl.Series(list(reasons), dtype=series.dtype)
        rows = _rows(series.is_in(wrong.implode()))
        bad = {row: reasons[value] for row, value in zip(rows, series.gather(rows), strict=True)}
    if not bad and series.dtype == dtype and all(value == found for value, found in meanings.items()):
        return series, {}
    return _mapped(series, meanings, dtype), bad


def _unhashable(series: pl.Series, meaning: Callable[[Any], Any], dtype: Any) -> Read:
    found: list[Any] = []
    bad: dict[int, str] = {}
    for row, value in enumerate(series.to_list()):
        try:
            found.append(meaning(value))
        except ValueError as error:
            found.append(None)
            bad[row] = str(error)
    return pl.Series(series.name, found, dtype=dtype), bad


def _mapped(series: pl.Series, meanings: Mapping[Any, Any], dtype: Any) -> pl.Series:
    if not meanings:
        return pl.Series(series.name, [None] * len(series), dtype=dtype)
    old = pl.Series(list(meanings), dtype=series.dtype)
    new = pl.Series(list(meanings.values()), dtype=dtype)
    return series.replace_strict(old, new, default=None, return_dtype=dtype)


def _rows(mask: pl.Series) -> list[int]:
    return mask.fill_null(False).arg_true().to_list()
