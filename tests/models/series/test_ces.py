from pathlib import Path

import numpy as np
import pytest

from keepfit.models.series import ces
from keepfit.models.series.panel import panel
from tests.models.series import contract


def test_it_beats_the_last_season() -> None:
    found, naive = contract.errors(ces, contract.ordinary(60), 12, (12,))
    assert found < 0.8 * naive


def test_odd_series_updates_and_storage(tmp_path: Path) -> None:
    contract.check_odd_series(ces)
    contract.check_updates(ces)
    contract.check_storage(ces, tmp_path)


def test_with_parts_of_one_it_is_simple_smoothing_of_what_was_last() -> None:
    """With imaginary part 1 the unseen part does not reach the level: l += (a - 1) e, the paper's equation 7."""
    state = ces.fit(panel([10 + np.random.default_rng(0).normal(size=40)]), ())
    state["parameters"][:] = [[1.3, 1.0]]
    level = ces.forecast(state, 3)[0]
    assert np.allclose(level, level[0])
    moved = ces.forecast(ces.update(state, np.array([[level[0] + 10]])), 1)[0, 0]
    assert moved == pytest.approx(level[0] + 0.3 * 10)


def test_new_series_take_over_what_was_learned_of_others() -> None:
    contract.check_adoption(ces)
