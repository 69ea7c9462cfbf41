"""What places a row of a forecast: the number of its series, its period, and what was observed then, if it was.

The three roles `series`, `moment` and `past` make one block of three features, in that order. A series has the
number in which it came first in training; others are numbered on from there, in the order in which they come in
the rows that are asked about. Periods are whole numbers (see `data.rhythm`), which float32 holds up to 16 million.

>>> rhythm = Rhythm("day", "1d", 0.0, 2, ("shop",))
>>> shops = Coded(np.array([0, 1, 0], np.int32), ["north", "south"])
>>> values = {"shop": shops, "day": np.array([0.0, 0.0, 86400.0]), "sold": np.array([5.0, np.nan, 6.0])}
>>> state, matrix = fit(values, None, {"rhythm": rhythm}, 0)
>>> matrix.tolist()
[[0.0, 0.0, 5.0], [1.0, 0.0, nan], [0.0, 1.0, 6.0]]
>>> new = Coded(np.array([0, 1], np.int32), ["west", "south"])
>>> compiled(state)({"shop": new, "day": np.array([172800.0, 86400.0])}).tolist()
[[2.0, 2.0, nan], [1.0, 1.0, nan]]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.data import rhythm as calendar
from keepfit.errors import ModelError
from keepfit.features.values import Coded
from keepfit.types import Rhythm, plain, read

Floats = NDArray[np.float64]
State = dict[str, Any]
DEFAULTS: Mapping[str, Any] = {"rhythm": None}  # the schema's
STEADY = False  # time goes on, and a level that trends is no news
KNOWN = ["known", "new"]
Key = tuple[str | None, ...]


def fit(
    values: Mapping[str, Any], target: Any, options: Mapping[str, Any], seed: int
) -> tuple[State, NDArray[np.float32]]:
    """State and matrix (n, 3). Raises ModelError where the schema has no rhythm."""
    rhythm: Rhythm | None = options["rhythm"]
    if rhythm is None:
        raise ModelError("The schema has no rhythm, so its rows cannot be placed in time. Set task: forecast.")
    past = [name for name in values if name not in (rhythm.time, *rhythm.series)]
    keys, _ = _distinct(values, rhythm.series)
    known = dict.fromkeys(keys)
    state: State = {
        "rhythm": plain(rhythm),
        "past": past[0] if past else "",
        "series": [list(key) for key in known],  # (S, columns), in the order of their numbers
        "width": 3,
    }
    return state, compiled(state)(values)


def compiled(state: State) -> Callable[[Mapping[str, Any]], NDArray[np.float32]]:
    """The function from columns to the matrix. The past may be left out, the other columns may not."""
    rhythm: Rhythm = read(Rhythm, state["rhythm"])
    known = {tuple(key): number for number, key in enumerate(state["series"])}

    def transform(values: Mapping[str, Any]) -> NDArray[np.float32]:
        moments = values[rhythm.time]
        past = values.get(state["past"])
        matrix = np.empty((len(moments), 3), np.float32)
        matrix[:, 0] = _numbers(values, rhythm.series, known)
        matrix[:, 1] = calendar.periods(rhythm, moments)
        matrix[:, 2] = np.nan if past is None else past
        return matrix

    return transform


def _numbers(values: Mapping[str, Any], columns: tuple[str, ...], known: Mapping[Key, int]) -> Any:
    if not columns:
        return 0.0
    keys, place = _distinct(values, columns)
    numbers = np.empty(len(keys), np.float64)
    later = len(known)
    for at, key in enumerate(keys):
        number = known.get(key)
        if number is None:
            number, later = later, later + 1
        numbers[at] = number
    return numbers[place]


def _distinct(values: Mapping[str, Any], columns: tuple[str, ...]) -> tuple[list[Key], NDArray[np.intp]]:
    """The series that occur, in the order in which they come, and the place of each row's among them (n,)."""
    if not columns:
        return [()], np.zeros(0, np.intp)
    parts: list[Coded] = [values[name] for name in columns]
    together = np.zeros(len(parts[0]), np.int64)
    for part in parts:
        together = together * (len(part.levels) + 1) + part.codes + 1  # 0 is a missing name
    _, first, place = np.unique(together, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.intp)
    order = np.argsort(first)
    rank[order] = np.arange(len(first))
    rows = first[order].tolist()
    return [tuple(_level(part, row) for part in parts) for row in rows], rank[place.ravel()]


def _level(part: Coded, row: int) -> str | None:
    code = int(part.codes[row])
    return None if code < 0 else part.levels[code]


def names(state: State) -> list[str]:
    """The names of the three features."""
    told = state["rhythm"]
    return [f"number of {', '.join(told['series']) or 'the series'}", f"period of {told['time']}", state["past"]]


def watch(values: Any, memory: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Signals: whether a name of a series was there in training. Times and values go on, so they have none.

    Which of the known series is asked about is the caller's wish, and no drift.

    >>> _, memory = watch(Coded(np.array([0, 1], np.int32), ["north", "south"]))
    >>> signals, _ = watch(Coded(np.array([1, 0, -1], np.int32), ["west", "south"]), memory)
    >>> signals["name"].codes.tolist(), signals["name"].levels
    ([0, 1, -1], ['known', 'new'])
    """
    if not isinstance(values, Coded):
        return {}, {}
    memory = {"known": list(values.levels)} if memory is None else memory
    known = set(memory["known"])
    table = np.array([*(0 if level in known else 1 for level in values.levels), -1], np.int32)
    return {"name": Coded(table[values.codes], KNOWN)}, dict(memory)
