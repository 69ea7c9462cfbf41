from pathlib import Path

import numpy as np
import pytest

from keepfit.models.series import theta
from keepfit.models.series.panel import panel
from tests.models.series import contract


def test_an_ideal_line_is_followed_all_the_way() -> None:
    state = theta.fit(panel([10 + 2 * np.arange(30.0)]), (), dynamic=False)
    assert np.allclose(theta.forecast(state, 3), [[70, 72, 74]], rtol=0.02)


@pytest.mark.parametrize("dynamic", [True, False])
def test_it_beats_the_last_season(dynamic: bool) -> None:
    given = contract.ordinary(60)
    state = theta.fit(given.until(12), (12,), dynamic=dynamic)
    truth = given.values[:, -12:]
    error = np.abs(theta.forecast(state, 12) - truth).mean()
    assert error < 0.8 * np.abs(given.values[:, -24:-12] - truth).mean()


def test_odd_series_updates_and_storage(tmp_path: Path) -> None:
    contract.check_odd_series(theta)
    contract.check_updates(theta)
    contract.check_storage(theta, tmp_path)


def test_new_series_take_over_what_was_learned_of_others() -> None:
    contract.check_adoption(theta)
