"""The prediction log as counts of time slices, of one version of the model.

Rows are put into slices by the time of the answer, or by a column that has the time of the event. A
slice is whole: counts are those of all its rows that are known by now.

A Parquet part of the log never changes, so it is read once: what it counted is kept, with all parts of
its day, in `FOLDER/VERSION/DAY.json`. A part that comes late is simply one that is not kept yet, and
is added, so no row is lost however late it is rolled. What the segments hold is counted anew each time.
Kept counts are for one reference, one length of slices and one clock; others are made again. They may
be deleted at any time.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from keepfit import durable
from keepfit.data import log_parts, log_stream
from keepfit.data.log_parts import Part
from keepfit.data.log_stream import Batch
from keepfit.features import arrow
from keepfit.features.values import Columns
from keepfit.monitoring import counts
from keepfit.monitoring.counts import NONE, Counts, Rows, merge
from keepfit.monitoring.reference import CONFIDENCE, PREDICTION, Reference
from keepfit.monitoring.signals import Floats
from keepfit.types import Column, Schema

FORMAT = 1
ANSWERED = Column("time", "time", "date")
Slices = dict[float, Counts]  # by their start, seconds since 1970 UTC


class Log(NamedTuple):
    """What is counted, and how: the version's schema, the length of a slice in seconds, the clock's column."""

    reference: Reference
    schema: Schema
    version: str
    every: float
    clock: str | None
    rows: Rows


def of_log(
    folder: Path, reference: Reference, schema: Schema, version: str, every: float, since: datetime | None = None,
    until: datetime | None = None, time: str | None = None, cache: Path | None = None, uri: str | None = None,
) -> dict[datetime, Counts]:  # fmt: skip
    """Start of a slice (UTC) → counts of its rows, oldest first; slices without rows are left out.

    Args:
        folder: the log's tree (`data.log.tree`). version: as the log names it.
        every: the length of a slice in seconds.
        since, until: only slices that have a moment from `since` on and before `until`.
        time: an input of role date or time by which rows are ordered instead of by the answer. A row
            without one has that of the row before it.
        cache: where the counts of parts are kept; None: nowhere.

    Raises DataError where the store at `uri` cannot be read.
    """
    log = Log(reference, schema, version, every, time, counts.counter(reference, schema, time))
    begin, end = _seconds(since, -np.inf), _seconds(until, np.inf)
    fresh = _fresh(folder, log)
    parts = log_parts.listed(folder, uri)
    rolled = {(part.segment, part.day) for part in parts}
    found: Slices = {}
    for key, slices in fresh.items():
        if key not in rolled:
            _add(found, slices)
    for day, its in groupby(sorted(parts, key=lambda part: part.day), lambda part: part.day):
        if time is not None or _overlaps(day, begin - every, end + every):
            _add(found, _of_day(day, list(its), log, cache, uri))
    return {
        datetime.fromtimestamp(start, UTC): found[start]
        for start in sorted(found)
        if start + every > begin and start < end
    }


def _seconds(moment: datetime | None, default: float) -> float:
    if moment is None:
        return default
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


def _overlaps(day: date, begin: float, end: float) -> bool:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    return start < end and start + 86_400 > begin


def _add(found: Slices, some: Mapping[float, Counts]) -> None:
    for start, count in some.items():
        found[start] = merge(found.get(start, NONE), count)


# --- reading --------------------------------------------------------------------------------------


def _fresh(folder: Path, log: Log) -> dict[tuple[str, date], Slices]:
    """What is not rolled yet, by segment and day."""
    found: dict[tuple[str, date], Slices] = defaultdict(dict)
    for batch in log_stream.fresh(folder):
        _add(found[batch.segment, batch.day], _sliced(batch, log))
    return found


def _of_day(day: date, parts: list[Part], log: Log, cache: Path | None, uri: str | None) -> Slices:
    """The slices of one day's parts: of those that are new since it was kept, and what was kept."""
    path = None if cache is None else cache / log.version / f"{day}.json"
    known = {f"{part.segment}-{part.rows}": part for part in parts}
    kept, slices = _kept(path, log)
    if not kept <= set(known):  # the retention of some has ended
        kept, slices = set(), {}
    new = [part for name, part in known.items() if name not in kept]
    for part in new:
        for batch in log_stream.part(part, _strings(log.schema), uri):
            if batch.version != log.version:  # a segment has one
                break
            _add(slices, _sliced(batch, log))
    if new and path is not None:
        _keep(path, log, known, slices)
    return slices


def _strings(schema: Schema) -> list[str]:
    """The log's columns of text, which are read as dictionaries."""
    return [PREDICTION, *(f"inputs.{column.name}" for column in schema.inputs if column.role == "category")]


def _sliced(batch: Batch, log: Log) -> Slices:
    """The counts of a batch by slice."""
    if batch.version != log.version or not batch.rows.num_rows:
        return {}
    inputs = _inputs(batch.rows)
    columns = arrow.from_arrow(inputs, batch.rows.num_rows, log.schema)
    said, times = _said(batch.rows, log.schema), _times(batch.rows, inputs, log)
    starts = np.floor(times / log.every) * log.every
    different = np.unique(starts)
    if len(different) == 1:
        return {float(different[0]): log.rows(columns, said, times)}
    rows = {float(start): np.flatnonzero(starts == start) for start in different}
    return {start: _part(columns, said, times, at, log.rows) for start, at in rows.items()}


def _part(columns: Columns, said: Mapping[str, Any], times: Floats, rows: Any, count: Rows) -> Counts:
    return count(columns[rows], {name: values[rows] for name, values in said.items()}, times[rows])


def _inputs(rows: pa.RecordBatch) -> dict[str, pa.Array]:
    """The values that callers sent; a redacted column is not there."""
    if "inputs" not in rows.schema.names:
        return {}
    struct = rows.column("inputs")
    return {struct.type.field(n).name: struct.field(n) for n in range(struct.type.num_fields)}


def _said(rows: pa.RecordBatch, schema: Schema) -> dict[str, Any]:
    """What the model said, as `reference.said`."""
    number = Column("", "number")
    if not schema.classes:
        return {PREDICTION: arrow.numbers(rows.column("value"), number)}
    labels = arrow.coded(rows.column(PREDICTION), Column("", "category"))
    return {PREDICTION: labels, CONFIDENCE: arrow.numbers(rows.column(CONFIDENCE), number)}


def _times(rows: pa.RecordBatch, inputs: Mapping[str, pa.Array], log: Log) -> Floats:
    """(n,) seconds since 1970 UTC."""
    answered = arrow.seconds(rows.column("time"), ANSWERED)
    if log.clock is None or log.clock not in inputs:
        return answered
    told = arrow.seconds(inputs[log.clock], log.schema[log.clock])
    if np.isnan(told).all():
        return answered
    last = np.maximum.accumulate(np.where(np.isnan(told), 0, np.arange(len(told))))  # the last row that has one
    return np.asarray(np.where(np.isnan(told[last]), told[~np.isnan(told)][0], told[last]))


# --- keeping --------------------------------------------------------------------------------------


def _about(log: Log) -> dict[str, Any]:
    return {"format": FORMAT, "reference": log.reference.key, "every": log.every, "time": log.clock}


def _kept(path: Path | None, log: Log) -> tuple[set[str], Slices]:
    """The parts whose counts are kept, and these; nothing where they are for something else, or damaged."""
    if path is None:
        return set(), {}
    try:
        told = json.loads(path.read_bytes())
        if {key: told[key] for key in _about(log)} != _about(log):
            return set(), {}
        return set(told["parts"]), {float(start): counts.read(one) for start, one in told["slices"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return set(), {}


def _keep(path: Path, log: Log, parts: Iterable[str], slices: Mapping[float, Counts]) -> None:
    """A disk that is full costs time at the next pass, and nothing else."""
    told = {str(start): counts.plain(one) for start, one in slices.items()}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write_text(path, json.dumps({**_about(log), "parts": sorted(parts), "slices": told}))
