import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepfit.features import lookup


def found(table, known, keys):
    """Places of keys, -1 where they are not there."""
    at = lookup.candidates(table, keys.view(np.uint64))
    return np.where(known.take(at, mode="clip") == keys, at.astype(np.int64), -1).tolist()


@given(known=st.sets(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1), asked=st.lists(st.integers(-5, 5)))
def test_each_key_is_found_where_it_is_and_no_other(known, asked):
    keys = np.array(sorted(known), np.int64)
    table = lookup.build(keys.view(np.uint64))
    assert found(table, keys, keys) == list(range(len(keys)))
    place = {key: at for at, key in enumerate(keys.tolist())}
    assert found(table, keys, np.array(asked, np.int64)) == [place.get(key, -1) for key in asked]


@pytest.mark.parametrize("spacing", [1, 44_837, 1 << 20])
def test_large_regular_sets(spacing):
    keys = np.arange(100_000) * spacing
    table = lookup.build(keys.view(np.uint64))
    assert found(table, keys, keys) == list(range(len(keys)))
    assert set(found(table, keys, keys + keys[-1] + 1)) == {-1}
    assert table.slots.nbytes + table.functions.nbytes < 13 * len(keys)


def test_an_empty_set():
    table = lookup.build(np.empty(0, np.uint64))
    assert len(lookup.candidates(table, np.array([1, 2], np.uint64))) == 2


def test_codes_that_are_not_distinct_have_no_table():
    assert lookup.build(np.array([4, 4], np.uint64)) is None
