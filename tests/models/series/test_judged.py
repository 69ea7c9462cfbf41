"""judged.py and pictures.py: what is told and drawn of forecasts."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from keepfit.data import rhythm as calendar
from keepfit.models import plots
from keepfit.models.fitted import Ahead, Output
from keepfit.models.series import judged
from keepfit.types import Column, Rhythm, Schema
from tests.models.series.rows import SCHEMA, frame, values


def forecasts(steps: int = 6) -> tuple[np.ndarray, Output, Output, pl.DataFrame, pl.DataFrame]:
    """Truth, output (wrong by 1, 2 and 3 scales), trivial output, and the frames before and of the asked rows."""
    told = values(3, 48 + steps)
    rows = frame(told).with_columns(month=frame(told)["month"].dt.epoch("s").cast(float))
    late = np.tile(np.arange(48 + steps) >= 48, 3)
    y = rows.filter(late)["sold"].to_numpy()
    scale = np.repeat([1.0, 10.0, 100.0], steps)
    ahead = Ahead(scale, np.tile(np.arange(1.0, steps + 1), 3))
    error = np.repeat([1.0, 2.0, 3.0], steps) * scale
    output = Output(y + error, low=y + error - 2 * scale, high=y + error + 2 * scale, ahead=ahead)
    return y, output, Output(y + 2 * scale, ahead=ahead), rows.filter(~late), rows.filter(late)


def test_errors_by_step_and_by_series() -> None:
    y, output, trivial, _, asked = forecasts()
    found = judged.detail(y, output, trivial, asked, SCHEMA)
    assert [row["step"] for row in found["by_step"]] == ["1", "2", "3", "4", "5", "6"]
    first = found["by_step"][0]
    assert first == {
        "step": "1", "rows": 3, "mase": pytest.approx(2), "seasonal_naive": pytest.approx(2),
        "bias": pytest.approx(2), "coverage": pytest.approx(2 / 3), "width": pytest.approx(4),
    }  # fmt: skip
    series = found["series"]
    assert (series["count"], series["median_mase"]) == (3, pytest.approx(2))
    assert series["better_than_seasonal_naive"] == pytest.approx(1 / 3)
    assert [row["series"] for row in series["hardest"]] == ["west", "south", "north"]
    assert series["hardest"][0]["mase"] == pytest.approx(3)


def test_many_steps_are_told_in_runs() -> None:
    y, output, trivial, _, asked = forecasts(48)
    steps = [row["step"] for row in judged.detail(y, output, trivial, asked, SCHEMA)["by_step"]]
    assert len(steps) == judged.BINS
    assert (steps[0], steps[-1]) == ("1 to 4", "45 to 48")


def test_one_series_has_the_name_of_the_target() -> None:
    schema = Schema((Column("sold", "past"),), "forecast", "sold", rhythm=Rhythm("t", "1i", 0.0, 2))
    assert judged.named(pl.DataFrame({"sold": [1.0, 2.0]}), schema)[0] == ["sold"]


def test_pictures_show_some_series_and_the_errors_by_step(tmp_path) -> None:
    y, output, _, known, asked = forecasts()
    drawn = plots.draw(y, output, SCHEMA, tmp_path, known, asked)
    assert [path.stem for path in drawn] == ["series_1", "series_2", "series_3", "steps_ahead"]
    texts = ["".join(ElementTree.fromstring(path.read_text()).itertext()) for path in drawn]
    assert "south: MASE 2, 2 of 3 from the best" in texts[0]  # the series in the middle
    assert "west: MASE 3, 3 of 3 from the best" in "".join(texts)
    assert "north: MASE 1, 1 of 3 from the best" in "".join(texts)
    assert all(part in text for text in texts[:3] for part in ("forecast", "observed", "interval"))
    assert [drawing.read_text().count("<polygon") for drawing in drawn] == [1, 1, 1, 0]  # between which ends
    assert all(path.stat().st_size < 100_000 for path in drawn)


@pytest.mark.parametrize(("every", "last"), [("1h", "01-01 09:00"), ("1d", "1970-01-10"), ("1mo", "1970-10")])
def test_pictures_name_their_times_as_short_as_can_be(tmp_path, every: str, last: str) -> None:
    rhythm = Rhythm("t", every, 0.0, 2)
    schema = Schema((Column("sold", "past"), Column("t", "moment", "date")), "forecast", "sold", rhythm=rhythm)
    rows = pl.DataFrame({"t": calendar.times(rhythm, np.arange(10)), "sold": np.arange(10.0)})
    output = Output(np.zeros(2), ahead=Ahead(np.ones(2), np.array([1.0, 2.0])))
    [first, *_] = plots.draw(np.array([8.0, 9.0]), output, schema, tmp_path, rows.head(8), rows.tail(2))
    assert f">{last}<" in first.read_text()


def test_a_series_without_a_history_is_drawn_too(tmp_path) -> None:
    y, output, _, known, asked = forecasts()
    assert len(plots.draw(y, output, SCHEMA, tmp_path, known.clear(), asked)) == 4
