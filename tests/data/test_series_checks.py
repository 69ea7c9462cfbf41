"""What is told of times and series: duplicates, contradictions, gaps, clock changes, short and flat series."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit.config import Data, Forecast
from keepfit.data import leakage, schema, series, series_checks, validate
from keepfit.data.conform import conform
from keepfit.types import Check, Schema

HOUR = timedelta(hours=1)


def told(frame: pl.DataFrame, data: dict[str, Any] | None = None, **asked: Any) -> dict[str, Check]:
    """Check by name, of rows and of whole series."""
    section = Data(source="x.csv", target="sold", **(data or {}))
    meaning = schema.infer(frame, section, "forecast", forecast=Forecast(**asked))
    typed, problems = conform(frame, meaning)
    made = validate.validate(frame, meaning, {}, section, (typed, problems)).checks
    known = typed.filter(pl.col("sold").is_not_null())
    used = known[series.order(known, meaning, section.known_at)]
    return {check.name: check for check in (*made, *series_checks.history(used, meaning))}


def daily(count: int = 60, **series_of: Any) -> pl.DataFrame:
    start = datetime(2024, 1, 1)
    days = [f"{start + timedelta(days=day):%Y-%m-%d}" for day in range(count)]
    return pl.DataFrame({"day": days, "sold": [float(day % 7 + (day * 31 % 11) / 11) for day in range(count)]})


def failed(found: dict[str, Check]) -> set[str]:
    return {name for name, check in found.items() if check.outcome == "failed"}


def test_a_sound_series_has_nothing_to_tell():
    found = told(daily())
    assert failed(found) == set()
    assert found["data.series"].detail == "1 series of 60 values; frequency 1d, season 7, 12 periods ahead"


def test_covariates_are_told_with_when_they_are_known_and_those_of_the_past_are_no_leak():
    level = pl.Series(np.random.default_rng(0).normal(size=900).cumsum())
    frame = daily(900).with_columns(sold=level, copy=level * 2, holiday=pl.Series([0, 0, 1] * 300))
    ahead, past = told(frame), told(frame, past=["copy"])
    assert ahead["data.covariates"].detail == "known 12 periods ahead: copy, holiday"
    assert past["data.covariates"].detail == (
        "known 12 periods ahead: holiday; known up to the last observation only (forecast.past): copy"
    )
    assert "data.covariates" not in told(daily())
    assert ahead["data.covariates"].outcome == "passed"
    assert accused(frame) == {"leakage.target_alone.copy"}
    assert accused(frame, past=["copy"]) == set()
    assert accused(frame.drop("holiday"), past=["copy"]) == set()


def test_a_column_of_the_past_that_is_left_out_is_told():
    codes = [f"{place * 7919 % 60:08x}-{place}" for place in range(60)]
    frame = daily().with_columns(ticket=pl.Series(codes), note=pl.lit("x"), shop=pl.lit("a"), rain=pl.col("sold") * 2)
    found = told(frame, {"columns": {"note": "ignore"}, "group": "shop"}, past=["ticket", "note", "shop", "rain"])
    check = found["data.covariates.unused"]
    assert (check.outcome, check.severity, check.value) == ("failed", "warning", 3)
    assert "'ticket' (id: " in check.detail
    assert "'note' (ignore: " in check.detail
    assert "'shop' (group: data.group)" in check.detail
    assert "rain" not in check.detail
    assert found["data.covariates"].detail == "known up to the last observation only (forecast.past): rain"
    assert "data.covariates.unused" not in told(frame, {"columns": {"note": "ignore"}}, past=["rain"])


def accused(frame: pl.DataFrame, **asked: Any) -> set[str]:
    section = Data(source="x.csv", target="sold")
    meaning = schema.infer(frame, section, "forecast", forecast=Forecast(**asked))
    typed, _ = conform(frame, meaning)
    late, _ = series.split(typed, meaning)
    checks = leakage.leakage(typed.filter(~late), typed.filter(late), meaning, section).checks
    return {check.name for check in checks if check.outcome == "failed"}


def test_the_same_value_twice_is_counted_and_left_out():
    frame = daily()
    found = told(pl.concat([frame, frame[3:5]]))
    assert failed(found) == {"data.times.duplicates"}
    assert found["data.times.duplicates"].value == 2
    assert found["data.times.duplicates"].severity == "warning"


def test_values_that_contradict_each_other_stop_and_are_listed():
    frame = daily()
    found = told(pl.concat([frame, frame[3:5].with_columns(sold=pl.lit(99.0))]))
    check = found["data.times.conflicts"]
    assert (check.outcome, check.severity, check.value) == ("failed", "error", 2)
    assert "2024-01-04: 3.45455 and 99" in check.detail
    assert "2024-01-05" in check.detail


def test_versions_are_no_contradiction():
    frame = daily().with_columns(known=pl.col("day"))
    late = frame[3:4].with_columns(sold=pl.lit(9.0), known=pl.lit("2024-02-20"))
    found = told(pl.concat([late, frame]), {"known_at": "known", "time": "day"})
    assert failed(found) == set()
    assert "the last by 'known' is used" in found["data.times.versions"].detail


def test_gaps_are_counted_and_named():
    frame = daily().filter(~pl.col("day").is_in(["2024-01-10", "2024-01-11", "2024-02-03"]))
    check = told(frame)["data.series.gaps"]
    assert (check.value, check.severity) == (3, "warning")
    assert "3 of 60 periods have no value, in 1 series: they stay unknown. Most in the one series" in check.detail


def test_missing_values_are_gaps_too():
    frame = daily().with_columns(sold=pl.when(pl.col("day") == "2024-01-10").then(None).otherwise("sold"))
    found = told(frame)
    assert found["data.series.gaps"].value == 1
    assert "has no value that can be used in 1 of 60" in found["data.target.missing"].detail


def test_text_among_the_numbers_is_told_and_read_as_missing():
    frame = daily(200).with_columns(pl.col("sold").cast(pl.String)).with_columns(
        sold=pl.when(pl.col("day") == "2024-01-10").then(pl.lit("closed")).otherwise("sold")
    )  # fmt: skip
    found = told(frame)

    assert found["data.unreadable.sold"].detail.startswith("1 cell is no number (not a number: 'closed')")
    assert found["data.series.gaps"].value == 1


def test_a_gap_of_years_is_told():
    frame = pl.concat([daily(), daily().with_columns(day=pl.col("day").str.replace("2024", "2026"))])
    found = told(frame)
    assert (
        "1 series have a gap of a year or more (2024-02-29 to 2026-01-01)" in found["data.series.years_without"].detail
    )


def test_rows_without_a_time_are_left_out_and_series_that_vanish_named():
    frame = pl.concat([daily().with_columns(shop=pl.lit(name)) for name in "abc"])
    frame = frame.with_columns(day=pl.when(pl.col("shop") == "b").then(None).otherwise("day"))
    check = told(frame, {"time": "day"}, series=["shop"])["data.times.missing"]
    assert check.value == 60
    assert "nothing is left of 1 series: 'b'" in check.detail


def test_times_off_the_grid_are_put_into_the_nearest_period():
    start = datetime(2024, 1, 1)
    times = [start + n * HOUR + timedelta(minutes=(n % 5)) for n in range(200)]
    found = told(pl.DataFrame({"at": times, "sold": np.sin(np.arange(200.0))}))
    check = found["data.times.irregular"]
    assert check.value == 160
    assert "not in step with 1h" in check.detail
    assert found["data.series.gaps"].outcome == "passed"


def weekdays(weeks: int = 40) -> pl.DataFrame:
    return daily(7 * weeks).filter(pl.col("day").str.to_date().dt.weekday() < 6)


def test_business_days_are_told_with_their_week_and_holidays_are_gaps():
    found = told(weekdays().filter(pl.col("day") != "2024-05-01"))
    assert failed(found) == {"data.series.gaps"}
    lengths = "1 series of 199 values; frequency 1b (Monday to Friday), season 5, 12 periods ahead"
    assert found["data.series"].detail == lengths
    assert found["data.series.gaps"].detail.startswith("1 of 200 periods have no value")


def test_values_on_days_of_rest_are_left_out_and_told():
    frame = pl.concat([weekdays(), pl.DataFrame({"day": ["2024-01-13"], "sold": [99.0]})])
    found = told(frame)
    assert failed(found) == {"data.times.irregular"}
    check = found["data.times.irregular"]
    assert (check.value, check.severity) == (1, "warning")
    assert check.detail == (
        "1 of 201 values have a time that is not from Monday to Friday, and so in no period of 1b: they are left out: "
        "row 200. forecast.frequency: 1d keeps them"
    )
    assert "data.times.irregular" not in failed(told(frame, frequency="1d"))


def test_a_series_of_days_of_rest_alone_is_named():
    weekend = daily(40).filter(pl.col("day").str.to_date().dt.weekday() > 5).with_columns(shop=pl.lit("sundays"))
    found = told(pl.concat([weekdays().with_columns(shop=pl.lit("a")), weekend]), series=["shop"], frequency="1b")
    assert failed(found) == {"data.times.irregular", "data.series.unobserved"}
    assert "1 of 2 series have no value that can be used" in found["data.series.unobserved"].detail
    assert "'sundays'" in found["data.series.unobserved"].detail


def test_days_of_rest_without_a_value_are_nothing_to_tell():
    every = daily(280)
    rest = pl.col("day").str.to_date().dt.weekday() > 5
    found = told(every.with_columns(sold=pl.when(rest).then(None).otherwise("sold")))
    assert failed(found) <= {"data.target.missing"}
    assert "frequency 1b (Monday to Friday), season 5" in found["data.series"].detail


def test_business_days_off_their_clock_are_moved_and_told():
    moved = pl.when(pl.col("day") == "2024-03-06").then(pl.lit(" 09:00")).otherwise(pl.lit(" 00:00"))
    check = told(weekdays().with_columns(day=pl.col("day") + moved))["data.times.irregular"]
    assert check.value == 1
    assert "1 of 200 times are not in step with 1b: each is put into the nearest period, at most 38%" in check.detail


def test_two_times_in_one_period_with_different_values_stop():
    start = datetime(2024, 1, 1)
    times = [start + n * HOUR for n in range(200)] + [start + 7 * HOUR + timedelta(minutes=10)]
    found = told(pl.DataFrame({"at": times, "sold": np.sin(np.arange(201.0))}))
    assert "(1 of them at different times within one period of 1h)" in found["data.times.conflicts"].detail


def test_times_to_come_are_doubted():
    frame = daily(40)
    ahead = f"{datetime.now(UTC).year + 5}-01-01"
    frame = frame.with_columns(day=pl.when(pl.col("day") == "2024-02-09").then(pl.lit(ahead)).otherwise("day"))
    found = told(frame)
    assert found["data.times.future"].value == 1
    assert "data.series.years_without" in failed(found)


def test_rows_in_any_order_are_sorted():
    found = told(daily().sample(fraction=1.0, shuffle=True, seed=3))
    assert failed(found) == set()
    assert found["data.times.order"].detail.endswith("rows come after a later one of their series: sorted")


def clocks() -> pl.DataFrame:
    """Two years of local hours of Berlin, as clocks showed them."""
    zone = "Europe/Berlin"
    stamps = pl.datetime_range(datetime(2022, 1, 1), datetime(2024, 1, 1), "1h", time_zone=zone, eager=True)
    sold = 5 + np.sin(np.arange(len(stamps)) * 2 * np.pi / 24) + np.arange(len(stamps)) % 3 / 9
    return pl.DataFrame({"at": stamps, "sold": sold})


def test_local_hours_with_summer_time_are_understood():
    local = clocks().with_columns(at=pl.col("at").dt.replace_time_zone(None))
    found = told(local)
    assert "data.times.conflicts" not in found
    assert found["data.times.clock"].value == 2
    assert "2022-10-30T02:00:00" in found["data.times.clock"].detail
    assert "; 2 gaps are the hour that clocks leave out in spring" in found["data.series.gaps"].detail


def test_hours_of_a_zone_are_utc_and_have_no_gaps():
    found = told(clocks())
    assert failed(found) == set()
    assert "converted to UTC" in found["data.times.zone"].detail


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney"])
def test_hours_by_the_name_of_their_zone_are_utc_and_the_double_hour_is_told(zone):
    stamps = clocks()["at"].dt.convert_time_zone(zone)
    named = clocks().with_columns(at=stamps.dt.strftime(f"%Y-%m-%d %H:%M {zone}"))
    found = told(named)
    assert "data.times.conflicts" not in found
    assert found["data.times.clock"].value == 2
    assert found["data.series.gaps"].value == 2  # the second of each double hour
    assert "clocks" not in found["data.series.gaps"].detail
    assert "converted to UTC" in found["data.times.zone"].detail
    exact = clocks().with_columns(at=stamps.dt.strftime(f"%Y-%m-%dT%H:%M%:z[{zone}]"))
    assert failed(told(exact)) == set()
    double = pl.concat([named, named[100:101].with_columns(sold=pl.lit(99.0))])
    assert "data.times.conflicts" in failed(told(double))


def test_a_double_hour_on_any_day_is_a_contradiction():
    start = datetime(2024, 1, 1)
    times = [start + n * HOUR for n in range(200)]
    frame = pl.DataFrame({"at": [*times, times[50]], "sold": np.sin(np.arange(201.0))})
    assert "data.times.conflicts" in failed(told(frame))


def test_short_flat_and_zero_series_are_listed():
    parts = [daily(60).with_columns(shop=pl.lit("long")), daily(9).with_columns(shop=pl.lit("short"))]
    parts += [daily(60).with_columns(shop=pl.lit(name), sold=pl.lit(at)) for name, at in (("flat", 5.0), ("zero", 0.0))]
    found = told(pl.concat(parts), series=["shop"], horizon=7)
    assert failed(found) == {"data.series.short", "data.series.constant", "data.series.zeros"}
    assert "1 of 4 series are shorter than two seasons of 7 periods" in found["data.series.short"].detail
    assert "'short'" in found["data.series.short"].detail
    assert found["data.series.constant"].detail == "1 of 4 series never change: 'flat'"
    assert found["data.series.zeros"].detail == "1 of 4 series are zero throughout: 'zero'"
    assert all(check.severity == "warning" for check in found.values() if check.outcome == "failed")


def test_values_that_spoil_a_series_are_named_with_their_times():
    frame = daily(120)
    frame[40, "sold"] = 5e6
    found = told(frame)
    check = found["data.series.outliers"]
    assert failed(found) == {"data.series.outliers"}
    assert (check.value, check.severity) == (1, "warning")
    assert "1 values in 1 series are so far from those around them" in check.detail
    assert "2024-02-10: 5e+06. Correct them" in check.detail
    shops = pl.concat([frame.with_columns(shop=pl.lit(name)) for name in "ab"])
    assert "'a' at 2024-02-10: 5e+06; 'b' at" in told(shops, series=["shop"])["data.series.outliers"].detail


def test_one_series_of_zeros_is_a_warning():
    found = told(daily().with_columns(sold=pl.lit(0.0)))
    assert failed(found) == {"data.series.zeros"}


# --- leaks


def meaning(frame: pl.DataFrame, **asked: Any) -> tuple[pl.DataFrame, Schema]:
    found = schema.infer(frame, Data(source="x", target="sold"), "forecast", forecast=Forecast(**asked))
    return conform(frame, found)[0], found


def test_a_covariate_that_tells_the_target_is_suspected():
    typed, told = meaning(daily(200).with_columns(copy=pl.col("sold") * 2), horizon=7)
    late, _ = series.split(typed, told)
    verdict = leakage.leakage(typed.filter(~late), typed.filter(late), told, Data(source="x", target="sold"))
    assert [check.name for check in verdict.warnings] == ["leakage.target_alone.copy"]


def test_series_without_a_value_and_those_that_end_years_before_the_others_are_named():
    old = daily(60).with_columns(shop=pl.lit("old"), day=pl.col("day").str.replace("2024", "2021"))
    gone = daily(60).with_columns(shop=pl.lit("gone"), sold=pl.lit(None, pl.Float64))
    frame = pl.concat([daily(60).with_columns(shop=pl.lit("new")), old, gone])
    typed, told = meaning(frame, series=["shop"], horizon=7)
    found = {check.name: check for check in series_checks.times(frame, typed, told, Data(source="x", target="sold"))}
    assert found["data.series.unobserved"].detail == (
        "1 of 3 series have no value that can be used and are left out: 'gone'"
    )
    used = typed[series.order(typed, told)].filter(pl.col("sold").is_not_null())
    found = {check.name: check for check in series_checks.history(used, told)}
    assert "(2024-02-29), the earliest at 2021-02-28" in found["data.series.ended"].detail
    assert found["data.series.ended"].detail.endswith("from its own end: 'old'")
