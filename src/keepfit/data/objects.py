"""JSON as frames: an array of objects (JSON), or an object a line (NDJSON).

A key is a column, an absent key is null. Values keep their types; a column that mixes them becomes
strings. Only flat objects make a table: a list or an object in a cell is refused by name.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from keepfit import config
from keepfit.data import decode, frames
from keepfit.data.delimited import SHOWN, Bad, BadRow
from keepfit.errors import DataError

ROWS = 50_000


def read(path: Path, data: config.Data) -> tuple[pl.DataFrame, dict[str, str]]:
    """A file with one array of objects. Raises DataError for anything else."""
    text = decode.look(path, data.encoding)
    with decode.characters(text) as stream:
        whole = stream.read()
    try:
        rows = json.loads(whole)
    except json.JSONDecodeError as error:
        hint = " It looks like an object a line: name it .ndjson." if error.msg == "Extra data" else ""
        raise DataError(
            f"{path} is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).{hint}"
        ) from error
    if not isinstance(rows, list):
        raise DataError(f"{path} holds {_kind(rows)}; it should hold an array of objects: [{{…}}, {{…}}].")
    wrong = [(n, row) for n, row in enumerate(rows, 1) if not isinstance(row, dict)]
    if wrong:
        place, row = wrong[0]
        raise DataError(f"{path}: element {place} is {_kind(row)}, not an object ({len(wrong)} such in all).")
    return frames.tidy(frames.from_rows(rows), str(path)), text.found


def read_lines(path: Path, data: config.Data) -> tuple[pl.DataFrame, dict[str, str]]:
    """A file with an object a line. Raises DataError that names the lines that are none."""
    text = decode.look(path, data.encoding)
    bad: list[BadRow] = []
    parts = list(_chunks(text, ROWS, bad.append))
    if bad:
        shown = [f"  line {b.line}: {b.problem}: {b.text[:80]}" for b in bad[:SHOWN]]
        lines = "1 line" if len(bad) == 1 else f"{len(bad):,} lines"
        more = ["  …"] if len(bad) > SHOWN else []
        raise DataError("\n".join([f"{path}: {lines} cannot be read as JSON objects.", *shown, *more]))
    return (frames.stack(parts) if parts else pl.DataFrame()), text.found


def batches(path: Path, data: config.Data, rows: int, bad: Bad) -> Iterator[pl.DataFrame]:
    """An object a line, in frames of at most `rows` rows; `bad` gets each line that is none.

    The file is parsed twice, first to learn the columns and types of the whole: every frame has them.
    """
    text = decode.look(path, data.encoding)
    types = frames.common([frame.schema for frame in _chunks(text, rows, lambda row: None)])
    for frame in _chunks(text, rows, bad):
        yield frames.fit(frame, types)


def _chunks(text: decode.Text, rows: int, bad: Bad) -> Iterator[pl.DataFrame]:
    start = 1
    try:
        with decode.characters(text) as stream:
            while lines := list(itertools.islice(stream, rows)):
                frame = _fast(lines) if any(line.strip() for line in lines) else pl.DataFrame()
                frame = frames.tidy(_slow(lines, start, bad) if frame is None else frame, str(text.path))
                if frame.height:
                    yield frame
                start += len(lines)
    except OSError as error:
        raise decode.broken(text.path, error) from error


def _fast(lines: list[str]) -> pl.DataFrame | None:
    """By polars' parser, or None where a line is wrong or a column mixes types."""
    try:
        return pl.read_ndjson(io.BytesIO("".join(lines).encode()), infer_schema_length=None)
    except (pl.exceptions.PolarsError, UnicodeEncodeError):
        return None


def _slow(lines: list[str], start: int, bad: Bad) -> pl.DataFrame:
    """By Python's parser: every line is judged on its own."""
    rows = []
    for number, line in enumerate(lines, start):
        line = line.rstrip("\r\n")
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except json.JSONDecodeError as error:
            bad(BadRow(number, line, f"{error.msg} (column {error.colno})"))
            continue
        if isinstance(row, dict):
            rows.append(row)
        else:
            bad(BadRow(number, line, f"{_kind(row)}, not an object"))
    return frames.from_rows(rows)


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
