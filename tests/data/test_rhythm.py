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

FREQUENCIES = ("15m", "30m", "1h", "6h", "1d", "1w", "2w", "1mo", "2mo", "1q", "6mo", "1y", "1i", "10i", "0.5i")


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


@pytest.mark.parametrize("frequency", FREQUENCIES)
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
        assert np.isnan(period[0]) == np.isnan(moment) or np.isinf(moment)
