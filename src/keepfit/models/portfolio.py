"""`model.type: auto`: a small portfolio, cross-validated one after the other, cheap and strong first.

    tables            linear models on bent numbers, LightGBM bags with few and with many leaves, extra
                      trees where they are cheap; for a positive, skewed target also of its logarithm
    text alone        the naive-Bayes-weighted linear model, or ridge for a number
    tables with text  both kinds; trees read the text's first components
    pictures alone    linear models and a small network on what a backbone sees
    pictures' pixels  a convolutional network where torch is installed; where they are small, the others too

On many rows one fold tells who is worth the others: members without weight in the blend there are
left out. So are those that would begin after the time budget; both are said. Nothing here looks at
test rows: what was chosen about the portfolio itself was chosen on held-out training rows.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keepfit.errors import ModelError
from keepfit.models import catalogue, metrics
from keepfit.models.crossfit import cross_validate, everything, style, wide, widest
from keepfit.models.job import Candidate, Job, Result

SKEWED = 1.0  # skewness from which the logarithm of a positive target is tried
CHEAP = 30_000  # rows times features up to which a forest is cheap
MANY = 8_000  # rows from which there is more to learn than to guard against, and one fold tells enough
WORTH = 1e-2  # share of the score on one fold that a member must bring to be fitted on the others
FEATURES = 5  # that a tree sees at least: fewer hide what two columns say together
BOOSTER = "lightgbm"
NETWORK = "convolutional_network"
SMALL = 5_000_000  # pixels times rows times classes up to which estimators that know nothing of pictures are tried
HELD_OUT = 10_000  # held-out rows that are enough when there is nothing to blend
LONG = 20_000  # documents from which text takes that shortcut


@dataclass(frozen=True)
class Tried:
    """What the portfolio gave. `left_out`: title → why. `screened`: those that one fold was enough for."""

    results: tuple[Result, ...]
    left_out: dict[str, str]
    interrupted: bool = False
    screened: tuple[Result, ...] = ()


def candidates(job: Job) -> list[Candidate]:
    """The members to try, in order."""
    roles = {column.role for column in job.schema.features}
    if roles == {"text"}:
        return [Candidate("nb_linear" if job.count else "ridge")]
    if "image" in roles and (pixels := _pixels(job)):
        return _seen(job, pixels)
    if roles == {"image"}:  # what a backbone sees is all but linear in what it was trained to tell apart
        return [*_linear(job), Candidate("mlp", {"learning_rate_init": 0.0003})]
    found = [*_linear(job), *_boosted(job), *_forests(job)]
    positive = "image" not in roles  # naive Bayes counts
    return [Candidate("nb_linear"), *found] if "text" in roles and positive and job.count else found


def _pixels(job: Job) -> int:
    """Cells of the matrix that pixels are fitted in, times classes; 0 where a backbone saw the pictures."""
    options = style(job, catalogue.row(NETWORK, job.schema.task))
    state, made = everything(job, options)
    return made.shape[0] * made.shape[1] * max(job.count, 1) if state["pictures"] else 0


def _seen(job: Job, pixels: int) -> list[Candidate]:
    """The members for pictures without a backbone: all kinds where they are small."""
    network = [] if lacking(job) else [Candidate(NETWORK)]
    if pixels > SMALL:
        return network or [*_linear(job)[-1:], Candidate("mlp")]
    return [*_linear(job), *_boosted(job), *_forests(job), *(network or [Candidate("mlp")])]


def lacking(job: Job) -> dict[str, str]:
    """What is left out because a package is not installed → how to install it."""
    pictured = any(column.role == "image" for column in job.schema.features)
    if not pictured or importlib.util.find_spec("torch"):
        return {}
    return {NETWORK: "needs the package torch: pip install 'keepfit[torch]'"}


def names(members: Sequence[Candidate]) -> list[str]:
    """The catalogue's names of the members."""
    return list(dict.fromkeys(candidate.name for candidate in members))


def judge(members: Sequence[Candidate]) -> Candidate:
    """The member that answers for all whether classes are to be weighed alike: the first linear one."""
    return next((c for c in members if c.name == "logistic_regression"), members[0])


def _linear(job: Job) -> list[Candidate]:
    if job.count:
        strengths = (1.0,) if _many(job) else (0.1, 1.0)
        return [Candidate("logistic_regression", {"C": c}, f"logistic_regression (C {c:g})") for c in strengths]
    found = [Candidate("ridge")]
    return [*found, _logarithmic(Candidate("ridge"))] if skewed(job) else found


def _many(job: Job) -> bool:
    return len(job.y) >= MANY


def _boosted(job: Job) -> list[Candidate]:
    """LightGBM with leaves of two sizes; on many rows of a skewed target, of both scales."""
    sizes = _sizes_of_many(job) if _many(job) else _sizes_of_few(job)
    few = {"colsample_bytree": 0.2} if wide(job.schema) else {}
    found = [_titled(name, {**given, **few}) for name, given in sizes.items()]
    return [*found, *(_logarithmic(c) for c in found)] if _many(job) and skewed(job) else found


def _sizes_of_few(job: Job) -> dict[str, dict[str, Any]]:
    if job.count:
        return {
            "": {"num_leaves": 31, "learning_rate": 0.04},
            "small leaves": {"num_leaves": 8, "learning_rate": 0.08, "colsample_bytree": 0.5},
        }
    return {
        "": {"num_leaves": 31},
        "small leaves": {"num_leaves": 15, "learning_rate": 0.1, "colsample_bytree": 0.5},
    }


def _sizes_of_many(job: Job) -> dict[str, dict[str, Any]]:
    """Long steps, all rows, some of the features: a third of the trees of small steps on drawn rows.

    The bag over the folds smooths what long steps leave rough (measured with the bag on rows that no
    fold had seen; a fold's own estimator says otherwise).
    """
    if job.count:
        shapes = {"": (16, 0.2, 0.3), "large leaves": (63, 0.1, 0.5)}
    else:
        shapes = {"": (31, 0.12, 0.5), "large leaves": (127, 0.07, 0.5)}
    least = min(FEATURES / len(job.schema.features), 1.0)
    found: dict[str, dict[str, Any]] = {
        name: {"num_leaves": leaves, "learning_rate": rate, "colsample_bytree": max(share, least), "subsample_freq": 0}
        for name, (leaves, rate, share) in shapes.items()
    }
    if job.count:  # coarse bins are enough to tell classes apart; a number's value is told finer
        return {name: {**given, "max_bin": 127} for name, given in found.items()}
    return {**found, "large leaves": {**found["large leaves"], "reg_lambda": 5.0}}


def _titled(name: str, parameters: dict[str, Any]) -> Candidate:
    return Candidate("lightgbm", parameters, f"lightgbm ({name})" if name else "lightgbm")


def _logarithmic(candidate: Candidate) -> Candidate:
    return replace(candidate, link="exp", label=f"{candidate.title} of log target")


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
    first: list[Result] = []
    results: list[Result] = []
    left_out: dict[str, str] = {}
    going, fold, total = list(members), widest(job), len(members) + 1
    try:
        if _many(job) and len(members) > 1 and job.task.screens:
            _each(job, members, [fold], first, left_out, (0, 2 * len(members) + 1))
            going, total = _worthy(job, first, fold, left_out), total + len(going)
        if first and time.monotonic() > job.deadline:  # what has begun is fitted to all rows as it is
            results, left_out["other folds"] = first, "time budget"
        else:
            steps = (total - 1 - len(going), total)
            _each(job, going, _folds(job, len(members)), results, left_out, steps, first, fold)
    except KeyboardInterrupt:
        if not (results or first):
            raise
        return _tried(results, first, left_out, interrupted=True)
    if not results:
        raise ModelError("No estimator could be fitted: " + "; ".join(left_out.values()))
    job.tell(total - 1, total, "blending", best(job, results))
    return _tried(results, first, left_out, job.stop.is_set())


def _tried(
    results: Sequence[Result], first: Sequence[Result], left_out: dict[str, str], interrupted: bool = False
) -> Tried:
    results = results or first
    done = {found.candidate.title for found in results}
    screened = tuple(found for found in first if found.candidate.title not in done)
    return Tried(tuple(results), left_out, interrupted, screened)


def _each(
    job: Job,
    members: Sequence[Candidate],
    folds: Sequence[int] | None,
    found: list[Result],
    left_out: dict[str, str],
    steps: tuple[int, int],
    first: Sequence[Result] = (),
    fold: int = 0,
) -> None:
    """Add to `found` the members on `folds`; `first` has what is known of `fold`. Told from step to step."""
    known = {one.candidate.title: one for one in first}
    for place, candidate in enumerate(members):
        if found and time.monotonic() > job.deadline:
            left_out[candidate.title] = "time budget"
            continue
        job.tell(steps[0] + place, steps[1], candidate.title, best(job, found or first))
        before = known.get(candidate.title)
        try:
            made = cross_validate(job, candidate, folds, {fold: before.parts[0]} if before else {})
        except ModelError as error:
            left_out[candidate.title] = str(error)
        else:
            found.append(replace(made, seconds=made.seconds + (before.seconds if before else 0.0)))


def _worthy(job: Job, first: Sequence[Result], fold: int, left_out: dict[str, str]) -> list[Candidate]:
    """The members that have weight in the blend on one fold."""
    if not first:
        return []
    rows = job.folds[fold][1]
    weights = job.task.weigh(job, first, rows, WORTH)
    left_out |= {r.candidate.title: "no weight on the first fold" for r, w in zip(first, weights, strict=True) if not w}
    return [r.candidate for r, w in zip(first, weights, strict=True) if w]


def linked(job: Job, members: Sequence[Candidate]) -> list[Candidate]:
    """The members, boosters on the logarithm of a skewed target where two folds say that it is better."""
    boosters = [c for c in members if c.name == BOOSTER]
    if not boosters or not skewed(job) or _many(job):  # many rows: both scales are tried
        return list(members)
    judge = boosters[-1]  # the small leaves: the cheapest
    folds = list(range(len(job.folds)))[:2]
    plain, log = (cross_validate(job, replace(judge, link=link), folds) for link in ("identity", "exp"))
    if not metrics.better(job.metric, log.value, plain.value):
        return list(members)
    return [_logarithmic(c) if c in boosters else c for c in members]


def _folds(job: Job, members: int) -> list[int] | None:
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
