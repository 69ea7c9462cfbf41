"""Observations as they are told: what the feedback says by now, read on from where reading ended.

`follow` gives what is known after a look at the feedback. Segments that still grow are read as the bytes that they
are, each from where the last look ended. What the rolled ones hold is asked of `data.log_observed` (which brings
polars), and only where it was not read before: a server that is there while its feedback grows never does.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from keepfit.data import observations, segments
from keepfit.data.labels import Label, Read
from keepfit.data.log import Block, Line, unblocked
from keepfit.extras import load
from keepfit.types import Schema

HEAVY = "keepfit.data.log_observed"
PARTS = "date=*/*.parquet"
BLOCK = 1 << 21  # bytes of a segment that are in memory at once


class Told(NamedTuple):
    """What was told of a series and a period, the last time: `row` has the target too.

    `key` says of which series and period; `id` is what it was told by, a prediction's id or the key; `since` when this
    value was told first (seconds since 1970); `confirmed` whether its teller insisted.
    """

    key: str
    id: str
    row: Mapping[str, Any]
    value: float
    since: float
    last: float
    confirmed: bool = False


class Place(NamedTuple):
    """How far a segment was read."""

    end: int = 0
    lines: int = 0


@dataclass(frozen=True)
class Seen:
    """What was told by now, by its key, and how far each segment was read."""

    places: Mapping[str, Place] = field(default_factory=dict)
    told: Mapping[str, Told] = field(default_factory=dict)


def follow(predictions: Path, schema: Schema, before: Seen, uri: str | None = None) -> Seen:
    """What is known after a look at the feedback beside `predictions`. Raises DataError where `uri` cannot be read."""
    reader = observations.reader(schema, logged=True)
    if reader is None:
        return before
    feedback = predictions.parent / "feedback"
    places, lines = dict(before.places), list[Label]()
    growing = segments.names(feedback)
    for name in growing:
        more, places[name] = _grown(segments.path(feedback, name), places.get(name, Place()))
        lines += more
    gone = [name for name, place in places.items() if place.end and name not in growing]
    elsewhere = uri is not None and bool(gone or not before.places)  # rolled to where nothing tells how much
    if elsewhere or any(_missed(feedback, places)):
        lines = load(f"{HEAVY}:history", "task")(feedback, uri)  # all that is rolled, and what is not
        places |= {name: Place(0, count) for name, count in _rolled(feedback).items()}
    places |= {name: Place(0, places[name].lines) for name in gone}
    told = dict(before.told)
    for key, one in _entries(lines, predictions, schema, reader, uri):
        told[key] = _merged(told.get(key), one)
    return replace(before, places=places, told=told)


def _rolled(feedback: Path) -> dict[str, int]:
    """Segment → its rows in Parquet, by the names of the files."""
    found: dict[str, int] = {}
    for path in feedback.glob(PARTS):
        segment, _, rows = path.stem.rpartition("-")
        found[segment] = found.get(segment, 0) + int(rows)
    return found


def _missed(feedback: Path, places: Mapping[str, Place]) -> Iterator[bool]:
    """Whether a rolled segment has rows that were not read while it grew."""
    return (count > places.get(name, Place()).lines for name, count in _rolled(feedback).items())


def _grown(path: Path, place: Place) -> tuple[list[Label], Place]:
    """The labels of a segment after a place; none where it was rolled meanwhile."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return [], place
    try:
        stop = segments.end(file)
        content = os.pread(file, stop - place.end, place.end) if stop > place.end else b""
    finally:
        os.close(file)
    lines = content.splitlines()[0 if place.end else 1 :]  # the first line of a segment is its header
    found = [label for line in lines if (label := _label(line)) is not None]
    return found, Place(max(stop, place.end), place.lines + len(found))


def _label(line: bytes) -> Label | None:
    try:
        return msgspec.json.decode(line, type=Label)
    except msgspec.DecodeError:  # a disk may have damaged it
        return None


def _entries(
    lines: Iterable[Label], predictions: Path, schema: Schema, reader: Read, uri: str | None
) -> Iterator[tuple[str, Told]]:
    """Key → what was told, in the order in which it was."""
    known = [line for line in lines if isinstance(line.label, (int, float)) and math.isfinite(line.label)]
    asked = _asked(predictions, {line.id for line in known if line.row is None}, uri)
    for line in sorted(known, key=lambda line: line.time):
        row = asked.get(line.id) if line.row is None else json.loads(line.row)
        if row is None:
            continue
        try:
            key, value, text = reader({**row, str(schema.target): line.label})
        except ValueError:  # a prediction of another task or without a time
            continue
        sure = row.get(observations.CONFIRMED) is True
        full = {**json.loads(text), str(schema.target): value}
        yield key, Told(key, line.id, full, value, line.time, line.time, sure)


def _merged(before: Told | None, one: Told) -> Told:
    """What holds of two that tell of the same series and period: the last, since its value was told first."""
    if before is None or (one.last >= before.last and one.value != before.value):
        return one
    if one.value == before.value:
        newest = one if one.last >= before.last else before
        sure = before.confirmed or one.confirmed
        return newest._replace(since=min(before.since, one.since), confirmed=sure)
    return before


# --- labels of predictions ------------------------------------------------------------------------


def _asked(predictions: Path, ids: set[str], uri: str | None) -> Mapping[str, Mapping[str, Any]]:
    """The rows that predictions were asked for, by their ids; from the segments as they grow, else from Parquet."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in {place[0] for place in map(segments.place, ids) if place}:
        found |= _logged(segments.path(predictions, name), ids)
    rest = ids - found.keys()
    if rest:
        found |= load(f"{HEAVY}:asked", "task")(predictions, rest, uri)
    return found


def _logged(path: Path, ids: set[str]) -> dict[str, Mapping[str, Any]]:
    """Of one segment that still grows."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    names: Sequence[str] = ()
    try:
        for block in segments.blocks(file, BLOCK):
            lines = block.splitlines()
            if not names:
                header = segments.header(lines.pop(0))
                names = [column["name"] for column in header["columns"]] if header else ()
            for line in lines:
                found |= {one.id: dict(zip(names, one.inputs, strict=False)) for one in _lines(line) if one.id in ids}
    finally:
        os.close(file)
    return found


def _lines(line: bytes) -> list[Line]:
    try:
        if line.startswith(b'{"ids":'):
            return unblocked(msgspec.json.decode(line, type=Block))
        return [msgspec.json.decode(line, type=Line)]
    except (msgspec.DecodeError, ValueError):
        return []
