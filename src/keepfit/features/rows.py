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
from keepfit.features.text import tokens
from keepfit.features.values import Coded, Columns
from keepfit.types import Schema

FIRST = np.zeros(1, np.int32)  # the codes of one row, made once
NOTHING = np.full(1, -1, np.int32)
FIRST.flags.writeable = NOTHING.flags.writeable = False


def from_rows(rows: Sequence[Mapping[str, Any]], schema: Schema) -> tuple[Columns, list[Problem]]:
    """The values of `schema.inputs` in `rows`, and all problems found. Other keys are left alone."""
    return reader(schema)(rows)


def reader(schema: Schema) -> Callable[[Sequence[Mapping[str, Any]]], tuple[Columns, list[Problem]]]:
    """`from_rows` for one schema, for many calls."""
    plan = [(column.name, column, PARSE[column.role], ARRAYS[column.role]) for column in schema.inputs]

    def read(rows: Sequence[Mapping[str, Any]]) -> tuple[Columns, list[Problem]]:
        problems: list[Problem] = []
        values = {}
        for name, column, parse, array in plan:
            found = []
            for row in rows:
                try:
                    found.append(parse(row[name], column))
                except (KeyError, ValueError, TypeError, IndexError) as error:
                    found.append(None)
                    problems.append(_problem(len(found) - 1, name, row, error))
            values[name] = array(found)
        if problems:
            problems = sorted(dict.fromkeys(problems), key=lambda p: (p.row, p.column))
        return Columns(values, len(rows)), problems

    return read


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
    "text": tokens,
}
