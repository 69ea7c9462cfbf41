"""One at a time: a lock on a file, let go of by the system when its holder ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from keepfit import durable
from keepfit.errors import BusyError, TrackingError


@contextmanager
def held(path: Path, what: str, seconds: float = 60) -> Iterator[None]:
    """Hold the lock `path`, waiting for it up to `seconds`. Then raises BusyError that names the holder.

    Raises TrackingError where the lock's file cannot be written.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(durable.locked(path, seconds))
        except BlockingIOError:
            told = f"{what}: process {_holder(path)} is at it and did not finish ({path}). Try again later."
            raise BusyError(told) from None
        except OSError as error:
            raise TrackingError(f"{path} cannot be written: {error.strerror}. keepfit needs to write there.") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _holder(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() or "unknown"
