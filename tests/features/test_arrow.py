"""Columns from Arrow mean what they mean from rows."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from keepfit.errors import DataError
from keepfit.features.arrow import from_arrow, seconds
from keepfit.features.rows import from_rows
from keepfit.types import Column, Schema

NUMBER, PLAN = Column("x", "number", tokens=("-",)), Column("x", "category", tokens=("?",))
DAY, NOTE = Column("x", "date", "date", formats=("%d/%m/%Y",)), Column("x", "text")
TYPED = [
    (NUMBER, pa.array([1, None, 3], pa.int8())),
    (NUMBER, pa.array([None, None], pa.uint64())),
    (NUMBER, pa.array([0.5, float("nan"), float("inf"), None], pa.float32())),
    (NUMBER, pa.array([True, None, False])),
    (NUMBER, pa.array([" 4,5", "-", "1e3", None])),
    (NUMBER, pa.array([Decimal("1.5"), None])),
    (NUMBER, pa.array([], pa.float64())),
    (NUMBER, pa.nulls(3)),
    (PLAN, pa.array([" a", "a", "?", None, "b"])),
    (PLAN, pa.array(["b", None, "b"]).dictionary_encode()),
    (PLAN, pa.array([3, 1, None])),
    (PLAN, pa.array([True, False, None])),
    (DAY, pa.array(["13/10/2014", None, "no date"])),
    (DAY, pa.array([date(2014, 10, 13), None])),
    (DAY, pa.array([datetime(2014, 10, 13, 7, 0, 0, 500_000), None], pa.timestamp("us"))),
    (DAY, pa.array([datetime(2014, 10, 13, 7, tzinfo=UTC)], pa.timestamp("ms", tz="Europe/Berlin"))),
    (NOTE, pa.array(["So  good", None, ""])),
]


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize(("column", "array"), TYPED, ids=lambda value: getattr(value, "role", None) or str(value.type))
def test_a_value_means_what_it_means_in_a_row(column, array, cut):
    """Slices too: an Arrow array may begin in the middle of its memory."""
    array, schema = array[cut:], Schema((column,), "none")
    found = from_arrow({"x": array}, len(array), schema).values["x"]
    expected = from_rows([{"x": value} for value in array.to_pylist()], schema)[0].values["x"]
    if column.role == "category":
        shown = [[None if code < 0 else of.levels[code] for code in of.codes] for of in (found, expected)]
        assert shown[0] == shown[1]
    elif column.role == "text":
        assert list(found.texts) == list(expected.texts)
    else:
        np.testing.assert_allclose(found, expected)


def test_columns_that_are_not_there_are_left_out_and_lists_are_refused():
    schema = Schema((PLAN, Column("y", "number")), "none")
    assert list(from_arrow({"y": pa.array([1.0]), "z": pa.array([1.0])}, 1, schema).values) == ["y"]
    with pytest.raises(DataError, match="Cells hold list"):
        from_arrow({"x": pa.array([[1]])}, 1, schema)


def test_times_may_be_numbers():
    assert seconds(pa.array([5, None]), Column("t", "time", "int")).tolist()[0] == 5
    assert seconds(pa.array(["1970-01-02"]), Column("t", "time", "date")).tolist() == [86400]


def test_counting_a_file_imports_neither_polars_nor_pandas(tmp_path):
    days = pa.array([0, 1], pa.timestamp("us"))
    pyarrow.parquet.write_table(pa.table({"a": [1, None], "b": ["x", None], "c": days}), tmp_path / "rows.parquet")
    code = f"""
import sys, pyarrow.parquet
import keepfit.monitoring.files
from keepfit.features.arrow import from_arrow
from keepfit.types import Column, Schema
schema = Schema((Column("a", "number"), Column("b", "category"), Column("c", "date")), "none")
[batch] = pyarrow.parquet.ParquetFile({str(tmp_path / "rows.parquet")!r}, read_dictionary=["b"]).iter_batches()
from_arrow(dict(zip(batch.schema.names, batch.columns)), 2, schema)
assert not {{"polars", "pandas", "sklearn", "pydantic"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
