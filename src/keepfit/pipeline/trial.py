"""A challenger on trial: it passed the gate, and has to pass it again on live requests before it is promoted.

As a shadow it answers the same requests unseen, as a canary a share of them. After `retraining.trial.length`
both models are asked about the live rows whose labels have come, and the gate judges. Where too few labels
come, the trial goes on, up to five times its length; then the challenger is refused.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from keepfit import config as settings
from keepfit.config import Config
from keepfit.config import Trial as Asked
from keepfit.data import log_read
from keepfit.models import bundle as bundles
from keepfit.monitoring import state
from keepfit.pipeline import champion, folders, live, on_trial
from keepfit.pipeline.on_trial import OnTrial
from keepfit.pipeline.replay import Replayed, replay
from keepfit.tracking import gate
from keepfit.tracking.gate import failed
from keepfit.types import Decision, Schema, Verdict

PATIENCE = 5  # lengths after which a trial without labels ends


def begin(
    config: Config, project: Path, version: str, verdict: Verdict, run: str, now: datetime, measured: dict[str, float]
) -> Decision:
    """Put a version that passed the gate on trial. Where there is no champion it is promoted at once."""
    from keepfit.pipeline import stages
    from keepfit.tracking import registry

    asked, before = config.retraining.trial, champion.current(config, project)
    if asked is None or before is None:
        return stages.decide(config, project, version, verdict, run)
    until = now + timedelta(seconds=asked.length)
    given = (asked.mode, asked.share, state.stamp(now), state.stamp(until))
    on_trial.begin(project, OnTrial(version, before, *given, run, measured))
    told = f"passed the gate; on trial as {asked.mode} until {until.isoformat()[:19]}"
    return registry.stay("on_trial", champion.store(config, project), version, told, verdict, run=run)


def judge(config: Config, project: Path, now: datetime) -> Decision | None:
    """End the trial that is due: promote the challenger or refuse it. None where nothing is due."""
    found, asked = on_trial.read(project), config.retraining.trial or Asked()
    if found is None:
        return None
    current = champion.pointer(config, project)("champion")
    if current is None or current.version != found.before:
        return _over(config, project, found, current.version if current else None)
    since, until = state.moment(found.since), state.moment(found.until)
    if now < until:
        return None
    schema = bundles.read(champion.folder(config, project, found.version)).schema
    rows = _rows(config, project, found, since, now, schema)
    count = rows.height
    if count >= asked.min_rows:
        again = replay(config, project, rows, schema, (found.version, found.before))
        count = len(again.y)
        if count >= asked.min_rows:
            return _settle(config, project, found, _verdict(config, project, found, again, schema))
    if now < since + PATIENCE * (until - since):
        return None
    return _refuse(config, project, found, _few(count, asked, schema))


def _few(count: int, asked: Asked, schema: Schema) -> str:
    """Why nothing was decided."""
    told = f"{count} labelled rows in {PATIENCE} times the length of the trial; {asked.min_rows} are needed"
    if schema.rhythm is None:
        return told
    far = f"{schema.rhythm.horizon} periods of {schema.rhythm.frequency}"
    return f"{told}. Forecasts come true up to {far} later: set a longer retraining.trial.length"


def _over(config: Config, project: Path, found: OnTrial, current: str | None) -> Decision | None:
    """The champion is another now: the comparison that was begun means nothing any more."""
    if current == found.version:  # promoted, by hand or before a crash
        on_trial.end(project)
        return None
    return _refuse(config, project, found, f"the champion changed meanwhile, from version {found.before} to {current}")


def _refuse(config: Config, project: Path, found: OnTrial, told: str) -> Decision:
    from keepfit.tracking import registry

    store = champion.store(config, project)
    made = registry.refuse(store, found.version, f"the trial ended: {told}", Verdict("trial"), by="keepfit")
    on_trial.end(project)
    return made


def _settle(config: Config, project: Path, found: OnTrial, verdict: Verdict) -> Decision:
    from keepfit.tracking import registry

    store = champion.store(config, project)
    if verdict:
        attempt = lambda path: champion.attempt(config, project, path)
        told = f"version {found.version} passed its trial"
        made = registry.promote(store, found.version, told, attempt, verdict, by="keepfit")
    else:
        told = f"refused after its trial: {failed(verdict) or 'nothing could be checked'}"
        made = registry.refuse(store, found.version, told, verdict, by="keepfit")
    on_trial.end(project)
    return made


def _rows(
    config: Config, project: Path, found: OnTrial, since: datetime, now: datetime, schema: Schema
) -> pl.DataFrame:
    """The labelled rows since the trial began; of a shadow, those that it answered too."""
    rows = live.labelled(config, project, now, schema.task).filter(pl.col("at") >= since)
    if found.mode != "shadow":
        return rows
    folder = project / settings.WORK / "predictions"
    shadow = log_read.read(folder, role="shadow", uri=config.serving.log.uri)
    answered = shadow.filter(pl.col("version") == found.version).select("id").collect()
    return rows.join(answered, on="id", how="semi", maintain_order="left")


def _verdict(config: Config, project: Path, found: OnTrial, rows: Replayed, schema: Schema) -> Verdict:
    """The gate on live rows."""
    folder = champion.folder(config, project, found.version)
    trial = gate.Trial(
        y=rows.y,
        classes=schema.classes,
        challenger=rows.outputs[0],
        baseline=rows.baseline,
        champion=rows.outputs[1],
        measured=found.measured,
        parity=folders.read_verdict(folder / "parity.json"),
        together=rows.together,
    )
    limits = config.gate.model_copy(update={"slices": {}})  # slices were judged on the test rows
    judged = gate.judge(trial, config.goals, limits, config.evaluation.bootstrap, config.data.random_state)
    return Verdict(f"trial on {len(rows.y):,} live rows", judged.checks)
