"""From any frame to a checked split: an answer or one clear error, never a crash."""

from __future__ import annotations

import contextlib
import math
import time
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepfit.config import Data
from keepfit.data.conform import conform, labelled
from keepfit.data.leakage import leakage
from keepfit.data.profile import profile
from keepfit.data.schema import infer
from keepfit.data.split import folds, split
from keepfit.data.template import template
from keepfit.data.validate import validate
from keepfit.errors import KeepfitError
from keepfit.types import Dataset, Verdict


def whole(frame: pl.DataFrame, data: Data, task: str = "auto", report: Path | None = None) -> Verdict:
    """All of it, as `keepfit check` does it."""
    schema = infer(frame, data, task)
    read = conform(frame, schema)
    verdict = validate(frame, schema, {}, data, read)
    template("x", schema, data)
    typed = labelled(read[0], schema)
    if not verdict.failures:
        late, _ = split(typed, schema, data)
        verdict += leakage(typed.filter(~late), typed.filter(late), schema, data)
        for learn, judge in folds(typed.filter(~late), schema, 3, 0, data):
            assert not set(learn) & set(judge)
    if report:
        profile(Dataset(typed, schema, ""), report, (verdict,))
    return verdict


FLOATS = st.floats(width=64) | st.sampled_from([0.0, 1.0, 1e308, -1e308, math.nan, math.inf])
TEXTS = st.text(max_size=6) | st.sampled_from(
    ["1", "2.5", "?", "", "yes", "yes.", "2020-01-02", "inf", "00", "a b c d e"]
)
CELLS: dict[Any, st.SearchStrategy[Any]] = {
    pl.Float64: FLOATS,
    pl.Float32: st.floats(width=32),
    pl.Int64: st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3),
    pl.UInt8: st.integers(0, 255),
    pl.Boolean: st.booleans(),
    pl.String: TEXTS,
    pl.Date: st.dates(),
    pl.Datetime: st.datetimes(),
    pl.Categorical: TEXTS,
    pl.List(pl.Int64): st.lists(st.integers(0, 3), max_size=2),
    pl.Time: st.times(),
    pl.Duration: st.timedeltas(),
    pl.Decimal(10, 2): st.decimals(-1000, 1000, places=2),
    pl.Binary: st.binary(max_size=3),
    pl.Null: st.none(),
}


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(10, 70))
    columns = []
    for at in range(draw(st.integers(1, 4))):
        dtype = draw(st.sampled_from(list(CELLS)))
        pool = draw(st.lists(st.none() | CELLS[dtype], min_size=1, max_size=12))
        values = draw(st.lists(st.sampled_from(pool), min_size=rows, max_size=rows))
        columns.append(pl.Series(f"c{at}", values, dtype=dtype, strict=False))
    labels = draw(
        st.sampled_from([["a", "b"], ["a", "b", "a.", None], [0, 1], [0.5, 2.5, 1e6, math.nan], [True, False]])
    )
    columns.append(pl.Series("y", [labels[at * at % 7 % len(labels)] for at in range(rows)]))
    return pl.DataFrame(columns)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(frames(), st.sampled_from(["auto", "classification", "regression"]), st.booleans(), st.data())
def test_any_frame(tmp_path: Path, frame: pl.DataFrame, task: str, report: bool, more: st.DataObject) -> None:
    names = st.sampled_from(frame.columns)
    keys: dict[str, Any] = {key: more.draw(st.none() | st.none() | names) for key in ("time", "group", "known_at")}
    data = Data(source="x", target=more.draw(st.sampled_from(["y", "y", "c0"])), **keys)
    with contextlib.suppress(KeepfitError):
        whole(frame, data, task, tmp_path / "p.html" if report else None)


def test_moments_of_every_kind() -> None:
    moments = [datetime(1, 1, 1), datetime(9999, 12, 31), *(datetime(1970 + year, 1, 1) for year in range(6))]
    frame = pl.DataFrame({"a": [date(2020, 1, 1), None] * 20, "b": moments * 5, "y": [1, 0, 1, 0, 0] * 8})
    assert whole(frame, Data(source="x", target="y")).outcome == "passed"  # type: ignore[call-arg]


def test_durations_longer_than_microseconds_can_count() -> None:
    day = 86_400_000  # milliseconds
    longest = pl.Series("a", [106_751_992 * day, day] * 10).cast(pl.Duration("ms"))
    with contextlib.suppress(KeepfitError):
        whole(pl.DataFrame([longest, pl.Series("y", [1, 0] * 10)]), Data(source="x", target="y"))  # type: ignore[call-arg]


@pytest.mark.parametrize("rows", [0, 1, 3, 9])
def test_too_few_rows(rows: int) -> None:
    with pytest.raises(KeepfitError, match="A model needs at least 10"):
        whole(pl.DataFrame({"a": range(rows), "y": range(rows)}), Data(source="x", target="y"))  # type: ignore[call-arg]


def test_it_is_fast(adult: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    frame = pl.concat(adult).with_columns(pl.col("income").str.strip_suffix("."))
    start = time.process_time()
    whole(frame, Data(source="x", target="income"))  # type: ignore[call-arg]
    assert time.process_time() - start < 4  # 0.6 on a quiet machine
