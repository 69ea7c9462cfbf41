"""Text in columns by pyarrow's parser, which knows quotes and hands out the rows it refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow

from keepfit.data import decode
from keepfit.data.form import Form
from keepfit.errors import DataError

Refuse = Callable[[int, str, int], object]  # number of the row in the file (1: the first, the header too), text, fields


def blocks(known: Form, size: int, at: int, rows: int, refuse: Refuse) -> Iterator[pl.DataFrame]:
    """The rows from byte `at` on, before which there are `rows` rows, in frames of stripped strings.

    Blocks have `size` bytes. In one thread, because only then pyarrow numbers the rows it refuses.
    Raises DataError for what cannot be parsed.
    """
    before = rows + int(known.header) if at else -known.skip

    def skip(row: arrow.InvalidRow) -> str:
        refuse(before + row.number, row.text, row.actual_columns)
        return "skip"

    try:
        with contextlib.closing(decode.utf8(known.text)) as stream:
            for batch in _reader(known, size, at, stream, skip):
                frame = pl.DataFrame(pa.Table.from_batches([batch]))
                frame.columns = list(known.names)
                rows += frame.height
                yield frame.with_columns(pl.all().str.strip_chars())
    except pa.ArrowInvalid as error:
        raise _unparsed(known.text.path, rows, size, error) from error
    except OSError as error:
        raise decode.broken(known.text.path, error) from error


def _reader(
    known: Form, size: int, at: int, stream: Any, skip: Callable[[arrow.InvalidRow], str]
) -> arrow.CSVStreamingReader:
    places = [str(n) for n in range(len(known.names))]
    if at:
        stream.seek(at)
    return arrow.open_csv(
        stream,
        arrow.ReadOptions(
            use_threads=False,
            block_size=size,
            column_names=places,
            skip_rows=0 if at else known.skip,
            skip_rows_after_names=0 if at else int(known.header),
        ),
        arrow.ParseOptions(delimiter=known.separator, newlines_in_values=True, invalid_row_handler=skip),
        arrow.ConvertOptions(
            column_types=dict.fromkeys(places, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _unparsed(path: Path, rows: int, size: int, error: pa.ArrowInvalid) -> DataError:
    if "straddling" in str(error):
        return DataError(
            f"{path}: a row after row {rows:,} is longer than {size >> 20} MB. Most likely a quote is opened "
            "there and never closed: close or double it."
        )
    return DataError(f"{path} cannot be parsed after row {rows:,}: {error}")
