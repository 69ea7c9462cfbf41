"""The challenger that shows itself on live requests: `.keepfit/monitoring/trial.json`, which servers follow.

Light, as a server reads it: what judges a trial is in `keepfit.pipeline.trial`. And how long a probation lasts, which
the page tells.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from keepfit import config as settings
from keepfit.config import Config
from keepfit.data import rhythm as calendar
from keepfit.deployment.rollout import Plan
from keepfit.monitoring import state
from keepfit.types import Schema
from keepfit.types import read as made

FILE = "trial.json"


@dataclass(frozen=True)
class OnTrial:
    """A version on trial against the champion `before`. Times are ISO 8601, UTC, of the events' clock.

    `measured` are the figures of its training that goals may name, `run` is its tracking run.
    """

    version: str
    before: str
    mode: str  # shadow | canary
    share: float
    since: str
    until: str
    run: str | None = None
    measured: Mapping[str, float] = field(default_factory=dict)


def read(project: Path) -> OnTrial | None:
    """Who is on trial; None for nobody. A damaged file is set aside with a warning."""
    found: OnTrial | None = state.read(_file(project), lambda values: made(OnTrial, values), None)
    return found


def begin(project: Path, trial: OnTrial) -> None:
    state.write(_file(project), dataclasses.asdict(trial))


def end(project: Path) -> None:
    _file(project).unlink(missing_ok=True)


def plan(project: Path, asked: Plan) -> Plan:
    """What runs beside the champion: the challenger on trial in its role, else what was `asked` for."""
    try:
        trial = read(project)
    except OSError:  # a server goes on whatever a disk does
        trial = None
    if trial is None:
        return asked
    if trial.mode == "shadow":
        return dataclasses.replace(asked, shadow=trial.version)
    return dataclasses.replace(asked, canary=trial.version, share=trial.share)


def probation(config: Config, schema: Schema) -> timedelta:
    """`retraining.probation`; of forecasts at least the time in which the first ones come true."""
    asked = config.retraining.probation
    if not asked or schema.rhythm is None or not calendar.dated(schema.rhythm.frequency):
        return timedelta(seconds=asked)
    return timedelta(seconds=max(asked, schema.rhythm.horizon * calendar.length(schema.rhythm.frequency)))


def _file(project: Path) -> Path:
    return project / settings.WORK / "monitoring" / FILE
