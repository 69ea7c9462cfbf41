"""Compressed rows against scipy's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse as scipy

from keepfit.features import sparse
from keepfit.features.values import Sparse


def some(seed, rows, width, share):
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 9, (rows, width)) * (rng.random((rows, width)) < share)).astype(np.float32)


def dense(block: Sparse):
    return scipy.csr_matrix((block.data, block.indices, block.indptr), (sparse.rows(block), block.width)).toarray()


@given(st.integers(0, 9), st.integers(0, 6), st.lists(st.integers(0, 5), min_size=1, max_size=4), st.floats(0, 1))
def test_blocks_side_by_side(seed, rows, widths, share):
    blocks = [some(seed + i, rows, width, share) for i, width in enumerate(widths)]
    expected = np.hstack(blocks)
    np.testing.assert_array_equal(sparse.join(blocks), expected)
    mixed = [sparse.compress(b) if i % 2 == 0 else b for i, b in enumerate(blocks)]
    joined = sparse.join(mixed)
    assert isinstance(joined, Sparse)
    assert sparse.width(joined) == expected.shape[1]
    np.testing.assert_array_equal(dense(joined), expected)


@given(st.integers(0, 9), st.integers(0, 6), st.integers(1, 5), st.integers(1, 3), st.floats(0, 1))
def test_products(seed, rows, width, size, share):
    block, components = some(seed, rows, width, share), some(seed + 1, size, width, 0.9)
    np.testing.assert_allclose(sparse.dense_product(sparse.compress(block), components), block @ components.T)


def test_products_in_slices(monkeypatch):
    block, components = some(0, 50, 20, 0.3), some(1, 4, 20, 1.0)
    block[10] = 1  # one row alone is longer than a slice
    monkeypatch.setattr(sparse, "CELLS", 40)
    np.testing.assert_allclose(sparse.dense_product(sparse.compress(block), components), block @ components.T)


@given(st.integers(0, 9), st.sets(st.integers(0, 5)))
def test_taking_columns(seed, keep):
    block = some(seed, 4, 6, 0.5)
    places = np.array(sorted(keep), np.int64)
    taken = sparse.take(sparse.compress(block), places)
    np.testing.assert_array_equal(dense(taken), block[:, places])


def test_missing_numbers_beside_a_text_stay_missing():
    joined = sparse.join([np.array([[np.nan]], np.float32), sparse.compress(np.ones((1, 1), np.float32))])
    assert np.isnan(joined.data[0])
