"""Parts of dates, against Python's own calendar."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keepfit.features import date

DATES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(DATES)
def test_parts_are_those_of_the_calendar(moment):
    found = dict(zip(date.PARTS, date.parts(np.array([moment.timestamp()]), list(date.PARTS), 0.0), strict=True))
    assert found["year"][0] == moment.year
    assert found["month"][0] == moment.month
    assert found["day of week"][0] == moment.weekday()
    assert found["day of year"][0] == moment.timetuple().tm_yday
    exact = moment.hour + moment.minute / 60 + (moment.second + moment.microsecond / 1e6) / 3600
    assert abs(found["hour"][0] - exact) < 1e-5


def fit(seconds, **options):
    return date.fit({"sold": np.array(seconds, np.float64)}, None, {**date.DEFAULTS, **options}, 0)


def test_parts_that_do_not_vary_are_left_out():
    days = np.arange(5) * 86400.0 + datetime(2014, 10, 13, tzinfo=UTC).timestamp()
    state, found = fit(days)
    assert date.names(state) == ["sold: day of week", "sold: day of year", "sold: days"]
    np.testing.assert_array_equal(found[:, 2], np.arange(5))


def test_missing_is_nan_for_trees_and_imputed_for_linear_models():
    days = [0.0, 86400.0, np.nan]
    assert np.isnan(fit(days)[1][2]).all()
    state, found = fit(days, impute="median", scale=True, flag=True)
    assert np.isfinite(found).all()
    assert "sold: days is missing" in date.names(state)


def test_a_row_alone_has_the_values_it_has_among_others():
    seconds = np.array([0.0, 1e9, np.nan, -1e9, 1.7e9, 1e300, -np.inf])
    state, found = fit(seconds, impute="median", scale=True, bins=3)
    transform = date.compiled(state)
    assert np.isfinite(found).all()
    for i in range(len(seconds)):
        np.testing.assert_array_equal(transform({"sold": seconds[i : i + 1]})[0], found[i])


def test_no_date_at_all():
    state, found = fit([np.nan, np.nan])
    assert found.shape == (2, 0)
    assert date.compiled(state)({"sold": np.array([0.0])}).shape == (1, 0)


def test_one_date_only():
    assert fit([86400.0, 86400.0])[1].shape == (2, 0)


def test_watch_looks_at_the_hour_only_where_training_had_several():
    days, memory = date.watch(np.array([86400.0, 0.0, np.nan]))
    assert set(days) == {"", "day of week"}
    assert set(date.watch(np.array([5e3]), memory)[0]) == {"", "day of week"}
    times, memory = date.watch(np.array([7200.0, 0.0, np.nan]))
    assert times["hour"].tolist()[:2] == [2, 0]
    assert set(date.watch(np.array([0.0]), memory)[0]) == set(times)
    assert [times["day of week"].levels[code] for code in times["day of week"].codes[:2]] == ["Thursday"] * 2
