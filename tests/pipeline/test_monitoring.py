"""`keepfit monitor` as its user meets it: what it says, when it cries, and what it survives."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keepfit import Project
from keepfit.errors import BusyError, TrackingError
from keepfit.models import bundle as bundles
from keepfit.monitoring import alarms, outbox
from keepfit.pipeline import champion, monitoring, settling
from keepfit.tracking import decisions, lock, mlflow, registry
from keepfit.types import Decision
from tests.monitoring.receivers import web
from tests.processes import together
from tests.projects import keepfit, project
from tests.servers import free_port
from tests.serving import serving
from tests.traffic import START, answered, flipped, labelled

HOUR = timedelta(hours=1)
LATER = START + 7 * HOUR  # when 400 rows, one a minute, have been answered
BUNDLES = Path(__file__).parents[1] / "bundles" / "format1"


def customers(count: int, seed: int) -> pl.DataFrame:
    """`spend` and `shop` tell nothing of who leaves; `age` and `plan` do."""
    draw = np.random.default_rng(seed)
    age, plan = draw.integers(18, 90, count), draw.choice(["basic", "pro", "team"], count)
    likely = age / 90 + (plan == "pro") + draw.normal(0, 0.3, count)
    left, shop = np.where(likely > 0.9, "yes", "no"), draw.choice(["north", "south"], count)
    spend = draw.gamma(2.0, 50.0, count).round(2)
    return pl.DataFrame({"age": age, "plan": plan, "shop": shop, "spend": spend, "left": left})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a champion, for tests to copy."""
    folder = tmp_path_factory.mktemp("trained") / "shop"
    folder.mkdir()
    assert Project(project(folder, customers(1500, 1))).run()["outcome"] == "promoted"
    return folder


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> Project:
    return Project(shutil.copytree(trained, tmp_path / "shop"))


def outcomes(found: Any) -> dict[str, str]:
    return {family: told["outcome"] for family, told in found["verdicts"].items()}


def failed(found: Any, family: str) -> list[str]:
    return [check["name"] for check in found["verdicts"][family]["checks"] if check["outcome"] == "failed"]


def kinds(made: Project) -> list[str]:
    """What was decided since the champion was promoted."""
    return [decision.kind for decision in made.history()][1:]


def dear(frame: pl.DataFrame, times: float = 100) -> pl.DataFrame:
    """`spend` in another unit."""
    return frame.with_columns(pl.col("spend") * times)


# --- what it says ---------------------------------------------------------------------------------


def test_without_a_champion_there_is_nothing_to_watch(tmp_path: Path) -> None:
    code, told = keepfit("monitor", "-C", str(project(tmp_path, customers(50, 1))))
    assert code == 1
    assert "has no champion to watch. Next: keepfit run." in told


def test_nothing_answered_yet_is_not_checked(shop: Project) -> None:
    code, told = keepfit("monitor", "-C", str(shop.folder))
    assert code == 0
    assert "shop, version 1: 0 rows in the window, too few to tell" in told
    assert json.loads((shop.work / "monitoring" / "latest.json").read_text())["outcome"] == "not checked"


def test_a_log_that_is_switched_off_is_told(shop: Project) -> None:
    code, told = keepfit("monitor", "-C", str(shop.folder), "--set", "serving.log.enabled=false")
    assert code == 0
    assert "serving.log.enabled is false, so what is answered cannot be watched" in told


def test_too_few_rows_are_not_checked_however_odd(shop: Project) -> None:
    answered(shop, dear(customers(20, 2)), START)
    found = shop.monitor(LATER)
    assert (found["outcome"], found["window"]["rows"]) == ("not checked", 20)
    assert set(outcomes(found).values()) == {"not checked"}
    assert kinds(shop) == []


def test_well(shop: Project) -> None:
    labelled(shop, customers(400, 3), START)
    found = shop.monitor(LATER)
    assert (found["outcome"], found["alarms"], kinds(shop)) == ("healthy", [], [])
    assert found["headline"] == "shop, version 1: nothing wrong in 400 rows"
    assert outcomes(found) == dict.fromkeys(("performance", "estimated", "quality", "drift"), "passed")
    assert (found["window"]["rows"], found["window"]["labelled"]) == (400, 400)
    assert found["performance"]["accuracy"]["low"] < found["performance"]["accuracy"]["value"]
    assert sum(part["rows"] for part in found["slices"]) == 400
    report = Path(found["report"]).read_text()
    assert "nothing wrong in 400 rows" in report
    assert [path.stem for path in (shop.work / "monitoring" / "passes").iterdir()] == [Path(found["report"]).stem]


def test_drift_that_costs_nothing_is_a_warning(shop: Project) -> None:
    answered(shop, customers(800, 4).filter(pl.col("spend") > 80), START)
    found = shop.monitor(LATER)
    assert (found["outcome"], outcomes(found)["drift"]) == ("healthy", "passed")
    assert found["headline"].endswith("; 1 column drifted")
    assert [name.rpartition(": ")[0] for name in failed(found, "drift")] == ["spend"]
    assert found["columns"][0]["name"] == "spend"
    (alarm,) = found["alarms"]
    assert (alarm["family"], alarm["severity"]) == ("drift", "warning")
    assert kinds(shop) == ["alarmed"]


def test_broken_data_is_no(shop: Project) -> None:
    answered(shop, dear(customers(400, 5)), datetime.now(UTC) - 7 * HOUR)
    code, told = keepfit("monitor", "-C", str(shop.folder))
    assert code == 3
    assert "shop, version 1: spend: above the range" in told
    assert re.search(r"✗|FAILED|failed", told)
    assert kinds(shop) == ["alarmed", "alarmed"]  # data quality, and the drift that comes with it
    assert {decision.by for decision in shop.history()[1:]} == {"keepfit"}


def test_a_model_that_does_worse_is_no_and_over_when_it_is_well_again(shop: Project) -> None:
    labelled(shop, flipped(customers(400, 6), "left", 0.4), START)
    found = shop.monitor(LATER)
    assert found["outcome"] == "unhealthy"
    assert any(name.startswith("accuracy") for name in failed(found, "performance"))
    assert outcomes(found)["quality"] == "passed"
    assert kinds(shop) == ["alarmed"]
    assert shop.monitor(LATER + HOUR)["outcome"] == "unhealthy"
    assert kinds(shop) == ["alarmed"]  # told once
    labelled(shop, customers(400, 7), START + 30 * HOUR)
    found = shop.monitor(LATER + 30 * HOUR)
    assert (found["outcome"], found["alarms"]) == ("healthy", [])
    assert kinds(shop) == ["alarmed", "resolved"]
    assert "passed again" in shop.history()[-1].reason


@pytest.mark.slow
def test_a_new_champion_begins_anew(shop: Project) -> None:
    answered(shop, dear(customers(400, 8)), START)
    assert shop.monitor(LATER)["outcome"] == "unhealthy"
    shop.run()
    champions = shop.history()[-1]
    if champions.kind != "promoted":
        shop.promote("2", "for the test")
    found = shop.monitor(LATER)
    assert (found["model"]["version"], found["window"]["rows"], found["alarms"]) == ("2", 0, [])
    last = shop.history()[-1]
    assert last.kind == "resolved"
    assert "version 2 took the place of version 1" in last.reason


# --- what it survives -----------------------------------------------------------------------------


def a_pass(folder: Path, when: datetime) -> None:
    Project(folder).monitor(when)


def a_pass_that_dies(folder: Path, place: str) -> None:
    """`kill -9` at the moment when `place` is called for the first time after a Decision was made."""
    module, name = {
        "alarms": (settling.alarms, "save"),
        "outbox": (settling.outbox, "put"),
        "report": (monitoring.report, "write"),
        "pass": (monitoring, "_write"),
    }.get(place, (settling.decisions, "record"))
    real = getattr(module, name)

    def dies(*given: Any) -> Any:
        if place == "second decision" and len(decisions.history(folder / ".keepfit")) < 2:
            return real(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, name, dies)
    a_pass(folder, LATER)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["first decision", "second decision", "outbox", "alarms", "report", "pass"])
def test_killed_in_the_middle_it_decides_nothing_twice_and_nothing_is_forgotten(shop: Project, place: str) -> None:
    answered(shop, dear(customers(400, 9)), START)
    config = shop.folder / "keepfit.yaml"
    config.write_text(config.read_text() + f"alerts: [{{webhook: 'http://127.0.0.1:{free_port()}/'}}]\n")
    assert together(a_pass_that_dies, [(shop.folder, place)]) == [-signal.SIGKILL]
    found = Project(shop.folder).monitor(LATER + HOUR)
    assert found["outcome"] == "unhealthy"
    assert kinds(shop) == ["alarmed", "alarmed"]
    assert not (shop.work / "monitoring" / settling.FILE).exists()
    (waiting,) = outbox.waiting(shop.work / "monitoring")
    assert waiting.notice.kind == "alarmed"


@pytest.mark.slow
def test_twice_at_once_is_one_after_the_other(shop: Project) -> None:
    answered(shop, dear(customers(400, 10)), START)
    assert together(a_pass, [(shop.folder, LATER), (shop.folder, LATER + HOUR)]) == [0, 0]
    assert kinds(shop) == ["alarmed", "alarmed"]
    assert len(list((shop.work / "monitoring" / "passes").iterdir())) == 2


def test_a_pass_that_does_not_end_is_named(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with lock.held(shop.work / "monitoring" / "monitor.lock", "the test"):
        monkeypatch.setattr(monitoring.lock, "held", partial(lock.held, seconds=0.0))
        with pytest.raises(BusyError, match=rf"A monitoring pass: process {os.getpid()} is at it"):
            shop.monitor(LATER)


@pytest.mark.parametrize("content", ["", '{"format": 1, "sli', '{"format": 99, "slices": 7}', "[]", "null"])
def test_a_last_pass_that_is_cut_short_or_of_a_newer_keepfit(shop: Project, content: str) -> None:
    folder = shop.work / "monitoring"
    folder.mkdir(exist_ok=True)
    (folder / "latest.json").write_text(content)
    assert shop.monitor(LATER)["outcome"] == "not checked"
    assert json.loads((folder / "latest.json").read_text())["format"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [(alarms.FILE, '{"format": 1, "alar'), (alarms.FILE, '{"format": 99}'), (settling.FILE, '{"format": 1, "alar')],
)
def test_a_state_that_is_cut_short_or_of_a_newer_keepfit_is_set_aside(shop: Project, name: str, content: str) -> None:
    answered(shop, dear(customers(400, 11)), START)
    folder = shop.work / "monitoring"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    with pytest.warns(UserWarning, match="begins anew"):
        assert shop.monitor(LATER)["outcome"] == "unhealthy"
    assert kinds(shop) == ["alarmed", "alarmed"]
    assert (folder / f"{name}.damaged").exists()


@pytest.mark.slow
def test_a_damaged_older_pass_is_in_nobodys_way(shop: Project) -> None:
    labelled(shop, customers(400, 12), START)
    shop.monitor(LATER)
    (old,) = (shop.work / "monitoring" / "passes").iterdir()
    old.write_text(old.read_text()[:100])
    for kept in (shop.work / "monitoring" / "counts").rglob("*.json"):
        kept.write_text(kept.read_text()[:100])
    found = shop.monitor(LATER + HOUR)
    assert (found["outcome"], found["window"]["rows"]) == ("healthy", 400)


def test_a_log_segment_that_is_cut_short(shop: Project) -> None:
    answered(shop, customers(400, 13), START)
    (segment,) = (shop.work / "predictions").rglob("*.ndjson")
    segment.write_bytes(segment.read_bytes()[:-37])
    found = shop.monitor(LATER)
    assert (found["outcome"], found["window"]["rows"]) == ("healthy", 399)


@pytest.mark.slow
def test_a_clock_that_is_set_back(shop: Project) -> None:
    answered(shop, dear(customers(400, 14)), START)
    assert shop.monitor(LATER)["outcome"] == "unhealthy"
    found = shop.monitor(LATER - 2 * HOUR)  # fewer rows, and as odd
    assert found["outcome"] == "unhealthy"
    assert kinds(shop) == ["alarmed", "alarmed"]
    assert all(alarm["since"] <= alarm["last"] for alarm in found["alarms"])
    assert shop.monitor(LATER)["outcome"] == "unhealthy"
    assert kinds(shop) == ["alarmed", "alarmed"]


def test_a_registry_that_is_away_is_an_error(shop: Project) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code, told = keepfit("monitor", "-C", str(shop.folder), "--set", f"tracking.uri={url}")
    assert code == 1
    assert url in told


@pytest.mark.slow
def test_while_the_registry_is_away_the_server_answers_and_later_its_rows_are_watched(shop: Project) -> None:
    database = shop.work / "mlflow.db"
    rows = customers(100, 15).drop("left").to_dicts()
    with serving(shop.folder) as running:
        whole = database.read_bytes()
        database.write_bytes(b"no database" * 100)
        code, told = keepfit("monitor", "-C", str(shop.folder))
        assert code == 1
        assert "mlflow.db" in told
        assert running.post("/predict", rows).status == 200
        database.write_bytes(whole)
        assert shop.monitor()["window"]["rows"] == 100
        assert running.stop() == 0


def test_a_tracking_server_that_is_away_costs_its_line_there(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> str:
        raise TrackingError("the tracking server is away")

    monkeypatch.setattr(monitoring.watched, "log", away)
    labelled(shop, customers(400, 16), START)
    found = shop.monitor(LATER)
    assert (found["outcome"], found["untracked"]) == ("healthy", "the tracking server is away")


@pytest.mark.slow
def test_a_webhook_that_hangs_keeps_no_pass_and_the_notice_waits(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring.outbox, "deliver", partial(outbox.deliver, seconds=0.2))
    answered(shop, dear(customers(400, 17)), START)
    with web(0) as receiver:
        made = Project(shop.folder, [f"alerts=[{{webhook: {receiver.url}}}]"])
        assert made.monitor(LATER)["outcome"] == "unhealthy"
        (waiting,) = outbox.waiting(made.work / "monitoring")
        assert waiting.tries == 1
        assert made.monitor(LATER + HOUR)["outcome"] == "unhealthy"
        assert len(outbox.waiting(made.work / "monitoring")) == 1


@pytest.fixture
def small_disk(shop: Project) -> Iterator[Path]:
    """The folder of monitoring on a file system of its own, of one megabyte."""
    folder = shop.work / "monitoring"
    folder.mkdir(exist_ok=True)
    if os.getuid() != 0:
        pytest.skip("a small file system can be mounted by root only")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path, left: int) -> None:
    """Leave only so many bytes free."""
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    (folder / "filler").write_bytes(b"\0" * (free - left))


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 16_384, 65_536, 131_072])
def test_a_full_disk_is_told_and_costs_no_decision(shop: Project, small_disk: Path, left: int) -> None:
    answered(shop, dear(customers(400, 18)), datetime.now(UTC) - 7 * HOUR)
    fill(small_disk, left)
    code, told = keepfit("monitor", "-C", str(shop.folder))
    assert code in ((1,) if left < 100_000 else (1, 3))
    assert code == 3 or "The disk is full" in told
    (small_disk / "filler").unlink()
    code, told = keepfit("monitor", "-C", str(shop.folder))
    assert code == 3, told
    assert kinds(shop) == ["alarmed", "alarmed"]


# --- labels, columns, tasks -----------------------------------------------------------------------


def test_labels_of_unknown_ids_and_classes_are_told_and_measure_nothing(shop: Project) -> None:
    ids = labelled(shop, customers(100, 19), START)
    report = shop.feedback(
        pl.DataFrame({"id": [ids[0][:-4] + "zzzz", "nobody", ids[1]], "label": ["yes", "no", "maybe"]})
    )
    assert report.accepted == 0
    assert (len(report.unknown), len(report.invalid)) == (2, 1)
    found = shop.monitor(LATER)
    assert (found["outcome"], found["window"]["labelled"]) == ("healthy", 100)


@pytest.mark.slow
def test_a_redacted_column_is_not_watched_and_the_others_are(shop: Project) -> None:
    made = Project(shop.folder, ["serving.log.redact=[age]"])
    labelled(made, dear(customers(400, 20)), START)
    found = made.monitor(LATER)
    assert found["outcome"] == "unhealthy"
    assert "age" not in {column["column"] for column in found["columns"]}
    assert "spend: above the range" in failed(found, "quality")
    assert '"age"' not in (made.work / "monitoring" / "latest.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "column", "unseen"),
    [("iris", "petal width", "gone"), ("prices", "size", "gone"), ("reviews", "age", "written")],
)
def test_a_bundle_of_an_older_keepfit_is_watched_as_far_as_its_reference_goes(
    trained: Path, tmp_path: Path, name: str, column: str, unseen: str
) -> None:
    made = Project(shutil.copytree(trained, tmp_path / "shop"))
    register(made, BUNDLES / name)
    rows = json.loads((BUNDLES / f"{name}.json").read_text())["rows"]
    frame = pl.concat([pl.DataFrame(rows, infer_schema_length=None)] * 10)
    answered(made, frame, START)
    found = made.monitor(LATER)
    assert (found["model"]["version"], found["window"]["rows"]) == ("2", frame.height)
    assert found["outcome"] == "healthy", found["headline"]
    assert (outcomes(found)["drift"], outcomes(found)["estimated"]) == ("passed", "not checked")
    watched = {each["column"] for each in found["columns"]}
    assert column in watched
    assert not {unseen, "text"} & watched  # dates and texts were described in another way
    answered(made, frame.with_columns(pl.lit(None).alias(column)), START + 30 * HOUR)
    found = made.monitor(LATER + 30 * HOUR)
    assert f"{column}: missing" in failed(found, "quality")


def register(made: Project, bundle: Path) -> Decision:
    """Make a bundle that was not trained here the champion."""
    store = champion.store(made.config, made.folder)
    run = mlflow.start(store, "from elsewhere")
    version = mlflow.register(store, run, bundle, bundles.read(bundle).schema)
    mlflow.end(store, run)
    return registry.promote(store, version, "from elsewhere", lambda path: None)


@pytest.mark.slow
def test_with_a_column_of_event_times_the_newest_event_is_now(tmp_path: Path) -> None:
    def dated(frame: pl.DataFrame, since: datetime) -> pl.DataFrame:
        minutes = pl.datetime_range(since, since + (len(frame) - 1) * timedelta(minutes=1), "1m", eager=True)
        return frame.with_columns(minutes.dt.strftime("%Y-%m-%dT%H:%M:%S").alias("at"))

    then = datetime(2021, 5, 1)
    made = Project(project(tmp_path, dated(customers(1500, 1), then), "monitoring: {time: at}\n"))
    assert made.run()["outcome"] == "promoted"
    ids = answered(made, dated(customers(400, 21), then + timedelta(days=3)))
    made.feedback(pl.DataFrame({"id": ids, "label": customers(400, 21)["left"]}))
    found = made.monitor()
    assert found["time"].startswith("2021-05-04T06:39")
    assert (found["outcome"], found["window"]["rows"]) == ("healthy", 400)
    answered(made, dear(dated(customers(400, 22), then + timedelta(days=5))))
    found = made.monitor()
    assert found["outcome"] == "unhealthy"
    assert found["window"]["since"].startswith("2021-05-05T06:39")
    assert "spend: above the range" in failed(found, "quality")


@pytest.mark.slow
def test_numbers_are_watched_too(tmp_path: Path) -> None:
    def priced(count: int, seed: int, dearer: float = 0.0) -> pl.DataFrame:
        draw = np.random.default_rng(seed)
        size, town = draw.normal(100, 20, count).round(1), draw.choice(["Bonn", "Köln", "Ulm"], count)
        price = size * 30 + (town == "Köln") * 500 + draw.normal(0, 100, count) + dearer
        return pl.DataFrame({"size": size, "town": town, "left": price.round(1)})

    made = Project(project(tmp_path, priced(1500, 1)), ["model.type=ridge"])
    assert made.run()["outcome"] == "promoted"
    labelled(made, priced(400, 2), START)
    found = made.monitor(LATER)
    assert found["outcome"] == "healthy", found["headline"]
    assert {"rmse", "mae"} <= set(found["performance"])
    labelled(made, priced(400, 3, dearer=300), START + 30 * HOUR)
    found = made.monitor(LATER + 30 * HOUR)
    assert found["outcome"] == "unhealthy"
    assert failed(found, "performance")
    assert failed(found, "quality") == []


@pytest.mark.slow
def test_texts_are_watched_too(tmp_path: Path) -> None:
    words = {"yes": ["good", "great", "fine", "loved it"], "no": ["bad", "awful", "dull", "hated it"]}
    rest = ["the film", "a plot", "the cast was", "music", "the end", "long", "slow", "at home", "in town", "again"]

    def reviews(count: int, seed: int) -> pl.DataFrame:
        draw = np.random.default_rng(seed)
        left = draw.choice(["yes", "no"], count)
        texts = [" ".join([*draw.choice(rest, 12), *draw.choice(words[kind], 3)]) for kind in left]
        return pl.DataFrame({"review": texts, "left": left})

    made = Project(project(tmp_path, reviews(1000, 1)))
    assert made.run()["outcome"] == "promoted"
    labelled(made, reviews(400, 2), START)
    found = made.monitor(LATER)
    assert (found["outcome"], failed(found, "drift")) == ("healthy", [])
    other = reviews(400, 3).with_columns(pl.col("review").str.replace_all("[a-m]", "щ"))
    answered(made, other, START + 30 * HOUR)
    found = made.monitor(LATER + 30 * HOUR)
    assert any(name.startswith("review: ") for name in failed(found, "drift"))
    assert {column["column"] for column in found["columns"] if column["outcome"] == "failed"} >= {"review"}
