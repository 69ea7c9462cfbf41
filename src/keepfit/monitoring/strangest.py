"""The strangest pictures of a window: those farthest from the training set, small, for the report.

A role whose `watch` has the signal "distance" is looked at. What was counted is not kept row by row, so
the newest pictures of the window are looked at once more, up to LOOKED of them, in bounded batches.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keepfit import features
from keepfit.data import log_parts, log_stream, pictures
from keepfit.data.log_stream import Batch
from keepfit.features import arrow
from keepfit.monitoring.reference import PREDICTION, Reference
from keepfit.types import Schema

DISTANCE = "distance"
MOST = 12  # pictures that are shown
SIDE = 64  # pixels of a shown picture
LOOKED = 2_000  # pictures of the window, the newest


class Strange(NamedTuple):
    """A picture of the log, what was said of it, and how far it is from those of training."""

    distance: float
    id: str
    column: str
    time: str
    prediction: str
    data: bytes


def strangest(
    folder: Path, reference: Reference, schema: Schema, version: str, since: datetime, until: datetime,
    uri: str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The pictures of the log in `folder` that are strangest, the strangest first.

    Each has its `column`, `id`, `time`, what was predicted (`prediction`), its `distance` from the training set
    (about 1 for pictures like those of training), and a small `picture` (a data: URL).
    """
    watched = [column.name for column in schema.inputs if f"{column.name}: {DISTANCE}" in _signals(reference)]
    found: list[Strange] = []
    looked = 0
    for batch in _newest(folder, watched, since, until, uri):
        rows = batch.rows if batch.version == version else batch.rows.slice(0, 0)
        looked += rows.num_rows
        for one in _distances(rows, watched, reference, schema, since, until):
            if one.data in {other.data for other in found}:
                continue  # one picture is strange once
            (heapq.heappushpop if len(found) >= MOST else heapq.heappush)(found, one)
        if looked >= LOOKED:
            break
    return [_told(*one) for one in sorted(found, reverse=True)]


def _signals(reference: Reference) -> set[str]:
    return {signal.name for signal in reference.signals}


def _newest(folder: Path, watched: list[str], since: datetime, until: datetime, uri: str | None) -> Iterator[Batch]:
    """What is not rolled yet, then the parts of the window's days, the newest first."""
    if not watched:
        return
    seen = set()
    for batch in log_stream.fresh(folder):
        seen.add((batch.segment, batch.day))
        yield batch
    for part in sorted(log_parts.listed(folder, uri), key=lambda part: (part.day, part.segment), reverse=True):
        if since.date() <= part.day <= until.date() and (part.segment, part.day) not in seen:
            yield from log_stream.part(part, [], uri)


def _distances(
    rows: Any, watched: list[str], reference: Reference, schema: Schema, since: datetime, until: datetime
) -> Iterator[Strange]:
    """The pictures of some rows that are in the window, with their distance."""
    times = rows.column("time").to_pylist()
    places = [place for place, time in enumerate(times) if since <= _utc(time) < until]
    if not places or "inputs" not in rows.schema.names:
        return
    inputs = rows.column("inputs")
    arrays = {name: inputs.field(name) for name in watched if inputs.type.get_field_index(name) >= 0}
    columns = arrow.from_arrow(arrays, rows.num_rows, schema)[np.array(places)]
    found, _ = features.watch(columns, schema, reference.memory)
    ids, said = rows.column("id"), rows.column(PREDICTION)
    for name, signals in found.items():
        for row in np.flatnonzero(np.isfinite(signals[DISTANCE])).tolist():
            place, distance = places[row], float(signals[DISTANCE][row])
            about = name, _utc(times[place]).isoformat(), str(said[place].as_py())
            yield Strange(distance, str(ids[place].as_py()), *about, columns.values[name].data[row])


def _told(distance: float, key: str, column: str, time: str, prediction: str, data: bytes) -> dict[str, Any]:
    told = {"column": column, "id": key, "time": time, "prediction": prediction, "distance": distance}
    return {**told, "picture": pictures.thumbnail(data, SIDE)}


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
