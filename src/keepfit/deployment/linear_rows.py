"""Linear models with one output, scored from the columns themselves (see `features.fold`).

`folded` gives the function for whole columns. `rows` gives one for the rows of a request: what a value adds
to the score is looked up by the value as it came, with no array of values in between, where the same ones
come again and again. Both sum the same numbers in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keepfit.data import parse
from keepfit.data.rows import Rows, Table, columns_of
from keepfit.deployment import runtime_linear
from keepfit.errors import ModelError
from keepfit.features.fold import Term, fold
from keepfit.features.rows import ODD, REMEMBERED, SCALARS, WORDS, Memory, looked_up, packed, recurring, together
from keepfit.features.values import Columns
from keepfit.models.fitted import Floats
from keepfit.types import Column, Schema

FEW = 8  # up to so many rows, Python on each value is faster than numpy on each column
Plan = Sequence[tuple[str, Memory | Callable[[Any], float]]]  # column, and what a raw value of it adds to the score


class Folded(NamedTuple):
    """Terms to be added to the intercept, in this order; `scores` does so for columns, (n, 1) float64."""

    intercept: float
    terms: Sequence[Term]
    scores: Callable[[Columns], Floats]


def folded(path: Path, state: Mapping[str, Any]) -> Folded | None:
    """The model file `path` over the features of `state`; None if it has several outputs or no such form."""
    learned, intercept = runtime_linear.coefficients(path)
    if len(learned) != 1 or not learned.size:
        return None
    terms = fold(state, np.asarray(learned[0], np.float64))
    if terms is None:
        return None
    start = float(intercept[0])

    def scores(columns: Columns) -> Floats:
        total = np.full(len(columns), start)
        try:
            for term in terms:
                for part in term.many(columns.values):
                    total += part
        except KeyError as error:
            if error.args and error.args[0] in columns.values:
                raise
            raise ModelError(f"The model needs the column '{error.args[0]}', which is not there.") from error
        return total[:, None]

    return Folded(start, terms, scores)


def rows(schema: Schema, model: Folded) -> Callable[[Rows], Floats | None] | None:
    """The function from rows to scores (n, 1), or to None for rows with anything that is no value of its column.

    None itself for models that need more than one value at a time.
    """
    columns = {column.name: column for column in schema.inputs}
    if any(term.one is None for term in model.terms) or {name for t in model.terms for name in t.columns} != set(
        columns
    ):
        return None
    ones = [(columns[name], one) for t in model.terms for name, one in zip(t.columns, t.one or (), strict=True)]
    plan = [(column.name, _reader(column, one)) for column, one in ones]
    few, many = _row_by_row(plan, model.intercept), _at_once(plan, model)

    def scores(asked: Rows) -> Floats | None:
        try:
            return few(asked) if len(asked) <= FEW else many(asked)
        except (*ODD, OverflowError):  # read again, by what can tell the problems
            return None

    return scores


def _row_by_row(plan: Plan, start: float) -> Callable[[Rows], Floats]:
    reads = [(name, read.__getitem__ if isinstance(read, Memory) else read) for name, read in plan]

    def scores(asked: Rows) -> Floats:
        totals = []
        for row in asked:
            total = start
            for name, read in reads:
                total += read(row[name])
            totals.append(total)
        return np.array(totals)[:, None]

    return scores


def _at_once(plan: Plan, model: Folded) -> Callable[[Rows], Floats | None]:
    """The same by look-ups of all values that come again and again, and arithmetic on arrays of all others."""
    names, start = [name for name, _ in plan], model.intercept
    given = columns_of(names)
    known_ones = [(k, looked_up(read)) for k, (_, read) in enumerate(plan) if isinstance(read, Memory)]
    rest = sorted({*range(len(plan))} - {k for k, _ in known_ones})
    numeric = {names[k] for k in rest}
    others, end = [], 0
    for term in model.terms:
        begin, end = end, end + len(term.columns)
        at = [k for k in rest if begin <= k < end]
        if at and term.some:
            others.append((at, term.some([k - begin for k in at])))

    def scores(asked: Rows) -> Floats | None:
        raw, n = given(asked), len(asked)
        parts = np.empty((len(plan), n))
        for k, look in known_ones:
            parts[k] = packed(look(raw[k]), "d")
        known = type(asked) is Table and asked.numbers >= numeric
        for at, score in others:
            numbers = together([raw[k] for k in at], known)
            if numbers is None:
                return None
            parts[at] = score(numbers)
        total: Floats = np.add.reduce(parts, axis=0, initial=start)  # one after the other, as above
        return total[:, None]

    return scores


def _reader(column: Column, one: Callable[[Any], float]) -> Memory | Callable[[Any], float]:
    """What a raw value adds to the score. Raises ValueError for what is no value of the column."""
    meaning, tokens = parse.PARSE[column.role], column.tokens
    if column.role != "number":
        return Memory(lambda value: one(meaning(value, column)), REMEMBERED, WORDS)
    gap = one(None)

    def number(value: Any) -> float:
        kind = type(value)
        if kind is int:
            value = float(value)
        elif kind is not float:
            return one(parse.number(value, tokens))
        if value - value == 0.0:
            return one(value)
        if value != value:
            return gap
        raise ValueError("infinite")

    return Memory(number, REMEMBERED, SCALARS) if recurring(column) else number
