"""Observations: told by series and time, kept as labels, found again by the forecasts they are about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keepfit.data import labels, log_read, log_roll, observations
from keepfit.data.log import Line, open_log
from keepfit.types import Column, Rhythm, Schema

COLUMNS = (
    Column("shop", "series"), Column("month", "moment", "date"), Column("sold", "past"), Column("price", "number"),
)  # fmt: skip
SCHEMA = Schema(COLUMNS, "forecast", "sold", rhythm=Rhythm("month", "1mo", 0.0, 2, ("shop",)))
read = observations.reader(SCHEMA)
assert read is not None


def give(folder: Path, months: list[str], schema: Schema = SCHEMA, at: float = 1.0) -> list[str]:
    """Forecasts of these months for 'north', in the log; their ids."""
    log = open_log(folder / "predictions", schema, "shops", "1")
    ids = log.ids(len(months))
    asked = [{"shop": "north", "month": month} for month in months]
    lines = zip(ids, log.inputs(asked), strict=True)
    log.write([Line(key, at, "r", None, "/predict", 0.1, row, 5.0, step=1.0, scale=2.0) for key, row in lines])
    log.close()
    return ids


def tell(folder: Path, *entries: dict[str, Any]) -> labels.Report:
    return labels.add(folder / "feedback", folder / "predictions", entries, observed=read)


def known(folder: Path) -> dict[str, float | None]:
    """Month → what the forecasts of it are labelled with."""
    rows = log_read.read(folder / "predictions", labels=True).collect()
    months = rows["inputs"].struct.field("month").dt.strftime("%Y-%m").to_list()
    return dict(zip(months, rows["label_value"].to_list(), strict=True))


def test_an_observation_labels_the_forecasts_of_its_series_and_time(tmp_path: Path) -> None:
    give(tmp_path, ["1971-01-01", "1971-02-01"])
    told = tell(
        tmp_path,
        {"shop": "north", "month": "1971-01-20", "sold": 7},
        {"shop": "south", "month": "1971-02-01", "sold": 9},
    )
    assert told.accepted == 2
    assert known(tmp_path) == {"1971-01": 7.0, "1971-02": None}
    assert log_read.read(tmp_path / "predictions", labels=True).collect().height == 2


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize(
    ("series", "time", "target"),
    [
        ("label", "month", "sold"), ("id", "month", "sold"), ("y", "time", "value"), ("time", "step", "label"),
        ("step", "prediction", "y"), ("prediction", "time", "label"), ("id", "time", "label"), ("row", "label", "id"),
    ],
)  # fmt: skip
def test_columns_may_be_called_as_those_of_the_feedback_and_the_log(
    tmp_path: Path, series: str, time: str, target: str, rolled: bool
) -> None:
    columns = (Column(series, "series"), Column(time, "moment", "date"), Column(target, "past"))
    schema = Schema(columns, "forecast", target, rhythm=Rhythm(time, "1mo", 0.0, 2, (series,)))
    log = open_log(tmp_path / "predictions", schema, "shops", "1")
    [key, other] = log.ids(2)
    asked = log.inputs([{series: "north", time: "1971-01-01"}, {series: "south", time: "1971-01-01"}])
    log.write([Line(k, 1.0, "r", None, "/p", 0.1, row, 5.0) for k, row in zip((key, other), asked, strict=True)])
    log.close()
    entries = ({series: "north", time: "1971-01-20", target: 7}, {"id": other, "label": 9})
    told = labels.add(tmp_path / "feedback", tmp_path / "predictions", entries, observed=observations.reader(schema))
    assert (told.accepted, told.invalid, told.unknown) == (2, (), ())
    if rolled:
        log_roll.roll(tmp_path / "predictions")
        log_roll.roll(tmp_path / "feedback")
    found = log_read.read(tmp_path / "predictions", labels=True).collect()
    assert dict(zip(found["id"], found["label_value"], strict=True)) == {key: 7.0, other: 9.0}


@pytest.mark.parametrize("rolled", [False, True])
def test_the_last_value_wins_whether_told_by_id_or_by_time(tmp_path: Path, rolled: bool) -> None:
    [first, second] = give(tmp_path, ["1971-01-01", "1971-02-01"])
    tell(tmp_path, {"id": first, "label": 1}, {"shop": "north", "month": "1971-02-01", "sold": 2})
    tell(tmp_path, {"shop": "north", "month": "1971-01-01", "sold": 3}, {"id": second, "label": 4})
    if rolled:
        for name in ("predictions", "feedback"):
            log_roll.roll(tmp_path / name)
    assert known(tmp_path) == {"1971-01": 3.0, "1971-02": 4.0}


def test_what_was_observed_on_a_day_of_rest_is_refused() -> None:
    business = replace(SCHEMA, rhythm=Rhythm("month", "1b", 4 * 86400.0, 2, ("shop",)))
    reads = observations.reader(business)
    assert reads is not None
    assert (
        reads({"shop": "north", "month": "1970-01-12T09:00", "sold": 7}).key == '{"shop":"north","month":"1970-01-12"}'
    )
    with pytest.raises(ValueError, match="'month' is not from Monday to Friday, and so in no period of 1b"):
        reads({"shop": "north", "month": "1970-01-10", "sold": 7})


def test_columns_of_the_key_may_be_called_as_those_of_the_log_are(tmp_path: Path) -> None:
    columns = (Column("model", "series"), Column("time", "moment", "date"), Column("value", "past"))
    schema = Schema(columns, "forecast", "value", rhythm=Rhythm("time", "1mo", 0.0, 2, ("model",)))
    log = open_log(tmp_path / "predictions", schema, "shops", "1")
    rows = log.inputs([{"model": "north", "time": f"1971-0{month}-01"} for month in (1, 2)])
    log.write([Line(key, 1.0, "r", None, "/predict", 0.1, row, 5.0) for key, row in zip(log.ids(2), rows, strict=True)])
    log.close()
    told = [{"model": "north", "time": "1971-02-01", "value": 7}]
    labels.add(tmp_path / "feedback", tmp_path / "predictions", told, observed=observations.reader(schema))
    found = log_read.read(tmp_path / "predictions", labels=True).collect()
    assert dict(zip(found["inputs"].struct.field("time").dt.month(), found["label_value"], strict=True)) == {
        1: None,
        2: 7,
    }
    assert found["time"].dt.year().to_list() != [1971, 1971]  # when it was answered


def test_an_observation_keeps_what_is_known_ahead_and_its_key_is_the_period(tmp_path: Path) -> None:
    give(tmp_path, ["1971-01-01"])
    for day, value in (("1971-03-04", 5), ("1971-03-30", "6")):
        tell(tmp_path, {"shop": "north", "month": day, "sold": value, "price": 1.5, "other": 3})
    [row] = log_read.latest(tmp_path / "feedback").to_dicts()
    assert row["id"] == '{"shop":"north","month":"1971-03-01"}'
    assert row["row"] == '{"shop":"north","month":"1971-03-01","price":1.5}'
    assert row["value"] == 6.0


@pytest.mark.parametrize(
    ("entry", "column", "problem"),
    [
        ({"shop": "north", "month": "1971-01-01"}, "sold", "'sold' is not there"),
        ({"shop": "north", "month": "1971-01-01", "sold": None}, "sold", "'sold' is missing"),
        ({"shop": "north", "month": "1971-01-01", "sold": "many"}, "sold", "'sold': not a number: 'many'"),
        ({"shop": None, "month": "1971-01-01", "sold": 1}, "shop", "'shop' is missing"),
        ({"shop": [], "month": "1971-01-01", "sold": 1}, "shop", "'shop': "),
        ({"month": "1971-01-01", "sold": 1}, "shop", "'shop' is not there"),
        ({"shop": "north", "month": "soon", "sold": 1}, "month", "soon"),
        ({"shop": "north", "month": None, "sold": 1}, "month", "'month' is missing"),
        ({"shop": "north", "month": "1971-01-01", "sold": float("inf")}, "sold", ""),
        ({"shop": "north", "month": "1971-01-01", "sold": 1e31, "confirmed": True}, "sold", "beyond 1e30"),
    ],
)
def test_what_is_no_observation_is_told_and_costs_the_others_nothing(
    tmp_path: Path, entry: dict[str, Any], column: str, problem: str
) -> None:
    give(tmp_path, ["1971-01-01"])
    report = tell(tmp_path, entry, {"shop": "north", "month": "1971-01-01", "sold": 8})
    assert report.accepted == 1
    [fault] = report.invalid
    assert (fault.row, fault.column) == (0, column)
    assert problem in fault.problem
    assert known(tmp_path) == {"1971-01": 8.0}


def test_a_label_that_is_too_large_to_go_on_from_is_told(tmp_path: Path) -> None:
    first, second = give(tmp_path, ["1971-01-01", "1971-02-01"])
    report = tell(tmp_path, {"id": first, "label": 1e31}, {"id": second, "label": 1e30})
    assert report.accepted == 1
    assert [(fault.row, fault.problem[:11]) for fault in report.invalid] == [(0, "beyond 1e30")]


def test_what_is_redacted_reaches_no_file(tmp_path: Path) -> None:
    hidden = observations.reader(SCHEMA, ["price"])
    assert hidden is not None
    assert "price" not in hidden({"shop": "north", "month": "1971-01-01", "sold": 8, "price": 2}).row
    unknown = observations.reader(SCHEMA, ["shop"])
    assert unknown is not None
    with pytest.raises(ValueError, match=r"'shop' is kept out of the log"):
        unknown({"shop": "north", "month": "1971-01-01", "sold": 8})


def test_without_a_reader_a_row_is_no_label(tmp_path: Path) -> None:
    give(tmp_path, ["1971-01-01"])
    entry = {"shop": "north", "month": "1971-01-01", "sold": 8}
    report = labels.add(tmp_path / "feedback", tmp_path / "predictions", [entry])
    assert (report.accepted, report.invalid[0].problem) == (0, "'id' is not there")


def test_what_is_still_to_come_was_not_observed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wrong digit of a year, and every forecast of the series would begin there."""
    monkeypatch.setattr(observations.time, "time", lambda: 86400.0 * (365 + 45))  # the middle of February 1971
    give(tmp_path, ["1971-03-01"])
    slip = {"shop": "north", "month": "1981-01-01", "sold": 7}
    told = tell(tmp_path, slip, {"shop": "north", "month": "1971-01-01", "sold": 7})
    assert told.accepted == 1
    (wrong,) = told.invalid
    assert "'month' 1981-01-01 is still to come" in wrong.problem
    assert '"confirmed": true' in wrong.problem
    assert tell(tmp_path, {**slip, "confirmed": True}).accepted == 1


@pytest.mark.parametrize(
    ("frequency", "near", "far"),
    [("1mo", "1971-04-01", "1971-05-01"), ("1d", "1971-03-03", "1971-03-04"), ("1w", "1971-03-06", "1971-03-18")],
)
def test_clocks_may_differ_and_a_period_may_be_named_by_its_end(
    monkeypatch: pytest.MonkeyPatch, frequency: str, near: str, far: str
) -> None:
    monkeypatch.setattr(observations.time, "time", lambda: 86400.0 * (365 + 59))  # the first of March 1971
    rhythm = Rhythm("month", frequency, 0.0, 2, ("shop",))
    made = observations.reader(replace(SCHEMA, rhythm=rhythm))
    assert made is not None
    made({"shop": "north", "month": near, "sold": 1})
    with pytest.raises(ValueError, match="still to come"):
        made({"shop": "north", "month": far, "sold": 1})


def test_times_that_are_plain_numbers_have_no_clock() -> None:
    columns = (COLUMNS[0], Column("month", "moment", "int"), *COLUMNS[2:])
    made = observations.reader(replace(SCHEMA, columns=columns, rhythm=Rhythm("month", "1i", 0.0, 2, ("shop",))))
    assert made is not None
    assert made({"shop": "north", "month": 9e9, "sold": 1}).value == 1
