import numpy as np
import pytest

from keepfit.models.series import decomposition


def wave(count: int = 60, period: int = 12, ratio: bool = True) -> np.ndarray:
    trend = 100 + np.arange(count, dtype=float)
    season = np.sin(np.arange(count) * 2 * np.pi / period)
    return trend * (1 + 0.3 * season) if ratio else trend + 30 * season


@pytest.mark.parametrize("ratio", [True, False])
def test_the_season_comes_off_and_goes_back(ratio: bool) -> None:
    values = wave(ratio=ratio)[None] - (0 if ratio else 1e3)
    rest, seasons = decomposition.take_off(values, (12,))
    assert np.abs(rest[0] - (100 + np.arange(60)) + (0 if ratio else 1e3)).max() < 5
    assert np.allclose(decomposition.put_back(rest, seasons, 0), values)
    assert np.allclose(decomposition.take_off_again(values[:, 5:], seasons, 5), rest[:, 5:])


def test_values_at_or_below_zero_are_taken_apart_by_differences() -> None:
    values = wave(ratio=False)[None] - 130
    rest, seasons = decomposition.take_off(values, (12,))
    assert not seasons[0]["ratio"][0]
    assert np.abs(rest[0] - (np.arange(60) - 30)).max() < 4


def test_two_seasons() -> None:
    time = np.arange(60 * 28)
    values = (500 + 50 * np.sin(time * 2 * np.pi / 6) + 20 * (time % 42 < 12))[None].astype(float)
    rest, seasons = decomposition.take_off(values, (6, 42))
    assert np.ptp(rest[0, 100:-100]) < 8
    assert np.allclose(decomposition.put_back(rest, seasons, 0), values)


def test_without_a_season_next_to_nothing_changes() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(300, 60))
    values[0] = 0.0
    values[1, :25] = np.nan
    rest, seasons = decomposition.take_off(values, (12,))
    assert np.array_equal(rest[:2], values[:2], equal_nan=True), "constant, or shorter than three seasons"
    assert np.median(np.ptp(seasons[0]["factors"], axis=1)) < 0.5, "means of noise would differ by about 1.5"
