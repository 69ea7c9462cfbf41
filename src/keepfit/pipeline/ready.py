"""Data made ready for the stages: understood, hooked, checked, split, and as arrays."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.config import Config, parse
from keepfit.data import leakage, read, schema, split, validate, version
from keepfit.data.conform import conform
from keepfit.errors import ConfigError, DataError
from keepfit.features import hooks
from keepfit.features.frame import from_frame
from keepfit.features.prepare import derive, prepare, seen
from keepfit.features.values import Columns
from keepfit.types import Column, Dataset, Schema, Split, Verdict

HOOKS = "features.py"
EXAMPLE_ROWS = 3
PROOF_ROWS = 10_000


class Rows(NamedTuple):
    """A Dataset as what models take: the conformed frame, its Columns, and the target (n,)."""

    frame: pl.DataFrame
    columns: Columns
    y: NDArray[Any]  # labels as text, or float64


def examine(config: Config, project: Path) -> tuple[Split, Verdict]:
    """The data split into training and test, and everything that is wrong with them."""
    if config.data.target is None:
        raise ConfigError("data.target is not set. Name the column to predict, as in 'data: {target: churn}'.")
    functions = functions_of(config, project)
    frame, origin = read.read(config.data, project)
    meaning = understand(frame, config, functions)
    conformed = prepare(frame, meaning, functions)
    verdict = validate.validate(frame, meaning, config.checks, config.data, conformed)
    verdict += hooks.rowwise(seen(conformed[0], meaning), functions)
    known = conformed[0][config.data.target].is_not_null()
    data = Dataset(frame.filter(known), meaning, "", origin)
    parts, pair = _official(config, project, data, conformed[0].filter(known), functions)
    verdict += leakage.leakage(*pair, meaning, config.data)
    return parts, dataclasses.replace(verdict, subject="data")


def understand(frame: pl.DataFrame, config: Config, functions: Mapping[str, hooks.Hook]) -> Schema:
    """The Schema of the frame and of what the hooks add to it."""
    base = schema.infer(frame, config.data, config.task)
    if not functions:
        return base
    made, makers = derive(conform(frame, base)[0], base, functions)
    target = frame[config.data.target] if config.data.target else pl.Series("", [0] * frame.height)
    whole = schema.infer(made.with_columns(target), _only(config, made.columns), config.task, makers)
    added = tuple(column for column in whole.columns if column.name in makers)
    return dataclasses.replace(base, columns=base.columns + added)


def _only(config: Config, names: list[str]) -> Any:
    """The data section without what it says of columns that the hooks did not make."""
    roles = {name: role for name, role in config.data.columns.items() if name in names}
    return config.data.model_copy(update={"columns": roles, "time": None, "group": None, "known_at": None})


def _official(
    config: Config, project: Path, data: Dataset, typed: pl.DataFrame, functions: Mapping[str, hooks.Hook]
) -> tuple[Split, tuple[pl.DataFrame, pl.DataFrame]]:
    """Training and test, split off or official, as read and as conformed."""
    if config.data.test:
        frame, origin = read.read(config.data, project, config.data.test)
        asked = prepare(frame, data.schema, functions)[0]
        if data.schema.target not in asked.columns:
            raise DataError(f"The test set {config.data.test} has no column '{data.schema.target}', the target.")
        known = asked[data.schema.target].is_not_null()
        test, of_test, how = (
            Dataset(frame.filter(known), data.schema, "", origin),
            asked.filter(known),
            "official test set",
        )
    else:
        late, how = split.split(typed, data.schema, config.data)
        test, of_test = dataclasses.replace(data, frame=data.frame.filter(late)), typed.filter(late)
        data, typed = dataclasses.replace(data, frame=data.frame.filter(~late)), typed.filter(~late)
    meaning = of_training(data.schema, typed)
    return Split(_versioned(data, meaning), _versioned(test, meaning), how), (typed, of_test)


def _versioned(data: Dataset, meaning: Schema) -> Dataset:
    return dataclasses.replace(data, schema=meaning, version=version.fingerprint(data.frame))


def of_training(meaning: Schema, typed: pl.DataFrame) -> Schema:
    """The schema with the ranges and levels of the training rows alone: the test rows stay unknown."""
    return dataclasses.replace(meaning, columns=tuple(_of_training(column, typed) for column in meaning.columns))


def _of_training(column: Column, typed: pl.DataFrame) -> Column:
    if column.name not in typed.columns or column.role not in ("number", "category"):
        return column
    values = typed[column.name].drop_nulls()
    if column.role == "number":
        numbers = values.to_numpy()
        low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (None, None)
        return dataclasses.replace(column, low=low, high=high)
    there = set(values.unique())
    return dataclasses.replace(column, levels=tuple(level for level in column.levels if level in there))


def rows(config: Config, project: Path, data: Dataset) -> Rows:
    """A Dataset as arrays."""
    frame = typed(config, project, data).frame
    target = frame[str(data.schema.target)]
    y = target.to_numpy() if data.schema.task == "regression" else np.array(target.to_list(), dtype=object)
    return Rows(frame, from_frame(frame, data.schema), y)


def proof(known: Rows, asked: Rows, meaning: Schema, count: int = PROOF_ROWS) -> Columns:
    """Up to `count` real rows to prove parity on: the test rows first, then training rows."""
    if len(asked.frame) >= count:
        return asked.columns
    return from_frame(pl.concat([asked.frame, known.frame.head(count - len(asked.frame))]), meaning)


def typed(config: Config, project: Path, data: Dataset) -> Dataset:
    """A Dataset with its frame conformed to the schema, the hooks' columns included."""
    return dataclasses.replace(data, frame=prepare(data.frame, data.schema, functions_of(config, project))[0])


def hooks_file(config: Config, project: Path) -> Path | None:
    """The file of hooks: `features.code`, or features.py where there is one."""
    if config.features.code:
        return project / config.features.code
    return project / HOOKS if (project / HOOKS).is_file() else None


def functions_of(config: Config, project: Path) -> Mapping[str, hooks.Hook]:
    """The functions of the hooks' file; none where there is no file."""
    file = hooks_file(config, project)
    return hooks.load(file) if file else {}


def example(data: Dataset) -> dict[str, list[Any]]:
    """A few rows as they come, column by column: what callers are shown."""
    names = [column.name for column in data.schema.inputs]
    return data.frame.select(names).head(EXAMPLE_ROWS).to_dict(as_series=False)


def look(config: Config, project: Path, path: Path) -> Path:
    """Write the EDA report of all rows to `path`."""
    from keepfit.data import profile

    functions = functions_of(config, project)
    frame, origin = read.read(config.data, project)
    meaning = understand(frame, config, functions)
    path.parent.mkdir(parents=True, exist_ok=True)
    profile.profile(Dataset(prepare(frame, meaning, functions)[0], meaning, version.fingerprint(frame), origin), path)
    return path


def init(folder: Path, source: str, target: str | None) -> Path:
    """Write a commented keepfit.yaml for a source that was looked at."""
    from keepfit.data import template

    data = parse({"data": {"source": source, "target": target}}).data
    frame, _ = read.read(data, Path())
    if Path(source).exists():  # it was named from here, but is written into a file that stands elsewhere
        data = data.model_copy(update={"source": Path(os.path.relpath(source, folder)).as_posix()})
    meaning = schema.infer(frame, data, "auto")
    path = folder / "keepfit.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(template.template(folder.resolve().name, meaning, data), encoding="utf-8")
    partial.replace(path)
    return path
