"""Forecasts through the whole loop: run, predict, a second run against the champion, reproduce."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from keepfit import Project
from keepfit.pipeline import champion, folders
from keepfit.types import Dataset
from tests.models.series.rows import frame, values
from tests.projects import keepfit

pytestmark = pytest.mark.slow
CONFIG = """project: {name: shops}
task: forecast
data: {source: data.csv, target: sold}
forecast: {horizon: 6, series: [shop], season: 12}
model: {type: theta}
"""


def shops(count: int = 3, months: int = 84, seed: int = 0) -> NDArray[np.float64]:
    """Sales (count, months) that grow, so that those of a year ago are no good forecast."""
    return values(count, months, seed) * (1 + 0.02 * np.arange(months))


def make(folder: Path, months: int = 60, extra: str = "") -> Project:
    """Three shops, of which `months` are known."""
    written = frame(shops()[:, :months]).with_columns(pl.col("month").dt.strftime("%Y-%m"))
    written.write_csv(folder / "data.csv")
    (folder / "keepfit.yaml").write_text(CONFIG + extra, encoding="utf-8")
    return Project(folder)


def asked(months: range, shops: tuple[str, ...] = ("north", "south", "west")) -> pl.DataFrame:
    rows = [(shop, f"{2000 + at // 12}-{at % 12 + 1:02}") for shop in shops for at in months]
    return pl.DataFrame(rows, schema=["shop", "month"], orient="row")


def test_a_forecast_goes_the_whole_way(tmp_path: Path) -> None:
    made = make(tmp_path, extra='goals: {coverage: ">= 0.6", mase: "<= 1"}\n')
    record = made.run()
    assert record["outcome"] == "promoted", record["decision"]
    assert record["metrics"]["mase"]["value"] < record["metrics"]["mase"]["baseline"]
    assert [row["step"] for row in record["by_step"]] == ["1", "2", "3", "4", "5", "6"]
    assert record["series"]["count"] == 3
    report = Path(record["report"]).read_text(encoding="utf-8")
    assert "By step ahead" in report
    assert "Series, the hardest first" in report
    bundle = Path(record["bundle"])
    assert (bundle / "plots" / "series_1.svg").is_file()
    assert "% interval" in (bundle / "card.md").read_text(encoding="utf-8")
    assert json.loads((bundle / "reference.json").read_bytes())["rows"] == 162
    again = made.run()
    assert again["outcome"] == "promoted"
    checks = {check["name"]: check for check in again["decision"]["verdict"]["checks"]}
    assert "gives the same answers" in checks["not worse than the champion: mase"]["detail"]
    assert checks["the champion was not trained on the test rows"]["outcome"] == "passed"
    assert [decision.kind for decision in made.history()] == ["promoted", "promoted"]
    assert made.reproduce(again["run"]).outcome == "passed"


def test_the_champion_forecasts_from_the_last_observation_on(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.run()
    asked(range(58, 66)).write_csv(tmp_path / "asked.csv")
    code, said = keepfit(
        "predict", str(tmp_path / "asked.csv"), "-o", str(tmp_path / "out.parquet"), "-C", str(tmp_path)
    )
    assert code == 0, said
    out = pl.read_parquet(tmp_path / "out.parquet")
    truth = shops()[:, 58:66]
    assert np.allclose(out["prediction"].to_numpy().reshape(3, 8)[:, :2], truth[:, :2], rtol=1e-6)  # known by now
    error = np.abs(out["prediction"].to_numpy().reshape(3, 8) / truth - 1)[:, 2:]
    assert error.mean() < 0.1
    width = (out["prediction_high"] - out["prediction_low"]).to_numpy().reshape(3, 8)
    assert (width[:, :2] == 0).all()
    assert (width[:, 2:] > 0).all()


def test_a_new_shop_is_forecast_from_the_history_that_comes_with_it(tmp_path: Path) -> None:
    made = make(tmp_path)
    made.run()
    history = asked(range(48), ("east",)).with_columns(sold=pl.Series(shops(1, 60, seed=9)[0, :48]))
    wanted = asked(range(48, 54), ("east",)).with_columns(sold=pl.lit(None, pl.Float64))
    said = made.predict(pl.concat([history, wanted]))["prediction"].to_numpy()
    assert np.allclose(said[:48], history["sold"].to_numpy(), rtol=1e-6)
    assert np.abs(said[48:] / shops(1, 60, seed=9)[0, 48:54] - 1).mean() < 0.15
    assert made.predict(wanted)["prediction"].is_nan().all()  # and of it alone nothing is known


def test_the_champion_is_told_what_came_before_the_rows_it_is_compared_on(tmp_path: Path) -> None:
    make(tmp_path).run()
    later = make(tmp_path, 72)  # a year on
    record = later.run(stage="ingest")
    split = folders.load_split(tmp_path / ".keepfit" / "runs" / record["run"] / "ingest")
    config = later.config
    told = champion.answers(config, tmp_path, split.test, split.train).output
    alone = champion.answers(config, tmp_path, split.test).output
    assert told is not None
    assert alone is not None
    assert told.ahead is not None
    assert alone.ahead is not None
    assert (told.ahead.step.max(), alone.ahead.step.max()) == (6, 18)
    rows = Dataset(split.test.frame.head(1), split.test.schema, "")
    assert len(champion.answers(config, tmp_path, rows, split.train).output or ()) == 1


def test_auto_tries_several_models_and_is_no_worse_than_the_last_season(tmp_path: Path) -> None:
    made = make(tmp_path, extra="tuning: {time_budget: 5}\n")
    config = (tmp_path / "keepfit.yaml").read_text(encoding="utf-8").replace("type: theta", "type: auto")
    (tmp_path / "keepfit.yaml").write_text(config, encoding="utf-8")
    record = made.run()
    names = {row["name"] for row in record["leaderboard"]}
    assert {"seasonal_naive", "theta"} <= names
    best = {row["name"]: row["score"] for row in record["leaderboard"]}
    assert min(best.values()) <= best["seasonal_naive"]


def test_features_of_a_forecast_are_not_selected(tmp_path: Path) -> None:
    make(tmp_path, extra="features: {select: importance}\n")
    code, said = keepfit("run", "-C", str(tmp_path))
    assert code == 2
    assert "a forecast takes all features" in said


def test_covariates_of_the_past_and_of_functions_leave_a_horizon_enough(tmp_path: Path) -> None:
    told = frame(shops()[:, :60]).with_columns(rain=pl.Series(np.random.default_rng(0).normal(size=180)))
    told.with_columns(pl.col("month").dt.strftime("%Y-%m")).write_csv(tmp_path / "data.csv")
    hook = 'import polars as pl\n\n\ndef summer(frame):\n    return frame["month"].dt.month().cast(pl.Float64)\n'
    (tmp_path / "features.py").write_text(hook, encoding="utf-8")
    config = CONFIG.replace("season: 12", "season: 12, past: [rain]").replace("theta", "boosted_lags")
    (tmp_path / "keepfit.yaml").write_text(config, encoding="utf-8")
    made = Project(tmp_path)
    made.promote(made.run()["version"], "the columns count here, not how good it is")
    code, said = keepfit("predict", "--horizon", "3", "-o", str(tmp_path / "out.parquet"), "-C", str(tmp_path))
    assert code == 0, said
    alone = pl.read_parquet(tmp_path / "out.parquet")
    assert alone.height == 9
    rained = asked(range(60, 63)).with_columns(rain=pl.lit(1e6))
    assert made.predict(rained)["prediction"].to_list() == alone["prediction"].to_list()


def test_business_days_are_forecast_from_friday_to_monday(tmp_path: Path) -> None:
    every = pl.date_range(date(2024, 1, 1), date(2024, 12, 6), eager=True)  # a Monday to a Friday
    known = pl.DataFrame({"day": every}).filter(pl.col("day").dt.weekday() < 6, pl.col("day") != date(2024, 5, 1))
    place, weekday = np.arange(known.height), known["day"].dt.weekday().to_numpy()
    noise = np.random.default_rng(0).normal(1, 0.002, known.height)
    known.with_columns(close=(100 + place) * (1 + weekday / 20) * noise).write_csv(tmp_path / "data.csv")
    text = "task: forecast\ndata: {source: data.csv, target: close}\nforecast: {horizon: 7}\nmodel: {type: theta}\n"
    (tmp_path / "keepfit.yaml").write_text(text, encoding="utf-8")
    made = Project(tmp_path)
    assert made.run()["outcome"] == "promoted"
    made.predict(None, output=tmp_path / "out.parquet", horizon=7)
    out = pl.read_parquet(tmp_path / "out.parquet")
    assert out["day"].cast(pl.String).to_list() == [f"2024-12-{day:02}" for day in (9, 10, 11, 12, 13, 16, 17)]
    assert out["step"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    truth = (100 + known.height + np.arange(7)) * (1 + np.array([1, 2, 3, 4, 5, 1, 2]) / 20)
    assert np.abs(out["prediction"].to_numpy() / truth - 1).max() < 0.02
    pl.DataFrame({"day": ["2024-12-09", "2024-12-14"]}).write_csv(tmp_path / "asked.csv")
    report = made.predict(tmp_path / "asked.csv", output=tmp_path / "out.csv")
    assert (report["rows"], report["rejected"]) == (1, 1)
    assert "not from Monday to Friday" in Path(report["rejected_file"]).read_text(encoding="utf-8")
