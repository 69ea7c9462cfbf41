"""Tables with a series in each column or each row become long; what is not unmistakable stays as it is."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keepfit.config import Data, Forecast
from keepfit.data import conform, schema, wide
from keepfit.errors import ConfigError, DataError
from keepfit.types import Schema

DAYS = [date(2024, 1, 1) + timedelta(days=day) for day in range(12)]


def shaped(frame: pl.DataFrame, target: str = "sold", after: wide.Ends | None = None, **asked: Any) -> wide.Shaped:
    data = {"time": asked.pop("time")} if "time" in asked else {}
    return wide.shaped(frame, Data(source="x.csv", target=target, **data), Forecast(**asked), after)


def meaning(found: wide.Shaped) -> Schema:
    return schema.infer(found.frame, found.data, "forecast", forecast=found.forecast)


def columns() -> pl.DataFrame:
    return pl.DataFrame({"day": DAYS, "north": range(12), "south": [None, *range(1, 12)], "west": [1.5] * 12})


def rows(width: int = 12) -> pl.DataFrame:
    """M4's layout: texts, a name in front, tails that are empty."""
    values = {f"V{n + 2}": [str(n), str(10 * n) if n < 8 else None] for n in range(width)}
    return pl.DataFrame({"V1": ["H1", "H2"], **values})


def test_a_column_for_each_series():
    found = shaped(columns(), horizon=3)
    assert found.frame.columns == ["day", "series", "sold"]
    assert found.frame["series"].unique(maintain_order=True).to_list() == ["north", "south", "west"]
    assert found.frame.height == 35  # the empty cell is no row
    assert found.said[0].detail == "read as a wide table: 3 columns after 'day' are series of 'sold'"
    rhythm = meaning(found).rhythm
    assert rhythm is not None
    assert (rhythm.time, rhythm.series, rhythm.frequency) == ("day", ("series",), "1d")


def test_a_column_for_each_series_as_texts_with_marks_for_missing():
    text = columns().cast(pl.String).with_columns(west=pl.Series(["?", " ", *["1"] * 10]))
    found = shaped(text, series=["shop"])
    assert found.frame.columns == ["day", "shop", "sold"]
    assert found.frame.filter(shop="west").height == 10
    typed, problems = conform.conform(found.frame, meaning(found))
    assert not problems
    assert typed["sold"].sum() == 66 + 66 + 10


def test_times_that_cannot_be_read_are_no_order_of_rows_without_a_word():
    frame = pl.DataFrame({"when": [f"step {n} of May" for n in range(40)], "sold": range(0, 80, 2)})
    [check] = shaped(frame).said
    assert (check.outcome, check.severity) == ("failed", "warning")
    assert "If 'when' holds times, they are written in no way that keepfit knows" in check.detail
    [check] = shaped(frame.select("sold")).said
    assert check.outcome == "passed"


def test_a_row_for_each_series():
    found = shaped(rows())
    assert found.frame.columns == ["series", "time", "sold"]
    assert found.frame.group_by("series", maintain_order=True).len().rows() == [("H1", 12), ("H2", 8)]
    assert found.frame.filter(series="H2")["time"].to_list() == list(range(1, 9))
    assert found.frame.filter(series="H2")["sold"].to_list() == [str(10 * n) for n in range(8)]
    assert "2 rows are series of 'sold', named by 'V1'; their times count from 1" in found.said[0].detail


def test_rows_with_dates_as_headers_and_what_stands_before_them():
    frame = pl.DataFrame({"page": ["a", "b"], "kind": ["x", "y"], **{str(day): [1, 2] for day in DAYS}})
    found = shaped(frame)
    assert found.frame.columns == ["page", "kind", "time", "sold"]
    assert found.frame["time"].unique().sort().to_list() == [str(day) for day in DAYS]
    assert "columns 2024-01-01 to 2024-01-12 are their times" in found.said[0].detail
    assert meaning(found).rhythm.frequency == "1d"  # type: ignore[union-attr]
    assert meaning(found)["kind"].why.startswith("the same throughout each series")


def test_a_test_without_times_goes_on_where_the_series_end():
    train = shaped(rows(), horizon=2)
    told = meaning(train)
    ends = wide.ends(conform.conform(train.frame, told)[0], told)
    test = shaped(rows(2).select("V1", "V2", "V3"), after=ends, time="time", series=["series"], wide=True)
    assert test.frame.select("series", "time").rows() == [("H1", 13), ("H1", 14), ("H2", 9), ("H2", 10)]
    assert "go on from the end of the training rows" in test.said[0].detail


def test_a_test_without_times_after_dates():
    train = shaped(columns())
    told = meaning(train)
    ends = wide.ends(conform.conform(train.frame, told)[0], told)
    frame = pl.DataFrame({"name": ["north", "south"], "V2": [1, 2], "V3": [3, 4]})
    test = shaped(frame, after=ends, time="day", series=["series"], wide=True)
    assert test.frame.rows() == [
        ("north", "2024-01-13", 1.0), ("north", "2024-01-14", 3.0),
        ("south", "2024-01-13", 2.0), ("south", "2024-01-14", 4.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "frame",
    [
        columns().rename({"west": "sold"}),  # the target is a column
        columns().with_columns(west=pl.Series(["x"] * 12)),  # not all are numbers
        columns().select("day", "north"),  # one series is no wide table
        columns().with_columns(day=pl.Series(["a", "b"] * 6)),  # no times
        rows().rename({"V5": "price"}),  # headers that do not count
        rows(4),  # few columns
        rows().with_columns(V1=pl.lit("H1")),  # names come again
    ],
)
def test_what_can_be_something_else_stays(frame):
    found = shaped(frame)
    assert found.frame.equals(frame)
    assert found.said == ()


def test_wide_false_and_wide_true():
    assert shaped(columns(), wide=False).frame.equals(columns())
    assert shaped(rows(4), wide=True).frame.height == 8
    assert shaped(columns().select("day", "north"), wide=True).frame.height == 12
    with pytest.raises(ConfigError, match="the table has a column 'north', the target, so it is not wide"):
        shaped(columns(), "north", wide=True)
    with pytest.raises(ConfigError, match="this is no wide table"):
        shaped(columns().with_columns(day=pl.Series(["a", "b"] * 6), west=pl.Series(["x"] * 12)), wide=True)
    with pytest.raises(DataError, match="several rows have the same V1"):
        shaped(rows().with_columns(V1=pl.lit("H1")), wide=True)
    with pytest.raises(ConfigError, match="one name for each series"):
        shaped(columns(), series=["a", "b"])


def test_rows_without_times_are_counted():
    frame = pl.DataFrame({"sold": [float(n * 7 % 5) for n in range(20)]})
    found = shaped(frame)
    assert found.frame["row"].to_list() == list(range(1, 21))
    assert found.said[0].detail == "no column holds times: the order of the rows is taken for that of time, as 'row'"
    assert meaning(found).rhythm.time == "row"  # type: ignore[union-attr]
    told = meaning(found)
    after = wide.ends(conform.conform(found.frame, told)[0], told)
    test = shaped(frame.head(2), after=after, time="row")
    assert test.frame["row"].to_list() == [21, 22]


def test_rows_without_times_of_several_series():
    frame = pl.DataFrame({"shop": ["a", "b"] * 10, "sold": [float(n * 7 % 5) for n in range(20)]})
    found = shaped(frame, series=["shop"])
    assert found.frame.filter(shop="b")["row"].to_list() == list(range(1, 11))
    with pytest.raises(DataError, match="the series have 9 to 10 rows, so their order does not tell"):
        shaped(frame.head(19), series=["shop"])


def test_m4_hourly(shared_data: Path):
    frame = pl.read_csv(shared_data / "m4_hourly/Hourly-train.csv", infer_schema=False)
    found = shaped(frame, "y", horizon=48)
    assert found.frame.height == 353_500
    assert found.frame["series"].n_unique() == 414
    rhythm = meaning(found).rhythm
    assert rhythm is not None
    assert (rhythm.frequency, rhythm.season) == ("1i", (24, 168))
