"""Estimated performance: what the labels are likely to show, while there are none.

Training keeps how well the model did on the test rows by cells of its confidence (classification) or of
the number that it predicts (regression): `reference.Outcomes`. The estimate is the mean of these cells'
losses by the shares that the cells have among live rows. It holds where inputs changed (covariate shift)
and what they mean did not, which no number without labels can tell; and it says nothing about the order
of rows, so there is no ROC AUC among the estimates: for that, cells would have to be kept by predicted class.

The interval is about the live rows' own labels. Its variance has three parts:

    Σ w² s² / n      the cells' losses are known from n test rows each; w: the cell's share of the live rows
    Σ w s² / m       what chance does to the labels of the m live rows
    (UNEXPLAINED d)²  d: how far the estimate has moved since training. Rows that came do not do quite as
                     well as test rows of the same confidence. On adult_income, resampled by age and by
                     education, up to a quarter of the movement was missed; without this part, 95 %
                     intervals of 1,000 rows covered 83 to 97 %, by model and shift

It is void, and no number is given, where too much is unlike anything that training had, where test rows
of a kind are too few, and from when labels contradicted the estimate until they agree again (`compared`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit import config
from keepfit.models import metrics
from keepfit.monitoring import measures, reference, signals
from keepfit.monitoring.counts import Counts
from keepfit.monitoring.findings import Finding
from keepfit.monitoring.labelled import Labelled
from keepfit.monitoring.measures import Measure
from keepfit.monitoring.performance import CONFIDENCE, TRIFLE
from keepfit.monitoring.reference import Outcomes, Reference
from keepfit.monitoring.signals import Floats, Longs, Signal
from keepfit.types import Schema

UNEXPLAINED = 0.25  # of the estimate's movement since training that may be wrong, as a standard deviation
OUTSIDE = 0.05  # share of rows, beyond training's, that may be missing, unseen or out of range
ALIKE = 0.1  # share of training rows that must be worth something where a column is spread as it is now
MATTERS = 0.05  # spread of the output over a column's cells, as a share of the largest such spread
FEW = 10  # test rows without which a cell tells nothing; bins are made to have twice as many (`signals.ROWS`)
SPARSE = 0.1  # share of live rows that may be in such cells
SURE = 0.997  # interval outside of which labels contradict an estimate: three standard errors

# metric → the loss that is kept, the metric of a mean loss, and its derivative
ESTIMATES: Mapping[str, tuple[str, Callable[[float], float], Callable[[float], float]]] = {
    "accuracy": ("error", lambda mean: 1 - mean, lambda mean: -1.0),
    "log_loss": ("log_loss", lambda mean: mean, lambda mean: 1.0),
    "brier": ("brier", lambda mean: mean, lambda mean: 1.0),
    "mae": ("absolute_error", lambda mean: mean, lambda mean: 1.0),
    "rmse": ("squared_error", math.sqrt, lambda mean: 0.5 / math.sqrt(mean) if mean > 0 else 0.0),
}

UNTOLD = "the model's reference does not tell how well it did, by confidence or by predicted number"
# task → why nothing is estimated: what it said at training says nothing of what it says now
LATER: Mapping[str, str] = {"forecast": "a forecast's error is known when its actual value arrives"}

Found = tuple[dict[str, dict[str, Any]], list[Finding]]


@dataclass(frozen=True)
class Cells:
    """What is known of the cells of one loss: k bins of the outcomes' signal, ends included.

    `rows` (k,) test rows, `means` and `variances` (k,) of the loss in them; `live` (k,) rows that came.
    """

    rows: Longs
    means: Floats
    variances: Floats
    live: Longs

    @property
    def shares(self) -> Floats:
        return self.live / max(int(self.live.sum()), 1)

    @property
    def expected(self) -> float:
        """The mean loss of the live rows."""
        return float(self.shares @ self.means)

    @property
    def usual(self) -> float:
        """That of the test rows."""
        return float(self.rows @ self.means) / max(int(self.rows.sum()), 1)

    @property
    def error(self) -> float:
        """The standard error of `expected` as a forecast of the live rows' mean loss; see the module."""
        parts = self.shares**2 @ (self.variances / np.maximum(self.rows, 1))
        parts += self.shares @ self.variances / max(int(self.live.sum()), 1)
        return math.sqrt(float(parts) + (UNEXPLAINED * (self.expected - self.usual)) ** 2)


def cells(outcomes: Outcomes, live: Longs, loss: str) -> Cells:
    """One loss by bins. `live` are rows in the cells of the outcomes' signal, missing ones first.

    Values beyond the test rows' range go with the bin at that end. Each bin's variance has one row of all
    bins' variance in it: where 30 rows were all right, the next need not be.
    """
    rows, sums, squares, came = map(_folded, (outcomes.rows, outcomes.sums[loss], outcomes.squares[loss], live))
    means = np.divide(sums, rows, out=np.full(len(rows), outcomes.mean(loss)), where=rows > 0)
    around = np.maximum(squares - rows * means**2, 0.0)
    variances = (around + np.nan_to_num(outcomes.variance(loss))) / np.maximum(rows, 1)
    return Cells(rows, means, variances, came)


def _folded(values: NDArray[Any]) -> NDArray[Any]:
    """Of an ordered signal's cells the bins alone: below and above are added to the bins at the ends."""
    inside = values[2:-1].copy()
    inside[0] += values[1]
    inside[-1] += values[-1]
    return inside


def estimated(
    counts: Counts,
    known: Reference,
    goals: Mapping[str, str],
    settings: config.Monitoring,
    last: Mapping[str, Any] | None = None,
    task: str = "",
) -> Found:
    """Metric → {"value", "low", "high", "reference", "void", "goal"}, and findings, of the rows counted.

    `last` is what `compared` said when there were labels last. Where `void` says why it cannot tell, the
    numbers are None and the finding is not known. Empty, with one unknown finding, for a reference without
    outcomes.
    """
    outcomes = known.outcomes
    if outcomes is None or outcomes.signal not in counts.cells:
        return {}, [_unknown("performance", 0, LATER.get(task, UNTOLD))]
    live = counts.cells[outcomes.signal]
    void = next(_voids(counts, known, outcomes, settings.min_rows, last), "")
    wanted = {metrics.ALIASES.get(name, name): text for name, text in goals.items()}
    figures: dict[str, dict[str, Any]] = {}
    findings: list[Finding] = []
    for name in ESTIMATES:
        if ESTIMATES[name][0] in outcomes.sums:
            found = cells(outcomes, live, ESTIMATES[name][0])
            figures[name] = _figure(name, found, void) | {"goal": wanted.get(name)}
            findings += [_unknown(name, counts.rows, void)] if void else _findings(name, found, wanted.get(name))
    return figures, findings


def _unknown(subject: str, rows: int, why: str) -> Finding:
    return Finding("estimated", subject, "worse than at training", None, None, None, 0.0, rows, unknown=why)


def _measure(name: str, found: Cells) -> Measure:
    """The estimate as a metric with its standard error."""
    _, value, slope = ESTIMATES[name]
    rows = int(found.live.sum())
    return Measure(name, value(found.expected), abs(slope(found.expected)) * found.error, 0.0, rows, max(rows, 1))


def _figure(name: str, found: Cells, void: str) -> dict[str, Any]:
    usual = ESTIMATES[name][1](found.usual)
    if void:
        return {"value": None, "low": None, "high": None, "reference": usual, "void": void}
    one = _measure(name, found)
    low, high = measures.interval(one, CONFIDENCE)
    return {"value": one.value, "low": low, "high": high, "reference": usual, "void": ""}


def _findings(name: str, found: Cells, goal: str | None) -> Iterator[Finding]:
    one, usual = _measure(name, found), ESTIMATES[name][1](found.usual)
    low, high = measures.interval(one, CONFIDENCE)
    detail = f"without labels; interval {low:.4g} to {high:.4g}"
    lost = one.sign * (usual - one.value)
    about = one.value, usual, lost if one.sign > 0 else lost / max(abs(usual), 1e-300), one.rows, TRIFLE, detail
    yield Finding("estimated", name, "worse than at training", _shifted(found), *about)
    if goal:
        sign, limit = config.goal(goal)
        short = limit - one.value if sign.startswith(">") else one.value - limit
        p = measures.tail(short, one.error, 0.0)
        yield Finding("estimated", name, f"goal {goal}", p, one.value, limit, short, one.rows, detail=detail)


def _shifted(found: Cells) -> float:
    """The p-value of as many rows in bad cells, where live and test rows are of one kind."""
    test, live = int(found.rows.sum()), int(found.live.sum())
    gap = found.means - found.usual
    share = found.rows / test
    spread = float(share @ gap**2)
    error = math.sqrt(spread * (1 / live + 1 / test))
    skew = float(share @ gap**3) / spread**1.5 * (live**-2 - test**-2) / (1 / live + 1 / test) ** 1.5 if error else 0.0
    z = (found.expected - found.usual) / error if error else 0.0
    # Cornish and Fisher's expansion: here the spread is known, and not estimated from the live rows
    return measures.tail(z - skew * (z * z - 1) / 6, 1.0, 0.0)


# --- void -----------------------------------------------------------------------------------------


def _voids(
    counts: Counts,
    known: Reference,
    outcomes: Outcomes,
    least: int,
    last: Mapping[str, Any] | None,
) -> Iterator[str]:
    """Why there is no estimate, if so."""
    live = counts.cells[outcomes.signal]
    if counts.rows < least:
        yield f"{counts.rows:,} rows; at least {least:,} are needed"
        return
    if last and last.get("against"):
        yield str(last["against"])
    yield from _foreign(counts, known)
    yield from _other(counts, known)
    beyond = float(live[[0, 1, -1]].sum() / max(int(live.sum()), 1))
    if beyond > OUTSIDE:
        yield f"{beyond:.0%} of rows have a {outcomes.signal} that no test row had"
    rows, came = _folded(outcomes.rows), _folded(live)
    sparse = float(came[rows < FEW].sum() / max(int(came.sum()), 1))
    if sparse > SPARSE:
        yield f"{sparse:.0%} of rows have a {outcomes.signal} that fewer than {FEW} test rows had"


def _foreign(counts: Counts, known: Reference) -> Iterator[str]:
    """Columns that matter, with more values that training did not have, or that are missing."""
    for signal in _mattering(known):
        live = counts.cells.get(signal.name)
        if live is None or not live.sum():
            continue
        more = _strange(live, signal) - _strange(signal.counts, signal)
        if more > OUTSIDE:
            yield f"{more:.0%} more rows than in training have a missing or unknown value of {signal.name}"


def _strange(rows: Longs, signal: Signal) -> float:
    """The share of rows that are missing, out of range or unseen."""
    strange = [0, 1, -1] if signal.kind == "ordered" else [0, -1]
    return float(rows[strange].sum() / max(int(rows.sum()), 1))


def _other(counts: Counts, known: Reference) -> Iterator[str]:
    """Columns that matter, of whose training rows few are like those that came.

    Training rows weighted to be spread like the live ones are worth the share 1 / Σ w² / r of their number
    (Kish, Survey Sampling, 1965), r and w being a cell's shares then and now.
    """
    for signal in _mattering(known):
        live = counts.cells.get(signal.name)
        if live is None or not live.sum():
            continue
        then = (signal.counts + 0.5) / (signal.counts + 0.5).sum()
        alike = 1 / float((live / live.sum()) ** 2 @ (1 / then))
        if alike < ALIKE:
            yield f"{signal.name} is spread quite unlike in training: {alike:.1%} of those rows count for as much"


def _mattering(known: Reference) -> list[Signal]:
    """The signals of columns over whose cells the model's output varies, the most first."""
    columns = [signal for signal in known.signals if signal.column and signal.steady]
    spreads = [_spread(signal) for signal in columns]
    order = sorted(range(len(columns)), key=lambda place: -spreads[place])
    return [columns[place] for place in order if spreads[place] > MATTERS * max(spreads)]


def _spread(signal: Signal) -> float:
    """The standard deviation of the mean output over the cells."""
    shares = signal.counts / max(int(signal.counts.sum()), 1)
    return math.sqrt(float(shares @ signal.moves**2))


# --- against labels -------------------------------------------------------------------------------


def compared(labelled: Labelled, known: Reference, schema: Schema, least: int) -> dict[str, Any] | None:
    """Whether labels agree with what would have been estimated of the very same rows.

    {"rows", "metrics": metric → {"measured", "value", "low", "high"}, "against"}: `against` says which
    metric lies outside the estimate's interval (three standard errors), which means that inputs mean
    something else now, or "". None for fewer than `least` rows, and where nothing can be estimated.
    """
    outcomes = known.outcomes
    if outcomes is None or len(labelled) < least or (schema.classes and labelled.output.probabilities is None):
        return None
    signal = next(one for one in known.signals if one.name == outcomes.signal)
    values = reference.said(labelled.output, schema)[outcomes.signal]
    live = np.bincount(signals.place(signal, values), minlength=len(signal.cells))
    names = [name for name, (loss, *_) in ESTIMATES.items() if loss in outcomes.sums]
    truth = metrics.point(labelled.y, labelled.output, schema.classes, names)
    found = {name: _against(_measure(name, cells(outcomes, live, ESTIMATES[name][0])), truth[name]) for name in names}
    outside = [name for name, one in found.items() if not one["low"] <= one["measured"] <= one["high"]]
    return {"rows": len(labelled), "metrics": found, "against": _told(outside, found)}


def _against(one: Measure, truth: float) -> dict[str, float]:
    low, high = measures.interval(one, SURE)
    return {"measured": truth, "value": one.value, "low": low, "high": high}


def _told(outside: Sequence[str], found: Mapping[str, Mapping[str, float]]) -> str:
    if not outside:
        return ""
    one = found[outside[0]]
    return (
        f"labels contradicted it: {outside[0]} was {one['measured']:.4g} where {one['low']:.4g} to "
        f"{one['high']:.4g} was estimated, so inputs mean something else than in training"
    )
