"""Every observation that the log knows of a forecast: labels of its predictions, and rows that were told.

read   a frame: id (the key), inputs, label_value, label_time; one row a series and period, the last told
rows   the same as mappings, as requests bring them
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from keepfit.data import log_read, observations, segments
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


def rows(folder: Path, schema: Schema, uri: str | None = None) -> list[Mapping[str, Any]]:
    """The observed rows of the log in `folder`, with the target."""
    found = read(folder, schema, uri)
    pairs = zip(found["row"].to_list(), found["value"].to_list(), strict=True)
    return [{**json.loads(row), str(schema.target): value} for row, value in pairs]


def _labelled(
    folder: Path, labels: pl.DataFrame, schema: Schema, uri: str | None
) -> Iterator[tuple[str, str, float, datetime]]:
    """What labels say of the predictions that they are of."""
    reader = observations.reader(schema)
    if reader is None or not labels.height:
        return
    asked = log_read.read(folder, _first(labels), role=None, uri=uri)
    if "inputs" not in asked.collect_schema():
        return
    named = labels.select("id", "value", label_time="time")
    found = asked.select("id", "inputs").join(named.lazy(), on="id").collect()
    for inputs, value, time in found.select("inputs", "value", "label_time").rows():
        entry = {name: _said(one) for name, one in inputs.items() if one is not None}
        try:
            key, number, row = reader({**entry, str(schema.target): value})
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
