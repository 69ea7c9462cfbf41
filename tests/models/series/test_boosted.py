import functools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from keepfit.models.series import boosted
from keepfit.models.series.panel import Panel, of, panel
from tests.models.series import contract

SMALL = {"n_estimators": 60, "min_child_samples": 20}
quick = SimpleNamespace(
    fit=functools.partial(boosted.fit, **SMALL), forecast=boosted.forecast, update=boosted.update
)  # fmt: skip


def test_it_beats_the_last_season() -> None:
    found, naive = contract.errors(quick, contract.ordinary(60), 12, (12,))
    assert found < 0.8 * naive


def test_two_seasons_are_both_seen() -> None:
    draw = np.random.default_rng(0)
    time = np.arange(6 * 42)
    shape = 10 * np.sin(time * 2 * np.pi / 6) * (1 + (time % 42 >= 30)) + 20 * (time % 42 >= 30)
    given = panel([100 + shape + draw.normal(0, 1, len(time)) for _ in range(30)])
    truth = given.values[:, -12:]
    state = quick.fit(given.until(12), (6, 42), 0)
    error = np.abs(quick.forecast(state, 12) - truth).mean()
    assert error < 0.5 * np.abs(given.values[:, -18:-6] - truth).mean()
    assert error < 1.5


def test_covariates_that_are_known_ahead_help() -> None:
    draw = np.random.default_rng(1)
    outside = draw.integers(0, 2, size=(40, 80, 1)).astype(float)
    values = 50 + 20 * outside[..., 0] + draw.normal(0, 1, (40, 80))
    given = Panel(values, np.full(40, 79), np.arange(40), outside)
    state = quick.fit(given.until(6), (), 0, horizon=6)
    told = np.abs(quick.forecast(state, 6, outside[:, -6:]) - values[:, -6:]).mean()
    untold = np.abs(quick.forecast(state, 6) - values[:, -6:]).mean()
    assert told < 3 < untold
    moved = quick.update(state, values[:, -6:-3], outside[:, -6:-3])
    assert np.abs(quick.forecast(moved, 3, outside[:, -3:]) - values[:, -3:]).mean() < 3


def test_beyond_the_horizon_it_goes_on_from_its_forecasts() -> None:
    given = contract.ordinary(20)
    state = quick.fit(given, (12,), 0, horizon=6)
    near, far = quick.forecast(state, 6), quick.forecast(state, 30)
    assert np.array_equal(far[:, :6], near)
    assert (np.abs(far / given.values[:, -1:] - 1) < 3).all()


def test_odd_series() -> None:
    contract.check_odd_series(quick)


def test_storage(tmp_path: Path) -> None:
    contract.check_storage(quick, tmp_path)


def test_updates() -> None:
    given = contract.ordinary()
    state = quick.fit(given.until(6), (12,), 0)
    new = given.values[:, -6:]
    at_once, one_by_one = boosted.update(state, new), state
    for column in range(6):
        one_by_one = boosted.update(one_by_one, new[:, column : column + 1])
    assert np.array_equal(boosted.forecast(at_once, 15), boosted.forecast(one_by_one, 15))
    assert at_once["ends"].tolist() == given.ends.tolist()
    gap = new.copy()
    gap[2, 3] = np.nan
    bridged = boosted.update(boosted.update(state, new[:, :3]), gap[:, 3:4])
    expected = boosted.forecast(boosted.update(state, new[:, :3]), 1)
    assert bridged["history"][2, -1] == expected[2, 0]
    assert (bridged["history"][3, -1] == new[3, 3]).all()


def test_some_of_the_series_are_forecast_as_among_all() -> None:
    state = quick.fit(contract.ordinary(), (12,), 0)
    assert np.allclose(boosted.forecast(of(state, [4, 7]), 5), boosted.forecast(state, 5)[[4, 7]])


def test_forecasts_and_updates_need_numpy_alone() -> None:
    code = (
        "import sys, keepfit.models.series.boosted, keepfit.models.series.theta, keepfit.models.series.exponential, "
        "keepfit.models.series.ces, keepfit.models.series.seasonal_naive, keepfit.models.series.arima\n"
        "print([m for m in ('lightgbm', 'scipy', 'sklearn', 'pandas', 'polars', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_other_series_are_forecast_with_the_trees_that_there_are() -> None:
    given = contract.ordinary(40)
    known, new = given.rows(np.arange(30)), given.rows(np.arange(30, 40))
    state = quick.fit(known, (12,), 0)
    again = boosted.forecast(boosted.adopt(state, known), 12)
    assert np.array_equal(again, boosted.forecast(state, 12))
    joined = boosted.adopt(quick.fit(known.until(12), (12,), 0), new.until(12))
    error = np.abs(boosted.forecast(joined, 12) - new.values[:, -12:]).mean()
    assert error < np.abs(new.values[:, -24:-12] - new.values[:, -12:]).mean()


def led(count: int = 40, length: int = 90) -> Panel:
    """Series that follow one covariate at once, and another one three periods later."""
    draw = np.random.default_rng(2)
    outside = draw.normal(0, 1, (count, length, 2))
    values = 50 + 2 * outside[..., 0] + draw.normal(0, 0.3, (count, length))
    values[:, 3:] += 10 * outside[:, :-3, 1]
    return Panel(values, np.full(count, length - 1), np.arange(count), outside)


def test_covariates_of_the_past_tell_of_the_steps_that_follow_them() -> None:
    given = led()
    truth, ahead = given.values[:, -6:], given.covariates[:, -6:]
    grown = functools.partial(boosted.fit, n_estimators=200, min_child_samples=20)
    state = grown(given.until(6), (), 0, horizon=6, past=1)
    without = grown(replace(given, covariates=given.covariates[:, :, :1]).until(6), (), 0, horizon=6)
    told = np.abs(quick.forecast(state, 6, ahead) - truth).mean(axis=0)
    untold = np.abs(quick.forecast(without, 6, ahead[:, :, :1]) - truth).mean(axis=0)
    assert told[:3].mean() < 0.6 * untold[:3].mean()  # what follows from values up to the origin
    assert told[3:].mean() < 1.2 * untold[3:].mean()  # and what follows from later ones, nobody knows


def test_later_values_of_covariates_of_the_past_have_no_influence() -> None:
    given = led()
    state = quick.fit(given.until(6), (), 0, horizon=4, past=1)
    ahead = given.covariates[:, -6:]
    for other in (np.nan, 1e9, -ahead[:, :, 1]):
        changed = ahead.copy()
        changed[:, :, 1] = other
        assert np.array_equal(quick.forecast(state, 6, changed), quick.forecast(state, 6, ahead))  # the horizon is 4
    ahead[:, :, 0] += 3
    assert not np.array_equal(quick.forecast(state, 6, changed), quick.forecast(state, 6, ahead))


def test_examples_hold_no_covariate_of_the_past_that_is_later_than_their_origin(monkeypatch) -> None:
    """What the trees learn from does not change with values that come after the origin of the last example."""
    seen = []
    monkeypatch.setattr(boosted.walk, "grown", lambda matrix, *rest: seen.append(matrix) or boosted.walk.NONE)
    given = led()
    for later in (0.0, 1e6):
        covariates = given.covariates.copy()
        covariates[:, -4:, 1] += later
        boosted.fit(replace(given, covariates=covariates), (), 0, horizon=4, past=1)
    rows = len(given.values) * 4  # those of the newest origin come first
    assert np.array_equal(seen[0][:rows], seen[1][:rows])
    covariates[:, -5, 1] += 1  # the origin itself
    boosted.fit(replace(given, covariates=covariates), (), 0, horizon=4, past=1)
    assert not np.array_equal(seen[0][:rows], seen[2][:rows])


def test_the_last_known_value_stands_for_covariates_that_are_not_told() -> None:
    given = led()
    state = quick.fit(given.until(6), (), 0, horizon=3, past=1)
    new, outside = given.values[:, -6:-3], given.covariates[:, -6:-3].copy()
    ahead = given.covariates[:, -3:].copy()
    moved = quick.update(state, new, outside)
    truth = given.values[:, -3:]
    assert (
        np.abs(quick.forecast(moved, 3, ahead) - truth).mean() < np.abs(quick.forecast(state, 6)[:, 3:] - truth).mean()
    )
    untold = outside.copy()
    untold[:, :, 1] = np.nan
    held = outside.copy()
    held[:, :, 1] = given.covariates[:, -7, None, 1]
    by_gap, by_value = (quick.forecast(quick.update(state, new, told), 3, ahead) for told in (untold, held))
    assert np.array_equal(by_gap, by_value)
    assert not np.array_equal(by_gap, quick.forecast(moved, 3, ahead))
