"""Segments of the prediction log become Parquet; rows that are too old go.

    python -m keepfit.data.log_roll .keepfit/predictions [--uri s3://bucket/shop] [--retention 7776000]

rolls every segment that no process writes any more (of a server that was killed too), of the
predictions, of the shadow and of the feedback beside them. Each row is in the Parquet files exactly
once, whatever is killed when, and however many do this at once:

1. the segment is locked, so that one process rolls it;
2. its rows are written aside, a file a day, and are on the disk;
3. the files get their names, which are the segment's: a second try replaces the first;
4. `_rolled/SEGMENT.json` is written, and the segment removed.

Readers take the rows of a segment and a day from the part, where there is one, and else from the
segment (`keepfit.data.log_read`).
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from itertools import chain
from pathlib import Path

import msgspec
import pyarrow.parquet

from keepfit import durable
from keepfit.data import labels, log_parts, log_table, segments
from keepfit.data.log import SHADOW, tree
from keepfit.data.segments import Header
from keepfit.errors import DataError, KeepfitError

BLOCK = 1 << 21  # bytes of a segment that are in memory at once; a row group of the Parquet file
DAMAGED = "_damaged"
FEEDBACK = "feedback"
ABANDONED = 60  # seconds after which a segment that never got its name is one of a killed process
NICE = 10  # what answers goes first


@dataclass(frozen=True)
class Rolled:
    """What was done: segments and rows rolled, lines that could not be read and were put aside, parts deleted."""

    segments: int = 0
    rows: int = 0
    damaged: int = 0
    deleted: int = 0

    def __add__(self, other: Rolled) -> Rolled:
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return Rolled(*(a + b for a, b in pairs))


@dataclass
class _Gathered:
    """What is found in a segment while it is rolled: rows of each day, damaged lines, ids given."""

    rows: dict[date, int] = field(default_factory=dict)
    bad: list[bytes] = field(default_factory=list)
    given: int = 0


def roll(folder: Path, uri: str | None = None) -> Rolled:
    """Roll the segments of `folder` that nobody writes, into `folder` or under `uri`.

    Raises DataError where the disk or the store refuses; the segment is then there still, and whole.
    """
    done = Rolled()
    for name in segments.names(folder):
        file = segments.take(folder, name)
        if file is None:  # it is being written, or rolled
            continue
        try:
            done += _rolled(folder, name, file, uri)
        except OSError as error:
            raise DataError(
                f"{segments.path(folder, name)} cannot be rolled into Parquet: {error.strerror or error}. "
                "Nothing is lost: free some space, and the next try goes on."
            ) from error
        finally:
            os.close(file)
    return done


def _rolled(folder: Path, name: str, file: int, uri: str | None) -> Rolled:
    """Roll one segment, which is locked."""
    blocks = segments.blocks(file, BLOCK)
    line, _, rest = next(blocks, b"").partition(b"\n")
    told = segments.header(line)
    if told is None:
        return _unread(folder, name, line)
    found = _write(folder, name, told, chain([rest], blocks))
    for day in sorted(found.rows):
        part = f"date={day}/{name}-{found.rows[day]}.parquet"
        log_parts.keep(folder, uri, _partial(folder, name, day), part)
    if found.bad:
        (folder / DAMAGED).mkdir(exist_ok=True)
        durable.write_bytes(folder / DAMAGED / f"{name}.ndjson", b"\n".join([line, *found.bad, b""]))
    if found.rows:
        segments.settled(folder, name, {**told, "last": str(max(found.rows))}, found.given)
    else:
        segments.path(folder, name).unlink()
    return Rolled(1, sum(found.rows.values()), len(found.bad))


def _write(folder: Path, name: str, told: Header, blocks: Iterator[bytes]) -> _Gathered:
    """Write the rows aside, a file a day, and flush them to the disk."""
    found = _Gathered()
    writers: dict[date, pyarrow.parquet.ParquetWriter] = {}
    try:
        with ExitStack() as stack:
            for block in blocks:
                rows, bad = log_table.decoded(told, block)
                found.bad += bad
                place = segments.place(rows[-1].id) if rows else None
                found.given = place[1] + 1 if place and place[0] == name else found.given
                for day, table in log_table.daily(told, rows):
                    if day not in writers:
                        target = _partial(folder, name, day)
                        opened = pyarrow.parquet.ParquetWriter(target, table.schema, compression="zstd")
                        writers[day] = stack.enter_context(opened)
                    writers[day].write_table(table)
                    found.rows[day] = found.rows.get(day, 0) + len(table)
        for day in writers:
            durable.sync(_partial(folder, name, day))
    except BaseException:
        for day in writers:
            _partial(folder, name, day).unlink(missing_ok=True)
        raise
    return found


def _partial(folder: Path, name: str, day: date) -> Path:
    return folder / segments.LIVE / f".{name}-{day}.partial"


def _unread(folder: Path, name: str, line: bytes) -> Rolled:
    """A segment of a newer keepfit is left to it; one whose header is damaged is put aside."""
    try:
        if msgspec.json.decode(line)["format"] > segments.FORMAT:
            return Rolled()
    except (msgspec.DecodeError, TypeError, KeyError):
        pass
    (folder / DAMAGED).mkdir(exist_ok=True)
    segments.path(folder, name).rename(folder / DAMAGED / f"{name}.ndjson")
    return Rolled(damaged=1)


def expire(folder: Path, seconds: float, uri: str | None = None) -> Rolled:
    """Remove the parts of days (UTC) that ended more than `seconds` ago, and what is known of their segments."""
    before = datetime.fromtimestamp(time.time() - seconds, UTC).date()
    old = [part for part in log_parts.listed(folder, uri) if part.day < before]
    log_parts.remove(folder, uri, old)
    for path in _begun_before(folder / segments.ROLLED, before):
        if msgspec.json.decode(path.read_bytes())["last"] < str(before):
            path.unlink(missing_ok=True)
    for path in _begun_before(folder / DAMAGED, before):
        path.unlink(missing_ok=True)
    return Rolled(deleted=len(old))


def _forget(feedback: Path, predictions: Path, seconds: float) -> None:
    """Remove the marks of ids whose predictions have expired."""
    before = datetime.fromtimestamp(time.time() - seconds, UTC).date()
    for path in _begun_before(feedback / labels.SEEN, before):
        if segments.known(predictions, path.name) is None:
            path.unlink(missing_ok=True)


def _begun_before(folder: Path, day: date) -> list[Path]:
    """Files named after segments that were begun before a day."""
    begun = {path: segments.opened(path.name.partition(".")[0]) for path in folder.glob("*")}
    limit = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    return [path for path, at in begun.items() if at is not None and at < limit]


def _sweep(folder: Path) -> None:
    """Remove segments of processes that were killed before they gave them their name."""
    for path in (folder / segments.LIVE).glob(".*.ndjson"):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.stat().st_mtime < time.time() - ABANDONED:
                    path.unlink()
        except (BlockingIOError, FileNotFoundError):  # at work, or named by now
            continue


def tidy(predictions: Path, uri: str | None = None, retention: float | None = None) -> Rolled:
    """Roll and expire the predictions, their shadow and their feedback; what one `roller` does.

    Raises DataError where the disk or the store refuses; what was done until then stays done.
    """
    feedback = predictions.parent / FEEDBACK
    done = Rolled()
    for folder in (predictions, tree(predictions, SHADOW), feedback):
        _sweep(folder)
        done += roll(folder, uri)
        if retention is not None:
            done += expire(folder, retention, uri)
    if retention is not None:
        _forget(feedback, predictions, retention)
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: one JSON document on stdout and 0, or a message on stderr and 1."""
    parser = argparse.ArgumentParser("keepfit.data.log_roll", description="Roll the prediction log into Parquet.")
    parser.add_argument("folder", type=Path, help="the predictions' folder")
    parser.add_argument("--uri", help="an object store for the Parquet files")
    parser.add_argument("--retention", type=float, metavar="SECONDS", help="delete what is older")
    asked = parser.parse_args(arguments)
    try:
        print(json.dumps(asdict(tidy(asked.folder, asked.uri, asked.retention))))
    except KeepfitError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.nice(NICE)
    gc.disable()  # rows hold no cycles, and looking for some among them costs a tenth of the work
    sys.exit(main())
