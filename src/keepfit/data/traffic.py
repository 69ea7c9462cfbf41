"""Traffic: what servers took and what they refused, a line a minute each, beside the prediction log.

The log has the rows that were answered. Those that were not, because a value made no sense, are no rows;
that there were any, and in which columns, is kept here: `.keepfit/monitoring/traffic/<server>.jsonl`.

>>> import tempfile
>>> folder = Path(tempfile.mkdtemp())
>>> append(folder, "a", Minute(60.0, 98, {"age": 2}))
>>> append(folder, "b", Minute(90.0, 10, {}))
>>> read(folder, 0.0, 80.0)
(98, {'age': 2})
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

KEPT = 90 * 86_400.0  # seconds


class Minute(msgspec.Struct):
    """What one server did up to `time` (seconds since 1970) since its last line. `refused`: column → values."""

    time: float
    answered: int
    refused: Mapping[str, int] = {}


def append(folder: Path, server: str, minute: Minute) -> None:
    """Add a line. Raises OSError as the system does."""
    folder.mkdir(parents=True, exist_ok=True)
    line = msgspec.json.encode(minute) + b"\n"
    file = os.open(folder / f"{server}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def read(folder: Path, since: float, until: float) -> tuple[int, dict[str, int]]:
    """Rows answered, and values refused by column, of all servers from `since` on and before `until`.

    Lines that were cut short are left out.
    """
    answered, refused = 0, Counter[str]()
    for path in sorted(folder.glob("*.jsonl")):
        if path.stat().st_mtime < since:
            continue
        for line in path.read_bytes().splitlines():
            minute = _minute(line)
            if minute and since <= minute.time < until:
                answered += minute.answered
                refused.update(minute.refused)
    return answered, dict(refused)


def _minute(line: bytes) -> Minute | None:
    try:
        return msgspec.json.decode(line, type=Minute)
    except msgspec.DecodeError:
        return None


def prune(folder: Path, now: float) -> None:
    """Delete what servers wrote that are long gone."""
    for path in folder.glob("*.jsonl"):
        if path.stat().st_mtime < now - KEPT:
            path.unlink(missing_ok=True)
