"""What training makes: a weighted set of members, and how their scores become an answer.

The arithmetic from member scores to answers is here once, on numpy arrays; the training pipeline
and the serving runtime both call it, so they can only differ in the members' own scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Member:
    """One fitted estimator with the features it was trained on."""

    name: str  # of the catalogue, or module:Class
    weight: float
    features: Mapping[str, Any]  # state, see features.fit
    estimator: Any  # scikit-learn's fit and predict / predict_proba
    parameters: Mapping[str, Any] = field(default_factory=dict)
    link: str = "identity"  # what turns the estimator's regression output into the target: identity | exp | expm1


@dataclass(frozen=True)
class Fitted:
    """The trained model: members, calibration, threshold. `report` is what training tells of itself."""

    task: str
    classes: tuple[str, ...]  # sorted labels as text; () for regression
    members: tuple[Member, ...]
    calibration: Mapping[str, Any] = field(default_factory=dict)  # see models.calibrate; {} = none
    threshold: float | None = None  # two classes: probability of classes[1] from which it is predicted
    interval: float | None = None  # regression: half width of the 90 % conformal interval
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """Answers for n rows.

    `values`: labels as text (object array) for classification, float64 for regression.
    `probabilities`: (n, classes) float64 or None. `low`, `high`: (n,) for regression with an interval.
    """

    values: NDArray[Any]
    probabilities: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None


def link(name: str, scores: Floats) -> Floats:
    """Regression scores on the target's own scale."""
    if name == "exp":
        return np.exp(scores)
    return np.expm1(scores) if name == "expm1" else scores


def labels(probabilities: Floats, classes: tuple[str, ...], threshold: float | None) -> NDArray[Any]:
    """Predicted labels; `threshold` is that of classes[1] when there are two."""
    names = np.array(classes, dtype=object)
    if threshold is not None and len(classes) == 2:
        picked: NDArray[Any] = names[(probabilities[:, 1] >= threshold).astype(np.intp)]
        return picked
    return np.asarray(names[probabilities.argmax(axis=1)])
