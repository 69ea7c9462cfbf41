"""What is read off the versions at work when somebody asks for /metrics; what is counted stands in `metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime

from keepfit.deployment.metrics import Gauge, Gauges
from keepfit.deployment.rollout import Active, Rollout


def gauges(rollout: Rollout) -> Gauges:
    """Of each version at work, and of those that were refused."""
    now, active = time.time(), [*rollout.active.values()]
    moving = [a for a in active if a.served.runtime.after]
    refused: Gauge = (
        "Versions that are named by the registry and were not put to work.", (),
        {(r.version,): 1.0 for r in rollout.refused.values()},
    )  # fmt: skip
    return {
        "keepfit_model_age_seconds": _each("Since the version was trained.", active, lambda a: now - _created(a)),
        "keepfit_model_serving_seconds": _each(
            "Since the version was put to work.", active, lambda a: now - a.served.since
        ),
        "keepfit_queue_rows": _each("Rows that wait.", active, lambda a: a.rows),
        "keepfit_model_refused": refused,
        "keepfit_observations_held_back": _each(
            "Observations that are too far off to go on from, until they are corrected or confirmed.",
            moving, lambda a: len(a.served.runtime.held),
        ),
        "keepfit_log_unwritable": _each(
            "1 while the prediction log cannot be written, so that requests get 503.",
            active, lambda a: bool(a.served.writer and a.served.writer.fault),
        ),
        "keepfit_registry_unreachable": _each(
            "1 while the registry cannot be asked or names no champion.",
            active, lambda a: rollout.unreachable is not None,
        ),
    }  # fmt: skip


def _each(told: str, active: Iterable[Active], value: Callable[[Active], float]) -> Gauge:
    return told, (), {(a.served.version,): float(value(a)) for a in active}


def _created(active: Active) -> float:
    return datetime.fromisoformat(active.served.runtime.bundle.manifest["created"]).timestamp()
