"""The prediction log, as the server writes it: each answered row is in a file before its answer leaves.

`open_log` gives a Writer for one model version. `ids` names the rows to come, `write` appends their
records (a Line for one, a Block for all of a request) to the current segment (see `keepfit.data.segments`)
with one write(2), and only then may the answer be sent: what the kernel has survives the end of the
process, `kill -9` included. What it takes to survive a power cut is `durable`. `keepfit.data.log_roll`
turns segments into Parquet, in a process of its own (`roller`), and reads both.

What a value means is settled when the log is rolled; here values are written as they came. Only the
columns of the schema are written, less those that are redacted: these never reach a file.

>>> import tempfile
>>> from keepfit.types import Column
>>> schema = Schema((Column("age", "number"), Column("name", "id")), "regression")
>>> log = open_log(Path(tempfile.mkdtemp()), schema, "shop", "3", redact=["name"])
>>> first, second = log.ids(2)
>>> [inputs] = log.inputs([{"age": "41", "name": "Bo"}])
>>> log.write([Line(first, 1.5, "r1", "ann", "/predict", 0.001, inputs, 7.5)])
>>> path = log.path
>>> log.close()
>>> path.read_text().splitlines()[1].partition(',"time"')[2]
':1.5,"request":"r1","caller":"ann","route":"/predict","latency":0.001,"inputs":["41"],"prediction":7.5}'
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from keepfit.data import segments
from keepfit.data.rows import lists_of, values_of
from keepfit.errors import DataError, RequestError
from keepfit.types import Column, Schema

log = logging.getLogger("keepfit.server")
SHADOW = "shadow"
ROOM = 64 * 1024  # bytes that a disk must take before it is said to be writable again
ENDS = [f"{number:x}" for number in range(256)]  # of ids
PADDED = [f"{number:02x}" for number in range(256)]
RETRY = 5.0  # seconds after which a client may ask again, when the log cannot be written


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """One answered row. `time` is seconds since 1970 UTC, `latency` seconds.

    `inputs` are raw values in the order of the header's columns (`Writer.inputs`), bytes as base64; `prediction`
    is a label or a number, `probabilities` are in the order of the schema's classes, `step` and `scale`
    are those of a forecast (`models.fitted.Ahead`). JSON has null for NaN.
    """

    id: str
    time: float
    request: str
    caller: str | None
    route: str
    latency: float
    inputs: Sequence[Any]
    prediction: str | float | None
    confidence: float | None = None
    probabilities: Sequence[float | None] | None = None
    low: float | None = None
    high: float | None = None
    step: float | None = None
    scale: float | None = None


class Block(msgspec.Struct, omit_defaults=True, gc=False):
    """The answered rows of one request: what they share, and lists of what they do not, a value each.

    Written in a fraction of the time of so many Lines, and read as these (`unblocked`). `inputs` is a list for
    each of the header's columns (`Writer.columns`).
    """

    ids: Sequence[str]
    time: float
    request: str
    caller: str | None
    route: str
    latency: float
    inputs: Sequence[Sequence[Any]]
    prediction: Sequence[str | float | None]
    confidence: Sequence[float | None] | None = None
    probabilities: Sequence[Sequence[float | None]] | None = None
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    step: Sequence[float | None] | None = None
    scale: Sequence[float | None] | None = None


def unblocked(block: Block) -> list[Line]:
    """The Lines that a Block stands for. Raises ValueError where it does not have a value for each.

    >>> block = Block(["a-0", "a-1"], 1.5, "r1", "ann", "/predict", 0.1, [[41, 29]], [7.0, 8.0])
    >>> [(line.id, line.inputs, line.prediction) for line in unblocked(block)]
    [('a-0', (41,), 7.0), ('a-1', (29,), 8.0)]
    """
    n = len(block.ids)
    shared = ([value] * n for value in (block.time, block.request, block.caller, block.route, block.latency))
    inputs = [*zip(*block.inputs, strict=True)] if block.inputs else [()] * n
    said = (block.prediction, block.confidence, block.probabilities, block.low, block.high, block.step, block.scale)
    own = ([None] * n if part is None else part for part in said)
    return [Line(*row) for row in zip(block.ids, *shared, inputs, *own, strict=True)]


def flat(row: Line | Block) -> list[Line]:
    """The Lines of what is written at once."""
    return [row] if isinstance(row, Line) else unblocked(row)


def tree(folder: Path, role: str) -> Path:
    """Where the log of a role lies: what a shadow said is beside `folder`, never among what was answered."""
    return folder.parent / SHADOW if role == SHADOW else folder


def logged(schema: Schema, redact: Sequence[str] = ()) -> tuple[Column, ...]:
    """The columns whose values are written: what a caller may bring, ids and times included, less `redact`."""
    never = {"target", "ignore"}
    return tuple(c for c in schema.columns if c.role not in never and c.hook is None and c.name not in redact)


def open_log(
    folder: Path,
    schema: Schema,
    model: str,
    version: str,
    role: str = "champion",
    redact: Sequence[str] = (),
    durable: bool = False,
) -> Writer:
    """A Writer for the answers of one model version, in a new segment of the log in `folder`.

    `role` is champion, canary or shadow. With `durable`, `write` returns when the disk has the rows.
    Raises DataError where the folder cannot be written.
    """
    columns = logged(schema, redact)
    header = {
        "model": model,
        "version": version,
        "role": role,
        "task": schema.task,
        "classes": schema.classes,
        # how values are read, and nothing that the training data hold
        "columns": [{"name": c.name, "role": c.role, "dtype": c.dtype, "formats": c.formats, "tokens": c.tokens}
                    for c in columns],
        "redacted": sorted(redact),
    }  # fmt: skip
    try:
        return Writer(tree(folder, role), header, [c.name for c in columns], durable)
    except OSError as error:
        raise DataError(
            f"The prediction log in {folder} cannot be written: {error.strerror or error}. "
            "Free some space or check its owner and mode; or set serving.log.enabled: false."
        ) from error


class Writer:
    """Appends to one segment after the other. One thread at a time; any number of Writers a folder."""

    def __init__(self, folder: Path, header: segments.Header, kept: Sequence[str], durable: bool) -> None:
        self.folder = folder
        self.inputs, self.columns = (
            values_of(kept),
            lists_of(kept),
        )  # what the log keeps of rows: a row each, a column each
        self._header, self._durable = header, durable
        self._encode = msgspec.json.Encoder(enc_hook=_plain).encode_lines
        self._broken = False
        self.fault: str | None = None  # why rows could not be written, until `recover` finds that they can
        self._segment: str
        self._file: int
        self._size: int
        self._prefix: str
        self._since: float
        self._lines: int  # written to the segment
        self._given: int  # ids given in the segment
        self._begin()

    @property
    def path(self) -> Path:
        """The file of the current segment."""
        return segments.path(self.folder, self._segment)

    def ids(self, n: int) -> list[str]:
        """Ids for the next `n` rows: unique, and in the order of the rows within a segment.

        They name the current segment, so write their rows before the next `rotate`. Ids that are given
        and then not written are lost, and harm nothing.
        Raises RequestError (503) where a damaged segment has to be replaced, and cannot be.
        """
        if self._broken:
            self._replace()
        found: list[str] = []
        while len(found) < n:  # in runs that differ in the last two digits
            high, low = divmod(self._given, 256)
            start, ends = (f"{self._prefix}{high:x}", PADDED) if high else (self._prefix, ENDS)
            run = ends[low : low + n - len(found)]
            found += [start + end for end in run]
            self._given += len(run)
        return found

    def write(self, rows: Sequence[Line | Block]) -> None:
        """Append the rows; when this returns, they outlive the process.

        Raises RequestError (503) where the system refuses, a full disk for one: then none of them is
        in the log, and none may be answered. Its `__cause__` is the system's error.
        """
        try:
            lines = self._encode(rows)
        except (UnicodeEncodeError, TypeError, ValueError, RecursionError):  # rows of a protocol that is not JSON
            lines = self._encode([_cleaned(line) for row in rows for line in flat(row)])
        if self._broken:
            if rows and flat(rows[0])[0].id.startswith(self._prefix):  # ids of a segment that is given up
                raise _unwritable()
            self._replace()
        try:
            self._size = segments.append(self._file, lines, self._size, self._durable)
        except OSError as error:
            self._broken = os.fstat(self._file).st_size != self._size
            raise self._failed(error) from error
        self._lines += len(rows)

    def rotate(self, max_bytes: int, max_age: float) -> bool:
        """Begin a new segment if the current one has reached `max_bytes`, or `max_age` seconds with any rows.

        Also where somebody has removed its file: what is written to it from then on would be lost.

        The old one may be rolled from then on. Raises DataError where the new one cannot be begun; the
        old one then stays in use.
        """
        if self._file < 0:
            return False
        full = self._size >= max_bytes or time.monotonic() - self._since >= max_age
        if not (self._lines and full) and os.fstat(self._file).st_nlink:
            return False
        file = self._file
        try:
            self._begin()
        except OSError as error:
            raise DataError(f"No new segment in {self.folder}: {error.strerror or error}. Free some space.") from error
        os.close(file)
        return True

    def recover(self) -> None:
        """Find out whether there is room again; then a new segment is begun.

        Rows do not tell: of a disk that is nearly full, few go in and many do not.
        """
        if self._file < 0:
            return
        probe = segments.path(self.folder, f".{self._segment}-probe")
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            try:
                probe.write_bytes(bytes(ROOM))
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            self.fault = error.strerror or str(error)
        else:
            self._broken, self.fault = True, None  # the fault may have been that of the file
            log.info("the prediction log in %s can be written again", self.folder)

    def close(self) -> None:
        """Let go of the segment. One without rows is removed. Closing twice does nothing."""
        if self._file < 0:
            return
        if not self._lines:
            self.path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = -1

    def _begin(self) -> None:
        self._segment, self._file, self._size = segments.begin(self.folder, self._header)
        self._prefix = f"{self._segment}-"
        self._since, self._lines, self._given = time.monotonic(), 0, 0

    def _replace(self) -> None:
        file = self._file
        try:
            self._begin()
        except OSError as error:
            raise self._failed(error) from error
        self._broken = False
        os.close(file)

    def _failed(self, error: OSError) -> RequestError:
        """What a client is told. The operator is told once, until it goes well again."""
        told, before = error.strerror or str(error), self.fault
        self.fault = told
        if before is None:
            log.error(
                "the prediction log in %s cannot be written, requests are answered with 503: %s", self.folder, told
            )
        return _unwritable()


def _unwritable() -> RequestError:
    told = "The prediction log cannot be written, and what is not logged is not answered. Try again later."
    return RequestError(503, "log_unwritable", told, retry=RETRY)


def _plain(value: Any) -> Any:
    """What JSON has no form for: a number of numpy's as Python's, anything else as text."""
    return value.item() if getattr(value, "ndim", None) == 0 else str(value)


def _cleaned(row: Line) -> Line:
    """A row that certainly can be written."""
    told = {name: _writable(getattr(row, name)) for name in ("request", "caller", "route", "prediction")}
    return msgspec.structs.replace(row, inputs=[*map(_writable, row.inputs)], **told)


def _writable(value: Any) -> Any:
    """A value that certainly can be written: half a surrogate pair is spelled out. Bytes become base64."""
    if isinstance(value, (bool, int, float, bytes)) or value is None:
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()


def roller(folder: Path, uri: str | None = None, retention: float | None = None) -> list[str]:
    """The command that rolls the log in `folder`, its shadow and its feedback, for a child process.

    It ends with code 0 and one JSON document on stdout, or with 1 and a message on stderr; then what it
    did not finish is done by the next one. Any number may run at once.
    """
    command = [sys.executable, "-m", "keepfit.data.log_roll", str(folder)]
    command += ["--uri", uri] if uri else []
    return command + (["--retention", str(retention)] if retention is not None else [])
