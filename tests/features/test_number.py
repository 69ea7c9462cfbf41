"""Numbers against scikit-learn's own steps, and at the ends of the scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from keepfit.features import number

ANY = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(allow_nan=True, allow_infinity=True))


def fit(values, **options):
    return number.fit(values, None, {**number.DEFAULTS, **options}, 0)


def test_impute_scale_and_flag_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    a, b = rng.normal(5, 3, 200), rng.lognormal(2, 1, 200)
    a[::7] = np.nan
    state, found = fit({"a": a, "b": b}, impute="median", scale=True, flag=True)
    filled = SimpleImputer(strategy="median").fit_transform(np.column_stack([a, b]))
    np.testing.assert_allclose(found[:, :2], StandardScaler().fit_transform(filled), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[:, 2], np.isnan(a))
    assert number.names(state) == ["a", "b", "a is missing"]
    assert found.dtype == np.float32


def test_for_trees_numbers_pass_and_missing_is_nan():
    _, found = fit({"a": np.array([1.5, np.nan, -3])})
    np.testing.assert_array_equal(found[:, 0], np.array([1.5, np.nan, -3], np.float32))


def test_ramps_are_the_share_of_each_bin_that_is_passed():
    values = np.arange(0.0, 9.0)
    state, found = fit({"a": values}, bins=2, linear=False)
    assert number.names(state) == ["a[0, 4]", "a[4, 8]"]
    np.testing.assert_allclose(found[[0, 1, 4, 6, 8]], [[0, 0], [0.25, 0], [1, 0], [1, 0.5], [1, 1]])
    transform = number.compiled(state)
    np.testing.assert_array_equal(transform({"a": np.array([-1e300, 1e300, np.inf])}), [[0, 0], [1, 1], [1, 1]])


def test_a_frequent_value_takes_one_bin_only():
    values = np.r_[np.zeros(900), np.arange(1, 101)]
    assert len(number.knots(values, 10)) >= 9


def test_a_column_with_no_bins_stays_as_it_is_beside_one_that_has():
    state, found = fit({"same": np.ones(20), "a": np.arange(20.0)}, bins=4, linear=False, impute="median")
    assert number.names(state)[0] == "same"
    assert found.shape[1] == 5


def test_bins_follow_the_number_of_rows():
    for rows, bins in ((10, 3), (2500, 10), (100_000, 32)):
        state, _ = fit({"a": np.arange(float(rows))}, bins="auto", linear=False)
        assert state["width"] == bins


@given(ANY, ANY)
def test_any_float_gives_finite_features(known, new):
    state, _ = fit({"a": known}, impute="median", scale=True, flag=True, bins=4)
    found = number.compiled(state)({"a": new})
    assert np.isfinite(found).all()
    assert found.shape == (len(new), len(number.names(state)))


@given(ANY, ANY)
def test_for_trees_only_missing_is_not_finite(known, new):
    state, _ = fit({"a": known})
    found = number.compiled(state)({"a": new})[:, 0]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(new))
    assert np.isfinite(found[~np.isnan(new)]).all()


@given(ANY)
def test_a_row_alone_has_the_values_it_has_among_others(values):
    other = values[::-1].copy()
    state, found = fit({"a": values, "b": other}, impute="mean", scale=True, flag=True, bins=3)
    transform = number.compiled(state)
    for i in range(len(values)):
        np.testing.assert_array_equal(transform({"a": values[i : i + 1], "b": other[i : i + 1]})[0], found[i])


def test_a_column_without_any_value():
    _, found = fit({"a": np.full(3, np.nan)}, impute="median", scale=True, flag=True, bins=4)
    np.testing.assert_array_equal(found, [[0, 1]] * 3)


def test_no_rows():
    _, found = fit({"a": np.empty(0)}, impute="median", scale=True, bins="auto")
    assert found.shape == (0, 1)


@pytest.mark.parametrize("large", [1e37, -1e37, 1e-100])
def test_scales_far_from_one(large):
    _, found = fit({"a": np.array([0.0, large, 2 * large])}, impute="median", scale=True)
    np.testing.assert_allclose(np.abs(found[:, 0]), np.sqrt([1.5, 0, 1.5]), rtol=1e-6, atol=1e-6)


def test_what_float32_cannot_hold_is_clipped():
    _, found = fit({"a": np.array([1e300, -np.inf, 2.0])})
    largest = np.finfo(np.float32).max
    assert found[:, 0].tolist() == [largest, -largest, 2.0]
