"""The rows of the prediction log whose truth is known by now, as arrays.

Only the newest rows are read, `NEWEST` unless told otherwise, so that memory is bounded however long the
log is. A label that is none of the model's classes, or no number where one is due, cannot be measured: its
row is left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from keepfit.data import log_read
from keepfit.models import metrics
from keepfit.models.fitted import Ahead, Floats, Output
from keepfit.types import Schema

NEWEST = 100_000  # labelled rows that are read: their metrics are known to a third of a percent
TIME = "event"  # of a row: the answer's time, or that in the column of monitoring.time
PAIRS = pl.List(pl.Struct({"key": pl.String, "value": pl.Float64}))


@dataclass(frozen=True)
class Labelled:
    """n labelled rows, oldest first.

    `y` (n,) true labels as text or values; `times` (n,) datetime64[us], UTC; `versions` (n,) of the model
    that answered; `inputs` has a column for each logged input. `unknown` rows were left out because their
    label means nothing to the model, `older` ones because only the newest rows are read.
    """

    y: NDArray[Any]
    output: Output
    times: NDArray[np.datetime64]
    versions: NDArray[Any]
    inputs: pl.DataFrame
    unknown: int = 0
    older: int = 0

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Any) -> Labelled:
        """Some of the rows, by a mask or by their numbers."""
        parts = self.y[rows], self.output[rows], self.times[rows], self.versions[rows]
        return Labelled(*parts, self.inputs[np.arange(len(self))[rows]], self.unknown, self.older)


def read(
    folder: Path,
    schema: Schema,
    since: datetime | None = None,
    until: datetime | None = None,
    role: str | None = "champion",
    version: str | None = None,
    time: str | None = None,
    newest: int = NEWEST,
    uri: str | None = None,
    coverage: float = Ahead.coverage,
) -> Labelled:
    """The newest labelled rows of the log in `folder`, from `since` on and before `until`.

    `time` names the input column with the time of the event (`monitoring.time`); without it, that of the
    answer counts. `version` leaves one version's rows. `coverage`: what intervals of forecasts promise. Raises
    ConfigError where `time` is no date column of the log.
    """
    among = (since, until) if time is None else (None, None)
    rows = log_read.read(folder, *among, labels=True, role=role, uri=uri)
    columns = rows.collect_schema()
    rows = rows.filter(pl.col("label").is_not_null()).with_columns(log_read.event(columns, time).alias(TIME))
    rows = rows.filter(pl.col("version") == version) if version is not None else rows
    rows = rows.filter(pl.col("step").is_null() | (pl.col("step") >= 1)) if "step" in columns else rows
    if time is not None:
        rows = rows.filter(*_within(since, until))
    kept = [name for name in KEPT if name in columns or name == TIME]
    count, frame = pl.collect_all([rows.select(pl.len()), rows.select(kept).top_k(newest, by=[TIME, "id"])])
    found = _arrays(frame.sort(TIME, "id"), schema, coverage)
    return Labelled(**found, older=int(count.item()) - frame.height)


KEPT = (
    *("id", "version", "inputs", "prediction", "value", "probabilities", "low", "high", "step", "scale"),
    *("label", "label_value", TIME),
)


def _within(since: datetime | None, until: datetime | None) -> list[pl.Expr]:
    bounds = [pl.col(TIME) >= since] if since is not None else []
    return bounds + ([pl.col(TIME) < until] if until is not None else [])


def _arrays(frame: pl.DataFrame, schema: Schema, coverage: float) -> dict[str, Any]:
    """The fields of Labelled, without the rows whose label means nothing."""
    if schema.classes:
        means = frame["label"].is_in(pl.Series(schema.classes).implode())
        frame = frame.with_columns(pl.col("prediction").fill_null(""))
    else:
        means = frame["label_value"].is_finite().fill_null(False) & frame["value"].is_finite().fill_null(False)
    known = frame.filter(means)
    inputs = known["inputs"].struct.unnest() if "inputs" in known.columns else pl.DataFrame()
    return {
        "y": _texts(known["label"]) if schema.classes else known["label_value"].to_numpy(),
        "output": _output(known, schema.classes, coverage),
        "times": known[TIME].dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"),
        "versions": _texts(known["version"]),
        "inputs": inputs if inputs.width else pl.DataFrame({"": pl.Series([None] * known.height, dtype=pl.Null)}),
        "unknown": frame.height - known.height,
    }


def _texts(column: pl.Series) -> NDArray[Any]:
    return np.array(column.to_list(), dtype=object)


def _output(frame: pl.DataFrame, classes: tuple[str, ...], coverage: float) -> Output:
    if classes:
        return Output(_texts(frame["prediction"]), probabilities(frame["probabilities"], classes))
    low, high = _both(frame, "low", "high")
    scale, step = _both(frame, "scale", "step")
    ahead = None if scale is None or step is None else Ahead(scale, step, coverage)
    return Output(frame["value"].to_numpy(), None, low, high, ahead)


def _both(frame: pl.DataFrame, one: str, other: str) -> tuple[Floats | None, Floats | None]:
    """Two columns of numbers (n,); None where a row lacks one of them."""
    if not {one, other} <= {*frame.columns} or frame[one].null_count() or frame[other].null_count():
        return None, None
    return frame[one].to_numpy(), frame[other].to_numpy()


def probabilities(column: pl.Series, classes: tuple[str, ...]) -> Floats | None:
    """Probabilities of the classes (n, classes), of a column of maps from class to probability.

    None where a row has none, as then no metric of probabilities is that of all rows. A class that a row
    does not name had no chance.
    """
    if column.null_count() or not len(column):
        return None
    column = column.cast(PAIRS)
    if not column.list.len().min():
        return None
    pairs = column.explode().struct.unnest()
    keys, values = pairs["key"], pairs["value"]
    if values.null_count():
        return None
    place = metrics.codes(_texts(keys), classes)
    row = np.repeat(np.arange(len(column)), column.list.len().to_numpy())
    found = np.zeros((len(column), len(classes)))
    known = place >= 0
    found[row[known], place[known]] = values.to_numpy()[known]
    return found if (found.sum(axis=1) > 0).all() else None
