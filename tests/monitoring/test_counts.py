"""Counts add up: of parts, of files of any format, with the model's answers and without."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from keepfit.errors import DataError
from keepfit.features.rows import from_rows
from keepfit.models.fitted import Output
from keepfit.monitoring import counts, files, reference
from keepfit.types import Column, Schema

SCHEMA = Schema(
    (
        Column("age", "number", "int", tokens=("?",)),
        Column("plan", "category", tokens=("?",)),
        Column("since", "date", "date", formats=("%d/%m/%Y",)),
        Column("note", "text"),
        Column("seen", "time", "date"),
        Column("churn", "target"),
    ),
    "classification", "churn", ("no", "yes"),
)  # fmt: skip
ROWS = [
    {"age": n % 70, "plan": f"plan {n % 7}" if n % 11 else None, "since": f"{1 + n % 28:02}/05/2020",
     "note": f"It is {n % 13} o'clock!" if n % 5 else None, "seen": f"2026-11-20T{n % 24:02}:00:00"}
    for n in range(1000)
]  # fmt: skip


def answer(frame: pl.DataFrame) -> Output:
    sure = np.linspace(0.5, 1, len(frame))
    return Output(np.array(["no"] * len(frame), object), np.stack([sure, 1 - sure], 1))


COLUMNS = from_rows(ROWS, SCHEMA)[0]
SAID = answer(pl.DataFrame(ROWS))
KNOWN = reference.make(COLUMNS, COLUMNS, SCHEMA, SAID, SAID.values)


def same(one: counts.Counts, other: counts.Counts) -> bool:
    return counts.plain(one) == counts.plain(other)


def test_parts_add_up_to_the_whole_in_any_order():
    count = counts.counter(KNOWN, SCHEMA)
    times, told = np.arange(1000.0), reference.said(SAID, SCHEMA)
    whole = count(COLUMNS, told, times)
    assert whole.rows == 1000
    assert all(cells.sum() == 1000 for cells in whole.cells.values())
    assert set(whole.cells) == {signal.name for signal in KNOWN.signals}
    rows = np.array_split(np.random.default_rng(0).permutation(1000), 7)
    parts = [count(COLUMNS[at], {name: values[at] for name, values in told.items()}, times[at]) for at in rows]
    assert same(counts.total(parts), whole)
    assert same(counts.total(counts.read(json.loads(json.dumps(counts.plain(part)))) for part in parts), whole)
    assert same(counts.total([]), counts.NONE)
    assert same(counts.merge(counts.NONE, whole), whole)


def test_the_training_rows_themselves_differ_by_what_they_are_alone_in():
    found = counts.counter(KNOWN, SCHEMA)(COLUMNS, reference.said(SAID, SCHEMA), None)
    for signal in KNOWN.signals:
        if signal.part not in ("unknown words", "term"):
            assert np.abs(found.cells[signal.name] - signal.counts).sum() <= 4
    np.testing.assert_array_equal(found.sketch, KNOWN.sketch)


def test_a_signal_that_some_rows_do_not_tell_is_left_out():
    count = counts.counter(KNOWN, SCHEMA)
    some = count(COLUMNS, {}, None)
    assert not {"prediction", "confidence"} & set(some.cells)
    assert set(counts.merge(some, count(COLUMNS, reference.said(SAID, SCHEMA), None)).cells) == set(some.cells)


def written(folder: Path, kind: str) -> Path:
    path = folder / f"rows.{kind}"
    frame = pl.DataFrame(ROWS)
    if kind == "csv":
        frame.write_csv(path)
    elif kind == "ndjson":
        frame.write_ndjson(path)
    elif kind == "parquet":
        frame.write_parquet(path, row_group_size=300)
    else:  # the same values in other types
        days = frame["since"].str.to_date("%d/%m/%Y")
        typed = frame.with_columns(pl.col("age").cast(pl.Float32), pl.col("plan").cast(pl.Categorical), days)
        typed = typed.with_columns(pl.col("seen").str.to_datetime(time_unit="ns", time_zone="UTC"))
        pyarrow.parquet.write_table(typed.to_arrow(), path)
    return path


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet", "pq"])
def test_a_file_of_any_format_has_the_same_counts(tmp_path, kind):
    whole = counts.counter(KNOWN, SCHEMA)(COLUMNS, {}, None)
    path = written(tmp_path, kind)
    assert same(files.of_file(path, KNOWN, SCHEMA), whole)
    day = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
    timed = files.of_file(path, KNOWN, SCHEMA, time="seen")
    assert (timed.first, timed.last, timed.rows) == (day, day + 23 * 3600, 1000)
    told = files.of_file(path, KNOWN, SCHEMA, answer)
    assert same(told, counts.counter(KNOWN, SCHEMA)(COLUMNS, reference.said(SAID, SCHEMA), None))


def test_what_cannot_be_read_is_missing(tmp_path):
    frame = pl.DataFrame({**pl.DataFrame(ROWS[:4]).to_dict(as_series=False), "age": ["41", "?", "old", "1e999"]})
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        assert files.of_file(tmp_path / name, KNOWN, SCHEMA).cells["age"][0] == 3


def test_a_line_that_is_no_row_is_left_out_and_named(tmp_path):
    path = written(tmp_path, "csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], "1,2,3,4,5,6,7,8,9", *lines[5:]]) + "\n")
    with pytest.raises(DataError, match="line 6"):
        files.of_file(path, KNOWN, SCHEMA)
    left: list[tuple[str, ...]] = []
    found = files.of_file(path, KNOWN, SCHEMA, left=lambda *one: left.append(one))
    assert found.rows == 1000
    assert [one[:2] for one in left] == [("", "line 6")]


def test_pictures_that_cannot_be_used_are_left_out_and_named():
    pytest.importorskip("PIL")
    from tests import pictures

    schema = Schema((Column("photo", "image"), Column("age", "number")), "none")
    good = pictures.drawn()[0][:4]
    frames = [
        pl.DataFrame({"photo": [good[0], b"", None, good[1]], "age": [1.0, 2.0, 3.0, 4.0]}),
        pl.DataFrame({"photo": [pictures.damaged(), good[2]], "age": [5.0, 6.0]}),
        pl.DataFrame({"photo": [b"text", good[3]], "age": [7.0, 8.0], "path": ["a.jpg", "b.jpg"]}),
    ]
    left: list[tuple[str, ...]] = []
    kept = [*files._usable(frames, schema, lambda *one: left.append(one))]
    assert [frame["age"].to_list() for frame in kept] == [[1, 3, 4], [6], [8]]
    assert [one[:2] for one in left] == [("photo", "row 1"), ("photo", "row 4"), ("photo", "a.jpg")]
    assert left[0][2] == "0 bytes"


def test_a_row_with_two_pictures_that_cannot_be_used_is_one_row():
    pytest.importorskip("PIL")
    from tests import pictures

    schema = Schema((Column("front", "image"), Column("back", "image")), "none")
    good = pictures.drawn()[0][:2]
    left: list[tuple[str, ...]] = []
    frames = [pl.DataFrame({"front": [b"", good[0]], "back": [b"text", good[1]]})]
    assert [frame.height for frame in files._usable(frames, schema, lambda *one: left.append(one))] == [1]
    assert [one[1] for one in left] == ["row 0"]


def test_a_file_that_lacks_columns_or_is_cut_short(tmp_path):
    pl.DataFrame(ROWS).drop("age", "plan").write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a.parquet lacks 'age', 'plan', which the model needs. It has: since, note"):
        files.of_file(tmp_path / "a.parquet", KNOWN, SCHEMA)
    path = written(tmp_path, "parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        files.of_file(path, KNOWN, SCHEMA)
    lists = pa.table({"age": [[1], [2]], "plan": ["a", "b"], "since": ["", ""], "note": ["", ""]})
    pyarrow.parquet.write_table(lists, tmp_path / "b.parquet")
    with pytest.raises(DataError, match="Cells hold list"):
        files.of_file(tmp_path / "b.parquet", KNOWN, SCHEMA)
