"""The column of a forecast's times: which it is, and how they are written.

That is data.time, else the one column of dates, else one that counts up within each series. Whole numbers of the
size of seconds since 1970, or such as 202401, are dates too.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Data, Forecast
from keepfit.data import parse, roles, zones
from keepfit.data.columns import Facts, look
from keepfit.data.series import numbered
from keepfit.errors import DataError
from keepfit.types import Column

OFFSET = rf"[T ]\d{{1,2}}:?\d{{2}}.*(Z$|[+-]\d{{2}}:?\d{{2}}$|{zones.END})"  # a clock with its distance to UTC, or zone
EPOCH = (631_152_000, 4_102_444_800)  # seconds from 1970 to 1990, and to 2100
MONTHS = (1900_01, 2100_12)  # years with their months


def column(frame: pl.DataFrame, data: Data, forecast: Forecast) -> tuple[str, str]:
    """The column of times, and why it is that. Raises DataError where there is none, or several."""
    if data.time is not None:
        return data.time, "the times"
    only = found(frame, data, forecast)
    if only is not None:
        return only
    raise DataError(
        "No column holds times: none has dates, and none counts up within each series. Name it with "
        f"'data: {{time: …}}', or the columns that tell the series apart with 'forecast: {{series: […]}}'. "
        f"Columns: {named(frame)}"
    )


def found(frame: pl.DataFrame, data: Data, forecast: Forecast) -> tuple[str, str] | None:
    """The one column that holds dates, else one that counts up, complete ones first. DataError for several."""
    some = _clocks(frame, data, forecast)
    whole = [name for name, (_, complete) in some.items() if complete]
    for names in ([n for n in whole if some[n][0]], whole, [n for n in some if some[n][0]]):
        if len(names) == 1:
            dates = some[names[0]][0]
            return names[0], "the one column of dates" if dates else "counts up within each series"
        if names:
            shown = ", ".join(f"'{name}'" for name in names)
            raise DataError(f"Several columns could hold the times: {shown}. Name one: 'data: {{time: {names[0]}}}'.")
    return None


def _clocks(frame: pl.DataFrame, data: Data, forecast: Forecast) -> dict[str, tuple[bool, bool]]:
    """Columns that may be the time: are they dates, and are they complete?"""
    taken = {data.target, data.group, data.known_at, *forecast.series, *forecast.past}
    found = {}
    numbers, _ = numbered(frame, tuple(forecast.series))
    for series in frame.iter_columns():
        declared = data.columns.get(series.name, "")
        if series.name in taken or declared.partition(":")[0] in ("ignore", "id", "category", "text"):
            continue
        facts = _looked(series, data)
        even = facts.kind == "date" or (facts.whole and facts.missing == 0 and _even(series, numbers))
        if facts.kind == "date" or (even and facts.kind in ("int", "float")):
            found[series.name] = (_dated(facts, data).kind == "date", facts.missing == 0)
    return found


def _looked(series: pl.Series, data: Data) -> Facts:
    form = data.columns.get(series.name, "").partition(":")[2]
    return look(series, data.missing, (form,) if form else None)


def _dated(facts: Facts, data: Data) -> Facts:
    """The facts of whole numbers as dates, where they are dates by their size: seconds since 1970, or 202401.

    >>> _dated(look(pl.Series("when", [202401, 202412, 202501]), ()), Data(source="x")).formats
    ('%Y%m',)
    """
    if facts.kind not in ("int", "float") or not facts.whole or facts.low is None or facts.high is None:
        return facts
    form = _epoch(facts) or (("%Y%m",) if facts.low >= MONTHS[0] and facts.high <= MONTHS[1] else ())
    found = look(facts.series, data.missing, form) if form else facts
    return found if found.kind == "date" else facts


def _epoch(facts: Facts) -> tuple[str, ...]:
    """The format of whole numbers that are of the size of seconds since 1970 (or parts of them) from 1990 to 2100.

    >>> [_epoch(look(pl.Series("when", [t, t + 3600]), ())) for t in (1704067200, 1704067200000, 1950)]
    [('epoch',), ('epoch_ms',), ()]
    """
    low, high = facts.low or 0.0, facts.high or 0.0
    sizes = ((form, low * scale, high * scale) for form, scale in parse.EPOCHS.items())
    return next(((form,) for form, low, high in sizes if low >= EPOCH[0] and high <= EPOCH[1]), ())


def _even(series: pl.Series, numbers: NDArray[np.int64]) -> bool:
    """Do whole numbers go up by the same from row to row of each series, but for gaps, in the order of either?"""
    values = series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    sort = np.lexsort((values, numbers))
    steps = np.diff(values[sort])[np.diff(numbers[sort]) == 0]
    step = np.median(steps) if len(steps) else 0.0
    return bool(step > 0 and (steps == step).mean() > 0.9 and ((steps > 0) & (steps % step == 0)).mean() > 0.99)


def moment(series: pl.Series, data: Data, why: str) -> Column:
    facts = _dated(_looked(series, data), data)
    if facts.kind not in ("date", "int", "float"):
        raise DataError(
            f"data.time: column '{series.name}' holds no times that keepfit can read, such as '{facts.example}'. "
            f"Name its format with data.columns: {{{series.name}: 'date:%d/%m/%Y'}} (strptime directives)."
        )
    column = roles.describe(facts, "moment", why, data.missing)
    if facts.kind == "date" and facts.ambiguous:
        column = dataclasses.replace(column, why=f"{why}; day and month could also be exchanged")
    return dataclasses.replace(column, formats=facts.formats)


def named(frame: pl.DataFrame) -> str:
    return ", ".join(frame.columns[:30]) + (", …" if frame.width > 30 else "")


def zoned(series: pl.Series) -> bool:
    """Are times written with their distance to UTC or their zone, or of a type that has a zone?"""
    if isinstance(series.dtype, pl.Datetime):
        return series.dtype.time_zone is not None
    return series.dtype == pl.String and bool(series.drop_nulls().head(1000).str.contains(OFFSET).any())
