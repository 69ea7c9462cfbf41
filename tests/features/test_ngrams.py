"""Keys too large for the packed sort take the other way to the same answer."""

from __future__ import annotations

import numpy as np

from keepfit.features import ngrams


def test_large_keys_are_ordered_too():
    keys = np.array([2**61, 5, 2**61, 7, 5])
    places = np.array([1, 4, 2**10, 2**11, 2**12])
    found, at = ngrams.ordered(keys, places)
    assert found.tolist() == [5, 5, 7, 2**61, 2**61]
    assert at.tolist() == [4, 2**12, 2**11, 1, 2**10]


def test_both_orders_agree():
    rng = np.random.default_rng(0)
    keys, places = rng.integers(0, 50, 1000), np.arange(1000)
    packed = ngrams.ordered(keys, places)
    sorted_by_key = ngrams.ordered(keys + 2**61, places)
    np.testing.assert_array_equal(packed[0], sorted_by_key[0] - 2**61)
    np.testing.assert_array_equal(packed[1], sorted_by_key[1])


def test_a_long_look_up_agrees_with_a_short_one():
    rng = np.random.default_rng(1)
    known = np.unique(rng.integers(0, 20_000, 5000))
    keys, places = rng.integers(0, 21_000, 9000), np.arange(9000)
    whole = ngrams.look_up(known, keys, places, 9000)
    parts = [ngrams.look_up(known, keys[i : i + 90], np.arange(90), 90) for i in range(0, 9000, 90)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert set(known[whole[whole >= 0]]) == set(known) & set(keys)
