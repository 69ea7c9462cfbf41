"""The last training that the trigger began: when, by which process, and what came of it.

Kept in `retraining.json`. A lock beside it lets one at a time work; the system lets go of it when its
holder ends, even by `kill -9`, so nothing that is left behind keeps the next one out. An attempt that
still says "at work" while nobody holds the lock has crashed, and is read so.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from keepfit import durable
from keepfit.errors import BusyError
from keepfit.monitoring import state
from keepfit.types import read as made

FILE = "retraining.json"
LOCK = "retraining.lock"
AT_WORK, CRASHED, FAILED, STOPPED, ENDED = "at work", "crashed", "failed", "stopped", "ended"
PATIENCE = 1.0  # seconds: whoever only asks holds the lock for a moment

Note = Callable[..., None]


@dataclass(frozen=True)
class Attempt:
    """`when` it began (ISO 8601, UTC), `outcome` (at work, crashed, failed, or what the trainer said)."""

    when: str
    outcome: str
    pid: int
    reason: str = ""
    problem: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)  # what the trainer notes: run, version, rows, …


def last(folder: Path) -> Attempt | None:
    """The last attempt of `.keepfit/monitoring/`; None before the first. A damaged file is set aside."""
    found = state.read(folder / FILE, _attempt, None)
    if found and found.outcome == AT_WORK and not at_work(folder):
        found = state.read(folder / FILE, _attempt, None)  # it may have ended between the two looks
        if found and found.outcome == AT_WORK:
            return dataclasses.replace(found, outcome=CRASHED, problem=f"process {found.pid} is gone")
    return found


def _attempt(values: Mapping[str, Any]) -> Attempt | None:
    found: Attempt = made(Attempt, values)
    _ = state.moment(found.when), {**found.about}
    return found


def at_work(folder: Path) -> bool:
    """Whether a training is at work now. Writes nothing."""
    return durable.held(folder / LOCK)


@contextmanager
def only(folder: Path, now: datetime, reason: str) -> Iterator[Note]:
    """The one attempt at work in `folder`; yields `note(outcome, **about)`, to say what came of it.

    The attempt counts from its beginning, before anything can go wrong. A block that raises is noted
    as failed (or stopped, by Ctrl-C) unless it said more, one that says nothing as ended. Raises
    BusyError while another is at work, and OSError where the beginning cannot be written.
    """
    with _held(folder):
        attempt = Attempt(state.stamp(now), AT_WORK, os.getpid(), reason)

        def note(outcome: str, problem: str = "", **about: Any) -> None:
            nonlocal attempt
            attempt = dataclasses.replace(attempt, outcome=outcome, problem=problem, about={**attempt.about, **about})
            state.write(folder / FILE, dataclasses.asdict(attempt))

        note(AT_WORK)
        try:
            yield note
        except BaseException as error:
            outcome = FAILED if isinstance(error, Exception) else STOPPED
            outcome = outcome if attempt.outcome == AT_WORK else attempt.outcome
            with suppress(OSError):  # a full disk: who asks finds it crashed, and the error is told here
                note(outcome, problem=str(error) or type(error).__name__)
            raise
        if attempt.outcome == AT_WORK:
            note(ENDED)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(durable.locked(folder / LOCK, PATIENCE))
        except BlockingIOError:
            found = state.read(folder / FILE, _attempt, None)
            who = f"process {found.pid}, since {found.when}" if found else "unknown process"
            raise BusyError(f"A training is at work already ({who}, {folder}). Wait for it, or stop it.") from None
        yield
