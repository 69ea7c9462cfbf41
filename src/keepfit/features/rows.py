"""Columns from rows that are mappings, such as the objects of a request. Needs no polars.

Each value means what `data.parse` says it means, as in `features.frame`. A value that makes no
sense is told as a Problem and counts as missing, so that one answer can name all problems.

>>> from keepfit.types import Column, Schema
>>> schema = Schema((Column("age", "number"), Column("plan", "category")), "regression")
>>> columns, problems = from_rows([{"age": "41", "plan": "pro"}, {"age": "old", "plan": None}], schema)
>>> columns.values["age"].tolist(), columns.values["plan"].codes.tolist()
([41.0, nan], [0, -1])
>>> problems
[Problem(row=1, column='age', problem="not a number: 'old'")]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keepfit.data.parse import PARSE, Problem
from keepfit.features.values import Coded, Columns, Documents
from keepfit.types import Column, Schema

FIRST = np.zeros(1, np.int32)  # the codes of one row, made once
NOTHING = np.full(1, -1, np.int32)
FIRST.flags.writeable = NOTHING.flags.writeable = False
PLAIN = frozenset((float, int, type(None)))  # exactly these: a bool or a Decimal goes through `data.parse`
TEXT = frozenset((str,))
REMEMBERED = 10_000  # texts whose meaning is kept, for each column
LONGEST = 200  # characters of a text that is kept
ODD = (KeyError, ValueError, TypeError, IndexError)  # what a row or a value of another shape brings
Quick = Callable[[list[Any]], Any]


def from_rows(rows: Sequence[Mapping[str, Any]], schema: Schema) -> tuple[Columns, list[Problem]]:
    """The values of `schema.inputs` in `rows`, and all problems found. Other keys are left alone."""
    return reader(schema)(rows)


def reader(schema: Schema) -> Callable[[Sequence[Mapping[str, Any]]], tuple[Columns, list[Problem]]]:
    """`from_rows` for one schema, for many calls.

    A column whose values are of the usual kinds is read at once; any other goes value by value
    through `data.parse`, to the same result, and tells its problems.
    """
    plan = [(column.name, column, QUICK[column.role](column)) for column in schema.inputs]

    def read(rows: Sequence[Mapping[str, Any]]) -> tuple[Columns, list[Problem]]:
        problems: list[Problem] = []
        values = {}
        for name, column, quick in plan:
            try:
                found = quick([row[name] for row in rows])
            except (*ODD, OverflowError):  # an integer of more than 308 digits
                found = None
            values[name] = _each(rows, column, problems) if found is None else found
        if problems:
            problems = sorted(dict.fromkeys(problems), key=lambda p: (p.row, p.column))
        return Columns(values, len(rows)), problems

    return read


def _each(rows: Sequence[Any], column: Column, problems: list[Problem]) -> Any:
    """A column's values one by one; adds what cannot be read to `problems`."""
    found: list[Any] = []
    parse, name = PARSE[column.role], column.name
    for row in rows:
        try:
            found.append(parse(row[name], column))
        except ODD as error:
            found.append(None)
            problems.append(_problem(len(found) - 1, name, row, error))
    return ARRAYS[column.role](found)


def _problem(place: int, name: str, row: Any, error: Exception) -> Problem:
    if not isinstance(row, Mapping):
        return Problem(place, "", f"not an object with the columns as keys, but {type(row).__name__}")
    if name not in row:
        return Problem(place, name, "is not there; send null if the value is unknown")
    return Problem(place, name, str(error))


def numbers(found: Sequence[Any]) -> Any:
    """Numbers and None as (n,) float64; None is NaN."""
    return np.array(found, np.float64)


def coded(found: Sequence[Any]) -> Coded:
    """Levels and None as codes; levels in the order they come.

    >>> coded(["b", None, "a", "b"]).codes.tolist()
    [0, -1, 1, 0]
    """
    if len(found) == 1:
        return Coded(NOTHING, []) if found[0] is None else Coded(FIRST, [found[0]])
    index: dict[str, int] = {}
    codes = [-1 if level is None else index.setdefault(level, len(index)) for level in found]
    return Coded(np.array(codes, np.int32), list(index))


# role → parsed values as arrays
ARRAYS: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "number": numbers,
    "date": numbers,
    "category": coded,
    "text": Documents,
}


# --- whole columns at once ------------------------------------------------------------------------
# Each is a function of a column that gives a function from its raw values to the array, or to None
# (or one of ODD) where a value is of another kind.


def _quick_numbers(column: Column) -> Quick:
    written = not any(_finite(token) for token in column.tokens)  # else a number may mean "missing"

    def quick(raw: list[Any]) -> Any:
        kinds = set(map(type, raw))
        if not kinds <= PLAIN:
            text = "".join(raw) if written and kinds == TEXT else "_"
            if "_" in text or not text.isascii():  # float() would take 1_000 and the digits of other scripts
                return None
            raw = [*map(float, raw)]
            found = np.array(raw, np.float64)
            return found if np.isfinite(found).all() else None
        found = numbers(raw)
        if len(raw) == 1:  # the cheapest test of one value
            return None if raw[0] is not None and raw[0] - raw[0] != 0 and raw[0] == raw[0] else found
        return None if np.isinf(found).any() else found

    return quick


def _finite(token: str) -> bool:
    try:
        return bool(np.isfinite(float(token)))
    except ValueError:
        return False


def remembered(meaning: Callable[[Any], Any], kept: int = REMEMBERED) -> Callable[[Any], Any]:
    """`meaning`, with the results for up to `kept` texts (and None) at hand.

    Raises what `meaning` raises.

    >>> asked = remembered(float)
    >>> asked("1.5"), asked("1.5")
    (1.5, 1.5)
    """
    known: dict[Any, Any] = {}

    def look(value: Any) -> Any:
        try:
            return known[value]
        except (KeyError, TypeError):  # new, or nothing that a dict holds
            found = meaning(value)
            if value is None or (type(value) is str and len(value) <= LONGEST):
                if len(known) >= kept:
                    known.clear()
                known[value] = found
            return found

    return look


def _quick_meanings(column: Column) -> Quick:
    parse, array = PARSE[column.role], ARRAYS[column.role]
    look = remembered(lambda value: parse(value, column))
    return lambda raw: array([*map(look, raw)])


def _quick_texts(column: Column) -> Quick:
    parse, array = PARSE[column.role], ARRAYS[column.role]
    return lambda raw: array([parse(value, column) for value in raw])


QUICK: Mapping[str, Callable[[Column], Quick]] = {
    "number": _quick_numbers,
    "date": _quick_meanings,
    "category": _quick_meanings,
    "text": _quick_texts,
}
