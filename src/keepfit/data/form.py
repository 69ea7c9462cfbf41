"""The form of a text in columns (CSV, TSV): separator, header, names. Given, or found out.

Only the beginning of the file is parsed here; the rows are read by `data.delimited`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keepfit import config
from keepfit.data import decode
from keepfit.errors import ConfigError, DataError

# Where two fit equally well the earlier one is it: commas stand in decimals and in sentences, tabs in neither.
SEPARATORS = {"\t": "tab", "|": "bar", ";": "semicolon", ",": "comma"}
SAMPLE = 1 << 17  # characters looked at; the csv module takes no longer field
NAMED = 8  # names shown in an error
BLANK_LINES = re.compile(r"(?:[ \t]*(?:\r\n|\n|\r))*")
BLANKS_AND_QUOTE = re.compile(r' +"')
NUMBER = re.compile(r"\s*[-+]?\d+(\.\d*)?\s*")


@dataclass(frozen=True)
class Form:
    """How a file is written, and the names of its columns."""

    text: decode.Text
    separator: str
    names: tuple[str, ...]
    skip: int = 0  # blank lines before the first row
    header: bool = True  # the first row holds the names
    blanks: bool = False  # blanks stand before opening quotes
    alone: bool = False  # there is nothing after the names
    found: Mapping[str, str] = field(default_factory=dict)


def examine(path: Path, data: config.Data) -> Form:
    """The form of a file; what the config says is not guessed.

    Raises DataError for an empty file, duplicate names, or a `data.header` whose length is not the
    number of fields in the rows; ConfigError for a separator that cannot be one.
    """
    text = decode.look(path, data.encoding)
    sample, skip, whole = _sample(text)
    header = [name.strip() for name in data.header or ()]
    separators = [_given(data.separator)] if data.separator else list(SEPARATORS)
    parses = [_parse(sample, separator, whole) for separator in separators]
    parse = max(parses, key=lambda parse: _fit(parse, len(header)))
    names, found = _names(path, parse, header)
    if len(names) > 1 and not data.separator:
        found["separator"] = SEPARATORS[parse.separator]
    repeated = bool(header) and [value.strip() for value in parse.rows[0]] == header
    if repeated:
        found["header"] = "the first row repeats the names of data.header"
    named = repeated or not header
    alone = named and whole and len(parse.rows) == 1
    return Form(text, parse.separator, names, skip, named, parse.blanks, alone, {**text.found, **found})


@dataclass(frozen=True)
class _Parse:
    separator: str
    rows: list[list[str]]
    blanks: bool

    @property
    def fields(self) -> Counter[int]:
        return Counter(len(row) for row in self.rows)


def _sample(text: decode.Text) -> tuple[str, int, bool]:
    """The beginning of the text, the blank lines taken off it, and whether it is the whole text."""
    try:
        with decode.characters(text) as stream:
            sample = stream.read(SAMPLE)
            whole = not stream.read(1)
    except OSError as error:
        raise decode.broken(text.path, error) from error
    blank = BLANK_LINES.match(sample)
    start = blank.end() if blank else 0
    if not sample[start:].strip():
        raise DataError(f"{text.path} is empty: it holds only blanks.")
    return sample[start:], len(sample[:start].splitlines()), whole


def _given(separator: str) -> str:
    """`data.separator` as one character; the blanks beside it are taken off every value anyway.

    >>> _given(", "), _given("tab"), _given(chr(92) + "t")
    (',', '\\t', '\\t')
    """
    named = {name: character for character, name in SEPARATORS.items()} | {"\\t": "\t"}
    character = named.get(separator.lower(), separator.strip(" ") or " ")
    if len(character) != 1 or not character.isascii() or character.isalnum() or character in '"\r\n\0':
        raise ConfigError(f"data.separator: {separator!r} cannot be one; write one character, as in ',' ';' '|' or tab")
    return character


def _parse(sample: str, separator: str, whole: bool) -> _Parse:
    plain = _rows(sample, separator, whole, False)
    if not any(BLANKS_AND_QUOTE.match(value) for row in plain for value in row):
        return _Parse(separator, plain, False)
    trimmed = _rows(sample, separator, whole, True)
    return _Parse(separator, trimmed, True)


def _rows(sample: str, separator: str, whole: bool, blanks: bool) -> list[list[str]]:
    rows = [r for r in csv.reader(io.StringIO(sample, newline=""), delimiter=separator, skipinitialspace=blanks) if r]
    return rows if whole or len(rows) == 1 else rows[:-1]  # the last one may be cut off


def _fit(parse: _Parse, header: int) -> tuple[float, float, int]:
    """How well a separator fits: the rows with the expected number of fields, the rows alike, their fields."""
    expected = header or len(parse.rows[0])
    fields, alike = parse.fields.most_common(1)[0]
    share = parse.fields[expected] / len(parse.rows) if expected > 1 else 0.0
    same = alike / len(parse.rows) if fields > 1 else 0.0
    # One column shows no separator; with the comma, rows that have more than it are still noticed.
    return share, same, fields if share or same else int(parse.separator == ",")


def _names(path: Path, parse: _Parse, header: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    fields = parse.fields.most_common(1)[0][0]
    if header and len(header) != fields and len(header) not in parse.fields:
        raise DataError(
            f"{path}: data.header has {len(header)} names, but the rows have {fields} fields; the first is "
            f"{parse.separator.join(parse.rows[0])[:80]!r}. Name every column, or correct data.separator."
        )
    names = list(header) or [name.strip() for name in parse.rows[0]]
    found = {}
    unnamed = [n for n, name in enumerate(names, 1) if not name]
    if unnamed:
        names = [name or f"column_{n}" for n, name in enumerate(names, 1)]
        found["names"] = ", ".join(f"column {n} has no name and is called column_{n}" for n in unnamed)
    _no_twins(path, names, bool(header))
    values = [name for name in names if NUMBER.fullmatch(name)]
    if len(values) > len(names) / 3:
        found["header"] = f"names such as {values[0]!r} look like values; a file without a header needs data.header"
    return tuple(names), found


def _no_twins(path: Path, names: Sequence[str], given: bool) -> None:
    twins = [name for name, count in Counter(names).items() if count > 1]
    if not twins:
        return
    places = {t: " and ".join(str(n) for n, name in enumerate(names, 1) if name == t) for t in twins}
    shown = ", ".join(f"'{name}' (columns {places[name]})" for name in twins[:NAMED])
    where = "data.header" if given else str(path)
    hint = "" if given else ", or, where the first row holds values and not names, list the names in data.header"
    raise (ConfigError if given else DataError)(f"{where}: duplicate column names: {shown}. Rename them{hint}.")
