"""Signals: which cell a value is in, and counts that say what a new row does."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keepfit.features.known import MOST
from keepfit.features.rows import coded
from keepfit.features.values import Coded
from keepfit.monitoring import signals

ANY = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-3, 3).map(float)


def learned(values, name="x"):
    return signals.learn(name, name, "", np.asarray(values, np.float64) if not isinstance(values, Coded) else values)


@given(arrays.arrays(np.float64, st.integers(0, 200), elements=ANY))
def test_each_row_is_in_one_cell_of_its_own_value(values):
    signal = learned(values)
    assert signal.counts.sum() == len(values)
    assert (signal.counts >= 0).all()
    assert len(signal.cells) == len(signal.counts) == len(signal.moves) == len(signal.edges) + 2
    assert (np.diff(signal.edges) > 0).all()
    cells = signals.place(signal, values)
    assert ((cells == 0) == np.isnan(values)).all()
    finite = np.abs(values) < np.finfo(np.float64).max
    assert ((cells >= 2) & (cells < len(signal.cells) - 1))[finite].all()
    bins = cells[finite] - 2
    assert (signal.edges[bins] <= values[finite]).all()
    assert (values[finite] < signal.edges[bins + 1]).all()


def test_bins_are_quantiles_and_none_is_empty():
    values = np.random.default_rng(0).normal(size=20_000)
    signal = learned(values)
    assert len(signal.cells) == signals.BINS + 3
    inside = signal.counts[2:-1]
    assert inside.min() > 0.9 * len(values) / signals.BINS
    assert signal.counts[[0, 1, -1]].tolist() == [0, 1, 1]  # the smallest and the largest are outside of the others


def test_a_value_of_many_rows_has_a_bin_of_its_own():
    signal = learned(np.r_[np.zeros(9000), np.random.default_rng(0).exponential(1000, 1000), np.full(2000, 40.5)])
    cells = dict(zip(signal.cells, signal.counts.tolist(), strict=True))
    assert (cells["0"], cells["40.5"]) == (9000, 2000)
    zero, heavy = signal.cells.index("0"), signal.cells.index("40.5")
    assert signals.place(signal, np.array([0.0, 1e-300, 40.5, 40.6])).tolist() == [zero, zero + 1, heavy, heavy + 1]


@pytest.mark.parametrize("values", [[2.0] * 7, [0.0, 0.0, 1.0], [5e-324, 0.0], [1e308, -1e308], [2.0**53, 2.0**53 + 2]])
def test_few_values_have_a_bin_each(values):
    signal = learned(values)
    assert len(signal.edges) - 1 == len(set(values))
    assert learned(values).counts.sum() == len(values)


def test_a_column_without_values_notices_the_first_one():
    signal = learned([np.nan, np.inf])
    assert signal.counts.tolist() == [1, 0, 0, 1]
    assert set(signals.place(signal, np.array([-1.0, 0.0, 1.0]))) == {1, 2, 3}


def test_new_rows_fall_outside_as_often_as_the_counts_say():
    """Counted in the ordinary way, training has nothing outside its range, and any new extreme is a surprise."""
    draw, said, seen = np.random.default_rng(7), 0, 0
    for _ in range(300):
        signal = learned(draw.normal(size=50))
        said += int(signal.counts[1] + signal.counts[-1])
        seen += int(np.isin(signals.place(signal, draw.normal(size=50)), [1, len(signal.cells) - 1]).sum())
    assert seen / said == pytest.approx(1, rel=0.25)


def test_new_levels_come_as_often_as_the_counts_say():
    draw = np.random.default_rng(7)
    share = 1 / np.arange(1, 2001)
    rows = lambda n: coded([f"town {i}" for i in draw.choice(2000, n, p=share / share.sum())])
    signal = learned(rows(3000))
    live = np.bincount(signals.place(signal, rows(30_000)), minlength=len(signal.cells)) / 10
    assert live[-1] == pytest.approx(signal.counts[-1], rel=0.1)
    assert live[-2] == pytest.approx(signal.counts[-2], rel=0.1)
    assert signal.counts[-1] > 100


def test_levels_are_the_most_frequent_and_the_others_are_rare_or_unseen():
    signal = learned(coded(["a"] * 3 + [f"level {i:02}" for i in range(60) for _ in "xy"] + ["once", None]))
    assert signal.levels[:2] == ("a", "level 00")
    assert len(signal.levels) == signals.LEVELS
    assert signal.cells[0] == "missing"
    assert signal.cells[-2:] == ("rare", "unseen")
    assert signal.counts[[0, 1, -2, -1]].tolist() == [1, 3, 22, 1]
    found = signals.place(signal, coded(["level 59", "once", "new", None, "a"]))
    assert [signal.cells[cell] for cell in found] == ["rare", "rare", "unseen", "missing", "a"]


def test_so_many_levels_are_remembered_and_no_more():
    signal = learned(coded([f"{i}" for i in range(2 * MOST)]))
    assert signal.rare is not None and len(signal.rare) == MOST  # noqa: PT018 - for the type checker
    assert signal.counts.sum() == 2 * MOST
    assert signal.counts[-1] == 2 * MOST


@pytest.mark.parametrize(
    "values", [np.r_[np.zeros(50), np.arange(500) / 7, np.nan], coded([*"abbcc", None, *map(str, range(99))])]
)
def test_json_keeps_a_signal(values):
    signal = learned(values, "a: b")
    again = signals.read(json.loads(json.dumps(signals.plain(signal))))
    assert again.cells == signal.cells
    assert (again.counts == signal.counts).all()
    assert (signals.place(again, values) == signals.place(signal, values)).all()


def test_labels_say_what_is_in_a_cell():
    assert learned([0, 0, 1, 1]).cells == ("missing", "below 0", "0", "1", "above 1")
    wide = learned(np.r_[np.zeros(500), np.arange(1, 501)])
    assert wide.cells[:4] == ("missing", "below 0", "0", "0 to 34")
    assert wide.cells[-1] == "above 500"
