"""Greedy ensemble selection on out-of-fold predictions (Caruana et al., ICML 2004).

Starting from the best member, the one that helps the blend most is added again and again, so that
weights are counts. Then members that help too little for what they cost in serving are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.models.fitted import Floats, Member, combine

Finish = Callable[[list[Member]], list[Member]]
ROUNDS = 40
PATIENCE = 8  # rounds without a better blend, after which none is expected
SMALL = 0.05  # members with less weight are dropped
GAIN = 5e-4  # share of the score that a member must bring to be worth serving


def select(
    scores: Sequence[Floats], loss: Callable[[Floats], float], rounds: int = ROUNDS, gain: float = GAIN
) -> list[float]:
    """Weights of the members, adding up to one; 0 for those left out.

    Args:
        scores: out-of-fold scores of each member, all of the same rows.
        loss: of blended scores; lower is better.
        gain: the share of the loss that a member must bring to be kept.
    """
    counts = np.zeros(len(scores))
    total = np.zeros_like(scores[0], dtype=np.float64)
    lowest, best = np.inf, counts
    for size in range(1, rounds + 1):
        losses = [loss((total + s) / size) for s in scores]
        picked = int(np.argmin(losses))
        counts[picked] += 1
        total = total + scores[picked]
        if size == 1 or losses[picked] < lowest - 1e-12:
            lowest, best = losses[picked], counts.copy()
        elif size - best.sum() >= PATIENCE:
            break
    return _pruned(best / best.sum(), scores, loss, gain)


def weigh(job: Any, results: Sequence[Any], rows: NDArray[Any], gain: float = GAIN) -> list[float]:
    """`select` for cross-validated candidates, by the job's loss on some rows."""
    return select([found.scores[rows] for found in results], lambda scores: job.loss(scores, rows), gain=gain)


def blend(job: Any, kept: Sequence[tuple[Any, float]], rows: NDArray[np.bool_]) -> tuple[Floats, Finish]:
    """The out-of-fold scores of weighted candidates, and what is done with their fitted members: nothing."""
    return combine([weight for _, weight in kept], [found.scores[rows] for found, _ in kept]), lambda parts: parts


def _pruned(weights: Floats, scores: Sequence[Floats], loss: Callable[[Floats], float], gain: float) -> list[float]:
    """Weights without the members that bring too little, from the smallest weight on."""
    start = blended(weights, scores, loss)
    while (weights > 0).sum() > 1:
        smallest = int(np.argmin(np.where(weights > 0, weights, np.inf)))
        without = weights.copy()
        without[smallest] = 0.0
        without /= without.sum()
        lost = blended(without, scores, loss) - start
        if weights[smallest] >= SMALL and lost > gain * abs(start):
            break
        weights = without
    return [float(w) for w in weights]


def blended(weights: Floats, scores: Sequence[Floats], loss: Callable[[Floats], float]) -> float:
    """The loss of the weighted blend."""
    there = [k for k, weight in enumerate(weights) if weight > 0]
    return loss(combine([float(weights[k]) for k in there], [scores[k] for k in there]))
