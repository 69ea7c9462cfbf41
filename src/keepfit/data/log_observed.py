"""Every observation that the log knows of a forecast: labels of its predictions, and rows that were told.

read      a frame: id (the key), row, value, time; one row a series and period, the last told
history   every label, also those that were replaced
asked     what predictions were asked for, by their ids
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from keepfit.data import log_read, observations, segments
from keepfit.data.labels import Label
from keepfit.data.log_roll import FEEDBACK
from keepfit.types import Schema

COLUMNS = {"id": pl.String(), "row": pl.String(), "value": pl.Float64(), "time": log_read.MOMENT}


def read(folder: Path, schema: Schema, uri: str | None = None) -> pl.DataFrame:
    """The observations that the log in `folder` knows by now, oldest told first: id, row (as JSON), value, time.

    A label of a prediction counts as an observation of the series and the time that was asked about.
    """
    told = log_read.latest(folder.parent / FEEDBACK, uri)
    rows = told.filter(pl.col("row").is_not_null() & pl.col("value").is_finite()).select(COLUMNS.keys())
    labelled = told.filter(pl.col("row").is_null() & pl.col("value").is_finite())
    by_id = pl.DataFrame([*_labelled(folder, labelled, schema, uri)], schema=COLUMNS, orient="row")
    every = pl.concat([rows, by_id]).sort("time", maintain_order=True)
    return every.unique("id", keep="last", maintain_order=True)


def history(feedback: Path, uri: str | None = None) -> list[Label]:
    """Every label in the feedback, oldest first, those that were replaced too."""
    found = log_read.history(feedback, uri).with_columns(time=pl.col("time").dt.epoch("us") / 1e6)
    names = ("id", "value", "time", "caller", "row")
    return [Label(*row) for row in found.filter(pl.col("value").is_not_null()).select(names).iter_rows()]


def asked(folder: Path, ids: Iterable[str], uri: str | None = None) -> dict[str, dict[str, Any]]:
    """What the predictions of some ids were asked for, as JSON has it; without those that are not in the log."""
    named = pl.DataFrame({"id": [*ids]}, schema={"id": pl.String})
    rows = log_read.read(folder, _first(named), role=None, uri=uri)
    if "inputs" not in rows.collect_schema():
        return {}
    found = rows.select("id", "inputs").join(named.lazy(), on="id").collect()
    return {id: {name: _said(one) for name, one in inputs.items() if one is not None} for id, inputs in found.rows()}


def _labelled(
    folder: Path, labels: pl.DataFrame, schema: Schema, uri: str | None
) -> Iterator[tuple[str, str, float, datetime]]:
    """What labels say of the predictions that they are of."""
    reader = observations.reader(schema, logged=True)
    if reader is None or not labels.height:
        return
    rows = asked(folder, labels["id"], uri)
    for id, value, time in labels.select("id", "value", "time").rows():
        if id not in rows:
            continue
        try:
            key, number, row = reader({**rows[id], str(schema.target): value})
        except ValueError:  # a prediction of another task or without a time
            continue
        yield key, row, number, time


def _first(labels: pl.DataFrame) -> datetime | None:
    """No prediction of these labels is older."""
    begun = [place and segments.opened(place[0]) for place in map(segments.place, labels["id"].to_list())]
    known = [time for time in begun if time is not None]
    return datetime.fromtimestamp(min(known), UTC) if known else None


def _said(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
