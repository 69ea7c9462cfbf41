"""Feedback: what was true, told by the id of a prediction, hours or months after it.

Labels are appended like the predictions they belong to (see `keepfit.data.segments`), under
`.keepfit/feedback`, and rolled into Parquet by the same command. An observation of a series
(`keepfit.data.observations`) is a label too, its key is the id. Nothing is ever overwritten: of
several labels for one id the last wins when they are read (`keepfit.data.log_roll.latest`), and the
others stay as history.

Whether an id was given, by what task and with which classes, stands in the segment that the id names.
Which ids have a label already is a bit each in `_seen/SEGMENT`; only reports depend on it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from keepfit.data import parse, segments
from keepfit.errors import RequestError
from keepfit.extras import nearest

SEEN = "_seen"
RETRY = 5.0  # seconds after which a client may ask again, when the feedback cannot be written
HEADER = {"kind": "feedback"}


class Observation(NamedTuple):
    """One observation as the feedback keeps it: its key, the target's value, and the row without the target as JSON."""

    key: str
    value: float
    row: str


class Unfit(ValueError):
    """Why an entry is no label, or no observation; `column` is what of it is wrong, "" for all of it."""

    def __init__(self, problem: str, column: str = "") -> None:
        super().__init__(problem)
        self.column = column


@dataclass(frozen=True)
class Read:
    """What reads observations, by calling it: it raises Unfit that says what is wrong.

    An entry that has all columns of `names` is one, also where they are called `id` or `label`.
    """

    names: frozenset[str]
    made: Callable[[Mapping[str, Any]], Observation]

    def __call__(self, entry: Mapping[str, Any]) -> Observation:
        return self.made(entry)


def by_id(entry: Mapping[str, Any], observed: Read | None) -> bool:
    """Does an entry of the feedback go by the id of a prediction, and not by series and time?

    >>> read = Read(frozenset({"label", "month", "sold"}), lambda entry: Observation("", 0.0, ""))
    >>> by_id({"id": "a", "label": 3}, read), by_id({"label": "north", "month": "1971-01", "sold": 3}, read)
    (True, False)
    """
    return observed is None or ("label" in entry and not observed.names <= entry.keys())


class Label(msgspec.Struct, omit_defaults=True):
    """One label as it is written: the class, or the number; `time` is seconds since 1970 UTC.

    `row` is that of an observation, as JSON; its id is no prediction's.
    """

    id: str
    label: str | float
    time: float
    caller: str | None = None
    row: str | None = None


@dataclass(frozen=True)
class Invalid:
    """An entry that is no label; `row` counts entries from 0. `column` is what of it is wrong, "" for all of it."""

    row: int
    problem: str
    id: str | None = None
    column: str = ""


@dataclass(frozen=True)
class Report:
    """What became of the entries. Of the `accepted`, `repeated` had a label before; the last one wins.
    (Repeated observations win as well, but are not counted.) Those of the accepted that are `held_back` are kept,
    and what is served does not go on from them: so who asks the model says, each by its id, or its key.

    `unknown` ids were never given here; the rows of `expired` ones are no longer kept.
    """

    accepted: int = 0
    repeated: int = 0
    unknown: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    invalid: tuple[Invalid, ...] = ()
    held_back: tuple[Invalid, ...] = ()


def add(
    folder: Path,
    predictions: Path,
    entries: Iterable[Any],
    caller: str | None = None,
    retention: float | None = None,
    observed: Read | None = None,
) -> Report:
    """Append the labels of `entries`, mappings with `id` and `label`, to the feedback in `folder`.

    With `observed`, entries may be rows that it reads (see `by_id`). `predictions` is the log that gave the ids,
    `retention` how many seconds it keeps. What cannot be accepted is told in the Report; the rest is on the disk
    when this returns. For any number of threads and processes at once.
    Raises RequestError (503) where the system refuses to write: then nothing was accepted.
    """
    now = time.time()
    known = functools.cache(functools.partial(segments.known, predictions))
    labels: list[Label] = []
    unknown: list[str] = []
    expired: list[str] = []
    invalid: list[Invalid] = []
    for row, entry in enumerate(entries):
        key = ""
        try:
            if observed and isinstance(entry, Mapping) and not by_id(entry, observed):
                labels.append(_observation(observed(entry), now, caller))
                continue
            key, *wrong = _key(entry)
            if wrong:
                raise Unfit(*wrong)
            place = segments.place(key)
            its = known(place[0]) if place else None
            if place and its and place[1] < its.given:
                labels.append(Label(key, _meaning(entry["label"], its.header), now, caller))
            else:
                (expired if place and its is None and _old(place[0], now, retention) else unknown).append(key)
        except ValueError as error:
            invalid.append(Invalid(row, str(error), key or None, getattr(error, "column", "")))
    _append(folder, labels)
    return Report(len(labels), _mark(folder, labels), tuple(unknown), tuple(expired), tuple(invalid))


def _observation(found: Observation, now: float, caller: str | None) -> Label:
    return Label(found.key, found.value, now, caller, found.row)


def _key(entry: Any) -> tuple[str, ...]:
    """The id of an entry; where the entry is wrong also in what way, and the column that is."""
    if not isinstance(entry, Mapping):
        return "", f"not an object with id and label, but {type(entry).__name__}", ""
    key = entry.get("id")
    if not isinstance(key, str) or not key.strip():
        return "", "'id' is not there" if key is None else f"'id' is not a text: {parse.shown(key)}", "id"
    return (key.strip(),) if "label" in entry else (key.strip(), "'label' is not there", "label")


def _old(segment: str, now: float, retention: float | None) -> bool:
    begun = segments.opened(segment)
    return retention is not None and begun is not None and begun < now - retention


# task of the predictions → how a number is read that is a label of one
NUMBERS: Mapping[str, Callable[[Any], float | None]] = {"forecast": parse.past}


def _meaning(value: Any, header: Mapping[str, Any]) -> str | float:
    """The class or the number that a label means; Unfit says why it means none."""
    try:
        return _meant(value, header)
    except ValueError as error:
        raise Unfit(str(error), "label") from None


def _meant(value: Any, header: Mapping[str, Any]) -> str | float:
    if not header["classes"]:
        number = NUMBERS.get(header["task"], parse.number)(value)
        if number is None:
            raise ValueError("the label is missing")
        return number
    label = parse.level(value)
    if label is None:
        raise ValueError("the label is missing")
    classes: Sequence[str] = header["classes"]
    found = parse.reconcile((label,), classes)
    if not found:
        some = ", ".join(classes[:10]) + (f", … ({len(classes)} in all)" if len(classes) > 10 else "")
        raise ValueError(f"{parse.shown(value)} is no class. {nearest(label, classes)}Classes: {some}")
    return found[label]


def _append(folder: Path, labels: Sequence[Label]) -> None:
    """Append to a segment that nobody else is at, or to a new one. Raises RequestError (503) where that fails."""
    if not labels:
        return
    lines = msgspec.json.Encoder().encode_lines(labels)
    try:
        with _free(folder) as file:
            size = segments.end(file)
            os.ftruncate(file, size)  # the torn line of a process that was killed was never accepted
            segments.append(file, lines, size, sync=True)
    except OSError as error:
        told = "The feedback cannot be written, and none of it was accepted. Try again later."
        raise RequestError(503, "feedback_unwritable", told, retry=RETRY) from error


@contextmanager
def _free(folder: Path) -> Iterator[int]:
    taken = (segments.take(folder, name) for name in reversed(segments.names(folder)))
    file = next((file for file in taken if file is not None), None)
    if file is None:
        file = segments.begin(folder, HEADER).file
    try:
        yield file
    finally:
        os.close(file)


def _mark(folder: Path, labels: Sequence[Label]) -> int:
    """Note which ids have a label; how many of them had one before, in `labels` or earlier."""
    places: dict[str, list[int]] = {}
    for label in labels:
        if label.row is not None:
            continue
        segment, number = segments.place(label.id) or ("", 0)
        places.setdefault(segment, []).append(number)
    try:
        return sum(_set(folder / SEEN / segment, numbers) for segment, numbers in places.items())
    except OSError:  # the labels are written: a full disk must not make them look refused
        return 0


def _set(path: Path, numbers: Sequence[int]) -> int:
    """Set bits of a file, and count those that were set."""
    path.parent.mkdir(exist_ok=True)
    low, high = min(numbers) // 8, max(numbers) // 8 + 1
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        bits = bytearray(os.pread(file, high - low, low).ljust(high - low, b"\0"))
        before = 0
        for number in numbers:
            at, bit = number // 8 - low, 1 << number % 8
            before += bool(bits[at] & bit)
            bits[at] |= bit
        os.pwrite(file, bits, low)
    finally:
        os.close(file)
    return before
