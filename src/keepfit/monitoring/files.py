"""The counts of a file of rows: `keepfit monitor --data FILE`.

A Parquet file is counted from its own columns; other formats, and files that the model is asked
about, are read as frames. Both read a value alike, and what cannot be read counts as missing; but for
lines, files and pictures that cannot be used at all: their rows are left out, as a server refuses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from keepfit.errors import DataError
from keepfit.extras import load
from keepfit.features import arrow
from keepfit.models.fitted import Output
from keepfit.monitoring.counts import Counts, Rows, counter, total
from keepfit.monitoring.reference import Reference, said
from keepfit.monitoring.signals import Floats
from keepfit.types import Column, Schema

if TYPE_CHECKING:
    import polars as pl

    from keepfit.config import Data

ROWS = 1 << 14  # that are in memory at once
PICTURES = 128  # the same where files are among their values
PARQUET = (".parquet", ".pq")
STRINGS = ("string", "large_string")  # are read as dictionaries: each distinct one is looked at once
Answer = Callable[["pl.DataFrame"], Output]
Left = Callable[[str, str, str], object]  # is told the column of what was left out ("": a line), its name, and why


def of_file(
    path: Path, reference: Reference, schema: Schema, answer: Answer | None = None, data: Data | None = None,
    time: str | None = None, left: Left | None = None,
) -> Counts:  # fmt: skip
    """The counts of a file, glob or folder of rows, in constant memory where its format allows it.

    Args:
        answer: what the model says of a frame as it was read; without it only the columns are counted.
        data: how the file is written, as in the config. time: the column with each row's time.
        left: is told each line, file or picture that cannot be used; without it one is a DataError, or missing.

    Raises DataError for what is no table, or lacks columns (all named).
    """
    if answer is None and path.is_file() and path.suffix.lower() in PARQUET:
        return _of_parquet(path, reference, schema, time)
    return of_frames(_frames(path, data, schema, left), reference, schema, answer, time, left)


def _rows(schema: Schema) -> int:
    return PICTURES if schema.role("image") else ROWS


def _frames(path: Path, data: Data | None, schema: Schema, left: Left | None) -> Iterator[pl.DataFrame]:
    from keepfit import config  # these bring polars and pydantic, and a Parquet file needs neither
    from keepfit.data import read

    column = next(iter(schema.role("image")), "")

    def bad(row: read.BadRow) -> None:
        assert left is not None
        if row.line:
            left("", f"line {row.line}", row.problem)
        else:
            left(column, row.text, row.problem)

    return read.batches(data or config.Data(source=str(path)), path, _rows(schema), bad if left else None)


def of_frames(
    frames: Iterable[pl.DataFrame], reference: Reference, schema: Schema, answer: Answer | None = None,
    time: str | None = None, left: Left | None = None,
) -> Counts:  # fmt: skip
    """The counts of frames as they were read; see `of_file`."""
    count = counter(reference, schema, time)
    frames = _usable(frames, schema, left) if left and schema.role("image") else frames
    return total(_of_frame(frame, schema, count, answer, time) for frame in frames)


def _usable(frames: Iterable[pl.DataFrame], schema: Schema, left: Left) -> Iterator[pl.DataFrame]:
    """The frames without the rows whose pictures cannot be used."""
    conform, paths = load("keepfit.data.conform:conform", "monitor"), load("keepfit.data.gallery:paths", "monitor")
    decoded, first = load("keepfit.data.gallery:decoded", "monitor"), 0
    images = replace(schema, columns=tuple(c for c in schema.columns if c.role == "image"), target=None)
    for frame in frames:
        typed, problems = conform(frame, images)
        bad, called = {p.row: p for p in (*decoded(typed, images)[1], *problems)}, paths(frame, first)
        for row, problem in bad.items():  # once, however many of its pictures are bad
            left(problem.column, called[row], problem.problem)
        kept = np.ones(frame.height, bool)
        kept[[*bad]] = False
        yield frame.filter(kept)
        first += frame.height


def _of_frame(frame: pl.DataFrame, schema: Schema, count: Rows, answer: Answer | None, time: str | None) -> Counts:
    conform, asked = load("keepfit.data.conform:conform", "monitor"), load("keepfit.features.frame:asked", "monitor")
    kept = tuple(c for c in schema.columns if c in schema.inputs or c.name == time)
    typed, _ = conform(frame, replace(schema, columns=kept, target=None))
    columns = asked(typed, replace(schema, columns=schema.inputs))
    told = said(answer(frame), schema) if answer and len(columns) else {}
    return count(columns, told, None if time is None else _known(typed[time].cast(float).to_numpy()))


def _known(times: Floats) -> Floats:
    return times[~np.isnan(times)]


def _of_parquet(path: Path, reference: Reference, schema: Schema, time: str | None) -> Counts:
    inputs = replace(schema, columns=schema.inputs)
    count, clock = counter(reference, schema, time), schema[time] if time else None
    wanted = {column.name: column for column in (*schema.inputs, *([clock] if clock else []))}
    return total(_of_batch(batch, inputs, count, clock) for batch in _batches(path, [*wanted], _rows(schema)))


def _of_batch(batch: pa.RecordBatch, inputs: Schema, count: Rows, clock: Column | None) -> Counts:
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns = arrow.from_arrow(arrays, batch.num_rows, inputs)
    return count(columns, {}, None if clock is None else _known(arrow.seconds(arrays[clock.name], clock)))


def _batches(path: Path, wanted: list[str], rows: int) -> Iterator[pa.RecordBatch]:
    """Raises DataError for a damaged file, and for absent columns."""
    try:
        there = pyarrow.parquet.read_schema(path)
        if absent := [name for name in wanted if name not in there.names]:
            shown = ", ".join(f"'{name}'" for name in absent)
            raise DataError(f"{path} lacks {shown}, which the model needs. It has: {', '.join(there.names)}.")
        strings = [name for name in wanted if str(there.field(name).type) in STRINGS]
        with pyarrow.parquet.ParquetFile(path, read_dictionary=strings, pre_buffer=False) as file:
            yield from file.iter_batches(rows, columns=wanted, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}. It may be cut off; get it again.") from error
