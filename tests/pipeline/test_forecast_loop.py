"""The loop of a forecast: served, told what came true, moved on, watched, retrained, and not spoilt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from keepfit import Project
from keepfit.cli import main
from keepfit.pipeline import folders, retraining
from tests.models.series.rows import frame
from tests.pipeline.test_forecast import shops
from tests.serving import serving
from tests.traffic import answered, soon

pytestmark = pytest.mark.slow
KNOWN, HORIZON = 60, 6
CONFIG = """project: {name: shops}
task: forecast
data: {source: data.csv, target: sold}
forecast: {horizon: 6, series: [shop], season: 12}
model: {type: theta}
monitoring: {min_rows: 10}
retraining: {min_rows: 18, cooldown: 0, on: [rows], rows: 18}
"""


def rows(first: int, last: int) -> list[dict[str, Any]]:
    """What was sold in some months, counted from the first that anything is known of."""
    told = frame(shops()).with_columns(pl.col("month").dt.strftime("%Y-%m"))
    months = told["month"].unique().sort()[first:last]
    return told.filter(pl.col("month").is_in(months.implode())).sort("month", "shop").to_dicts()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("shops")
    pl.DataFrame(rows(0, KNOWN)).write_csv(folder / "data.csv")
    (folder / "keepfit.yaml").write_text(CONFIG, encoding="utf-8")
    made = Project(folder)
    record = made.run()
    assert record["outcome"] == "promoted", record["decision"]
    return made


def begins(answer: dict[str, Any]) -> set[str]:
    return {row["month"][:7] for row in answer["predictions"] if row["step"] == 1}


def test_a_file_of_what_came_true_and_what_is_wrong_in_it(trained: Project, tmp_path: Path) -> None:
    """Rows by series and time label the forecasts; text is told by its row, an unknown series costs nothing."""
    made = Project(shutil.copytree(trained.folder, tmp_path / "shops"))
    answered(made, pl.DataFrame(rows(KNOWN, KNOWN + HORIZON)).drop("sold"))
    right = [{**row, "month": f"{row['month']}-17", "sold": str(row["sold"])} for row in rows(KNOWN, KNOWN + HORIZON)]
    wrong = [{**right[0], "sold": "many"}, {**right[0], "month": "soon"}, {**right[0], "sold": None}]
    other = [{**right[0], "shop": "nowhere"}]
    pl.DataFrame([*right, *wrong, *other]).write_csv(tmp_path / "truth.csv")
    result = CliRunner().invoke(main, ["feedback", str(tmp_path / "truth.csv"), "-C", str(made.folder)])
    assert (result.exit_code, result.stderr) == (0, "")
    told = result.stdout.splitlines()
    assert told[0] == f"{3 * HORIZON + 1} labels accepted"
    assert [line.partition(":")[0] for line in told[2:5]] == [f"  row {3 * HORIZON + at}" for at in (1, 2, 3)]
    assert told[5].startswith("1 of them held back")
    assert told[6].startswith(f"  row {3 * HORIZON + 4} (nowhere, ")
    assert "many" in told[2]
    assert "'month': " in told[3]
    assert "soon" in told[3]
    assert "'sold' is missing" in told[4]
    found = made.monitor()
    assert found["window"]["labelled"] == 3 * HORIZON
    assert found["window"]["labels"]["unknown"] == 0
    assert found["performance"]["mase"]["value"] < 1.5
    assert found["naive"][0]["metric"] == "mase"
    assert found["naive"][0]["naive"] > found["naive"][0]["value"]  # the shops grow
    assert {check["name"] for check in found["verdicts"]["performance"]["checks"]} >= {
        "bias: one-sided", "season: shifted"
    }  # fmt: skip
    report = Path(found["report"]).read_text(encoding="utf-8")
    assert "By step ahead" in report
    assert "Beside seasonal naive" in report


def test_a_value_of_another_unit_measures_nothing_and_is_named_until_it_is_confirmed(
    trained: Project, tmp_path: Path
) -> None:
    made = Project(shutil.copytree(trained.folder, tmp_path / "shops"))
    ids = answered(made, pl.DataFrame(rows(KNOWN, KNOWN + HORIZON)).drop("sold"))
    told = rows(KNOWN, KNOWN + HORIZON)
    odd = {**told[3], "sold": told[3]["sold"] * 1000}
    assert made.feedback(pl.DataFrame([*told[:3], odd, *told[4:]])).accepted == 3 * HORIZON
    found = made.monitor()
    assert found["window"]["labelled"] == 3 * HORIZON - 1
    assert found["performance"]["mase"]["value"] < 1.5
    checks = {check["name"]: check for check in found["verdicts"]["quality"]["checks"]}
    assert (checks["sold: implausible"]["outcome"], checks["sold: implausible"]["severity"]) == ("failed", "warning")
    assert f"1 of {3 * HORIZON} observations" in checks["sold: implausible"]["detail"]
    assert f": {odd['shop']} {odd['month']}" in checks["sold: implausible"]["detail"]
    again = answered(made, pl.DataFrame(told[3:4]).drop("sold"))
    made.feedback(pl.DataFrame([{"id": ids[3], "label": odd["sold"]}]))
    made.feedback(pl.DataFrame([{"id": again[0], "label": told[3]["sold"]}]))  # of the same period, later: it counts
    found = made.monitor()
    assert found["window"]["labelled"] == 3 * HORIZON - 1  # the label of that id stays what it is
    assert found["performance"]["mase"]["value"] < 1.5
    made.feedback(pl.DataFrame([{**odd, "confirmed": True}]))
    found = made.monitor()
    assert found["window"]["labelled"] == 3 * HORIZON
    assert found["performance"]["mase"]["value"] > 10
    checks = {check["name"]: check for check in found["verdicts"]["quality"]["checks"]}
    assert checks["sold: implausible"]["outcome"] == "passed"


def test_a_horizon_of_new_rows_is_enough_and_one_by_hand(trained: Project, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "shops"))
    (folder / "keepfit.yaml").write_text(CONFIG.replace("min_rows: 18, ", ""), encoding="utf-8")
    made = Project(folder, ["retraining.rows=1"])
    assert made.feedback(pl.DataFrame(rows(KNOWN, KNOWN + 1))).accepted == 3
    assert f"min_rows (3 of {HORIZON} new labelled rows)" in made.retrain(if_needed=True)["reason"]
    assert made.feedback(pl.DataFrame(rows(KNOWN + 1, KNOWN + 2))).accepted == 3
    assert retraining.needed(made.config, folder, soon())
    fewer = Project(folder, ["retraining.min_rows=18"])
    record = fewer.retrain()
    assert record["outcome"] in ("promoted", "refused")
    [few] = [c for c in made.history()[-2].verdict.checks if c.name == "new labelled rows"]
    assert (few.value, few.limit, few.severity) == (6, 18, "warning")
    split = folders.load_split(Path(record["bundle"]).parents[1] / "ingest")
    assert split.train.frame.height + split.test.frame.height == 3 * (KNOWN + 2)


def test_forecasts_begin_after_the_newest_observation_and_the_loop_goes_round(trained: Project) -> None:
    month = [rows(at, at + 1)[0]["month"] for at in range(KNOWN, KNOWN + 13)]
    with serving(trained.folder) as server:
        for at in range(HORIZON):
            told = server.post("/predict", {"horizon": HORIZON}).json
            assert begins(told) == {month[at]}
            entries: list[dict[str, Any]] = rows(KNOWN + at, KNOWN + at + 1)
            if at % 2:  # the same by the ids of the nearest forecasts
                ids = {row["shop"]: row["id"] for row in told["predictions"] if row["step"] == 1}
                entries = [{"id": ids[row["shop"]], "label": row["sold"]} for row in entries]
            assert server.post("/feedback", entries).json["accepted"] == 3
        assert begins(server.post("/predict", {"horizon": 1}).json) == {month[HORIZON]}
    with serving(trained.folder) as server:  # a new server goes on from there
        assert begins(server.post("/predict", {"horizon": 1}).json) == {month[HORIZON]}
    found = trained.predict(pl.DataFrame({"shop": ["north"], "month": [month[HORIZON]]}))
    assert found["prediction"][0] is not None
    seen = trained.monitor()
    assert seen["window"]["labelled"] > 3 * HORIZON  # each observation is of several forecasts
    assert seen["performance"]["mase"]["value"] < 1.5
    record = trained.retrain(if_needed=True)
    assert record["outcome"] in ("promoted", "refused"), record
    split = folders.load_split(Path(record["bundle"]).parents[1] / "ingest")
    assert (split.train.frame.height, split.test.frame.height) == (3 * KNOWN, 3 * HORIZON)
    kinds = [decision.kind for decision in trained.history()]
    assert kinds[-2:] == ["retrained", record["outcome"]]
    assert trained.retrain(if_needed=True)["outcome"] == "not needed"
    poisoned(trained, month)


def poisoned(made: Project, month: list[str]) -> None:
    """Values of another unit are told as new months: nothing is learned from them, and the reason is named."""
    before = [d for d in made.history() if d.kind == "promoted"]
    wrong = [{**row, "sold": row["sold"] * 100} for row in rows(KNOWN + HORIZON, KNOWN + 2 * HORIZON)]
    assert made.feedback(pl.DataFrame(wrong)).accepted == 3 * HORIZON
    record = made.retrain()
    assert record["outcome"] == "refused"
    named = [check for check in made.history()[-2:] for check in check.verdict.checks]
    [why] = {check.detail for check in named if check.name.startswith("quarantine: observed")}
    assert why.startswith("18 rows are left out: 'sold' is ")
    assert "times as large as it was" in why
    assert [d for d in made.history() if d.kind == "promoted"] == before
    right = rows(KNOWN + HORIZON, KNOWN + 2 * HORIZON)
    assert made.feedback(pl.DataFrame(right)).accepted == 3 * HORIZON  # the last value wins
    again = made.retrain()
    assert again["outcome"] in ("promoted", "refused")
    checks = [check["name"] for check in again["decision"]["verdict"]["checks"]]
    assert "the champion was not trained on the test rows" in checks
    ingest = json.loads((Path(again["bundle"]).parents[1] / "ingest" / "verdict.json").read_text())
    assert not [c for c in ingest["checks"] if c["name"].startswith("quarantine: ")]
