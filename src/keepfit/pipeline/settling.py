"""What a pass decided, done once: Decisions written, notices put out, alarms kept.

These are three files, and a process may be killed between any two. So what is to be done is written down
first, whole, in `.keepfit/monitoring/pending.json`; the next pass finishes what it finds there. A Decision
that made it into the record is not written again; a notice keeps its `id`, however often it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from keepfit import config as settings
from keepfit.config import Config
from keepfit.monitoring import alarms, notices, outbox, state
from keepfit.monitoring.alarms import Alarm
from keepfit.monitoring.notices import Notice
from keepfit.tracking import decisions
from keepfit.types import Decision, plain, read

FILE = "pending.json"


class Settled(NamedTuple):
    """The alarms that are open now, what was decided, and the notice of that, if any."""

    alarms: tuple[Alarm, ...]
    decisions: tuple[Decision, ...]
    notice: Notice | None


def settle(config: Config, project: Path, folder: Path, made: Settled) -> None:
    """Do what was decided. It is on the disk when this returns. Raises OSError as the system does."""
    if made.decisions:
        state.write(folder / FILE, {"alarms": made.alarms, "decisions": made.decisions, "notice": made.notice})
    _do(config, project, folder, made, [])


def finish(config: Config, project: Path, folder: Path) -> None:
    """Do what a pass that was killed, or met a full disk, had decided and not done."""
    made = state.read(folder / FILE, _read, None)
    if made is not None:
        _do(config, project, folder, made, decisions.history(project / settings.WORK))


def _do(config: Config, project: Path, folder: Path, made: Settled, done: Sequence[Decision]) -> None:
    known = {json.dumps(plain(decision)) for decision in done}
    for decision in made.decisions:
        if json.dumps(plain(decision)) not in known:
            decisions.record(project / settings.WORK, decision)
    if made.notice:
        for lost in outbox.put(config.alerts, folder, made.notice, datetime.now(UTC)):
            decisions.record(project / settings.WORK, lost)
    alarms.save(folder, made.alarms)
    (folder / FILE).unlink(missing_ok=True)


def _read(values: Mapping[str, Any]) -> Settled:
    told = values["notice"]
    return Settled(
        tuple(read(Alarm, each) for each in values["alarms"]),
        tuple(read(Decision, each) for each in values["decisions"]),
        notices.read(told) if told else None,
    )
