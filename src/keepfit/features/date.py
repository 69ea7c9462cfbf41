"""Dates as numbers: year, month, day of week, day of year, hour, days since the first training date.

Parts that do not vary in the training rows are left out. The parts then take the options of
`features.number`. Everything is computed in float64 from seconds since 1970 UTC, before the cast:
float32 holds an epoch second to about two minutes only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.features import number
from keepfit.features.values import Coded

Floats = NDArray[np.float64]
State = dict[str, Any]
DEFAULTS = number.DEFAULTS
DAY = 86400.0
FARTHEST = 3e11  # seconds: about 9,500 years either way, where calendars end
STEADY = False  # dates go on: that they are later than those of training is no news
WEEK = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
PARTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "year": lambda days, months, seconds: months // 12 + 1970,
    "month": lambda days, months, seconds: months % 12 + 1,
    "day of week": lambda days, months, seconds: (days + 3) % 7,  # 1970-01-01 was a Thursday; Monday = 0
    "day of year": lambda days, months, seconds: days - _days(months - months % 12) + 1,
    "hour": lambda days, months, seconds: (seconds - days * DAY) / 3600.0,
    "days": lambda days, months, seconds: seconds / DAY,
}


def _days(months: Any) -> Any:
    return months.astype("M8[M]").astype("M8[D]").astype(np.int64)


def fit(
    values: Mapping[str, Floats], target: Any, options: Mapping[str, Any], seed: int
) -> tuple[State, NDArray[np.float32]]:
    """State and matrix of date columns; each (n,) float64 seconds since 1970 UTC, NaN = missing."""
    kept, start = [], []
    for seconds in values.values():
        first = np.nanmin(seconds) / DAY if np.isfinite(seconds).any() else 0.0
        start.append(float(np.clip(first, -FARTHEST, FARTHEST)))
        kept.append([p for p, part in zip(PARTS, parts(seconds, list(PARTS), start[-1]), strict=True) if _varies(part)])
    state: State = {"columns": list(values), "parts": kept, "start": start}
    names = [f"{column}: {part}" for column, of in zip(values, kept, strict=True) for part in of]
    stack = _stack(state, values)
    state["numbers"] = number.learn(names, list(stack), options)
    state["width"] = state["numbers"]["width"]
    return state, number.compiled_stack(state["numbers"])(stack)


def _varies(part: Floats) -> bool:
    known = part[~np.isnan(part)]
    return len(known) > 0 and bool((known != known[0]).any())


def parts(seconds: Floats, wanted: list[str], start: float) -> list[Floats]:
    """The `wanted` parts of dates, each (n,) float64; `start` is day 0 of the part "days".

    >>> [float(p[0]) for p in parts(np.array([1413158400.0]), ["year", "month", "day of week", "day of year"], 0.0)]
    [2014.0, 10.0, 0.0, 286.0]
    """
    gone = np.isnan(seconds)
    known = np.clip(np.where(gone, 0.0, seconds), -FARTHEST, FARTHEST)
    days = np.floor(known / DAY).astype(np.int64)
    months = days.astype("M8[D]").astype("M8[M]").astype(np.int64)
    found = []
    for name in wanted:
        part = np.asarray(PARTS[name](days, months, known), np.float64)
        found.append(np.where(gone, np.nan, part - start if name == "days" else part))
    return found


def _stack(state: State, values: Mapping[str, Floats]) -> Floats:
    stacked = [
        part
        for column, wanted, start in zip(state["columns"], state["parts"], state["start"], strict=True)
        for part in parts(values[column], wanted, start)
    ]
    rows = len(values[state["columns"][0]])
    return np.concatenate(stacked).reshape(len(stacked), rows) if stacked else np.empty((0, rows))


def compiled(state: State) -> Callable[[Mapping[str, Floats]], NDArray[np.float32]]:
    """The function from columns to the matrix."""
    transform = number.compiled_stack(state["numbers"])
    return lambda values: transform(_stack(state, values))


def names(state: State) -> list[str]:
    """Names of the features, such as `sold: month`."""
    return number.names(state["numbers"])


def watch(values: Floats, memory: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Signals: the date itself, its day of the week, and the hour where training had more than one.

    >>> signals, memory = watch(np.array([1413158400.0, np.nan]))
    >>> list(signals), signals["day of week"].codes.tolist(), memory
    (['', 'day of week'], [0, -1], {'hour': False})
    """
    day, hour = parts(values, ["day of week", "hour"], 0.0)
    memory = {"hour": _varies(hour)} if memory is None else dict(memory)
    week = Coded(np.where(np.isnan(day), -1, day).astype(np.int32), WEEK)
    return {"": values, "day of week": week, **({"hour": hour} if memory.get("hour") else {})}, memory
