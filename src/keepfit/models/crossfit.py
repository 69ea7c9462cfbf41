"""One candidate, cross-validated: everything that is learned is learned on a fold's training rows.

Each fold runs in a thread of its own with one thread inside; nothing depends on which is first.

The one thing that folds may share is a feature state that holds nothing of the target (codes of
categories, parts of dates, components of text): the boosters of a bag then read the same matrix,
and serving them is one call. As soon as features are selected or encoded by the target, each fold
has its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.dummy import DummyClassifier

from keepfit import engine, features
from keepfit.errors import ModelError
from keepfit.extras import load
from keepfit.features.values import Sparse
from keepfit.models import boosting, catalogue, linear
from keepfit.models.fitted import Floats, Member, link
from keepfit.models.job import Candidate, Ints, Job, Part, Result, Tell
from keepfit.types import Schema

LARGE = 1_000_000  # cells of a matrix from which a costly estimator is fitted on one fold alone
WIDE = 300  # columns from which `select: auto` selects
FITTING = (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError, boosting.LightGBMError)


def matrix(made: NDArray[np.float32] | Sparse) -> Any:
    """What estimators take: dense, or scipy's compressed rows."""
    if not isinstance(made, Sparse):
        return made
    return sparse.csr_matrix((made.data, made.indices, made.indptr), shape=(len(made.indptr) - 1, made.width))


def selection(schema: Schema, select: str, keep: float | None) -> Mapping[str, Any] | None:
    """`features.select` as features.fit takes it; "auto" selects where there are very many columns."""
    if select == "none" or (select == "auto" and keep is None and not wide(schema)):
        return None
    return {"method": select, "keep": keep}


def wide(schema: Schema) -> bool:
    """Are there so many columns that they are selected, and that numbers get no ramps?"""
    return len([column for column in schema.features if column.role != "text"]) > WIDE


def style(job: Job, row: catalogue.Row) -> catalogue.Style:
    """The row's feature options, the job's over them; the same object each time: what it makes is found again."""
    found = catalogue.NARROW.get(id(row.style), row.style) if wide(job.schema) else row.style
    given = {role: {**found.get(role, {}), **options} for role, options in job.options.items()}
    merged: catalogue.Style = job.cache.setdefault(("style", id(found)), {**found, **given}) if given else found
    return merged


def one_state(job: Job, options: catalogue.Style) -> bool:
    """Is nothing of the target in features of this style, so that all folds may share the state?"""
    return job.select is None and options.get("category", {}).get("encode") != "target"


def prepared(job: Job, options: catalogue.Style, number: int, bag: bool) -> tuple[Mapping[str, Any], Any, Any]:
    """State, and matrices of the training and the held-out rows, of fold `number`."""
    train, valid = job.folds[number]
    if bag and one_state(job, options):
        state, made = everything(job, options)
        return state, made[train], made[valid]
    key = (id(options), number)
    if key not in job.cache:
        state, made = features.fit_apply(
            job.columns[train], job.schema, job.truth[train], options, job.select, job.seed
        )
        held = features.apply(state, job.columns[valid])
        job.cache[key] = (state, matrix(made), matrix(held))
    found: tuple[Mapping[str, Any], Any, Any] = job.cache[key]
    return found


def everything(job: Job, options: catalogue.Style) -> tuple[Mapping[str, Any], Any]:
    """State and matrix of all training rows."""
    key = (id(options), "all")
    if key not in job.cache:
        state, made = features.fit_apply(job.columns, job.schema, job.truth, options, job.select, job.seed)
        job.cache[key] = (state, matrix(made))
    found: tuple[Mapping[str, Any], Any] = job.cache[key]
    return found


def fit(
    job: Job,
    candidate: Candidate,
    made: Any,
    rows: Ints,
    state: Mapping[str, Any],
    valid: tuple[Any, Ints] | None = None,
    rounds: int | None = None,
    number: int = 0,
) -> Any:
    """A fitted estimator of the matrix `made` of `rows`. Raises ModelError with the estimator's own words."""
    target = job.y[rows]
    row = catalogue.row(candidate.name, job.schema.task)
    if job.count and len(np.unique(target)) < 2:
        return DummyClassifier(strategy="prior").fit(made, target)
    adapted = row.adapt(made, target, job.count) if row.adapt else {}
    parameters = {**job.task.given(job.schema), **adapted, **candidate.parameters}
    if row.categorical and state["categorical"]:
        parameters[row.categorical] = [place for place, _ in state["categorical"]]
    if row.pictures:
        parameters.setdefault(row.pictures, state["pictures"])
    parameters |= {name: job.options.get(role, {}).get(option) for name, (role, option) in row.options.items()}
    if row.past and "past" in state:
        parameters[row.past] = state["past"]
    if rounds:
        parameters[load(f"{row.stopping}:ROUNDS", catalogue.KEY)] = rounds
    estimator = catalogue.build(candidate.name, job.schema.task, parameters, job.seed + number, candidate.balanced)
    try:
        with job.threads.limit(limits=1):  # OpenMP's limit holds for a thread, so each sets its own
            return _fit(job, row, candidate, estimator, made, target, state, valid)
    except FITTING as error:
        raise ModelError(f"{candidate.title} could not be fitted: {error}") from error


def _fit(
    job: Job,
    row: catalogue.Row,
    candidate: Candidate,
    estimator: Any,
    made: Any,
    target: NDArray[Any],
    state: Mapping[str, Any],
    valid: tuple[Any, Ints] | None,
) -> Any:
    if candidate.link != "identity":
        target = unlink(candidate.link, target)
    if row.stopping:
        pair = _known_rows(job, candidate, target, valid) if valid else None
        codes = [place for place, _ in state["categorical"]]
        tell: Tell = lambda done, total, message, best: job.tell(done, total, f"{candidate.title}: {message}", best)
        return load(f"{row.stopping}:fit", catalogue.KEY)(
            estimator, made, target, pair, codes, job.stop, job.deadline, tell
        )
    if row.standard and not job.count:
        mean, spread = float(target.mean()), float(target.std()) or 1.0
        return _on_own_scale(estimator.fit(made, (target - mean) / spread), mean, spread)
    return estimator.fit(made, target)


def _known_rows(job: Job, candidate: Candidate, target: NDArray[Any], valid: tuple[Any, Ints]) -> tuple[Any, Any]:
    """The held-out rows whose class is among the training rows: others cannot be scored."""
    held, rows = valid
    y = job.y[rows]
    if not job.count:
        return held, unlink(candidate.link, y)
    known = np.isin(y, target)
    return (held, y) if known.all() else (held[known], y[known])


def unlink(name: str, target: NDArray[Any]) -> NDArray[Any]:
    """The inverse of `fitted.link`."""
    if name == "exp":
        return np.asarray(np.log(target))
    return np.asarray(np.log1p(target)) if name == "expm1" else target


def _on_own_scale(estimator: Any, mean: float, spread: float) -> Any:
    """A regressor of the standardised target, as one of the target: its last layer is linear."""
    if hasattr(estimator, "coef_"):
        estimator.coef_ = estimator.coef_ * spread
        estimator.intercept_ = estimator.intercept_ * spread + mean
    else:
        estimator.coefs_[-1] = estimator.coefs_[-1] * spread
        estimator.intercepts_[-1] = estimator.intercepts_[-1] * spread + mean
    return estimator


def part(job: Job, candidate: Candidate, number: int) -> Part:
    """Fold `number` of a candidate."""
    row = catalogue.row(candidate.name, job.schema.task)
    train, valid = job.folds[number]
    state, made, held = prepared(job, style(job, row), number, bool(row.stopping))
    estimator = fit(job, candidate, made, train, state, (held, valid), number=number)
    cut = bool(getattr(estimator, "cut_", row.stopping and time.monotonic() > job.deadline))
    complete = not job.count or len(getattr(estimator, "classes_", job.schema.classes)) == job.count
    if row.margins and job.count:
        return Part(estimator, state, _margins(job, estimator, held, complete), complete, cut)
    return Part(estimator, state, link(candidate.link, job.task.scores(estimator, held, job.count)), complete, cut)


def _margins(job: Job, estimator: Any, held: Any, complete: bool) -> Floats:
    """Margins (n,) or (n, classes); where the training rows lacked a class, those of the probabilities."""
    if complete:
        return np.asarray(estimator.decision_function(held), np.float64)
    known = np.log(np.clip(job.task.scores(estimator, held, job.count), 1e-6, 1))
    return np.asarray(known[:, 1] - known[:, 0] if job.count == 2 else known)


def cross_validate(
    job: Job, candidate: Candidate, folds: Sequence[int] | None = None, done: Mapping[int, Part] = MappingProxyType({})
) -> Result:
    """The candidate on each fold (or some), less those that are `done`.

    Raises KeyboardInterrupt when `job.stop` was set before it was finished.
    """
    began = time.monotonic()
    row = catalogue.row(candidate.name, job.schema.task)
    if row.stopping and one_state(job, style(job, row)):
        everything(job, style(job, row))  # before the threads, so that it is made once
    numbers = places(job, candidate, folds)
    todo = [number for number in numbers if number not in done]
    try:
        fold = lambda place: part(_timed(job, row, len(todo) - place), candidate, todo[place])
        parts = job.map(fold, range(len(todo)), stop=job.stop)
    except engine.Stopped as stopped:
        raise KeyboardInterrupt from stopped
    if len(parts) < len(todo):
        raise KeyboardInterrupt
    found = {**done, **dict(zip(todo, parts, strict=True))}
    return result(job, candidate, {number: found[number] for number in numbers}, time.monotonic() - began)


def _timed(job: Job, row: catalogue.Row, left: int) -> Job:
    """The job of a fold when `left` are to be fitted: costly ones share the time that is left."""
    if not row.costly:
        return job
    now, rounds = time.monotonic(), -(-left // engine.WORKERS)
    return replace(job, deadline=now + (job.deadline - now) / rounds)


def places(job: Job, candidate: Candidate, folds: Sequence[int] | None = None) -> list[int]:
    """The folds that a candidate is tried on: those asked for, all, or one alone where more would cost too much."""
    row = catalogue.row(candidate.name, job.schema.task)
    options = style(job, row)
    if row.costly and (not one_state(job, options) or everything(job, options)[1].size >= row.costly * LARGE):
        return [widest(job)]
    return [*range(len(job.folds))] if folds is None else [*folds]


def widest(job: Job) -> int:
    """The fold with the most training rows: in time order the folds grow."""
    return int(np.argmax([len(train) for train, _ in job.folds]))


def result(job: Job, candidate: Candidate, parts: Mapping[int, Part], seconds: float) -> Result:
    """Out-of-fold scores and their metric; margins are made probabilities first."""
    calibration = _calibration(job, candidate, parts)
    shape = (job.count,) if job.count else next(iter(parts.values())).scores.shape[1:]
    scores = np.full((len(job.y), *shape), np.nan)
    for number, one in parts.items():
        rows = job.folds[number][1]
        scores[rows] = linear.probabilities(calibration[0] * one.scores + calibration[1]) if calibration else one.scores
    there = np.concatenate([job.folds[number][1] for number in parts])
    values = tuple(job.score(scores[rows], rows) for rows in (job.folds[number][1] for number in parts))
    value = job.score(scores[there], there)
    return Result(candidate, tuple(parts.values()), scores, value, values, seconds, calibration)


def _calibration(job: Job, candidate: Candidate, parts: Mapping[int, Part]) -> tuple[float, float] | None:
    if not catalogue.row(candidate.name, job.schema.task).margins or not job.count:
        return None
    margins = np.concatenate([one.scores for one in parts.values()])
    return linear.scale(margins, np.concatenate([job.y[job.folds[number][1]] for number in parts]))


def members(job: Job, found: Result, weight: float, refit: bool = True) -> list[Member]:
    """What serves a candidate: its bag over the folds, or one estimator fitted to all rows.

    Without `refit` (training was interrupted) the folds' estimators are taken as they are.
    """
    row = catalogue.row(found.candidate.name, job.schema.task)
    complete = all(one.complete for one in found.parts)
    bag = row.stopping and one_state(job, style(job, row)) and complete and _partition(job, found)
    if not refit or bag or (row.costly and complete):
        share = weight / len(found.parts)
        return [_member(job, found, one.estimator, one.state, share) for one in found.parts]
    state, made = everything(job, style(job, row))
    grown = [one.estimator for one in found.parts if one.complete] if row.stopping else []
    rounds = round(float(np.mean([*map(load(f"{row.stopping}:rounds", catalogue.KEY), grown)]))) if grown else None
    estimator = fit(job, found.candidate, made, np.arange(len(job.y)), state, rounds=rounds)
    return [_member(job, found, estimator, state, weight)]


def _partition(job: Job, found: Result) -> bool:
    """Did the folds hold out each row, so that the bag has seen them all alike?"""
    return bool(job.held_out.all()) and len(found.parts) == len(job.folds)


def _member(job: Job, found: Result, estimator: Any, state: Mapping[str, Any], weight: float) -> Member:
    if found.calibration:
        estimator = linear.calibrated(estimator, *found.calibration)
    candidate = found.candidate
    return Member(candidate.name, weight, state, estimator, dict(candidate.parameters), candidate.link)
