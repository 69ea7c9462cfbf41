"""Watch after promotion: a new champion that does worse in the wild than its predecessor is rolled back.

Within `retraining.probation` of the first row that it answered, both are asked about the logged inputs again
(`keepfit.pipeline.replay`), and compared on the labels that have come. Only who was promoted is watched, not
who was rolled back to: so it happens once, and a version that was rolled back stays away until somebody
promotes it by hand.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path

import polars as pl

from keepfit.config import Config
from keepfit.models import bundle as bundles
from keepfit.monitoring import probation, state
from keepfit.pipeline import champion, live, on_trial
from keepfit.pipeline.replay import replay
from keepfit.tracking import gate
from keepfit.types import Decision, Schema, Verdict

RISK = 0.01  # chance of a rollback without a cause, over the whole probation
MOVES = ("promoted", "rolled_back")


def after_promotion(config: Config, project: Path, now: datetime) -> Decision | None:
    """Roll the champion back if it is surely worse than its predecessor. None where it is not, or is not watched."""
    moves = [decision for decision in champion.history(config, project) if decision.kind in MOVES]
    found = champion.pointer(config, project)("champion")
    last = moves[-1] if moves else None
    if found is None or last is None or (last.kind, last.version) != ("promoted", found.version) or not last.previous:
        return None
    schema = bundles.read(found.fetch()).schema
    rows = live.labelled(config, project, now, schema.task, "champion").filter(pl.col("version") == found.version)
    again = any(decision.version == found.version for decision in moves[:-1])
    if again and config.monitoring.time is None:  # what it answered as champion before is not of this probation
        rows = rows.filter(pl.col("at") >= state.moment(last.when))
    begun = rows["at"].min()
    if not isinstance(begun, datetime) or now > begun + on_trial.probation(config, schema):
        return None
    verdict = compare(config, project, rows, schema, found.version, last.previous)
    if verdict.outcome != "failed":
        return None
    from keepfit.tracking import registry

    worse = verdict.failures[0]
    told = f"in its probation, version {found.version} did worse: {worse.name.rpartition(': ')[2]} {worse.detail}"
    attempt = lambda path: champion.attempt(config, project, path)
    return registry.rollback(champion.store(config, project), attempt, last.previous, told, "keepfit", verdict)


def compare(
    config: Config, project: Path, rows: pl.DataFrame, schema: Schema, version: str, before: str
) -> Verdict:  # fmt: skip
    """Is `version` worse than `before` on live rows? Not checked with fewer than `monitoring.min_rows`."""
    y, (one, other), baseline, together = replay(config, project, rows, schema, (version, before))
    trial = gate.Trial(y, schema.classes, one, baseline, other)
    metric = gate.metric(trial, config.goals, config.gate)
    other = dataclasses.replace(other, ahead=one.ahead)  # the same error is to be the same for both
    return probation.judge(y, schema.classes, one, other, metric, 1 - RISK, config.monitoring.min_rows, together)
