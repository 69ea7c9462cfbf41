"""The budget: thresholds hold what they promise, on references and windows that they have not seen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from keepfit.monitoring import budget, drift, signals
from keepfit.monitoring.counts import Counts
from keepfit.monitoring.reference import Reference
from keepfit.sections import Monitoring

MONTHLY = Monitoring()


def columns(width, rows, random):
    """Half of them normal, half in few values; the same for every call."""
    values = random.normal(size=(rows, width)) + random.normal(size=(rows, 1)) * 0.5
    values[:, ::2] = np.floor(values[:, ::2] * 2)
    return values


def learned(values, key=""):
    made = tuple(signals.learn(f"c{i}", f"c{i}", "", column) for i, column in enumerate(values.T))
    return Reference(len(values), made, {}, None, np.empty(0, np.uint64), key)


@pytest.fixture(scope="module")
def known():
    return learned(columns(10, 3000, np.random.default_rng(0)), "sha256:0123456789abcdef-first")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(budget, "CELLS", 100_000)


def test_the_level_of_a_pass_follows_from_the_rate():
    monitoring = Monitoring(false_alarms="2 per week", every="6h")
    assert budget.level(monitoring.false_alarms, monitoring.every) == pytest.approx(2 / 28)
    assert budget.level(1.0, 3600) == budget.MOST
    assert sum(budget.SHARES.values()) == pytest.approx(1)


def test_families_share_the_level(known):
    limits = budget.thresholds(known, 1000, MONTHLY)
    assert limits.of("performance", 4) == pytest.approx(limits.level * 0.4 / 4)
    assert limits.of("quality", 0) == pytest.approx(limits.level * 0.2)
    assert limits.of("drift", 99) == limits.drift
    assert limits.drift < limits.allowed / 10  # ten columns


def test_more_columns_and_a_smaller_budget_are_stricter(known):
    few = replace(known, signals=known.signals[:2])
    one, all_of_them = (budget.thresholds(each, 1000, MONTHLY).drift for each in (few, known))
    yearly = budget.thresholds(known, 1000, Monitoring(false_alarms="1 per year")).drift
    assert yearly < all_of_them / 5 < one / 5


def test_what_is_achieved_is_told_from_passes_that_the_threshold_has_not_seen(known):
    limits = budget.thresholds(known, 1000, MONTHLY)
    told = limits.achieved
    assert told["low"] < told["rate"] < told["high"]
    assert told["low"] < limits.allowed
    assert told["passes"] >= budget.PASSES[0]
    assert json.loads(json.dumps(limits.plain()))["period"] == pytest.approx(2629746)


def test_no_more_fresh_windows_raise_an_alarm_than_allowed():
    random, alarms, windows, allowed = np.random.default_rng(3), 0, 0, 0.1
    monitoring = Monitoring(false_alarms=allowed / budget.SHARES["drift"] / 3600)
    for _ in range(15):
        reference = learned(columns(10, 2000, random))
        limit = budget.thresholds(reference, 1000, monitoring).drift
        for _ in range(8):
            values = columns(10, 1000, random)
            cells = {
                s.name: np.bincount(signals.place(s, column), minlength=len(s.counts))
                for s, column in zip(reference.signals, values.T, strict=True)
            }
            found = drift.findings(reference, Counts(1000, cells, np.empty(0, np.uint64)), monitoring)
            alarms, windows = alarms + any(f.p <= limit for f in found), windows + 1
    assert stats.binomtest(alarms, windows, allowed, "greater").pvalue > 0.005
    assert alarms > 0  # it is a threshold, and not out of reach


@pytest.mark.parametrize(("index", "close"), [(1.0, 2.0), (0.8, 3.0)])
def test_the_tail_is_continued_to_where_the_simulation_does_not_reach(index, close):
    """p-values with P(p ≤ t) = t^index, 100 a pass: E(t) = 100 t^index is known."""
    found = []
    for seed in range(20):
        p = np.random.default_rng(seed).random(100 * 1000) ** (1 / index)
        found.append(100 * budget.threshold(budget.tail(p, 1000), 3e-4) ** index)
    assert 3e-4 / close < np.median(found) <= 3e-4
    assert np.mean(np.array(found) > 3e-4) <= 0.25


def test_p_values_that_are_too_large_do_not_loosen_the_threshold():
    p = np.random.default_rng(1).random(100_000) ** 0.5  # P(p ≤ t) = t²: the tail is thinner than they say
    assert budget.tail(p, 1000).index == 1.0


def test_the_simulation_is_kept_and_serves_any_budget(known, tmp_path, monkeypatch):
    first = budget.thresholds(known, 1000, MONTHLY, tmp_path)
    monkeypatch.setattr(budget, "simulated", lambda *given: pytest.fail("simulated again"))
    assert budget.thresholds(known, 1010, MONTHLY, tmp_path) == first
    assert budget.thresholds(known, 1000, Monitoring(false_alarms="1 per day"), tmp_path).drift > first.drift
    with pytest.raises(pytest.fail.Exception):
        budget.thresholds(known, 2000, MONTHLY, tmp_path)  # other rows
    with pytest.raises(pytest.fail.Exception):
        budget.thresholds(replace(known, key="sha256:other"), 1000, MONTHLY, tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', '{"format": 1, "tails": [{}]}'])
def test_a_damaged_file_is_made_anew(known, tmp_path, content):
    first = budget.thresholds(known, 1000, MONTHLY, tmp_path)
    (path,) = (tmp_path / "null").iterdir()
    path.write_text(content)
    assert budget.thresholds(known, 1000, MONTHLY, tmp_path) == first
    assert json.loads(path.read_text())["format"] == 1


def test_the_same_reference_has_the_same_threshold(known):
    assert budget.thresholds(known, 1000, MONTHLY) == budget.thresholds(known, 1000, MONTHLY)


@pytest.mark.parametrize("rows", [0, 1, 100_000_000])
def test_any_number_of_rows(known, rows):
    assert 0 < budget.thresholds(known, rows, MONTHLY).drift < 1e-3


def test_a_reference_without_signals(known):
    assert budget.thresholds(replace(known, signals=()), 1000, MONTHLY).drift <= 1
