from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from keepfit.models.series import arima, arima_search
from keepfit.models.series.panel import panel
from tests.models.series import contract


def drawn(numerator: list[float], denominator: list[float], count: int = 600, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=count + 100)
    return np.asarray(lfilter(numerator, denominator, noise)[100:])


def test_coefficients_of_a_known_process_are_found() -> None:
    series = 5 + drawn([1.0, 0.5], [1.0, -0.7], 3000)
    found = arima_search.fit(series, (1, 1, 0, 0), 1, True)
    assert found.coefficients[:2] == pytest.approx([0.7, 0.5], abs=0.05)
    assert found.coefficients[2] == pytest.approx(5.0, abs=0.4)
    assert np.var(found.residuals) == pytest.approx(1.0, abs=0.06)


def test_derivatives_are_those_of_the_residuals() -> None:
    series, order = drawn([1.0], [1.0, -0.5], 120), (2, 1, 1, 2)
    found = np.array([0.4, -0.2, 0.3, 0.5, -0.3, 0.2, 0.1])
    residuals = arima_search._residuals(series, found, order, 4)
    slopes = arima_search._slopes(series, found, residuals, order, 4)
    for place in range(len(found)):
        step = np.zeros(len(found))
        step[place] = 1e-6
        nearby = arima_search._residuals(series, found + step, order, 4)
        assert np.allclose((nearby - residuals) / 1e-6, slopes[:, place], atol=1e-4)


def test_the_stored_recursion_is_the_model() -> None:
    """Filtering the history with the kept lags and weights gives the residuals that the search ended with."""
    series = drawn([1.0, 0.4], [1.0, -1.0], 200) + np.tile([0.0, 3.0, 5.0, 1.0], 50)
    state = arima.fit(panel([series]), (4,))
    _, d, q, _, large_d, large_q, _ = state["order"][0]
    assert d + large_d > 0
    differences = np.array([1.0])
    for factor in [[1.0, -1.0]] * d + [[1.0, 0.0, 0.0, 0.0, -1.0]] * large_d:
        differences = np.convolve(differences, factor)
    own, rest = np.polydiv(np.concatenate([[1.0], -state["lags"][0]]), differences)
    assert np.allclose(rest, 0, atol=1e-9)
    changes = np.convolve(series / state["size"][0], differences, "valid")
    errors = lfilter(own, np.concatenate([[1.0], state["weights"][0]]), changes)
    kept = state["errors"][0][: q + 4 * large_q]
    assert len(kept)
    assert np.allclose(errors[::-1][: len(kept)], kept, atol=1e-6)


def test_differences_are_found() -> None:
    walk, level = drawn([1.0], [1.0, -1.0]), drawn([1.0], [1.0, -0.3])
    season = np.tile([0.0, 30.0, 50.0, 10.0], 100) + drawn([1.0], [1.0, -1.0], 400, 3)
    orders = arima.fit(panel([walk, level, season]), (4,))["order"]
    assert orders[:, 1].tolist()[:2] == [1, 0]
    assert orders[:, 4].tolist() == [0, 0, 1]


def test_it_beats_the_last_season() -> None:
    found, naive = contract.errors(arima, contract.ordinary(40), 12, (12,))
    assert found < 0.9 * naive


def test_odd_series_updates_and_storage(tmp_path: Path) -> None:
    contract.check_odd_series(arima)
    contract.check_updates(arima)
    contract.check_storage(arima, tmp_path)


def test_new_series_take_over_what_was_learned_of_others() -> None:
    contract.check_adoption(arima)
