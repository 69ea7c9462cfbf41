"""Parquet files as frames, all at once or in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from keepfit import config
from keepfit.data import frames
from keepfit.errors import DataError

INDEX = "__index_level_"  # how pandas stores the labels of rows


def read(path: Path, data: config.Data) -> tuple[pl.DataFrame, dict[str, str]]:
    """The whole file with its own types; pandas' row labels are left out and reported.

    Raises DataError for a damaged file and for columns that hold several values in a cell.
    """
    try:
        frame = pl.read_parquet(path, glob=False)
    except pl.exceptions.PolarsError as error:
        raise _damaged(path, error) from error
    index = [name for name in frame.columns if name.startswith(INDEX)]
    found = {"index": f"pandas' row labels ({', '.join(index)}) are left out"} if index else {}
    return frames.tidy(frame.drop(index), str(path)), found


def batches(path: Path, data: config.Data, rows: int, bad: object = None) -> Iterator[pl.DataFrame]:
    """The file in frames of at most `rows` rows, with the columns and types of `read`."""
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            names = [name for name in file.schema_arrow.names if not name.startswith(INDEX)]
            for batch in file.iter_batches(batch_size=rows, columns=names):
                yield frames.tidy(pl.DataFrame(pa.Table.from_batches([batch])), str(path))
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from error


def rows(path: Path) -> int:
    """How many rows a file says it has; 0 for a damaged one, as reading it will say what is wrong."""
    try:
        return int(pyarrow.parquet.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError):
        return 0


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is not a whole Parquet file: {error}. It may be cut off, or of another format; get it again."
    )
