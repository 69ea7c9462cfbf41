"""`read`: the one way from `data.source` to a frame, wherever the data is.

READERS is the table of sources: the scheme of a URI → function (source, config.Data, project folder)
→ (frame, origin). What has no scheme is a file, a glob or a folder; `data.files` has the table of
formats. Delimited text is read as strings, other formats keep their types; `data.schema` says what
the columns are. Nothing here guesses at meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from keepfit import config
from keepfit.data import files, frames, image_folder, image_paths
from keepfit.data.delimited import Bad, BadRow
from keepfit.data.frames import like, to_polars
from keepfit.data.redact import redacted
from keepfit.errors import DataError
from keepfit.extras import load, nearest

__all__ = ["READERS", "BadRow", "batches", "like", "read", "redacted", "to_polars"]

READERS = {
    "file": "keepfit.data.files:read",
    "http": "keepfit.data.download:read",
    "https": "keepfit.data.download:read",
    "s3": "keepfit.data.stores:read",
    "gs": "keepfit.data.stores:read",
    "az": "keepfit.data.stores:read",
    "postgresql": "keepfit.data.sql:read",
    "postgres": "keepfit.data.sql:read",
    "sqlite": "keepfit.data.sql:read",
    "sklearn": "keepfit.data.external:bundled",
    "python": "keepfit.data.external:function",
}
# Formats that can be read in pieces: function (path, config.Data, rows, bad) → frames.
BATCHES = {
    files.DELIMITED: "keepfit.data.delimited:batches",
    "keepfit.data.parquet:read": "keepfit.data.parquet:batches",
    "keepfit.data.objects:read_lines": "keepfit.data.objects:batches",
    files.ARCHIVE: "keepfit.data.archive:batches",
}
SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9.-]+)(\+[a-zA-Z0-9]+)?:")  # a single letter is a drive


def read(data: config.Data, folder: Path, source: str | None = None) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The frame of `source` (default: `data.source`) and its origin.

    Relative paths start at the project `folder`. The origin is a dict for the records: `source`
    (without secrets), `format`, `files` (path, bytes and sha256 of each), `rows`, `columns`, `found`
    (what was found out and not given: separator, encoding, …) and the config's `documentation`.
    Raises DataError for what cannot be read and ConfigError where the config has to change; neither
    ever shows a password.
    """
    source = data.source if source is None else source
    reader = load(READERS[_scheme(source)], f"data.source '{redacted(source)}'")
    frame, origin = reader(source, data, folder)
    if not frame.width or not frame.height:
        raise DataError(f"{redacted(source)} has no rows.")
    frame, more = image_paths.opened(frame, data, _beside(reader, origin, folder), folder, whole=True)
    size = {"rows": frame.height, "columns": frame.width}
    found = {"format": "", "files": [], **origin, "found": {**origin.get("found", {}), **more}}
    return frame, {"source": redacted(source), **found, **size, "documentation": dict(data.documentation)}


def _beside(reader: Any, origin: dict[str, Any], folder: Path) -> Path | None:
    """The folder of a local table."""
    if reader is not files.read or not origin.get("files"):
        return None
    return (folder / str(origin["files"][0]["path"])).parent


def _scheme(source: str) -> str:
    """The row of READERS that a source belongs to.

    >>> _scheme("data/2024-*.csv"), _scheme("sklearn:iris"), _scheme("postgresql+psycopg://host/db")
    ('file', 'sklearn', 'postgresql')
    """
    if not source.strip():
        raise DataError("data.source is empty. Name a file, a folder or a URI.")
    found = SCHEME.match(source)
    if not found:
        return "file"
    scheme = found[1].lower()
    if scheme in READERS:
        return scheme
    if source.startswith("://", found.end() - 1):
        known = ", ".join(f"{name}:" for name in READERS)
        raise DataError(f"data.source '{redacted(source)}': unknown scheme. {nearest(scheme, READERS)}Known: {known}")
    return "file"


def batches(data: config.Data, source: Path, rows: int, bad: Bad | None = None) -> Iterator[pl.DataFrame]:
    """The rows of a local file (or glob, folder, or picture) in order, in frames of at most `rows` rows.

    Delimited text, NDJSON (both also compressed) and Parquet are read in constant memory; the other
    formats whole. All frames of a file have the columns and types that `read` gives it. A line that
    cannot be read is given to `bad`, with its number and text, while the others go on; without `bad`
    it is a DataError. All that `read` refuses about a whole file (missing, empty, not in the encoding)
    is refused here before the first frame.
    """
    names: list[str] = []
    folder, found = files.pictures(source)
    if found:
        yield from _pictures(folder, found, rows, bad)
        return
    paths = files.listed(source)
    for path in paths:
        refused: list[BadRow] = []
        for frame in _batches(path, data, rows, bad or refused.append):
            _stop(path, refused)
            names = names or frame.columns
            files.same_columns(paths[0], names, path, frame.columns)
            frame, _ = image_paths.opened(frame, data, path.parent, Path())
            yield frames.stack([frame.select(names)])
        _stop(path, refused)


def _pictures(folder: Path, names: list[str], rows: int, bad: Bad | None) -> Iterator[pl.DataFrame]:
    refused: list[BadRow] = []

    def left(name: str, why: str) -> None:
        (bad or refused.append)(BadRow(0, name, why))

    for frame in image_folder.batches(folder, names, rows, left):
        _stop(folder, refused)
        yield frame
    _stop(folder, refused)


def _batches(path: Path, data: config.Data, rows: int, bad: Bad) -> Iterator[pl.DataFrame]:
    files.checked(path)
    target = BATCHES.get(files.FORMATS[files.suffix(path)])
    if target:
        yield from load(target, f"data.source '{path.name}'")(path, data, rows, bad)
    else:
        yield from files.one(path, data)[0].iter_slices(rows)


def _stop(path: Path, refused: list[BadRow]) -> None:
    if refused:
        row = refused[0]
        text = " ".join(row.text.split())[:80]
        if not row.line:  # a file of many, or a row whose line nobody counts
            raise DataError(f"{path}: {text} cannot be read: {row.problem}. Remove it, or get it again.")
        raise DataError(f"{path}: line {row.line} cannot be read, it has {row.problem}: {text}")
