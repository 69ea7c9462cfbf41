"""`model.type: auto`: a small portfolio, cross-validated one after the other, cheap and strong first.

    tables            linear models on bent numbers, LightGBM bags with leaves of different sizes, extra
                      trees where they are cheap; for a positive, skewed target also of its logarithm
    text alone        the naive-Bayes-weighted linear model, or ridge for a number
    tables with text  both kinds; trees read the text's first components

A member that would begin after the time budget is left out, and said to be. Nothing here looks at
test rows: what was chosen about the portfolio itself was chosen on out-of-fold scores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keepfit.errors import ModelError
from keepfit.models import metrics
from keepfit.models.crossfit import Candidate, Job, Result, cross_validate, wide

SKEWED = 1.0  # skewness from which the logarithm of a positive target is tried
CHEAP = 30_000  # rows times features up to which a forest is cheap
MANY = 8_000  # rows from which there is more to learn than to guard against
BOOSTER = "lightgbm"
HELD_OUT = 10_000  # held-out rows that are enough when there is nothing to blend
LONG = 20_000  # documents from which text takes that shortcut


@dataclass(frozen=True)
class Tried:
    """What the portfolio gave. `left_out`: title → why."""

    results: tuple[Result, ...]
    left_out: dict[str, str]
    interrupted: bool = False


def candidates(job: Job) -> list[Candidate]:
    """The members to try, in order."""
    roles = {column.role for column in job.schema.features}
    if roles == {"text"}:
        return [Candidate("nb_linear" if job.count else "ridge")]
    found = [*_linear(job), *_boosted(job), *_forests(job)]
    return [Candidate("nb_linear"), *found] if "text" in roles and job.count else found


def names(members: Sequence[Candidate]) -> list[str]:
    """The catalogue's names of the members."""
    return list(dict.fromkeys(candidate.name for candidate in members))


def judge(members: Sequence[Candidate]) -> Candidate:
    """The member that answers for all whether classes are to be weighed alike: the first linear one."""
    return next((c for c in members if c.name == "logistic_regression"), members[0])


def _linear(job: Job) -> list[Candidate]:
    if job.count:
        return [Candidate("logistic_regression", {"C": c}, f"logistic_regression (C {c:g})") for c in (0.1, 1.0)]
    found = [Candidate("ridge")]
    return [*found, Candidate("ridge", {}, "ridge of log target", link="exp")] if skewed(job) else found


def _boosted(job: Job) -> list[Candidate]:
    """LightGBM with leaves of two sizes: many rows of a number bear large leaves, labels do not."""
    many = len(job.y) >= MANY
    if job.count:
        rate = 0.06 if many else 0.04
        sizes = {
            "": {"num_leaves": 31, "learning_rate": rate},
            "small leaves": {"num_leaves": 8, "learning_rate": 2 * rate, "colsample_bytree": 0.5},
        }
    else:
        sizes = {
            "": {"num_leaves": 63 if many else 31},
            "large leaves": {"num_leaves": 127, "min_child_samples": 5, "colsample_bytree": 0.6},
            "small leaves": {"num_leaves": 15, "learning_rate": 0.1, "colsample_bytree": 0.5},
        }
        if not many:
            del sizes["large leaves"]
    few = {"colsample_bytree": 0.2} if wide(job.schema) else {}
    return [_titled(name, {**given, **few}) for name, given in sizes.items()]


def _titled(name: str, parameters: dict[str, Any]) -> Candidate:
    return Candidate("lightgbm", parameters, f"lightgbm ({name})" if name else "lightgbm")


def skewed(job: Job) -> bool:
    """Is the target positive with a long right tail?"""
    if job.count or job.y.min() <= 0:
        return False
    spread = float(job.y.std())
    return spread > 0 and float((((job.y - job.y.mean()) / spread) ** 3).mean()) > SKEWED


def _forests(job: Job) -> list[Candidate]:
    """Extra trees where they are cheap: on many rows they bring nothing that boosting has not."""
    if len(job.y) * len(job.schema.features) * max(job.count, 1) > CHEAP:
        return []
    return [Candidate("extra_trees", {"n_estimators": 100, "min_samples_leaf": 2})]


def run(job: Job, members: Sequence[Candidate]) -> Tried:
    """Cross-validate the members in order. A KeyboardInterrupt ends it, if one is finished."""
    results: list[Result] = []
    left_out: dict[str, str] = {}
    waiting = list(members)
    total = len(waiting) + 1
    try:
        while waiting:
            candidate = waiting.pop(0)
            if results and time.monotonic() > job.deadline:
                left_out[candidate.title] = "time budget"
                continue
            job.tell(total - len(waiting) - 2, total, candidate.title, best(job, results))
            _try(job, candidate, waiting, results, left_out)
    except KeyboardInterrupt:
        if not results:
            raise
        return Tried(tuple(results), left_out, interrupted=True)
    if not results:
        raise ModelError("No estimator could be fitted: " + "; ".join(left_out.values()))
    job.tell(total - 1, total, "blending", best(job, results))
    return Tried(tuple(results), left_out)


def _try(
    job: Job, candidate: Candidate, waiting: list[Candidate], results: list[Result], left_out: dict[str, str]
) -> None:
    try:
        results.append(cross_validate(job, candidate, _some_folds(job, len(waiting) + len(results) + 1)))
    except ModelError as error:
        left_out[candidate.title] = str(error)


def linked(job: Job, members: Sequence[Candidate]) -> list[Candidate]:
    """The members, boosters on the logarithm of a skewed target where two folds say that it is better."""
    boosters = [c for c in members if c.name == BOOSTER]
    if not boosters or not skewed(job):
        return list(members)
    judge = boosters[-1]  # the small leaves: the cheapest
    folds = list(range(len(job.folds)))[:2]
    plain, log = (cross_validate(job, replace(judge, link=link), folds) for link in ("identity", "exp"))
    if not metrics.better(job.metric, log.value, plain.value):
        return list(members)
    return [replace(c, link="exp", label=f"{c.title} of log target") if c in boosters else c for c in members]


def _some_folds(job: Job, members: int) -> list[int] | None:
    """With one member and many documents, as many folds as hold out enough rows."""
    if members > 1 or len(job.y) < LONG:
        return None
    counts = np.cumsum([len(valid) for _, valid in job.folds])
    return list(range(min(max(2, int(np.searchsorted(counts, HELD_OUT)) + 1), len(job.folds))))


def best(job: Job, results: Sequence[Result]) -> str | None:
    """The best score so far, for people."""
    if not results:
        return None
    best = max(job.sign * found.value for found in results) * job.sign
    return f"{job.metric} {best:.4g}"


def balanced(candidate: Candidate) -> Candidate:
    """The candidate with classes weighed alike."""
    return replace(candidate, balanced=True)
