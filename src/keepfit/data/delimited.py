"""Text in columns (CSV, TSV) as frames of strings, all at once or in constant memory.

Every value is read as a string, without the blanks around it, so that no mixture of types can stop
a read; the schema gives the types. An empty field is null; a quoted empty one is "". A row with a
wrong number of fields is handed out apart, with its line and its text, while the others go on.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from keepfit import config
from keepfit.data import decimal, decode, form, unquoted
from keepfit.data.form import SEPARATORS, Form
from keepfit.errors import DataError

BLOCK = 4 << 20  # bytes parsed at once: the longest row that can be read, and 1 % of the memory taken
ROWS = 50_000  # rows parsed at once where Python's parser is needed
SHOWN = 5  # bad rows shown in an error


@dataclass(frozen=True)
class BadRow:
    """A row that could not be read: its first line in the file (0: unknown), its text, and why."""

    line: int
    text: str
    problem: str


Bad = Callable[[BadRow], object]


def read(path: Path, data: config.Data) -> tuple[pl.DataFrame, dict[str, str]]:
    """The whole file, and what was found out about its form.

    Raises DataError for what `form.examine` refuses, for rows with a wrong number of fields (it
    names their lines) and for a file without rows.
    """
    known = form.examine(path, data)
    bad: list[BadRow] = []
    frames = list(chunks(known, bad.append))
    if bad:
        raise DataError(ragged(known, bad))
    if not frames:
        raise DataError(f"{path} has column names ({', '.join(known.names[: form.NAMED])}) but no rows.")
    return _numbers(pl.concat(frames), data), dict(known.found)


def batches(path: Path, data: config.Data, rows: int, bad: Bad) -> Iterator[pl.DataFrame]:
    """The file in constant memory, in frames of `rows` rows (the last one may have fewer)."""
    waiting: list[pl.DataFrame] = []
    height = 0
    for chunk in chunks(form.examine(path, data), bad):
        waiting.append(_numbers(chunk, data))
        height += chunk.height
        if height >= rows:
            whole = pl.concat(waiting)
            full = height - height % rows
            yield from whole[:full].iter_slices(rows)
            waiting, height = [whole[full:]], height - full
    if height:
        yield pl.concat(waiting)


def _numbers(frame: pl.DataFrame, data: config.Data) -> pl.DataFrame:
    return decimal.points(frame) if data.decimal == "," else frame


def ragged(known: Form, bad: Sequence[BadRow]) -> str:
    """The error text for rows that cannot be read."""
    rows = "1 row" if len(bad) == 1 else f"{len(bad):,} rows"
    fields = "1 field" if len(known.names) == 1 else f"{len(known.names)} fields"
    shown = [f"  line {b.line or '?'} has {b.problem}: {' '.join(b.text.split())[:80]}" for b in bad[:SHOWN]]
    return "\n".join(
        [
            f"{known.text.path}: {rows} cannot be read; "
            f"every row should have {fields} (separator: {SEPARATORS.get(known.separator, known.separator)}).",
            *shown,
            *(["  …"] if len(bad) > SHOWN else []),
            "Put quotes around values that hold the separator, remove these rows, or set data.separator.",
        ]
    )


def chunks(known: Form, bad: Bad) -> Iterator[pl.DataFrame]:
    """The rows in order, in frames of strings of one parsed block; `bad` gets each BadRow."""
    if known.alone:
        return
    last: pl.DataFrame | None = None
    for part in _trimmed(known, bad) if known.blanks else _parsed(known, bad):
        if last is not None:
            yield last
        last = part
    if last is not None:
        last = _without_open_quote(known, last, bad)
        if last.height:
            yield last


def _parsed(known: Form, bad: Bad) -> Iterator[pl.DataFrame]:
    """Blocks without a quote by polars' parser, from the first other one on by pyarrow's.

    What is refused is handed out after each block.
    """
    refused: list[BadRow] = []
    for frame in itertools.chain(_blocks(known, refused), [None]):
        while refused:
            bad(refused.pop(0))
        if frame is not None and frame.height:
            yield frame


def _blocks(known: Form, refused: list[BadRow]) -> Iterator[pl.DataFrame]:
    at, rows = 0, 0
    for frame, end in unquoted.blocks(known, BLOCK):
        yield frame
        at, rows = end, rows + frame.height
    if at and at == known.text.path.stat().st_size:
        return
    from keepfit.data import quoted  # brings pyarrow, which a file without quotes does not need

    line = _locator(known)

    def refuse(number: int, text: str, fields: int) -> None:
        refused.append(BadRow(line(number), text, _fields(fields)))

    yield from quoted.blocks(known, BLOCK, at, rows, refuse)


def _trimmed(known: Form, bad: Bad) -> Iterator[pl.DataFrame]:
    """Blocks by Python's parser, slower, for files with blanks before opening quotes."""
    width = len(known.names)
    schema = dict.fromkeys(known.names, pl.String)
    records = itertools.islice(_records(known), int(known.header), None)
    while block := list(itertools.islice(records, ROWS)):
        for line, record in block:
            if len(record) != width:
                bad(BadRow(line, known.separator.join(record), _fields(len(record))))
        good = [[value or None for value in record] for _, record in block if len(record) == width]
        if good:
            yield pl.DataFrame(good, schema=schema, orient="row").with_columns(pl.all().str.strip_chars())


def _records(known: Form) -> Iterator[tuple[int, list[str]]]:
    """First line and values of every row that is not blank, the header's too, by Python's parser."""
    line = 1
    try:
        with decode.characters(known.text) as stream:
            reader = csv.reader(stream, delimiter=known.separator, skipinitialspace=known.blanks)
            for record in reader:
                if record and (line > known.skip):
                    yield line, record
                line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{known.text.path}, line {line}: {error}. Is a quote opened there and never closed?"
        ) from error
    except OSError as error:
        raise decode.broken(known.text.path, error) from error


def _locator(known: Form) -> Callable[[int], int]:
    """A function from the number of a row (1: the first in the file) to its line; asked in ascending order.

    The file is read a second time for it, lazily: only a file with bad rows pays.
    """
    records = enumerate(_records(known), 1)

    def line(number: int) -> int:
        try:
            return next((start for n, (start, _) in records if n == number), 0)
        except DataError:  # a field too long for Python's parser: the row is reported without its line
            return 0

    return line


def _without_open_quote(known: Form, last: pl.DataFrame, bad: Bad) -> pl.DataFrame:
    """The last block without its last row where that swallowed the file's end after an open quote."""
    value = last[-1, -1] or ""
    end = value[-32:].replace('""', '"')
    if "\n" not in value or not known.text.tail.rstrip().replace('""', '"').endswith(end):
        return last
    *_, (line, _) = _records(known)
    bad(BadRow(line, value, "a quote that is never closed"))
    return last[:-1]


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"
