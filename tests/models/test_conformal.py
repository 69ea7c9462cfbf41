"""conformal.py: intervals hold what they promise on rows that they were not learned from."""

from __future__ import annotations

import numpy as np
import pytest

from keepfit.models import conformal
from keepfit.models.fitted import ends


def scores(rows: int, steps: int, seed: int, power: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """True values and forecasts (n, 3) whose errors are skewed and grow with the step."""
    random = np.random.default_rng(seed)
    step = random.integers(1, steps + 1, rows).astype(float)
    scale = 10.0 ** random.integers(0, 4, rows)
    error = (random.gamma(2.0, 1.0, rows) - 2.0) * step**power
    return error * scale, np.column_stack([np.zeros(rows), scale, step])


@pytest.mark.parametrize(("rows", "coverage", "off"), [(20_000, 0.9, 0.03), (20_000, 0.5, 0.04), (2_000, 0.8, 0.06)])
def test_each_step_is_covered_and_both_tails_are_alike(rows: int, coverage: float, off: float) -> None:
    found = conformal.by_step(*scores(rows, 12, 0), coverage)
    assert found is not None
    assert found["coverage"] == coverage
    y, told = scores(50_000, 12, 1)
    low, high = ends(found, told[:, 2])
    below, above = y / told[:, 1] < low, y / told[:, 1] > high
    for step in range(1, 13):
        mine = told[:, 2] == step
        assert abs((below | above)[mine].mean() - (1 - coverage)) < off
    assert abs(below.mean() - above.mean()) < 0.03


def test_few_residuals_make_an_even_interval_that_grows_with_the_step() -> None:
    found = conformal.by_step(*scores(60, 12, 3, power=1.0))
    assert found is not None
    assert np.allclose(found["low"], -np.array(found["high"]))
    assert (np.diff(found["high"]) > 0).all()


def test_rows_without_a_forecast_and_observed_ones_say_nothing() -> None:
    y, told = scores(400, 4, 0)
    plain = conformal.by_step(y, told)
    odd = np.concatenate([told, [[np.nan, np.nan, np.nan], [5.0, 1.0, 0.0]]])
    assert conformal.by_step(np.append(y, [1.0, 99.0]), odd) == plain
    assert conformal.by_step(y[:1], np.array([[np.nan] * 3])) is None


def test_an_interval_says_of_how_few_forecasts_it_was_learned():
    def learned(count: int) -> dict[str, object]:
        step = np.tile(np.arange(1.0, 13.0), count)
        y = np.random.default_rng(0).normal(size=len(step))
        found = conformal.by_step(y, np.column_stack([np.zeros(len(y)), np.ones(len(y)), step]))
        assert found is not None
        return found

    two = learned(2)
    assert two["forecasts"] == 2
    assert conformal.few(two).startswith("learned from 2 forecasts out of fold, which prove little: 9 at least")
    assert "1 forecast out of fold, which proves little: 4 at least could show 80 %" in conformal.few(
        {"coverage": 0.8, "forecasts": 1}
    )
    assert conformal.few(learned(9)) == ""
    assert conformal.few({"low": [-1.0], "high": [1.0], "coverage": 0.9}) == ""  # of a bundle that does not tell


def test_perfect_forecasts_have_no_width() -> None:
    found = conformal.by_step(
        np.zeros(300), np.column_stack([np.zeros(300), np.ones(300), np.tile([1.0, 2.0, 3.0], 100)])
    )
    assert found is not None
    assert max(found["high"]) == 0
