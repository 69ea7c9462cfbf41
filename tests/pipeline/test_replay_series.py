"""Forecasts on trial and in probation: both models are asked anew from the same origins, and what came true decides."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from keepfit import Project
from keepfit.data import log_read
from keepfit.models import bundle as bundles
from keepfit.pipeline import champion, live, on_trial, probation, trial
from keepfit.pipeline.replay import Replayed, replay
from keepfit.types import Check, Schema, Verdict
from tests.pipeline.test_forecast_loop import CONFIG, HORIZON, KNOWN, rows
from tests.serving import serving
from tests.traffic import answered, soon

pytestmark = pytest.mark.slow
TRIAL = "trial: {mode: MODE, share: 0.5, length: 1h, min_rows: 30}, "
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shops that grow: version 1, theta, is the champion; version 2 says what was a year ago."""
    folder = tmp_path_factory.mktemp("two")
    pl.DataFrame(rows(0, KNOWN)).write_csv(folder / "data.csv")
    made = configured(folder)
    assert made.run()["outcome"] == "promoted"
    assert configured(folder, ["model.type=seasonal_naive"]).run()["outcome"] == "refused"
    return folder


def configured(folder: Path, settings: list[str] | None = None, extra: str = "") -> Project:
    text = CONFIG.replace("retraining: {", f"retraining: {{{extra}")
    (folder / "keepfit.yaml").write_text(text, encoding="utf-8")
    return Project(folder, settings or [])


def copied(two: Path, tmp_path: Path, extra: str = "") -> Project:
    return configured(Path(shutil.copytree(two, tmp_path / "shops")), extra=extra)


def months(made: Project, count: int, mode: str = "", first: int = 0) -> None:
    """So many months: all shops are asked about for a horizon, by a shadow too, then the next month comes true."""
    for at in range(KNOWN + first, KNOWN + count):
        asked = pl.DataFrame(rows(at, at + HORIZON)).drop("sold")
        begin = datetime.now(UTC)
        ids = answered(made, asked, begin, 1e-5)
        if mode == "shadow":
            answered(made, asked, begin, 1e-5, "shadow", "2", ids)
        assert made.feedback(pl.DataFrame(rows(at, at + 1))).accepted == 3


def replayed(made: Project, versions: tuple[str, str]) -> Replayed:
    log = live.labelled(made.config, made.folder, soon(), "forecast")
    return replay(made.config, made.folder, log, schema_of(made, versions[0]), versions)


def schema_of(made: Project, version: str) -> Schema:
    return bundles.read(champion.folder(made.config, made.folder, version)).schema


def test_both_versions_forecast_from_what_was_known_when_it_was_asked(two: Path, tmp_path: Path) -> None:
    """What the champion is replayed to say is what it said; seasonal naive says what was a year ago."""
    made = copied(two, tmp_path)
    months(made, 6)
    log = live.labelled(made.config, made.folder, soon(), "forecast")
    assert log.height == 3 * (6 + 5 + 4 + 3 + 2 + 1)
    found = replayed(made, ("1", "2"))
    one, naive = found.outputs
    assert len(found.y) == log.height
    assert found.baseline is not None
    np.testing.assert_allclose(naive.values, found.baseline.values)
    said = log_read.read(made.work / "predictions", labels=True).filter(pl.col("label").is_not_null()).collect()
    np.testing.assert_allclose(np.sort(one.values), said["value"].sort().to_numpy(), rtol=1e-6)
    assert np.abs(one.values - found.y).mean() < np.abs(naive.values - found.y).mean() / 2
    assert found.together is not None
    assert 3 <= found.together.max() + 1 < len(found.y) / 3


def test_three_series_tell_little_and_more_with_every_month(two: Path, tmp_path: Path) -> None:
    """Errors of a series are alike for as long as the horizon reaches, so a year of three shops is a dozen units."""
    made = copied(two, tmp_path)
    made.promote("2", "looked better")
    months(made, 8)
    assert probation.after_promotion(made.config, made.folder, soon()) is None
    log, schema = live.labelled(made.config, made.folder, soon(), "forecast"), schema_of(made, "2")
    few, more = (
        probation.compare(made.config, made.folder, part, schema, "2", "1").checks[0] for part in (log[:30], log)
    )
    assert float(few.value) < -0.2
    assert 1 < evidence(few) < evidence(more) < 100


def evidence(check: Check) -> float:
    return float(check.detail.rpartition("worse ")[2].split()[0])


def test_a_champion_that_does_better_stays(two: Path, tmp_path: Path) -> None:
    made = copied(two, tmp_path)
    made.promote("2", "to begin with")
    made.promote("1", "is better")
    months(made, 9)
    assert probation.after_promotion(made.config, made.folder, soon()) is None
    schema = schema_of(made, "1")
    log = live.labelled(made.config, made.folder, soon(), "forecast")
    assert probation.compare(made.config, made.folder, log, schema, "1", "2").outcome == "passed"
    for few in (log[:9], log[:0]):
        assert probation.compare(made.config, made.folder, few, schema, "1", "2").outcome == "not checked"


def test_a_probation_lasts_until_the_first_forecasts_came_true(two: Path, tmp_path: Path) -> None:
    made = copied(two, tmp_path)
    schema = schema_of(made, "1")
    assert 180 < on_trial.probation(made.config, schema).days < 185
    longer = Project(made.folder, ["retraining.probation=400d"])
    assert on_trial.probation(longer.config, schema) == timedelta(days=400)


def begin(made: Project, version: str) -> None:
    assert trial.begin(made.config, made.folder, version, Verdict("gate"), "", datetime.now(UTC), {}).kind == "on_trial"


@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_a_trial_ends_by_what_came_true(two: Path, tmp_path: Path, mode: str) -> None:
    """The better one passes; the other one, tried in its turn, does not."""
    made = copied(two, tmp_path, TRIAL.replace("MODE", mode))
    begin(made, "2")
    months(made, 8, mode)
    assert trial.judge(made.config, made.folder, soon()) is None  # it has not lasted an hour
    decision = trial.judge(made.config, made.folder, soon() + HOUR)
    assert decision is not None
    assert (decision.kind, decision.version) == ("refused", "2")
    assert "not worse than the champion: mase" in decision.reason
    made.promote("2", "to try the other one")
    begin(made, "1")
    assert trial.judge(made.config, made.folder, soon() + HOUR) is None  # of this trial nothing came true so far


def test_a_trial_that_ends_before_anything_comes_true_is_undecided_and_says_why(two: Path, tmp_path: Path) -> None:
    made = copied(two, tmp_path, TRIAL.replace("MODE", "canary"))
    begin(made, "2")
    answered(made, pl.DataFrame(rows(KNOWN, KNOWN + HORIZON)).drop("sold"), datetime.now(UTC), 1e-5)
    assert trial.judge(made.config, made.folder, soon() + 4 * HOUR) is None
    decision = trial.judge(made.config, made.folder, soon() + 5 * HOUR)
    assert decision is not None
    assert decision.kind == "refused"
    assert "0 labelled rows in 5 times the length of the trial; 30 are needed" in decision.reason
    assert "Forecasts come true up to 6 periods of 1mo later: set a longer retraining.trial.length" in decision.reason
    assert on_trial.read(made.folder) is None


def test_a_challenger_is_a_shadow_of_a_real_server_and_is_promoted(two: Path, tmp_path: Path) -> None:
    """The worse model is the champion: the challenger forecasts the same requests, logged apart, and takes over."""
    made = copied(two, tmp_path, TRIAL.replace("MODE", "shadow"))
    made.promote("2", "to begin with")
    with serving(made.folder) as server:
        begin(made, "1")
        server.until("/ready", lambda told: told.get("shadow", {}).get("version") == "1")
        for at in range(KNOWN, KNOWN + 8):
            told = server.post("/predict", {"horizon": HORIZON}).json
            assert told["model"]["version"] == "2"
            assert server.post("/feedback", rows(at, at + 1)).json["accepted"] == 3
    shadow = log_read.read(made.work / "predictions", role="shadow").collect()
    assert shadow.height == 8 * 3 * HORIZON
    decision = trial.judge(made.config, made.folder, soon() + HOUR)
    assert decision is not None
    assert (decision.kind, decision.version) == ("promoted", "1"), decision.reason


def test_a_worse_model_of_m3_is_rolled_back(shared_data: Path, tmp_path: Path) -> None:
    """200 monthly series of the competition, its test periods one after the other as what comes true."""
    frame = pl.read_csv(shared_data / "m3_monthly/m3_monthly.csv.gz").drop_nulls("ds")
    some = frame["unique_id"].unique(maintain_order=True)[::7].head(200)
    frame = frame.filter(pl.col("unique_id").is_in(some.implode())).select("unique_id", "ds", "y", "split")
    frame.filter(split="train").drop("split").write_csv(tmp_path / "m3.csv")
    (tmp_path / "keepfit.yaml").write_text(
        "task: forecast\ndata: {source: m3.csv, target: y, time: ds}\n"
        "forecast: {horizon: 6, series: [unique_id], season: 12}\nmodel: {type: theta}\n"
    )
    made = Project(tmp_path)
    assert made.run()["outcome"] == "promoted"
    assert Project(tmp_path, ["model.type=seasonal_naive"]).run()["outcome"] == "refused"
    made.promote("2", "by hand")
    later = frame.filter(split="test").with_columns(at=pl.col("ds").cum_count().over("unique_id"))
    with serving(tmp_path) as server:
        for at in range(1, 7):
            assert server.post("/predict", {"horizon": 6}).json["model"]["version"] == "2"
            came = later.filter(at=at).select("unique_id", "ds", "y").to_dicts()
            assert server.post("/feedback", came).json["accepted"] == len(came)
            if found := made.retrain(if_needed=True)["outcome"] == "rolled_back":
                break
    assert found, made.history()[-1]
    decision = made.history()[-1]
    assert (decision.kind, decision.version, decision.previous) == ("rolled_back", "1", "2")
    assert "version 2 did worse: mase" in decision.reason
