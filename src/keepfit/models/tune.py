"""The search for parameters, with Optuna: tpe, random or grid, in order, seeded, within the budget.

The first trial is always the catalogue's defaults with the user's parameters, so a search never ends
below them. A trial that is worse than the median of the earlier ones after its first folds ends
there, and the search ends when a run of trials has brought nothing: both only save time, both are
counted in the report.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna

from keepfit.errors import ConfigError
from keepfit.extras import nearest
from keepfit.models import catalogue
from keepfit.models.crossfit import cross_validate, places, result
from keepfit.models.job import Candidate, Job, Result

optuna.logging.disable_default_handler()

FIRST = 2  # folds after which a trial may end
PATIENCE = 8  # trials without progress worth the name
PROGRESS = 0.1  # of the standard deviation over the folds
POINTS = 5  # of a range, in a grid


@dataclass(frozen=True)
class Trial:
    """One set of parameters. `value` is of the folds that were run."""

    parameters: Mapping[str, Any]
    value: float
    folds: int
    seconds: float
    outcome: str  # finished | ended early


@dataclass(frozen=True)
class Search:
    """What a search found; `why` says what ended it."""

    best: Result
    trials: tuple[Trial, ...]
    why: str
    interrupted: bool = False


@dataclass
class _Progress:
    trials: list[Trial] = field(default_factory=list)
    best: Result | None = None
    first: list[float] = field(default_factory=list)  # losses after the first folds
    stale: int = 0


def space(name: str, task: str, fixed: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """What is searched: the estimator's own space, `tuning.space` over it, without the user's parameters."""
    catalogue.check(name, task, override, "tuning.space")
    takes = catalogue.known(name, task)
    own = {k: v for k, v in catalogue.row(name, task).space.items() if takes is None or k in takes}
    found = {**own, **override} if override else {k: v for k, v in own.items() if k not in fixed}
    return {key: _checked(key, values) for key, values in found.items()}


def _checked(key: str, values: Any) -> Any:
    where = f"tuning.space.{key}"
    if isinstance(values, Sequence) and not isinstance(values, str) and len(values):
        return list(values)
    if not isinstance(values, Mapping) or not {"low", "high"} <= set(values):
        raise ConfigError(f"{where}: {values!r} is no space. Write a list of values or {{low: 1, high: 10}}.")
    for given in values:
        if given not in ("low", "high", "log"):
            near = nearest(given, ("low", "high", "log"))
            raise ConfigError(f"{where}.{given}: unknown key. {near}Known: low, high, log")
    low, high = values["low"], values["high"]
    if not all(isinstance(v, (int, float)) for v in (low, high)) or low >= high or (values.get("log") and low <= 0):
        raise ConfigError(f"{where}: low must be a number below high, and above 0 with log; not {low!r} and {high!r}.")
    return dict(values)


def search(
    job: Job, candidate: Candidate, spaces: Mapping[str, Any], trials: int, kind: str = "tpe", patience: int = PATIENCE
) -> Search:
    """The best of the candidate's own parameters and up to `trials` others.

    Raises KeyboardInterrupt if the first trial was interrupted: nothing is finished then.
    """
    state = _Progress()
    why = "all trials done"
    try:
        for parameters in _proposals(job, candidate, spaces, trials, kind, state):
            _try(job, candidate, parameters, state, trials)
            if job.stop.is_set():
                raise KeyboardInterrupt
            if time.monotonic() > job.deadline:
                why = "time budget"
                break
            if kind != "grid" and state.stale >= patience:
                why = f"{patience} trials without progress"
                break
    except KeyboardInterrupt:
        if state.best is None:
            raise
        return Search(state.best, tuple(state.trials), "interrupted", interrupted=True)
    assert state.best is not None
    return Search(state.best, tuple(state.trials), why)


def _proposals(
    job: Job, candidate: Candidate, spaces: Mapping[str, Any], trials: int, kind: str, state: _Progress
) -> Iterator[dict[str, Any]]:
    """The candidate's own parameters, then what the sampler asks for; each is told before the next."""
    yield dict(candidate.parameters)
    if not spaces or trials < 1:
        return
    if kind == "grid":
        yield from (dict(candidate.parameters) | point for point in itertools.islice(grid(spaces), trials))
        return
    study = optuna.create_study(sampler=_sampler(kind, job.seed), direction="minimize")
    for _ in range(trials):
        trial = study.ask()
        asked = {key: _ask(trial, key, values) for key, values in spaces.items()}
        yield dict(candidate.parameters) | asked
        last = state.trials[-1]
        loss = -job.sign * last.value
        if last.outcome == "finished" and math.isfinite(loss):
            study.tell(trial, loss)
        else:
            trial.report(loss, last.folds)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def _sampler(kind: str, seed: int) -> optuna.samplers.BaseSampler:
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=6)


def _ask(trial: optuna.Trial, key: str, values: Any) -> Any:
    if isinstance(values, list):
        return values[trial.suggest_categorical(key, list(range(len(values))))]
    low, high, log = values["low"], values["high"], bool(values.get("log"))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=log)
    return trial.suggest_float(key, low, high, log=log)


def grid(spaces: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All combinations; a range gives five points.

    >>> [point["C"] for point in grid({"C": {"low": 1, "high": 16, "log": True}})]
    [1, 2, 4, 8, 16]
    """
    axes = [values if isinstance(values, list) else _points(values) for values in spaces.values()]
    return (dict(zip(spaces, point, strict=True)) for point in itertools.product(*axes))


def _points(values: Mapping[str, Any]) -> list[Any]:
    low, high = values["low"], values["high"]
    steps = [k / (POINTS - 1) for k in range(POINTS)]
    found = [low * (high / low) ** s for s in steps] if values.get("log") else [low + (high - low) * s for s in steps]
    if isinstance(low, int) and isinstance(high, int):
        return list(dict.fromkeys(round(value) for value in found))
    return found


def _try(job: Job, candidate: Candidate, parameters: Mapping[str, Any], state: _Progress, trials: int) -> None:
    """Run one trial: its first folds, and the others unless it is below the median so far."""
    tried = Candidate(candidate.name, dict(parameters), candidate.label, candidate.balanced, candidate.link)
    numbers = places(job, tried)
    found = cross_validate(job, tried, numbers[:FIRST])
    loss = -job.sign * found.value
    hopeless = len(state.first) >= 3 and loss > statistics.median(state.first)
    state.first.append(loss)
    if not hopeless and numbers[FIRST:]:
        found = _joined(job, tried, found, cross_validate(job, tried, numbers[FIRST:]), numbers)
    outcome = "ended early" if hopeless else "finished"
    state.trials.append(Trial(dict(parameters), found.value, len(found.parts), found.seconds, outcome))
    better = state.best is None or (not hopeless and job.sign * (found.value - state.best.value) > 0)
    if state.best is not None:
        far = abs(found.value - state.best.value) > PROGRESS * state.best.sd
        state.stale = 0 if better and far else state.stale + 1
    if better:
        state.best = found
    assert state.best is not None
    shown = f"{job.metric} {state.best.value:.4g}"
    job.tell(len(state.trials), trials + 1, f"trial {len(state.trials)}: {tried.title}", shown)


def _joined(job: Job, candidate: Candidate, first: Result, then: Result, numbers: Sequence[int]) -> Result:
    parts = dict(zip(numbers, (*first.parts, *then.parts), strict=True))
    return result(job, candidate, parts, first.seconds + then.seconds)
