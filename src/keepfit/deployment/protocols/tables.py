"""JSON bodies that are read straight into columns: those with the model's columns and the values that it expects.

None for any other: it is read and judged the long way, and then told what is wrong with it. A batch that is
read so costs half of what its objects would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET
from msgspec.structs import astuple

from keepfit.data.rows import Table
from keepfit.deployment.protocols import forms
from keepfit.types import Column, Schema

KEPT = 16  # schemas, and orders of one's columns
SHORT = 2_000  # bytes; of so few rows it does not matter how they are read
ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')  # what is not written as it is
Read = Callable[[bytes], list[Any]]


class Known(NamedTuple):
    """What reading bodies needs of a schema: all columns, those that may be left out, whether some are files, and
    functions from a body to its rows: of the kinds of values that are `expected`, and of `any`; those for lists of
    values by the order of the columns."""

    schema: Schema
    names: tuple[str, ...]
    free: tuple[str, ...]
    files: bool
    numbers: frozenset[str]
    expected: Read | None
    any: Read | None
    orders: dict[tuple[str, ...], Read]


KNOWN: dict[int, Known] = {}  # by the schema's id; a schema is here as long as its id


def known(schema: Schema) -> Known:
    """Worked out once: a server has few schemas, and to hash one takes longer than to look at a batch's columns."""
    found = KNOWN.get(id(schema))
    if found is None:
        if len(KNOWN) >= KEPT:
            KNOWN.clear()
        names, needed = tuple(c.name for c in schema.columns), frozenset(c.name for c in schema.inputs)
        free = tuple(name for name in names if name not in needed)
        numbers = frozenset(c.name for c in schema.columns if c.role == "number")
        expected = _rows(names, free, [*map(_kind, schema.columns)])
        whatever = _rows(names, free, [Any] * len(names))
        files = bool(forms.files(schema))
        found = KNOWN[id(schema)] = Known(schema, names, free, files, numbers, expected, whatever, {})
    return found


def _kind(column: Column) -> Any:
    """What a column's values are expected to be. Of texts that are expected none is made anew for each row."""
    if column.role == "number":
        return int | float | None
    whole = column.role == "category" and 0 < column.distinct == len(column.levels)
    return Literal[(*column.levels, *column.tokens, None)] if whole else Any


def _read(read: Read | None, body: bytes) -> list[Any] | None:
    try:
        return read(body) if read else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# --- a list of objects ----------------------------------------------------------------------------


def objects(body: bytes, about: Known) -> Table | None:
    """A list of objects that all have the same columns, those of the model."""
    rows, numbers = _read(about.expected, body), about.numbers
    if rows is None:
        rows, numbers = _read(about.any, body), frozenset()
    if not rows:
        return None
    columns = dict(zip(about.names, zip(*map(astuple, rows), strict=True), strict=True))
    for name in [name for name in about.free if UNSET in columns[name]]:
        if columns.pop(name).count(UNSET) < len(rows):  # only some rows have it
            return None
    return Table(columns, numbers)


def _rows(columns: Sequence[str], free: Sequence[str], kinds: Sequence[Any]) -> Read | None:
    """The function from a body to its rows as structs with a field for each column, of its kind; None where JSON
    escapes a name. It raises for rows with values of other kinds."""
    if any(ESCAPED.search(name) for name in columns):
        return None
    fields = {f"column_{k}": name for k, name in enumerate(columns)}
    told = [
        (field, kind, UNSET) if name in free else (field, kind)
        for (field, name), kind in zip(fields.items(), kinds, strict=True)
    ]
    made = msgspec.defstruct("Row", told, rename=fields, kw_only=True, forbid_unknown_fields=True, gc=False)
    read: Read = msgspec.json.Decoder(list[made]).decode  # type: ignore[valid-type]
    return read


# --- pandas' orient `split` -----------------------------------------------------------------------


class Split(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Names, and a list of lists of values in their order; the index is not looked at."""

    columns: list[str]
    data: msgspec.Raw
    index: msgspec.Raw = msgspec.Raw()


class Framed(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """MLflow's body."""

    dataframe_split: Split
    params: Any = None


framed = msgspec.json.Decoder(Framed).decode


def split(body: bytes, about: Known) -> tuple[Table, Any] | None:
    """A `dataframe_split` with the columns of the model in any order, and the params beside it."""
    try:
        told = framed(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    columns = tuple(told.dataframe_split.columns)
    rows = _read(about.orders.get(columns) or _ordered(columns, about), told.dataframe_split.data)
    if not rows:
        return None
    return Table(dict(zip(columns, zip(*rows, strict=True), strict=True)), about.numbers), told.params


def _ordered(columns: tuple[str, ...], about: Known) -> Read | None:
    """The function from lists of values to rows; None for other columns than the model's, or one twice."""
    there = set(columns)
    if len(there) < len(columns) or not set(about.names) - set(about.free) <= there <= set(about.names):
        return None
    if len(about.orders) >= KEPT:
        about.orders.clear()
    kinds = tuple(_kind(about.schema[name]) for name in columns)
    read: Read = msgspec.json.Decoder(list[tuple[kinds]]).decode  # type: ignore[valid-type]
    about.orders[columns] = read
    return read
