"""Decisions: who moved what, when and why. One JSON record a line in `.keepfit/decisions.jsonl`.

The file only grows. A record is on the disk when `record` returns. A process that is killed while
it writes leaves half a line: it was never promised to anybody, readers skip it, and the next
writer closes it with a mark, so that any other broken line is known to be damage.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keepfit.errors import TrackingError
from keepfit.tracking import git
from keepfit.types import Decision, plain, read

FILE = "decisions.jsonl"
TORN = b" #torn"


def record(work: Path, decision: Decision) -> Decision:
    """Append a decision; `when` and `by` are filled in where they are empty. Returns it so filled."""
    decision = signed(work, decision)
    line = json.dumps(plain(decision), ensure_ascii=False, default=str).encode() + b"\n"
    path = work / FILE
    try:
        work.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _write(handle, _closing(handle) + line)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise TrackingError(f"The decision could not be written to {path}: {error.strerror}.") from error
    return decision


def signed(work: Path, decision: Decision) -> Decision:
    """The decision with `when` (UTC, now) and `by` filled in where they are empty."""
    when = decision.when or datetime.now(UTC).isoformat(timespec="microseconds")
    return dataclasses.replace(decision, when=when, by=decision.by or git.author(work.parent))


def _closing(handle: int) -> bytes:
    """What must come before a new record: nothing, or the end of a line that somebody left open."""
    size = os.fstat(handle).st_size
    if size == 0 or os.pread(handle, 1, size - 1) == b"\n":
        return b""
    tail = os.pread(handle, size, 0).rpartition(b"\n")[2]
    return b"\n" if _parse(tail) else TORN + b"\n"


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def history(work: Path) -> list[Decision]:
    """All decisions, oldest first. Warns of a torn last line; raises TrackingError on a damaged file."""
    path = work / FILE
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        decision = _parse(line)
        if decision:
            found.append(decision)
        elif number == len(lines) and line:
            warnings.warn(f"{path}: the last record is torn (a writer was killed) and was skipped.", stacklevel=2)
        elif line and not line.endswith(TORN):
            raise TrackingError(
                f"{path}, line {number} is no decision: the file was changed by hand or damaged. "
                "Restore it from a backup, or remove that line; the records around it are intact."
            )
    return found


def _parse(line: bytes) -> Decision | None:
    try:
        values: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(values, dict) or not {"kind", "subject", "reason", "verdict"} <= set(values):
        return None
    decision: Decision = read(Decision, values)
    return decision
