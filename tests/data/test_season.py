"""Seasons: what the calendar suggests is kept if the values confirm it, and found where nothing suggests any."""

from __future__ import annotations

import numpy as np
import pytest

from keepfit.data.season import candidates, seasons


def noise(series: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(series, length))


def wave(length: int, period: int) -> np.ndarray:
    return 3 * np.sin(2 * np.pi * np.arange(length) / period)


@pytest.mark.parametrize(
    ("frequency", "period"), [("1mo", 12), ("1q", 4), ("1d", 7), ("1b", 5), ("1w", 52), ("30m", 48)]
)
def test_a_season_of_the_calendar_is_confirmed(frequency, period):
    values = wave(6 * period, period) + noise(1, 6 * period)
    assert period in seasons(values, frequency)


def test_noise_has_no_season():
    kept = [seasons(noise(20, 120, seed), "1mo") for seed in range(10)]
    assert kept.count(()) >= 8
    walks = [seasons(noise(1, 200, seed).cumsum(axis=1), "1i") for seed in range(20)]
    assert set(walks) == {()}


def test_a_trend_hides_no_season_and_makes_none():
    trend = np.linspace(0, 500, 96)
    assert seasons(trend[None] + wave(96, 12) + noise(1, 96), "1mo") == (12,)
    assert seasons(trend[None] + noise(1, 96, 3), "1i") == ()


def test_a_season_is_found_where_times_are_numbers():
    values = np.exp(wave(144, 12) / 4 + np.arange(144) / 100) + noise(1, 144) / 20
    assert seasons(values, "1i") == (12,)


def test_series_that_are_too_short_confirm_nothing():
    assert seasons(wave(18, 12)[None], "1mo") == ()
    mixed = np.full((2, 60), np.nan)
    mixed[0, -18:], mixed[1] = wave(18, 12), wave(60, 12)
    assert seasons(mixed, "1mo") == (12,)


def test_gaps_zeros_and_nothing_at_all_are_no_trouble():
    values = wave(120, 12)[None] + noise(3, 120)
    values[0, 30:50], values[1], values[2, :] = np.nan, 0.0, np.nan
    assert seasons(values, "1mo") == (12,)
    assert seasons(np.full((2, 3), np.nan), "1mo") == seasons(np.zeros((1, 1)), "1h") == ()
    assert seasons(np.zeros((2, 300)), "1i") == ()


def test_the_calendar_suggests_days_and_weeks():
    assert candidates("4h") == (6, 42)
    assert candidates("7m") == candidates("2b") == ()
    assert candidates("6mo") == (2,)
