"""From a frame as it was read to one that is typed by role, the hooks' columns included.

The same two steps wherever a frame is made ready: training, batch scoring, comparing with the
champion, and a served row when its model has hooks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import polars as pl

from keepfit.data.conform import conform
from keepfit.data.parse import Problem
from keepfit.features import hooks
from keepfit.types import Schema


def prepare(
    frame: pl.DataFrame, schema: Schema, functions: Mapping[str, hooks.Hook]
) -> tuple[pl.DataFrame, list[Problem]]:
    """The conformed frame and the problems of its cells; hooks see numbers, texts and datetimes."""
    given = dataclasses.replace(schema, columns=tuple(c for c in schema.columns if c.hook is None))
    typed, problems = conform(frame, given)
    if not functions:
        return typed, problems
    made = dataclasses.replace(schema, columns=tuple(c for c in schema.columns if c.hook is not None), target=None)
    columns, more = conform(derive(typed, given, functions)[0], made)
    return typed.with_columns(columns.iter_columns()), [*problems, *more]


def derive(
    typed: pl.DataFrame, schema: Schema, functions: Mapping[str, hooks.Hook]
) -> tuple[pl.DataFrame, dict[str, str]]:
    """The columns that the hooks make of a conformed frame, and which function made each."""
    told, made = hooks.apply(seen(typed, schema), functions)
    return told.select(list(made)), made


def seen(typed: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """A conformed frame as hooks see it: the inputs, dates as datetimes (UTC)."""
    given = [c for c in schema.columns if c.hook is None and c.name in typed.columns and c.name != schema.target]
    return typed.select(
        (pl.col(c.name) * 1e6).cast(pl.Int64).cast(pl.Datetime("us")).alias(c.name) if c.dated else pl.col(c.name)
        for c in given
    )
