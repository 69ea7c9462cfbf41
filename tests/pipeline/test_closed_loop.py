"""The whole loop with nobody at the wheel: a world that changes, labels that lie, a model that does worse."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keepfit import Project
from keepfit.data import log_read
from keepfit.tracking import decisions
from tests.loops import Loop, asked, lived, loop, processes, state, until
from tests.pipeline.test_retraining import rows
from tests.projects import project
from tests.serving import KEEPFIT
from tests.traffic import flipped, labelled

pytestmark = pytest.mark.slow
OLD, NEW = 1.0, 0.3  # what a customer's plan means, before and after
SETTINGS = """monitoring: {every: 2s, window: 1h}
retraining: {on: [performance], min_rows: 200, cooldown: 1s, timeout: 100s}
gate: {latency_ms: null}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("closed") / "shop"
    folder.mkdir()
    assert Project(project(folder, rows(1500, 1, pro=OLD), SETTINGS)).run()["outcome"] == "promoted"
    return folder


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "shop"))


def kinds(folder: Path, version: str | None = None) -> list[str]:
    return [d.kind for d in decisions.history(folder / ".keepfit") if version in (None, d.version)]


def another(running: Loop, name: str) -> dict[str, Any]:
    """Wait for a pass that begins from now on; how it ended."""
    begins = state(running.folder)["passes"].get(name, {}).get("began", 0)
    ended = lambda: (p := state(running.folder)["passes"].get(name)) and p["began"] > begins and not p["running"] and p
    found: dict[str, Any] = running.until(ended)
    return found


def test_the_world_changes_and_the_loop_follows(shop: Path) -> None:
    with loop(shop) as running:
        lived(running.url(), rows(600, 2, pro=OLD))
        assert "nothing wrong in 600 rows" in another(running, "monitor")["told"]
        assert kinds(shop) == ["promoted"]
        lived(running.url(), rows(700, 3, pro=NEW))
        running.until(lambda: "resolved" in kinds(shop))
        found = kinds(shop)
        assert found.index("alarmed") < found.index("retrained") < found.index("promoted", 1) < found.index("resolved")
        assert {version for _, version in lived(running.url(), rows(100, 4, pro=NEW))} == {"2"}
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
    until(lambda: not running.processes(), shop)


def test_a_champion_that_is_called_back_is_watched_for_what_it_answers_from_then_on(shop: Path) -> None:
    """What it did well when it was champion before, in another world, does not keep it."""
    made = Project(shop)
    labelled(made, rows(900, 10, pro=OLD), seconds=0.01)
    worse = Project(shop, ["retraining.window=all"])
    labelled(worse, rows(1200, 11, pro=NEW), seconds=0.01)
    assert worse.retrain(reason="the world changed")["outcome"] == "promoted"
    made.promote("1", "nostalgia")
    assert made.retrain(if_needed=True)["outcome"] == "not needed"
    time.sleep(0.1)
    labelled(made, rows(900, 12, pro=NEW), since=datetime.now(UTC), seconds=1e-5)
    time.sleep(0.1)
    back = made.retrain(if_needed=True)
    assert back["outcome"] == "rolled_back", back
    assert (back["version"], back["previous"]) == ("2", "1")
    assert "version 1 did worse" in back["reason"]


# --- killed ---------------------------------------------------------------------------------------


class Users:
    """Who asks and labels all the time, and remembers what was acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.answered, self.labelled = folder, list[tuple[str, str]](), list[str]()
        self.gone = threading.Event()
        self.thread = threading.Thread(target=self._live)

    def __enter__(self) -> Users:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gone.set()
        self.thread.join()

    def _live(self) -> None:
        seed = 100
        while not self.gone.wait(0.2):
            url = state(self.folder)["children"]["serve"]["url"]
            frame = rows(20, seed := seed + 1, pro=NEW)
            try:
                told = asked(f"{url}/predict", frame.drop("left").to_dicts())
                self.answered += [(one["id"], told["model"]["version"]) for one in told["predictions"]]
                labels = [(one["id"], label) for one, label in zip(told["predictions"], frame["left"], strict=True)]
                asked(f"{url}/feedback", [{"id": key, "label": label} for key, label in labels])
                self.labelled += [key for key, _ in labels]
            except (OSError, ValueError):  # nobody there; cut off on the way
                continue


def victim(running: Loop, words: tuple[str, ...]) -> int:
    """The number of the process whose command line has these words, once there is one."""
    found: int = running.until(
        lambda: next((n for n, told in running.processes().items() if set(words) <= set(told.split())), None)
    )
    return found


def test_whoever_is_killed_nothing_acknowledged_is_lost_and_nothing_decided_twice(shop: Path) -> None:
    asked_for = "retraining: {on: [rows], rows: 100, min_rows: 100, cooldown: 1s}\n"
    file = shop / "keepfit.yaml"
    file.write_text(file.read_text().replace("retraining: {on: [performance],", "# {") + asked_for)
    labelled(Project(shop), rows(300, 20, pro=NEW))
    draw = random.Random(5)
    mark = "killed"
    with Users(shop) as users:
        for rounds in (("serve", "monitor"), ("--here",)):
            with loop(shop, mark=mark) as running:
                running.url()
                for word in rounds:
                    number = victim(running, (word,))
                    threading.Event().wait(draw.uniform(0, 1.5))
                    kill(number)
                    running.until(running.server)
                running.process.kill()
        with loop(shop, mark=mark) as running:
            assert another(running, "monitor")["exit"] in (0, 3)
            users.gone.set()
            running.process.send_signal(signal.SIGINT)
            assert running.process.wait(60) == 0
    until(lambda: not processes(mark), shop)
    found = log_read.read(shop / ".keepfit/predictions", labels=True).collect()
    version = dict(found.select("id", "version").iter_rows())
    assert users.answered
    assert {key: version.get(key) for key, _ in users.answered} == dict(users.answered)
    assert found.height == found["id"].n_unique()
    assert set(users.labelled) <= set(found.filter(pl.col("label").is_not_null())["id"])
    told = [(d.kind, d.version, d.reason, str(d.verdict)) for d in decisions.history(shop / ".keepfit")]
    assert max(Counter(one for one in told if one[0] in ("alarmed", "promoted")).values()) == 1, told
    assert not list((shop / ".keepfit/monitoring").glob("*.damaged"))


def kill(number: int) -> None:
    with suppress(ProcessLookupError):  # it came to its end just now
        os.kill(number, signal.SIGKILL)


# --- broken ---------------------------------------------------------------------------------------

STUCK = "import time\n\n\ndef half(frame):\n    time.sleep(1000)\n    return frame['age'] / 2\n"


def test_a_training_that_never_ends_leaves_the_server_alone_and_is_told(shop: Path) -> None:
    file, reason = shop / "keepfit.yaml", "took longer than 0:00:08 (retraining.timeout)"
    file.write_text(file.read_text().replace("on: [performance]", "on: [rows], rows: 200").replace("100s", "8s"))
    labelled(Project(shop), rows(400, 30))
    (shop / "features.py").write_text(STUCK)
    with loop(shop) as running:
        running.until(lambda: "refused" in kinds(shop))
        ended = running.until(lambda: (p := state(shop)["passes"].get("retrain", {})).get("exit") and p)
        assert reason in ended["told"]
        assert reason in decisions.history(shop / ".keepfit")[-1].reason
        lived(running.url(), rows(50, 31))
        assert another(running, "monitor")["exit"] == 0
    until(lambda: not running.processes(), shop)


# --- by others ------------------------------------------------------------------------------------


def test_two_schedulers_at_once_do_what_one_would(shop: Path) -> None:
    sets = ("--set", "retraining.on=[rows]", "--set", "retraining.rows=200", "-C", str(shop))
    labelled(Project(shop), flipped(rows(700, 40, pro=OLD), "left"))
    run = lambda arguments: command(*arguments, *sets)
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(run, [("monitor",), ("retrain", "--if-needed")] * 2))
    monitored, retrained = codes[::2], codes[1::2]
    assert [code for code, _ in monitored] == [3, 3], monitored  # both passes are made, one after the other
    assert kinds(shop).count("alarmed") == 1
    assert sorted(code for code, _ in retrained) in ([0, 3], [1, 3]), retrained
    assert kinds(shop).count("refused") == 1  # labels that are turned round
    assert kinds(shop).count("promoted") == 1
    late = next(told for code, told in retrained if code != 3)
    assert "at work" in late or "cooldown" in late or "min_rows" in late
    again = [command("monitor", *sets)[0], command("retrain", "--if-needed", *sets)[0]]
    assert again == [3, 0]
    assert Counter(kinds(shop)) == {"promoted": 1, "alarmed": 1, "refused": 1}


def command(*arguments: str) -> tuple[int, str]:
    ended = subprocess.run([*KEEPFIT, *arguments], capture_output=True, text=True)
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stdout + ended.stderr
