"""The decision threshold of two classes: from costs, a number, a metric, or one half.

A threshold is chosen on out-of-fold probabilities. Only metrics that a threshold moves and that do
not simply fall for always saying one thing (as recall does) can choose one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.errors import ConfigError
from keepfit.extras import nearest

Floats = NDArray[np.floating[Any]]
Counts = Callable[[Floats, Floats, Floats, Floats], Floats]

METRICS: dict[str, Counts] = {  # of true positives, false positives, false negatives, true negatives
    "accuracy": lambda tp, fp, fn, tn: (tp + tn) / (tp + fp + fn + tn),
    "f1": lambda tp, fp, fn, tn: 2 * tp / np.maximum(2 * tp + fp + fn, 1),
    "balanced_accuracy": lambda tp, fp, fn, tn: (tp / np.maximum(tp + fn, 1) + tn / np.maximum(tn + fp, 1)) / 2,
}
TUNED = ("f1", "balanced_accuracy")  # accuracy is best at one half already, when probabilities are honest


def choose(
    probabilities: Floats,
    positive: NDArray[np.bool_],
    setting: float | str,
    costs: Mapping[Any, float] | None,
    metric: str,
) -> tuple[float, dict[str, Any]]:
    """The threshold on the probability (n,) of the second class, and why it is that.

    Args:
        setting: `model.threshold`: a number, "auto" or a metric.
        costs: `model.costs`, false_positive and false_negative; they win over "auto".
        metric: what training optimises; "auto" follows it where a threshold moves it.
    """
    if not isinstance(setting, str):
        if not 0 < setting < 1:
            raise ConfigError(f"model.threshold: {setting} is no probability between 0 and 1.")
        return float(setting), {"why": "model.threshold"}
    if costs and setting == "auto":
        return _by_costs(probabilities, positive, costs)
    if setting == "auto":
        setting = metric if metric in TUNED else ""
    if not setting:
        return 0.5, {"why": "one half: the more probable class"}
    if setting not in METRICS:
        known = ", ".join(["auto", *METRICS])
        near = nearest(setting, METRICS)
        raise ConfigError(f"model.threshold: '{setting}' chooses none. {near}Known: {known}, a number")
    found, value, half = best(probabilities, positive, METRICS[setting])
    return found, {"why": f"best out-of-fold {setting}", "value": value, "at_half": half}


def best(probabilities: Floats, positive: NDArray[np.bool_], metric: Counts) -> tuple[float, float, float]:
    """The threshold with the highest `metric`, its value, and the value at one half.

    >>> best(np.array([0.1, 0.3, 0.4, 0.9]), np.array([False, True, True, True]), METRICS["f1"])
    (0.2, 1.0, 0.5)
    """
    thresholds, counts = _counts(probabilities, positive)
    values = metric(*counts)
    top = int(np.argmax(values))
    # midway between two probabilities: rounding in serving must not move a row across
    return round(float(thresholds[top]), 12), float(values[top]), float(metric(*_at(probabilities, positive, 0.5)))


def _counts(probabilities: Floats, positive: NDArray[np.bool_]) -> tuple[Floats, tuple[Floats, Floats, Floats, Floats]]:
    """Thresholds midway between distinct probabilities, and the four counts at each."""
    order = np.argsort(-probabilities, kind="stable")
    falling = probabilities[order].astype(np.float64)
    ends = np.append(np.flatnonzero(falling[1:] != falling[:-1]), len(falling) - 1)
    tp = np.cumsum(positive[order])[ends].astype(np.float64)
    fp = ends + 1.0 - tp
    below = np.append(falling[ends[:-1] + 1], 0.0)
    thresholds = np.clip((falling[ends] + below) / 2, 1e-9, 1 - 1e-9)
    return thresholds, (tp, fp, positive.sum() - tp, (~positive).sum() - fp)


def _at(probabilities: Floats, positive: NDArray[np.bool_], threshold: float) -> tuple[Any, Any, Any, Any]:
    picked = probabilities >= threshold
    tp, fp = np.float64((picked & positive).sum()), np.float64((picked & ~positive).sum())
    return tp, fp, positive.sum() - tp, (~positive).sum() - fp


def _by_costs(
    probabilities: Floats, positive: NDArray[np.bool_], costs: Mapping[Any, float]
) -> tuple[float, dict[str, Any]]:
    """The least costly threshold: c_fp / (c_fp + c_fn) for honest probabilities (Elkan 2001).

    The out-of-fold optimum replaces it where it is cheaper by more than one standard error.
    """
    wrong_yes, wrong_no = float(costs.get("false_positive", 1.0)), float(costs.get("false_negative", 1.0))
    if wrong_yes < 0 or wrong_no < 0 or wrong_yes + wrong_no == 0:
        raise ConfigError("model.costs: costs are at least 0, and not both 0.")
    theory = float(np.clip(wrong_yes / (wrong_yes + wrong_no), 1e-9, 1 - 1e-9))
    found, _, _ = best(probabilities, positive, lambda tp, fp, fn, tn: -(wrong_yes * fp + wrong_no * fn))

    def paid(threshold: float) -> Floats:
        picked = probabilities >= threshold
        return np.where(picked & ~positive, wrong_yes, 0.0) + np.where(~picked & positive, wrong_no, 0.0)

    gain = paid(theory) - paid(found)
    chosen = found if gain.mean() > gain.std() / np.sqrt(len(gain)) else theory
    told = {"why": "model.costs", "cost_per_row": float(paid(chosen).mean()), "at_half": float(paid(0.5).mean())}
    return chosen, told
