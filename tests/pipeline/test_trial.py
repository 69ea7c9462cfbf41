"""A challenger on trial, and a champion in its probation, are judged on live rows."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keepfit import Project
from keepfit.errors import BusyError
from keepfit.models import bundle as bundles
from keepfit.pipeline import champion, live, on_trial, probation, trial
from keepfit.tracking import mlflow
from keepfit.types import Verdict
from tests.pipeline.test_retraining import rows
from tests.projects import project
from tests.serving import serving
from tests.traffic import START, answered, flipped, labelled, soon

pytestmark = pytest.mark.slow
TRIAL = "retraining: {min_rows: 300, trial: {mode: MODE, share: 0.5, length: 1h, min_rows: 100}}\n"
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose version 1 is champion; version 2 learned the opposite, and was rolled back."""
    folder = tmp_path_factory.mktemp("two") / "shop"
    folder.mkdir()
    made = Project(project(folder, rows(1500, 1)))
    assert made.run()["outcome"] == "promoted"
    flipped(rows(1500, 1), "left").write_csv(folder / "data.csv")
    assert made.run()["outcome"] == "promoted"
    assert made.rollback(reason="the labels were turned round").version == "1"
    rows(1500, 1).write_csv(folder / "data.csv")
    return folder


def shop(two: Path, tmp_path: Path, mode: str = "shadow") -> Project:
    folder = shutil.copytree(two, tmp_path / "shop")
    return Project(project(folder, rows(1500, 1), TRIAL.replace("MODE", mode)))


def told(made: Project, frame: pl.DataFrame, ids: list[str]) -> None:
    assert made.feedback(pl.DataFrame({"id": ids, "label": frame["left"]})).accepted == len(ids)


def begin(made: Project, version: str = "2", measured: dict[str, Any] | None = None) -> Any:
    return trial.begin(made.config, made.folder, version, Verdict("gate"), "", START, measured or {})


@pytest.mark.parametrize(("true", "kind", "now"), [(True, "refused", "1"), (False, "promoted", "2")])
@pytest.mark.parametrize("mode", ["shadow", "canary"])
def test_a_trial_ends_by_what_the_live_rows_say(
    two: Path, tmp_path: Path, mode: str, true: bool, kind: str, now: str
) -> None:
    """Version 2 knows the opposite: where that is what happens, it is the better one."""
    made = shop(two, tmp_path, mode)
    assert begin(made).kind == "on_trial"
    traffic = rows(300, 2) if true else flipped(rows(300, 2), "left")
    ids = answered(made, traffic, START, 10)
    if mode == "shadow":
        answered(made, traffic, START, 10, "shadow", "2", ids)
    told(made, traffic, ids)
    assert trial.judge(made.config, made.folder, START + HOUR / 2) is None
    decision = trial.judge(made.config, made.folder, soon())
    assert decision is not None
    assert (decision.kind, decision.version, decision.by) == (kind, "2", "keepfit")
    assert champion.current(made.config, made.folder) == now
    assert on_trial.read(made.folder) is None
    assert trial.judge(made.config, made.folder, soon()) is None


def test_a_shadow_that_answered_nothing_is_not_promoted(two: Path, tmp_path: Path) -> None:
    made = shop(two, tmp_path)
    begin(made)
    traffic = flipped(rows(300, 2), "left")
    told(made, traffic, answered(made, traffic, START, 10))
    assert trial.judge(made.config, made.folder, START + 4 * HOUR) is None  # it goes on
    decision = trial.judge(made.config, made.folder, START + 6 * HOUR)
    assert decision is not None
    assert decision.reason == "the trial ended: 0 labelled rows in 5 times the length of the trial; 100 are needed"


def test_a_champion_that_moved_ends_the_trial(two: Path, tmp_path: Path) -> None:
    made = shop(two, tmp_path)
    begin(made)
    with pytest.raises(BusyError, match="Version 2 is on trial until"):
        made.retrain()
    made.promote("2", "by hand")
    assert trial.judge(made.config, made.folder, START) is None
    assert on_trial.read(made.folder) is None
    begin(made, "1")
    store = champion.store(made.config, made.folder)
    mlflow.move(store, "champion", None)
    decision = trial.judge(made.config, made.folder, START)
    assert decision is not None
    assert decision.reason == "the trial ended: the champion changed meanwhile, from version 2 to None"


def test_retraining_puts_its_challenger_on_trial(two: Path, tmp_path: Path) -> None:
    made = shop(two, tmp_path)
    labelled(made, rows(1200, 3, pro=0.5))
    record = made.retrain()
    assert (record["outcome"], record["version"]) == ("on_trial", "3")
    assert "version 3 (logistic_regression) is on trial; version 1 stays the champion" in record["headline"]
    assert champion.current(made.config, made.folder) == "1"
    found = on_trial.read(made.folder)
    assert found is not None
    assert (found.version, found.before, found.mode) == ("3", "1", "shadow")
    assert "size_mb" in found.measured
    assert made.retrain(if_needed=True)["outcome"] == "not needed"


def test_a_running_server_follows_the_trial(two: Path, tmp_path: Path) -> None:
    made = shop(two, tmp_path, "canary")
    with serving(made.folder) as server:
        assert "canary" not in server.get("/ready").json
        begin(made)
        ready = server.until("/ready", lambda told: "canary" in told)
        assert (ready["canary"]["version"], ready["canary"]["share"]) == ("2", 0.5)
        on_trial.end(made.folder)
        server.until("/ready", lambda told: "canary" not in told)


def fresh(made: Project, frame: pl.DataFrame) -> None:
    """Rows that are answered from now on: what came before a promotion says nothing of it."""
    labelled(made, frame, datetime.now(UTC), seconds=1e-5)


def test_a_new_champion_that_does_worse_is_rolled_back_once(two: Path, tmp_path: Path) -> None:
    made = shop(two, tmp_path)
    made.promote("2", "looked better")
    traffic = rows(200, 4)
    assert probation.after_promotion(made.config, made.folder, soon()) is None  # nothing to go by
    fresh(made, traffic)
    assert probation.after_promotion(made.config, made.folder, soon() - HOUR / 2) is None  # labels of the future
    over = Project(made.folder, ["retraining.probation=0s"])
    assert probation.after_promotion(over.config, over.folder, soon()) is None
    result = made.retrain(if_needed=True)
    assert result["outcome"] == "rolled_back"
    assert champion.current(made.config, made.folder) == "1"
    decision = made.history()[-1]
    assert (decision.kind, decision.version, decision.previous, decision.by) == ("rolled_back", "1", "2", "keepfit")
    assert "in its probation, version 2 did worse: roc_auc 0." in decision.reason
    assert decision.verdict.failures
    labelled(made, traffic, seconds=10)
    assert made.retrain(if_needed=True)["outcome"] == "not needed"


def test_a_new_champion_that_does_well_stays(two: Path, tmp_path: Path) -> None:
    made = shop(two, tmp_path)
    made.promote("2", "the world has changed")
    worse, better = rows(30, 5), flipped(rows(300, 4), "left")
    fresh(made, worse)
    assert probation.after_promotion(made.config, made.folder, soon()) is None  # too few to tell
    fresh(made, better)
    assert probation.after_promotion(made.config, made.folder, soon()) is None
    assert champion.current(made.config, made.folder) == "2"
    found = live.labelled(made.config, made.folder, soon(), "classification")
    schema = bundles.read(champion.folder(made.config, made.folder, "2")).schema
    assert probation.compare(made.config, made.folder, found, schema, "2", "1").outcome == "passed"
    assert probation.compare(made.config, made.folder, found[:20], schema, "2", "1").outcome == "not checked"


def test_the_clock_is_the_streams(two: Path, tmp_path: Path) -> None:
    """With monitoring.time "now" is the newest time in the log."""
    made = Project(shop(two, tmp_path).folder, ["monitoring.time=day"])
    assert live.moment(made.config, made.folder) > datetime(2026, 1, 1, tzinfo=UTC)  # no log: the clock's
    frame = rows(50, 5)
    told(made, frame, answered(made, frame))
    newest = max(datetime.strptime(day, "%d/%m/%Y").replace(tzinfo=UTC) for day in frame["day"])
    assert live.moment(made.config, made.folder) == newest
    found = live.labelled(made.config, made.folder, newest, "classification")
    assert (found.height, found["at"].is_sorted(), found["at"][-1]) == (50, True, newest)
    earlier = live.labelled(made.config, made.folder, newest - timedelta(days=30), "classification")
    assert 0 < earlier.height < 50
