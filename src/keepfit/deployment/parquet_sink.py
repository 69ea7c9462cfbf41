"""Batch scoring into Parquet. The only format that is written by pyarrow, hence in a file of its own."""

from __future__ import annotations

from typing import IO, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from keepfit.errors import DataError


def parquet(file: IO[bytes], kind: str) -> Any:
    """Parquet with the types of the first frame; later frames are brought to them."""
    writer: pyarrow.parquet.ParquetWriter | None = None
    try:
        while True:
            table = _table((yield))
            if writer is None:
                writer = pyarrow.parquet.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(_cast(table, writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _table(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())  # strings as every reader knows them


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    try:
        return table if table.schema.equals(schema) else table.cast(schema)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"A column changes its type within the input: {error}. Write .ndjson or .csv instead of Parquet."
        ) from error
