"""Calibration of probabilities: learned on out-of-fold predictions, applied when serving.

A calibration is a plain dict, `{}` for none:

    {"method": "sigmoid", "slope": a, "offset": b}   two classes: sigmoid(a logit(p) + b), Platt 1999
    {"method": "temperature", "scale": s}            more classes: softmax(s log p), Guo et al. 2017
    {"method": "isotonic", "x": [[…], …], "y": [[…], …]}   per class a monotone table, interpolated

`sigmoid` asked for with more than two classes is temperature scaling, its counterpart there.
All is numpy: the same `apply` runs in training and serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
TINY = 1e-12  # smallest probability that a logarithm is taken of
KNOTS = 200  # largest number of points of an isotonic table
ISOTONIC_ROWS = 1000  # fewer rows overfit a free-form table (Niculescu-Mizil and Caruana 2005)


def apply(calibration: Mapping[str, Any], probabilities: Floats) -> Floats:
    """Calibrated probabilities, (n, classes) to (n, classes), rows adding up to one.

    >>> apply({"method": "sigmoid", "slope": 1.0, "offset": 0.0}, np.array([[0.25, 0.75]]))
    array([[0.25, 0.75]])
    """
    if not calibration:
        return probabilities
    method = calibration["method"]
    if method == "sigmoid":
        positive = sigmoid(calibration["slope"] * logit(probabilities[:, 1]) + calibration["offset"])
        return pair(positive)
    if method == "temperature":
        return softmax(calibration["scale"] * np.log(np.clip(probabilities, TINY, 1)))
    return _isotonic(calibration, probabilities)


def _isotonic(calibration: Mapping[str, Any], probabilities: Floats) -> Floats:
    tables = list(zip(calibration["x"], calibration["y"], strict=True))
    if len(tables) == 1:
        positive = np.interp(probabilities[:, 1], *tables[0])
        return pair(positive)
    each = np.column_stack([np.interp(probabilities[:, k], *table) for k, table in enumerate(tables)])
    return np.asarray(each / each.sum(axis=1, keepdims=True))


def fit(method: str, probabilities: Floats, codes: NDArray[np.integer[Any]]) -> dict[str, Any]:
    """The calibration of `method` (sigmoid or isotonic) for probabilities (n, classes) and true classes (n,)."""
    two = probabilities.shape[1] == 2
    if method == "isotonic":
        classes = [1] if two else range(probabilities.shape[1])
        tables = [isotonic(probabilities[:, k], codes == k) for k in classes]
        return {"method": method, "x": [x.tolist() for x, _ in tables], "y": [y.tolist() for _, y in tables]}
    if two:
        slope, offset = platt(logit(probabilities[:, 1]), codes == 1)
        return {"method": "sigmoid", "slope": slope, "offset": offset}
    return {"method": "temperature", "scale": temperature(np.log(np.clip(probabilities, TINY, 1)), codes)}


def choose(
    probabilities: Floats, codes: NDArray[np.integer[Any]], seed: int, folds: int = 5
) -> tuple[dict[str, Any], dict[str, float]]:
    """The calibration with the best cross-validated log loss, and each method's log loss.

    A method must beat no calibration by more than one standard error of the paired difference;
    otherwise the calibration is {}.
    """
    losses = {"none": row_losses(probabilities, codes)}
    for method in ("sigmoid", "isotonic") if len(codes) >= ISOTONIC_ROWS else ("sigmoid",):
        losses[method] = row_losses(_held_out(method, probabilities, codes, seed, folds), codes)
    means = {method: float(loss.mean()) for method, loss in losses.items()}
    best = min(means, key=lambda method: means[method])
    gain = losses["none"] - losses[best]
    if best == "none" or gain.mean() <= gain.std() / np.sqrt(len(gain)):
        return {}, means
    return fit(best, probabilities, codes), means


def _held_out(method: str, probabilities: Floats, codes: NDArray[np.integer[Any]], seed: int, folds: int) -> Floats:
    """Probabilities calibrated by what was learned on the other folds' rows."""
    fold = np.random.default_rng(seed).permutation(len(codes)) % folds
    result = np.empty_like(probabilities, dtype=np.float64)
    for k in range(folds):
        learned = fit(method, probabilities[fold != k], codes[fold != k])
        result[fold == k] = apply(learned, probabilities[fold == k])
    return result


def row_losses(probabilities: Floats, codes: NDArray[np.integer[Any]]) -> Floats:
    """The log loss of each row; probabilities are cut at 1e-12."""
    return np.asarray(-np.log(np.clip(probabilities[np.arange(len(codes)), codes], TINY, 1)))


def platt(margins: Floats, positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of the sigmoid that turns margins into probabilities.

    Newton's method on the smoothed targets of Platt 1999; the slope is kept positive, so the
    order of the rows never turns round.
    """
    count = positive.sum()
    targets = np.where(positive, (count + 1) / (count + 2), 1 / (len(positive) - count + 2))
    scale = float(np.std(margins)) or 1.0
    design = np.column_stack([margins / scale, np.ones(len(margins))])
    found = np.array([1.0, 0.0])
    for _ in range(50):
        p = sigmoid(design @ found)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * len(p) * np.eye(2)
        step = np.linalg.solve(curvature, design.T @ (p - targets))
        # a full step overshoots where the curve is flat
        found = found - step * min(1.0, 2.0 / (float(np.abs(step).max()) + TINY))
        if np.abs(step).max() < 1e-9:
            break
    return max(float(found[0]) / scale, 1e-6), float(found[1])


def temperature(scores: Floats, codes: NDArray[np.integer[Any]]) -> float:
    """The factor on scores (n, classes) whose softmax has the least log loss.

    The loss is convex in the factor; the golden section is taken on its logarithm.
    """
    rows = np.arange(len(codes))

    def loss(exponent: float) -> float:
        scaled = scores * np.exp(exponent)
        top = scaled.max(axis=1)
        total = np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top
        return float((total - scaled[rows, codes]).mean())

    low, high, ratio = -4.0, 4.0, (np.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-4:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return float(np.exp((low + high) / 2))


def isotonic(scores: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The monotone table score → probability by pool-adjacent-violators, at most 200 points.

    Each block keeps its mean score and its share of positives with one half of a row added to both
    sides, so that no probability is 0 or 1.
    """
    order = np.argsort(scores, kind="stable")
    values, starts = np.unique(scores[order], return_index=True)
    hits = np.add.reduceat(positive[order].astype(np.float64), starts)
    counts = np.diff(np.append(starts, len(scores))).astype(np.float64)
    blocks: list[list[float]] = []  # positives, rows, sum of scores
    for value, hit, count in zip(values.tolist(), hits.tolist(), counts.tolist(), strict=True):
        blocks.append([hit, count, value * count])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    table = np.array(blocks)
    table = np.maximum.accumulate(
        np.column_stack([table[:, 2] / table[:, 1], (table[:, 0] + 0.5) / (table[:, 1] + 1)]), axis=0
    )
    picked = np.unique(np.linspace(0, len(table) - 1, min(KNOTS, len(table))).round().astype(int))
    return table[picked, 0], table[picked, 1]


def logit(probabilities: Floats) -> Floats:
    """log(p / (1 - p)), finite at 0 and 1."""
    clipped = np.clip(np.asarray(probabilities, np.float64), TINY, 1 - TINY)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def sigmoid(scores: Floats) -> Floats:
    """1 / (1 + exp(-s)) without overflow.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(np.asarray(scores, np.float64)))
    return np.asarray(np.where(scores >= 0, 1.0, small) / (1 + small))


def pair(positive: Floats) -> Floats:
    """Probabilities (n,) of the second of two classes as those of both, (n, 2).

    >>> pair(np.array([0.25])).tolist()
    [[0.75, 0.25]]
    """
    both = np.empty((len(positive), 2))
    both[:, 0], both[:, 1] = 1 - positive, positive
    return both


def softmax(scores: Floats) -> Floats:
    """Rows of exp(s), scaled to add up to one."""
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
