"""Trees scored from the rows of a request, where their features are the columns themselves (`features.direct`).

What a category adds to the places in the trees' tables is looked up by its text as it came, numbers go through
the thresholds as one array: there are no codes and no matrix in between. The tables' entries are those that the
matrix leads to, so the scores are the same to the last bit.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from keepfit.data.parse import PARSE
from keepfit.data.rows import Rows, Table, columns_of
from keepfit.deployment.tree_scores import Part, Ready, alone, bins, leaves, thresholds
from keepfit.features.direct import Direct
from keepfit.features.number import LARGEST
from keepfit.features.rows import ODD, REMEMBERED, SCALARS, WORDS, Memory, looked_up, packed, recurring, together
from keepfit.models.fitted import Floats
from keepfit.types import Column, Schema

SINGLE = struct.Struct("f")
Value = Callable[[Any], float]  # what a matrix would hold for a raw value; raises ValueError for what is none


def rows(schema: Schema, features: Sequence[Direct], trees: Ready) -> Callable[[Rows], Floats | None] | None:
    """The function from rows to scores (n, outputs), or to None for rows with anything that is no value of its column.

    None itself for columns of other roles, or that are no features: they have to be looked at too.
    """
    columns = {column.name: column for column in schema.inputs}
    if columns.keys() != {feature.column for feature in features}:
        return None
    plan = [(columns[feature.column], feature) for feature in features]
    one, many = _one(plan, trees), _many(plan, trees)

    def scores(asked: Rows) -> Floats | None:
        try:
            return one(asked[0]) if len(asked) == 1 else many(asked)
        except (*ODD, OverflowError, struct.error):  # read again, by what can tell the problems
            return None

    return scores


def _value(column: Column, feature: Direct) -> Value:
    parse: Callable[[Any, Column], Any] = PARSE[column.role]
    if feature.codes is None:
        return lambda value: _single(parse(value, column))
    codes = feature.codes
    return lambda value: codes.get(parse(value, column), math.nan)


def _single(value: float | None) -> float:
    """A number as float32 holds it."""
    if value is None:
        return math.nan
    found: float = SINGLE.unpack(SINGLE.pack(min(max(value, -LARGEST), LARGEST)))[0]
    return found


def _one(plan: Sequence[tuple[Column, Direct]], trees: Ready) -> Callable[[Any], Floats]:
    """The function from a row to its scores: each value's place is known, or worked out alone."""
    axes, score = trees.tables.axes, alone(trees.tables)
    values = [(column, _value(column, feature)) for column, feature in plan]
    finds = [(values[axis.column], bins(axis)) for axis in axes]
    reads = [(column.name, _kept(column, partial(_found, value, find))) for (column, value), find in finds]
    seen = {name for name, _ in reads}
    checks = [(column.name, _kept(column, value)) for column, value in values if column.name not in seen]

    def scores(row: Any) -> Floats:
        for name, check in checks:
            check(row[name])
        return score([read(row[name]) for name, read in reads])

    return scores


def _found(value: Value, find: Callable[[float], int], raw: Any) -> int:
    return find(value(raw))


def _kept(column: Column, meaning: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same, with the results for values that come again and again at hand."""
    kinds = SCALARS if column.role == "number" else WORDS
    return Memory(meaning, REMEMBERED, kinds).__getitem__ if recurring(column) else meaning


def _many(plan: Sequence[tuple[Column, Direct]], trees: Ready) -> Callable[[Rows], Floats | None]:
    """The function from rows to their scores; None where a number is none, or written as text."""
    given = columns_of([column.name for column, _ in plan])
    numeric = [place for place, (_, feature) in enumerate(plan) if feature.codes is None]
    names = {plan[place][0].name for place in numeric}
    asked_of = {place: at for at, place in enumerate(numeric)}
    parts = [part for part in trees.parts if part.axis.column in asked_of]
    add = thresholds([_at(part, asked_of[part.axis.column]) for part in parts])
    looks = [look for place, pair in enumerate(plan) if place not in asked_of for look in _looks(place, *pair, trees)]
    fill, outputs, groups = leaves(trees), len(trees.tables.first), len(trees.common)

    def scores(asked: Rows) -> Floats | None:
        raw = given(asked)
        places = np.zeros((groups, len(asked)), np.intp)
        for place, group, look in looks:
            places[group] += packed(look(raw[place]), "q")
        if numeric:
            numbers = together([raw[place] for place in numeric], type(asked) is Table and asked.numbers >= names)
            if numbers is None:
                return None
            add(np.clip(numbers, -LARGEST, LARGEST).astype(np.float32), places)
        found = np.empty((len(asked), outputs))
        fill(places, found)
        return found

    return scores


def _at(part: Part, column: int) -> Part:
    return part._replace(axis=part.axis._replace(column=column))


def _looks(
    place: int, column: Column, feature: Direct, trees: Ready
) -> list[tuple[int, int, Callable[[Sequence[Any]], Sequence[int]]]]:
    """The column's place, and for each of its axes the group and the function from raw values to what they add to it.

    A column that no tree asks is looked at for what is no value of it.
    """
    value, mine = _value(column, feature), [part for part in trees.parts if part.axis.column == place]
    finds: list[tuple[int, Callable[[float], int]]] = [(part.group, _stepping(part)) for part in mine]
    finds = finds or [(0, lambda _: 0)]
    memories = [(group, Memory(partial(_found, value, find), REMEMBERED, WORDS)) for group, find in finds]
    return [(place, group, looked_up(memory)) for group, memory in memories]


def _stepping(part: Part) -> Callable[[float], int]:
    """The function from a value to what its bin adds to the place in the common table."""
    find, start, step = bins(part.axis), part.axis.start, part.step
    return lambda value: (find(value) - start) * step
