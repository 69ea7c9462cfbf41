"""From a source to a Split of a forecast: real data sets, both layouts, the past hidden, the file that init writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data import split
from keepfit.errors import DataError
from keepfit.pipeline import ready
from keepfit.project import Project, init
from keepfit.types import Schema, plain, read


def config(source: Path | str, target: str, data: dict[str, Any] | None = None, **forecast: Any) -> Config:
    section = {"source": str(source), "target": target, **(data or {})}
    return settings.parse({"task": "forecast", "data": section, "forecast": forecast})


def test_air_passengers(shared_data: Path, tmp_path: Path):
    asked = config(shared_data / "air_passengers/airline-passengers.csv", "Passengers")
    parts, verdict = ready.examine(asked, tmp_path)
    assert verdict.outcome == "passed"
    assert not verdict.warnings
    assert parts.train.frame.height == 132
    assert parts.test.frame["Month"].to_list()[0] == "1960-01"
    assert read(Schema, plain(parts.train.schema)) == parts.train.schema
    known = ready.rows(asked, tmp_path, parts.train)
    assert np.isnan(known.columns.values["Passengers"]).all()  # models are asked without the answer
    assert known.y[:3].tolist() == [112.0, 118.0, 132.0]
    asked_rows = ready.rows(asked, tmp_path, parts.test)
    assert asked_rows.y.tolist() == [417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432]
    proof = ready.proof(known, asked_rows, parts.train.schema)
    assert np.isnan(proof.values["Passengers"]).all()


def test_m3_monthly_splits_as_the_competition_does(shared_data: Path, tmp_path: Path):
    asked = config(shared_data / "m3_monthly/m3_monthly.csv.gz", "y", series=["unique_id"], horizon=18)
    parts, verdict = ready.examine(asked, tmp_path)
    assert verdict.outcome == "passed"
    assert not verdict.warnings
    assert set(parts.test.frame["split"]) == {"test"}
    assert set(parts.train.frame["split"]) == {"train"}
    known = ready.rows(asked, tmp_path, parts.train)
    cuts = split.folds(known.frame, parts.train.schema, 5, 0, asked.data)
    assert len(cuts[0][1]) == 1428 * 18
    assert len(cuts) > 1


def test_m4_hourly_with_its_official_test(shared_data: Path, tmp_path: Path):
    folder = shared_data / "m4_hourly"
    asked = config(folder / "Hourly-train.csv", "y", {"test": str(folder / "Hourly-test.csv")}, horizon=48)
    parts, verdict = ready.examine(asked, tmp_path)
    assert verdict.outcome == "passed"
    assert not verdict.warnings
    assert parts.how == "official test set"
    assert (parts.train.frame.height, parts.test.frame.height) == (353_500, 414 * 48)
    first = parts.test.frame.filter(pl.col("series") == "H1")["time"].to_list()
    assert (min(first), max(first)) == (701, 748)
    assert parts.train.schema.rhythm is not None
    assert parts.train.schema.rhythm.season == (24, 168)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two shops, 80 days, a price and a hook's worth of columns."""
    day = np.arange(80)
    frames = [
        pl.DataFrame({"shop": name, "day": [f"{np.datetime64('2024-01-01') + int(d)}" for d in day],
                      "price": 2 + day * 7 % 3, "sold": size + day % 7 + day * 31 % 11 / 11})
        for name, size in (("north", 5), ("south", 50))
    ]  # fmt: skip
    pl.concat(frames).sample(fraction=1.0, shuffle=True, seed=1).write_csv(tmp_path / "sales.csv")
    return tmp_path


def test_rows_in_any_order_are_sorted_by_series_and_time(table: Path):
    parts, verdict = ready.examine(config("sales.csv", "sold", series=["shop"], horizon=7), table)
    assert verdict.outcome == "passed"
    assert parts.train.frame["shop"].to_list() == ["north"] * 73 + ["south"] * 73
    assert parts.train.frame.filter(shop="south")["day"].is_sorted()
    assert parts.test.frame["day"].min() == "2024-03-14"


def test_the_test_may_be_wide_where_the_training_is_long(table: Path):
    days = [f"2024-03-{day}" for day in range(21, 28)]
    wide = pl.DataFrame({"shop": ["north", "south"], **{day: [5.0, 50.0] for day in days}})
    wide.write_csv(table / "test.csv")
    long = pl.read_csv(table / "sales.csv").drop("price")
    long.write_csv(table / "sales.csv")
    parts, verdict = ready.examine(config("sales.csv", "sold", {"test": "test.csv"}, series=["shop"], horizon=7), table)
    assert verdict.outcome == "passed"
    assert parts.test.frame.height == 14
    assert any("read as a wide table" in check.detail for check in verdict.checks)


def test_hooks_see_times_and_covariates_but_not_what_is_forecast(table: Path):
    (table / "features.py").write_text(
        "import polars as pl\n\ndef weekend(rows: pl.DataFrame) -> pl.Expr:\n"
        "    assert 'sold' not in rows.columns\n    return (pl.col('day').dt.weekday() > 5).cast(pl.Float64)\n"
    )
    asked = config("sales.csv", "sold", series=["shop"], horizon=7)
    parts, _ = ready.examine(asked, table)
    assert parts.train.schema["weekend"].hook == "weekend"
    assert set(ready.rows(asked, table, parts.train).columns.values["weekend"].tolist()) == {0.0, 1.0}


def test_what_stops_is_said_once_for_all(table: Path):
    frame = pl.read_csv(table / "sales.csv")
    pl.concat([frame, frame.head(2).with_columns(sold=pl.lit(1.25))]).write_csv(table / "sales.csv")
    _, verdict = ready.examine(config("sales.csv", "sold", series=["shop"], horizon=7), table)
    assert [check.name for check in verdict.failures] == ["data.times.conflicts"]
    with pytest.raises(DataError, match=r"forecast\.horizon: 90 needs 93 at least"):
        ready.examine(config("sales.csv", "sold", series=["shop"], horizon=90), table)


@pytest.mark.parametrize(
    ("task", "value", "why"), [("forecast", "1e300", "beyond 1e30"), ("regression", "inf", "infinite")]
)
def test_where_no_row_is_left_it_is_said_why(tmp_path: Path, task: str, value: str, why: str):
    lines = [f"2024-{1 + n // 28:02}-{1 + n % 28:02},{value}" for n in range(60)]
    (tmp_path / "huge.csv").write_text("day,y\n" + "\n".join(lines) + "\n")
    asked = settings.parse({"task": task, "data": {"source": "huge.csv", "target": "y"}})
    with pytest.raises(DataError, match=rf"huge.csv: no row is left to learn from(?s:.)*60 cells are .*{why}"):
        ready.examine(asked, tmp_path)


def test_init_writes_what_check_and_profile_then_read(table: Path):
    folder = table / "shops"
    written = init(folder, str(table / "sales.csv"), "sold", sets=["task=forecast", "forecast.horizon=7"]).read_text()
    assert "task: forecast" in written
    assert "horizon: 7" in written
    assert "series: [shop]" in written
    assert "season: 7" not in written.split("# season")[0]
    project = Project(folder)
    schema, verdict = project.check()
    assert not verdict.failures
    assert schema.rhythm is not None
    assert (schema.rhythm.series, schema.rhythm.horizon) == (("shop",), 7)
    assert "sold" in project.profile().read_text()


def test_init_sets_what_it_is_told(tmp_path: Path, table: Path):
    path = init(tmp_path / "other", str(table / "sales.csv"), "sold", sets=["data.test_size=0.3", "gate.margin=0.1"])
    made = settings.load(path.parent)
    assert (made.data.test_size, made.gate.margin, made.task) == (0.3, 0.1, "auto")


def test_the_task_is_never_guessed_to_be_a_forecast(shared_data: Path, tmp_path: Path):
    source = shared_data / "air_passengers/airline-passengers.csv"
    asked = settings.parse({"data": {"source": str(source), "target": "Passengers"}})
    parts, _ = ready.examine(asked, tmp_path)
    assert parts.train.schema.task == "regression"
    assert parts.train.schema.rhythm is None
