"""An append-only file of JSON lines, each on the disk before `append` returns. One writer at a time."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from keepfit import durable
from keepfit.errors import DataError

Record = dict[str, Any]


def append(path: Path, record: Record) -> None:
    """Add a line. Raises DataError where the system does not take it."""
    line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
    fresh = not path.exists()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if fresh:
            durable.sync(path.parent)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}. Free some space, then start again.") from error


def read(path: Path) -> list[Record]:
    """The records so far. A torn last line, of a writer that was killed, is cut off: it was never relied on.

    Raises DataError that names a damaged line.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    return [_parsed(path, number, line) for number, line in enumerate(content[:whole].splitlines(), 1)]


def _parsed(path: Path, number: int, line: bytes) -> Record:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise DataError(
            f"{path}, line {number} is no record: the file was changed by hand or damaged. "
            "Restore it from a backup, or remove that line; the file that it was about is then scored again."
        )
    return record
