from pathlib import Path

import numpy as np
import pytest

from keepfit.models.series import exponential
from keepfit.models.series.panel import panel
from tests.models.series import contract


def test_it_beats_the_last_season() -> None:
    found, naive = contract.errors(exponential, contract.ordinary(60), 12, (12,))
    assert found < 0.8 * naive


def test_odd_series_updates_and_storage(tmp_path: Path) -> None:
    contract.check_odd_series(exponential)
    contract.check_updates(exponential)
    contract.check_storage(exponential, tmp_path)


@pytest.mark.parametrize("form", ["ANN", "AAN", "ADN", "ANA", "AAA", "MNM", "MAM", "MDM", "MDA"])
def test_each_form_learns_what_it_is_made_for(form: str) -> None:
    time = np.arange(120.0)
    wave = np.sin(time * 2 * np.pi / 12)
    values = 100 + (0.5 * time if form[1] != "N" else 0)
    values = {"N": values, "A": values + 20 * wave, "M": values * (1 + 0.2 * wave)}[form[2]]
    given = panel([values + np.random.default_rng(0).normal(0, 0.3, 120)])
    state = exponential.fit(given.until(24), (12,), forms=form)
    assert state["kind"].tolist() == [form]
    error = np.abs(exponential.forecast(state, 24) - given.values[:, -24:]).mean()
    assert error < (3.0 if form[1] == "D" else 1.5)


def test_the_form_is_found() -> None:
    draw = np.random.default_rng(0)
    time = np.arange(144.0)
    wave = np.sin(time * 2 * np.pi / 12)
    growing = [(50 + time) * (1 + 0.3 * wave) * np.exp(draw.normal(0, 0.02, 144)) for _ in range(10)]
    none = [100 + draw.normal(0, 3, 144) for _ in range(10)]
    state = exponential.fit(panel([*growing, *none]), (12,))
    assert sum(kind.endswith("M") for kind in state["kind"][:10].tolist()) >= 9
    assert sum(kind.endswith("NN") for kind in state["kind"][10:].tolist()) >= 8


def test_simple_smoothing_by_hand() -> None:
    state = exponential.fit(panel([np.random.default_rng(1).normal(50, 5, 60)]), (), forms="ANN")
    state["parameters"][:, exponential.ALPHA] = 0.25
    before = exponential.forecast(state, 1)[0, 0]
    after = exponential.forecast(exponential.update(state, np.array([[before + 8]])), 4)[0]
    assert np.allclose(after, before + 2)


def test_new_series_take_over_what_was_learned_of_others() -> None:
    contract.check_adoption(exponential)
