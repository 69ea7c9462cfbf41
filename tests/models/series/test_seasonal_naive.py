from pathlib import Path

import numpy as np

from keepfit.models.series import seasonal_naive
from keepfit.models.series.panel import panel
from tests.models.series import contract


def test_the_last_season_again() -> None:
    state = seasonal_naive.fit(panel([[9, 1, 2, 3], [8, 8, 8, np.nan]]), (3,))
    assert seasonal_naive.forecast(state, 5).tolist() == [[1, 2, 3, 1, 2], [8, 8, 8, 8, 8]]
    assert seasonal_naive.forecast(seasonal_naive.update(state, np.array([[7.0], [np.nan]])), 3).tolist() == [
        [2, 3, 7],
        [8, 8, 8],
    ]


def test_a_season_longer_than_the_series_is_left_out() -> None:
    assert seasonal_naive.forecast(seasonal_naive.fit(panel([[1, 2, 3]]), (2, 7)), 3).tolist() == [[2, 3, 2]]


def test_odd_series_updates_and_storage(tmp_path: Path) -> None:
    contract.check_odd_series(seasonal_naive)
    contract.check_updates(seasonal_naive)
    contract.check_storage(seasonal_naive, tmp_path)
