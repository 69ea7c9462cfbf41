"""Linear models with one output, scored from the columns themselves (see `features.fold`).

`folded` gives the function for whole columns. `rows` gives one for a few rows of a request: each value
is read and looked up at once, with no array in between. Both sum the same numbers in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keepfit.data import parse
from keepfit.deployment import runtime_linear
from keepfit.errors import ModelError
from keepfit.features.fold import Term, fold
from keepfit.features.rows import ODD, remembered
from keepfit.features.values import Columns
from keepfit.models.fitted import Floats
from keepfit.types import Column, Schema


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


def rows(schema: Schema, model: Folded) -> Callable[[Sequence[Mapping[str, Any]]], Floats | None] | None:
    """The function from rows to scores (n, 1), or to None for rows with anything that is no value of its column.

    None itself for models that need more than one value at a time.
    """
    columns = {column.name: column for column in schema.inputs}
    if any(term.one is None for term in model.terms) or {name for t in model.terms for name in t.columns} != set(
        columns
    ):
        return None
    ones = [pair for t in model.terms for pair in zip(t.columns, t.one or (), strict=True)]
    plan = [(name, _reader(columns[name], one)) for name, one in ones]
    start = model.intercept

    def scores(asked: Sequence[Mapping[str, Any]]) -> Floats | None:
        totals = []
        try:
            for row in asked:
                total = start
                for name, read in plan:
                    total += read(row[name])
                totals.append(total)
        except (*ODD, OverflowError):  # read again, by what can tell the problems
            return None
        return np.array(totals)[:, None]

    return scores


def _reader(column: Column, one: Callable[[Any], float]) -> Callable[[Any], float]:
    """What a raw value adds to the score. Raises ValueError for what is no value of the column."""
    meaning, tokens = parse.PARSE[column.role], column.tokens
    if column.role != "number":
        return remembered(lambda value: one(meaning(value, column)))
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

    return number
