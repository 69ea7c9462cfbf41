"""Labelled rows of a real log: joined, typed, in order, bounded, and what means nothing is counted."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit.data import labels, log_roll
from keepfit.data.log import Line, open_log
from keepfit.errors import ConfigError
from keepfit.monitoring import labelled
from keepfit.types import Column, Rhythm, Schema
from tests.data.answered import CLASSES, PRICES, ROW, SCHEMA, price, record

START = datetime(2024, 5, 1, tzinfo=UTC)


def log_of(folder: Path, rows: int, truth: Any, version: str = "1", **inputs: Any) -> list[str]:
    """Rows a minute apart from START on, of which every one gets its label `truth(k)`, where that is not None."""
    log = open_log(folder / "predictions", SCHEMA, "churn", version)
    keys = log.ids(rows)
    for k, key in enumerate(keys):
        row = {**ROW, **{name: make(k) for name, make in inputs.items()}}
        said = {"prediction": CLASSES[k % 2], "confidence": 0.75, "probabilities": [0.75, 0.25]}
        log.write([record(key, row, START.timestamp() + 60 * k, **said)])
    told = [{"id": key, "label": truth(k)} for k, key in enumerate(keys) if truth(k) is not None]
    assert labels.add(folder / "feedback", folder / "predictions", told).accepted == len(told)
    log.close()
    return keys


def test_rows_with_labels_oldest_first_with_their_answers_and_inputs(tmp_path: Path) -> None:
    log_of(tmp_path, 6, lambda k: None if k == 3 else CLASSES[k // 3], age=lambda k: 20 + k)
    log_roll.tidy(tmp_path / "predictions")
    found = labelled.read(tmp_path / "predictions", SCHEMA)
    assert len(found) == 5
    assert found.y.tolist() == ["no", "no", "no", "yes", "yes"]
    assert found.output.values.tolist() == ["no", "yes", "no", "no", "yes"]
    assert found.output.probabilities is not None
    assert found.output.probabilities.tolist() == [[0.75, 0.25]] * 5
    assert found.inputs["age"].to_list() == [20, 21, 22, 24, 25]
    assert found.times[0] == np.datetime64("2024-05-01T00:00:00")
    assert (np.diff(found.times) > np.timedelta64(0)).all()
    assert set(found.versions) == {"1"}
    assert (found.unknown, found.older) == (0, 0)


def test_a_label_of_no_class_of_the_model_is_left_out_and_counted(tmp_path: Path) -> None:
    log_of(tmp_path, 6, lambda k: CLASSES[k % 2])
    fewer = dataclasses.replace(SCHEMA, classes=("no", "maybe"))  # the model that asks knows other classes
    found = labelled.read(tmp_path / "predictions", fewer)
    assert (len(found), found.unknown) == (3, 3)
    assert found.output.probabilities is not None
    assert found.output.probabilities.tolist() == [[0.75, 0.0]] * 3


def test_only_the_newest_rows_are_read_and_the_others_counted(tmp_path: Path) -> None:
    log_of(tmp_path, 9, lambda k: "no", age=lambda k: k)
    found = labelled.read(tmp_path / "predictions", SCHEMA, newest=4)
    assert found.inputs["age"].to_list() == [5, 6, 7, 8]
    assert found.older == 5


def test_a_window_is_from_since_on_and_before_until(tmp_path: Path) -> None:
    log_of(tmp_path, 6, lambda k: "no", age=lambda k: k)
    window = START + timedelta(minutes=1), START + timedelta(minutes=4)
    found = labelled.read(tmp_path / "predictions", SCHEMA, *window)
    assert found.inputs["age"].to_list() == [1, 2, 3]


def test_with_an_event_time_that_orders_the_rows(tmp_path: Path) -> None:
    """The events came the other way round, in 2014, and one has no date: it counts by its answer."""
    log_of(tmp_path, 4, lambda k: "no", age=lambda k: k, since=lambda k: "?" if k == 3 else f"{13 - k}/10/2014")
    found = labelled.read(tmp_path / "predictions", SCHEMA, time="since")
    assert found.inputs["age"].to_list() == [2, 1, 0, 3]
    assert found.times[0] == np.datetime64("2014-10-11T00:00:00")
    early = labelled.read(tmp_path / "predictions", SCHEMA, until=datetime(2014, 10, 13, tzinfo=UTC), time="since")
    assert early.inputs["age"].to_list() == [2, 1]


def test_an_event_time_that_is_no_date_says_which_columns_are(tmp_path: Path) -> None:
    log_of(tmp_path, 1, lambda k: "no")
    with pytest.raises(ConfigError, match=r"monitoring.time: the log has no dates in 'age'.*Columns with dates: since"):
        labelled.read(tmp_path / "predictions", SCHEMA, time="age")


def test_versions_apart(tmp_path: Path) -> None:
    log_of(tmp_path, 2, lambda k: "no", "1")
    log_of(tmp_path, 3, lambda k: "no", "2")
    found = labelled.read(tmp_path / "predictions", SCHEMA, version="2")
    assert set(found.versions) == {"2"}
    assert len(found) == 3


def test_numbers_with_their_intervals(tmp_path: Path) -> None:
    log = open_log(tmp_path / "predictions", PRICES, "prices", "1")
    keys = log.ids(3)
    log.write([price(key, 10.0 + k, low=9.0 + k, high=11.0 + k) for k, key in enumerate(keys)])
    told = [{"id": key, "label": value} for key, value in zip(keys, [10.5, 12, 11], strict=True)]
    labels.add(tmp_path / "feedback", tmp_path / "predictions", told)
    log.close()
    found = labelled.read(tmp_path / "predictions", PRICES)
    assert dict(zip(found.output.values.tolist(), found.y.tolist(), strict=True)) == {10: 10.5, 11: 12, 12: 11}
    assert found.output.low is not None
    assert (found.output.values - found.output.low).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("time", [None, "since"])
def test_a_log_without_rows_or_without_labels(tmp_path: Path, time: str | None) -> None:
    assert len(labelled.read(tmp_path / "predictions", SCHEMA, time=time)) == 0
    log_of(tmp_path, 2, lambda k: None)
    found = labelled.read(tmp_path / "predictions", SCHEMA, time=time)
    assert (len(found), found.output.probabilities, found.older) == (0, None, 0)


def test_some_of_the_rows(tmp_path: Path) -> None:
    log_of(tmp_path, 4, lambda k: CLASSES[k % 2], age=lambda k: k)
    found = labelled.read(tmp_path / "predictions", SCHEMA)
    some = found[found.y == "yes"]
    assert some.inputs["age"].to_list() == [1, 3]
    assert len(some.output) == len(some.times) == 2


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[("no", 0.25), ("yes", 0.75)], [("yes", 0.5), ("no", 0.5)]], [[0.25, 0.75], [0.5, 0.5]]),
        ([[("no", 1.0)]], [[1.0, 0.0]]),
        ([[("no", 0.25), ("yes", 0.75)], None], None),
        ([[("no", None), ("yes", 0.75)]], None),
        ([[]], None),
    ],
)
def test_probabilities_of_maps_in_any_order(rows: Any, expected: Any) -> None:
    pairs = pl.List(pl.Struct({"key": pl.String, "value": pl.Float64}))
    column = pl.Series([row and [{"key": k, "value": v} for k, v in row] if row else row for row in rows], dtype=pairs)
    found = labelled.probabilities(column, CLASSES)
    assert (found if found is None else found.tolist()) == expected


def test_what_had_been_observed_when_it_was_asked_for_is_no_forecast(tmp_path: Path) -> None:
    columns = (Column("shop", "series"), Column("month", "moment", "date"), Column("sold", "past"))
    schema = Schema(columns, "forecast", "sold", rhythm=Rhythm("month", "1mo", 0.0, 2, ("shop",)))
    log = open_log(tmp_path / "predictions", schema, "shops", "1")
    keys = log.ids(3)
    rows = log.inputs([{"shop": "north", "month": f"1971-0{k + 1}-01"} for k in range(3)])
    for k, (key, row) in enumerate(zip(keys, rows, strict=True)):
        log.write([Line(key, START.timestamp(), "r", None, "/predict", 0.1, row, 5.0, step=float(k), scale=2.0)])
    labels.add(tmp_path / "feedback", tmp_path / "predictions", [{"id": key, "label": 7} for key in keys])
    log.close()
    found = labelled.read(tmp_path / "predictions", schema)
    assert found.output.ahead is not None
    assert found.output.ahead.step.tolist() == [1, 2]
    assert (len(found), found.unknown, found.older) == (2, 0, 0)
