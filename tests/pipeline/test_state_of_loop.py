"""Where the loop stands, from files that may be missing, cut short or of another format."""

from __future__ import annotations

import fcntl
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keepfit import Project
from keepfit import config as settings
from keepfit.config import Config
from keepfit.errors import KeepfitError
from keepfit.pipeline import champion, state_of_loop
from keepfit.pipeline.state_of_loop import Loop, begun, loop, signature
from keepfit.tracking import decisions
from keepfit.types import Check, Decision, Verdict
from tests.projects import project, table
from tests.ui import passes
from tests.ui.passes import NOON, passed, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return project(tmp_path, table(), "project: {name: shop}\nmonitoring: {every: 1h}\nretraining: {cooldown: 1d}\n")


def config(folder: Path, *sets: str) -> Config:
    return settings.load(folder, sets)


def seen(folder: Path, *sets: str, now: datetime = NOON) -> Loop:
    return loop(config(folder, *sets), folder, now)


def step(found: Loop, name: str) -> state_of_loop.Step:
    return next(step for step in found.steps if step.name == name)


def decide(folder: Path, kind: str, version: str, when: datetime = NOON, previous: str | None = None) -> None:
    proof = Verdict("gate", (Check("accuracy", "passed", 0.9),))
    decisions.record(
        folder / ".keepfit", Decision(kind, "shop", "why", proof, version, previous, "ann", when.isoformat())
    )


def test_before_anything_happened(folder: Path) -> None:
    found = seen(folder)
    assert (found.model, found.latest, found.alarms, found.decisions, found.problems) == (None, {}, (), (), ())
    assert not found.begun
    assert not begun(folder)
    assert [one.name for one in found.steps] == ["data", "train", "gate", "serve", "watch", "decide"]
    assert (found.at, step(found, "serve").told) == ("data", "there is no champion yet")
    assert step(found, "watch").told == "no pass yet"


def test_a_pass_with_its_alarms(folder: Path) -> None:
    passed(folder)
    write(folder, "alarms.json", passes.alarms(passes.ALARMS))
    found = seen(folder)
    assert begun(folder)
    assert (step(found, "watch").told, step(found, "watch").state) == ("unhealthy", "unwell")
    assert (step(found, "decide").told, step(found, "decide").state) == ("2 open alarms", "unwell")
    assert [one["version"] for one in found.passes] == ["1"]
    assert found.problems == ()
    assert found.next is None  # nobody makes passes


@pytest.mark.parametrize("content", ["", '{"format": 1, "al', "[]", "null", '"text"', "\x00", '{"format": 9}'])
@pytest.mark.parametrize("name", ["latest", "alarms", "retraining", "trial", "up"])
def test_a_file_that_cannot_be_understood_is_named_and_left_alone(folder: Path, name: str, content: str) -> None:
    path = write(folder, f"{name}.json", content)
    found = seen(folder)
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{name}.json ")
    assert path.read_text(encoding="utf-8") == content
    assert sorted(p.name for p in path.parent.iterdir()) == [f"{name}.json"]


def test_a_newer_format_says_so(folder: Path) -> None:
    write(folder, "latest.json", {"format": 7})
    assert seen(folder).problems == ("latest.json is left out: it has format 7, this keepfit knows 1. Update keepfit.",)


def test_the_newest_pass_stands_in_for_a_latest_that_was_cut_short(folder: Path) -> None:
    passed(folder, NOON - timedelta(hours=1), outcome="healthy")
    passed(folder, NOON)
    write(folder, "latest.json", '{"format": 1, "outc')
    found = seen(folder)
    assert found.latest["outcome"] == "unhealthy"
    assert len(found.passes) == 2
    assert len(found.problems) == 1


def test_passes_that_cannot_be_read_are_left_out(folder: Path) -> None:
    passed(folder)
    write(folder, "passes/20261120T130000-000000.json", "{")
    write(folder, "passes/20261120T140000-000000.json", '{"format": 1, "model": 3}')
    assert [one["outcome"] for one in seen(folder).passes] == ["unhealthy", None]


def test_the_supervisor_tells_the_next_pass_and_what_is_down(folder: Path) -> None:
    passed(folder)
    children = {"serve": {"pid": None}, "ui": {"pid": 1}}
    running = {"monitor": {"running": True}}
    write(folder, "up.json", passes.up(children=children, passes=running))
    found = seen(folder)
    assert found.watched is not None
    assert found.next == found.watched + timedelta(hours=1)
    assert found.at == "watch"
    write(folder, "up.json", passes.up(passes={"retrain": {"running": True, "told": "shop: nothing to do"}}))
    found = seen(folder)
    assert (found.at, step(found, "decide").told) == ("decide", "no open alarms; shop: nothing to do")
    write(folder, "up.json", passes.up(pid=2**22 + 1))  # killed
    found = seen(folder)
    assert (found.up, found.next) == ({}, None)


def attempt(outcome: str, when: datetime = NOON) -> dict[str, Any]:
    return {"format": 1, "when": when.isoformat(), "outcome": outcome, "pid": os.getppid(), "reason": "", "problem": "",
            "about": {}}  # fmt: skip


def test_training_at_work_crashed_and_over(folder: Path) -> None:
    path = write(folder, "retraining.json", attempt("at work"))
    with (path.parent / "retraining.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = seen(folder)
        assert (found.at, step(found, "train").told, found.cooldown) == ("data", "a challenger is in training", None)
    found = seen(folder)
    assert (found.attempt["outcome"], step(found, "train").state) == ("crashed", "warned")
    write(folder, "retraining.json", attempt("refused"))
    found = seen(folder, now=NOON + timedelta(hours=3))
    assert step(found, "train").told == "the last challenger: refused"
    assert found.cooldown == NOON + timedelta(days=1)
    assert seen(folder, now=NOON + timedelta(days=2)).cooldown is None


def test_a_replayed_stream_is_told_by_its_own_clock(folder: Path) -> None:
    now = NOON + timedelta(days=900)
    passed(folder, NOON)
    write(folder, "retraining.json", attempt("refused", NOON - timedelta(hours=3)))
    found = seen(folder, "monitoring.time=age", now=now)
    assert found.clock == NOON
    assert step(found, "train").since == now - timedelta(hours=3)
    assert found.cooldown == now + timedelta(hours=21)


def test_a_trial(folder: Path) -> None:
    until = NOON + timedelta(days=1)
    write(folder, "trial.json", {
        "format": 1, "version": "4", "before": "3", "mode": "shadow", "share": 0.1, "since": NOON.isoformat(),
        "until": until.isoformat(),
    })  # fmt: skip
    found = seen(folder)
    assert (found.at, step(found, "gate").told) == ("gate", "version 4 is on trial as shadow")
    assert step(found, "gate").until == until


def test_decisions_are_newest_first_and_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_of_loop, "DECISIONS", 3)
    for number in range(5):
        decide(folder, "promoted", str(number), NOON + timedelta(hours=number))
    found = seen(folder)
    assert [one.version for one in found.decisions] == ["4", "3", "2"]
    assert found.older == 2
    assert step(found, "gate").told == "let version 4 through"


def test_a_damaged_history_is_told(folder: Path) -> None:
    decide(folder, "promoted", "1")
    with (folder / ".keepfit" / "decisions.jsonl").open("a") as file:
        file.write("nonsense\n" * 2)
    assert "decisions" in seen(folder).problems[0]


def test_a_registry_that_is_away_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*given: Any) -> Any:
        raise KeepfitError("nobody answers")

    monkeypatch.setattr(champion, "pointer", away)
    assert seen(folder).problems == ("The champion cannot be told: nobody answers",)


def test_the_signature_changes_with_the_files_and_with_time(folder: Path) -> None:
    before = signature(folder, NOON)
    assert signature(folder, NOON) == before
    assert signature(folder, NOON + timedelta(minutes=1)) != before
    passed(folder)
    assert signature(folder, NOON) != before
    before = signature(folder, NOON)
    decide(folder, "promoted", "1")
    assert signature(folder, NOON) != before


def test_the_project_tells_it_too(folder: Path) -> None:
    passed(folder)
    found = Project(folder).status()
    assert found["latest"]["outcome"] == "unhealthy"
    assert found["steps"][0]["name"] == "data"


@pytest.mark.slow
def test_a_probation_of_forecasts_lasts_until_the_first_ones_came_true(tmp_path: Path) -> None:
    """A horizon of half a year goes beyond the week of `retraining.probation`; the page tells the later end."""
    rows = "".join(f"{2000 + at // 12}-{at % 12 + 1:02},{at + 3 * (at % 12)}\n" for at in range(60))
    (tmp_path / "data.csv").write_text(f"month,sold\n{rows}", encoding="utf-8")
    text = "task: forecast\ndata: {source: data.csv, target: sold}\nmodel: {type: seasonal_naive}\n"
    (tmp_path / "keepfit.yaml").write_text(f"{text}forecast: {{horizon: 6, season: 12}}\n", encoding="utf-8")
    made = Project(tmp_path)
    for version in ("1", "2"):
        made.run()
        last = made.promote(version, "the baseline is refused by the gate")
    when = datetime.fromisoformat(last.when)
    found = loop(made.config, tmp_path, when + timedelta(days=30))
    assert found.probation is not None
    assert 180 < (found.probation - when).days < 185
