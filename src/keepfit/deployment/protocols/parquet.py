"""The rows of a Parquet file that came as a body. Loaded with the first of them: it brings pyarrow.

What a file unpacks to may be a million times its size. So its own account (rows, columns, unpacked
bytes) is looked at before anything is unpacked, and it is read in parts that are counted.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from keepfit.deployment.protocols.shapes import Row, different, fault, room
from keepfit.errors import RequestError
from keepfit.types import Schema

ROWS = 1_000_000  # of one file
UNPACKED = 256 * 2**20  # bytes of one file's columns
PART = 10_000  # rows read at once
BROKEN = (pa.ArrowException, OSError, ValueError, OverflowError)


def rows(body: bytes, schema: Schema) -> list[Row]:
    """The rows of a Parquet file; an index that pandas stored is left out. Raises RequestError (400, 413)."""
    try:
        file = pq.ParquetFile(pa.BufferReader(body))
        names = _names(file, schema)
        _small(file)
        return _read(file, names)
    except BROKEN as error:
        told = str(error).partition("\n")[0][:200]
        raise fault(f"The body is not a Parquet file that can be read: {told}", "not_parquet") from None


def _names(file: Any, schema: Schema) -> list[str]:
    room(file.metadata.num_columns, schema)
    found = [name for name in file.schema_arrow.names if not name.startswith("__index_level_")]
    different(found, "the Parquet file")
    if not file.metadata.num_rows:
        raise fault("The Parquet file has no rows. Send at least one.", "no_rows")
    return found


def _small(file: Any) -> None:
    """Raises RequestError (413) where the file itself says that it is too large."""
    about = file.metadata
    size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
    if about.num_rows > ROWS or not 0 <= size <= UNPACKED:
        raise _large(f"{about.num_rows:,} rows and {size / 2**20:,.0f} MB unpacked")


def _read(file: Any, names: list[str]) -> list[Row]:
    found: list[Row] = []
    size = 0
    for part in file.iter_batches(PART, columns=names):
        size += part.nbytes
        if size > UNPACKED or len(found) + part.num_rows > ROWS:
            raise _large("more than it says")
        columns = [_plain(column).to_pylist() for column in part.columns]
        found += [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return found


def _plain(column: Any) -> Any:
    """Times as Python has them: in microseconds, and in UTC where they have a zone."""
    return column.cast(pa.timestamp("us"), safe=False) if pa.types.is_timestamp(column.type) else column


def _large(told: str) -> RequestError:
    limit = f"{ROWS:,} rows and {UNPACKED / 2**20:,.0f} MB"
    return RequestError(413, "too_large", f"The Parquet file has {told}; a request may have {limit}.")
