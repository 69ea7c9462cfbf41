"""The report of a pass: one small page whatever the data, that says what matters and runs nothing."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from keepfit.monitoring import report
from keepfit.types import Check, Verdict, plain

EVIL = "<script>alert('1')</script>\"'&"
HOUR = "2026-03-02T{:02}:00:00+00:00"


def column(name: str, outcome: str = "passed", **other: Any) -> dict[str, Any]:
    return {
        "name": name, "column": name, "kind": "ordered", "psi": 0.01, "js": 0.1, "ks": 0.1, "p": 0.3, "moved": 0.02,
        "missing": 0.0, "unseen": None, "outside": 0.0, "outcome": outcome, "cells": ["missing", "0 to 1", "1 to 2"],
        "reference": [1, 50, 50], "now": [2, 20, 80], **other,
    }  # fmt: skip


def slices(count: int, metric: str) -> list[dict[str, Any]]:
    figures = {metric: {"value": 0.9, "low": 0.8, "high": 0.95}}
    return [{"since": HOUR.format(n % 24), "rows": 9, "labelled": 9, "performance": figures, "estimated": {}}
            for n in range(count)]  # fmt: skip


def a_pass(**other: Any) -> dict[str, Any]:
    """A pass as its JSON has it."""
    verdicts = {family: {**plain(Verdict(family)), "outcome": "not checked"} for family in report.FAMILIES}
    window = {"since": HOUR.format(0), "until": HOUR.format(9), "rows": 500, "labelled": 80}
    return {
        "format": 1, "time": HOUR.format(9), "model": {"name": "shop", "version": "3"}, "outcome": "healthy",
        "window": {**window, "labels": {"since": HOUR.format(1), "until": HOUR.format(4), "rows": 80}},
        "headline": "shop, version 3: nothing wrong in 500 rows", "verdicts": verdicts, "performance": {},
        "estimated": {}, "slices": [], "groups": [], "columns": [], "alarms": [], "report": "report.html", **other,
    }  # fmt: skip


def checks(**families: list[Check]) -> dict[str, Any]:
    given = {family: Verdict(family, tuple(families.get(family, ()))) for family in report.FAMILIES}
    return {family: {**plain(verdict), "outcome": verdict.outcome} for family, verdict in given.items()}


def told(folder: Path, **other: Any) -> str:
    return report.write(folder / "reports" / "report.html", a_pass(**other)).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """The tags of a page, that they are closed in turn, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(text: str) -> str:
    return " ".join("|".join(Tags(text).words).split())


def test_what_matters_stands_first(tmp_path: Path) -> None:
    said = words(told(tmp_path))
    assert "shop, version 3" in said
    assert "nothing wrong in 500 rows" in said
    assert "2026-03-02 00:00 to 2026-03-02 09:00 UTC: 500 rows, 80 labelled rows of 2026-03-02 01:00 to" in said


def test_without_labels_no_time_of_labels_is_told(tmp_path: Path) -> None:
    window = {"since": HOUR.format(0), "until": HOUR.format(9), "rows": 1, "labelled": 0}
    empty = {"since": None, "until": None, "rows": 0}
    assert "UTC: 1 row, 0 labelled rows." in words(told(tmp_path, window={**window, "labels": empty}))


def test_figures_of_a_file_say_which_file(tmp_path: Path) -> None:
    assert "day.csv: 500 rows" in words(told(tmp_path, data="day.csv"))


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ((), "not checked"),
        ((Check("a", "not checked", detail="9 rows"),), "not checked"),
        ((Check("a", "passed"), Check("b", "not checked")), "well"),
        ((Check("a", "passed"), Check("b", "failed", severity="warning")), "with warnings"),
        ((Check("a", "passed"), Check("b", "failed")), "not well"),
    ],
)
def test_the_tile_of_a_family(tmp_path: Path, given: tuple[Check, ...], state: str) -> None:
    text = told(tmp_path, verdicts=checks(quality=list(given)))
    tile = re.search(r"<div class='tile [a-z]+'>Data quality<b>([^<]*)</b>", text)
    assert tile is not None
    assert tile[1] == state


def test_checks_that_passed_are_folded_those_that_failed_are_not(tmp_path: Path) -> None:
    given = [Check("worse", "failed", 0.1, 0.2), Check("unknown", "not checked"), Check("fine", "passed")]
    text = told(tmp_path, verdicts=checks(performance=given))
    shown, _, folded = text.partition("<summary>1 check passed</summary>")
    assert "<td>worse</td>" in shown
    assert "<td>unknown</td>" in shown
    assert "<td>fine</td>" in folded
    assert "<td>fine</td>" not in shown


def test_figures_with_intervals_and_goals(tmp_path: Path) -> None:
    measured = {"accuracy": {"value": 0.91, "low": 0.88, "high": 0.93, "goal": ">= 0.9", "reference": 0.92}}
    guessed = {"accuracy": {"value": None, "low": None, "high": None, "void": "drift makes it void"}}
    said = words(told(tmp_path, performance=measured, estimated=guessed))
    assert "accuracy|measured|0.91|0.88 to 0.93|0.92|>= 0.9" in said
    assert "accuracy|estimated|drift makes it void" in said


def test_groups_have_their_figures_in_columns(tmp_path: Path) -> None:
    group = {"column": "age", "value": "> 72", "rows": 60, "auc": {"value": 0.7, "low": 0.6, "high": 0.8}}
    said = words(told(tmp_path, groups=[group]))
    assert "group|rows|auc|auc, 95 %|age: > 72|60|0.7|0.6 to 0.8" in said


def test_a_chart_for_a_metric_with_a_goal(tmp_path: Path) -> None:
    measured = {"rmse": {"value": 9.0, "low": 8.0, "high": 10.0, "goal": "<= 12", "reference": 9.1}}
    text = told(tmp_path, performance=measured, slices=slices(5, "rmse"))
    assert "<h3>rmse</h3>" in text
    assert "goal 12" in text
    assert "Over time" not in told(tmp_path, performance=measured, slices=slices(1, "rmse"))


def test_what_shifted_comes_first_and_is_open(tmp_path: Path) -> None:
    columns = [column("still"), column("moved", "failed", p=0.0)]
    text = told(tmp_path, columns=columns)
    assert text.index("moved<em>") < text.index("still<em>")
    assert text.count("<details open>") == 1
    assert "p &lt; 1e-300" in text


def test_many_columns_are_folded(tmp_path: Path) -> None:
    text = told(tmp_path, columns=[column(f"text: signal {n}") for n in range(30)])
    shown, _, folded = text.partition("<summary>18 columns that moved less</summary>")
    assert (shown.count("<em>"), folded.count("<em>")) == (12, 18)


def test_alarms(tmp_path: Path) -> None:
    alarm = {"subject": "age: missing", "since": HOUR.format(3), "value": 0.4, "detail": "was 0.1", "severity": "error"}
    said = words(told(tmp_path, alarms=[alarm]))
    assert "age: missing|2026-03-02 03:00|0.4|was 0.1" in said


def test_evidently_and_tracking(tmp_path: Path) -> None:
    text = told(tmp_path, evidently={"report": "/a/b'c/s-evidently.html", "rows": 5}, untracked="no server")
    assert "<a href='s-evidently.html'>" in text
    assert "Not told to MLflow: no server." in text
    assert "No report of Evidently's: too slow." in told(tmp_path, evidently={"report": None, "why": "too slow"})
    assert "Evidently" not in told(tmp_path)


def test_nothing_that_is_named_runs(tmp_path: Path) -> None:
    """Names, levels, groups and reasons come from whoever wrote the data or sent a request."""
    evil = Check(EVIL, "failed", EVIL, EVIL, EVIL)
    group = {"column": EVIL, "value": EVIL, EVIL: {"value": 1.0, "low": 0.5, "high": 2.0}}
    alarm = {"subject": EVIL, "since": EVIL, "value": EVIL, "detail": EVIL}
    text = told(
        tmp_path, model={"name": EVIL, "version": EVIL}, headline=EVIL, verdicts=checks(drift=[evil], quality=[evil]),
        performance={EVIL: {"value": 1.0, "goal": ">= 1"}}, groups=[group], alarms=[alarm], untracked=EVIL,
        columns=[column(EVIL, "failed", cells=[EVIL] * 3)], slices=slices(3, EVIL),
        evidently={"report": f"/x/{EVIL.replace('/', '')}", "why": EVIL},
    )  # fmt: skip
    tags = Tags(text)
    assert "script" not in tags.names
    assert "alert('1')" in "".join(tags.words)


def test_one_page_under_two_megabytes_whatever_the_data(tmp_path: Path) -> None:
    """1,000 columns with names and levels of 10,000 characters, 4,000 checks, as many alarms, 500 slices."""
    name = (EVIL + "długa_nazwa_") * 200
    columns = [
        column(
            f"{n} {name}", "failed", cells=[f"{cell} {name}" for cell in range(40)], reference=[1] * 40, now=[2] * 40
        )
        for n in range(1000)
    ]
    many = [Check(f"{n} {name}", "failed", 0.5, name, name) for n in range(1000)]
    alarms = [{"subject": f"{n} {name}", "since": HOUR.format(1), "value": 1.0, "detail": name} for n in range(1000)]
    groups = [{"column": name, "value": name, "auc": {"value": 0.5, "low": 0.4, "high": 0.6}} for _ in range(1000)]
    given = a_pass(
        columns=columns, verdicts=checks(**dict.fromkeys(report.FAMILIES, many)), alarms=alarms, groups=groups,
        slices=slices(500, "accuracy"), headline=name,
    )  # fmt: skip
    before = copy.deepcopy(given)
    path = report.write(tmp_path / "report.html", given)
    assert 100_000 < path.stat().st_size < 2_000_000
    assert given == before
    tags = Tags(path.read_text(encoding="utf-8"))
    assert "script" not in tags.names
    assert re.search(r"and 9\d\d more", "".join(tags.words))


def test_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    text = told(tmp_path, columns=[column("a")], slices=slices(3, "accuracy"))
    assert not re.search(r"(src|href)=|url\(|@import|https?:", text)


def test_the_budget_of_false_alarms_and_what_was_achieved() -> None:
    told = {"false_alarms": 1 / 2629746, "level": 0.00137, "allowed": 0.00027, "threshold": 8e-06,
            "achieved": {"rate": 0.00021, "low": 0.00014, "high": 0.0003, "passes": 4000}}  # fmt: skip
    text = report._budget(told)
    assert "1 a month" in text
    assert "0.00021 of them (0.00014 to 0.0003, from 4000 passes)" in text
    assert report._budget(None) == ""


def test_forecasts_by_step_ahead_beside_training_and_seasonal_naive(tmp_path: Path) -> None:
    def figure(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.1, "high": value + 0.1}

    steps = [
        {"step": "1 to 2", "rows": 40, "mase": figure(0.7), "bias": figure(-0.2), "interval_coverage": figure(0.88),
         "naive": 1.25},
        {"step": "3", "rows": 20, "mase": figure(0.9), "bias": figure(0.3)},
    ]  # fmt: skip
    before = [{"step": "1", "rows": 2, "mase": 0.5}, {"step": "2", "rows": 2, "mase": 0.6, "coverage": 0.9}]
    naive = [{"metric": "mase", "rows": 60, "value": 0.77, "naive": 1.31}]
    said = words(told(tmp_path, steps=steps, steps_before=before, naive=naive))
    by_step = said.partition("By step ahead")[2]
    for part in ("1 to 2", "MASE at training", "0.6 to 0.8", "0.55", "0.88", "1.25", "MASE of seasonal naive"):
        assert part in by_step, part
    assert "-0.2" in by_step or "−0.2" in by_step
    beside = said.partition("Beside seasonal naive")[2].partition("By step ahead")[0]
    assert "0.77" in beside
    assert "1.31" in beside
    assert "By step ahead" not in words(told(tmp_path))


def test_what_rounding_leaves_is_nothing(tmp_path: Path) -> None:
    text = told(tmp_path, columns=[column("still", moved=-1.9e-16), column("less", moved=0.25)])
    assert "moved predictions by 0<" in text
    assert "e-16" not in text
    assert "moved predictions by 0.25" in text
