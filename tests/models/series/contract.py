"""What every forecasting model has to do, whatever it is: asked of each by its own tests."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import ModuleType

import numpy as np

from keepfit.features import storage
from keepfit.models.series.panel import Panel, State, panel


def ordinary(count: int = 12, length: int = 96, period: int = 12, seed: int = 0) -> Panel:
    """Series with level, trend, season and noise; the later ones are shorter."""
    draw = np.random.default_rng(seed)
    series = []
    for number in range(count):
        time = np.arange(length - 3 * (number % 12))
        base = 100 + draw.uniform(-0.5, 1.0) * time
        season = 1 + draw.uniform(0.1, 0.4) * np.sin(2 * np.pi * (time + draw.integers(period)) / period)
        series.append(base * season * np.exp(draw.normal(0, 0.03, len(time))))
    return panel(series)


def odd() -> Panel:
    """Series that leave a model little to learn from."""
    draw = np.random.default_rng(5)
    gaps = 50 + draw.normal(0, 5, 60)
    gaps[[3, 20, 21, 22, 59]] = np.nan
    years = np.full(90, np.nan)
    years[[0, 1, 2, *range(70, 90)]] = 10 + draw.normal(0, 1, 23)
    huge = 1e12 * np.exp(draw.normal(0, 0.1, 50))
    return panel([
        np.zeros(40), np.full(40, 7.0), [5.0], [1.0, 2.0], [3.0, 1.0, 2.0], draw.normal(-20, 5, 50), gaps, years,
        draw.poisson(0.3, 60).astype(float), huge, 1e-9 * huge / 1e12, np.r_[np.zeros(30), 1.0, np.zeros(20)],
        np.arange(30.0), [np.nan], np.r_[draw.normal(100, 1, 40), 1e6],
    ])  # fmt: skip


def check_odd_series(model: ModuleType, season: tuple[int, ...] = (12,)) -> None:
    """Without warnings; finite wherever a value was ever seen, near what is constant."""
    given = odd()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_odd_forecasts(model, given, model.fit(given, season, 0))


def check_odd_forecasts(model: ModuleType, given: Panel, state: State) -> None:
    """What is forecast of `odd`, by whatever state."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.forecast(state, 24)
        moved = model.update(state, np.full((len(given.values), 3), 4.0))
        later = model.forecast(moved, 5)
    empty = np.isnan(given.values).all(axis=1)
    assert np.isfinite(found[~empty]).all()
    assert np.isnan(found[empty]).all()
    assert np.isfinite(later).all(), "also the series whose first values came now"
    assert np.abs(found[0]).max() < 1e-6
    assert np.abs(found[1] - 7).max() < 1e-6
    assert (found[2] == 5).all()
    top = np.nan_to_num(np.abs(given.values)).max(axis=1)
    assert (np.abs(found[~empty]) <= 30 * top[~empty, None] + 1e-9).all(), "no explosions"


def check_updates(model: ModuleType, season: tuple[int, ...] = (12,)) -> None:
    """One by one or at once is the same; a gap takes the forecast; what is given is not changed."""
    given = ordinary()
    state = model.fit(given.until(6), season, 0)
    before = model.forecast(state, 6)
    new = given.values[:, -6:].copy()
    at_once = model.update(state, new)
    one_by_one = state
    for column in range(6):
        one_by_one = model.update(one_by_one, new[:, column : column + 1])
    assert np.allclose(model.forecast(at_once, 15), model.forecast(one_by_one, 15))
    assert np.array_equal(model.forecast(state, 6), before)
    silent = model.update(state, np.full((len(new), 4), np.nan))
    assert np.allclose(model.forecast(silent, 2), before[:, 4:])
    assert not np.allclose(model.forecast(at_once, 6), model.forecast(silent, 6))


def check_storage(model: ModuleType, folder: Path, season: tuple[int, ...] = (12,)) -> None:
    """A state comes back from the disk as it was."""
    state = model.fit(ordinary(), season, 0)
    storage.save(state, folder)
    back = storage.load(folder)
    assert np.array_equal(model.forecast(back, 9), model.forecast(state, 9))
    moved = np.full((12, 2), 120.0)
    assert np.array_equal(model.forecast(model.update(back, moved), 9), model.forecast(model.update(state, moved), 9))


def check_adoption(model: ModuleType, season: tuple[int, ...] = (12,)) -> None:
    """New series take over what was learned of others: nearly as good as fitted to them, odd ones without a crash."""
    given = ordinary(24, 120, seed=3)
    known, new = given.rows(np.arange(12)), given.rows(np.arange(12, 24))
    state = model.fit(known, season, 0)
    truth = new.values[:, -6:]
    fitted = model.forecast(model.fit(new.until(6), season, 0), 6)
    adopted = model.adopt(state, new.until(6))
    found = model.forecast(adopted, 6)
    assert np.abs(found - truth).mean() < 1.1 * np.abs(fitted - truth).mean()
    alone = model.forecast(model.adopt(state, new.until(6).rows(np.array([4]))), 6)
    assert np.allclose(alone, found[4:5], rtol=1e-6), "whoever else is new"
    later = model.forecast(model.update(adopted, truth[:, :2]), 4)
    assert np.isfinite(later).all()
    assert not np.allclose(later, found[:, 2:])
    check_odd_forecasts(model, odd(), model.adopt(state, odd()))


def errors(model: ModuleType, given: Panel, steps: int, season: tuple[int, ...]) -> tuple[float, float]:
    """Mean absolute errors on the last `steps`: of the model, and of the value one (longest) season before."""
    truth = given.values[:, -steps:]
    found = model.forecast(model.fit(given.until(steps), season, 0), steps)
    repeated = given.values[:, -steps - season[-1] : given.values.shape[1] - season[-1]][:, :steps]
    return float(np.abs(found - truth).mean()), float(np.abs(repeated - truth).mean())
