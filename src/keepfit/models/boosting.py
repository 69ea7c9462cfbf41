"""Fitting LightGBM: early stopping on held-out rows, and an end when asked or when time is up.

One thread, and the flags that make the same data give the same trees, are defaults of the catalogue.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import lightgbm
import numpy as np
from lightgbm.basic import LightGBMError

from keepfit import engine

__all__ = ["ROUNDS", "LightGBMError", "fit", "rounds"]

ROUNDS = "n_estimators"  # the parameter with the number of rounds
WAIT = 2.5  # rounds without progress, times the learning rate: smaller steps need more of them
# LightGBM 4.7 renamed the argument and warns about the old name
PAIR = "eval_X" in inspect.signature(lightgbm.LGBMModel.fit).parameters


def fit(
    estimator: Any,
    matrix: Any,
    target: Any,
    valid: tuple[Any, Any] | None,
    categorical: Sequence[int],
    stop: threading.Event,
    deadline: float,
    tell: Callable[..., None] | None = None,
) -> Any:
    """Fit on (n, d) features; with `valid` rows to the round that is best on them.

    `deadline` is on the monotonic clock; the trees grown until then are kept. Raises engine.Stopped when
    `stop` is set.
    """
    callbacks: list[Callable[[Any], None]] = [_end(stop, deadline)]
    given: dict[str, Any] = {"categorical_feature": list(categorical)}
    if valid is not None and len(valid[1]):
        callbacks.append(lightgbm.early_stopping(patience(estimator.learning_rate), verbose=False))
        given |= {"eval_X": valid[0], "eval_y": valid[1]} if PAIR else {"eval_set": [valid]}
    return estimator.fit(matrix, target, callbacks=callbacks, **given)


def patience(rate: float) -> int:
    """Rounds without progress after which none is expected.

    >>> patience(0.05), patience(0.1), patience(0.5), patience(0.001)
    (50, 25, 10, 100)
    """
    return min(max(round(WAIT / max(rate, 1e-9)), 10), 100)


def _end(stop: threading.Event, deadline: float) -> Callable[[Any], None]:
    def end(environment: Any) -> None:
        if stop.is_set():
            raise engine.Stopped
        if time.monotonic() > deadline:
            raise lightgbm.callback.EarlyStopException(environment.iteration, environment.evaluation_result_list or [])

    return end


def rounds(estimator: Any) -> int:
    """Boosting rounds of a fitted estimator, up to the best."""
    best = estimator.best_iteration_
    return int(best) if best and best > 0 else int(np.int64(estimator.n_estimators_))
