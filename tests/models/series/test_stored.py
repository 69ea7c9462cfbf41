"""stored.py: a memory comes back from plain arrays as it was."""

from __future__ import annotations

import io

import numpy as np
import pytest

from keepfit.models.series import memory, stored
from keepfit.models.series.estimator import Forecaster
from tests.models.series.rows import SEASON, hidden, matrix, values


def forecasters() -> tuple[list[Forecaster], np.ndarray]:
    rows = matrix(values())
    known = rows[:, 1] < 48
    names = ("seasonal_naive", "theta")
    return [Forecaster(name, (SEASON,), horizon=6).fit(hidden(rows[known]), rows[known, 2]) for name in names], rows


def test_models_of_the_same_series_share_a_file_and_answer_as_alone() -> None:
    made, rows = forecasters()
    file = io.BytesIO()
    np.savez(file, **stored.arrays([one.memory for one in made]))
    file.seek(0)
    with np.load(file, allow_pickle=False) as found:
        back = stored.read(dict(found))
    asked = rows[rows[:, 1] >= 40].copy()
    asked[asked[:, 1] >= 51, 2] = np.nan
    for place, one in enumerate(made):
        assert np.array_equal(memory.answers(back, asked)[:, [2 + place, 0, 1]], one.predict(asked))


def test_what_is_not_there_is_an_error() -> None:
    made, _ = forecasters()
    arrays = stored.arrays([made[0].memory])
    del arrays["ends"]
    with pytest.raises(KeyError):
        stored.read(arrays)
