"""Training: from columns, a target and folds to a `Fitted`.

`model.type: auto` tries a portfolio and blends it; a named estimator is searched over its
parameters. Then the winner is fitted to all rows (a bag keeps its folds' estimators), and what
remains is learned from out-of-fold scores: calibration, threshold, interval. `Fitted.report` tells
all of it in plain values.

Ctrl-C, or setting `stop`, ends the search; what is finished by then is the model, and the report
says "interrupted". If nothing is finished, KeyboardInterrupt goes on.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from keepfit import features
from keepfit.config import Config
from keepfit.engine import ENGINES
from keepfit.errors import ConfigError, ModelError
from keepfit.extras import load, pick
from keepfit.features.values import Columns
from keepfit.models import calibrate, catalogue, fitted, metrics, portfolio, threshold, tune
from keepfit.models.crossfit import cross_validate, matrix, members, selection, widest
from keepfit.models.fitted import Fitted, Floats, Member, Output
from keepfit.models.job import Candidate, Fold, Job, Result
from keepfit.models.tasks import TASKS, Task, settings, task
from keepfit.types import Schema

RARE = 0.5  # a class with less than this times an even share of the rows makes imbalance a question
Tell = Callable[[float, float, str, str | None], None]
NONE: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Chosen:
    """The candidates that make the model, with weights, and what was found on the way."""

    results: tuple[Result, ...]
    weights: tuple[float, ...]
    why: str
    interrupted: bool = False
    trials: tuple[tune.Trial, ...] = ()
    budget: Mapping[str, Any] | None = None


def train(
    columns: Columns,
    y: NDArray[Any],
    schema: Schema,
    config: Config,
    folds: Sequence[Fold],
    seed: int,
    progress: Tell | None = None,
    stop: threading.Event | None = None,
    options: Mapping[str, Mapping[str, Any]] = NONE,
) -> Fitted:
    """Train as `config.model`, `config.tuning` and `config.features` say.

    Args:
        columns: values of the schema's features, n training rows.
        y: (n,) labels as text, or numbers.
        folds: (training rows, held-out rows) of each fold, indices into the n rows.
        progress: told done, total, a message and the best score so far.
        stop: set it to end the search early.
        options: role → feature options that win over those of the estimators.

    The same arguments give the same model, bit for bit, unless the time budget cut it; the report
    says so. Raises ModelError or ConfigError for what cannot be trained, KeyboardInterrupt if it was
    interrupted before anything was finished.
    """
    began = time.monotonic()
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the leaderboard says it
        job = _job(columns, y, schema, config, folds, seed, progress, stop)
        job.options = options
        chosen = _choose(job, config)
        final = _finish(job, config, chosen)
    report = {**final.report, "seconds": round(time.monotonic() - began, 3)}
    return replace(final, report=report)


def _job(
    columns: Columns,
    y: NDArray[Any],
    schema: Schema,
    config: Config,
    folds: Sequence[Fold],
    seed: int,
    progress: Tell | None,
    stop: threading.Event | None,
) -> Job:
    row = task(schema)
    if not schema.features:
        raise ModelError("No column is left to learn from: all are ids, constants, ignored or the target.")
    if not len(folds):
        raise ModelError(f"{len(y)} training rows give no fold to validate on. More rows are needed.")
    metric = settings(schema, config.tuning.metric)["metric"]
    select = _selection(schema, row, config)
    job = Job(
        columns,
        schema,
        row,
        row.encode(y, schema),
        np.asarray(y),
        row.enough(folds),
        metric,
        seed,
        select,
        stop or threading.Event(),
        time.monotonic() + config.tuning.time_budget,
    )
    job.map = pick(ENGINES, config.engine, "engine")
    if progress is not None:
        job.tell = progress
    return job


def _selection(schema: Schema, row: Task, config: Config) -> Mapping[str, Any] | None:
    if row.selects:
        return selection(schema, config.features.select, config.features.keep)
    if config.features.select not in ("auto", "none") or config.features.keep is not None:
        raise ConfigError(f"features.select: a {schema.task} takes all features. Drop it, and features.keep.")
    return None


# --- what is tried --------------------------------------------------------------------------------


def _choose(job: Job, config: Config) -> Chosen:
    return _portfolio(job, config) if config.model.type == "auto" else _search(job, config)


def _portfolio(job: Job, config: Config) -> Chosen:
    tried = load(job.task.candidates, "model.type")(job)
    parameters = catalogue.shared(config.model.parameters, portfolio.names(tried), job.schema.task)
    tried = [replace(c, parameters={**c.parameters, **parameters[c.name]}) for c in tried]
    tried, imbalance = _imbalance(job, config, tried, portfolio.judge(tried))
    found = portfolio.run(job, portfolio.linked(job, tried))
    rows = np.all([_known(r.scores) for r in found.results], axis=0)
    weights = job.task.weigh(job, found.results, np.flatnonzero(rows))
    count = sum(weight > 0 for weight in weights)
    why = (
        f"the blend of {count} with the best out-of-fold {job.metric}"
        if count > 1
        else f"the best out-of-fold {job.metric}; no blend was better"
    )
    cut = [_ended(r) for r in found.results if r.cut]
    budget = {"imbalance": imbalance, "left_out": portfolio.lacking(job) | found.left_out, "cut": cut}
    results, none = (*found.results, *found.screened), (0.0,) * len(found.screened)
    return Chosen(results, (*weights, *none), why, found.interrupted, (), budget)


def _search(job: Job, config: Config) -> Chosen:
    name = catalogue.ALIASES.get(config.model.type, config.model.type)
    parameters, kind = config.model.parameters, job.schema.task
    catalogue.check(name, kind, parameters)
    spaces = tune.space(name, kind, parameters, config.tuning.space)
    (candidate,), imbalance = _imbalance(job, config, [Candidate(name, parameters)], Candidate(name, parameters))
    found = tune.search(job, candidate, spaces, config.tuning.trials, config.tuning.search)
    why = f"model.type; the best of {len(found.trials)} sets of parameters" if len(found.trials) > 1 else "model.type"
    budget = {
        "imbalance": imbalance,
        "left_out": {"trials": "time budget"} if found.why == "time budget" else {},
        "cut": [_ended(found.best)] if found.best.cut else [],
        "search_ended": found.why,
    }
    return Chosen((found.best,), (1.0,), why, found.interrupted, found.trials, budget)


def _ended(found: Result) -> str:
    """A candidate that time ended, and how far its fits had come, where they say how far they were to go."""
    fits = [part.estimator for part in found.parts if hasattr(part.estimator, "planned_")]
    if not fits:
        return found.candidate.title
    done, planned = min((len(fit.losses_), fit.planned_) for fit in fits)
    return f"{found.candidate.title} after {done:,} of {planned:,} epochs"


def _imbalance(
    job: Job, config: Config, tried: list[Candidate], judge: Candidate
) -> tuple[list[Candidate], dict[str, Any]]:
    """The candidates with classes weighed alike, if asked for or if `judge` is better for it."""
    if not job.count:
        return tried, {}
    share = float(np.bincount(job.y, minlength=job.count).min() / len(job.y))
    told: dict[str, Any] = {"method": "none", "rarest_share": share}
    asked = config.model.imbalance
    if asked == "auto":
        judging = catalogue.row(judge.name, job.schema.task)
        can = None if judging.costly else judging.balanced
        if share * job.count >= RARE:
            return tried, {**told, "why": "classes are even enough"}
        if can is None or can in judge.parameters:
            return tried, {**told, "why": f"{judge.title} takes no class weights, has its own, or is too costly to ask"}
        job.tell(0, 0, "class weights", None)
        folds = [widest(job)] if len(job.y) >= portfolio.LONG else None  # enough to tell
        plain, even = (cross_validate(job, c, folds).value for c in (judge, portfolio.balanced(judge)))
        asked = "balanced" if metrics.better(job.metric, even, plain) else "none"
        told |= {"measured": {"metric": job.metric, "none": plain, "balanced": even, "on": judge.title}}
    told |= {"method": asked, "why": "measured out of fold" if "measured" in told else "model.imbalance"}
    return [portfolio.balanced(c) for c in tried] if asked == "balanced" else tried, told


# --- what is made of it ---------------------------------------------------------------------------


def _finish(job: Job, config: Config, chosen: Chosen) -> Fitted:
    kept = [(r, w) for r, w in zip(chosen.results, chosen.weights, strict=True) if w > 0]
    rows = np.all([_known(r.scores) for r, _ in kept], axis=0)
    scores, finish = job.task.blend(job, kept, rows)
    parts, interrupted = _members(job, kept, chosen.interrupted)
    parts = finish(parts)
    report = _report(job, config, chosen, rows, scores, interrupted)
    if not job.count:
        width = job.task.interval(job.y[rows], scores, config.forecast.coverage)
        return Fitted(job.schema.task, (), tuple(parts), interval=width, report={**report, "interval": width})
    calibration, told = _calibration(job, config, scores, job.y[rows])
    honest = calibrate.apply(calibration, scores)
    point, why = _threshold(job, config, honest, job.y[rows])
    report = {**report, "calibration": told, "threshold": {"value": point, **why}}
    return Fitted(job.schema.task, job.schema.classes, tuple(parts), calibration, point, report=report)


def _members(job: Job, kept: Sequence[tuple[Result, float]], interrupted: bool) -> tuple[list[Member], bool]:
    """The members that serve; an interrupted training takes the folds' estimators as they are."""
    job.deadline = float("inf")  # what was chosen is fitted to its end
    parts: list[Member] = []
    again = "stopped; what was finished is kept (Ctrl-C again: nothing is): " if interrupted else ""
    try:
        for found, weight in kept:
            job.tell(len(parts), 0, f"{again}fitting {found.candidate.title} to all rows", None)
            parts += members(job, found, weight, refit=not (interrupted and job.task.bags))
    except KeyboardInterrupt:
        if not job.task.bags:
            raise
        return [m for found, weight in kept for m in members(job, found, weight, refit=False)], True
    return parts, interrupted


def _known(scores: Floats) -> NDArray[np.bool_]:
    return np.isfinite(scores if scores.ndim == 1 else scores[:, 0])


def _calibration(
    job: Job, config: Config, scores: Floats, codes: NDArray[Any]
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    asked = config.model.calibrate
    if asked == "auto":
        found, losses = calibrate.choose(scores, codes, job.seed)
        return found, {"method": found.get("method", "none"), "log_loss": losses, "why": "cross-validated log loss"}
    found = {} if asked == "none" else calibrate.fit(asked, scores, codes)
    return found, {"method": found.get("method", "none"), "why": "model.calibrate"}


def _threshold(
    job: Job, config: Config, probabilities: Floats, codes: NDArray[Any]
) -> tuple[float | None, dict[str, Any]]:
    setting, costs = config.model.threshold, config.model.costs
    if job.count != 2:
        if costs or setting != "auto":
            key = "model.costs" if costs else "model.threshold"
            raise ConfigError(f"{key} is for two classes; the target has {job.count}. Drop it.")
        return None, {"why": "the most probable class"}
    return threshold.choose(probabilities[:, 1], codes == 1, setting, costs, job.metric)


def _report(
    job: Job, config: Config, chosen: Chosen, rows: NDArray[np.bool_], scores: Floats, interrupted: bool
) -> dict[str, Any]:
    """What training tells of itself, as plain values."""
    budget = dict(chosen.budget or {})
    board = [_row(job, found, weight) for found, weight in zip(chosen.results, chosen.weights, strict=True)]
    return {
        "metric": job.metric,
        "score": job.score(scores, rows),
        "folds": len(job.folds),
        "why": chosen.why,
        "leaderboard": sorted(board, key=lambda line: -job.sign * line["score"]),
        "trials": [
            {
                "parameters": dict(t.parameters),
                "score": t.value,
                "folds": t.folds,
                "seconds": round(t.seconds, 3),
                "outcome": t.outcome,
            }
            for t in chosen.trials
        ],
        "imbalance": budget.pop("imbalance", {}),
        "budget": {"seconds": config.tuning.time_budget, **budget},
        "interrupted": interrupted,
        "select": dict(job.select) if job.select else None,
    }


def _row(job: Job, found: Result, weight: float) -> dict[str, Any]:
    return {
        "name": found.candidate.title,
        "type": found.candidate.name,
        "score": found.value,
        "sd": found.sd,
        "folds": len(found.parts),
        "seconds": round(found.seconds, 3),
        "parameters": dict(found.candidate.parameters),
        "link": found.candidate.link,
        "weight": weight,
        "converged": all(_converged(part.estimator) for part in found.parts),
    }


def _converged(estimator: Any) -> bool:
    """Did an iterative solver end before its last iteration?"""
    done, most = getattr(estimator, "n_iter_", None), getattr(estimator, "max_iter", None)
    return done is None or most is None or hasattr(estimator, "early_stopping") or bool(np.max(done) < most)


# --- what the model answers -----------------------------------------------------------------------


def scores(member: Member, made: Any, task: str, count: int) -> Floats:
    """A member's scores of a matrix: (n, classes) probabilities, or (n,) on the target's own scale."""
    return fitted.link(member.link, TASKS[task].scores(member.estimator, made, count))


def predict(model: Fitted, columns: Columns) -> Output:
    """The model's answers for n rows. Features that members share are made once."""
    made: dict[int, Any] = {}
    blended: list[Floats] = []
    for member in model.members:
        key = id(member.features)
        if key not in made:
            made[key] = matrix(features.apply(dict(member.features), columns))
        blended.append(scores(member, made[key], model.task, len(model.classes)))
    total = fitted.combine([member.weight for member in model.members], blended)
    return fitted.answer(model.task, total, model.classes, model.calibration, model.threshold, model.interval)
