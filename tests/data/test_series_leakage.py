import polars as pl
import pytest

from keepfit.config import Data
from keepfit.data import leakage, series, series_leakage
from tests.data.test_series_checks import daily, meaning


@pytest.mark.parametrize("settings", [{}, {"time": "day"}, {"time": "day", "group": "shop"}])
def test_a_trend_and_series_of_different_ends_are_no_leak(settings):
    frame = pl.concat(
        [daily(60).with_columns(shop=pl.lit("a"), sold=pl.Series(range(60)) * 1.0),
         daily(90).with_columns(shop=pl.lit("b"), sold=pl.Series(range(90)) * 1.0)]
    )  # fmt: skip
    typed, told = meaning(frame, series=["shop"], horizon=7)
    late, _ = series.split(typed, told)
    verdict = leakage.leakage(
        typed.filter(~late), typed.filter(late), told, Data(source="x", target="sold", **settings)
    )
    assert verdict.outcome == "passed"
    assert not verdict.warnings


def test_a_test_that_lies_in_the_training_is_a_leak():
    typed, told = meaning(daily(60), horizon=7)
    verdict = leakage.leakage(typed, typed.tail(7), told, Data(source="x", target="sold"))
    assert {check.name for check in verdict.failures} == {"leakage.known_later.time", "leakage.duplicates"}


def test_new_series_and_a_longer_reach_of_the_test_are_told():
    frame = pl.concat([daily(60).with_columns(shop=pl.lit(name)) for name in "ab"])
    typed, told = meaning(frame, series=["shop"], horizon=7)
    train = typed.filter((pl.col("shop") == "a") & (pl.col("day") < typed["day"].max() - 20 * 86400.0))
    test = typed.filter(pl.col("day") >= typed["day"].max() - 20 * 86400.0)
    found = {check.name: check for check in series_leakage.later(train, test, told)}
    assert found["leakage.known_later.time"].outcome == "passed"
    assert found["test.series"].detail == "1 series of the test have no training row: 'b'"
    assert found["test.horizon"].value == 21


def test_the_own_test_of_days_with_weekends_missing_reaches_no_further_than_the_horizon():
    work = daily(100).filter(pl.Series([n % 7 < 5 for n in range(100)]))  # from a Monday on
    typed, told = meaning(work, horizon=9, frequency="1d")
    late, _ = series.split(typed, told)
    for settings, outcomes in (({}, []), ({"test": "later.csv"}, ["test.horizon"])):
        found = leakage.leakage(typed.filter(~late), typed.filter(late), told,
                                Data(source="x", target="sold", **settings))  # fmt: skip
        assert [check.name for check in found.warnings] == outcomes
