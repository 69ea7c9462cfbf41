"""The prediction log in bounded batches: for what counts many rows and keeps none.

`fresh` has what is not rolled yet, `part` one Parquet file. Read the fresh rows first and list the
parts after that, as `data.log_read` does: a row that is rolled in between is in both, with the same
segment and day.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet

from keepfit.data import log_parts, log_table, segments
from keepfit.data.log_roll import BLOCK

ROWS = 1 << 15  # of a part that are in memory at once


class Batch(NamedTuple):
    """Some rows of one segment and one day, as in `data.log_table`; all of one version."""

    segment: str
    day: date
    version: str
    rows: pa.RecordBatch


def fresh(folder: Path) -> Iterator[Batch]:
    """What the segments of a log hold by now."""
    for name in segments.names(folder):
        try:
            file = os.open(segments.path(folder, name), os.O_RDONLY)
        except FileNotFoundError:  # rolled since it was listed: its part is there
            continue
        try:
            yield from _segment(name, file)
        finally:
            os.close(file)


def _segment(name: str, file: int) -> Iterator[Batch]:
    blocks = segments.blocks(file, BLOCK)
    line, _, rest = next(blocks, b"").partition(b"\n")
    told = segments.header(line)
    while told is not None and rest:
        rows, _ = log_table.decoded(told, rest)
        for day, table in log_table.daily(told, rows):
            for batch in table.combine_chunks().to_batches():
                yield Batch(name, day, told["version"], batch)
        rest = next(blocks, b"")


def part(found: log_parts.Part, strings: Sequence[str], uri: str | None = None) -> Iterator[Batch]:
    """The rows of a part, with the columns `strings` ("prediction", "inputs.plan") as dictionaries.

    One whose retention ended since it was listed has none. Raises DataError where the store cannot be read.
    """
    opened = log_parts.opened(found, uri)
    if opened is None:
        return
    with opened, pyarrow.parquet.ParquetFile(opened, read_dictionary=["version", *strings], pre_buffer=False) as file:
        for group in range(file.num_row_groups):  # each has dictionaries of its own, which a struct cannot join
            for batch in file.iter_batches(ROWS, row_groups=[group], use_threads=False):
                yield Batch(found.segment, found.day, batch.column("version")[0].as_py(), batch)
