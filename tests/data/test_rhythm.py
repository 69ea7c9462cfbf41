"""The calendar of a forecast: frequencies are found, and times become periods and times again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit.data import rhythm as calendar
from keepfit.data.rhythm import DAY
from keepfit.errors import ConfigError
from keepfit.types import Rhythm

FREQUENCIES = (
    "15m",
    "30m",
    "1h",
    "6h",
    "1d",
    "1b",
    "2b",
    "1w",
    "2w",
    "1mo",
    "2mo",
    "1q",
    "6mo",
    "1y",
    "1i",
    "10i",
    "0.5i",
)


def seconds(*days: str) -> np.ndarray:
    return np.array([datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() for day in days])


def found(moments: np.ndarray, dates: bool = True) -> str | None:
    return calendar.frequency(moments, np.zeros(len(moments), np.int64), dates)


@pytest.mark.parametrize("frequency", FREQUENCIES)
@given(st.integers(-3_000, 3_000), st.integers(0, 20 * 365 * 24 * 4))
def test_a_period_has_a_time_that_lies_in_it(frequency, period, quarter):
    rhythm = Rhythm("t", frequency, quarter * 900.0, 12)
    moments = calendar.times(rhythm, np.array([period]))
    assert calendar.periods(rhythm, moments).tolist() == [period]


@pytest.mark.parametrize("frequency", [one for one in FREQUENCIES if one != "2b"])  # said only by a config
def test_times_that_are_made_have_the_frequency_they_were_made_with(frequency):
    rhythm = Rhythm("t", frequency, 1_704_067_200.0, 12)
    assert found(calendar.times(rhythm, np.arange(40)), calendar.dated(frequency)) == frequency


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (("2023-07-01", "2023-08-01", "2023-09-01"), "1mo"),  # 31 days twice
        (("2023-01-31", "2023-02-28", "2023-03-31", "2023-04-30"), "1mo"),
        (("2021-12-31", "2022-12-31", "2023-12-31"), "1y"),  # 365 days twice
        (("2023-01-01", "2023-04-01", "2023-07-01", "2023-10-01"), "1q"),
        (("2023-01-06", "2023-01-13", "2023-01-20", "2023-01-27"), "1w"),
        (("2023-01-02", "2023-01-03", "2023-01-04", "2023-01-05", "2023-01-06", "2023-01-09"), "1d"),
        (("2023-01-01", "2023-01-29", "2023-02-26", "2023-03-26", "2023-04-23"), "4w"),
        (("2023-01-01T00:00:03", "2023-01-01T00:15:01", "2023-01-01T00:29:58", "2023-01-01T00:45:00"), "15m"),
        (("2023-01-01", "2023-01-01T17:00", "2023-01-02T15:00", "2023-01-03T02:00"), None),
        (("2023-01-01", "2023-01-01"), None),
    ],
)
def test_frequencies_of_the_calendar_are_found(days, expected):
    assert found(seconds(*days)) == expected


def test_gaps_and_several_series_do_not_hide_the_frequency():
    day = np.arange(0.0, 40.0)
    kept = np.delete(day, [3, 4, 5, 20]) * DAY
    both = np.concatenate([kept, kept + 7 * DAY])
    assert calendar.frequency(both, np.repeat([0, 1], len(kept)), True) == "1d"


def test_the_last_day_of_a_month_stays_the_last_day():
    rhythm = Rhythm("t", "1mo", float(seconds("2024-01-31")[0]), 12)
    assert calendar.written(rhythm, np.arange(4)) == ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]
    rhythm = Rhythm("t", "1mo", float(seconds("2024-01-30")[0]), 12)
    assert calendar.written(rhythm, np.arange(3)) == ["2024-01-30", "2024-02-29", "2024-03-30"]


def test_times_are_written_as_dates_moments_or_numbers():
    hours = Rhythm("t", "1h", float(seconds("2024-01-01T05:00")[0]), 12)
    assert calendar.written(hours, np.array([0, 20])) == ["2024-01-01T05:00:00", "2024-01-02T01:00:00"]
    assert calendar.written(Rhythm("t", "1i", 1.0, 12), np.array([4])) == [5]
    assert calendar.written(Rhythm("t", "0.5i", 1.0, 12), np.array([1])) == [1.5]


def test_times_are_written_however_far_ahead():
    yearly = Rhythm("t", "1y", float(seconds("2024-01-01")[0]), 12)
    assert calendar.written(yearly, np.array([10_000])) == ["12024-01-01"]


def test_times_near_their_place_belong_to_it():
    jitter = seconds("2023-01-01T00:00:03", "2023-01-01T00:15:01", "2023-01-01T00:29:58")
    rhythm = Rhythm("t", "15m", calendar.origin(jitter, "15m"), 4)
    assert calendar.periods(rhythm, jitter).tolist() == [0, 1, 2]


def test_days_logged_at_any_hour_are_days():
    start = datetime(2024, 3, 1, tzinfo=UTC)
    logged = np.array([(start + timedelta(days=day, hours=(day * 7) % 24)).timestamp() for day in range(60)])
    rhythm = Rhythm("t", "1d", calendar.origin(logged, "1d"), 4)
    assert calendar.periods(rhythm, logged).tolist() == list(range(60))
    assert calendar.periods(rhythm, seconds("2024-03-05")).tolist() == [4]


def test_days_of_a_zone_with_summer_time_are_one_day_apart():
    local = seconds("2024-03-29T23:00", "2024-03-30T23:00", "2024-03-31T22:00", "2024-04-01T22:00")
    rhythm = Rhythm("t", "1d", calendar.origin(local, "1d"), 4)
    assert np.diff(calendar.periods(rhythm, local)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("wrong", ["", "d", "1.5d", "0h", "1 day", "1M", "monthly"])
def test_what_is_no_frequency_is_told(wrong):
    with pytest.raises(ConfigError, match=r"is no frequency\. Write a number and a unit"):
        calendar.step(wrong)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_time_breaks_the_calendar(moment):
    for frequency in FREQUENCIES:
        period = calendar.periods(Rhythm("t", frequency, 0.0, 1), np.array([moment]))
        assert period.shape == (1,)
        assert np.isnan(period[0]) == np.isnan(moment) or np.isinf(moment) or frequency.endswith("b")


# --- business days


def working(weeks: int = 6, start: str = "2024-01-01", rest: tuple[int, ...] = (5, 6)) -> np.ndarray:
    """The days of whole weeks from a Monday on, but for those of rest (Monday is 0)."""
    days = seconds(start) + np.arange(7 * weeks) * DAY
    return days[~np.isin(np.arange(7 * weeks) % 7, rest)]


@given(st.integers(-3_000, 3_000), st.integers(0, 6), st.integers(0, 86_399))
def test_five_days_of_seven_have_periods_that_follow_each_other(week, first, clock):
    rhythm = Rhythm("t", "1b", first * DAY + clock, 12)
    days = rhythm.origin + (7 * week + np.arange(7)) * DAY
    assert calendar.periods(rhythm, days)[:5].tolist() == [5 * week + day for day in range(5)]
    assert np.isnan(calendar.periods(rhythm, days)[5:]).all()
    assert calendar.outside(rhythm, days).tolist() == [False] * 5 + [True] * 2
    assert calendar.periods(rhythm, days[:5] + 0.4 * DAY).tolist() == calendar.periods(rhythm, days[:5]).tolist()


def test_monday_comes_after_friday():
    rhythm = Rhythm("t", "1b", float(seconds("2024-01-01")[0]), 12)
    friday = calendar.periods(rhythm, seconds("2024-01-05"))
    assert calendar.written(rhythm, friday + np.arange(3)) == ["2024-01-05", "2024-01-08", "2024-01-09"]
    assert calendar.written(rhythm, np.array([-1])) == ["2023-12-29"]
    assert calendar.named(rhythm) == "1b (Monday to Friday)"


@pytest.mark.parametrize("clock", ["00:00", "09:00", "16:30", "23:00"])
def test_weeks_without_weekends_are_business_days_at_any_clock(clock):
    moments = working() + seconds(f"1970-01-01T{clock}")
    assert found(moments) == "1b"
    rhythm = Rhythm("t", "1b", calendar.origin(moments, "1b"), 12)
    assert calendar.periods(rhythm, moments).tolist() == [*range(30)]
    np.testing.assert_array_equal(calendar.times(rhythm, np.arange(30)), moments)


def test_business_days_logged_at_any_hour_are_the_days_that_they_lie_in():
    moments = working() + np.random.default_rng(0).integers(0, 24, 30) * 3600.0
    assert found(moments) == "1b"
    rhythm = Rhythm("t", "1b", calendar.origin(moments, "1b"), 12)
    assert calendar.periods(rhythm, moments).tolist() == [*range(30)]


def test_clocks_of_a_zone_with_summer_time_do_not_move_the_week():
    berlin = working(20, "2024-01-15") - np.where(np.arange(100) < 55, 3600, 7200)  # midnight there, in UTC
    rhythm = Rhythm("t", "1b", calendar.origin(berlin, "1b"), 12)
    assert found(berlin) == "1b"
    assert calendar.periods(rhythm, berlin).tolist() == [*range(100)]


def test_holidays_and_a_first_week_that_begins_late_hide_no_business_days():
    moments = np.delete(working(8), [0, 1, 2, 11, 12, 30])
    assert found(moments) == "1b"
    rhythm = Rhythm("t", "1b", calendar.origin(moments, "1b"), 12)
    assert calendar.periods(rhythm, moments).tolist() == np.delete(np.arange(40), [0, 1, 2, 11, 12, 30]).tolist()


@pytest.mark.parametrize(("rest", "days"), [((4, 5), "Sunday to Thursday"), ((0, 6), "Tuesday to Saturday")])
def test_weeks_may_begin_on_other_days(rest, days):
    moments = working(8, rest=rest)
    assert found(moments) == "1b"
    rhythm = Rhythm("t", "1b", calendar.origin(moments, "1b"), 12)
    assert calendar.week(rhythm) == days
    assert np.diff(calendar.periods(rhythm, moments)).tolist() == [1] * (len(moments) - 1)


@pytest.mark.parametrize(
    "rest",
    [(), (6,), (2, 6), (4, 5, 6), (0, 5, 6)],
    ids=["none", "Sundays", "Wednesdays and Sundays", "Fridays too", "Mondays too"],
)
def test_other_weeks_are_days(rest):
    assert found(working(12, rest=rest)) == "1d"


def test_few_weeks_do_not_tell_days_of_rest():
    assert [found(working(weeks)) for weeks in (2, 3, 4)] == ["1d", "1d", "1b"]


def test_a_few_values_on_days_of_rest_are_strays_and_many_are_not():
    moments = working(60)
    weekend = seconds("2024-01-06") + np.arange(60) * 7 * DAY
    stray, often = (np.sort(np.concatenate([moments, weekend[:count]])) for count in (3, 4))
    assert (found(stray), found(often)) == ("1b", "1d")
    assert calendar.origin(stray, "1b") == seconds("2024-01-01")[0]


def test_days_that_one_of_many_series_rests_on_and_another_does_not_are_days():
    few, all_days = working(20), seconds("2024-01-01") + np.arange(140) * DAY
    numbers = np.repeat(np.arange(60), [len(few)] * 59 + [len(all_days)])
    moments = np.concatenate([few] * 59 + [all_days])
    assert calendar.frequency(moments, numbers, True) == "1d"
    assert calendar.frequency(moments[: -len(all_days)], numbers[: -len(all_days)], True) == "1b"


def test_days_of_rest_without_a_value_are_days_of_rest():
    moments = seconds("2024-01-01") + np.arange(56) * DAY
    for first, name in ((0, "Monday to Friday"), (6, "Sunday to Thursday")):
        seen = (np.arange(56) - first) % 7 < 5
        assert calendar.frequency(moments, np.zeros(56, np.int64), True, seen) == "1b"
        origin = calendar.origin(moments, "1b", seen)
        assert calendar.week(Rhythm("t", "1b", origin, 12)) == name


@pytest.mark.parametrize("count", [1, 4, 9, 100])
def test_business_days_that_a_config_asks_for_are_monday_to_friday_unless_others_are_told(count):
    every = seconds("2024-01-03") + np.arange(count) * DAY
    assert calendar.week(Rhythm("t", "1b", calendar.origin(every, "1b"), 12)) == "Monday to Friday"
    gulf = working(2, rest=(4, 5))
    assert calendar.week(Rhythm("t", "1b", calendar.origin(gulf, "1b"), 12)) == "Sunday to Thursday"


def test_every_other_business_day():
    rhythm = Rhythm("t", "2b", float(seconds("2024-01-01")[0]), 12)
    assert calendar.written(rhythm, np.arange(4)) == ["2024-01-01", "2024-01-03", "2024-01-05", "2024-01-09"]
