"""Sketches of rows: about how many differ, whatever the order and however they are put together."""

from __future__ import annotations

import numpy as np
import pytest

from keepfit.features.rows import coded
from keepfit.features.values import Coded, Documents
from keepfit.monitoring import sketch


@pytest.mark.parametrize("different", [1, 1000, 5000, 200_000])
@pytest.mark.parametrize("scale", [1.0, 1 / 3, 1e-300])
def test_about_as_many_differ_as_do(different, scale):
    values = np.random.default_rng(1).integers(0, different, 400_000) * scale
    found = sketch.smallest(sketch.hashed({"a": values}, len(values)))
    assert sketch.distinct(found) == pytest.approx(len(np.unique(values)), rel=0 if different <= 1000 else 0.1)


def test_parts_together_are_the_sketch_of_all():
    hashed = sketch.hashed({"a": np.arange(50_000) % 30_000 / 7}, 50_000)
    parts = np.array_split(np.random.default_rng(2).permutation(hashed), 40)
    merged = sketch.smallest(parts[0])
    for part in parts[1:]:
        merged = sketch.smallest(sketch.smallest(part), merged)
    np.testing.assert_array_equal(merged, np.unique(hashed)[: sketch.SIZE])
    np.testing.assert_array_equal(sketch.unpacked(sketch.packed(merged)), merged)


def test_many_repeats_in_one_part():
    hashed = sketch.hashed({"a": np.r_[np.zeros(90_000), np.arange(3000.0)]}, 93_000)
    np.testing.assert_array_equal(sketch.smallest(hashed), np.unique(hashed)[: sketch.SIZE])


def test_a_row_is_all_its_values_in_their_columns():
    def rows(a, plan, note):
        return sketch.hashed({"a": np.array(a), "plan": coded(plan), "note": Documents(note)}, len(a))

    found = rows(
        [1.0, 1.0, 1.0, 2.0, np.nan, 1.0], ["x", "x", "y", "x", "x", None], ["a b", "A b", "a b", "a b", "a b", "b a"]
    )
    assert found[0] == found[1]
    assert len(set(found.tolist())) == 5
    recoded = {"a": np.array([1.0]), "plan": Coded(np.array([1], np.int32), ["z", "x"]), "note": Documents(["a b"])}
    assert sketch.hashed(recoded, 1)[0] == found[0]
    assert rows([0.0], ["x"], [None])[0] == rows([-0.0], ["x"], [""])[0]
