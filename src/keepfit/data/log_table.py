"""Lines of the prediction log, and of the feedback, as tables of plain types that Parquet readers share.

    predictions   id, time, model, version, role, request, caller, route, latency, inputs, prediction,
                  value, confidence, probabilities, low, high, step, scale
    feedback      id, time, label, value, caller, row

`inputs` is a struct, with each value as `keepfit.data.conform` reads it: number float64, date
timestamp, image binary, anything else string; what makes no sense in its column is null. `prediction` and `label`
are always text, so that files of different models go together; `value` is the number where there are
no classes; `step` is how many periods after the last observation a forecast is, `scale` what its error is
measured by. `probabilities` is a map from class to probability, for the same reason as text. Timestamps are
microseconds UTC, `latency` is seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import accumulate, chain
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pyarrow as pa

from keepfit.data.conform import conform
from keepfit.data.labels import Label
from keepfit.data.log import Block, Line, unblocked
from keepfit.data.segments import Header
from keepfit.types import Column, Schema, read

DAY = 86_400
BLOCK = b'{"ids":'  # how a line of several rows begins
MOMENT = pa.timestamp("us", tz="UTC")
TEXT, NUMBER, BYTES = pa.string(), pa.float64(), pa.binary()
FIRST, LAST = -62_135_596_800.0, 253_402_300_799.0  # years 1 and 9999, the widest that all readers take
Rows = Sequence[Any]


class Kind(NamedTuple):
    """How the lines of one kind of segment are read: their type, whether one fits its header, and the table."""

    line: type[Any]
    fits: Callable[[Any, Header], bool]
    table: Callable[[Header, Rows], pa.Table]


def decoded(header: Header, lines: bytes) -> tuple[list[Any], list[bytes]]:
    """The rows of whole lines, and those lines that hold none: a disk may have damaged them."""
    kind = KINDS[header.get("kind", "predictions")]
    try:
        rows: list[Any] = msgspec.json.Decoder(kind.line).decode_lines(lines)
        if all(FIRST <= row.time <= LAST and kind.fits(row, header) for row in rows):
            return rows, []
    except msgspec.DecodeError:
        pass
    good, bad = [], []
    for line in lines.splitlines():
        rows = _of_line(kind, header, line)
        good += rows
        bad += [] if rows else [line]
    return good, bad


def _of_line(kind: Kind, header: Header, line: bytes) -> list[Any]:
    """The rows of one line; none where it is damaged."""
    try:
        if line.startswith(BLOCK):
            rows: list[Any] = unblocked(msgspec.json.decode(line, type=Block))
        else:
            rows = [msgspec.json.decode(line, type=kind.line)]
    except (msgspec.DecodeError, ValueError):
        return []
    return rows if all(FIRST <= row.time <= LAST and kind.fits(row, header) for row in rows) else []


def daily(header: Header, rows: Rows) -> Iterator[tuple[date, pa.Table]]:
    """The rows of each day (UTC) as a table."""
    days: dict[int, list[Any]] = {}
    for row in rows:
        days.setdefault(int(row.time // DAY), []).append(row)
    for number, its in days.items():
        yield datetime.fromtimestamp(number * DAY, UTC).date(), table(header, its)


def table(header: Header, rows: Rows) -> pa.Table:
    """Rows of one segment as a table, with the same types whatever the rows are."""
    return KINDS[header.get("kind", "predictions")].table(header, rows)


def _predictions(header: Header, rows: Rows) -> pa.Table:
    n = len(rows)
    columns: dict[str, pa.Array] = {"id": _of(rows, "id", TEXT), "time": moments([row.time for row in rows])}
    for name in ("model", "version", "role"):
        columns[name] = pa.array([header[name]] * n, TEXT)
    for name in ("request", "caller", "route"):
        columns[name] = _of(rows, name, TEXT)
    columns["latency"] = _of(rows, "latency", NUMBER)
    if header["columns"]:  # a struct without fields is nothing that Parquet has
        columns["inputs"] = _inputs(header, rows)
    columns["prediction"] = pa.array([_text(row.prediction) for row in rows], TEXT)
    columns["value"] = pa.array([_number(row.prediction) for row in rows], NUMBER)
    columns["confidence"] = _of(rows, "confidence", NUMBER)
    columns["probabilities"] = _shares([row.probabilities for row in rows], header["classes"])
    for name in ("low", "high", "step", "scale"):
        columns[name] = _of(rows, name, NUMBER)
    return pa.table(columns)


def _feedback(header: Header, rows: Rows) -> pa.Table:
    return pa.table({
        "id": _of(rows, "id", TEXT),
        "time": moments([row.time for row in rows]),
        "label": pa.array([_text(row.label) for row in rows], TEXT),
        "value": pa.array([_number(row.label) for row in rows], NUMBER),
        "caller": _of(rows, "caller", TEXT),
        "row": _of(rows, "row", TEXT),
    })  # fmt: skip


def _shares(rows: Sequence[Sequence[float | None] | None], classes: Sequence[str]) -> pa.MapArray:
    """Probabilities in the order of the classes as a map a row; null where there are none."""
    known = [row for row in rows if row is not None]
    ends = list(accumulate(0 if row is None else len(classes) for row in rows))
    starts = [None if row is None else end - len(classes) for row, end in zip(rows, ends, strict=True)]
    keys = pa.array([*classes] * len(known), TEXT)
    values = pa.array([*chain.from_iterable(known)], NUMBER)
    return pa.MapArray.from_arrays(pa.array([*starts, ends[-1] if ends else 0], pa.int32()), keys, values)


def _of(rows: Rows, name: str, kind: pa.DataType) -> pa.Array:
    return pa.array([getattr(row, name) for row in rows], kind)


def _text(value: str | float | None) -> str | None:
    return value if isinstance(value, str) or value is None else repr(value)


def _number(value: str | float | None) -> float | None:
    return None if isinstance(value, str) else value


def moments(seconds: Sequence[float]) -> pa.Array:
    """Seconds since 1970 UTC as timestamps; each within the years 1 to 9999."""
    return pa.array([round(value * 1e6) for value in seconds], pa.int64()).cast(MOMENT)


def _inputs(header: Header, rows: Rows) -> pa.StructArray:
    columns = tuple(read(Column, told) for told in header["columns"])
    raw = [_series(c.name, [row.inputs[n] for row in rows]) for n, c in enumerate(columns)]
    frame, _ = conform(pl.DataFrame(raw), Schema(columns, "none"))
    arrays = [_typed(frame[c.name], _type(c)) for c in columns]
    return pa.StructArray.from_arrays(arrays, fields=[pa.field(c.name, _type(c)) for c in columns])


def _series(name: str, values: Sequence[Any]) -> pl.Series:
    """Raw values as a series of their own type; as objects where they are of several."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds <= {str} or kinds <= {bytes} or kinds <= {float} or kinds <= {int} or kinds <= {bool}:
        try:
            return pl.Series(name, values)
        except OverflowError:  # an integer of more than 64 bits
            pass
    return pl.Series(name, values, pl.Object)


def _type(column: Column) -> pa.DataType:
    if column.dated:
        return MOMENT
    if column.role == "image":
        return BYTES
    return NUMBER if column.role in ("number", "time", "moment", "past") else TEXT


def _typed(series: pl.Series, kind: pa.DataType) -> pa.Array:
    if kind == MOMENT:
        inside = series.cast(pl.Float64).is_between(FIRST, LAST)
        series = (series.cast(pl.Float64) * 1e6).round().set(~inside, None).cast(pl.Int64)
        return pa.array(series.to_list(), pa.int64()).cast(MOMENT)
    found = series.to_arrow(compat_level=pl.CompatLevel.oldest())
    return found.cast(kind)


def _prediction_fits(row: Line, header: Header) -> bool:
    shares = row.probabilities
    return len(row.inputs) == len(header["columns"]) and (shares is None or len(shares) == len(header["classes"]))


KINDS: Mapping[str, Kind] = {
    "predictions": Kind(Line, _prediction_fits, _predictions),
    "feedback": Kind(Label, lambda row, header: True, _feedback),
}
# what a table is before anything was logged
EMPTY: Mapping[str, Header] = {
    "predictions": {"columns": [], "classes": [], "model": "", "version": "", "role": ""},
    "feedback": {"kind": "feedback"},
}
