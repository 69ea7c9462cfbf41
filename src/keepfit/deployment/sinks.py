"""Where batch scoring writes: frames one after the other into a file that is whole or not there.

SINKS is the table of formats: the end of the output's name → function that opens it.
"""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet

from keepfit import durable
from keepfit.data.files import suffix
from keepfit.errors import DataError

Write = Callable[[pl.DataFrame], None]


@contextmanager
def sink(path: Path) -> Iterator[Write]:
    """A function that appends a frame to `path`, in the format of its name.

    All is written under another name in the same folder; that file is renamed when the block ends
    well, and removed when it does not. Raises DataError for an unknown format, and where the system
    refuses to write (no space, no permission).
    """
    opened = SINKS.get(suffix(path))
    packed = path.suffix.lower()
    if opened is None or packed == ".zst" or (packed == ".gz" and opened is parquet):
        known = ", ".join(f".{name}" for name in SINKS)
        raise DataError(f"{path}: unknown format of the output. Known: {known}; the text ones also as .gz.")
    try:
        if not path.parent.is_dir():
            raise DataError(f"There is no folder {path.parent} to write {path.name} into. Make it, or name another.")
        durable.clear(path)
        with (
            durable.replacing(path) as file,
            _packed(file, packed) as stream,
            contextlib.closing(opened(stream, suffix(path))) as writer,
        ):
            next(writer)
            yield writer.send
    except OSError as error:
        before = "; what was there before is untouched" if path.exists() else ""
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. Nothing is left of it{before}. "
            "Free some space, or choose another folder."
        ) from error


def _packed(file: IO[bytes], end: str) -> Any:
    return gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) if end == ".gz" else contextlib.nullcontext(file)


# Each of these is a generator: started once, it takes a frame at each `send`, and is closed.
Writer = Iterator[None]


def delimited(file: IO[bytes], kind: str) -> Any:
    """CSV, or with tabs; the header stands before the first frame."""
    separator = "\t" if kind in ("tsv", "tab") else ","
    header = True
    while True:
        frame = yield
        _text(file, lambda buffer: frame.write_csv(buffer, include_header=header, separator=separator))  # noqa: B023
        header = False


def lines(file: IO[bytes], kind: str) -> Any:
    """A JSON object a line."""
    while True:
        frame = yield
        _text(file, frame.write_ndjson)


def _text(file: IO[bytes], write: Callable[[io.BytesIO], Any]) -> None:
    # through memory, so that what the file refuses is an OSError with its number
    buffer = io.BytesIO()
    write(buffer)
    file.write(buffer.getbuffer())


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


SINKS: Mapping[str, Callable[[IO[bytes], str], Any]] = {
    "csv": delimited,
    "tsv": delimited,
    "tab": delimited,
    "parquet": parquet,
    "pq": parquet,
    "ndjson": lines,
    "jsonl": lines,
}
