"""What was answered and what turned out to be true: labelled rows of the prediction log as frames.

    labelled   the rows whose label is known by now: id, at, label_time, version, role, step, inputs, truth
    columns    their inputs and their target, named and typed as in a Schema
    said       what a registered version answers for a frame

`at` is when a row happened: the time in the column `monitoring.time`, or else when it was answered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data import log_read
from keepfit.data.conform import conform
from keepfit.errors import DataError
from keepfit.extras import load as load_target
from keepfit.features.frame import from_frame
from keepfit.features.prepare import prepare
from keepfit.models.fitted import Output
from keepfit.pipeline import champion
from keepfit.pipeline.loading import load
from keepfit.types import Schema

MOMENT = pl.Datetime("us", "UTC")
EMPTY = {
    "id": pl.String(),
    "at": MOMENT,
    "label_time": MOMENT,
    "version": pl.String(),
    "role": pl.String(),
    "step": pl.Float64(),
    "truth": pl.String(),
}


def moment(config: Config, project: Path) -> datetime:
    """What "now" is where nobody says: the clock's, or with `monitoring.time` the newest time in the log."""
    rows = _all(config, project, None) if config.monitoring.time else None
    newest = rows.select(pl.col("at").max()).collect().item() if rows is not None else None
    return newest if isinstance(newest, datetime) else datetime.now(UTC)


def labelled(config: Config, project: Path, now: datetime, task: str, role: str | None = None) -> pl.DataFrame:
    """The rows of the log that happened and got a label by `now`, oldest first; see the module for the columns.

    `truth` is the class, or the number where there are none. A label's own time counts where the clock's does:
    a replayed stream (`monitoring.time`) brings labels of long ago today. Raises DataError where the log's
    store cannot be read, ConfigError where `monitoring.time` names no date of the log.
    """
    rows = _all(config, project, role)
    if rows is None:
        return pl.DataFrame(schema={**EMPTY, "inputs": pl.Struct({})})
    truth = pl.col("label" if task == "classification" else "label_value")
    known = (pl.col("at") <= now) & truth.is_not_null()
    if config.monitoring.time is None:
        known &= pl.col("label_time") <= now
    kept = rows.filter(known).select(
        "id", "at", "label_time", "version", "role", "step", "inputs", truth.alias("truth")
    )
    return kept.collect().sort("at", "id")


def known(config: Config, project: Path, now: datetime, schema: Schema | None) -> pl.DataFrame:
    """What a training could learn from: labelled rows, and of a forecast what was observed of each series and period.

    The columns `at` and `label_time` at least, a row for each row that is learned from; `at` of an observation is
    when it was told.
    """
    if schema is None or schema.task not in OBSERVED:
        return labelled(config, project, now, "classification" if schema is None else schema.task)
    read: Callable[..., pl.DataFrame] = load_target(OBSERVED[schema.task], "task")
    found = read(project / settings.WORK / "predictions", schema, config.serving.log.uri)
    told = found.rename({"time": "label_time"}).with_columns(at=pl.col("label_time"))
    return told if config.monitoring.time else told.filter(pl.col("at") <= now)


OBSERVED = {"forecast": "keepfit.data.log_observed:read"}  # task → what it observes


def _all(config: Config, project: Path, role: str | None) -> pl.LazyFrame | None:
    """The log with its labels and `at`; None where nothing was answered yet."""
    folder = project / settings.WORK / "predictions"
    rows = log_read.read(folder, labels=True, role=role, uri=config.serving.log.uri)
    kinds = rows.collect_schema()
    if "inputs" not in kinds:
        return None
    return rows.with_columns(log_read.event(kinds, config.monitoring.time).alias("at"))


def columns(config: Config, rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Inputs and target of log rows in the canonical types of `schema`, dates as datetimes; hooks not applied.

    Raises DataError for an input that the log does not hold, and says where `serving.log.redact` is why.
    """
    held = rows["inputs"].struct.unnest() if len(rows["inputs"].struct.fields) else pl.DataFrame()
    absent = [column.name for column in schema.inputs if column.name not in held.columns]
    if absent:
        redacted = [name for name in absent if name in config.serving.log.redact]
        why = (
            f"serving.log.redact keeps {', '.join(redacted)} out of it: take it from that list, or retrain "
            "from data.source alone with 'keepfit run'."
            if redacted
            else "The data have changed since those rows were answered; train with 'keepfit run' first."
        )
        raise DataError(f"The prediction log cannot be learned from: it has no column {', '.join(absent)}. {why}")
    return canonical(held.with_columns(rows["truth"].alias(str(schema.target))), schema)


def canonical(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """A frame in the types that `schema` gives its columns, so that frames of several sources go together."""
    return _dated(conform(frame, _given(schema))[0], schema)


def _given(schema: Schema) -> Schema:
    """Without the columns that hooks make."""
    return dataclasses.replace(schema, columns=tuple(c for c in schema.columns if c.hook is None))


def _dated(typed: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Dates as datetimes: seconds would be read as another unit where dates are written as numbers."""
    dates = [c.name for c in schema.columns if c.dated]
    there = [name for name in dates if name in typed.columns]
    return typed.with_columns((pl.col(name) * 1e6).cast(pl.Int64).cast(pl.Datetime("us")) for name in there)


def said(config: Config, project: Path, version: str, frame: pl.DataFrame) -> Output:
    """What a registered version answers for the rows of a frame."""
    made = load(config, project, champion.folder(config, project, version))
    typed, _ = prepare(frame, made.schema, made.hooks)
    return made.predict(from_frame(typed, made.schema))
