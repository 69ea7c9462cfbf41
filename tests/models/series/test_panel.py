import numpy as np
import pytest

from keepfit import engine
from keepfit.extras import load
from keepfit.models.series import MODELS
from keepfit.models.series import panel as panels
from keepfit.models.series.panel import panel


def test_series_end_together_and_can_be_cut_back() -> None:
    given = panel([np.arange(5.0), np.arange(3.0)])
    assert given.values[:, -1].tolist() == [4.0, 2.0]
    assert panels.starts(given.values).tolist() == [0, 2]
    earlier = given.until(2)
    assert earlier.ends.tolist() == [2, 2]
    assert panels.lengths(earlier.values).tolist() == [3, 1]


def test_the_scale_is_that_of_mase_and_never_zero() -> None:
    wave = np.tile([1.0, 5.0], 10) + np.arange(20.0)
    given = panel([wave, np.zeros(20), np.full(20, 3.0), [4.0], []])
    assert panels.scale(given.values, 2).tolist() == [2.0, 1.0, 3.0, 4.0, 1.0]


def test_a_season_is_found_and_noise_is_none() -> None:
    draw = np.random.default_rng(0)
    noise = draw.normal(size=(200, 60))
    wave = noise + 3 * np.sin(np.arange(60) * np.pi / 6)
    assert panels.seasonal(wave, 12).mean() > 0.99
    assert panels.seasonal(noise, 12).mean() < 0.2
    assert not panels.seasonal(wave[:, :35], 12).any(), "less than three seasons say nothing"
    assert not panels.seasonal(np.ones((1, 60)), 12).any()


def test_gaps_are_bridged_but_not_what_lies_before_the_start() -> None:
    found = panels.filled(np.array([[np.nan, 2.0, np.nan, np.nan, 8.0, np.nan]]))
    assert found[0].tolist()[1:] == [2.0, 4.0, 6.0, 8.0, 8.0]
    assert np.isnan(found[0, 0])


def test_blocks_give_what_one_block_gives() -> None:
    draw = np.random.default_rng(1)
    given = panel([draw.normal(size=n) for n in (9, 4, 7, 9, 2)])

    def fit(part: panels.Panel) -> panels.State:
        assert (np.diff(panels.starts(part.values)) >= 0).all()
        return {"last": part.values[:, -1], "number": part.numbers, "kind": "x"}

    for size in (2, 100):
        state = panels.in_blocks(fit, given, size=size)
        assert state["last"].tolist() == given.values[:, -1].tolist()
        assert state["number"].tolist() == [0, 1, 2, 3, 4]
        assert state["kind"] == "x"
        assert panels.of({**state, "all_trees": np.ones(2)}, [3])["number"].tolist() == [3]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["theta", "ces", "auto_ets", "auto_arima"])
def test_what_processes_fit_is_what_each_block_gives_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(2)
    count = 70 if name == "auto_arima" else panels.BLOCK + 6
    given = panel(list(np.cumsum(draw.normal(size=(count, 14)), axis=1) + 50))
    spread = []
    each = engine.processes
    monkeypatch.setattr(engine, "processes", lambda fit, parts: spread.append(len(parts)) or each(fit, parts, 2))
    model = load(MODELS[name], "model.type")
    whole = model.fit(given, (1,), 0)
    halves = [model.fit(given.rows(rows), (1,), 0) for rows in (slice(0, count // 2), slice(count // 2, None))]
    assert spread[0] > 1
    found = np.concatenate([model.forecast(half, 5) for half in halves])
    np.testing.assert_array_equal(model.forecast(whole, 5), found)
