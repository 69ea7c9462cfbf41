"""Drift: the column that changed is found and named, and what is only the reference's luck is not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from keepfit.features.values import Coded
from keepfit.monitoring import drift, signals
from keepfit.monitoring.counts import Counts
from keepfit.monitoring.reference import Reference
from keepfit.sections import Monitoring

MONITORING = Monitoring()


def categories(codes, size):
    return Coded(np.asarray(codes, np.int32), [f"level {i}" for i in range(size)])


def population(rows, random, shift=0.0, share=0.2):
    codes = np.where(random.random(rows) < share, 0, random.integers(1, 4, rows))
    return {
        "age": random.normal(size=rows) + shift,
        "amount": random.lognormal(size=rows),
        "plan": categories(codes, 4),
    }


def learned(values, rows):
    made = tuple(signals.learn(name, name, "", column) for name, column in values.items())
    return Reference(rows, made, {}, None, np.empty(0, np.uint64))


def counted(reference, values):
    known = [signal for signal in reference.signals if signal.name in values]
    cells = {s.name: np.bincount(signals.place(s, values[s.name]), minlength=len(s.counts)) for s in known}
    return Counts(max((int(c.sum()) for c in cells.values()), default=0), cells, np.empty(0, np.uint64))


@pytest.fixture(scope="module")
def known():
    return learned(population(5000, np.random.default_rng(0)), 5000)


@pytest.mark.parametrize(
    ("change", "subject", "test"), [({"shift": 0.25}, "age", "ranks"), ({"share": 0.27}, "plan", "cell")]
)
def test_the_column_that_changed_is_named_and_no_other(known, change, subject, test):
    counts = counted(known, population(3000, np.random.default_rng(1), **change))
    found = {finding.subject: finding for finding in drift.findings(known, counts, MONITORING)}
    assert [name for name, finding in found.items() if finding.p < 1e-6] == [subject]
    assert found[subject].rows == 3000
    assert found[subject].test == "PSI"  # by whichever test: an alarm keeps its name
    assert found[subject].detail.startswith((f"by {test};", "by chi-square;"))
    assert found[subject].effect == found[subject].value > MONITORING.smallest


def test_a_surge_of_missing_values_is_told_by_its_cell(known):
    values = population(1000, np.random.default_rng(2))
    values["amount"] = np.where(np.arange(1000) < 40, np.nan, values["amount"])
    found = next(f for f in drift.findings(known, counted(known, values), MONITORING) if f.subject == "amount")
    assert found.p < 1e-20
    assert found.detail.startswith("by cell; ")
    assert found.detail.endswith("most moved: missing, 0.0% → 4.0%")


def test_no_rows_and_unknown_columns_are_no_drift(known):
    nothing = counted(known, population(0, np.random.default_rng(3)))
    assert {finding.p for finding in drift.findings(known, nothing, MONITORING)} == {1.0}
    some = population(500, np.random.default_rng(3))
    del some["age"]  # redacted in the log
    assert [f.subject for f in drift.findings(known, counted(known, some), MONITORING)] == ["amount", "plan"]


def test_what_follows_the_calendar_is_not_asked(known):
    calendar = replace(known, signals=(replace(known.signals[0], steady=False), *known.signals[1:]))
    counts = counted(calendar, population(1000, np.random.default_rng(4), shift=3))
    assert [f.subject for f in drift.findings(calendar, counts, MONITORING)] == ["amount", "plan"]
    row = next(r for r in drift.ranked(calendar, counts, 1e-6, 0.005) if r["name"] == "age")
    assert (row["outcome"], row["p"] < 1e-100) == ("not checked", True)


@pytest.mark.parametrize("size", [60, 1000, 20_000])
def test_levels_listed_by_luck_raise_no_alarm(size):
    random = np.random.default_rng(size)
    p = []
    for _ in range(30):
        reference = learned({"zip": categories(random.integers(0, size, 5000), size)}, 5000)
        counts = counted(reference, {"zip": categories(random.integers(0, size, 5000), size)})
        p.append(drift.findings(reference, counts, MONITORING)[0].p)
    assert min(p) > 1e-4
    naive = drift.smallest(  # the same cells told apart: the test above can fail
        drift.two_sample.layout([len(counts.cells["zip"])], [False]),
        reference.signals[0].counts,
        counts.cells["zip"],
    )
    assert naive[0] < 1e-6 or size == 60


def test_bins_of_few_training_rows_are_compared_with_their_neighbours():
    assert drift._bins(np.array([0, 1, 6, 7, 8, 30, 5, 1])).tolist() == [0, 1, 2, 2, 2, 3, 4, 5]


def test_what_moved_the_predictions_is_the_shift_times_what_it_is_worth():
    signal = signals.learn("x", "x", "", np.repeat([0.0, 1.0], 50))
    signal = replace(signal, moves=np.array([0, 0, -0.3, 0.3, 0.0]))
    assert drift.moved(signal, np.array([0, 0, 10, 30, 0])) == pytest.approx(0.25 * 0.3 + 0.25 * 0.3)
    assert drift.moved(signal, np.zeros(5, np.int64)) == 0


def test_columns_are_ranked_by_what_they_moved_among_those_that_drifted(known):
    worth = [
        replace(s, moves=np.linspace(-1, 1, len(s.counts)) * w) for s, w in zip(known.signals, (1, 9, 2), strict=True)
    ]
    reference = replace(known, signals=tuple(worth))
    values = population(3000, np.random.default_rng(5), shift=0.5, share=0.3)
    rows = drift.ranked(reference, counted(reference, values), 1e-6, 0.005, 50)
    assert rows[2]["name"] == "amount"  # the dearest, but it did not change
    assert [row["outcome"] for row in rows] == ["failed", "failed", "passed"]
    assert abs(rows[0]["moved"]) >= abs(rows[1]["moved"])
    keys = {"name", "column", "kind", "psi", "js", "ks", "p", "moved", "missing", "unseen", "outside", "outcome"}
    assert keys < rows[0].keys()
    assert len(rows[0]["cells"]) == len(rows[0]["reference"]) == len(rows[0]["now"])
    few = drift.ranked(reference, counted(reference, population(20, np.random.default_rng(5))), 1.0, 0.0, 50)
    assert {row["outcome"] for row in few} == {"not checked"}


def test_shares_of_what_training_did_not_know(known):
    values = {"age": np.array([np.nan, -99.0, 99.0, 0.0]), "plan": categories([9, 0, -1, 1], 10)}
    rows = {row["name"]: row for row in drift.ranked(known, counted(known, values), 1e-6, 0.005)}
    assert [rows["age"][key] for key in ("missing", "unseen", "outside")] == [0.25, 0.0, 0.5]
    assert [rows["plan"][key] for key in ("missing", "unseen", "outside")] == [0.25, 0.25, 0.0]


def test_a_reference_without_signals():
    empty = learned({}, 0)
    counts = SimpleNamespace(cells={}, rows=0)
    assert drift.findings(empty, counts, MONITORING) == []
    assert drift.ranked(empty, counts, 1e-6, 0.005) == []
