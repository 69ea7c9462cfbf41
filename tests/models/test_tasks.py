"""tasks.py: the row of the forecast."""

from __future__ import annotations

import numpy as np
import pytest

from keepfit.data.conform import asking
from keepfit.errors import ConfigError, ModelError
from keepfit.features.frame import from_frame
from keepfit.models import fitted, metrics, tasks
from keepfit.types import Schema
from tests.models.series.rows import SCHEMA, SEASON, frame, values


def test_the_trivial_forecast_is_the_value_of_one_season_before() -> None:
    told = values(3, 54)
    rows = frame(told).with_columns(month=frame(told)["month"].dt.epoch("s").cast(float))
    late = np.tile(np.arange(54) >= 48, 3)
    known, asked = rows.filter(~late), rows.filter(late)
    columns = [from_frame(asking(part, SCHEMA), SCHEMA) for part in (known, asked)]
    said = tasks.baseline(columns[0], known["sold"].to_numpy(), columns[1], SCHEMA)
    assert np.allclose(said.values.reshape(3, 6), told[:, 48 - SEASON : 54 - SEASON])
    assert said.ahead is not None
    assert said.ahead.step.reshape(3, 6).tolist() == [[1, 2, 3, 4, 5, 6]] * 3
    assert metrics.point(asked["sold"].to_numpy(), said, ())["mase"] < 2


def test_a_forecast_is_judged_in_scales_where_there_is_one() -> None:
    scores = np.array([[10.0, 2.0, 1.0], [300.0, 50.0, 2.0], [np.nan, np.nan, np.nan]])
    given = tasks.TASKS["forecast"].judged(np.array([12.0, 250.0, 7.0]), scores, 0)
    assert np.abs(given.truth - given.picked).tolist() == [1.0, 1.0]


def test_rows_alone_make_no_trivial_forecast() -> None:
    assert tasks.within(np.ones(3), SCHEMA) is None
    assert tasks.within(np.array([1.0, 3.0]), Schema((), "regression")) is not None


def test_a_forecast_needs_a_rhythm() -> None:
    with pytest.raises(ModelError, match="rhythm"):
        tasks.TASKS["forecast"].given(Schema((), "forecast"))


def test_as_many_origins_are_used_as_tell_forecasts_apart() -> None:
    enough = tasks.TASKS["forecast"].enough
    folds = [(np.arange(5), np.arange(4_000))] * 5
    assert len(enough(folds)) == 3
    assert len(enough([(np.arange(5), np.arange(12))] * 5)) == 5
    assert len(enough([(np.arange(5), np.arange(90_000))] * 5)) == 2


def test_the_metrics_of_a_forecast_can_be_asked_for_and_those_that_rank_nothing_cannot() -> None:
    assert {"mase", "smape", "interval_coverage", "bias"} <= set(tasks.TASKS["forecast"].metrics)
    assert tasks.settings(SCHEMA, "smape") == {"metric": "smape", "sign": -1}
    with pytest.raises(ConfigError, match="no metric 'bias' for forecast"):
        tasks.settings(SCHEMA, "bias")


def test_metrics_of_a_forecast_by_hand() -> None:
    ahead = fitted.Ahead(np.array([2.0, 10.0]), np.array([1.0, 2.0]), 0.8)
    output = fitted.Output(np.array([4.0, 50.0]), low=np.array([2.0, 45.0]), high=np.array([6.0, 55.0]), ahead=ahead)
    found = metrics.point(np.array([3.0, 70.0]), output, ())
    assert found["mase"] == pytest.approx((0.5 + 2.0) / 2)
    assert found["rmsse"] == pytest.approx(np.sqrt((0.25 + 4.0) / 2))
    assert found["smape"] == pytest.approx((200 / 7 + 200 * 20 / 120) / 2)
    assert found["bias"] == pytest.approx((0.5 - 2.0) / 2)
    assert found["interval_coverage"] == 0.5
    assert found["interval_width"] == pytest.approx((2.0 + 1.0) / 2)
    first = (0.1 * 0.5 + 0.5 * 0.5 + 0.1 * 1.5) / 3
    second = (0.1 * 2.5 + 0.5 * 2.0 + 0.9 * 1.5) / 3
    assert found["pinball"] == pytest.approx((first + second) / 2)


def test_an_interval_has_the_width_of_its_step_and_goes_on_growing_beyond_the_last() -> None:
    interval = {"low": [-1.0, -2.0], "high": [1.0, 3.0], "coverage": 0.8}
    scores = np.array([[10.0, 2.0, 0.0], [10.0, 2.0, 2.0], [10.0, 2.0, 8.0], [np.nan, np.nan, np.nan]])
    found = fitted.answer("forecast", scores, (), {}, None, interval)
    assert found.low is not None
    assert found.high is not None
    assert found.low[:3].tolist() == [10.0, 6.0, 2.0]
    assert found.high[:3].tolist() == [10.0, 16.0, 22.0]
    assert np.isnan(found.high[3])
    assert found[np.array([2])].ahead.step.tolist() == [8.0]  # type: ignore[union-attr]
