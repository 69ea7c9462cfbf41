"""The Schema of a forecast: times, series and covariates are found, and what is not clear is told."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit.config import Data, Forecast
from keepfit.data import rhythm as calendar
from keepfit.data.conform import conform
from keepfit.data.forecast import told_apart
from keepfit.data.schema import infer
from keepfit.errors import ConfigError, DataError
from keepfit.types import Schema


def meaning(frame: pl.DataFrame, target: str = "sold", data: dict[str, Any] | None = None, **asked: Any) -> Schema:
    return infer(frame, Data(source="x.csv", target=target, **(data or {})), "forecast", forecast=Forecast(**asked))


def days(count: int = 60, start: date = date(2024, 1, 1)) -> list[date]:
    return [start + timedelta(days=day) for day in range(count)]


def weekly(count: int = 60) -> list[float]:
    return [float(10 + (day % 7 == 6) * 8 + (day * 7919 % 13) / 13) for day in range(count)]


def shops(count: int = 60) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "shop": ["a"] * count + ["b"] * count,
            "day": days(count) * 2,
            "sold": weekly(count) * 2,
            "promo": [0, 1] * count,
        }
    )


@pytest.mark.parametrize("kind", [int, str, float])
@pytest.mark.parametrize("data", [None, {"time": "period"}])
def test_years_with_months_as_numbers_are_months(kind: type, data: dict[str, Any] | None) -> None:
    periods = [kind((2016 + at // 12) * 100 + at % 12 + 1) for at in range(60)]
    frame = pl.DataFrame({"period": periods, "sold": [float(at % 12 + at / 7) for at in range(60)]})
    found = meaning(frame, data=data)
    assert found.rhythm is not None
    assert (found.rhythm.time, found.rhythm.frequency) == ("period", "1mo")
    times = conform(frame, found)[0]["period"].to_numpy()
    assert calendar.periods(found.rhythm, times).tolist() == [*range(60)]


def test_whole_numbers_that_are_no_months_stay_a_counter() -> None:
    frame = pl.DataFrame({"period": [*range(200001, 200061)], "sold": weekly()})
    assert meaning(frame)["period"].dtype == "int"


def test_air_passengers_are_one_monthly_series(shared_data: Path):
    frame = pl.read_csv(shared_data / "air_passengers/airline-passengers.csv", infer_schema=False)
    found = meaning(frame, "Passengers")
    assert [(c.name, c.role) for c in found.columns] == [("Month", "moment"), ("Passengers", "past")]
    assert found["Month"].why == "the one column of dates: every 1mo, season 12"
    assert found.rhythm is not None
    assert (found.rhythm.time, found.rhythm.frequency, found.rhythm.season) == ("Month", "1mo", (12,))
    assert found.target == "Passengers"


def test_m3_takes_the_times_that_all_series_have(shared_data: Path):
    frame = pl.read_csv(shared_data / "m3_monthly/m3_monthly.csv.gz", infer_schema=False)
    found = meaning(frame, "y", series=["unique_id"], horizon=18)
    roles = {c.name: c.role for c in found.columns}
    assert roles == {
        "unique_id": "series", "category": "ignore", "t": "moment", "ds": "ignore", "y": "past", "split": "ignore",
    }  # fmt: skip
    assert found.rhythm is not None
    assert (found.rhythm.frequency, found.rhythm.origin, found.rhythm.season) == ("1i", 1.0, (12,))
    dated = meaning(frame, "y", {"time": "ds"}, series=["unique_id"]).rhythm
    assert dated is not None
    assert (dated.frequency, dated.season) == ("1mo", (12,))


def test_series_times_and_covariates_have_their_roles():
    found = meaning(shops(), series=["shop"], horizon=7)
    assert {c.name: c.role for c in found.columns} == {
        "shop": "series", "day": "moment", "sold": "past", "promo": "number",
    }  # fmt: skip
    assert found.rhythm is not None
    assert (found.rhythm.series, found.rhythm.season, found.rhythm.horizon) == (("shop",), (7,), 7)
    assert found.inputs == found.columns


def test_covariates_are_known_ahead_unless_the_config_says_that_they_are_not():
    frame = shops().with_columns(rain=pl.Series(weekly(120)[::-1]), note=pl.lit("x"))
    found = meaning(frame, data={"columns": {"note": "ignore"}}, series=["shop"], past=["rain", "note"])
    assert found["promo"].why == "known ahead: whole numbers from 0 to 1"
    assert found["rain"].why.startswith("past only: ")
    assert found.rhythm is not None
    assert found.rhythm.past == ("rain",)  # what is ignored is nothing at all
    assert [column.name for column in found.required] == ["shop", "day", "promo"]
    assert [column.name for column in found.inputs] == ["shop", "day", "sold", "promo", "rain"]


@pytest.mark.parametrize(
    ("past", "said"),
    [
        (["promos"], "forecast.past: the data have no column 'promos'. Did you mean 'promo'?"),
        (["sold"], "forecast.past: 'sold' is the target"),
        (["day"], "forecast.past: 'day' is the time (data.time)"),
        (["shop"], "forecast.past: 'shop' is one of forecast.series"),
    ],
)
def test_a_column_of_the_past_that_cannot_be_one_is_named(past: list[str], said: str):
    with pytest.raises(ConfigError) as error:
        meaning(shops(), data={"time": "day"}, series=["shop"], past=past)
    assert said in str(error.value)


def test_columns_that_only_observations_tell_may_be_absent():
    found = meaning(shops(), series=["shop"], past=["promo"])
    typed, problems = conform(pl.DataFrame({"shop": ["a"], "day": ["2024-03-01"]}), found)
    assert not problems
    assert typed.select("sold", "promo").rows() == [(None, None)]
    assert typed.schema["promo"] == pl.Float64
    with pytest.raises(DataError, match="'day'"):
        conform(pl.DataFrame({"shop": ["a"], "promo": [1]}), found)


def test_what_the_config_says_wins():
    found = meaning(
        shops(), data={"columns": {"promo": "category"}}, series=["shop"], season=[14, 7, 1], frequency="1w"
    )
    assert found["promo"].role == "category"
    assert found.rhythm is not None
    assert (found.rhythm.frequency, found.rhythm.season) == ("1w", (7, 14))
    assert meaning(shops(), series=["shop"], season=1).rhythm.season == ()  # type: ignore[union-attr]


def test_second_clocks_and_marks_of_a_split_are_ignored():
    frame = shops().with_columns(
        week=pl.Series([*range(60)] * 2), epoch=pl.col("day").cast(pl.Datetime("us")).dt.epoch("s"),
        part=pl.Series((["train"] * 50 + ["test"] * 10) * 2), price=pl.Series([1.0, 2.0, 4.0, 3.0] * 30),
    )  # fmt: skip
    found = meaning(frame, data={"time": "day"}, series=["shop"])
    assert {c.name: c.role for c in found.columns if c.role == "ignore"} == {
        "week": "ignore", "epoch": "ignore", "part": "ignore",
    }  # fmt: skip
    assert "second clock" in found["week"].why
    assert "marks a split" in found["part"].why
    assert found["price"].role == "number"


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ([f"{day:%d.%m.%Y}" for day in days()], 1704067200.0),
        ([int(f"{day:%Y%m%d}") for day in days()], 1704067200.0),
        ([1704067200 + 86400 * day for day in range(60)], 1704067200.0),
        ([datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(60)], 1704067200.0),
        ([f"{day}T00:00:00Z" for day in days()], 1704067200.0),
        ([f"{day}T00:00:00+09:00" for day in days()], 1704067200.0),  # the date that is written
    ],
)
def test_times_are_read_however_they_are_written(values, first):
    frame = pl.DataFrame({"date": values, "sold": weekly()})
    found = meaning(frame)
    assert found.rhythm is not None
    assert (found.rhythm.frequency, found.rhythm.origin, found.rhythm.season) == ("1d", first, (7,))
    typed, problems = conform(frame, found)
    assert not problems
    assert np.diff(typed["date"].to_numpy()).tolist() == [86400.0] * 59


def test_days_with_a_zone_are_the_dates_that_are_written():
    zone = "Europe/Berlin"
    stamps = pl.datetime_range(datetime(2024, 3, 1), datetime(2024, 4, 29), "1d", time_zone=zone, eager=True)
    frame = pl.DataFrame({"date": stamps, "sold": weekly(len(stamps))})
    found = meaning(frame)
    assert found.rhythm is not None
    assert (found.rhythm.frequency, found.rhythm.origin) == ("1d", datetime(2024, 3, 1, tzinfo=UTC).timestamp())
    written = frame.with_columns(date=pl.col("date").dt.strftime("%Y-%m-%d %H:%M:%S%:z"))
    assert meaning(written).rhythm == found.rhythm
    named = frame.with_columns(date=pl.col("date").dt.strftime(f"%Y-%m-%d %H:%M {zone}"))
    assert meaning(named).rhythm == found.rhythm
    for one in (frame, written, named):
        typed, problems = conform(one, meaning(one))
        assert not problems
        assert set(np.diff(typed["date"].to_numpy()).tolist()) == {86400.0}


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Tokyo", "America/New_York"])
def test_business_days_with_a_zone_are_the_dates_that_are_written(zone):
    stamps = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 6, 28), "1d", time_zone=zone, eager=True)
    frame = pl.DataFrame({"date": stamps, "sold": weekly(len(stamps))}).filter(pl.col("date").dt.weekday() < 6)
    found = meaning(frame)
    assert found.rhythm is not None
    assert (found.rhythm.frequency, found.rhythm.origin) == ("1b", datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    times = conform(frame, found)[0]["date"].to_numpy()
    assert calendar.periods(found.rhythm, times).tolist() == [*range(frame.height)]


def test_business_days_of_several_series_are_found_or_said():
    stocks = shops(120).filter(pl.col("day").dt.weekday() < 6)
    found = meaning(stocks, series=["shop"]).rhythm
    assert found is not None
    assert (found.frequency, calendar.week(found)) == ("1b", "Monday to Friday")
    assert "every 1b (Monday to Friday), " in meaning(stocks, series=["shop"])["day"].why
    said = meaning(stocks, series=["shop"], frequency="1d").rhythm
    assert said is not None
    assert (said.frequency, said.season) == ("1d", (7,))
    with pytest.raises(ConfigError, match="1b does not fit 'n', which holds numbers"):
        meaning(pl.DataFrame({"n": range(60), "sold": weekly()}), data={"time": "n"}, frequency="1b")


def test_hours_with_a_zone_are_utc():
    zone = "Europe/Berlin"
    stamps = pl.datetime_range(datetime(2024, 3, 30), datetime(2024, 4, 2), "1h", time_zone=zone, eager=True)
    found = meaning(pl.DataFrame({"date": stamps, "sold": weekly(len(stamps))}))
    assert found.rhythm is not None
    assert (found.rhythm.frequency, found.rhythm.origin) == ("1h", datetime(2024, 3, 29, 23, tzinfo=UTC).timestamp())
    assert calendar.written(found.rhythm, np.array([1])) == ["2024-03-30T00:00:00Z"]
    named = pl.DataFrame({"date": stamps.dt.strftime(f"%Y-%m-%dT%H:%M[{zone}]"), "sold": weekly(len(stamps))})
    assert meaning(named).rhythm == found.rhythm
    local = pl.DataFrame({"date": stamps.dt.replace_time_zone(None), "sold": weekly(len(stamps))}).unique("date")
    assert meaning(local).rhythm == dataclasses.replace(
        found.rhythm, zone="", origin=datetime(2024, 3, 30, tzinfo=UTC).timestamp()
    )


# --- what cannot be forecast


def test_names_that_are_not_there_are_told_together():
    with pytest.raises(ConfigError, match=r"(?s)no column 'shp'. Did you mean 'shop'.*'sold' is the target"):
        meaning(shops(), series=["shp", "sold"])


def test_a_target_of_texts_or_nothing_is_told():
    with pytest.raises(DataError, match=r"needs numbers, but the target 'shop' holds texts such as 'a'"):
        meaning(shops(), "shop", {"time": "day"})
    with pytest.raises(DataError, match="has no values at all"):
        meaning(shops().with_columns(sold=pl.lit(None, pl.Float64)), series=["shop"])
    with pytest.raises(ConfigError, match=r"needs data\.target"):
        infer(shops(), Data(source="x"), "forecast")


def test_several_series_that_nobody_named_are_told():
    with pytest.raises(DataError, match=r"60 of 120 rows .* more series .*'forecast: {series: \[shop\]}"):
        meaning(shops())
    alike = pl.concat([shops().filter(shop="a").drop("shop")] * 2)  # the same rows twice are no two series
    assert meaning(alike).rhythm.frequency == "1d"  # type: ignore[union-attr]


def test_columns_that_tell_the_series_apart_are_found():
    two = pl.concat([shops().with_columns(item=pl.lit(item)) for item in ("x", "y", "z")])
    data = Data(source="x", target="sold")
    assert told_apart(two.sample(fraction=1.0, shuffle=True, seed=1), data) == ["shop", "item"]
    assert told_apart(shops(), data) == ["shop"]
    assert told_apart(shops().head(60), data) == []


def test_no_times_or_several_are_told():
    with pytest.raises(DataError, match="No column holds times"):
        meaning(shops().drop("day"), series=["shop"])
    with pytest.raises(DataError, match=r"Several columns could hold the times: 'day', 'seen'. Name one"):
        meaning(shops().with_columns(seen=pl.col("day").reverse()), series=["shop"])
    with pytest.raises(DataError, match=r"holds no times that keepfit can read, such as 'a'"):
        meaning(shops(), data={"time": "shop"})


def test_times_without_a_rhythm_are_told():
    odd = [datetime(2024, 1, 1) + timedelta(hours=17 * n + (n * n) % 11) for n in range(60)]
    frame = pl.DataFrame({"date": odd, "sold": weekly()})
    with pytest.raises(DataError, match=r"keep no rhythm: the median step is 0\.7"):
        meaning(frame)
    assert meaning(frame, frequency="1d").rhythm.frequency == "1d"  # type: ignore[union-attr]
    with pytest.raises(DataError, match="No series has two different times"):
        meaning(pl.DataFrame({"shop": list("abcdefghij"), "date": days(10), "sold": weekly(10)}), series=["shop"])
    with pytest.raises(ConfigError, match="1i does not fit 'day', which holds dates"):
        meaning(shops(), series=["shop"], frequency="1i")


@pytest.mark.parametrize("scale", [1, 1000, 10**9])
def test_seconds_since_1970_are_times_whatever_their_column_is_called(scale: int):
    hours = [(1_704_067_200 + 3600 * n) * scale for n in range(72) if n not in (5, 6)]
    found = meaning(pl.DataFrame({"x": hours, "sold": range(0, 140, 2)}))
    assert found.role("moment") == ("x",)
    assert found.rhythm is not None
    assert found.rhythm.frequency == "1h"


def test_numbers_that_go_up_in_even_steps_are_times():
    found = meaning(pl.DataFrame({"year": range(1900, 2020, 5), "sold": [n % 7 for n in range(24)]}))
    assert found.rhythm is not None
    assert (found.rhythm.time, found.rhythm.frequency) == ("year", "5i")


def test_series_that_share_no_time_are_told_apart_by_what_keeps_their_step():
    starts = {"a": date(2024, 1, 1), "b": date(2024, 1, 3), "c": date(2024, 1, 7)}
    weeks = [(shop, start + timedelta(weeks=n), n % 5) for n in range(30) for shop, start in starts.items()]
    frame = pl.DataFrame(weeks, schema=["shop", "week", "sold"], orient="row")
    assert told_apart(frame, Data(source="x.csv", target="sold")) == ["shop"]
    with pytest.raises(DataError, match="name the columns that tell series apart"):
        meaning(frame)
    found = meaning(frame, series=["shop"])
    assert found.rhythm is not None
    assert found.rhythm.frequency == "1w"


def test_coordinates_tell_no_series_apart():
    count = 60
    frame = pl.DataFrame({"day": [days(20)[n // 3] for n in range(count)], "sold": weekly(count),
                          "lat": [47.5 + n % 20 / 7 for n in range(count)]})  # fmt: skip
    assert told_apart(frame, Data(source="x.csv", target="sold")) == []


def test_what_stays_the_same_throughout_each_series_needs_not_be_known_ahead():
    frame = shops().with_columns(town=pl.Series(["x"] * 60 + [None] * 3 + ["y"] * 57))
    found = meaning(frame, series=["shop"])
    assert found["town"].role == "ignore"
    assert found["town"].why.startswith("the same throughout each series")
    assert found["promo"].role == "number"
    declared = meaning(frame, series=["shop"], data={"columns": {"town": "category"}})
    assert declared["town"].role == "category"


def test_names_of_series_that_are_written_in_two_ways_are_told():
    frame = pl.DataFrame({"shop": ["12"] * 60 + ["12.0"] * 60, "day": days() * 2, "sold": weekly() * 2})
    with pytest.raises(DataError, match=r"as 12 and 12\.0 or True and true, are one series"):
        meaning(frame, series=["shop"])
