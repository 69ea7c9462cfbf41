"""stored.py: a memory comes back from plain arrays as it was."""

from __future__ import annotations

import io

import numpy as np
import pytest

from keepfit.models.series import stored
from keepfit.models.series.answers import answers
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
        assert np.array_equal(answers(back, asked)[:, [2 + place, 0, 1]], one.predict(asked))


def test_a_long_new_series_is_looked_at_by_each_model_as_alone() -> None:
    """How much of it counts is a matter of the model's own seasons, not of those of the models beside it."""
    rows = matrix(values(length=200))
    made = [Forecaster("theta", (SEASON,), horizon=6).fit(hidden(rows), rows[:, 2])]
    made += [Forecaster("theta", (5 * SEASON,), horizon=6).fit(hidden(rows), rows[:, 2])]
    back = stored.read(stored.arrays([one.memory for one in made]))
    new = matrix(np.cumsum(np.random.default_rng(1).normal(size=(1, 300)), axis=1))
    new[:, 0] = 7
    new[-6:, 2] = np.nan
    alone = [one.predict(new)[:, 0] for one in made]
    assert np.array_equal(answers(back, new)[:, 2:].T, alone)
    assert not np.array_equal(*alone)


def test_what_is_not_there_is_an_error() -> None:
    made, _ = forecasters()
    arrays = stored.arrays([made[0].memory])
    del arrays["ends"]
    with pytest.raises(KeyError):
        stored.read(arrays)
