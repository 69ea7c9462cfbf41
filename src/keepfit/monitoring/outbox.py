"""Notices on their way: a file for each receiver, written before anything is sent, removed when it arrived.

So a kill, a full disk or a receiver that is away costs no notice: each is delivered at least once, and
may arrive twice, with the same `id`. Each receiver has a thread of its own, so that one that hangs
keeps no other waiting, and no pass for more than BUDGET and a last try. What fails is tried again at
later passes, after pauses that double, and given up after a day, which is a Decision.

    .keepfit/monitoring/outbox/20260102T030405-000000-<id>.webhook-1f2e3d4c5b6a.json
"""

from __future__ import annotations

import dataclasses
import fcntl
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from keepfit import durable
from keepfit.errors import AlertError
from keepfit.monitoring import channels, notices, state
from keepfit.monitoring.channels import Target
from keepfit.monitoring.notices import Notice
from keepfit.sections import Alert
from keepfit.types import Check, Decision, Verdict

FOLDER = "outbox"
FIRST, LONGEST = timedelta(minutes=1), timedelta(hours=1)  # pauses after the first, and after many tries
KEPT = timedelta(hours=24)
FEWEST, MOST = 5, 100  # tries before a notice is given up, however the clock jumps; and after which it is
LIMIT = 500  # files; then the oldest gives way
BUDGET = 20.0  # seconds in which a receiver's next delivery may begin


@dataclass(frozen=True)
class Waiting:
    """A notice that did not arrive yet. Times are ISO 8601, UTC; `problem` is the last try's."""

    channel: str
    label: str
    since: str
    due: str
    notice: Notice
    tries: int = 0
    problem: str = ""


def put(alerts: Sequence[Alert], folder: Path, notice: Notice, now: datetime) -> tuple[Decision, ...]:
    """Write a notice for each receiver into the outbox of `folder` (.keepfit/monitoring).

    Gives a Decision for each older notice that had to give way. Raises OSError as the system does.
    """
    box = folder / FOLDER
    when = state.stamp(now)
    for target in channels.targets(alerts).values():
        stamp = f"{state.moment(notice.when):%Y%m%dT%H%M%S-%f}"
        path = box / f"{stamp}-{notice.id}.{target.name}.json"
        state.write(path, dataclasses.asdict(Waiting(target.name, target.label, when, when, notice)))
    crowd = sorted([*box.glob("*.json"), *box.glob("*.damaged")])[:-LIMIT]
    return tuple(told for path in crowd if (told := _dropped(path, "too many notices are waiting", now)))


def deliver(
    alerts: Sequence[Alert], folder: Path, now: datetime, seconds: float = channels.SECONDS
) -> tuple[Decision, ...]:
    """Send what is due, oldest first; `now` is the wall clock. Gives a Decision for each notice given up.

    Does nothing while another process delivers. Raises OSError where the outbox cannot be written.
    """
    box = folder / FOLDER
    if not box.is_dir():
        return ()
    with _alone(box) as mine:
        lanes = _lanes(box) if mine else {}
        if not lanes:
            return ()
        known = channels.targets(alerts)
        with ThreadPoolExecutor(len(lanes), "keepfit-outbox") as pool:
            ways = [
                pool.submit(_lane, known[name], paths, now, seconds)
                if name in known
                else pool.submit(_unknown, paths, now)
                for name, paths in lanes.items()
            ]
            return tuple(told for way in ways for told in way.result())


def waiting(folder: Path) -> list[Waiting]:
    """What did not arrive yet, oldest first."""
    found = [state.read(path, _read, None) for path in sorted((folder / FOLDER).glob("*.json"))]
    return [entry for entry in found if entry]


@contextmanager
def _alone(box: Path) -> Iterator[bool]:
    """Whether nobody else delivers from here. The system lets go of the lock when its holder ends."""
    with (box / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _lanes(box: Path) -> dict[str, list[Path]]:
    """The files by receiver, oldest first. What a killed process left half-written is removed."""
    for left in box.glob(".*.partial-*"):
        durable.clear(box / left.name[1:].partition(".partial-")[0])
    found: dict[str, list[Path]] = {}
    for path in sorted(box.glob("*.json")):
        found.setdefault(path.name.split(".")[-2], []).append(path)
    return found


def _lane(target: Target, paths: Sequence[Path], now: datetime, seconds: float) -> list[Decision]:
    end = time.monotonic() + BUDGET
    told = []
    for path in paths:
        entry = state.read(path, _read, None)
        if entry is None or not _due(entry, now):
            continue
        if time.monotonic() > end:
            break
        given_up = _try(target, path, entry, now, seconds)
        told += [given_up] if given_up else []
    return told


def _due(entry: Waiting, now: datetime) -> bool:
    """A pause that is longer than any can be is a clock that was set back."""
    pause = state.moment(entry.due) - now
    return pause <= timedelta(0) or pause > LONGEST


def _try(target: Target, path: Path, entry: Waiting, now: datetime, seconds: float) -> Decision | None:
    """One delivery; a Decision when it was the last."""
    try:
        channels.send(target.alert, entry.notice, seconds)
    except AlertError as error:
        entry = dataclasses.replace(entry, tries=entry.tries + 1, problem=str(error))
    else:
        path.unlink(missing_ok=True)
        return None
    old = now - state.moment(entry.since) >= KEPT
    if entry.tries >= MOST or (old and entry.tries >= FEWEST):
        return _dropped(path, f"{entry.tries} tries failed", now)
    pause = min(FIRST * 2 ** min(entry.tries - 1, 10), LONGEST)
    with suppress(OSError):  # a full disk: the file is as it was, and the next pass tries again
        state.write(path, dataclasses.asdict(dataclasses.replace(entry, due=state.stamp(now + pause))))
    return None


def _unknown(paths: Sequence[Path], now: datetime) -> list[Decision]:
    return [told for path in paths if (told := _dropped(path, "alerts no longer names it", now))]


def _dropped(path: Path, why: str, now: datetime) -> Decision | None:
    """Take a notice away for good; the record of that, where the file could be read."""
    entry = state.read(path, _read, None) if path.suffix == ".json" else None
    path.unlink(missing_ok=True)
    if entry is None:
        return None
    last = f"; the last: {entry.problem}" if entry.problem else ""
    reason = f"'{entry.notice.title}' did not reach {entry.label}: {why}{last}"
    check = Check("delivery", "failed", entry.tries, None, f"{entry.label}: {why}{last}", "warning")
    notice = entry.notice
    return Decision(
        "undelivered",
        notice.model,
        reason,
        Verdict("alerts", (check,)),
        notice.version,
        by="keepfit",
        when=state.stamp(now),
    )


def _read(values: Mapping[str, Any]) -> Waiting | None:
    """A file's entry. Raises TypeError, ValueError or KeyError for what is none."""
    fields = {field.name: values[field.name] for field in dataclasses.fields(Waiting)}
    entry = Waiting(**{**fields, "notice": notices.read(values["notice"])})
    _ = state.moment(entry.since), state.moment(entry.due), int(entry.tries)
    return entry
