"""What roles can do before the folds: settle options on the training rows, and make what no fold changes.

A role's file may have two functions more (see `features.image`):

    settled(values, options) -> options                 such that each fold sees the same
    ahead(values, options, folder, tell) -> values      that carry what was made; `folder` keeps it
    PROOF                                               real rows that are enough to prove parity, where they are costly
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keepfit.extras import pick
from keepfit.features import ROLES
from keepfit.features.values import Columns
from keepfit.progress import Tell, silent
from keepfit.types import Schema

Options = Mapping[str, Mapping[str, Any]]  # role → options


def settled(columns: Columns, schema: Schema, options: Options) -> dict[str, dict[str, Any]]:
    """The options of roles as they are to be for all folds, learned from training rows without their target."""
    found = {role: dict(given) for role, given in options.items()}
    for role, file in _with("settled", schema).items():
        found[role] = file.settled(_of(role, columns, schema), found.get(role, {}))
    return found


def ahead(
    columns: Columns, schema: Schema, options: Options, folder: Path | None = None, tell: Tell = silent
) -> Columns:
    """The columns with what may be made before the folds, for options that are `settled`."""
    values = dict(columns.values)
    for role, file in _with("ahead", schema).items():
        kept = folder / role if folder else None
        values |= file.ahead(_of(role, columns, schema), options.get(role, {}), kept, tell)
    return Columns(values, len(columns))


def enough(schema: Schema, rows: int) -> int:
    """So many of `rows` real rows are enough to prove parity on."""
    return min([rows, *(int(file.PROOF) for file in _with("PROOF", schema).values())])


def _with(attribute: str, schema: Schema) -> dict[str, Any]:
    """The files of the schema's roles that have an attribute."""
    files = {column.role: pick(ROLES, column.role, "role") for column in schema.features}
    return {role: file for role, file in files.items() if hasattr(file, attribute)}


def _of(role: str, columns: Columns, schema: Schema) -> dict[str, Any]:
    return {column.name: columns.values[column.name] for column in schema.features if column.role == role}
