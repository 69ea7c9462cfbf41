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

from keepfit import durable
from keepfit.data.files import suffix
from keepfit.errors import DataError
from keepfit.extras import load

Write = Callable[[pl.DataFrame], None]


@contextmanager
def sink(path: Path) -> Iterator[Write]:
    """A function that appends a frame to `path`, in the format of its name.

    All is written under another name in the same folder; that file is renamed when the block ends
    well, and removed when it does not. Raises DataError for an unknown format, and where the system
    refuses to write (no space, no permission).
    """
    target = SINKS.get(suffix(path))
    packed = path.suffix.lower()
    if target is None or packed == ".zst" or (packed == ".gz" and target == PARQUET):
        known = ", ".join(f".{name}" for name in SINKS)
        raise DataError(f"{path}: unknown format of the output. Known: {known}; the text ones also as .gz.")
    opened = load(target, f"output '{path.name}'")
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


# The end of a name → what writes that format; each is imported when it is asked for.
PARQUET = "keepfit.deployment.parquet_sink:parquet"
SINKS: Mapping[str, str] = {
    "csv": "keepfit.deployment.sinks:delimited",
    "tsv": "keepfit.deployment.sinks:delimited",
    "tab": "keepfit.deployment.sinks:delimited",
    "parquet": PARQUET,
    "pq": PARQUET,
    "ndjson": "keepfit.deployment.sinks:lines",
    "jsonl": "keepfit.deployment.sinks:lines",
}
