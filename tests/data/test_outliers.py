"""Values that spoil a series' scale: found where they are planted, and in none of the competitions' series."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from keepfit.data.outliers import spikes

YEARS, SEASON = 8, 12
Floats = NDArray[np.float64]
Planted = tuple[NDArray[np.int64], Floats, Floats]


def months(seed: int = 0, count: int = 3) -> Planted:
    """Seasonal series with a trend and a peak each December."""
    made = np.arange(float(count * YEARS * SEASON)) % (YEARS * SEASON)
    noise = np.random.default_rng(seed).normal(size=len(made))
    values = 100 + made / 4 + 10 * np.sin(made / 2) + 300 * (made % SEASON == 11) + 3 * noise
    return np.repeat(np.arange(count), YEARS * SEASON), made, values


def found(told: Planted, season: int = SEASON) -> list[int]:
    numbers, periods, values = told
    return [int(row) for row in spikes(numbers, periods, values, season)]


def test_a_trend_and_a_peak_of_every_season_are_no_outliers() -> None:
    assert found(months()) == []


@pytest.mark.parametrize("at", [0, 5, 11, 50, 94, 95, 96 + 40])
@pytest.mark.parametrize("factor", [1000.0, -1000.0])
def test_a_value_times_a_thousand_is_found_wherever_it_stands(at: int, factor: float) -> None:
    told = months()
    told[2][at] *= factor
    assert found(told) == [at]


def test_several_of_a_series_are_found_and_what_comes_often_is_its_nature() -> None:
    told = months()
    told[2][[20, 45, 70]] *= 1000
    assert found(told) == [20, 45, 70]
    told[2][[5, 33, 58, 83]] *= 1000
    assert found(told) == []


def test_a_level_that_shifts_is_no_outlier() -> None:
    told = months(count=1)
    told[2][60:] += 5_000
    assert found(told) == []
    told[2][90:] *= 50
    assert found(told) == []


def test_missing_periods_around_it_hide_no_outlier() -> None:
    numbers, periods, values = months()
    values[30] *= 1000
    kept = ~np.isin(np.arange(len(values)), (18, 29))
    assert found((numbers[kept], periods[kept], values[kept])) == [28]


def test_series_of_zeros_or_a_few_values_have_none() -> None:
    zeros = np.zeros(40)
    assert found((np.zeros(40, np.int64), np.arange(40.0), zeros)) == []
    zeros[::9] = 2.0  # bought now and then
    assert found((np.zeros(40, np.int64), np.arange(40.0), zeros)) == []
    zeros[18] = 2_000
    assert found((np.zeros(40, np.int64), np.arange(40.0), zeros)) == [18]
    assert found((np.zeros(1, np.int64), np.zeros(1), np.ones(1))) == []
    assert found((np.zeros(0, np.int64), np.zeros(0), np.zeros(0))) == []


def monthly(folder: Path) -> Planted:
    frame = pl.read_csv(folder / "m3_monthly/m3_monthly.csv.gz", columns=["unique_id", "t", "y"])
    frame = frame.sort("unique_id", "t")
    numbers = frame["unique_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    return numbers, frame["t"].cast(pl.Float64).to_numpy(), frame["y"].to_numpy()


def test_of_the_m3_series_none_is_found_and_of_planted_values_all(shared_data: Path) -> None:
    numbers, periods, values = monthly(shared_data)
    assert found((numbers, periods, values)) == []
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    places = starts + (np.random.default_rng(1).random(len(starts)) * np.bincount(numbers)).astype(int)
    planted = values.copy()
    planted[places] *= 1000
    assert np.mean(np.isin(places, found((numbers, periods, planted)))) > 0.99


def test_of_the_m4_hourly_series_none_is_found(shared_data: Path) -> None:
    wide = pl.read_csv(shared_data / "m4_hourly/Hourly-train.csv", infer_schema=False).drop("V1").cast(pl.Float64)
    values = wide.to_numpy()
    there = np.isfinite(values)
    numbers, periods = np.nonzero(there)
    assert found((numbers, periods.astype(float), values[there]), 24) == []
