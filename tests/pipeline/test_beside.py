"""Evidently's report beside a pass: whatever becomes of it, the pass stands and says so."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keepfit import Project, show
from keepfit.pipeline import beside
from tests.projects import project, table
from tests.traffic import START, answered

LATER = START + timedelta(hours=3)
FINE = "import json,pathlib,sys; pathlib.Path(json.load(sys.stdin)['output']).write_text('<p>'); print('{\"rows\": 5}')"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("beside") / "shop"
    folder.mkdir()
    made = Project(project(folder, table()))
    made.run()
    answered(made, table(60), START)
    return folder


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> Project:
    return Project(shutil.copytree(trained, tmp_path / "shop"))


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Evidently as if it were there: a process of `code` makes the report."""

    def set_up(code: str) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
        monkeypatch.setattr(beside, "COMMAND", (sys.executable, "-c", code))

    return set_up


def latest(made: Project) -> Any:
    return json.loads((made.work / "monitoring" / "latest.json").read_text())


def test_not_installed_nothing_is_said_of_it(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "evidently" not in shop.monitor(LATER)
    assert "evidently" not in latest(shop)


def test_the_report_stands_beside_ours(shop: Project, installed: Any) -> None:
    installed(FINE)
    found = shop.monitor(LATER)
    ours = Path(found["report"])
    path = str(ours.with_name(f"{ours.stem}-evidently.html"))
    assert found["evidently"] == {"rows": 5, "report": path} == latest(shop)["evidently"]
    assert Path(path).is_file()
    assert f"evidently {path}" in show.monitored(found)
    assert f"href='{ours.stem}-evidently.html'" in ours.read_text()


def test_what_it_is_asked(shop: Project, installed: Any, tmp_path: Path) -> None:
    installed(f"import sys; open({str(tmp_path / 'asked.json')!r}, 'w').write(sys.stdin.read()); print('{{}}')")
    found = shop.monitor(LATER)
    asked = json.loads((tmp_path / "asked.json").read_text())
    (run,) = (shop.work / "runs").iterdir()
    assert asked["reference"] == str(run / "ingest" / "train.parquet")
    assert sorted(asked["columns"]) == ["age", "plan", "spend"]
    assert (asked["rows"], asked["version"]) == (10_000, "1")
    assert (asked["since"], asked["until"]) == (found["window"]["since"], found["window"]["until"])


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; sys.exit('no memory')", "it ended with code 1: no memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGALRM)", "it took more than 120 s"),
    ],
)
def test_a_process_that_fails_is_told(shop: Project, installed: Any, code: str, why: str) -> None:
    installed(code)
    found = shop.monitor(LATER)
    assert found["evidently"] == {"report": None, "why": why} == latest(shop)["evidently"]
    assert found["window"]["rows"] == 60
    assert f"evidently no report: {why}" in show.monitored(found)


def test_a_process_that_does_not_end_is_ended(shop: Project, installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "SECONDS", -4)
    installed("import time; time.sleep(600)")
    assert "timed out after 1 seconds" in shop.monitor(LATER)["evidently"]["why"]


def test_a_program_that_is_not_there_is_told(shop: Project, installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("")
    monkeypatch.setattr(beside, "COMMAND", (str(shop.folder / "no-python"),))
    assert "it could not be made" in shop.monitor(LATER)["evidently"]["why"]


def test_without_the_rows_of_the_training_run(shop: Project, installed: Any) -> None:
    installed(FINE)
    (told,) = (shop.work / "runs").glob("*/ingest/dataset.json")
    told.write_text("{")
    why = "the folder of the run that trained this version is not here"
    assert shop.monitor(LATER)["evidently"] == {"report": None, "why": why}


def test_without_rows_in_the_window(shop: Project, installed: Any) -> None:
    installed("raise SystemExit('asked for nothing')")
    found = shop.monitor(START + timedelta(days=30))
    assert found["evidently"] == {"report": None, "why": "no rows in the window"}


def test_old_ones_give_way(shop: Project, installed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "KEPT", 2)
    installed(FINE)
    for hours in (1, 2, 3):
        shop.monitor(START + timedelta(hours=hours))
    reports = shop.work / "monitoring" / "reports"
    assert sorted(path.name[:13] for path in reports.glob("*-evidently.html")) == ["20260302T0200", "20260302T0300"]
    assert len(list(reports.glob("*[0-9].html"))) == 3


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("evidently") is None, reason="Evidently is not installed: pip install 'keepfit[evidently]'"
)
def test_for_real(shop: Project) -> None:
    before = dict(os.environ)
    told = shop.monitor(LATER)["evidently"]
    assert (told["rows"], told["reference_rows"]) == (60, 96), told
    assert sorted(told["columns"]) == ["age", "plan", "spend"]
    assert Path(told["report"]).stat().st_size > 1_000_000
    assert dict(os.environ) == before
    assert "evidently" not in sys.modules
