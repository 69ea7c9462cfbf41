"""Probation: is the new champion worse than its predecessor, on the live rows whose labels have come?

Both have answered the same rows. The question is asked again with every pass, and asking often enough
finds a difference of two equal models too; so the answer is an e-value, a bet against "not worse" whose
expected stake never grows while that is true. The chance that it *ever* reaches 1 / (1 - confidence)
within the whole probation is at most 1 - confidence, however often it is looked at (Ville's inequality).

    accuracy      of the rows on which one model alone is right, the predecessor is right in a share of at
                  most a half: a mixture of bets on all larger shares, exact for any number of rows
                  (Robbins, Statistical methods related to the law of the iterated logarithm, Ann Math
                  Stat 41, 1970)
    other metrics a mixture of bets on all larger differences, one-sided normal (Howard, Ramdas, McAuliffe
                  and Sekhon, Time-uniform, nonparametric, nonasymptotic confidence sequences, Ann Stat 49,
                  2021, proposition 6), with the variance of the rows' influences: valid for many rows, so
                  nothing is said of fewer than `least`

So there are no resamples as in the gate: a bootstrap's interval holds for one look.

Rows that belong together (forecasts of a series) count as one unit, with Student's t for few of them. Where units
stay the same and only more is known of them, the looks are no such bet as above. Then a single look reaches the
limit of 1 % by chance in less than 1 of 10,000, so that it holds for a hundred looks that have nothing in common.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from keepfit.models import influence, metrics
from keepfit.models.fitted import Output
from keepfit.models.metrics import Answers
from keepfit.types import Check, Verdict

BEST = 1000  # rows at which the bets of other metrics tell most
UNITS = 20  # units at which they do
LEAST = 50  # rows without which nothing is said


def judge(
    y: NDArray[Any],
    classes: tuple[str, ...],
    champion: Output,
    predecessor: Output,
    metric: str,
    confidence: float = 0.95,
    least: int = LEAST,
    together: NDArray[np.intp] | None = None,
) -> Verdict:
    """Failed when the champion is surely worse than its predecessor by `metric`, a name of METRICS.

    `y` (n,) are the labels of all rows of the probation so far, both Outputs their answers, `together` (n,) the
    units that rows belong to, from 0 on. Not checked for fewer than `least` rows, and where the metric is not
    defined on them.
    """
    title, limit = f"not worse than its predecessor: {metric}", 1 / (1 - confidence)
    if len(y) < least:
        detail = f"{len(y):,} labelled rows; at least {least:,} are needed"
        return Verdict("probation", (Check(title, "not checked", detail=detail),))
    mine, other = (metrics.answers(y, output, classes) for output in (champion, predecessor))
    (one, moves), (two, others) = influence.of(metric, mine), influence.of(metric, other)
    sign = metrics.METRICS[metric].sign
    lead = sign * (one - two)
    if not math.isfinite(lead):
        detail = "undefined on the labelled rows: they hold one class only"
        return Verdict("probation", (Check(title, "not checked", detail=detail),))
    bet = _exact(mine, other) if metric == "accuracy" else None
    e = _mixture(lead, sign * (moves - others), 1 - confidence, together) if bet is None else bet
    detail = f"{one:.4g} against {two:.4g} on {len(y):,} rows; evidence that it is worse {e:.3g} of {limit:.3g}"
    return Verdict("probation", (Check(title, "failed" if e >= limit else "passed", lead, ">= 0", detail),))


def _exact(champion: Answers, predecessor: Answers) -> float:
    """The e-value of accuracy, from the rows on which one model alone is right."""
    mine, other = (answers.truth == answers.picked for answers in (champion, predecessor))
    return shares(int((other & ~mine).sum()), int((mine & ~other).sum()))


def shares(against: int, for_it: int) -> float:
    """The mean of the likelihoods of all shares over a half, against that of a half.

    ∫ 2 p^a (1 - p)^b dp from 1/2 to 1, times 2^(a + b).

    >>> shares(0, 0), round(shares(10, 10), 2), round(shares(20, 5), 1)
    (1.0, 0.27, 48.5)
    """
    a, b = against + 1.0, for_it + 1.0
    log = (
        (a + b - 1) * math.log(2)
        + float(special.betaln(a, b))
        + math.log(max(float(special.betainc(b, a, 0.5)), 1e-300))
    )
    return math.exp(min(log, 700.0))


def _mixture(
    lead: float, moves: NDArray[np.floating[Any]], alpha: float, together: NDArray[np.intp] | None
) -> float:  # fmt: skip
    """The e-value of a lead, of which each row has the influence `moves` (n,).

    Two rows, or units, more, on which the models differ, are added in thought: see `keepfit.tracking.gate`.
    """
    each = moves if together is None else np.bincount(together, moves)
    differ, spread = int((each != 0).sum()), float(each @ each)
    if not spread:
        return 1.0
    z = -lead * len(moves) / math.sqrt(spread * (1 + 2 / differ))
    return normal(z, len(each), alpha) if together is None else normal(_normal(z, differ), len(each), alpha, UNITS)


def _normal(t: float, units: int) -> float:
    """Student's t of so many units as the normal z that is as likely.

    >>> round(_normal(4.0, 5), 2), round(_normal(4.0, 10_000), 2), _normal(4.0, 1)
    (2.41, 4.0, 0.0)
    """
    if units < 2:
        return 0.0
    far = float(special.stdtr(units - 1, -abs(t)))
    return math.copysign(-float(special.ndtri(max(far, 1e-300))), t)


def normal(z: float, rows: int, alpha: float, best: int = BEST) -> float:
    """The mean over normal distributed gains, positive ones alone, of their likelihood against no gain.

    `z`: the loss in standard errors. The width of the distribution is the one that is best at `best` rows.
    """
    wide = rows / best * (-2 * math.log(2 * alpha) + math.log(1 - 2 * math.log(2 * alpha)))
    log = math.log(2) - math.log1p(wide) / 2 + wide * z * z / (2 * (1 + wide))
    log += float(special.log_ndtr(z * math.sqrt(wide / (1 + wide))))
    return math.exp(min(log, 700.0))
