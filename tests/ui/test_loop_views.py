"""What the tab of the loop shows, as HTML: escaped, whole, and right about what it says."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from keepfit.pipeline import state_of_loop
from keepfit.pipeline.state_of_loop import Loop, Model
from keepfit.types import Check, Decision, Verdict
from keepfit.ui import drift_view, loop, ring, timeline, told
from tests.ui.passes import ALARMS, NOON, SCRIPT, column, figure, one

GATE = Verdict("gate", (
    Check("accuracy", "passed", 0.9, ">= 0.8"), Check(SCRIPT, "failed", SCRIPT, SCRIPT, SCRIPT, "warning"),
    Check("size", "not checked"), Check("recall", "failed", 0.1, ">= 0.8"),
))  # fmt: skip
DECISIONS = (
    Decision(
        "alarmed", "shop", SCRIPT, Verdict("drift"), "2", None, "keepfit", (NOON - timedelta(hours=2)).isoformat()
    ),
    Decision(
        "promoted", "shop", "passed the gate", GATE, "2", "1", "Ann <a@b.c>", (NOON - timedelta(hours=5)).isoformat()
    ),
)


def known(**more: Any) -> Loop:
    empty = Loop(
        "shop", NOON, NOON, Model("2", NOON - timedelta(days=2), NOON - timedelta(days=3), 96, SCRIPT, ("lightgbm",)),
        one(), (one(),), tuple(ALARMS), {}, {}, {}, DECISIONS, 0, NOON - timedelta(minutes=7),
        NOON + timedelta(minutes=53), None, None, "serve",
    )  # fmt: skip
    given = dataclasses.replace(empty, **more)
    return dataclasses.replace(given, steps=state_of_loop._steps(given, given.at))


def everything(found: Loop) -> str:
    columns = found.latest.get("columns") or ()
    return "".join([
        ring.picture(found), ring.steps(found), told.headline(found), told.champion(found), timeline.performance(found),
        timeline.table(found), timeline.traffic(found), *(told.alarm(a) + told.alarm_body(a) for a in found.alarms),
        *(told.decision(d) + told.decision_body(d) for d in found.decisions), told.problems(found),
        *(drift_view.summary(c, 0.04, True) + drift_view.body(c, True) for c in columns),
    ])  # fmt: skip


def test_names_reasons_and_values_are_text() -> None:
    page = everything(known(problems=(SCRIPT,), name=SCRIPT, trial={"version": SCRIPT, "mode": SCRIPT}))
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") > 10


def test_the_step_at_work_is_lit_and_says_since_when_and_what_comes() -> None:
    lines = ring.steps(known())
    assert lines.count("aria-current=step") == 1
    assert "aria-current=step><b>serve</b><span>version 2 · for 2 days</span>" in lines
    assert "<span>unhealthy · 7 minutes ago · next pass in 53 minutes</span>" in lines
    assert ring.picture(known()).count("node lit") == 1
    assert "due now" in ring.steps(known(next=NOON - timedelta(minutes=1)))


def test_performance_has_both_lines_the_goal_and_what_happened() -> None:
    page = timeline.performance(known())
    assert "goal ≥ 0.8 <b class=kf-missed>missed</b>" in page
    assert page.count("<svg") == 2  # that of the goal, in two widths; recall is in the table
    assert ">measured</span>" in page
    assert ">estimated</span>" in page
    assert "version 2 promoted: passed the gate" in page
    assert page.count("class='mark alarm'") == 2


def test_estimates_of_passes_stand_in_for_those_of_slices() -> None:
    bare = one()
    for part in bare["slices"]:
        part["estimated"] = {}
    assert ">estimated</span>" in timeline.performance(known(latest=bare))
    assert ">estimated</span>" not in timeline.performance(known(latest=bare, passes=()))


def test_what_was_measured_is_drawn_though_no_goal_names_it() -> None:
    bare = {"mase": figure(0.7), "interval_coverage": figure(0.9), "rmsse": figure(0.8)}
    page = timeline.performance(known(latest=one(performance=bare, estimated={})))
    assert "Nothing was measured yet" not in page
    assert page.index("<h4>MASE") < page.index("<h4>interval coverage")
    assert "<h4>RMSSE" not in page  # it is in the table
    strange = timeline.performance(known(latest=one(performance={"new_kind": figure(0.7)}, estimated={})))
    assert "<h4>new kind" in strange


def test_why_nothing_is_estimated_is_told() -> None:
    bare = one(estimated={"accuracy": {"value": None, "void": "labels contradicted it"}})
    assert "Not estimated now: labels contradicted it." in timeline.performance(known(latest=bare))


def test_goals_in_words() -> None:
    assert timeline.goals(known()) == [("accuracy", ">= 0.8: missed, 0.74")]
    guess = one(performance={}, estimated={"accuracy": {"value": 0.9, "goal": ">= 0.8"}})
    assert timeline.goals(known(latest=guess)) == [("accuracy", ">= 0.8: not measured")]


def test_traffic_with_and_without_latency() -> None:
    assert "latency, ms" in timeline.traffic(known())
    assert "99 % within 4" in timeline.traffic(known())
    bare = one(slices=[{"since": NOON.isoformat(), "rows": 7}])
    assert "latency" not in timeline.traffic(known(latest=bare))
    assert "Nothing to draw" in timeline.performance(known(latest=bare, passes=()))
    assert "No pass has counted rows yet" in timeline.traffic(known(latest=one(slices=[])))


def test_what_rounding_leaves_moved_nothing() -> None:
    line = drift_view.summary(column("series: name", -1.9e-16), 1.9e-16, False)
    assert "moved the predictions by 0'" in line
    assert "width:0.0%" in line
    assert "kf-down" not in line
    assert "kf-down" in drift_view.summary(column("price", -0.5), 0.5, False)


def test_a_column_that_does_not_fit_together_says_so() -> None:
    assert "cannot be read" in drift_view.body(column("plan", 0.1, now=[1]), True)
    assert "cannot be read" in drift_view.body({"name": "plan", "cells": None, "now": "text"}, True)


def test_evidence_has_what_failed_first() -> None:
    rows = told.evidence(GATE).split("<tr>")[2:]
    assert [">failed<" in row or ">warned<" in row for row in rows] == [True, True, False, False]
    assert "decided by hand" in told.evidence(Verdict("promotion by hand"))


def test_decisions_of_a_kind() -> None:
    assert [d.kind for d in told.listed(known(), "champions")] == ["promoted"]
    assert [d.kind for d in told.listed(known(), "alarms")] == ["alarmed"]
    assert len(told.listed(known(), "everything")) == 2


@pytest.mark.parametrize("latest", [
    {"format": 1}, {"format": 1, "outcome": "healthy"}, {**one(), "slices": [{"since": "soon"}]},
    {**one(), "slices": 3}, {**one(), "performance": 3}, {**one(), "columns": [{}]}, {**one(), "columns": 3},
    {**one(), "window": None, "model": None}, {**one(), "groups": "x", "headline": None},
])  # fmt: skip
def test_a_pass_that_lacks_parts_costs_those_parts_alone(latest: Any) -> None:
    found = known(latest=latest)
    assert "<dt>version</dt><dd>2</dd>" in told.champion(found)
    for make in (told.headline, timeline.performance, timeline.traffic, ring.picture, ring.steps, loop._drifted):
        assert isinstance(loop._whole(lambda make=make: make(found)), str)  # type: ignore[misc]
    assert isinstance(loop._entries(lambda: loop._columns(found, True)), list)
