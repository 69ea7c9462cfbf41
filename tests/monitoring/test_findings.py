"""Findings become Checks: beyond chance and no trifle, or not checked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from keepfit.monitoring import findings
from keepfit.monitoring.budget import Thresholds
from keepfit.monitoring.findings import Finding

LIMITS = Thresholds(1 / 2629746, 3600, 0.001, 1000, 50, 1e-6, 2e-4, {})
SHIFT = Finding("drift", "age", "ranks", 1e-9, 0.2, None, 0.2, 900, 0.005)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "failed"),
        ({"p": 1e-5}, "passed"),  # may be chance
        ({"effect": 0.004}, "passed"),  # no matter
        ({"rows": 49}, "not checked"),
        ({"unknown": "no labels"}, "not checked"),
        ({"p": None}, "failed"),  # the effect alone decides
    ],
)
def test_a_shift_is_beyond_chance_and_no_trifle(change, outcome):
    assert findings.verdict("drift", [replace(SHIFT, **change)], LIMITS).checks[0].outcome == outcome


def test_drift_warns_and_consequences_stop():
    drift = findings.verdict("drift", [SHIFT], LIMITS)
    assert (drift.outcome, len(drift.warnings)) == ("passed", 1)
    quality = findings.verdict("quality", [replace(SHIFT, family="quality")], LIMITS)
    assert (quality.outcome, quality.failures[0].name) == ("failed", "age: ranks")
    softened = findings.verdict("quality", [replace(SHIFT, family="quality", severity="warning")], LIMITS)
    assert softened.outcome == "passed"


def test_a_family_shares_its_part_among_its_tests():
    found = [replace(SHIFT, family="quality", p=p) for p in (1.9e-4, 0.5)]
    assert findings.verdict("quality", found[:1], LIMITS).outcome == "failed"  # 0.001 × 0.2
    assert findings.verdict("quality", found, LIMITS).outcome == "passed"
    by_effect = replace(found[0], p=None, effect=0.0)  # takes no part
    assert findings.verdict("quality", [found[0], by_effect], LIMITS).outcome == "failed"


def test_nothing_is_not_checked_and_failures_come_first():
    assert findings.verdict("drift", [], LIMITS).outcome == "not checked"
    few = [replace(SHIFT, rows=3)]
    assert findings.verdict("drift", few, LIMITS).outcome == "not checked"
    checks = findings.verdict("drift", [*few, replace(SHIFT, p=0.9), SHIFT], LIMITS).checks
    assert [check.outcome for check in checks] == ["failed", "passed", "not checked"]
    assert "at least 50" in checks[2].detail


def test_the_detail_tells_what_was_and_how_sure_it_is():
    check = replace(SHIFT, reference=0.1, detail="PSI 0.2").check(1e-6)
    assert (check.detail, check.limit) == ("PSI 0.2; was 0.1; p = 1e-09 (alarm at 1e-06)", None)
    assert json.loads(json.dumps(findings.plain(SHIFT)))["p"] == 1e-9
