"""Data quality: what broke is named, what is only traffic is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keepfit.features.values import Coded
from keepfit.monitoring import findings, quality, signals, sketch
from keepfit.monitoring.budget import Thresholds
from keepfit.monitoring.counts import Counts
from keepfit.monitoring.quality import Past
from keepfit.monitoring.reference import Reference
from keepfit.sections import Monitoring

MONITORING = Monitoring()
LIMITS = Thresholds(1 / 2629746, 3600, 0.0014, 1000, 50, 1e-6, 3e-4, {})
LEVELS = [f"level {i}" for i in range(3000)]


def drawn(rows, random, missing=0.02):
    return {
        "age": np.where(random.random(rows) < missing, np.nan, random.normal(size=rows)),
        "plan": Coded(random.integers(0, 4, rows).astype(np.int32), LEVELS[:6]),
        "zip": Coded(np.minimum(random.zipf(1.3, rows) - 1, 2999).astype(np.int32), LEVELS),
    }


def hashes(values, rows):
    return sketch.smallest(sketch.hashed(values, rows))


def learned(values, rows):
    made = tuple(signals.learn(name, name, "", column) for name, column in values.items())
    return Reference(rows, made, {}, None, hashes(values, rows))


def counted(reference, values, rows, last=None):
    cells = {s.name: np.bincount(signals.place(s, values[s.name]), minlength=len(s.counts)) for s in reference.signals}
    return Counts(rows, cells, hashes(values, rows), None, last)


@pytest.fixture(scope="module")
def known():
    return learned(drawn(5000, np.random.default_rng(0)), 5000)


def failed(reference, values, rows, **more):
    verdict = findings.verdict(
        "quality", quality.findings(reference, counted(reference, values, rows), MONITORING, **more), LIMITS
    )
    return [check.name for check in verdict.failures + verdict.warnings]


def test_sound_windows_pass(known):
    random = np.random.default_rng(1)
    for rows in (200, 1000, 20_000):  # a long window goes beyond the range, and has levels that are new
        assert failed(known, drawn(rows, random), rows) == []


@pytest.mark.parametrize(
    ("column", "change", "name"),
    [
        ("age", lambda v: np.where(np.arange(1000) % 25 == 0, np.nan, v), "age: missing"),
        ("age", lambda v: v * 100, "age: above the range"),
        ("age", lambda v: np.where(np.arange(1000) < 20, -999, v), "age: below the range"),
        ("plan", lambda v: Coded(np.where(np.arange(1000) < 10, 5, v.codes), LEVELS[:6]), "plan: unseen levels"),
        ("plan", lambda v: Coded(np.where(np.arange(1000) < 10, -1, v.codes), LEVELS[:6]), "plan: missing"),
    ],
)
def test_what_broke_is_named(known, column, change, name):
    values = drawn(1000, np.random.default_rng(2))
    values[column] = change(values[column])
    assert name in failed(known, values, 1000)
    assert all(other.startswith(f"{column}: ") for other in failed(known, values, 1000))


def test_a_surplus_that_is_no_matter_passes(known):
    values = drawn(200_000, np.random.default_rng(3), missing=0.024)  # sure, and small
    found = {f"{f.subject}: {f.test}": f for f in quality.findings(known, counted(known, values, 200_000), MONITORING)}
    assert found["age: missing"].effect < MONITORING.smallest
    assert "age: missing" not in failed(known, values, 200_000)


@pytest.mark.parametrize(("rows", "known_rows"), [(1000, 5000), (5000, 5000), (20_000, 2000)])
def test_levels_not_seen_yet_are_expected_as_often_as_training_tells(rows, known_rows):
    random, p = np.random.default_rng(4), []
    for _ in range(40):
        zips = drawn(known_rows, random)["zip"], drawn(rows, random)["zip"]
        reference = learned({"zip": zips[0]}, known_rows)
        found = quality.findings(reference, counted(reference, {"zip": zips[1]}, rows), MONITORING)
        p += [f.p for f in found if f.test == "unseen levels"]
    assert len(p) == 40
    assert min(p) > 1e-4
    assert sum(x < 0.05 for x in p) <= 6


def test_columns_without_an_own_signal_are_asked_once(known):
    text = (replace(known.signals[0], name="note: length", column="note", part="length"),)
    text += (replace(known.signals[0], name="note: digits", column="note", part="digits"),)
    reference = replace(known, signals=text)
    counts = Counts(9, {s.name: np.zeros(len(s.counts), np.int64) for s in text}, np.empty(0, np.uint64))
    asked = [(f.subject, f.test) for f in quality.findings(reference, counts, MONITORING) if f.p is not None]
    assert asked == [("note", "missing"), ("rows", "repeated"), ("requests", "refused")]


@pytest.mark.parametrize("rows", [300, 6000])  # exact, and estimated from the sketches
def test_rows_that_come_twice_are_told(known, rows):
    values = drawn(rows, np.random.default_rng(5))
    twice = {name: column[np.arange(rows) // 2] for name, column in values.items()}
    assert "rows: repeated" in failed(known, twice, rows)
    assert "rows: repeated" not in failed(known, values, rows)


@pytest.mark.parametrize(("rows", "known_rows"), [(500, 800), (3000, 800), (3000, 50_000), (50_000, 3000)])
def test_repeats_by_chance_are_no_fault(rows, known_rows):
    """Rows of few possible values: how many repeat depends on how many there are."""
    random, p = np.random.default_rng(6), []
    for _ in range(40):
        old, new = (hashes({"x": random.integers(0, 100_000, n).astype(float)}, n) for n in (known_rows, rows))
        p.append(quality.repeats(old, known_rows, new, rows)[0])
    assert min(p) > 1e-3


def test_refused_rows_against_those_of_before(known):
    values = drawn(1000, np.random.default_rng(7))
    assert failed(known, values, 1000, refused={"age": 3}) == []
    assert failed(known, values, 1000, refused={"age": 80, "plan": 20}) == ["requests: refused"]
    usual = [Past(1000, 100)] * 5
    assert failed(known, values, 1000, refused={"age": 100}, earlier=usual) == []
    found = quality.findings(known, counted(known, values, 1000), MONITORING, {"age": 80, "plan": 20}, usual)
    assert any("100 of 1,100 rows refused; age: 80; plan: 20" in finding.detail for finding in found)
    [told] = quality._refused(1000, {"": 2}, [])
    assert told.detail == "2 of 1,002 rows refused; not an object: 2"


@pytest.mark.parametrize(
    ("earlier", "outcome"),
    [([1000, 1100, 900, 1050, 950], "passed"), ([9000, 9100, 8900, 9050, 8950], "failed"), ([9000] * 4, "not checked")],
)
def test_volume_against_what_is_usual(known, earlier, outcome):
    values = drawn(1000, np.random.default_rng(8))
    found = quality.findings(known, counted(known, values, 1000), MONITORING, earlier=[Past(rows) for rows in earlier])
    check = next(f for f in found if f.subject == "volume").check(1e-6)
    assert (check.outcome, check.severity) == (outcome, "warning")


def test_an_empty_window_is_not_checked_but_its_volume_is(known):
    nothing = drawn(0, np.random.default_rng(9))
    found = quality.findings(known, counted(known, nothing, 0), MONITORING, earlier=[Past(1000)] * 6, now=0.0)
    verdict = findings.verdict("quality", found, LIMITS)
    assert [check.name for check in verdict.checks if check.outcome == "failed"] == ["volume: rows"]
    assert {check.outcome for check in verdict.checks} == {"failed", "not checked"}


@pytest.mark.parametrize(
    ("age", "rows", "outcome"), [(600, 1000, "passed"), (7300, 1000, "failed"), (7300, 24, "passed")]
)
def test_the_newest_row_may_be_as_old_as_traffic_lets_expect(known, age, rows, outcome):
    values = drawn(rows, np.random.default_rng(10))
    found = quality.findings(known, counted(known, values, rows, last=1e9), MONITORING, now=1e9 + age)
    assert next(f for f in found if f.subject == "newest row").check(1.0).outcome == outcome
