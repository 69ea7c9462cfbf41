"""Rows for a model that was trained with the user's functions: through a frame, as in training.

Only such models need polars to serve. The problems are those of `features.rows`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keepfit.data.frames import from_rows
from keepfit.data.parse import Problem
from keepfit.features.frame import from_frame
from keepfit.features.hooks import Hook
from keepfit.features.prepare import prepare
from keepfit.features.values import Columns
from keepfit.types import Schema


def reader(
    schema: Schema, functions: Mapping[str, Hook]
) -> Callable[[Sequence[Mapping[str, Any]]], tuple[Columns, list[Problem]]]:
    """The function from rows to Columns and problems. Raises DataError where a function fails."""
    asked = dataclasses.replace(
        schema, columns=tuple(c for c in schema.columns if c.role not in ("target", "ignore")), target=None
    )
    names, needed = ([c.name for c in columns] for columns in (schema.inputs, schema.required))

    def read(rows: Sequence[Mapping[str, Any]]) -> tuple[Columns, list[Problem]]:
        problems = []
        full = []
        for place, row in enumerate(rows):
            given = row if isinstance(row, Mapping) else {}
            if given is not row:
                kind = type(row).__name__
                problems.append(Problem(place, "", f"not an object with the columns as keys, but {kind}"))
            else:
                absent = "is not there; send null if the value is unknown"
                problems += [Problem(place, name, absent) for name in needed if name not in given]
            full.append({**dict.fromkeys(names), **given})
        typed, more = prepare(from_rows(full), asked, functions)
        return from_frame(typed, schema), sorted({*problems, *more}, key=lambda problem: (problem.row, problem.column))

    return read
