"""A state comes back as it was, and a damaged one is told as such."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from keepfit.errors import BundleError
from keepfit.features import storage

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.bool_]), hnp.array_shapes(min_dims=1, min_side=0)
)
STATES = st.dictionaries(
    st.text(),
    st.recursive(
        st.one_of(PLAIN, ARRAYS),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
)


def same(one, two):
    if isinstance(one, np.ndarray):
        return one.dtype == two.dtype and np.array_equal(one, two, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two and type(one) is type(two)


@settings(max_examples=30)
@given(STATES)
def test_a_state_comes_back_as_it_was(state):
    with tempfile.TemporaryDirectory() as folder:
        storage.save(state, Path(folder) / "new")
        assert same(storage.load(Path(folder) / "new"), state)


def test_texts_that_look_like_arrays_stay_texts(tmp_path):
    words = [["array:a0", "text:x", "\ud800", "a\nb"], ["a", "b\ntext:c"], ["text:array:a0"], ["a", None, "text:"]]
    state = {"words": words, "array": np.arange(3)}
    storage.save(state, tmp_path)
    assert same(storage.load(tmp_path), state)


def test_no_objects_are_written(tmp_path):
    with pytest.raises(TypeError, match="array of objects"):
        storage.save({"levels": np.array(["a", None], dtype=object)}, tmp_path)


def test_no_objects_are_read(tmp_path):
    storage.save({"a": np.arange(3)}, tmp_path)
    with (tmp_path / storage.ARRAYS).open("wb") as file:
        np.savez(file, a0=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match=r"damaged or missing \(Object arrays cannot be loaded"):
        storage.load(tmp_path)


@pytest.fixture
def stored(tmp_path):
    storage.save({"words": [f"word {i}" for i in range(100)], "keys": np.arange(10_000)}, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [storage.STATE, storage.ARRAYS])
def test_a_missing_file(stored, name):
    (stored / name).unlink()
    with pytest.raises(BundleError, match=r"damaged or missing .*Copy the bundle again, or train again"):
        storage.load(stored)


@pytest.mark.parametrize("name", [storage.STATE, storage.ARRAYS])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_cut_short(stored, name, share):
    content = (stored / name).read_bytes()
    (stored / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BundleError):
        storage.load(stored)


def test_a_flipped_bit_in_the_arrays(stored):
    content = bytearray((stored / storage.ARRAYS).read_bytes())
    content[len(content) // 2] ^= 1
    (stored / storage.ARRAYS).write_bytes(content)
    with pytest.raises(BundleError, match="Bad CRC-32"):
        storage.load(stored)


@pytest.mark.parametrize(
    "content", ["[]", "3", '{"format": 1}', '{"format": 1, "state": []}', '{"format": 1, "state": "array:no"}']
)
def test_json_that_is_no_state(stored, content):
    (stored / storage.STATE).write_text(content)
    with pytest.raises(BundleError):
        storage.load(stored)


def test_a_newer_format(stored):
    (stored / storage.STATE).write_text('{"format": 2, "state": {}}')
    with pytest.raises(BundleError, match=r"has format 2; this keepfit reads format 1. Update keepfit"):
        storage.load(stored)
