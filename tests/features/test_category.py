"""Categories as 0/1, codes and target means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit.errors import ConfigError, ModelError
from keepfit.features import category
from keepfit.features.rows import coded
from keepfit.features.values import Coded

LEVELS = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c", "é", ""])), min_size=1, max_size=30)


def fit(columns, target=None, **options):
    return category.fit(columns, target, {**category.DEFAULTS, **options}, 0)


def test_one_feature_a_level_and_one_for_the_rare_and_the_missing():
    column = coded(["a"] * 5 + ["b"] * 3 + ["c", "d", None])
    state, found = fit({"x": column}, min_count=2)
    assert category.names(state) == ["x=a", "x=b", "x=(rare)", "x=(missing)"]
    assert found.sum(axis=0).tolist() == [5, 3, 2, 1]
    assert (found.sum(axis=1) == 1).all()
    new = category.compiled(state)({"x": coded(["b", "never", None])})
    assert new.tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_unseen_and_missing_are_nothing_where_training_had_none():
    state, _ = fit({"x": coded(["a", "b"])})
    transform = category.compiled(state)
    assert transform({"x": coded(["never", None, "b"])}).tolist() == [[0, 0], [0, 0], [0, 1]]
    assert transform({"x": coded([None])}).tolist() == [[0, 0]]
    assert transform({"x": coded(["never"])}).tolist() == [[0, 0]]


def test_max_levels_keeps_the_most_frequent():
    state, _ = fit({"x": coded(["a", "b", "b", "c", "c"])}, max_levels=2)
    assert category.names(state) == ["x=b", "x=c", "x=(rare)"]


def test_codes_are_places_by_frequency_and_say_so():
    state, found = fit({"x": coded(["b", "a", "a", None])}, encode="codes")
    np.testing.assert_array_equal(found[:, 0], np.array([1, 0, 0, np.nan], np.float32))
    assert state["categorical"] == [[0, 2]]
    np.testing.assert_array_equal(category.compiled(state)({"x": coded(["never"])}), [[np.nan]])


def test_levels_of_other_rows_are_not_learned():
    column = Coded(np.array([0, 0, 1], np.int32), ["here", "elsewhere"])
    state, _ = fit({"x": column[np.array([0, 1])]})
    assert category.names(state) == ["x=here"]


@pytest.mark.parametrize("encode", ["onehot", "codes", "target"])
@given(LEVELS, LEVELS)
def test_a_row_alone_has_the_values_it_has_among_others(encode, known, new):
    target = np.arange(len(known), dtype=np.float64)[:, None]
    two = {"x": coded(known), "y": coded(known[::-1])}
    state, found = fit(two, target, encode=encode, min_count=2, max_levels=3)
    transform = category.compiled(state)
    together = transform({"x": coded(new), "y": coded(new[::-1])})
    assert together.shape[1] == found.shape[1] == state["width"] == len(category.names(state))
    for i, (x, y) in enumerate(zip(new, new[::-1], strict=True)):
        np.testing.assert_array_equal(transform({"x": coded([x]), "y": coded([y])})[0], together[i])


def test_target_means_are_smoothed():
    target = np.array([[1.0], [1], [0], [0], [0], [0]])
    state, _ = fit({"x": coded(["a", "a", "b", "b", "b", None])}, target, encode="target", smooth=2)
    prior = 1 / 3
    found = category.compiled(state)({"x": coded(["a", "b", None, "never"])})[:, 0]
    np.testing.assert_allclose(found, [(2 + 2 * prior) / 4, 2 * prior / 5, 2 * prior / 3, prior], rtol=1e-6)


def test_a_row_never_sees_its_own_answer():
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 2, 3000).astype(np.float64)
    ids = coded([f"id {i // 2}" for i in range(3000)])  # two rows each: useless, but means give the answer away
    state, crossed = fit({"x": ids}, answers[:, None], encode="target", smooth=1)
    leaking = category.compiled(state)({"x": ids})[:, 0]
    assert np.corrcoef(leaking, answers)[0, 1] > 0.6
    assert abs(np.corrcoef(crossed[:, 0], answers)[0, 1]) < 0.1


def test_target_means_of_three_classes():
    target = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    state, found = fit({"x": coded(["a", "b", "c"] * 2)}, target, encode="target")
    assert found.shape == (6, 3)
    assert category.names(state) == ["x: target 0", "x: target 1", "x: target 2"]


def test_target_means_without_a_target():
    with pytest.raises(ModelError, match="needs a target"):
        fit({"x": coded(["a"])}, None, encode="target")


def test_an_unknown_encoding_suggests_a_known_one():
    with pytest.raises(
        ConfigError, match=r"unknown name 'one_hot'. Did you mean 'onehot'\? Known: codes, onehot, target"
    ):
        fit({"x": coded(["a"])}, encode="one_hot")
