"""The hash of a frame: the same for the same content, another for any change."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keepfit.data import version
from keepfit.data.version import fingerprint

CELLS = {
    pl.Int64: st.none() | st.integers(-(2**63), 2**63 - 1),
    pl.Float64: st.none() | st.floats(),
    pl.String: st.none() | st.text(max_size=20),
    pl.Boolean: st.none() | st.booleans(),
    pl.Date: st.none() | st.dates(),
}
DTYPES = st.sampled_from(list(CELLS))


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(1, 12))
    names = draw(st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True))
    columns = []
    for name in names:
        dtype = draw(DTYPES)
        columns.append(pl.Series(name, draw(st.lists(CELLS[dtype], min_size=rows, max_size=rows)), dtype=dtype))
    return pl.DataFrame(columns)


@settings(deadline=None)
@given(frames(), st.integers(0, 12), st.integers(0, 12))
def test_chunks_do_not_count(frame: pl.DataFrame, first: int, second: int) -> None:
    low, high = sorted((first, second))
    parts = [frame[:low], frame[low:high], frame[high:]]
    assert fingerprint(pl.concat(parts, rechunk=False)) == fingerprint(frame)
    assert fingerprint(frame.gather_every(1)) == fingerprint(frame)
    assert fingerprint(pl.concat([frame, frame])[: frame.height]) == fingerprint(frame)
    plain = frame.rename({name: str(n) for n, name in enumerate(frame.columns)})  # Arrow has no names with a NUL
    assert fingerprint(pl.DataFrame(plain.to_arrow())) == fingerprint(plain)


@settings(deadline=None)
@given(frames(), st.data())
def test_any_changed_cell_counts(frame: pl.DataFrame, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(frame.columns))
    row = data.draw(st.integers(0, frame.height - 1))
    new = data.draw(CELLS[type(frame.schema[name])])  # type: ignore[index]
    old = frame[name][row]
    assume(new != old and not (new != new and old != old))
    changed = frame.with_columns(frame[name].scatter(row, new))
    assert fingerprint(changed) != fingerprint(frame)


@settings(deadline=None)
@given(frames(), st.randoms())
def test_the_order_of_rows_counts(frame: pl.DataFrame, random: np.random.Generator) -> None:
    order = list(range(frame.height))
    random.shuffle(order)
    shuffled = frame[order]
    assert (fingerprint(shuffled) == fingerprint(frame)) == shuffled.equals(frame)


def test_names_and_their_order_count() -> None:
    frame = pl.DataFrame({"a": ["1"], "b": ["2"]})
    hashes = {
        fingerprint(frame),
        fingerprint(frame.select("b", "a")),
        fingerprint(frame.rename({"a": "ab"})),
        fingerprint(frame.rename({"a": "b", "b": "a"})),
        fingerprint(frame[:0]),
        fingerprint(pl.DataFrame()),
        fingerprint(pl.DataFrame({"a": ["12"], "b": [""]})),
        fingerprint(pl.DataFrame({"a": ["", "1"], "b": ["2", ""]})),
    }
    assert len(hashes) == 8


@pytest.mark.parametrize(
    "values", [["x", None], ["x", ""], ["x", "null"], [1, None], [1, 0], [1.0, None], [True, None], [True, False]]
)
def test_kinds_of_nothing_differ(values: list[object]) -> None:
    others = [["x", None], ["x", ""], ["x", "null"], [1, None], [1, 0], [1.0, None], [True, None], [True, False]]
    same = [
        other for other in others if fingerprint(pl.DataFrame({"a": other})) == fingerprint(pl.DataFrame({"a": values}))
    ]
    assert same == [values]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pl.Series("a", [1, 2], dtype=pl.Int8), pl.Series("a", [1, 2], dtype=pl.UInt64)),
        (pl.Series("a", [0.5, 2.0], dtype=pl.Float32), pl.Series("a", [0.5, 2.0], dtype=pl.Float64)),
        (pl.Series("a", [0.0]), pl.Series("a", [-0.0])),
        (pl.Series("a", [np.nan]), pl.Series("a", np.array([0xFFF8000000000001], dtype=np.uint64).view(np.float64))),
        (pl.Series("a", ["x", "y", None]), pl.Series("a", ["x", "y", None], dtype=pl.Categorical)),
        (pl.Series("a", [None, None], dtype=pl.String), pl.Series("a", [None, None], dtype=pl.Null)),
    ],
)
def test_storage_does_not_count(one: pl.Series, other: pl.Series) -> None:
    assert fingerprint(one.to_frame()) == fingerprint(other.to_frame())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1], ["1"]),
        ([1], [1.0]),
        ([1], [True]),
        ([2**63], [-(2**63)]),
        ([date(2020, 1, 1)], [datetime(2020, 1, 1)]),
        ([np.nan], [None]),
    ],
)
def test_other_kinds_of_values_differ(one: list[object], other: list[object]) -> None:
    types = {"a": pl.UInt64} if one == [2**63] else None
    assert fingerprint(pl.DataFrame({"a": one}, schema=types)) != fingerprint(
        pl.DataFrame({"a": pl.Series(other, dtype=pl.Float64 if other == [None] else None)})
    )


def test_what_lies_under_a_null_does_not_count() -> None:
    mask = np.array([False, True])
    clean = pl.DataFrame(pa.table({"a": pa.array([1, None])}))
    dirty = pl.DataFrame(pa.table({"a": pa.array(np.array([1, 99]), mask=mask)}))
    assert fingerprint(clean) == fingerprint(dirty)


def test_blocks_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"a": range(100), "b": [str(n) if n % 3 else None for n in range(100)]})
    monkeypatch.setattr(version, "ROWS", 64)
    one = fingerprint(frame)
    assert one == fingerprint(pl.concat([frame[:7], frame[7:]], rechunk=False))
    assert one != fingerprint(frame.reverse())


def test_another_process_agrees() -> None:
    code = "import polars as pl; from keepfit.data.version import fingerprint; "
    code += "print(fingerprint(pl.DataFrame({'a': ['x', None, 'ü'], 'b': [1.5, 2.0, None]})))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert said == fingerprint(pl.DataFrame({"a": ["x", None, "ü"], "b": [1.5, 2.0, None]}))
