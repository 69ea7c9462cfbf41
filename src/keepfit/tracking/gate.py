"""The gate: may this model become champion? Every answer is a Check of one Verdict.

    goals             each metric, size and latency that the config asks for
    baseline          better than the trivial baseline, beyond chance; only a warning where the champion is
                      surely worse than the challenger, as a refusal would leave the worse of the two
    champion          not worse than the champion on the same rows, by more than a margin; a champion that
                      cannot be asked about these rows is replaced by hand only
    slices            no slice below its floor
    size, latency     within the limits of `gate`
    parity            the bundle answers like the model that was trained

"Not worse" is a test of non-inferiority: the one-sided lower confidence bound of the difference
must not lie below minus the margin (ICH E9, section 3.3.2; Walker and Nowacki, Understanding
equivalence and noninferiority testing, J Gen Intern Med 26, 2011). The bound comes from a paired
bootstrap over rows: both models are scored on the same resamples, so that what is hard for both
cancels out (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 13). Rows
that belong together (a series, an entity of `data.group`) are drawn together, and errors of forecasts
are divided by the same scales for all that are compared.
So a model that is worse by the margin gets through with a chance of about 1 - confidence at most.
When too few rows leave it open, the answer is no, and says how many rows would settle it.

A bootstrap knows only the rows it has: two models that differ on three rows, all in favour of one,
look like a sure thing to it (a wrong yes in 21 of 100 cases of 30 rows, measured). So two rows are
added in thought on which they differ, one each way, as Agresti and Min do for paired proportions
(Simple improved confidence intervals for comparing matched proportions, Stat Med 24, 2005); that
made it 6 of 100, and 4 to 6 for 100 to 5,000 rows.

The margin of a score (accuracy, ROC AUC, R², …) is a difference; that of an error or a loss, which
has a scale of its own, is a share of the champion's value.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit import config
from keepfit.extras import nearest
from keepfit.models import metrics
from keepfit.models.fitted import Output
from keepfit.types import Check, Verdict

COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
SLICE_ROWS = 30  # a smaller slice tells more about its few rows than about the model
POWER = 0.8  # chance to be let through for which the wanted number of rows is reckoned
FIRST = "there is no champion yet"
BY_HAND = "Where that is meant, promote it by hand: keepfit promote VERSION --reason …"


@dataclass(frozen=True)
class Trial:
    """What is judged: answers of the challenger and of those it is compared with, on the same rows.

    `y` (n,) are true labels as text or values; `champion` is None where there is none to compare with,
    and `without` says why; `baseline` where these rows alone do not make one. `measured` are single numbers
    about the model, by name: size_mb, latency_p50_ms, latency_p99_ms. `intervals` are the evaluation's
    metrics, each with `value`, `low` and `high`. `slices` give each row's group, by column (n,). `seen` says
    whether the champion was trained on rows that it is compared on here; it warns and stops nothing.
    `together` (n,) numbers the units that rows belong to, None where each stands alone.
    """

    y: NDArray[Any]
    classes: tuple[str, ...]
    challenger: Output
    baseline: Output | None
    champion: Output | None = None
    without: str = FIRST
    intervals: Mapping[str, Mapping[str, Any]] | None = None
    measured: Mapping[str, float] | None = None
    slices: Mapping[str, NDArray[Any]] | None = None
    parity: Verdict | None = None
    seen: Check | None = None
    together: NDArray[np.intp] | None = None


def judge(trial: Trial, goals: Mapping[str, str], gate: config.Gate, resamples: int = 1000, seed: int = 0) -> Verdict:
    """All checks of the gate. Raises ConfigError for a `gate.metric` that the task does not have."""
    name = metric(trial, goals, gate)
    values = _values(trial, name)
    checks = [_goal(goal, limit, values, trial.intervals or {}) for goal, limit in goals.items()]
    checks.append(_beats_baseline(trial, name, gate, resamples, seed))
    checks.append(_not_worse(trial, name, gate, resamples, seed))
    checks += [trial.seen] if trial.seen else []
    checks += [_floor(trial, name, column, floor) for column, floor in gate.slices.items()]
    checks.append(_within("size_mb", "bundle size, MB", gate.size_mb, trial))
    checks.append(_within("latency_p50_ms", "single row, median ms", gate.latency_ms, trial))
    checks.append(_parity(trial.parity))
    return Verdict("promotion gate", tuple(checks))


def failed(verdict: Verdict) -> str:
    """What speaks against it, in one line."""
    return "; ".join(f"{check.name}: {check.detail or check.value}" for check in verdict.failures)


def kept(trial: Trial, goals: Mapping[str, str], gate: config.Gate, share: float, resamples: int, seed: int) -> Check:
    """Does the challenger keep at least `share` of what the champion knows beyond the trivial baseline?

    Ten margins may be lost in any case. No proof is asked for, as by the gate itself: where few rows leave it
    open, what is more likely counts.
    """
    name = metric(trial, goals, gate)
    assert trial.champion is not None
    assert trial.baseline is not None
    best, least = (_point(trial, output, name) for output in (trial.champion, trial.baseline))
    sign = metrics.METRICS[name].sign
    lead = sign * (best - least) / (1.0 if sign > 0 else best or 1.0)  # an error's margin is a share of it
    margin = max(10 * gate.margin, (1 - share) * lead if math.isfinite(lead) else 0.0)
    return _not_worse(trial, name, gate.model_copy(update={"margin": margin, "confidence": 0.5}), resamples, seed)


def metric(trial: Trial, goals: Mapping[str, str], gate: config.Gate) -> str:
    """The metric that models are compared by: `gate.metric`, or for "auto" the first goal's.

    Without such a goal it is ROC AUC for two classes, accuracy for more, R² for numbers, all
    between 0 and 1, so that one margin fits them; and MASE for forecasts.
    """
    possible = metrics.available(metrics.answers(trial.y, trial.challenger, trial.classes))
    possible = [name for name in possible if metrics.METRICS[name].ranks]
    if gate.metric != "auto":
        return metrics.named(gate.metric, metrics.METRICS[possible[0]].tasks[0], "gate.metric")
    wanted = [metrics.ALIASES.get(name, name) for name in goals]
    usual = ["roc_auc"] if len(trial.classes) == 2 else []
    order = [*wanted, *usual, "accuracy", "r2", "mase"]
    return next(name for name in order if name in possible)


def _point(trial: Trial, output: Output, name: str) -> float:
    return metrics.point(trial.y, _alike(trial, output), trial.classes, [name])[name]


def _alike(trial: Trial, output: Output) -> Output:
    """An output in the challenger's scales: the same error is to be the same for all."""
    return replace(output, ahead=trial.challenger.ahead)


def _values(trial: Trial, name: str) -> dict[str, float]:
    """Everything that a goal may name."""
    found = metrics.point(trial.y, trial.challenger, trial.classes)
    return {**found, **(trial.measured or {})}


def _goal(name: str, text: str, values: Mapping[str, float], intervals: Mapping[str, Mapping[str, Any]]) -> Check:
    found = metrics.ALIASES.get(name, name)
    sign, limit = config.goal(text)
    if found not in values:
        detail = f"unknown goal. {nearest(name, values)}Known: {', '.join(sorted(values))}"
        return Check(f"goal {name}", "failed", None, text, detail)
    value = values[found]
    if math.isnan(value):
        return Check(f"goal {name}", "failed", value, text, "undefined on the test rows: they hold one class only")
    around = intervals.get(found, {})
    detail = ""
    if around.get("low") is not None:
        detail = f"interval {around['low']:.4g} to {around['high']:.4g}"
        if COMPARE[sign](around["low"], limit) != COMPARE[sign](around["high"], limit):
            detail += "; the goal lies in it, so the test rows do not settle it"
    return Check(f"goal {name}", "passed" if COMPARE[sign](value, limit) else "failed", value, text, detail)


@dataclass(frozen=True)
class Lead:
    """How much better one model is than another: `value` on all rows, `samples` on resamples.

    `differ` is the number of rows, or units of rows, on which their answers are not the same.
    """

    one: float
    other: float
    value: float
    samples: NDArray[np.floating[Any]]
    differ: int

    @property
    def error(self) -> float:
        """The standard error, with two rows more on which the models differ (see the module)."""
        return float(self.samples.std()) * math.sqrt(1 + 2 / self.differ) if self.differ else 0.0

    def low(self, confidence: float) -> float:
        """The one-sided lower bound: the lower of the percentile and the normal one."""
        normal = self.value - NormalDist().inv_cdf(confidence) * self.error
        return min(float(np.quantile(self.samples, 1 - confidence)), normal)

    def high(self, confidence: float) -> float:
        """The one-sided upper bound, in the same way."""
        normal = self.value + NormalDist().inv_cdf(confidence) * self.error
        return max(float(np.quantile(self.samples, confidence)), normal)


def paired(trial: Trial, name: str, other: Output, resamples: int, seed: int, margin: float = 0.0) -> Lead:
    """The paired bootstrap of challenger minus `other`, in the direction where more is better.

    With a margin, the lead is over what the margin leaves of `other`: 0 is worse by just the margin.
    Resamples for which the metric is undefined are left out.
    """
    sign = metrics.METRICS[name].sign
    given = (trial.challenger, _alike(trial, other))
    points = [_point(trial, output, name) for output in given]
    samples = metrics.samples_of(trial.y, given, trial.classes, [name], resamples, seed, trial.together)
    drawn = [each[name] for each in samples]

    def lead(one: Any, two: Any) -> Any:
        return sign * (one - two) + (margin if sign > 0 else margin * two)

    leads = lead(drawn[0], drawn[1])
    differ = _units(_differ(trial.challenger, other, metrics.METRICS[name].needs == "probabilities"), trial.together)
    return Lead(points[0], points[1], float(lead(*points)), leads[np.isfinite(leads)], differ)


def _units(rows: NDArray[np.bool_], together: NDArray[np.intp] | None) -> int:
    """How many of the rows there are, or of the units that they belong to."""
    return int(rows.sum()) if together is None else len(np.unique(together[rows]))


def _differ(one: Output, other: Output, by_probability: bool) -> NDArray[np.bool_]:
    if by_probability and one.probabilities is not None and other.probabilities is not None:
        found: NDArray[np.bool_] = (one.probabilities != other.probabilities).any(axis=1)
        return found
    return np.asarray(one.values != other.values, np.bool_)


def _beats_baseline(trial: Trial, name: str, gate: config.Gate, resamples: int, seed: int) -> Check:
    title = f"better than the baseline: {name}"
    if trial.baseline is None:
        return Check(title, "not checked", detail="the baseline needs rows from before these")
    found = paired(trial, name, trial.baseline, resamples, seed)
    if not len(found.samples):
        return Check(title, "failed", None, "> 0", "undefined on the test rows: they hold one class only")
    low = found.low(gate.confidence)
    detail = f"{found.one:.4g} against {found.other:.4g}, lead at least {low:.4g} ({gate.confidence:.0%} sure)"
    if low > 0:
        return Check(title, "passed", found.value, "> 0", detail)
    told = f"{detail}; {_open(found, len(trial.y), gate, found.value)}"
    if _surely_better(trial, name, gate, resamples, seed):
        told += "; the champion is worse still"
        return Check(title, "failed", found.value, "> 0", told, "warning")
    return Check(title, "failed", found.value, "> 0", told)


def _surely_better(trial: Trial, name: str, gate: config.Gate, resamples: int, seed: int) -> bool:
    """Is the challenger better than the champion, beyond chance? False where there is none to compare with."""
    if trial.champion is None:
        return False
    found = paired(trial, name, trial.champion, resamples, seed)
    return bool(len(found.samples)) and found.low(gate.confidence) > 0


def _not_worse(trial: Trial, name: str, gate: config.Gate, resamples: int, seed: int) -> Check:
    title = f"not worse than the champion: {name}"
    if trial.champion is None:
        if trial.without == FIRST:
            return Check(title, "not checked", detail=FIRST)
        return Check(title, "failed", detail=f"{trial.without}. {BY_HAND}")
    sign = metrics.METRICS[name].sign
    limit = f">= -{gate.margin:g}" if sign > 0 else f">= -{gate.margin:g} × champion's"
    if same(trial.challenger, trial.champion):
        return Check(
            title, "passed", 0.0, limit, f"gives the same answers as the champion on all {len(trial.y):,} rows"
        )
    found = paired(trial, name, trial.champion, resamples, seed, gate.margin)
    lead = sign * (found.one - found.other)
    if not len(found.samples):
        return Check(title, "failed", lead, limit, "undefined on the test rows: they hold one class only")
    allowed = found.value - lead  # the margin in the metric's own unit
    low = found.low(gate.confidence)
    detail = (
        f"{found.one:.4g} against {found.other:.4g}, lead at least {low - allowed:.4g} ({gate.confidence:.0%} sure)"
    )
    if low >= 0:
        return Check(title, "passed", lead, limit, detail)
    return Check(
        title, "failed", lead, limit, f"{detail}; {_open(found, len(trial.y), gate, max(found.value, allowed))}"
    )


def same(one: Output, other: Output) -> bool:
    """Do two models give the same answers on these rows, to the last digit?"""
    pairs = [(getattr(one, part), getattr(other, part)) for part in ("values", "probabilities", "low", "high")]
    return all((a is None and b is None) or (a is not None and b is not None and _equal(a, b)) for a, b in pairs)


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and bool(np.all(a == b))


def _open(found: Lead, rows: int, gate: config.Gate, hoped: float) -> str:
    """Is it worse for sure, or is it open, and how many rows would settle it?

    `hoped` is the lead, margin included, that is taken for true in the reckoning. The standard
    error shrinks with the root of the rows: n' = n ((z_confidence + z_power) SE / lead)².
    """
    if found.high(gate.confidence) < 0:
        return f"that it falls short is {gate.confidence:.0%} sure"
    if hoped <= 0:
        return f"the {rows:,} rows do not tell, and there is no lead or margin that more rows could prove"
    z = NormalDist().inv_cdf(gate.confidence) + NormalDist().inv_cdf(POWER)
    needed = rows * (z * found.error / hoped) ** 2
    if needed <= rows:
        return f"the {rows:,} rows do not tell; a few more would"
    return f"the {rows:,} rows do not tell: about {_round(needed):,} would be needed"


def _round(count: float) -> int:
    """Upwards to two significant digits."""
    unit = int(10 ** max(0, math.floor(math.log10(count)) - 1))
    return math.ceil(count / unit) * unit


def _floor(trial: Trial, name: str, column: str, floor: float) -> Check:
    """The worst slice of one column against its floor (of an error: its ceiling)."""
    title = f"slices of {column}: {name}"
    better_high = metrics.METRICS[name].sign > 0
    limit = f"{'>=' if better_high else '<='} {floor:g}"
    slices = trial.slices or {}
    if column not in slices:
        detail = f"gate.slices names no column of the test rows. {nearest(column, slices)}"
        return Check(title, "failed", None, limit, f"{detail}Known: {', '.join(sorted(slices)) or 'none'}")
    scored, small = _slices(trial, name, slices[column])
    left = f"; {small} with under {SLICE_ROWS} rows or one class not checked" if small else ""
    if not scored:
        detail = f"no slice has {SLICE_ROWS} rows and a defined {name}: what was asked for cannot be shown"
        return Check(title, "failed", None, limit, detail)
    worst = min(scored, key=lambda group: scored[group][0] if better_high else -scored[group][0])
    value, rows = scored[worst]
    below = sum(v < floor if better_high else v > floor for v, _ in scored.values())
    detail = f"worst: {column} = {worst} ({rows:,} rows); {below} of {len(scored)} slices miss it{left}"
    return Check(title, "failed" if below else "passed", value, limit, detail)


def _slices(trial: Trial, name: str, groups: NDArray[Any]) -> tuple[dict[str, tuple[float, int]], int]:
    """Slice → metric and rows, of those where it means something; and the number of the others."""
    found: dict[str, tuple[float, int]] = {}
    names, codes, counts = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    for number in np.flatnonzero(counts >= SLICE_ROWS):
        rows = np.flatnonzero(codes == number)
        value = metrics.point(trial.y[rows], trial.challenger[rows], trial.classes, [name])[name]
        if math.isfinite(value):
            found[str(names[number])] = (value, len(rows))
    return found, len(names) - len(found)


def _within(key: str, title: str, limit: float | None, trial: Trial) -> Check:
    if limit is None:
        return Check(title, "not checked", detail="no limit is set in gate")
    value = (trial.measured or {}).get(key)
    if value is None:
        return Check(title, "not checked", None, f"<= {limit:g}", "was not measured")
    return Check(title, "passed" if value <= limit else "failed", value, f"<= {limit:g}")


def _parity(parity: Verdict | None) -> Check:
    title = "the bundle answers like the trained model"
    if parity is None or parity.outcome == "not checked":
        return Check(title, "not checked", detail="parity was not measured")
    told = [f"{c.name}: {c.detail or c.value}" for c in parity.failures] or [
        c.detail for c in parity.checks if c.detail
    ]
    return Check(title, parity.outcome, detail="; ".join(list(dict.fromkeys(told))[:3]))
