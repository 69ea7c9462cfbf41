"""Rows from what other protocols send instead of objects: lists in the order of the columns, or columns.

All functions raise RequestError (400) for what has no such shape, and say where. What a value means
is not looked at here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from keepfit.errors import RequestError
from keepfit.types import Schema

Row = Mapping[str, Any]
SPARE = 10_000  # columns that a request may have beyond those of the model
TOLD = 100  # rows that one answer names
SHOWN = 3  # faults that a single text names


def fault(message: str, code: str = "bad_shape", details: Sequence[Mapping[str, Any]] = ()) -> RequestError:
    """The error of a body that is read but is no table of rows."""
    return RequestError(400, code, message, details)


def names(given: Any, schema: Schema, where: str) -> list[str]:
    """Column names as they were sent: a list of different texts, of a reasonable length."""
    if type(given) is not list or not all(type(name) in (str, int) for name in given):
        raise fault(f"{where} must be a list of the columns' names.")
    room(len(given), schema)
    room(len(given), schema)
    found = [str(name) for name in given]
    different(found, where)
    return found


def different(found: Sequence[str], where: str) -> None:
    """Raises where a name stands twice: which of its values is meant?"""
    if len(set(found)) < len(found):
        twice = [name for name, count in Counter(found).items() if count > 1]
        raise fault(f"Columns stand twice in {where}: {listed(twice, 5)}.", "duplicate_columns")


def room(count: int, schema: Schema) -> None:
    """Raises where there are far more columns than the model has: each would cost memory in every row."""
    limit = len(schema.columns) + SPARE
    if count > limit:
        raise fault(f"{count:,} columns are more than the {limit:,} that a request may have.", "too_many_columns")


def inputs(schema: Schema) -> list[str]:
    """The model's columns in the order in which values without names are taken."""
    return [column.name for column in schema.inputs]


def from_lists(lists: Any, columns: Sequence[str], where: str) -> list[Row]:
    """Rows from lists of values in the order of `columns`; for one column, values alone do too.

    >>> from_lists([[1, "a"], [2, "b"]], ["age", "plan"], "data")
    [{'age': 1, 'plan': 'a'}, {'age': 2, 'plan': 'b'}]
    >>> from_lists(["good film"], ["review"], "data")
    [{'review': 'good film'}]
    """
    if type(lists) is not list or not lists:
        raise none_or_no_list(lists, where)
    width = len(columns)
    if width == 1 and not any(type(row) in (list, dict) for row in lists):
        return [{columns[0]: value} for value in lists]
    wrong = [(place, row) for place, row in enumerate(lists) if type(row) is not list or len(row) != width]
    if wrong:
        raise fault(
            f"Each row of {where} must have {width:,} values: {listed(columns)}.",
            details=[{"row": place, "column": "", "problem": _kind(row)} for place, row in wrong[:TOLD]],
        )
    return [dict(zip(columns, row, strict=True)) for row in lists]


def from_columns(columns: Mapping[str, Any], schema: Schema, where: str) -> list[Row]:
    """Rows from columns: lists of values, all as long; values alone are one row; [[1], [2]] is [1, 2].

    >>> from_columns({"age": [1, 2], "plan": [["a"], ["b"]]}, Schema((), "regression"), "inputs")
    [{'age': 1, 'plan': 'a'}, {'age': 2, 'plan': 'b'}]
    """
    if not columns:
        raise fault(f"{where} has no columns. The model needs {listed(inputs(schema))}.", "no_rows")
    room(len(columns), schema)
    found = {name: _unnested(values) if type(values) is list else [values] for name, values in columns.items()}
    lengths = {len(values) for values in found.values()}
    if len(lengths) > 1:
        counts = [f"'{name}' {len(values):,}" for name, values in list(found.items())[:10]]
        raise fault(f"The columns of {where} are not equally long: {', '.join(counts)}.")
    if not lengths or lengths == {0}:
        raise fault(f"{where} has no rows. Send at least one.", "no_rows")
    return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


def _unnested(values: list[Any]) -> list[Any]:
    """A column of shape (n, 1) as (n,)."""
    if values and all(type(value) is list and len(value) == 1 for value in values):
        return [value[0] for value in values]
    return values


def from_any(given: Any, schema: Schema, where: str) -> list[Row]:
    """Rows from a list of objects, a list of lists or of single values, or an object of columns."""
    if type(given) is dict:
        return from_columns(given, schema, where)
    if type(given) is not list or not given:
        raise none_or_no_list(given, where)
    if type(given[0]) is dict:
        return from_objects(given, schema, where)
    return from_lists(given, inputs(schema), where)


def from_objects(given: list[Any], schema: Schema, where: str) -> list[Row]:
    """Rows from a list that holds nothing but objects."""
    wrong = [(place, row) for place, row in enumerate(given) if type(row) is not dict]
    if wrong:
        raise fault(
            f"Each row of {where} must be an object with the columns as keys.",
            details=[{"row": place, "column": "", "problem": _kind(row)} for place, row in wrong[:TOLD]],
        )
    room(max(map(len, given)), schema)
    return given


def none_or_no_list(given: Any, where: str) -> RequestError:
    """The error of an empty list, or of what is no list."""
    if type(given) is list:
        return fault(f"{where} is empty. Send at least one row.", "no_rows")
    return fault(f"{where} must be a list of rows, not {_word(given)}.")


def listed(columns: Sequence[str], most: int = 20) -> str:
    """Names as an error shows them.

    >>> listed(["a", "b", "c"], most=2)
    'a, b, ... (3 in all)'
    """
    if len(columns) <= most:
        return ", ".join(columns)
    return f"{', '.join(columns[:most])}, ... ({len(columns):,} in all)"


WORDS: Mapping[type, str] = {
    dict: "an object", list: "a list", str: "a text", bool: "true or false",
    int: "a number", float: "a number", type(None): "null",
}  # fmt: skip


def _word(value: Any) -> str:
    return WORDS.get(type(value), type(value).__name__)


def _kind(row: Any) -> str:
    return f"has {len(row):,} values" if type(row) is list else f"is {_word(row)}"


def sentence(fault: RequestError) -> str:
    """A fault as one text, with the first of its details.

    >>> sentence(RequestError(422, "bad", "Bad.", [{"row": 2, "column": "age", "problem": "not a number: 'x'"}]))
    "Bad. Row 2, column 'age': not a number: 'x'."
    """
    told = [fault.message, *(_place(detail) for detail in fault.details[:SHOWN] if "problem" in detail)]
    more = len(fault.details) - SHOWN
    return " ".join([*told, f"And {more:,} more."] if more > 0 else told)


def _place(detail: Mapping[str, Any]) -> str:
    column = f", column '{detail['column']}'" if detail.get("column") else ""
    return f"Row {detail.get('row')}{column}: {detail['problem']}."
