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

import struct
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal

import numpy as np

from keepfit.data.parse import LARGEST, PARSE, Problem
from keepfit.data.rows import Rows, Table, chained, columns_of, lists_of
from keepfit.features.values import Coded, Columns, Documents, Pictures
from keepfit.types import Column, Schema

FIRST = np.zeros(1, np.int32)  # the codes of one row, made once
NOTHING = np.full(1, -1, np.int32)
FIRST.flags.writeable = NOTHING.flags.writeable = False
NUMBERS = frozenset((float, int))  # exactly these: a bool or a Decimal goes through `data.parse`
PLAIN = NUMBERS | {type(None)}
TEXT = frozenset((str,))
WORDS = TEXT | {type(None)}
FEW = 50  # values that are not worth a faster way
SCALARS = NUMBERS | WORDS
DISTINCT = 1_000  # a number that had so many values in the training rows is one that comes again and again
REMEMBERED = 10_000  # texts whose meaning is kept, for each column
LONGEST = 200  # characters of a text that is kept
ODD = (KeyError, ValueError, TypeError, IndexError, AttributeError)  # what a row or a value of another shape brings
Quick = Callable[[Sequence[Any]], Any]


def from_rows(rows: Rows, schema: Schema) -> tuple[Columns, list[Problem]]:
    """The values of `schema.inputs` in `rows`, and all problems found. Other keys are left alone.

    What only observations tell (the past of a forecast) may be left out.
    """
    return reader(schema)(rows)


def reader(schema: Schema) -> Callable[[Rows], tuple[Columns, list[Problem]]]:
    """`from_rows` for one schema, for many calls.

    A column whose values are of the usual kinds is read at once; any other goes value by value
    through `data.parse`, to the same result, and tells its problems.
    """
    needed = schema.required
    free = [column for column in schema.inputs if column not in needed]
    columns = (*needed, *free)
    given, may = columns_of([column.name for column in needed]), lists_of([column.name for column in free])
    plain, numeric = _at_once(columns), {column.name for column in columns if column.role == "number"}

    def read(rows: Rows) -> tuple[Columns, list[Problem]]:
        known = type(rows) is Table and rows.numbers >= numeric
        try:
            found = plain([*given(rows), *may(rows)] if free else given(rows), known)
        except ODD:
            found = [None] * len(columns)
        problems: list[Problem] = []
        values = {
            column.name: _each(rows, column, problems, column in free) if array is None else array
            for column, array in zip(columns, found, strict=True)
        }
        if problems:
            problems = sorted(dict.fromkeys(problems), key=lambda p: (p.row, p.column))
        return Columns(values, len(rows)), problems

    return read


def _each(rows: Sequence[Any], column: Column, problems: list[Problem], free: bool = False) -> Any:
    """A column's values one by one; adds what cannot be read to `problems`. One that is `free` may be left out."""
    found: list[Any] = []
    parse, name = PARSE[column.role], column.name
    for row in rows:
        try:
            found.append(parse(row.get(name) if free else row[name], column))
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
    "image": Pictures,
    "series": coded,
    "moment": numbers,
    "past": numbers,
}


# --- whole columns at once ------------------------------------------------------------------------
# Each is a function of a column that gives a function from its raw values to the array, or to None
# (or one of ODD) where a value is of another kind.


def _at_once(columns: Sequence[Column]) -> Callable[[Sequence[Sequence[Any]], bool], list[Any]]:
    """The function from all columns' raw values to their arrays; None where a value is of another kind.

    It is told whether the numbers are known to be int, float and None alone.
    """
    plan = [QUICK[column.role](column) for column in columns]
    numeric = [place for place, column in enumerate(columns) if column.role == "number"]
    others = [place for place, column in enumerate(columns) if column.role != "number"]

    def read(raw: Sequence[Sequence[Any]], known: bool) -> list[Any]:
        found: list[Any] = [None] * len(plan)
        stacked = together([raw[place] for place in numeric], known) if numeric else ()
        if stacked is not None:
            for place, values in zip(numeric, stacked, strict=True):
                found[place] = values
        for place in others if stacked is not None else range(len(plan)):
            try:
                found[place] = plan[place](raw[place])
            except (*ODD, OverflowError):
                pass
        return found

    return read


def together(raw: Sequence[Sequence[Any]], known: bool = False) -> Any:
    """Columns of numbers and None as (columns, rows) float64; None where they hold anything else.

    Types are looked at unless they are `known` to be int, float and None's.
    """
    flat = chained(raw)
    kinds = PLAIN if known else {*map(type, flat)}
    if not kinds <= PLAIN:
        return None
    if len(flat) > FEW and kinds & NUMBERS:
        try:
            return packed(flat, "q").astype(np.float64).reshape(len(raw), -1)
        except struct.error:  # some are no integers, or of more than 64 bits
            pass
    try:
        found = numbers(flat)
    except OverflowError:  # an integer of more than 308 digits
        return None
    if float in kinds and np.isinf(found).any():
        return None
    return found.reshape(len(raw), -1)


def packed(found: Sequence[Any], form: Literal["i", "q", "d"]) -> Any:
    """Integers (32 or 64 bits) or floats as an array that is not written to, in half of the time of `np.array`.

    Raises struct.error for what is none of them.
    """
    return np.frombuffer(struct.pack(f"{len(found)}{form}", *found), form)


def _quick_numbers(column: Column) -> Quick:
    written = not any(_finite(token) for token in column.tokens)  # else a number may mean "missing"

    def quick(raw: Sequence[Any]) -> Any:
        stacked = together([raw])
        if stacked is not None:
            return stacked[0]
        text = "".join(raw) if written and {*map(type, raw)} == TEXT else "_"
        if "_" in text or not text.isascii():  # float() would take 1_000 and the digits of other scripts
            return None
        found = np.array([*map(float, raw)], np.float64)
        return found if np.isfinite(found).all() else None

    return quick


def _quick_past(column: Column) -> Quick:
    numbers_of = _quick_numbers(column)

    def quick(raw: Sequence[Any]) -> Any:
        found = numbers_of(raw)
        return None if found is not None and (np.abs(found) > LARGEST).any() else found

    return quick


def _finite(token: str) -> bool:
    try:
        return bool(np.isfinite(float(token)))
    except ValueError:
        return False


class Memory(dict[Any, Any]):
    """See `remembered`."""

    def __init__(self, meaning: Callable[[Any], Any], kept: int, kinds: Container[type]) -> None:
        super().__init__()
        self.meaning, self.kept, self.kinds = meaning, kept, kinds

    def __missing__(self, value: Any) -> Any:
        found, kind = self.meaning(value), type(value)
        if kind in self.kinds and (kind is not str or len(value) <= LONGEST):
            if len(self) >= self.kept:
                self.clear()
            self[value] = found
        return found


def remembered(
    meaning: Callable[[Any], Any], kept: int = REMEMBERED, kinds: Container[type] = WORDS
) -> Callable[[Any], Any]:
    """`meaning`, with the results for up to `kept` values of `kinds` at hand, texts and None by default.

    Values that are equal must mean the same. Raises what `meaning` raises, and TypeError for a list or an object.

    >>> asked = remembered(float)
    >>> asked("1.5"), asked("1.5")
    (1.5, 1.5)
    """
    return Memory(meaning, kept, kinds).__getitem__


def looked_up(memory: Memory) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """What `memory` says of many values. A plain dict is asked in half of the time, so what it learns is copied."""
    known: dict[Any, Any] = {}

    def look(raw: Sequence[Any]) -> Sequence[Any]:
        try:
            return itemgetter(*raw)(known) if len(raw) > 1 else [memory[raw[0]]]
        except KeyError:
            found = [*map(memory.__getitem__, raw)]
            if len(known) > memory.kept:
                known.clear()
            known.update((value, meaning) for value, meaning in zip(raw, found, strict=True) if value in memory)
            return found

    return look


def recurring(column: Column) -> bool:
    """Whether a column's values are worth remembering."""
    return column.role != "number" or 0 < column.distinct <= DISTINCT


def _quick_dates(column: Column) -> Quick:
    look = remembered(lambda value: PARSE[column.role](value, column))
    return lambda raw: numbers([*map(look, raw)])


def _quick_moments(column: Column) -> Quick:
    return _quick_dates(column) if column.dtype == "date" else _quick_numbers(column)


def _quick_levels(column: Column) -> Quick:
    return levels(remembered(lambda value: PARSE[column.role](value, column)))


def levels(meaning: Callable[[Any], Any], kept: int = REMEMBERED) -> Quick:
    """`coded` of the values' meanings. Texts that came before are known by their places among levels that
    all columns share, until there would be more than `kept` of them.

    Raises what `meaning` raises.

    >>> read = levels(lambda value: PARSE["category"](value, Column("plan", "category")))
    >>> read(["a", " b", "a"]).codes.tolist(), read(["b", "b", None]).codes.tolist(), read([" b", "a"]).codes.tolist()
    ([0, 1, 0], [0, 0, -1], [1, 0])
    """
    memo: tuple[dict[Any, int], list[str], dict[str, int]] = ({None: -1}, [], {})
    learning = threading.Lock()

    def learn(raw: Sequence[Any], found: Sequence[Any]) -> None:
        nonlocal memo
        known, shared, places = memo
        for value, level in zip(raw, found, strict=True):
            if type(value) is not str or len(value) > LONGEST or value in known:
                continue
            if len(known) > kept:
                known, shared, places = memo = {None: -1}, [], {}
            code = -1 if level is None else places.setdefault(level, len(shared))
            if code == len(shared):
                shared.append(level)
            known[value] = code

    def read(raw: Sequence[Any]) -> Coded:
        known, shared, _ = memo
        try:
            if len(raw) == 1:
                code = known[raw[0]]
                return coded([shared[code] if code >= 0 else None])
            return Coded(packed(itemgetter(*raw)(known), "i"), shared)
        except (KeyError, TypeError):  # new, no text, or nothing that a dict holds
            found = [*map(meaning, raw)]
            with learning:
                learn(raw, found)
            return coded(found)

    return read


def _quick_texts(column: Column) -> Quick:
    parse, array = PARSE[column.role], ARRAYS[column.role]
    return lambda raw: array([parse(value, column) for value in raw])


QUICK: Mapping[str, Callable[[Column], Quick]] = {
    "number": _quick_numbers,
    "date": _quick_dates,
    "category": _quick_levels,
    "text": _quick_texts,
    "image": _quick_texts,
    "series": _quick_levels,
    "moment": _quick_moments,
    "past": _quick_past,
}
