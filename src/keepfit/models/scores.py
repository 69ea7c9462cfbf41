"""From a stored model's raw output to a member's scores, by a name that the manifest holds.

A raw output is (rows, outputs) float64. For a classifier the result is (rows, its classes) of
probabilities, for a regressor (rows,) on the scale that its estimator predicts, for a forecast
(rows, 3): value, scale, step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepfit.models.calibrate import pair, softmax
from keepfit.models.calibrate import sigmoid as expit

Floats = NDArray[np.floating[Any]]


def two(raw: Floats) -> Floats:
    """One log-odds a row as the probabilities of two classes.

    >>> two(np.array([[0.0]])).tolist()
    [[0.5, 0.5]]
    """
    return pair(expit(raw[:, 0]))


def shares(raw: Floats) -> Floats:
    """All shares but the last, which is what they leave of 1.

    >>> shares(np.array([[0.25, 0.5]])).tolist()
    [[0.25, 0.5, 0.25]]
    """
    rest = 1 - raw.sum(axis=1, keepdims=True)
    return np.concatenate([raw, np.clip(rest, 0, 1)], axis=1)


def signed_square(raw: Floats) -> Floats:
    """What undoes a signed square root of the target."""
    return np.asarray(np.sign(raw[:, 0]) * raw[:, 0] ** 2)


SCORES: Mapping[str, Callable[[Floats], Floats]] = {
    "sigmoid": two,
    "softmax": softmax,
    "one_vs_all": expit,
    "shares": shares,
    "probabilities": lambda raw: raw,
    "forecast": lambda raw: raw,
    "identity": lambda raw: raw[:, 0],
    "exp": lambda raw: np.exp(raw[:, 0]),
    "signed_square": signed_square,
}


def spread(probabilities: Floats, places: Sequence[int], classes: int) -> Floats:
    """Probabilities of the classes that a member knows as those of all classes; the others get 0.

    >>> spread(np.array([[0.25, 0.75]]), [0, 2], 3).tolist()
    [[0.25, 0.0, 0.75]]
    """
    if len(places) == classes:
        return probabilities
    full = np.zeros((len(probabilities), classes))
    full[:, places] = probabilities
    return full
