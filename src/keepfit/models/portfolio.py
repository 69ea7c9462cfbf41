"""`model.type: auto`: a small portfolio, cross-validated one after the other, cheap and strong first.

    tables            LightGBM bag (also of the logarithm of a positive, skewed target), one with small
                      leaves, a linear model on bent numbers, extra trees or a random forest where cheap
    text alone        the naive-Bayes-weighted linear model, or ridge for a number
    tables with text  both kinds; trees read the text's first components

A member that would begin after the time budget is left out, and said to be. Nothing here looks at
test rows: what was chosen about the portfolio itself was chosen on out-of-fold scores.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keepfit.errors import ModelError
from keepfit.models.crossfit import Candidate, Job, Result, cross_validate

SKEWED = 1.0  # skewness from which the logarithm of a positive target is tried
CHEAP = 20_000_000  # rows times features up to which a forest is cheap
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
    found = [*_boosted(job), _linear(job), *_forests(job)]
    return [Candidate("nb_linear"), *found] if "text" in roles and job.count else found


def names(job: Job) -> list[str]:
    """The catalogue's names of the members."""
    return list(dict.fromkeys(candidate.name for candidate in candidates(job)))


def _boosted(job: Job) -> list[Candidate]:
    rows = len(job.y)
    large: dict[str, Any] = {"num_leaves": 63 if rows >= 10_000 and not job.count else 31}
    small: dict[str, Any] = {"num_leaves": 8, "learning_rate": 0.05, "colsample_bytree": 0.5, "extra_trees": True}
    if rows < 10_000:
        large["learning_rate"] = 0.04
    linked = ["identity", "exp"] if skewed(job) else ["identity"]
    titles = {"identity": "lightgbm", "exp": "lightgbm (log target)"}
    return [Candidate("lightgbm", large, titles[name], link=name) for name in linked] + [
        Candidate("lightgbm", small, "lightgbm (small leaves)", link=linked[-1])
    ]


def skewed(job: Job) -> bool:
    """Is the target positive with a long right tail?"""
    if job.count or job.y.min() <= 0:
        return False
    spread = float(job.y.std())
    return spread > 0 and float((((job.y - job.y.mean()) / spread) ** 3).mean()) > SKEWED


def _linear(job: Job) -> Candidate:
    return Candidate("logistic_regression" if job.count else "ridge")


def _forests(job: Job) -> list[Candidate]:
    found = []
    if len(job.y) * len(job.schema.features) * max(job.count, 1) <= CHEAP / 50:
        found.append(Candidate("extra_trees", {"n_estimators": 200, "min_samples_leaf": 2}))
    if importlib.util.find_spec("catboost") is not None:
        found.append(Candidate("catboost", {}))
    return found


def run(job: Job, members: Sequence[Candidate]) -> Tried:
    """Cross-validate the members in order. A KeyboardInterrupt ends it, if one is finished."""
    results: list[Result] = []
    left_out: dict[str, str] = {}
    for done, candidate in enumerate(members):
        if results and time.monotonic() > job.deadline:
            left_out[candidate.title] = "time budget"
            continue
        job.tell(done, len(members), candidate.title, _best(job, results))
        try:
            results.append(cross_validate(job, candidate, _some_folds(job, members)))
        except ModelError as error:
            left_out[candidate.title] = str(error)
        except KeyboardInterrupt:
            if not results:
                raise
            return Tried(tuple(results), left_out, interrupted=True)
    if not results:
        raise ModelError("No estimator could be fitted: " + "; ".join(left_out.values()))
    job.tell(len(members), len(members), "blending", _best(job, results))
    return Tried(tuple(results), left_out)


def _some_folds(job: Job, members: Sequence[Candidate]) -> list[int] | None:
    """With one member and many documents, as many folds as hold out enough rows."""
    if len(members) > 1 or len(job.y) < LONG:
        return None
    counts = np.cumsum([len(valid) for _, valid in job.folds])
    return list(range(min(max(2, int(np.searchsorted(counts, HELD_OUT)) + 1), len(job.folds))))


def _best(job: Job, results: Sequence[Result]) -> str | None:
    if not results:
        return None
    best = max(job.sign * found.value for found in results) * job.sign
    return f"{job.metric} {best:.4g}"


def balanced(candidate: Candidate) -> Candidate:
    """The candidate with classes weighed alike."""
    return replace(candidate, balanced=True)
