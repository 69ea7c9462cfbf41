"""Observations: what became of a series, told by its columns and the time instead of a prediction's id.

An observation stands in the feedback like a label. Its id is its key, the columns of the series and the time
as JSON, so that the last one told of a series and a period wins as the last label of an id does; `row` is all
that was told beside the target. It is a label of every forecast that was given for that series and time, and
one more row to learn from.

>>> from keepfit.types import Column, Rhythm
>>> columns = (Column("shop", "series"), Column("month", "moment", "date"), Column("sold", "past"))
>>> read = reader(Schema(columns, "forecast", "sold", rhythm=Rhythm("month", "1mo", 0.0, 2, ("shop",))))
>>> read({"shop": "north", "month": "1971-03-20", "sold": "7"})
Observation(key='{"shop":"north","month":"1971-03-01"}', value=7.0, row='{"shop":"north","month":"1971-03-01"}')
>>> reader(Schema(columns, "regression", "sold")) is None
True
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from keepfit.data import parse
from keepfit.data import rhythm as calendar
from keepfit.data.labels import Observation, Read, Unfit
from keepfit.types import Column, Rhythm, Schema

CONFIRMED = "confirmed"  # key of an entry whose teller insists on a value that was not believed
SURE = (True, "true", "True", "TRUE")  # a file may hold it as text


def reader(schema: Schema, redact: Sequence[str] = (), logged: bool = False) -> Read | None:
    """What reads the observations of a task; None for a task that has none.

    Columns of `redact` are kept in no file; where they tell series or times, nothing can be observed. What is
    `logged` was accepted before: no clock is asked again, so that a log says the same whenever it is read.
    """
    made = READERS.get(schema.task)
    return made(schema, redact, logged) if made else None


def _of_forecasts(schema: Schema, redact: Sequence[str], logged: bool) -> Read | None:
    if schema.rhythm is None or schema.target is None:
        return None
    names = frozenset({*schema.rhythm.series, schema.rhythm.time, schema.target})
    return Read(names, partial(_read, schema, schema.rhythm, redact, logged))


READERS: Mapping[str, Callable[[Schema, Sequence[str], bool], Read | None]] = {"forecast": _of_forecasts}


def _read(schema: Schema, rhythm: Rhythm, redact: Sequence[str], logged: bool, entry: Mapping[str, Any]) -> Observation:
    """What a row says of its series. Raises Unfit."""
    if hidden := {rhythm.time, *rhythm.series} & {*redact}:
        told = f"'{min(hidden)}' is kept out of the log (serving.log.redact), so nothing can be observed"
        raise Unfit(told, min(hidden))
    key: dict[str, Any] = {name: _level(schema[name], entry) for name in rhythm.series}
    sure = entry.get(CONFIRMED) in SURE and CONFIRMED not in {c.name for c in schema.columns}
    key[rhythm.time] = _time(schema[rhythm.time], rhythm, entry, sure or logged)
    value = _parsed(parse.past, entry, str(schema.target))
    if value is None:
        raise Unfit(f"'{schema.target}' is missing: an observation has a value", str(schema.target))
    others = [c.name for c in schema.inputs if c.name not in key and c.name != schema.target and c.name not in redact]
    row = {**key, **{name: entry[name] for name in others if entry.get(name) is not None}}
    if sure:
        row[CONFIRMED] = True
    try:
        return Observation(written(key), value, written(row))
    except (TypeError, ValueError):
        raise Unfit("a value of the row is none that JSON has") from None


def written(key: Mapping[str, Any]) -> str:
    """A key, or a row, as JSON."""
    return msgspec.json.encode(key).decode()


def _parsed(read: Callable[[Any], Any], entry: Mapping[str, Any], name: str) -> Any:
    """What `read` makes of a value of the row."""
    if name not in entry:
        raise Unfit(f"'{name}' is not there", name)
    try:
        return read(entry[name])
    except ValueError as error:
        raise Unfit(f"'{name}': {error}", name) from None


def _level(column: Column, entry: Mapping[str, Any]) -> str:
    found = _parsed(lambda value: parse.PARSE["series"](value, column), entry, column.name)
    if found is None:
        raise Unfit(f"'{column.name}' is missing: it tells the series", column.name)
    return str(found)


def _time(column: Column, rhythm: Rhythm, entry: Mapping[str, Any], sure: bool) -> str | float:
    """The time of the row's period, as answers show it.

    One that is still to come is a slip, after which a series would go on from there: it is taken from who is `sure`.
    """
    found = _parsed(lambda value: parse.PARSE["moment"](value, column), entry, column.name)
    if found is None:
        raise Unfit(f"'{column.name}' is missing: an observation needs its time", column.name)
    period = calendar.periods(rhythm, np.array([found], np.float64))
    if np.isnan(period[0]):
        raise Unfit(f"'{column.name}' {calendar.at_rest(rhythm)}", column.name)
    told = calendar.written(rhythm, period)[0]
    if not sure and to_come(rhythm, period, time.time())[0]:
        raise Unfit(
            f"'{column.name}' {told} is still to come, so nothing was observed then. Send the right time, or this "
            f'one with "{CONFIRMED}": true', column.name,
        )  # fmt: skip
    return told


def to_come(rhythm: Rhythm, periods: NDArray[np.float64], told: float | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether even the period before (n,) was to begin a day after it was `told`, in seconds since 1970.

    A day, as clocks differ; the period before, as some name a period's end.
    """
    if not calendar.dated(rhythm.frequency):
        return np.zeros(len(periods), np.bool_)
    return np.asarray(calendar.times(rhythm, periods - 1) > told + calendar.DAY)
