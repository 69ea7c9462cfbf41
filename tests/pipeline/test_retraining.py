"""Retraining on the source and the labelled log: what is learned from, what is refused, what is written down."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit import Project
from keepfit.errors import BusyError, ConfigError, DataError, KeepfitError
from keepfit.models import bundle as bundles
from keepfit.monitoring import alarms, attempts
from keepfit.pipeline import champion, folders, gathering, live, retraining
from tests.monitoring.receivers import web
from tests.projects import keepfit, project
from tests.traffic import flipped, labelled, soon

pytestmark = pytest.mark.slow
SETTINGS = "retraining: {min_rows: 300}\n"


def rows(count: int, seed: int, pro: float = 1.0) -> pl.DataFrame:
    """Customers; how much `pro` matters is what may change in the world."""
    draw = np.random.default_rng(seed)
    age, plan = draw.integers(18, 90, count), draw.choice(["basic", "pro", "team"], count)
    likely = age / 90 + (plan == "pro") * pro + (plan == "team") * (1 - pro) + draw.normal(0, 0.3, count)
    spend = draw.gamma(2.0, 50.0, count).round(2)
    day = pl.Series([datetime(2024, 1, 1) + timedelta(days=int(d)) for d in draw.integers(0, 300, count)])
    left = np.where(likely > 0.9, "yes", "no")
    return pl.DataFrame({"age": age, "plan": plan, "spend": spend, "day": day.dt.strftime("%d/%m/%Y"), "left": left})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a champion, for tests to copy."""
    folder = tmp_path_factory.mktemp("trained") / "shop"
    folder.mkdir()
    assert Project(project(folder, rows(1500, 1), SETTINGS)).run()["outcome"] == "promoted"
    return folder


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> Project:
    return Project(shutil.copytree(trained, tmp_path / "shop"))


def manifest(made: Project, version: str) -> Any:
    return bundles.read(champion.folder(made.config, made.folder, version)).manifest


def failures(record: Any) -> list[str]:
    return [check["name"] for check in record["decision"]["verdict"]["checks"] if check["outcome"] == "failed"]


def test_a_changed_world_is_learned_and_the_record_says_from_what(shop: Project) -> None:
    labelled(shop, rows(1200, 2, pro=0.5))
    record = shop.retrain(reason="sales said so")
    assert record["outcome"] == "promoted", record
    assert [(d.kind, d.version, d.previous) for d in shop.history()] == [
        ("promoted", "1", None),
        ("retrained", "2", "1"),
        ("promoted", "2", "1"),
    ]
    assert shop.history()[1].reason == "sales said so"
    log = manifest(shop, "2")["data"]["origin"]["log"]
    assert log["rows"] == 960  # the older 80 %
    assert manifest(shop, "2")["data"]["log_until"] == log["until"]
    split = folders.load_split(Path(record["bundle"]).parents[1] / "ingest")
    assert (split.train.frame.height, split.test.frame.height) == (1200 + 960, 240)
    assert split.train.frame["day"].dtype == pl.Datetime("us")
    assert split.train.frame["day"].null_count() == 0
    (tried,) = [attempts.last(shop.work / "monitoring")]
    assert tried is not None
    assert (tried.outcome, tried.about["version"]) == ("promoted", "2")
    # what version 2 has learned from is not new any more, what it was judged by is
    before = gathering.memory(shop.config, shop.folder)
    known = live.labelled(shop.config, shop.folder, soon(), "classification")
    assert gathering.fresh(known, before) == 240
    assert gathering.fresh(known, before, log["labels_until"]) == 0
    with pytest.raises(ConfigError, match="retraining, which only keepfit retrain does"):
        shop.run(resume=True)


def test_a_new_category_is_learned(shop: Project) -> None:
    found = rows(1200, 3, pro=0.5)
    found = found.with_columns(pl.col("plan").replace("team", "family"))
    labelled(shop, found)
    record = shop.retrain()
    schema = bundles.read(Path(record["bundle"])).schema
    assert set(schema["plan"].levels) == {"basic", "family", "pro", "team"}


def test_too_few_rows_train_nothing_by_themselves(shop: Project) -> None:
    labelled(shop, rows(100, 4))
    made = Project(shop.folder, ["retraining.on=[rows]", "retraining.rows=50"])
    record = made.retrain(if_needed=True)
    assert record["outcome"] == "not needed"
    assert "min_rows (100 of 300 new labelled rows)" in record["reason"]
    assert [d.kind for d in shop.history()] == ["promoted"]


@pytest.mark.parametrize("count", [1, 2, 100])
def test_by_hand_few_rows_are_learned_from_and_the_record_says_how_few(shop: Project, count: int) -> None:
    labelled(shop, rows(count, 4))
    record = shop.retrain()
    assert record["outcome"] == "refused" or count == 100  # by the gate: one or two rows prove nothing
    assert record["version"] == "2"
    retrained = shop.history()[-2]
    assert retrained.kind == "retrained"
    [few] = [check for check in retrained.verdict.checks if check.name == "new labelled rows"]
    assert (few.outcome, few.severity, few.value, few.limit) == ("failed", "warning", count, 300)


def broken_units(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("age") * 100)


def half_empty(frame: pl.DataFrame) -> pl.DataFrame:
    empty = pl.int_range(pl.len()) % 2 == 0
    names = [name for name in frame.columns if name != "left"]
    return frame.with_columns(pl.when(empty).then(None).otherwise(pl.col(name)).alias(name) for name in names)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda frame: flipped(frame, "left"), "the labels contradict the champion"),
        (lambda frame: flipped(frame, "left", 0.6), "the labels contradict the champion"),
        (broken_units, "'age' is 9"),
        (half_empty, "more than half empty"),
    ],
)
def test_a_broken_batch_is_left_out_and_trusted_only_when_told(
    shop: Project, spoil: Callable[[pl.DataFrame], pl.DataFrame], told: str
) -> None:
    labelled(shop, spoil(rows(1000, 5)))
    record = shop.retrain()
    assert record["outcome"] == "refused"
    assert told in record["reason"]
    assert "--trust" in record["reason"]
    refused = shop.history()[-1]
    assert any(check.name.startswith("quarantine") for check in refused.verdict.checks)
    trusting = shop.retrain(trust=True, reason="the sensor was changed")
    if "recent leakage" in trusting.get("reason", ""):  # empty rows are all alike
        assert spoil is half_empty
        return
    assert trusting["version"] == "2"  # it was trained and judged
    assert [d.kind for d in shop.history()][2] == "retrained"
    assert any("taken in all the same" in check.detail for check in shop.history()[2].verdict.checks)


def test_what_was_left_out_stays_out_when_sound_rows_follow(shop: Project) -> None:
    labelled(shop, flipped(rows(600, 6, pro=0.5), "left"), since=datetime(2026, 3, 1, tzinfo=UTC))
    labelled(shop, rows(1000, 7, pro=0.5), since=datetime(2026, 3, 2, tzinfo=UTC))
    record = shop.retrain()
    assert record["outcome"] == "promoted"
    spans = manifest(shop, record["version"])["data"]["origin"]["log"]["quarantined"]
    assert sum(span["rows"] for span in spans) == 600
    labelled(shop, rows(400, 8, pro=0.5), since=datetime(2026, 3, 4, tzinfo=UTC))
    again = gathering.gather(shop.config, shop.folder, soon())
    assert again.split.train.frame.height + again.split.test.frame.height == 1200 + 1000 + 400


def test_a_model_that_unlearned_the_source_is_refused_by_the_anchor(shop: Project) -> None:
    """Recent rows where all is different: better there, but not what the source's test rows ask for."""
    made = Project(shop.folder, ["model.C=0.001", "gate.margin=0.001"])
    labelled(made, rows(4000, 9, pro=-1.5))
    record = made.retrain(trust=True)
    assert record["outcome"] == "refused"
    assert [name for name in failures(record) if name.startswith("not much worse than the champion on the source")]
    leaving = Project(shop.folder, ["retraining.window=30d", "gate.margin=0.001"])
    record = leaving.retrain(trust=True)  # the past is left behind on purpose
    [check] = [c for c in record["decision"]["verdict"]["checks"] if c["name"].startswith("not much worse")]
    assert (check["outcome"], check["severity"]) == ("failed", "warning")
    assert record["outcome"] == "promoted"


def test_the_window(shop: Project) -> None:
    labelled(shop, rows(500, 10), since=datetime(2026, 3, 1, tzinfo=UTC))
    labelled(shop, rows(500, 11), since=datetime(2026, 3, 11, tzinfo=UTC))
    now = datetime(2026, 3, 12, tzinfo=UTC)
    made = Project(shop.folder, ["monitoring.time=null"])
    assert retraining.gathering.window(made.config, made.folder, now) is None
    made = Project(shop.folder, ["retraining.window=5d"])
    split = gathering.gather(made.config, made.folder, soon()).split
    assert split.train.frame.height == 300  # nothing happened in the last five days: the newest rows that suffice
    changed = Project(shop.folder, ["retraining.window=change"])
    assert gathering.window(changed.config, changed.folder, now) is None
    alarm = alarms.Alarm("a", "performance", "accuracy", "1", "2026-03-11T06:00:00+00:00", "2026-03-11T07:00:00+00:00")
    alarms.save(changed.work / "monitoring", [alarm])
    assert gathering.window(changed.config, changed.folder, now) == datetime(2026, 3, 10, 6, tzinfo=UTC)
    split = gathering.gather(changed.config, changed.folder, soon()).split
    assert (split.train.frame.height, split.test.frame.height) == (300, 200)


def test_a_source_that_grew_by_the_log_is_learned_once(shop: Project) -> None:
    first, second = rows(1500, 1), rows(600, 12)
    labelled(shop, second)
    pl.concat([first, second.head(500)]).write_csv(shop.folder / "data.csv")
    found = gathering.gather(shop.config, shop.folder, soon())
    assert found.anchor is not None
    heights = [part.frame.height for part in (found.split.train, found.split.test, found.anchor)]
    assert sum(heights) == 2100


def test_rows_that_become_known_later_are_not_known_now(tmp_path: Path) -> None:
    early = rows(900, 1).with_columns(known=pl.lit("2026-01-01"))
    late = rows(300, 2).with_columns(known=pl.lit("2026-06-01"))
    made = Project(project(tmp_path, pl.concat([early, late]), SETTINGS), ["data.known_at=known"])
    split = gathering.gather(made.config, made.folder, datetime(2026, 3, 1, tzinfo=UTC)).split
    assert split.train.frame.height + split.test.frame.height == 900


def test_a_redacted_column_cannot_be_learned_from(shop: Project) -> None:
    made = Project(shop.folder, ["serving.log.redact=[age]"])
    labelled(made, rows(400, 13))
    with pytest.raises(DataError, match=r"no column age.*serving\.log\.redact keeps age out of it"):
        made.retrain()
    assert made.history()[-1].kind == "refused"
    assert champion.current(made.config, made.folder) == "1"


def test_rows_of_one_request_are_learned_from_and_judged_on(shop: Project) -> None:
    """All have one time; they must not go to one side whole."""
    labelled(shop, rows(1000, 2, pro=0.5), seconds=0.0)
    record = shop.retrain()
    split = folders.load_split(Path(record["bundle"]).parents[1] / "ingest")
    assert (split.train.frame.height, split.test.frame.height) == (1200 + 800, 200)


def test_whoever_is_to_know_is_told_what_was_decided(shop: Project) -> None:
    with web(200) as receiver:
        told = Project(shop.folder, [f"alerts=[{{webhook: '{receiver.url}'}}]"])
        labelled(told, rows(1200, 2, pro=0.5))
        assert told.retrain()["outcome"] == "promoted"
    (_, _, body) = receiver.got[0]
    assert body["kind"] in ("retrained", "promoted")
    assert any("passed the gate" in line for line in body["decision"])


def test_without_a_need_nothing_is_trained(shop: Project) -> None:
    code, output = keepfit("retrain", "--if-needed", "-C", str(shop.folder))
    assert (code, "trains no challenger: there is no reason to" in output) == (0, True)
    assert [d.kind for d in shop.history()] == ["promoted"]


def test_enough_new_rows_are_a_need_once(shop: Project) -> None:
    made = Project(shop.folder, ["retraining.on=[rows]", "retraining.rows=500"])
    labelled(made, rows(600, 14, pro=0.5))
    first = made.retrain(if_needed=True)
    assert first["outcome"] in ("promoted", "refused")
    assert "rows (600 of 500 new labelled rows)" in made.history()[1].reason
    again = Project(shop.folder, ["retraining.on=[rows]", "retraining.rows=500", "retraining.cooldown=0"])
    assert again.retrain(if_needed=True)["outcome"] == "not needed"


def test_one_at_a_time(shop: Project) -> None:
    with attempts.only(shop.work / "monitoring", soon(), "a test"), pytest.raises(BusyError, match="at work already"):
        shop.retrain()
    with folders.alone(shop.work), pytest.raises(BusyError, match="Another run"):
        shop.retrain()


def test_a_crash_leaves_the_champion_and_a_record(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled(shop, rows(400, 15))

    def dies(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("keepfit.pipeline.stages.training.train", dies)
    with pytest.raises(RuntimeError, match="out of luck"):
        shop.retrain()
    last = attempts.last(shop.work / "monitoring")
    assert last is not None
    assert (last.outcome, last.problem) == ("failed", "out of luck")
    assert shop.history()[-1].reason == "no challenger: the training failed: out of luck"
    assert champion.current(shop.config, shop.folder) == "1"
    assert shop.runs()[0]["status"] == "failed"


def test_the_command_trains_in_a_process_that_is_stopped_in_time(shop: Project) -> None:
    labelled(shop, rows(1200, 16, pro=0.5))
    code, output = keepfit("retrain", "-C", str(shop.folder), "--set", "retraining.timeout=0.2s")
    assert code == 1
    assert "took longer than 0:00:00.200000 (retraining.timeout) and was stopped" in output
    assert shop.history()[-1].kind == "refused"
    code, output = keepfit("retrain", "-C", str(shop.folder), "--reason", "once more")
    assert code == 0, output
    assert "version 2 (logistic_regression) is the champion" in output
    assert shop.history()[-2].reason == "once more"


def test_the_command_says_no(shop: Project) -> None:
    labelled(shop, rows(400, 17).with_columns(spend=pl.lit(1e6)))
    code, output = keepfit("retrain", "-C", str(shop.folder))
    assert code == 3
    assert "There are 0 new labelled rows besides 400 that look broken: none to judge by" in output


def test_a_child_that_dies_is_told(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with pytest.raises(KeepfitError, match="ended with code 1 and said nothing"):
        shop.retrain(apart=True)
    assert "said nothing" in shop.history()[-1].reason


@pytest.mark.parametrize("spoil", ["none", "flipped", "mostly flipped", "units", "empty"])
def test_real_data(shared_data: Path, tmp_path: Path, spoil: str) -> None:
    """Telco churn, the second half as traffic: no broken batch gets a model promoted, a sound one is learned from."""
    frame = pl.read_csv(shared_data / "telco_churn" / "Telco-Customer-Churn.csv", infer_schema=False)
    source, traffic = frame[:4000], frame[4000:].with_columns(pl.col("tenure").cast(pl.Int64))
    source.write_csv(tmp_path / "churn.csv")
    (tmp_path / "keepfit.yaml").write_text(
        "data: {source: churn.csv, target: Churn}\nmodel: {type: logistic_regression}\ntuning: {trials: 0, cv: 3}\n"
    )
    made = Project(tmp_path)
    assert made.run()["outcome"] == "promoted"
    empty = pl.int_range(pl.len()) % 2 == 0
    names = [name for name in frame.columns if name not in ("Churn", "customerID")]
    spoilt = {
        "none": lambda: traffic,
        "flipped": lambda: flipped(traffic, "Churn"),
        "mostly flipped": lambda: flipped(traffic, "Churn", 0.6),
        "units": lambda: traffic.with_columns(pl.col("tenure") * 100),
        "empty": lambda: traffic.with_columns(pl.when(empty).then(None).otherwise(pl.col(n)).alias(n) for n in names),
    }
    labelled(made, spoilt[spoil]())
    record = made.retrain()
    verdict = made.history()[1 if spoil != "none" else 2].verdict
    broken = [check for check in verdict.checks if check.name.startswith("quarantine:")]
    assert bool(broken) == (spoil != "none")
    if spoil != "none":
        assert record["outcome"] == "refused"
        assert champion.current(made.config, made.folder) == "1"
    else:
        assert record["outcome"] in ("promoted", "refused")
        assert "version" in record
