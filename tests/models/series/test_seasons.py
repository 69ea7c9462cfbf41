"""What the histories of series say: the value a season ago, and the usual season."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keepfit.models.series import memory, seasons
from tests.models.series.rows import SEASON, matrix, values

LENGTH = 60


def known(told: NDArray[np.float64]) -> memory.Memory:
    about = memory.About((memory.Model("seasonal_naive", (SEASON,)),), SEASON, 6)
    rows = matrix(told)
    return memory.remember(about, memory.panel(rows, rows[:, 2]))


def test_a_season_ago_is_what_seasonal_naive_says() -> None:
    made = known(values(3, LENGTH))
    places, steps = np.repeat(np.arange(3), 30), np.tile(np.arange(1.0, 31), 3)
    found = seasons.ago(made, places, LENGTH - 1 + steps, steps, SEASON)
    np.testing.assert_allclose(found.reshape(3, 30), made.ahead(np.arange(3), 30)[:, :, 0])


def test_a_season_ago_of_rows_that_came_true_since() -> None:
    told = values(1, LENGTH)
    later = seasons.ago(known(told), np.array([0, 0]), np.array([50.0, 50.0]), np.array([1.0, 13.0]), SEASON)
    assert later.tolist() == [told[0, 38], told[0, 26]]


def test_what_is_not_known_has_none() -> None:
    made = known(values(2, LENGTH))
    places, periods = np.array([-1, 0, 0, 0]), np.array([60.0, 5.0, 900.0, np.nan])
    assert np.isnan(seasons.ago(made, places, periods, np.ones(4), SEASON)).all()
    assert np.isnan(seasons.pattern(made, places, periods, SEASON)).tolist() == [True, False, False, True]
    nothing, none = memory.Memory(made.about, ()), np.full(4, -1)
    assert np.isnan(seasons.ago(nothing, none, periods, np.ones(4), SEASON)).all()
    assert np.isnan(seasons.pattern(nothing, none, periods, SEASON)).all()


def test_the_usual_season_is_that_of_the_series_and_goes_on() -> None:
    told = values(2, LENGTH)
    periods = np.arange(55.0, 55 + 2 * SEASON)
    found = seasons.pattern(known(told), np.ones(len(periods), int), periods, SEASON)
    true = 100 * 0.4 * np.sin(2 * np.pi * periods / SEASON)
    np.testing.assert_allclose(found, true, atol=8)
    np.testing.assert_allclose(found[:SEASON], found[SEASON:])


def test_noise_has_no_season() -> None:
    told = 10 + np.random.default_rng(0).normal(size=(1, LENGTH))
    periods = np.arange(60.0, 72)
    assert np.isnan(seasons.pattern(known(told), np.zeros(12, int), periods, SEASON)).all()
    assert np.isnan(seasons.pattern(known(values(1, LENGTH)), np.zeros(12, int), periods, 1)).all()
