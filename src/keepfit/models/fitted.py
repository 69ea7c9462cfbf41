"""What training makes: a weighted set of members, and how their scores become an answer.

The arithmetic from member scores to answers is here once, on numpy arrays; the training pipeline
and the serving runtime both call it, so they can only differ in the members' own scores.

A member's scores are probabilities of all classes, (n, classes), or values on the target's own
scale, (n,): `link` has been applied. Those of a forecast are (n, 3): the value, the scale of its
series and the step. `combine` blends them, `answer` makes the Output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.models import calibrate

Floats = NDArray[np.floating[Any]]
DIGITS = 6  # decimals of a probability that a label depends on: float32 carries no more


@dataclass(frozen=True)
class Member:
    """One fitted estimator with the features it was trained on.

    Members with the same `features` object (a bag over folds) were trained on the same matrix.
    """

    name: str  # of the catalogue, or module:Class
    weight: float
    features: Mapping[str, Any]  # state, see features.fit
    estimator: Any  # scikit-learn's fit and predict / predict_proba; classes_ are indices into Fitted.classes
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
    # conformal: half the width (regression, 90 %), or by step: see `ends`
    interval: float | Mapping[str, Any] | None = None
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ahead:
    """What forecasts are measured by, for n rows.

    `scale` (n,): the mean absolute seasonal difference of the row's series, above 0. `step` (n,): periods
    after the last observation, 0 where the row was observed. `coverage`: the share that the interval is to hold.
    """

    scale: Floats
    step: Floats
    coverage: float = 0.9

    def __getitem__(self, rows: Any) -> Ahead:
        return Ahead(self.scale[rows], self.step[rows], self.coverage)


@dataclass(frozen=True)
class Output:
    """Answers for n rows.

    `values`: labels as text (object array) for classification, else float64. `probabilities`: (n, classes)
    float64 or None. `low`, `high`: (n,) where there is an interval. `ahead`: of a forecast.
    """

    values: NDArray[Any]
    probabilities: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    ahead: Ahead | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Output:
        parts = (self.probabilities, self.low, self.high, self.ahead)
        taken: list[Any] = [None if part is None else part[rows] for part in parts]
        return Output(self.values[rows], *taken)


def link(name: str, scores: Floats) -> Floats:
    """Regression scores on the target's own scale."""
    if name == "exp":
        return np.exp(scores)
    return np.expm1(scores) if name == "expm1" else scores


def labels(probabilities: Floats, classes: tuple[str, ...], threshold: float | None) -> NDArray[Any]:
    """Predicted labels; `threshold` is that of classes[1] when there are two.

    Compared at `DIGITS` decimals: where trees vote 50 to 50, the first class is taken, and not the one
    that the order of a sum of float32 happens to favour.

    >>> labels(np.array([[0.5 - 1e-9, 0.5 + 1e-9]]), ("no", "yes"), None).tolist()
    ['no']
    """
    names = np.array(classes, dtype=object)
    if threshold is not None and len(classes) == 2:
        positive = probabilities[:, 1].round(DIGITS) >= round(threshold, DIGITS)
        picked: NDArray[Any] = names[positive.astype(np.intp)]
        return picked
    return np.asarray(names[np.round(probabilities, DIGITS).argmax(axis=1)])


def combine(weights: Sequence[float], scores: Sequence[Floats]) -> Floats:
    """The weighted mean of the members' scores, in float64; weights need not add up to one.

    >>> combine([1.0, 3.0], [np.array([0.0, 4.0]), np.array([4.0, 0.0])])
    array([3., 1.])
    """
    total = sum(weights)
    blended: Floats = sum(
        (np.float64(w / total) * np.asarray(s, np.float64) for w, s in zip(weights, scores, strict=True)),
        start=np.zeros_like(scores[0], dtype=np.float64),
    )
    return blended


Interval = float | Mapping[str, Any] | None


def answer(
    task: str,
    scores: Floats,
    classes: tuple[str, ...],
    calibration: Mapping[str, Any],
    threshold: float | None = None,
    interval: Interval = None,
) -> Output:
    """The Output for blended scores of a task: (n, classes), (n,), or of a forecast (n, 3)."""
    return ANSWERS[task](scores, classes, calibration, threshold, interval)


def _label(
    scores: Floats, classes: tuple[str, ...], calibration: Mapping[str, Any], threshold: float | None, interval: Any
) -> Output:
    probabilities = calibrate.apply(calibration, scores)
    return Output(labels(probabilities, classes, threshold), probabilities)


def _value(scores: Floats, classes: Any, calibration: Any, threshold: Any, interval: Any) -> Output:
    if interval is None:
        return Output(scores)
    return Output(scores, low=scores - interval, high=scores + interval)


def _forecast(scores: Floats, classes: Any, calibration: Any, threshold: Any, interval: Any) -> Output:
    values, scale, step = scores[:, 0], scores[:, 1], np.rint(scores[:, 2])  # the mean of whole numbers may be none
    if interval is None:
        return Output(values, ahead=Ahead(scale, step))
    low, high = ends(interval, step)
    ahead = Ahead(scale, step, interval["coverage"])
    return Output(values, low=values + low * scale, high=values + high * scale, ahead=ahead)


def ends(interval: Mapping[str, Any], step: Floats) -> tuple[Floats, Floats]:
    """Where the interval around a forecast begins and ends, in scales of its series.

    `interval` has "low" and "high", a number a step from 1 on. What was observed has no width. Beyond the
    last step nothing was proved: there the width of the last one grows with the root of the steps.

    >>> ends({"low": [-1.0, -2.0], "high": [1.0, 2.0]}, np.array([0.0, 1.0, 2.0, 8.0]))[1].tolist()
    [0.0, 1.0, 2.0, 4.0]
    """
    last = len(interval["low"])
    place = np.where(step > 0, np.minimum(step, last), 0).astype(np.intp)
    low, high = (np.concatenate([[0.0], interval[side]])[place] for side in ("low", "high"))
    if (step <= last).all():
        return low, high
    growth = np.sqrt(np.maximum(step, last) / last)
    return growth * low, growth * high


# task → the function from scores to answers
ANSWERS: Mapping[str, Callable[[Floats, tuple[str, ...], Mapping[str, Any], float | None, Any], Output]] = {
    "classification": _label,
    "regression": _value,
    "forecast": _forecast,
}
