"""Tables of a forecast brought into one shape: a row for each series and time.

    columns   the first column holds the times, each other one is a series
    rows      each row is a series: its name, then its values until it ends; the headers are times, or count (V2 …)
    order     one row for each series and time, but no times: the order of the rows is that of time

`forecast.wide: auto` takes a table for one of the first two only where it can be nothing else: `data.target` is none
of its columns, all values are numbers, and the times are dates or count. What was made of it is told as a Check.

>>> from keepfit.config import Data, Forecast
>>> days = pl.DataFrame({"day": ["2024-01-01", "2024-01-02"] * 3, "north": range(6), "south": [*range(5), None]})
>>> found = shaped(days, Data(source="x", target="sold"), Forecast())
>>> found.frame.columns, found.frame.height, found.forecast.series, found.said[0].detail
(['day', 'series', 'sold'], 11, ['series'], "read as a wide table: 2 columns after 'day' are series of 'sold'")
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Data, Forecast
from keepfit.data import clock, dates, parse, series
from keepfit.data import rhythm as calendar
from keepfit.data.columns import look
from keepfit.errors import ConfigError, DataError
from keepfit.types import Check, Rhythm, Schema

FEWEST = 6  # columns of values from which rows can be series
COUNTED = re.compile(r"(\D*?)(\d+)")
NAMELESS = re.compile(r"|[Vv]\d+|Unnamed: ?\d+|column_\d+|index", re.IGNORECASE)


class Shaped(NamedTuple):
    """The table in its new shape, the sections with the names that it has now, and what was made of it."""

    frame: pl.DataFrame
    data: Data
    forecast: Forecast
    said: tuple[Check, ...] = ()


class Ends(NamedTuple):
    """Where the series of the training rows end: name → period. A test without times goes on from there."""

    rhythm: Rhythm
    periods: Mapping[str, float]


def ends(typed: pl.DataFrame, schema: Schema) -> Ends:
    """Of conformed training rows, all placed."""
    grid = series.grid(typed, schema)
    last = series.spans(grid).ends.tolist()
    return Ends(series.rhythm_of(schema), dict(zip(grid.names, last, strict=True)))


def shaped(frame: pl.DataFrame, data: Data, asked: Forecast, after: Ends | None = None) -> Shaped:
    """`frame` with a row for each series and time. Raises ConfigError where forecast.wide does not fit the table."""
    there = data.target in frame.columns
    if asked.wide is True and there:
        raise ConfigError(
            f"forecast.wide: the table has a column '{data.target}', the target, so it is not wide. In a wide table "
            "data.target is a new name for its values."
        )
    if asked.wide is False or there or data.target is None:
        return _numbered(frame, data, asked, after) if there else Shaped(frame, data, asked)
    for layout in (_columns, _rows):
        found = layout(frame, data, asked, after)
        if found is not None:
            return found
    if asked.wide is True:
        raise ConfigError(
            "forecast.wide: this is no wide table: neither does its first column hold times and all others numbers, "
            f"nor do its rows begin with a name and go on with numbers. Columns: {', '.join(frame.columns[:10])}"
        )
    return Shaped(frame, data, asked)


def _numeric(column: pl.Series, data: Data) -> bool:
    """Are all values numbers or missing, and some there?"""
    if column.dtype.is_numeric():
        return column.null_count() < len(column)
    if column.dtype != pl.String:
        return False
    known = column.drop_nulls()
    numbers = known.str.strip_chars().cast(pl.Float64, strict=False)
    odd = known.filter(numbers.is_null())
    return numbers.null_count() < len(numbers) and bool(odd.str.strip_chars().is_in([*data.missing, ""]).all())


def _known(column: pl.Series, data: Data) -> pl.Series:
    """Where a cell is not missing."""
    if column.dtype == pl.String:
        return column.is_not_null() & ~column.str.strip_chars().is_in([*data.missing, ""]).fill_null(True)
    return column.is_not_null() & (column.is_not_nan() if column.dtype.is_float() else True)


def _name(data: Data, asked: Forecast, taken: list[str]) -> str:
    """What the column of the series' names is called."""
    if len(asked.series) > 1:
        raise ConfigError("forecast.series: a wide table has one name for each series, so one column: name one.")
    name = asked.series[0] if asked.series else "series"
    return name if name not in (*taken, data.target) else f"{name} name"


# --- a column for each series


def _columns(frame: pl.DataFrame, data: Data, asked: Forecast, after: Ends | None) -> Shaped | None:
    time = data.time if data.time in frame.columns else frame.columns[0]
    others = [name for name in frame.columns if name != time]
    form = data.columns.get(time, "").partition(":")[2]
    facts = look(frame[time], data.missing, (form,) if form else None)
    if facts.kind != "date" and not (facts.whole and facts.counts_up):
        return None
    if len(others) < 2 - (asked.wide is True) or not all(_numeric(frame[name], data) for name in others):
        return None
    name = _name(data, asked, [time])
    numbers = pl.Float64 if all(frame[other].dtype.is_numeric() for other in others) else pl.String
    long = frame.with_columns(pl.col(others).cast(numbers)).unpivot(
        others, index=time, variable_name=name, value_name=str(data.target)
    )
    detail = f"read as a wide table: {len(others):,} columns after '{time}' are series of '{data.target}'"
    return _made(long.filter(_known(long[str(data.target)], data)), data, asked, time, [name], detail)


def _made(
    frame: pl.DataFrame, data: Data, asked: Forecast, time: str, names: list[str], detail: str
) -> Shaped:  # fmt: skip
    check = Check("data.shape", "passed", frame.height, 1, detail)
    sections = data.model_copy(update={"time": time}), asked.model_copy(update={"series": names})
    return Shaped(frame, *sections, (check,))


# --- a row for each series


def _rows(frame: pl.DataFrame, data: Data, asked: Forecast, after: Ends | None) -> Shaped | None:
    width = _leading(frame, data)
    ids, values = frame.columns[:width], frame.columns[width:]
    counted = _counts(values)
    enough = len(values) >= (1 if asked.wide is True else FEWEST)
    if not ids or not enough or not (counted or _dated(values) or asked.wide is True):
        return None
    keys = [name for name in asked.series if name in ids] or ids[:1]
    if frame.select(keys).is_duplicated().any():
        if asked.wide is not True:
            return None
        raise DataError(
            f"forecast.wide: several rows have the same {', '.join(keys)}, so they are not one series each."
        )
    time = data.time or next(name for name in ("time", "period", "time of the row") if name not in ids)
    at, place, cells = _cells(frame.select(values), data)
    own = {keys[0]: _called(keys[0], asked)} if len(keys) == 1 else {}
    heads = frame.select(ids).rename(own)
    names = [own.get(key, key) for key in keys]
    dated = _dated(values)
    steps = pl.Series(values)[place] if dated else _steps(heads.select(names), at, place, after)
    long = heads[at].with_columns(steps.alias(time), cells.alias(str(data.target)))
    counting = "their times count from 1" if after is None else "their times go on from the end of the training rows"
    detail = f"read as a wide table: {frame.height:,} rows are series of '{data.target}', named by '{keys[0]}'; " + (
        f"columns {values[0]} to {values[-1]} are their times" if dated else counting
    )
    return _made(long, data, asked, time, names, detail)


def _leading(frame: pl.DataFrame, data: Data) -> int:
    """How many columns stand before the values: all up to the last that has a value that is no number; at least one,
    where it is text."""
    odd = [place for place, column in enumerate(frame.iter_columns()) if not _is_value(column, data)]
    return odd[-1] + 1 if odd else 0


def _is_value(column: pl.Series, data: Data) -> bool:
    return _numeric(column, data) or not _known(column, data).any()  # of columns that no series reaches


def _counts(names: list[str]) -> bool:
    """Do headers count: V2, V3, …?"""
    found = [COUNTED.fullmatch(name) for name in names]
    if not all(found) or len({one[1] for one in found if one}) != 1:
        return False
    numbers = [int(one[2]) for one in found if one]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers))) and not _dated(names)


def _dated(names: list[str]) -> bool:
    """Are headers dates?"""
    return all(re.search(r"\d\D\d|\d{8}", name) for name in names) and dates.formats(pl.Series(names)).share == 1.0


def _called(name: str, asked: Forecast) -> str:
    """The name of the column of names: as it is, unless it says nothing or forecast.series says another."""
    if asked.series:
        return asked.series[0]
    return "series" if NAMELESS.fullmatch(name) else name


def _cells(values: pl.DataFrame, data: Data) -> tuple[NDArray[np.intp], NDArray[np.intp], pl.Series]:
    """Row, column and value of each cell that is not missing, row by row."""
    there = np.column_stack([_known(column, data).to_numpy() for column in values.iter_columns()])
    at, place = np.nonzero(there)
    numbers = pl.Float64 if all(dtype.is_numeric() for dtype in values.dtypes) else pl.String
    flat = pl.concat([column.cast(numbers).alias("") for column in values.iter_columns()])
    return at, place, flat[place * values.height + at]


def _steps(heads: pl.DataFrame, at: NDArray[np.intp], place: NDArray[np.intp], after: Ends | None) -> pl.Series:
    """The times of cells that are counted: from 1, or on from the end of the training rows."""
    if after is None:
        return pl.Series(place + 1)
    return _on([_key(row) for row in heads.iter_rows()], at, place + 1, after)


def _key(row: tuple[object, ...]) -> str:
    return ", ".join(parse.level(value) or "" for value in row)


def _on(names: list[str], at: NDArray[np.intp], steps: NDArray[np.intp], after: Ends) -> pl.Series:
    """The times `steps` periods after the ends of the series `names[at]`; a series that is new begins at period 0."""
    last = np.array([after.periods.get(name, -1.0) for name in names])
    return pl.Series(calendar.written(after.rhythm, last[at] + steps))


# --- rows without times


def _numbered(frame: pl.DataFrame, data: Data, asked: Forecast, after: Ends | None) -> Shaped:
    """The frame with a column that counts the rows of each series, if nothing else tells the time."""
    if data.time in frame.columns or (data.time is None and clock.found(frame, data, asked)):
        return Shaped(frame, data, asked)
    if (data.time is not None and after is None) or any(name not in frame.columns for name in asked.series):
        return Shaped(frame, data, asked)  # told by the schema
    numbers, names = series.numbered(frame, tuple(asked.series))
    counts = np.bincount(numbers[numbers >= 0], minlength=len(names))
    if after is None and len(set(counts.tolist())) > 1:
        raise DataError(
            f"No column holds times, and the series have {counts.min():,} to {counts.max():,} rows, so their order "
            "does not tell which belong together. Name the column of times with 'data: {time: …}'."
        )
    time = data.time or next(name for name in ("row", "period", "time of the row") if name not in frame.columns)
    order = np.argsort(numbers, kind="stable")
    steps = np.empty(len(numbers), np.int64)
    starts = np.concatenate(([0], np.cumsum(np.bincount(numbers - numbers.min()))))
    steps[order] = np.arange(len(numbers)) - starts[numbers[order] - numbers.min()] + 1
    times = pl.Series(steps) if after is None else _on(names, numbers, steps, after)
    detail = f"no column holds times: the order of the rows is taken for that of time, as '{time}'"
    made = _made(frame.with_columns(times.alias(time)), data, asked, time, list(asked.series), detail)
    unread = _unread(frame, numbers, data)
    return made._replace(said=(_told(made.said[0], unread),)) if unread else made


def _unread(frame: pl.DataFrame, numbers: NDArray[np.int64], data: Data) -> list[str]:
    """Columns of texts that have digits in them, and another one in nearly each row of a series: times, perhaps."""
    within = frame.with_columns(pl.Series("number of the series", numbers))
    return [
        column.name
        for column in frame.iter_columns()
        if column.dtype == pl.String and column.name != data.target and column.name not in data.columns
        and not _numeric(column, data) and column.str.contains(r"\d").mean() == 1.0
        and within.select("number of the series", column.name).is_duplicated().sum() < 0.05 * frame.height
    ]  # fmt: skip


def _told(check: Check, unread: list[str]) -> Check:
    """The check as a warning that names columns which may hold times."""
    names = ", ".join(f"'{name}'" for name in unread)
    told = (
        f"{check.detail}. If {names} holds times, they are written in no way that keepfit knows: name it with "
        f"data.columns: {{{unread[0]}: 'date:%d/%m/%Y'}} (strptime directives)"
    )
    return replace(check, outcome="failed", value=len(unread), limit=0, detail=told, severity="warning")


# task → how a table is brought into shape; other tasks take it as it is
SHAPES: Mapping[str, Callable[[pl.DataFrame, Data, Forecast, Ends | None], Shaped]] = {"forecast": shaped}
