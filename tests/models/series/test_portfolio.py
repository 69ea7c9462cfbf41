"""series/portfolio.py: what is tried, and that the cheapest comes first however long the series are."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from keepfit.models.series import portfolio
from keepfit.models.series.portfolio import LONG
from keepfit.types import Rhythm
from tests.models.series.rows import SCHEMA

HOURS = Rhythm("month", "1h", 0.0, 24, (), (24, 168))
HOUR = 3600.0


def titles(moments: np.ndarray, rhythm: Rhythm = HOURS) -> list[str]:
    job: Any = SimpleNamespace(
        schema=replace(SCHEMA, rhythm=rhythm), columns=SimpleNamespace(values={rhythm.time: moments})
    )
    return [candidate.title for candidate in portfolio.candidates(job)]


def test_recursions_are_tried_first_where_series_are_short_and_trees_where_they_are_long() -> None:
    short, long = titles(np.arange(LONG - 1) * HOUR), titles(np.arange(LONG) * HOUR)
    assert sorted(short) == sorted(long)
    assert short.index("theta") < short.index("ces") < short.index("boosted_lags")
    assert long.index("boosted_lags") < long.index("ces") < long.index("theta (season 24)")
    assert {*short[:2]} == {*long[:2]} == {"seasonal_naive", "seasonal_naive (season 24)"}


def test_many_short_series_are_not_a_long_one() -> None:
    assert titles(np.tile(np.arange(100) * HOUR, 50)) == titles(np.arange(100) * HOUR)


def test_a_gap_of_years_is_gone_through_too() -> None:
    moments = np.append(np.arange(100), 50_000 + np.arange(100)) * HOUR
    assert titles(moments).index("boosted_lags") < titles(moments).index("theta")


def test_rows_without_a_time_and_a_single_season_are_no_matter() -> None:
    assert titles(np.array([np.nan, 0.0, HOUR])) == titles(np.array([0.0, HOUR]))
    assert titles(np.full(3, np.nan)) == titles(np.array([0.0]))
    assert len(titles(np.arange(9) * HOUR, replace(HOURS, season=(24,)))) == 5
