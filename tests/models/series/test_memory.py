"""memory.py: rows become a panel, forecasts are looked up, observations move the states."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from keepfit.models.series import memory
from keepfit.models.series import stored as storage
from keepfit.models.series.answers import answers
from keepfit.models.series.estimator import Forecaster
from tests.models.series.rows import SEASON, hidden, matrix, values

MODELS = ("seasonal_naive", "theta")


def fitted(model: str = "seasonal_naive", horizon: int = 6, until: int = 48) -> tuple[Forecaster, np.ndarray]:
    """A model of the first months of three series, and all rows."""
    told = values()
    rows = matrix(told)
    known = rows[:, 1] < until
    return Forecaster(model, (SEASON,), horizon=horizon).fit(hidden(rows[known]), rows[known, 2]), rows


@pytest.mark.parametrize("model", MODELS)
def test_the_forecast_of_a_row_is_that_of_its_step(model: str) -> None:
    made, rows = fitted(model)
    later = rows[(rows[:, 1] >= 48) & (rows[:, 1] < 54)]
    said = made.predict(hidden(later))
    assert said[:, 2].tolist() == [1, 2, 3, 4, 5, 6] * 3
    assert np.abs(said[:, 0] - later[:, 2]).mean() < 0.2 * later[:, 2].mean()
    mixed = np.random.default_rng(0).permutation(len(later))
    assert (made.predict(hidden(later[mixed])) == said[mixed]).all()


def test_the_scale_is_that_of_the_history_alone() -> None:
    made, rows = fitted()
    history = rows[rows[:, 1] < 48, 2].reshape(3, 48)
    expected = np.abs(history[:, SEASON:] - history[:, :-SEASON]).mean(axis=1)
    assert np.allclose(made.predict(hidden(rows[::60]))[:, 1], expected)


def test_the_known_past_answers_what_was_observed_then() -> None:
    made, rows = fitted()
    said = made.predict(hidden(rows[rows[:, 1] < 48]))
    assert (said[:, 0] == rows[rows[:, 1] < 48, 2]).all()
    assert (said[:, 2] == 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_observed_rows_answer_themselves_and_move_the_forecast(model: str) -> None:
    made, rows = fitted(model)
    asked = rows[rows[:, 1] >= 46].copy()
    asked[asked[:, 1] >= 51, 2] = np.nan  # three months are told, two of which before were known
    said = made.predict(asked)
    told = np.isfinite(asked[:, 2])
    assert (said[told, 0] == asked[told, 2]).all()
    assert said[~told, 2].tolist() == [*range(1, 10)] * 3
    states = made.memory.parts[0].states
    again = made.predict(hidden(rows[rows[:, 1] >= 48]))
    assert again[0, 2] == 1  # what one call is told is gone with it
    assert made.memory.parts[0].states is states


def test_series_that_are_told_differently_far_each_go_on_from_their_own_end() -> None:
    made, rows = fitted()
    asked = rows[(rows[:, 1] >= 48)].copy()
    ends = np.array([50, 53, 47])[asked[:, 0].astype(int)]
    asked[asked[:, 1] > ends, 2] = np.nan
    said = made.predict(asked)
    unknown = np.isnan(asked[:, 2])
    assert (said[unknown, 2] == (asked[:, 1] - ends)[unknown]).all()
    assert np.isfinite(said).all()


@pytest.mark.parametrize("model", MODELS)
def test_one_series_answers_the_same_alone_and_among_others(model: str) -> None:
    made, rows = fitted(model)
    asked = rows[rows[:, 1] >= 48].copy()
    asked[asked[:, 1] >= 50, 2] = np.nan
    together = made.predict(asked)
    for number in range(3):
        mine = asked[:, 0] == number
        assert np.allclose(made.predict(asked[mine]), together[mine], rtol=1e-12)


def test_a_gap_in_what_is_told_does_not_stop_the_states() -> None:
    made, rows = fitted()
    asked = rows[(rows[:, 0] == 0) & (rows[:, 1] >= 48)].copy()
    asked[[0, 1], 2] = np.nan
    asked[4:, 2] = np.nan
    said = made.predict(asked)
    assert said[4:, 2].tolist() == [*range(1, 9)]
    assert np.isnan(said[:2, 0]).all()  # never observed, and now in the past


def test_a_new_series_is_fitted_to_its_own_rows() -> None:
    made, _ = fitted("theta")
    rows = matrix(values(1, 60, seed=5), start=3)
    rows[:, 0] = 7
    asked = rows.copy()
    asked[54:, 2] = np.nan
    said = made.predict(asked)
    assert said[54:, 2].tolist() == [1, 2, 3, 4, 5, 6]
    assert np.abs(said[54:, 0] - rows[54:, 2]).max() < 5
    assert np.isnan(made.predict(hidden(rows))).all()  # and nothing is known of it without them


def test_a_single_observation_of_a_new_series_is_repeated() -> None:
    made, _ = fitted()
    said = made.predict(np.array([[9, 0, 5.0], [9, 1, np.nan]]))
    assert said[:, 0].tolist() == [5.0, 5.0]


@pytest.mark.parametrize("period", [1e6, 1e12, -1e12, 1e30, np.inf])
def test_times_out_of_the_world_cost_nothing_and_break_nothing(period: float) -> None:
    made, _rows = fitted()
    asked = np.array([[0, period, np.nan], [1, period, 3.0], [8, period, 3.0], [8, 2, 4.0], [0, 48, np.nan]])
    said = made.predict(asked)
    assert said[1, 0] == 3.0
    assert said[4].tolist() == made.predict(asked[4:])[0].tolist()


def test_far_steps_are_computed_for_those_that_ask_and_end_after_ten_horizons() -> None:
    made, _rows = fitted(horizon=2)
    asked = hidden(matrix(np.zeros((1, 30)), start=48))
    said = made.predict(asked)
    assert np.isfinite(said[:20, 0]).all()
    assert np.isnan(said[20:, 0]).all()
    longer, _ = fitted(horizon=30)
    assert np.allclose(longer.predict(asked)[:20, 0], said[:20, 0])


@pytest.mark.parametrize(
    "row", [[np.nan, 50, np.nan], [0, np.nan, np.nan], [np.nan] * 3, [-1, 50, 2.0], [0, np.nan, 2.0]]
)
def test_rows_without_series_or_time_answer_nothing_but_what_they_hold(row: list[float]) -> None:
    made, _ = fitted()
    (said,) = made.predict(np.array([row]))
    assert said[0] == row[2] or np.isnan(said[0])


def test_no_rows_have_no_answers() -> None:
    assert fitted()[0].predict(np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("model", MODELS)
def test_refreshed_is_the_memory_after_later_rows(model: str) -> None:
    made, rows = fitted(model)
    later = rows[(rows[:, 1] >= 48) & (rows[:, 1] < 54) & (rows[:, 0] < 2)]  # the third series has no news
    moved = memory.refreshed(made.memory, later)
    ends = dict(zip(moved.numbers.tolist(), moved.ends.tolist(), strict=True))
    assert ends == {0: 53, 1: 53, 2: 47}
    stranger = later[later[:, 0] == 0] + [9, 0, 0]
    assert memory.refreshed(made.memory, np.concatenate([later, stranger])).numbers.max() == 2
    asked = hidden(rows[rows[:, 1] >= 54])
    told = np.concatenate([later, asked])
    assert np.allclose(answers(moved, asked), answers(made.memory, told)[len(later) :], equal_nan=True)
    assert (answers(moved, hidden(later))[:, 2] == later[:, 2]).all()
    assert np.array_equal(moved.scales[np.argsort(moved.numbers)], made.memory.scales)


def test_of_two_values_of_one_period_the_last_counts() -> None:
    rows = np.array([[0.0, 0, np.nan], [0, 1, np.nan], [0, 1, np.nan]])
    assert memory.panel(rows, np.array([1.0, 2.0, 3.0])).values.tolist() == [[1.0, 3.0]]


def test_covariates_of_the_past_count_in_observed_rows_alone() -> None:
    draw = np.random.default_rng(0)
    outside = draw.normal(size=(40, 70, 2))  # known ahead, and of the past
    told = 50 + 5 * outside[..., 0]
    told[:, 1:] += 5 * outside[:, :-1, 1]
    rows = np.column_stack([matrix(told), outside.reshape(-1, 2)])
    fit = rows[rows[:, 1] < 60]
    made = Forecaster("boosted_lags", past=1, horizon=4, n_estimators=40).fit(hidden(fit), fit[:, 2])
    asked = hidden(rows[rows[:, 1] >= 60])
    changed = asked + np.array([0, 0, 0, 0, 1e6])
    assert np.array_equal(made.predict(asked), made.predict(changed))
    assert not np.array_equal(made.predict(asked), made.predict(asked + np.array([0, 0, 0, 1, 0])))
    news, later = rows[rows[:, 1] == 60], hidden(rows[rows[:, 1] == 61])
    said = [made.predict(np.concatenate([news + np.array([0, 0, 0, 0, by]), later]))[40:, 0] for by in (0, 0, 2)]
    assert np.array_equal(said[0], said[1])
    assert (said[2] - said[0]).mean() > 1  # an observation brings its own
    alone = Forecaster("boosted_lags", past=2, horizon=4, n_estimators=40).fit(hidden(fit), fit[:, 2])
    assert alone.memory.about.past == 2
    few = np.full((len(asked), 2), np.nan)
    assert np.array_equal(alone.predict(asked), alone.predict(np.column_stack([asked[:, :3], few])))
    assert np.array_equal(alone.predict(asked), stored(alone).predict(asked))


def stored(made: Forecaster) -> Forecaster:
    made.memory = storage.read(storage.arrays([made.memory]))
    return made


class Outside:
    """A model that says what the first covariate is, and how much of it was told to it as observed."""

    DEFAULTS = MappingProxyType({})

    @staticmethod
    def fit(panel: object, season: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
        return {"told": np.nansum(panel.covariates[:, :, 0], axis=1)}

    @staticmethod
    def adopt(state: dict[str, np.ndarray], panel: object) -> dict[str, np.ndarray]:
        return {"told": np.full(len(panel.values), -1000.0)}

    @staticmethod
    def forecast(state: dict[str, np.ndarray], steps: int, covariates: np.ndarray | None = None) -> np.ndarray:
        outside = np.zeros((len(state["told"]), steps)) if covariates is None else covariates[:, :, 0]
        return state["told"][:, None] + outside

    @staticmethod
    def update(state: dict[str, np.ndarray], values: np.ndarray, covariates: np.ndarray) -> dict[str, np.ndarray]:
        return {"told": state["told"] + np.nansum(covariates[:, :, 0], axis=1)}


def test_covariates_of_the_rows_that_are_asked_reach_the_models_that_look_at_them(monkeypatch) -> None:
    monkeypatch.setattr(memory, "load", lambda target, key: Outside)
    monkeypatch.setattr(memory, "_looks_outside", lambda name: True)
    rows = np.array([[n, p, np.nan, 10.0 * n + p] for n in range(2) for p in range(4)])
    made = Forecaster("theta", (2,), horizon=2).fit(rows, np.ones(8))
    told = np.array([6.0, 46.0])  # sums of the covariates that it was fitted with
    asked = np.array([[1, 5, np.nan, 0.5], [0, 4, np.nan, 0.25], [1, 4, np.nan, 0.125]])
    assert made.predict(asked)[:, 0].tolist() == [told[1] + 0.5, told[0] + 0.25, told[1] + 0.125]
    seen = np.array([[1, 4, 3.0, 100.0], [1, 5, np.nan, 0.5]])  # an observation brings its covariate too
    assert made.predict(seen)[1].tolist()[0] == told[1] + 100.5
    far = np.array([[0, 9, np.nan, 0.5]])
    assert made.predict(far)[0, 0] == told[0] + 0.5
    new = np.array([[7, 0, 3.0, 1.0], [7, 1, np.nan, 2.0]])  # what was learned of all goes for a new one
    assert made.predict(new)[1, 0] == -998.0


def test_rows_that_ask_for_one_step_again_are_answered_by_what_they_bring() -> None:
    draw = np.random.default_rng(0)
    outside = draw.normal(size=(20, 60))
    rows = np.column_stack([matrix(50 + 5 * outside), outside.reshape(-1, 1)])
    fit = rows[rows[:, 1] < 50]
    made = Forecaster("boosted_lags", horizon=4, n_estimators=40).fit(hidden(fit), fit[:, 2])
    course = hidden(rows[(rows[:, 0] == 3) & (rows[:, 1] >= 50)])  # ten steps: more than are forecast directly
    other = course + np.array([0, 0, 0, 2])
    alone = [made.predict(one)[:, 0] for one in (course, other)]
    assert (alone[1] != alone[0]).sum() > 3
    mixed = made.predict(np.stack([course, other], axis=1).reshape(-1, 4))[:, 0]  # two by two
    assert np.array_equal(mixed[::2], alone[0])
    assert np.array_equal(mixed[1::2], alone[1])
    once = made.predict(np.concatenate([course, other[5:6]]))[:, 0]  # what if that one day were another?
    assert np.array_equal(once[:10], alone[0])
    changed = np.concatenate([course[:5], other[5:6]])
    assert once[10] == made.predict(changed)[5, 0]
