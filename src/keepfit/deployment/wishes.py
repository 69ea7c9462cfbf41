"""What a request may ask for besides rows, by task: a row of WISHES.

A forecast is asked for by a horizon. `{"horizon": 12}` stands for the next twelve periods of every series that the
model knows; `series` picks some of them, and `history` brings rows that were observed, of series that are known or
new. In plain rows those with a target are observations too. What was observed moves the model on before it answers,
for this request alone, and is not answered itself.

>>> told = Rhythm("month", "1mo", 0.0, 2, ("shop",))
>>> known = Known(told, "sold", {("north",): 11})
>>> [row["month"] for row in forecast(known, [{"horizon": 2}]).rows]
['1971-01-01', '1971-02-01']
>>> found = forecast(known, [{"horizon": 1, "history": [{"shop": "west", "month": "1971-03-01", "sold": 5}]}])
>>> found.rows, found.observed
([{'shop': 'west', 'month': '1971-03-01', 'sold': 5}, {'shop': 'west', 'month': '1971-04-01'}], (0,))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keepfit.data import parse
from keepfit.data import rhythm as calendar
from keepfit.data.parse import Problem
from keepfit.data.rows import Rows, Table, chained, joined
from keepfit.errors import RequestError
from keepfit.models.fitted import Output
from keepfit.models.series.memory import LAST, Memory
from keepfit.types import NOT_FEATURES, Column, Rhythm, Schema

HORIZON, SERIES, HISTORY = "horizon", "series", "history"
FARTHEST = 10  # horizons of the model that can be asked for
SHOWN = 5  # series that an error names
Key = tuple[str | None, ...]
Floats = NDArray[np.float64]


class Wished(NamedTuple):
    """All rows, and the places of those that were observed: they are no questions."""

    rows: Rows
    observed: tuple[int, ...] = ()


def reader(schema: Schema, models: Sequence[Any], learned: Sequence[Mapping[str, Any]]) -> Known | None:
    """What makes rows of a request's wishes; None for a task that has none.

    `models` are the opened model files and `learned` their features' states, as the runtime has them.
    """
    made = WISHES.get(schema.task)
    return made(schema, models, learned) if made else None


@dataclass(frozen=True)
class Known:
    """The series that a model knows, each with the period of its last observation. Called, it reads a request.

    `memory` has their histories, each at its place of `places`.
    """

    rhythm: Rhythm
    target: str
    ends: Mapping[Key, int]
    columns: Mapping[str, Column] = field(default_factory=dict)
    memory: Memory | None = None
    places: Mapping[Key, int] = field(default_factory=dict)

    def __call__(self, asked: Rows) -> Wished:
        """The rows that a request stands for. Raises RequestError."""
        return forecast(self, asked)

    def past(self, key: Key, most: int) -> dict[int, float]:
        """Period → what was observed of a series, of its last `most` periods; gaps are left out."""
        if self.memory is None or key not in self.places:
            return {}
        values, end = self.memory.history[self.places[key]][-most:], self.ends[key]
        return {end + 1 - len(values) + k: value for k, value in enumerate(values.tolist()) if value == value}

    def recorded(self, row: Mapping[str, Any]) -> float | None:
        """What is known of a row's series and period; None for nothing. Raises RequestError."""
        key, period = self.key(row), self.period(row, 0)
        if self.memory is None or key not in self.places:
            return None
        values, back = self.memory.history[self.places[key]], self.ends[key] - period
        value = float(values[-1 - back]) if 0 <= back < len(values) else math.nan
        return None if math.isnan(value) else value

    @cached_property
    def ahead(self) -> Sequence[str]:
        """The columns that have to be known ahead; without any, a horizon says all."""
        placed = {*self.rhythm.series, self.rhythm.time, self.target, *self.rhythm.past}
        needed = (c.name for c in self.columns.values() if c.role not in NOT_FEATURES and c.hook is None)
        return [name for name in needed if name not in placed]

    def gap(self, value: Any) -> bool:
        """Is a value of the target none: null, or a missing value as CSV and others write it?"""
        if value is None or value != value:
            return True
        tokens = self.columns[self.target].tokens if self.target in self.columns else ()
        return isinstance(value, str) and (not value.strip() or value.strip() in tokens)

    def key(self, row: Mapping[str, Any]) -> Key:
        """The series of a row, as the features read it."""
        return tuple(self._level(name, row.get(name)) for name in self.rhythm.series)

    def _level(self, name: str, value: Any) -> str | None:
        column = self.columns.get(name, Column(name, "series"))
        found = parse.PARSE["series"](value, column)
        return None if found is None else str(found)

    def period(self, row: Mapping[str, Any], place: int) -> int:
        """The period of an observed row. Raises RequestError."""
        name = self.rhythm.time
        column = self.columns.get(
            name, Column(name, "moment", "date" if calendar.dated(self.rhythm.frequency) else "int")
        )
        try:
            found = parse.PARSE["moment"](row[name], column)
        except KeyError:
            raise _wrong("is not there", name, place) from None
        except ValueError as error:
            raise _wrong(str(error), name, place) from None
        if found is None:
            raise _wrong("is missing: an observation needs its time", name, place)
        at = float(calendar.periods(self.rhythm, np.array([found], np.float64))[0])
        if math.isnan(at):
            raise _wrong(calendar.at_rest(self.rhythm), name, place)
        if not abs(at) < LAST:
            raise _wrong("is too far from the times that are known", name, place)
        return int(at)


def _forecasts(schema: Schema, models: Sequence[Any], learned: Sequence[Mapping[str, Any]]) -> Known | None:
    if schema.rhythm is None or schema.target is None:
        return None
    block = next(block["state"] for block in learned[0]["blocks"] if "series" in block["state"])
    keys = [tuple(key) for key in block["series"]] or [()]
    memory: Memory = models[0].known
    named = enumerate(memory.numbers.tolist())  # a series that came after the training has a number and no name
    places = {keys[number]: place for place, number in named if number < len(keys)}
    ends = {key: int(memory.ends[place]) for key, place in places.items()}
    columns = {column.name: column for column in schema.columns}
    return Known(schema.rhythm, schema.target, ends, columns, memory, places)


# task → the function that makes its reader
WISHES: Mapping[str, Callable[[Schema, Sequence[Any], Sequence[Mapping[str, Any]]], Known | None]] = {
    "forecast": _forecasts
}


def forecast(known: Known, asked: Rows) -> Wished:
    """The rows that a request for forecasts stands for. Raises RequestError (422) for a wish that makes no sense."""
    rows, told = asked, frozenset[int]()
    if type(asked) is not Table and any(isinstance(row, Mapping) and _wishes(row, known) for row in asked):
        parts = [_expanded(known, row, place) for place, row in enumerate(asked)]
        starts = accumulate((len(part.rows) for part in parts), initial=0)
        rows = joined([part.rows for part in parts])
        told = frozenset(start + at for start, part in zip(starts, parts, strict=False) for at in part.observed)
    if len(asked) and not len(rows):
        raise _wrong("names no series", SERIES, 0)
    observed = _observed(rows, known)
    if told:
        observed = tuple(sorted(told.union(observed)))
    if len(observed) == len(rows) and len(rows):
        raise RequestError(
            422, "nothing_to_forecast",
            f"Every row has a value of '{known.target}', so there is nothing to forecast. Send the rows to forecast "
            f'without it, or {{"horizon": {known.rhythm.horizon}, "history": [these rows]}}.',
        )  # fmt: skip
    return Wished(rows, observed)


def _wishes(row: Mapping[str, Any], known: Known) -> bool:
    asked = HORIZON in row or HISTORY in row or (SERIES in row and SERIES not in known.columns)
    return asked and not {HORIZON, HISTORY} & known.columns.keys()


def _observed(rows: Rows, known: Known) -> tuple[int, ...]:
    """Places of the rows that have a value of the target, whether it can be read or not."""
    target = known.target
    if type(rows) is Table:
        values: Sequence[Any] = rows.columns.get(target, ())
    else:
        values = [row.get(target) if isinstance(row, Mapping) else None for row in rows]
    return tuple(place for place, value in enumerate(values) if not known.gap(value))


def _expanded(known: Known, row: Any, place: int) -> Wished:
    """The rows of one object of a request: what it brings as history, then what is to be forecast."""
    if not isinstance(row, Mapping) or not _wishes(row, known):
        return Wished((row,))
    unknown = [name for name in row if name not in (HORIZON, SERIES, HISTORY)]
    if unknown:
        raise _wrong(f"has no place beside '{HORIZON}'; {SERIES} and {HISTORY} have", unknown[0], place)
    if known.ahead:
        raise _unknown_ahead(known.ahead, place)
    horizon, history = _horizon(row.get(HORIZON), known, place), row.get(HISTORY, [])
    if (
        not isinstance(history, Sequence)
        or isinstance(history, str)
        or not all(isinstance(h, Mapping) for h in history)
    ):
        raise _wrong("is no list of rows", HISTORY, place)
    wanted = _ahead(known.rhythm, _picked(known, row, _ends(known, history), place), horizon)
    return Wished(joined([history, wanted]), tuple(range(len(history)))) if history else Wished(wanted)


def _ends(known: Known, history: Sequence[Mapping[str, Any]]) -> dict[Key, int]:
    """The last period of each series of a history. Raises RequestError for a row without its column of values, and
    for a value that contradicts an earlier one; a value that is null is a gap."""
    ends: dict[Key, int] = {}
    seen: dict[tuple[Key, int], Any] = {}
    for at, one in enumerate(history):
        key, period = _whose(known, one, at), known.period(one, at)
        if known.target not in one:
            raise _wrong("is not there; send null for a gap", known.target, at)
        before = seen.setdefault((key, period), one[known.target])
        if before != one[known.target]:
            told = f"{parse.shown(one[known.target])} contradicts {parse.shown(before)} of the same period"
            raise _wrong(told, known.target, at)
        ends[key] = max(period, ends.get(key, known.ends.get(key, period)))
    return ends


def _ahead(rhythm: Rhythm, ends: Mapping[Key, int], horizon: int) -> Table:
    """Rows of the next `horizon` periods of each series, in columns: these are thousands at once.

    >>> [*_ahead(Rhythm("t", "1i", 0.0, 2, ("shop",)), {("a",): 4, ("b",): 7}, 1)]
    [{'shop': 'a', 't': 5}, {'shop': 'b', 't': 8}]
    """
    moments = {end: calendar.written(rhythm, np.arange(end + 1, end + 1 + horizon)) for end in {*ends.values()}}
    columns = {name: chained([[key[k]] * horizon for key in ends]) for k, name in enumerate(rhythm.series)}
    return Table({**columns, rhythm.time: chained([moments[end] for end in ends.values()])})


def _whose(known: Known, row: Mapping[str, Any], place: int) -> Key:
    """The series of an observed row. Raises RequestError."""
    try:
        key = known.key(row)
    except (ValueError, TypeError) as error:
        raise _wrong(str(error), known.rhythm.series[0], place) from None
    if None in key:
        name = known.rhythm.series[key.index(None)]
        raise _wrong("is missing: an observation needs its series" if name in row else "is not there", name, place)
    return key


def _horizon(value: Any, known: Known, place: int) -> int:
    if value is None:
        return known.rhythm.horizon
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not float(value).is_integer() or value < 1:
        raise _wrong(f"is no number of periods, 1 or more, but {parse.shown(value)}", HORIZON, place)
    most = FARTHEST * known.rhythm.horizon
    if value > most:
        raise _wrong(f"is more than {most:,} periods, {FARTHEST} times the horizon of the model", HORIZON, place)
    return int(value)


def _picked(known: Known, row: Mapping[str, Any], ends: Mapping[Key, int], place: int) -> Mapping[Key, int]:
    """The series to forecast, with the periods after which that begins."""
    asked = row.get(SERIES)
    if asked is None:
        return ends or known.ends
    listed = asked if isinstance(asked, list) else [asked]
    keys = [_named(known, one, place) for one in listed]
    found = {key: ends.get(key, known.ends.get(key)) for key in keys}
    if lacking := [key for key, end in found.items() if end is None]:
        shown = ", ".join(repr(" / ".join(map(str, key))) for key in lacking[:SHOWN])
        shown += f" and {len(lacking) - SHOWN:,} more" if len(lacking) > SHOWN else ""
        raise _wrong(f"not known: {shown}. Send what was observed of it as '{HISTORY}'", SERIES, place)
    return {key: end for key, end in found.items() if end is not None}


def _named(known: Known, value: Any, place: int) -> Key:
    """A series as a request names it: an object of its columns, or the name alone where there is one column."""
    names = known.rhythm.series
    given = value if isinstance(value, Mapping) else {names[0]: value} if len(names) == 1 else None
    if given is None or set(given) != set(names):
        what = f"an object with {', '.join(names)}" if names else "left out: the model knows one series only"
        raise _wrong(f"is to be {what}", SERIES, place)
    try:
        key = known.key(given)
    except (ValueError, TypeError) as error:
        raise _wrong(str(error), SERIES, place) from None
    if None in key:
        raise _wrong("is to have a name: null and empty text are none", SERIES, place)
    return key


def unanswered(rhythm: Rhythm, moments: Floats, output: Output, problems: Sequence[Problem] = ()) -> list[Problem]:
    """Why rows have no forecast, each with the column that is about; of rows with `problems` that is told already.

    So are those whose time (n,) is in no period: whatever was observed then changes nothing.
    """
    if output.ahead is None:
        return []
    found, scale, step = [], output.ahead.scale, output.ahead.step
    told_already = {problem.row for problem in problems}
    rest = calendar.outside(rhythm, moments)
    for row in np.flatnonzero(np.isnan(output.values) | rest).tolist():
        if row in told_already:
            continue
        if rest[row]:
            column, told = rhythm.time, calendar.at_rest(rhythm)
        elif np.isnan(step[row]) and np.isnan(scale[row]):
            column, told = ", ".join(rhythm.series) or rhythm.time, "a series that is not known; send what was observed"
        elif np.isnan(step[row]):
            column, told = rhythm.time, "no time, and so nothing to forecast"
        elif step[row] > FARTHEST * rhythm.horizon:
            far = f"{step[row]:,.0f} periods after the last observation"
            column, told = rhythm.time, f"{far}; {FARTHEST * rhythm.horizon:,} are forecast at most"
        else:
            column, told = rhythm.time, "before the last observation, at a time of which nothing is known"
        found.append(Problem(row, column, told))
    return found


def _unknown_ahead(names: Sequence[str], place: int) -> RequestError:
    """A horizon says nothing of columns that have to be known ahead."""
    problem = "{} looked at by the model; send rows with their time and {} instead of '" + HORIZON + "'"
    one, many = problem.format("is", "it"), problem.format("are", "them")
    *first, last = [f"'{name}'" for name in names]
    told = f"{', '.join(first)} and {last} {many}." if first else f"{last} {one}."
    return RequestError(422, "bad_values", told, [{"row": place, "column": name, "problem": one} for name in names])


def _wrong(problem: str, column: str, place: int) -> RequestError:
    told = f"'{column}' {problem}." if problem.startswith(("is ", "has ")) else f"'{column}': {problem}."
    return RequestError(422, "bad_values", told, [{"row": place, "column": column, "problem": problem}])
