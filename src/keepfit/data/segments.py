"""Segments: files of JSON lines that grow at the end, and that a killed process leaves readable.

    FOLDER/_segments/SEGMENT.ndjson   a header line, then a line each; locked by the process that writes it
    FOLDER/_rolled/SEGMENT.json       what is known of a segment whose lines are Parquet by now
    FOLDER/date=…/SEGMENT-N.parquet   those lines, one file a day

A name that begins with `_` or `.` is skipped by Spark, DuckDB and polars. The lock is flock(2), which
the system lets go of when the writer ends, however it ends: an unlocked segment is one that nobody
will add to. A line counts once its newline is there, so the torn line of a writer that was killed is
never seen.

A segment's name says when it was begun, and an id names a segment and a place in it: whether an id
was ever given is looked up in one file, without an index.

>>> name = named(1763700000.25)
>>> opened(name), place(f"{name}-1f") == (name, 31)
(1763700000.25, True)
>>> place("no id"), opened("no segment")
(None, None)
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from keepfit import durable

FORMAT = 2  # 1 had a line for each row, and no other
LIVE, ROLLED = "_segments", "_rolled"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
NAME = re.compile(r"[0-9a-z]{13}")
ID = re.compile(r"([0-9a-z]{13})-([0-9a-f]{1,12})")
BLOCK = 1 << 16  # bytes read at once from the end of a segment, in search of its last line
Header = Mapping[str, Any]


class Open(NamedTuple):
    """A segment that this process writes: its name, its locked file, and its bytes so far."""

    name: str
    file: int
    size: int


class Known(NamedTuple):
    """What is told of a segment without reading it: its header, and how many ids were given in it."""

    header: Header
    given: int


def named(now: float) -> str:
    """A new segment's name: the milliseconds since 1970 in base 36, and four random digits."""
    value, text = round(now * 1000), ""
    for _ in range(9):
        value, digit = divmod(value, 36)
        text = DIGITS[digit] + text
    return text + "".join(secrets.choice(DIGITS) for _ in range(4))


def opened(name: str) -> float | None:
    """When the segment was begun, in seconds since 1970; None for what is no segment's name."""
    return int(name[:9], 36) / 1000 if NAME.fullmatch(name) else None


def place(key: str) -> tuple[str, int] | None:
    """The segment that an id names and the place in it; None for what is no id."""
    found = ID.fullmatch(key)
    return (found[1], int(found[2], 16)) if found else None


def path(folder: Path, name: str) -> Path:
    """The file of a segment that is not rolled yet."""
    return folder / LIVE / f"{name}.ndjson"


def names(folder: Path) -> list[str]:
    """The segments that are not rolled yet, oldest first."""
    try:
        return sorted(p.stem for p in (folder / LIVE).iterdir() if p.suffix == ".ndjson" and NAME.fullmatch(p.stem))
    except FileNotFoundError:
        return []


def begin(folder: Path, header: Header) -> Open:
    """A new segment with its header line, locked before anybody can see it. Raises OSError."""
    (folder / LIVE).mkdir(parents=True, exist_ok=True)
    name = named(time.time())
    hidden = path(folder, f".{name}")
    file = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        told = {"format": FORMAT, "segment": name, **header, "process": os.getpid(), "host": socket.gethostname()}
        line = msgspec.json.encode(told) + b"\n"
        append(file, line, 0)
        hidden.rename(path(folder, name))
        durable.sync(folder / LIVE)
    except BaseException:
        os.close(file)
        with suppress(OSError):
            hidden.unlink(missing_ok=True)
        raise
    return Open(name, file, len(line))


def append(file: int, lines: bytes, size: int, sync: bool = False) -> int:
    """Write `lines` at the end of a file of `size` bytes, all or none of them; its new size.

    The kernel has them when this returns, and with `sync` the disk. Raises OSError, after taking
    back what part of them was written.
    """
    try:
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(file, rest) :]
        if sync:
            os.fdatasync(file)
    except OSError:
        os.ftruncate(file, size)
        raise
    return size + len(lines)


def take(folder: Path, name: str) -> int | None:
    """The file of a segment, locked for this process; None when another has it, or it is gone."""
    try:
        file = os.open(path(folder, name), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_nlink:  # else it was rolled between the two calls
            return file
    except BlockingIOError:
        pass
    os.close(file)
    return None


def header(first: bytes) -> Header | None:
    """The header in a segment's first line; None where it is none of a format that is known here."""
    try:
        told = msgspec.json.decode(first)
    except msgspec.DecodeError:
        return None
    return told if isinstance(told, dict) and told.get("format") in (1, FORMAT) else None


def blocks(file: int, size: int) -> Iterator[bytes]:
    """The whole lines of a segment that is open, about `size` bytes at a time."""
    at, stop, step = 0, end(file), size
    while at < stop:
        block = os.pread(file, min(step, stop - at), at)
        whole = block.rfind(b"\n") + 1
        if whole:
            yield block[:whole]
            at, step = at + whole, size
        else:  # a line longer than that
            step *= 2


def end(file: int) -> int:
    """How many bytes of a file are whole lines."""
    at = os.fstat(file).st_size
    while at > 0:
        start = max(0, at - BLOCK)
        newline = os.pread(file, at - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        at = start
    return 0


def _last(file: int) -> bytes:
    """The last whole line of a file."""
    stop, step = end(file), BLOCK
    while True:
        start = max(0, stop - step)
        lines = os.pread(file, stop - start, start)[:-1]
        if start == 0 or b"\n" in lines:
            return lines.rpartition(b"\n")[2]
        step *= 2


class _Line(msgspec.Struct):
    id: str = ""  # of a line for one row
    ids: list[str] = []  # of one for several


def given(name: str, line: bytes) -> int:
    """How many ids of segment `name` were given when its `line` was written."""
    try:
        told = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError:
        return 0
    found = place(told.ids[-1] if told.ids else told.id)
    return found[1] + 1 if found and found[0] == name else 0


def known(folder: Path, name: str) -> Known | None:
    """What is told of a segment, rolled or not; None for one that never was here, or is no more."""
    if not NAME.fullmatch(name):
        return None
    try:
        with path(folder, name).open("rb") as file:
            told = header(file.readline())
            return Known(told, given(name, _last(file.fileno()))) if told else None
    except FileNotFoundError:
        pass
    try:
        told = header((folder / ROLLED / f"{name}.json").read_bytes())
    except FileNotFoundError:
        return None
    return Known(told, int(told["given"])) if told else None


def settled(folder: Path, name: str, told: Header, given: int) -> None:
    """Write down that a segment is Parquet by now, and remove it."""
    (folder / ROLLED).mkdir(exist_ok=True)
    durable.write_bytes(folder / ROLLED / f"{name}.json", msgspec.json.encode({**told, "given": given}))
    path(folder, name).unlink(missing_ok=True)
