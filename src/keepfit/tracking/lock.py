"""One at a time: a lock on a file, let go of by the system when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from keepfit.errors import BusyError, TrackingError

PAUSE = 0.05  # seconds between two tries


@contextmanager
def held(path: Path, what: str, seconds: float = 60) -> Iterator[None]:
    """Hold the lock `path`, waiting for it up to `seconds`. Then raises BusyError that names the holder.

    Raises TrackingError where the lock's file cannot be written.
    """
    with _open(path) as file:
        end = time.monotonic() + seconds
        while not _try(file.fileno()):
            if time.monotonic() > end:
                raise BusyError(
                    f"{what}: process {_holder(path)} is at it and did not finish ({path}). Try again later."
                )
            time.sleep(PAUSE)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _open(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="ascii")
    except OSError as error:
        raise TrackingError(f"{path} cannot be written: {error.strerror}. keepfit needs to write there.") from error


def _try(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    return path.read_text(encoding="ascii").strip() or "unknown"
