"""Is there memory for data of which all bytes are kept at once? Asked before anything of them is read."""

from __future__ import annotations

import re
from pathlib import Path

from keepfit.errors import DataError

TIMES = 4  # as much memory as the pictures have bytes is what a run of them was seen to take
FREE = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)
CACHED = re.compile(r"^(?:in)?active_file (\d+)$", re.MULTILINE)
MEMORY = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")  # of a container, version 2 of control groups


def room(size: int, what: str) -> None:
    """Raises DataError where pictures of `size` bytes together are more than fits; `what` holds them."""
    free = available()
    if free is not None and TIMES * size > free:
        raise DataError(
            f"{what} has {size / 1e9:.1f} GB of pictures, a run of them needs up to {TIMES} times as much memory, and "
            f"{free / 1e9:.1f} GB are free. Make the pictures smaller (models look at a few hundred pixels a side), "
            "name a part of them, or take a machine with more memory."
        )


def available() -> int | None:
    """The bytes of memory that may still be taken, here and in the container; None where the system does not say."""
    found = FREE.search(_text(MEMORY))
    most, taken = (_text(GROUP / name).strip() for name in ("memory.max", "memory.current"))
    known = [int(found[1]) * 1024] if found else []
    if most.isdigit() and taken.isdigit():
        cached = sum(int(size) for size in CACHED.findall(_text(GROUP / "memory.stat")))  # given up when it is needed
        known.append(max(0, int(most) - int(taken) + cached))
    return min(known, default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
